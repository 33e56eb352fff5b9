"""Tasks: what a run is. `TASKS` has them by name; nothing outside this package asks for a task's name."""

from ml_collections import ConfigDict

from lift_jax.tasks import generation, translation
from lift_jax.tasks.base import EvaluateOptions, SweepSupport, SynthesizeOptions, Task

TASKS: dict[str, Task] = {task.name: task for task in (translation.TASK, generation.TASK)}


def task_of(config: ConfigDict) -> Task:
    """The task of a valid configuration."""
    return TASKS[config.task]


__all__ = ["TASKS", "EvaluateOptions", "SweepSupport", "SynthesizeOptions", "Task", "task_of"]
