"""Translation (LiFT-C): channels of a subject to another."""

from lift_jax.tasks.base import Task
from lift_jax.tasks.translation_evaluation import evaluate_translation
from lift_jax.tasks.translation_sweeps import SWEEP
from lift_jax.tasks.translation_synthesis import synthesize_translation
from lift_jax.training.translation import check_devices, train_translation

TASK = Task(
    name="translation",
    check_devices=check_devices,
    train=train_translation,
    evaluate=evaluate_translation,
    synthesize=synthesize_translation,
    flags=frozenset({"root", "dtype", "case", "input", "mask", "target", "force", "skip_existing"}),
    sweep=SWEEP,
)
