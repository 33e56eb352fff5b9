"""Scores by the cWDM protocol are the plain metrics of the protocol's regions."""

import numpy as np
import pytest

from lift_jax.evaluation.image_metrics import unit_range
from lift_jax.evaluation.scores import score_cwdm, score_methods_cwdm
from lift_jax.evaluation.through_plane import delta_z


def case(shape):
    """Target, prediction and two sources: an ellipsoid of noise, the first source smaller than the second."""
    generator = np.random.default_rng(0)
    grid = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    radius = np.sqrt(sum(axis**2 for axis in grid))
    target = (0.2 + 0.6 * generator.random(shape)) * (radius < 0.9)
    sources = np.stack([target * 0.8 * (radius < 0.7), target * 0.9 + 0.05 * (radius < 0.9)], axis=-1)
    prediction = target + generator.normal(0, 0.3, shape)
    return target.astype(np.float32), prediction.astype(np.float32), sources.astype(np.float32)


def named(scores, ending):
    return {f"{name}{ending}": value for name, value in scores.items()}


@pytest.mark.parametrize("shape", [(12, 16, 14), (9, 240, 240)])
def test_scores_are_the_metrics_of_each_region(shape):
    target, prediction, sources = case(shape)
    scores = score_cwdm(target, prediction, sources, sources[..., 0])
    shown = np.where(sources[..., 0] == 0, 0, prediction.clip(0, 1))
    brain = (sources > 0).any(-1)
    expected = named(unit_range(target, shown), "") | named(unit_range(target, shown, brain), "_brain")
    if shape[1:] == (240, 240):
        box = (slice(None), slice(8, 232), slice(8, 232))
        expected |= named(unit_range(target[box], shown[box]), "_crop")
        expected |= named(unit_range(target[box], shown[box], brain[box]), "_crop_brain")
    through_plane = delta_z(target, shown, brain)
    expected |= {"delta_z_mae": through_plane["mae"], "delta_z_correlation": through_plane["correlation"]}
    assert scores == pytest.approx(expected, rel=1e-9)
    assert all(type(value) is float for value in scores.values())


def test_the_best_source_is_the_likest_one_and_scores_as_a_prediction_would():
    target, prediction, sources = case((12, 16, 14))
    scores = score_methods_cwdm(target, prediction, sources[..., ::-1], sources[..., 1])
    assert list(scores) == ["model", "best source", "mean of sources"]
    assert scores["model"] == score_cwdm(target, prediction, sources, sources[..., 1])
    assert scores["best source"] == score_cwdm(target, sources[..., 1], sources, sources[..., 1])
    assert scores["mean of sources"] == score_cwdm(target, sources.mean(-1), sources, sources[..., 1])


def test_sources_without_a_brain_are_refused():
    target, prediction, sources = case((12, 16, 14))
    with pytest.raises(ValueError, match="no brain"):
        score_cwdm(target, prediction, sources * 0, sources[..., 0])
