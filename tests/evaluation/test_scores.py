"""Scores are the plain metrics of each region: NumPy, scikit-image and the protocols' definitions."""

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from lift_jax.data.intensity import get_protocol
from lift_jax.evaluation.columns import HU_COLUMNS, REGION_COLUMNS, UNIT_COLUMNS, columns_of
from lift_jax.evaluation.metrics import delta_z, unit_range
from lift_jax.evaluation.report.pictures import CALIBRATION_EDGES, calibration, tissue_means
from lift_jax.evaluation.scores import ScoredChannel, score_hu, score_methods, score_unit, tissue_overlap

UNIT, HU = get_protocol("mr_quantile"), get_protocol("ct_hu")


def channel(shape):
    """Target, prediction and two sources: an ellipsoid of noise, the first source smaller than the second."""
    generator = np.random.default_rng(0)
    grid = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    radius = np.sqrt(sum(axis**2 for axis in grid))
    target = (0.2 + 0.6 * generator.random(shape)) * (radius < 0.9)
    sources = [target * 0.8 * (radius < 0.7), target * 0.9 + 0.05 * (radius < 0.9)]
    prediction = target + generator.normal(0, 0.3, shape)
    return target.astype(np.float32), prediction.astype(np.float32), [s.astype(np.float32) for s in sources]


def named(scores, ending):
    return {f"{name}{ending}": value for name, value in scores.items()}


def truth(target, sources, segmentation=None, units=("[0, 1]", "[0, 1]"), protocol=UNIT):
    brain = (sources[0] > 0) | (sources[1] > 0)
    names = dict(zip("ab", sources, strict=True))
    return ScoredChannel(
        protocol, target, brain, sources[0] > 0, names, dict(zip("ab", units, strict=True)), segmentation
    )


@pytest.mark.parametrize("shape", [(12, 16, 14), (9, 240, 240)])
def test_scores_in_unit_range_are_the_metrics_of_each_region(shape):
    target, prediction, sources = channel(shape)
    brain, visible = (sources[0] > 0) | (sources[1] > 0), sources[0] > 0
    scores = score_unit(target, prediction, brain, visible)
    shown = np.where(sources[0] == 0, 0, prediction.clip(0, 1))
    expected = named(unit_range(target, shown), "") | named(unit_range(target, shown, brain), "_brain")
    if shape[1:] == (240, 240):
        box = (slice(None), slice(8, 232), slice(8, 232))
        expected |= named(unit_range(target[box], shown[box]), "_crop")
        expected |= named(unit_range(target[box], shown[box], brain[box]), "_crop_brain")
    through_plane = delta_z(target, shown, brain)
    expected |= {"delta_z_mae": through_plane["mae"], "delta_z_correlation": through_plane["correlation"]}
    assert scores == pytest.approx(expected, rel=1e-9)
    assert all(type(value) is float for value in scores.values())


def test_a_segmentation_adds_the_metrics_of_tumor_and_of_healthy_tissue():
    target, prediction, sources = channel((12, 16, 14))
    labels = np.zeros(target.shape, np.uint8)
    labels[4:8, 5:11, 4:9] = 3
    labels[0, 0, 0] = 1  # outside of the brain: in neither region
    scores = score_methods(truth(target, sources, labels), prediction)["model"]
    shown, brain = np.where(sources[0] == 0, 0, prediction.clip(0, 1)), (sources[0] > 0) | (sources[1] > 0)
    for name, region in (("tumor", labels > 0), ("healthy", labels == 0)):
        expected = named(unit_range(target, shown, region & brain), f"_{name}")
        assert {key: scores[key] for key in expected} == pytest.approx(expected, rel=1e-9)
    empty = score_methods(truth(target, sources, labels * 0), prediction)["model"]
    assert np.isnan(empty["psnr_tumor"]) and empty["psnr_healthy"] == pytest.approx(empty["psnr_brain"])
    assert "psnr_tumor" not in score_methods(truth(target, sources), prediction)["model"]


def test_regions_of_a_ct_are_scored_in_the_challenges_range(volumes):
    target, prediction, mask = volumes
    region = np.zeros(SHAPE, bool)
    region[4:9, 4:10, 5:11] = True
    scores = score_hu(target, prediction, mask, {"tumor": region & mask})
    clipped = [np.clip(volume, -1024, 3000)[region & mask] for volume in (target, prediction)]
    expected = peak_signal_noise_ratio(*clipped, data_range=4024)
    assert scores["psnr_tumor"] == pytest.approx(expected, rel=1e-9)
    whole = score_hu(target, prediction, mask, {"tumor": mask})
    assert (whole["psnr_tumor"], whole["ssim_tumor"]) == pytest.approx((whole["psnr"], whole["ssim"]))


def test_the_best_source_is_the_likest_one_and_scores_as_a_prediction_would():
    target, prediction, sources = channel((12, 16, 14))
    scored = truth(target, sources[::-1])
    scores = score_methods(scored, prediction)
    assert list(scores) == ["model", "best source", "mean of sources"]
    inputs = target, scored.foreground, scored.visible
    assert scores["model"] == score_unit(target, prediction, *inputs[1:])
    assert scores["best source"] == score_unit(target, sources[1], *inputs[1:])
    assert scores["mean of sources"] == score_unit(target, np.mean(sources, axis=0), *inputs[1:])


def test_methods_follow_from_the_units_of_target_and_sources(volumes):
    target, prediction, mask = volumes
    mr, cbct = np.where(mask, 0.5, 0), target + 30
    scored = ScoredChannel(HU, target, mask, mask, {"mr": mr, "cbct": cbct}, {"mr": "[0, 1]", "cbct": "HU"})
    scores = score_methods(scored, prediction)
    assert list(scores) == ["model", "water", "source cbct"]
    assert scores["source cbct"]["mae"] == pytest.approx(30)
    assert scores["water"]["mae"] == pytest.approx(np.abs(target[mask]).mean())
    to_mr = ScoredChannel(UNIT, mr, mask, mask, {"ct": target}, {"ct": "HU"})
    assert list(score_methods(to_mr, mr)) == ["model"]


def test_sources_without_a_foreground_are_refused():
    target, prediction, sources = channel((12, 16, 14))
    with pytest.raises(ValueError, match="no foreground"):
        score_methods(truth(target, [source * 0 for source in sources]), prediction)


def test_columns_of_both_units_share_what_both_have():
    assert columns_of(["HU", "HU"]) == HU_COLUMNS
    both = columns_of(["[0, 1]", "HU"])
    assert {column.key for column in both} == {column.key for column in (*UNIT_COLUMNS, *HU_COLUMNS)}
    (shared,) = (column for column in both if column.key == "delta_z_mae")
    assert (shared.label, shared.digits) == ("Δz MAE", 4)


SHAPE = (14, 15, 16)


@pytest.fixture(scope="module")
def volumes():
    generator = np.random.default_rng(0)
    target = generator.uniform(-1100, 3200, SHAPE)
    return target, target + generator.normal(0, 150, SHAPE), generator.random(SHAPE) < 0.7


def test_scores_are_the_challenges_and_their_columns(volumes):
    target, prediction, mask = volumes
    scores = score_hu(target, prediction, mask)
    assert list(scores) == [column.key for column in HU_COLUMNS if column not in REGION_COLUMNS]
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
    exact = score_hu(target, prediction, mask)
    for key, value in score_hu(target.astype(np.float32), prediction.astype(np.float32), mask).items():
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
