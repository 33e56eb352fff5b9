"""Through-plane metrics against loops over pairs of neighboring voxels."""

import jax.numpy as jnp
import numpy as np
import pytest

from lift_jax.evaluation.metrics.through_plane import delta_z, z_profile


def volumes(shape=(6, 5, 4), seed=0):
    generator = np.random.default_rng(seed)
    target = generator.normal(size=shape)
    return target, target + 0.3 * generator.normal(size=shape), generator.random(shape) < 0.7


def pairs_by_loop(target, prediction, inside):
    """(true Δz, predicted Δz) of every voxel and its upper neighbor that both satisfy `inside`."""
    found = []
    for k, j, i in np.ndindex(target.shape[0] - 1, *target.shape[1:]):
        if inside[k, j, i] and inside[k + 1, j, i]:
            found.append((target[k + 1, j, i] - target[k, j, i], prediction[k + 1, j, i] - prediction[k, j, i]))
    return np.array(found)


def test_mae_and_correlation_equal_a_loop_over_pairs():
    target, prediction, mask = volumes()
    pairs = pairs_by_loop(target, prediction, mask)
    scores = delta_z(target, prediction, mask)
    assert scores["mae"] == pytest.approx(np.abs(pairs[:, 1] - pairs[:, 0]).mean(), rel=1e-12)
    assert scores["correlation"] == pytest.approx(np.corrcoef(pairs.T)[0, 1], rel=1e-12)


def test_bone_counts_pairs_whose_voxels_are_both_bone_in_the_target():
    target, prediction, mask = volumes()
    pairs = pairs_by_loop(target, prediction, mask & (target > 0.2))
    scores = delta_z(target, prediction, mask, bone_threshold=0.2)
    assert scores["mae_bone"] == pytest.approx(np.abs(pairs[:, 1] - pairs[:, 0]).mean(), rel=1e-12)
    assert scores["mae_bone"] != scores["mae"] == delta_z(target, prediction, mask)["mae"]


def test_bone_is_nan_without_a_threshold_and_without_bone():
    target, prediction, mask = volumes()
    assert np.isnan(delta_z(target, prediction, mask)["mae_bone"])
    assert np.isnan(delta_z(target, prediction, mask, bone_threshold=100.0)["mae_bone"])


def test_a_constant_offset_does_not_show_and_slice_gains_do():
    target, _, mask = volumes()
    shifted = delta_z(target, target + 5.0, mask)
    assert shifted["mae"] == pytest.approx(0, abs=1e-12) and shifted["correlation"] == pytest.approx(1)
    gains = np.where(np.arange(6) % 2, 1.1, 0.9)[:, None, None]
    assert delta_z(target + 3.0, (target + 3.0) * gains, mask)["mae"] > 0.3


def test_values_outside_the_mask_do_not_count():
    target, prediction, mask = volumes()
    changed = np.where(mask, prediction, 99.0)
    assert delta_z(target, changed, mask) == pytest.approx(delta_z(target, prediction, mask), nan_ok=True)


def test_jax_arrays_give_python_floats():
    target, prediction, mask = volumes()
    scores = delta_z(jnp.asarray(target), jnp.asarray(prediction), jnp.asarray(mask))
    assert all(type(value) is float for value in scores.values())


def test_a_constant_prediction_has_no_correlation():
    target, _, mask = volumes()
    assert np.isnan(delta_z(target, np.zeros_like(target), mask)["correlation"])


def test_a_mask_without_neighboring_slices_is_refused():
    target, prediction, mask = volumes()
    mask[1::2] = False
    with pytest.raises(ValueError, match="next slice"):
        delta_z(target, prediction, mask)


def test_an_empty_mask_is_refused():
    target, prediction, mask = volumes()
    with pytest.raises(ValueError, match="empty"):
        delta_z(target, prediction, mask & False)


def test_profile_is_the_mean_of_each_slice_in_the_mask():
    target, _, mask = volumes()
    mask[2] = False
    profile = z_profile(target, mask)
    expected = [target[k][mask[k]].mean() if mask[k].any() else np.nan for k in range(6)]
    np.testing.assert_allclose(profile, expected, rtol=1e-12)
    assert np.isnan(profile[2])
