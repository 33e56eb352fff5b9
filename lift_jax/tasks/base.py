"""What a task is: all that differs between translating volumes and generating them from noise."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence

from ml_collections import ConfigDict

from lift_jax.evaluation.aggregates import Column
from lift_jax.places import Place


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
    output: Place | None = None
    dtype: str | None = None
    medicalnet: str | None = None


@dataclasses.dataclass(frozen=True)
class SweepSupport:
    """How runs of a task are scored and shown in sweeps.

    Attributes:
      columns: configuration to the metrics of its runs.
      baselines: what is scored beside the model.
      score: work directory to `(scores, count, shown volumes, spacing)`.
      independent: stage to the keys and sections of the configuration that it, and those before it, do not depend on.
      description: what a run does, for the page; unit: what is counted.
      notes: how to read the page, for this task.
    """

    columns: Callable[[ConfigDict], Sequence[Column]]
    baselines: Sequence[str]
    score: Callable[[Place], tuple]
    independent: Mapping[str, Sequence[str]]
    description: str
    unit: str
    notes: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Task:
    """A task by its parts; `tasks.TASKS` has them by name, and nothing else asks for a task's name.

    Attributes:
      name: the value of `config.task`.
      check_devices: refuses a configuration that cannot be trained on so many devices, before anything is read.
      train: trains all stages of a configuration in a work directory, from wherever they stopped.
      evaluate: scores the run in a work directory and writes its report; returns the report's path (process 0).
      flags: the flags of `synthesize.py` and `evaluate.py` that apply to the task; another one is an error.
      sweep: for `sweep.py`.
    """

    name: str
    check_devices: Callable[[ConfigDict, int], None]
    train: Callable[[ConfigDict, Place], None]
    evaluate: Callable[[Place, EvaluateOptions], Place | None]
    synthesize: Callable
    flags: frozenset[str]
    sweep: SweepSupport
