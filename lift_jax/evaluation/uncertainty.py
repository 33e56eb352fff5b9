"""Whether an uncertainty knows the error: where it is large, is the error large?"""

from collections.abc import Sequence

import numpy as np

from lift_jax.evaluation.inputs import pearson


def rank_correlation(error, uncertainty) -> float:
    """Spearman's rank correlation of two samples of one shape; nan where one of them is constant.

    Equal values share the mean of their ranks.

    Raises:
      ValueError: different shapes, no values, or values that are not finite.
    """
    return pearson(*(_ranks(values) for values in _samples(error, uncertainty)))


def retention_curve(error, uncertainty, fractions: Sequence[float]) -> np.ndarray:
    """The mean error of what is kept when the most uncertain is put aside: `[len(fractions)]` float64.

    Flat where the uncertainty knows nothing of the error; `retention_curve(error, error, fractions)` is the best there
    can be. Of equally uncertain values, those that come first are kept.

    Args:
      error: absolute errors, any shape.
      uncertainty: of the same shape.
      fractions: shares that are kept, in (0, 1]; at least one value always is.

    Raises:
      ValueError: different shapes, no values, values that are not finite, or a fraction outside (0, 1].
    """
    error, uncertainty = _samples(error, uncertainty)
    fractions = np.asarray(fractions, np.float64)
    if not ((fractions > 0) & (fractions <= 1)).all():
        raise ValueError(f"fractions that are kept lie above 0 and up to 1, got {fractions}")
    sums = np.cumsum(error[np.argsort(uncertainty, kind="stable")])
    kept = np.maximum(np.round(fractions * error.size).astype(int), 1)
    return sums[kept - 1] / kept


def _samples(error, uncertainty) -> tuple[np.ndarray, np.ndarray]:
    error, uncertainty = np.asarray(error, np.float64), np.asarray(uncertainty, np.float64)
    if error.shape != uncertainty.shape or error.size == 0:
        raise ValueError(f"error and uncertainty must be of one shape, got {error.shape} and {uncertainty.shape}")
    if not (np.isfinite(error).all() and np.isfinite(uncertainty).all()):
        raise ValueError("error or uncertainty holds values that are not finite")
    return error.ravel(), uncertainty.ravel()


def _ranks(values: np.ndarray) -> np.ndarray:
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[places]
