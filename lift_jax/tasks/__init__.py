"""Tasks: what a run is. `TASKS` has them by name; nothing outside this package asks for a task's name."""

from ml_collections import ConfigDict

from lift_jax.tasks.base import EvaluateOptions, SweepSupport, SynthesizeOptions, Task, deferred

TRANSLATION = Task(
    name="translation",
    check_devices=deferred("training.translation", "check_devices"),
    train=deferred("training.translation", "train_translation"),
    evaluate=deferred("tasks.translation", "evaluate_translation"),
    synthesize=deferred("tasks.translation_synthesis", "synthesize_translation"),
    flags=frozenset({"root", "dtype", "case", "input", "mask", "target", "force", "skip_existing"}),
    sweep_module="tasks.translation",
)
GENERATION = Task(
    name="generation",
    check_devices=deferred("training.generation", "check_generation"),
    train=deferred("training.generation", "train_generation"),
    evaluate=deferred("tasks.generation", "evaluate_generation"),
    synthesize=deferred("tasks.generation", "synthesize_generation"),
    flags=frozenset({"medicalnet", "count", "seed", "depth", "spacing", "temperature"}),
    sweep_module="tasks.generation",
)
TASKS: dict[str, Task] = {task.name: task for task in (TRANSLATION, GENERATION)}


def task_of(config: ConfigDict) -> Task:
    """The task of a valid configuration."""
    return TASKS[config.task]


__all__ = ["TASKS", "EvaluateOptions", "SweepSupport", "SynthesizeOptions", "Task", "task_of"]
