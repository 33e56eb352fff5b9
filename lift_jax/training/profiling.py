"""A trace of some steps by JAX's profiler, for TensorBoard's page of profiles."""

import pathlib
import re
from collections.abc import Sequence

import jax

from lift_jax.errors import UserError


def steps_of(text: str) -> tuple[int, int]:
    """First and last step of `FIRST,LAST` or `FIRST-LAST`, a value of `--profile_steps`, as `config.log.profile`."""
    match = re.fullmatch(r"\s*(\d{1,18})\s*[,-]\s*(\d{1,18})\s*", text, re.ASCII)
    first, last = (int(number) for number in match.groups()) if match else (0, 0)
    if not 1 <= first <= last:
        raise UserError(f"--profile_steps: {text[:40]!r} are no first and last step, from 1; give them as 20,24")
    return first, last


class StepTrace:
    """A context in which steps `first` to `last` are traced, into a folder of TensorBoard's; none if `last` is 0.

    Without a folder (all processes but the first) none are.
    """

    def __init__(self, directory: pathlib.Path | None, steps: Sequence[int]):
        self._directory, self._steps = directory, tuple(steps) if directory else (0, 0)
        self._running = False

    def __enter__(self) -> "StepTrace":
        return self

    def __exit__(self, *_):
        if self._running:
            jax.profiler.stop_trace()

    def before(self, step: int) -> None:
        """To be called before each step."""
        first, last = self._steps
        if first <= step <= last and not self._running:
            jax.profiler.start_trace(str(self._directory))
            self._running = True

    def after(self, step: int, result) -> None:
        """To be called after each step; waits for its result if it is the last one traced."""
        if self._running and step >= self._steps[1]:
            jax.block_until_ready(result)
            jax.profiler.stop_trace()
            self._running = False
