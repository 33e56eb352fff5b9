"""Progress of long work: a bar on a terminal, and now and then a plain line in a log file."""

import os
import sys

from tqdm import tqdm

LINE_SECONDS = 30.0
"""Between two lines of progress where no terminal shows a bar."""


class _Lines(tqdm):
    """tqdm that writes whole lines: no carriage returns and no cursor movements."""

    @staticmethod
    def status_printer(file):
        """A function that writes one line."""

        def write(text: str) -> None:
            if text.strip():
                file.write(f"{text.strip()}\n")
                file.flush()

        return write

    def moveto(self, n: int) -> None:
        """Does nothing: a log has no cursor."""

    def set_postfix(self, ordered_dict=None, refresh=True, **values) -> None:
        """Sets what follows the counts; only time makes a new line."""
        super().set_postfix(ordered_dict, refresh=False, **values)

    def close(self) -> None:
        """Writes the last line."""
        if self.disable:
            return
        self.disable = True
        with self.get_lock():
            if self.n != self.last_print_n or not self.n:
                self.display()
            self._decr_instances(self)


def progress(iterable=None, *, description: str, unit: str, total: int | None = None, initial: int = 0, enabled=True):
    """An iterable (or, without one, a counter with `update`) that reports progress on standard error.

    On a terminal it is a bar with rate and time left; elsewhere a line every `LINE_SECONDS`. tqdm's own environment
    variable TQDM_DISABLE, if set, leaves it out.

    Args:
      iterable: what is worked through; None for a counter.
      description: what the work is.
      unit: one piece of it.
      total: pieces; None for the length of the iterable.
      initial: pieces that were done before.
      enabled: False reports nothing, as in all processes but the first.
    """
    enabled = enabled and not os.environ.get("TQDM_DISABLE")
    options = {"desc": description, "unit": unit, "total": total, "initial": initial, "disable": not enabled}
    if sys.stderr.isatty():
        return tqdm(iterable, dynamic_ncols=True, **options)
    return _Lines(
        iterable,
        mininterval=LINE_SECONDS,
        maxinterval=LINE_SECONDS,
        miniters=1,
        smoothing=0,
        bar_format=_LINE,
        **options,
    )


_LINE = "{desc}: {n_fmt}/{total_fmt} {unit}s, {rate_fmt}, {remaining} left{postfix}"
