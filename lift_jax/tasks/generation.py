"""Generation (LiFT-U): volumes of one channel from noise."""

from lift_jax.tasks.base import Task
from lift_jax.tasks.generation_evaluation import SWEEP, evaluate_generation, synthesize_generation
from lift_jax.training.generation import train_generation
from lift_jax.training.generation_checks import check_generation

TASK = Task(
    name="generation",
    check_devices=check_generation,
    train=train_generation,
    evaluate=evaluate_generation,
    synthesize=synthesize_generation,
    flags=frozenset({"medicalnet", "count", "seed", "depth", "spacing", "temperature"}),
    sweep=SWEEP,
)
