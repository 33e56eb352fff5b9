"""Translation (LiFT-C): channels of a subject to another."""

from lift_jax.tasks.base import Task, deferred

TASK = Task(
    name="translation",
    check_devices=deferred("training.translation", "check_devices"),
    train=deferred("training.translation", "train_translation"),
    evaluate=deferred("tasks.translation_evaluation", "evaluate_translation"),
    synthesize=deferred("tasks.translation_synthesis", "synthesize_translation"),
    flags=frozenset({"root", "dtype", "case", "input", "mask", "target", "force", "skip_existing"}),
    sweep_module="tasks.translation_sweeps",
)
