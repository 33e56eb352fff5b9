"""The one error, and the one warning, that a user is meant to read, and how they name what was meant."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Bad input. One line names the file or key, what is wrong with it, and the remedy.

    Entry points print the line to standard error and exit with status 1; anything else that is raised is a fault of
    ours and keeps its traceback.
    """


class DataWarning(UserWarning):
    """A problem of a user's data or run that does not stop the work. One line names it."""


def near(value, known: Iterable) -> str:
    """The end of a message: which of the known names, at most two, a misspelled one resembles; nothing if none."""
    found = difflib.get_close_matches(str(value), [name for name in known if isinstance(name, str)], n=2)
    return f"; near it {'is' if len(found) == 1 else 'are'} {' and '.join(found)}" if found else ""
