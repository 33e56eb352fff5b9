"""Data sets: where the channels of subjects come from."""

from lift_jax.data.datasets.registry import DATASETS, DataSet, find_subjects

__all__ = ["DATASETS", "DataSet", "find_subjects"]
