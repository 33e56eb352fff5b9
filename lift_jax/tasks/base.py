"""What a task is: all that differs between translating volumes and generating them from noise."""

import dataclasses
import importlib
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from ml_collections import ConfigDict

from lift_jax.paths import PathLike

if TYPE_CHECKING:
    from lift_jax.evaluation.statistics import Column


def deferred(module: str, name: str) -> Callable[..., Any]:
    """A function of a module that is imported at the first call, so that a command loads only the parts it runs."""

    def call(*arguments):
        return getattr(importlib.import_module(f"lift_jax.{module}"), name)(*arguments)

    return call


@dataclasses.dataclass(frozen=True)
class EvaluateOptions:
    """What `evaluate.py` was given for a run; None where a flag was not.

    Attributes:
      root: folder of subjects to score in place of the test split.
      output: folder for the results.
      dtype: of activations.
      medicalnet: weights of the 3D encoder of Fréchet distances.
    """

    root: pathlib.Path | None = None
    output: PathLike | None = None
    dtype: str | None = None
    medicalnet: str | None = None


@dataclasses.dataclass(frozen=True)
class SynthesizeOptions:
    """What `synthesize.py` was given for a run; None where a flag was not.

    Attributes:
      output: folder for the results, or the file of a single one.
      case: folder of subjects, or of one.
      inputs: channel to file, in place of `case`.
      mask: file of the foreground of `inputs`.
      target: channel to predict.
      force: predict a target that is there.
      skip_existing: leave out subjects with results of the same checkpoint.
      dtype: of activations.
      count: volumes to sample; seed: of their latents; depth: their slices, 0 for those of training.
      spacing: of their voxels, mm; temperature: of their latents.
    """

    output: pathlib.Path
    case: pathlib.Path | None = None
    inputs: Mapping[str, pathlib.Path] = dataclasses.field(default_factory=dict)
    mask: pathlib.Path | None = None
    target: str | None = None
    force: bool = False
    skip_existing: bool = False
    dtype: str | None = None
    count: int | None = None
    seed: int = 0
    depth: int = 0
    spacing: float | None = None
    temperature: float | None = None


@dataclasses.dataclass(frozen=True)
class Example:
    """One output of a run for the page of a sweep, beside the volumes it belongs to, all `[D, H, W]`.

    Attributes:
      name: what it is, the same for all runs.
      references: real volumes by heading, the same for all runs of a seed.
      volume: the output.
      windows: `(low, high)`, black and white, by heading; of `volume` by "". (0, 1) where there is none.
    """

    name: str
    references: dict[str, np.ndarray]
    volume: np.ndarray
    windows: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class RunScores:
    """The scores of a run of a sweep.

    Attributes:
      scores: `scores[name][metric]`, of the model and of what it is compared with; None where it is not finite.
      count: how many volumes or subjects were scored.
      examples: volumes for the page.
      spacing: mm between their voxels along `(D, H, W)`.
    """

    scores: dict[str, dict[str, float | None]]
    count: int
    examples: list[Example]
    spacing: tuple[float, float, float]


@dataclasses.dataclass(frozen=True)
class SweepSupport:
    """How runs of a task are scored and shown in sweeps.

    Attributes:
      columns: configuration to the metrics of its runs.
      baselines: configuration to what is scored beside the model.
      score: scores the run in a work directory.
      independent: stage to the keys and sections of the configuration that it, and those before it, do not depend on.
      description: what a run does, for the page; unit: what is counted.
      shown: what the pictures of the page show.
      notes: how to read the page, for this task.
      measured_by: the stage and section of the model that metrics are computed with, and that variants must share; "".
    """

    columns: Callable[[ConfigDict], "Sequence[Column]"]
    baselines: Callable[[ConfigDict], Sequence[str]]
    score: Callable[[PathLike], RunScores]
    independent: Mapping[str, Sequence[str]]
    description: str
    unit: str
    shown: str
    notes: Sequence[str] = ()
    measured_by: str = ""


@dataclasses.dataclass(frozen=True)
class Task:
    """A task by its parts; `tasks.TASKS` has them by name, and nothing else asks for a task's name.

    Attributes:
      name: the value of `config.task`.
      check_devices: refuses a configuration that cannot be trained on so many devices, before anything is read.
      train: trains all stages of a configuration in a work directory, from wherever they stopped.
      evaluate: scores the run in a work directory and writes its report; returns the report's path (process 0).
      synthesize: writes volumes of the run in a work directory, and yields one line for each as it is written.
      flags: the flags of `synthesize.py` and `evaluate.py` that apply to the task; another one is an error.
      sweep_module: the module whose `SWEEP` is for `sweep.py`, without the package's name.
    """

    name: str
    check_devices: Callable[[ConfigDict, int], None]
    train: Callable[[ConfigDict, PathLike], None]
    evaluate: Callable[[PathLike, EvaluateOptions], PathLike | None]
    synthesize: Callable[[PathLike, SynthesizeOptions], Iterator[str]]
    flags: frozenset[str]
    sweep_module: str

    @property
    def sweep(self) -> SweepSupport:
        """How runs of the task are scored and shown in sweeps."""
        return importlib.import_module(f"lift_jax.{self.sweep_module}").SWEEP
