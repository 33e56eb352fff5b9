"""Ctrl-C during training: the first one saves and stops, as SIGTERM does; the second one stops at once."""

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def saving_interrupts() -> Iterator[Callable[[], bool]]:
    """A context in which the first Ctrl-C asks a run that can save, see `training.preemption`, to save and stop.

    Where nothing has been begun that could be saved, and at the second time, Ctrl-C raises KeyboardInterrupt as ever.

    Yields:
      A function that says whether there was a Ctrl-C.
    """
    interrupted = False

    def note(number, frame):
        nonlocal interrupted
        interrupted = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        request = signal.getsignal(signal.SIGTERM)
        if not callable(request):
            raise KeyboardInterrupt
        print("\nsaving after this step; Ctrl-C again stops at once", file=sys.stderr, flush=True)
        request(signal.SIGTERM, frame)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: interrupted
    finally:
        signal.signal(signal.SIGINT, before)
