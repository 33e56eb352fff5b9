"""Metrics of synthetic CT, against scikit-image and plain NumPy."""

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from lift_jax.evaluation.ct_scores import CT_COLUMNS, score_ct, tissue_overlap
from lift_jax.evaluation.report.calibration import CALIBRATION_EDGES, calibration, tissue_means

SHAPE = (14, 15, 16)


@pytest.fixture(scope="module")
def volumes():
    generator = np.random.default_rng(0)
    target = generator.uniform(-1100, 3200, SHAPE)
    return target, target + generator.normal(0, 150, SHAPE), generator.random(SHAPE) < 0.7


def test_scores_are_the_challenges_and_their_columns(volumes):
    target, prediction, mask = volumes
    scores = score_ct(target, prediction, mask)
    assert list(scores) == [column.key for column in CT_COLUMNS]
    assert scores["mae"] == pytest.approx(np.abs(target - prediction)[mask].mean(), rel=1e-9)
    clipped = [np.clip(volume, -1024, 3000) for volume in (target, prediction)]
    expected = peak_signal_noise_ratio(clipped[0][mask], clipped[1][mask], data_range=4024)
    assert scores["psnr"] == pytest.approx(expected, rel=1e-9)
    shifted = [np.where(mask, volume, -1024) + 1024 for volume in clipped]
    _, similarity = structural_similarity(*shifted, data_range=4024, full=True)
    inner = (slice(3, -3),) * 3
    assert scores["ssim"] == pytest.approx(similarity[inner][mask[inner]].mean(), rel=1e-6)
    assert scores["ncc"] == pytest.approx(np.corrcoef(target[mask], prediction[mask])[0, 1], rel=1e-9)
    pairs = mask[1:] & mask[:-1]
    steps = np.abs(np.diff(prediction, axis=0) - np.diff(target, axis=0))
    assert scores["delta_z_mae"] == pytest.approx(steps[pairs].mean(), rel=1e-9)
    bone = pairs & (target[1:] > 250) & (target[:-1] > 250)
    assert scores["delta_z_mae_bone"] == pytest.approx(steps[bone].mean(), rel=1e-9)


def test_float32_volumes_score_as_float64_ones(volumes):
    target, prediction, mask = volumes
    exact = score_ct(target, prediction, mask)
    for key, value in score_ct(target.astype(np.float32), prediction.astype(np.float32), mask).items():
        assert value == pytest.approx(exact[key], rel=1e-4), key


def test_overlap_is_dice_counted_by_hand():
    target = np.full((2, 3, 4), 40.0)
    prediction = target.copy()
    target[0, 0] = 600  # 4 voxels of bone, of which 3 are predicted, beside 2 others
    prediction[0, 0, :3] = 251
    prediction[1, 1, :2] = 300
    target[1, 2, :3] = -900  # 3 voxels of air, of which 1 is predicted
    prediction[1, 2, 0] = -401
    prediction[1, 2, 1] = -400
    overlap = tissue_overlap(target, prediction, np.ones(target.shape))
    assert overlap == {"dice_bone": pytest.approx(2 * 3 / (4 + 5)), "dice_air": pytest.approx(2 * 1 / (3 + 1))}
    mask = np.ones(target.shape)
    mask[1] = 0
    assert tissue_overlap(target, prediction, mask)["dice_bone"] == pytest.approx(2 * 3 / (4 + 3))
    assert np.isnan(tissue_overlap(target, prediction, mask)["dice_air"])


def test_calibration_gives_quartiles_by_true_number_and_means_by_tissue():
    generator = np.random.default_rng(1)
    target = generator.uniform(-1000, 1800, 20_000)
    prediction = 0.8 * target + 10 + generator.normal(0, 5, target.size)
    rows = calibration(target, prediction)
    assert len(rows) == len(CALIBRATION_EDGES) - 3  # nothing above 1,800
    np.testing.assert_allclose(rows[:, 2], 0.8 * rows[:, 0] + 10, atol=5)
    assert (rows[:, 1] <= rows[:, 2]).all() and (rows[:, 2] <= rows[:, 3]).all()
    chosen = (target >= -30) & (target < 100)
    expected = pytest.approx((target[chosen].mean(), prediction[chosen].mean()))
    assert tissue_means(target, prediction)["soft"] == expected
    assert "air" not in tissue_means(np.array([30.0]), np.array([25.0]))
