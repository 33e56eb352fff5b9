"""Generation (LiFT-U): volumes of one channel from noise."""

from lift_jax.tasks.base import Task, deferred

TASK = Task(
    name="generation",
    check_devices=deferred("training.generation_checks", "check_generation"),
    train=deferred("training.generation", "train_generation"),
    evaluate=deferred("tasks.generation_evaluation", "evaluate_generation"),
    synthesize=deferred("tasks.generation_evaluation", "synthesize_generation"),
    flags=frozenset({"medicalnet", "count", "seed", "depth", "spacing", "temperature"}),
    sweep_module="tasks.generation_evaluation",
)
