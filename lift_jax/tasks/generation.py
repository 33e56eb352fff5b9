"""Generation (LiFT-U): volumes of one channel from noise."""

from lift_jax.tasks.base import Task
from lift_jax.training.generation import train_generation
from lift_jax.training.generation_checks import check_generation

TASK = Task("generation", check_generation, train_generation, None, None, frozenset(), None)
