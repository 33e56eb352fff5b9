"""Being asked to stop: a machine that is taken away sends SIGTERM and leaves seconds to save."""

import signal


class Preempted(Exception):
    """Raised once a run that was asked to stop has saved all that it computed."""


class StopRequest:
    """A context in which the first SIGTERM is noted, to be obeyed at the next step; a second one stops at once."""

    def __init__(self):
        self._asked = False
        self._before = signal.SIG_DFL

    def __enter__(self) -> "StopRequest":
        self._before = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(self, *_):
        signal.signal(signal.SIGTERM, self._before)

    def __bool__(self) -> bool:
        """Whether a stop was asked for."""
        return self._asked

    def _note(self, *_):
        self._asked = True
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
