"""Being asked to stop: a machine that is taken away sends SIGTERM and leaves seconds to save."""

import signal

from lift_jax import hosts


class Preempted(Exception):
    """Raised once a run that was asked to stop has saved all that it computed."""


class StopRequest:
    """A context in which the first SIGTERM is noted, to be obeyed at the next step; a second one stops at once.

    At its end the enclosing `StopRequest`, if there is one, receives the request: the last step of a stage is not the
    last of a sweep. Processes stop together: all obey at the next step at which they ask each other.
    """

    def __init__(self):
        self._asked = False
        self._before = signal.SIG_DFL

    def __enter__(self) -> "StopRequest":
        self._before = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(self, *_):
        signal.signal(signal.SIGTERM, self._before)
        if self._asked and callable(self._before):
            self._before()

    def is_due(self, meeting: bool) -> bool:
        """Whether to stop now: the same answer on all processes, which ask each other at a `meeting`."""
        if not hosts.are_many():
            return self._asked
        return meeting and hosts.any_process(self._asked)

    def _note(self, *_):
        self._asked = True
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
