"""The one error, and the one warning, that a user is meant to read."""


class UserError(Exception):
    """Bad input, told in one line: the file or key that is wrong, what is wrong with it, and the mend.

    Entry points print the line to standard error and exit with status 1; anything else that is raised is a fault of
    ours and keeps its traceback.
    """


class DataWarning(UserWarning):
    """Something about a user's data or run that deserves a look, told in one line that names it; work goes on."""
