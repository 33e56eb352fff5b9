"""Scores of sets of volumes: against plain definitions, and where the truth is known."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from lift_jax.evaluation import distribution, generation
from lift_jax.evaluation.distribution import (
    brain_region,
    centered_interval,
    frechet_estimates,
    kernel_estimates,
    mean_abs_delta_z,
    nearest_neighbors,
    pair_similarity,
    relative_estimate,
    spread_estimate,
)
from lift_jax.evaluation.generation import TOO_SMALL, score_sets
from lift_jax.evaluation.metrics import frechet_distance, ms_ssim


def random_features(n, slices, features, shift=0.0, seed=0):
    """Slices of a volume share a part, so that they depend on each other."""
    random = np.random.default_rng(seed)
    return shift + random.normal(size=(n, 1, features)) + 0.3 * random.normal(size=(n, slices, features))


def blobs(n, shape=(10, 12, 14), seed=0):
    """Volumes in [0, 1] with a bright ellipsoid of random place, size and brightness in air that is exactly 0."""
    random = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, side) for side in shape), indexing="ij"))
    volumes = []
    for _ in range(n):
        center, radius = random.uniform(-0.2, 0.2, (3, 1, 1, 1)), random.uniform(0.5, 0.7)
        inside = ((grid - center) ** 2).sum(0) < radius**2
        volumes.append(inside * random.uniform(0.4, 0.9) * (1 + 0.1 * random.normal(size=shape)).clip(0.5, 1.1))
    return np.array(volumes, np.float32)


def test_the_frechet_distance_of_slices_is_the_matrix_root_and_lies_in_its_interval():
    a, b = random_features(20, 3, 5), random_features(30, 3, 5, shift=0.8, seed=1)
    estimate = frechet_estimates({"a": a}, b, seed=0, resamples=50)["a"]
    rows = [x.reshape(-1, 5) for x in (a, b)]
    covariances = [np.cov(x, rowvar=False) for x in rows]
    cross = sqrtm(covariances[0] @ covariances[1]).real
    expected = ((rows[0].mean(0) - rows[1].mean(0)) ** 2).sum() + np.trace(sum(covariances) - 2 * cross)
    assert estimate.mean == pytest.approx(expected, rel=1e-6)
    assert 0 <= estimate.low < estimate.mean < estimate.high and estimate.n == 20


def test_resampled_frechet_distances_spread_as_those_of_fresh_volumes_do():
    fresh = [
        frechet_distance(
            random_features(24, 4, 3, seed=2 * i).reshape(-1, 3),
            random_features(24, 4, 3, 1.0, 2 * i + 1).reshape(-1, 3),
        )
        for i in range(200)
    ]
    width = np.subtract(*np.quantile(fresh, [0.975, 0.025]))
    widths = []
    for i in range(10):
        a, b = random_features(24, 4, 3, seed=900 + i), random_features(24, 4, 3, 1.0, 950 + i)
        estimate = frechet_estimates({"a": a}, b, seed=i, resamples=100)["a"]
        widths.append(estimate.high - estimate.low)
    assert 0.7 * width < np.mean(widths) < 1.4 * width


def test_many_features_of_few_volumes_still_have_an_interval():
    a, b = random_features(6, 1, 300), random_features(7, 1, 300, shift=0.3, seed=1)
    estimate = frechet_estimates({"a": a}, b, seed=0, resamples=30)["a"]
    assert estimate.mean == pytest.approx(frechet_distance(a[:, 0], b[:, 0]), rel=1e-9)
    assert np.isfinite(estimate.low) and estimate.low < estimate.mean < estimate.high


def test_a_set_does_not_change_the_estimate_of_another():
    a, b, reference = (random_features(8, 2, 4, seed=i) for i in range(3))
    together = kernel_estimates({"a": a, "b": b}, reference, seed=0)
    np.testing.assert_allclose(together["b"], kernel_estimates({"b": b}, reference, seed=0)["b"], rtol=1e-9)
    together = frechet_estimates({"a": a, "b": b}, reference, seed=0, resamples=20)
    alone = frechet_estimates({"b": b}, reference, seed=0, resamples=20)
    np.testing.assert_allclose(together["b"], alone["b"], rtol=1e-6)


def test_the_kernel_distance_compares_slices_of_different_volumes_alone():
    a, b = random_features(4, 3, 2), random_features(5, 3, 2, shift=0.5, seed=1)

    def mean_kernel(xs, ys, different):
        values = [
            (s @ t / 2 + 1) ** 3
            for i, x in enumerate(xs)
            for j, y in enumerate(ys)
            if i != j or not different
            for s in x
            for t in y
        ]
        return np.mean(values)

    expected = mean_kernel(a, a, True) + mean_kernel(b, b, True) - 2 * mean_kernel(a, b, False)
    assert kernel_estimates({"a": a}, b, seed=0)["a"].mean == pytest.approx(expected, rel=1e-9)


def test_the_kernel_distance_of_one_distribution_is_zero_on_average():
    values = [
        kernel_estimates({"a": random_features(8, 5, 3, seed=2 * i)}, random_features(8, 5, 3, seed=2 * i + 1), seed=0)
        for i in range(150)
    ]
    values = np.array([value["a"].mean for value in values])
    assert abs(values.mean()) < 3 * values.std() / np.sqrt(len(values))


def test_an_interval_lies_about_its_value_whatever_the_bias_of_its_resamples():
    resampled = np.random.default_rng(0).normal(5, 1, 100_000)
    estimate = centered_interval(2.0, [*resampled, np.nan], 1000)
    np.testing.assert_allclose(estimate, (2.0, 2 - 1.96, 2 + 1.96, 1000), atol=0.03)
    assert np.isnan(centered_interval(2.0, [np.nan, 1.0], 7).low)


def test_mean_step_is_the_loop_over_effective_neighbors_of_which_one_is_not_air():
    volume = blobs(1)[0] + 0.01  # air that a generator made
    steps = []
    for k in range(9):
        for y, x in np.ndindex(12, 14):
            low, high = float(volume[k, y, x]), float(volume[k + 1, y, x])
            steps += [abs(high - low)] if max(low, high) > 0.05 else []
    assert mean_abs_delta_z(volume) == pytest.approx(np.mean(steps), rel=1e-6)
    assert np.isnan(mean_abs_delta_z(np.zeros((3, 4, 5))))


def test_slices_that_do_not_fit_step_further_and_smeared_ones_less():
    real = blobs(12)
    shuffled = np.stack([real[np.random.default_rng(i).integers(12, size=10), range(10)] for i in range(12)])
    smeared = (real + np.roll(real, 1, 1) + np.roll(real, -1, 1)) / 3
    steps = [np.array([mean_abs_delta_z(volume) for volume in volumes]) for volumes in (real, shuffled, smeared)]
    assert relative_estimate(steps[1], steps[0], seed=0).low > 0.1
    assert relative_estimate(steps[2], steps[0], seed=0).high < -0.1
    assert relative_estimate(steps[0], steps[0], seed=0).mean == 0


def test_a_relative_estimate_is_the_ratio_of_means():
    estimate = relative_estimate([2.0, 4.0, 3.3, 3.1], [1.0, 2.0], seed=0)
    assert estimate.mean == pytest.approx(3.1 / 1.5 - 1) and estimate.n == 4
    assert estimate.low < estimate.mean < estimate.high


def test_spread_is_the_voxelwise_deviation_over_the_brain():
    a, b = blobs(7), blobs(9, seed=1)
    inside = b.max(0) > 0.05
    expected = a.std(0, ddof=1)[inside].mean() / b.std(0, ddof=1)[inside].mean() - 1
    assert spread_estimate(a, b, seed=0).mean == pytest.approx(expected, rel=1e-5)


def test_volumes_that_are_all_alike_have_less_spread():
    real = blobs(12)
    alike = real.mean(0) + 0.5 * (real - real.mean(0))
    estimate = spread_estimate(alike, real, seed=0)
    assert estimate.mean == pytest.approx(-0.5, abs=1e-5) and estimate.high < -0.3


def test_the_nearest_neighbor_is_found_with_its_distance(monkeypatch):
    monkeypatch.setattr(distribution, "NEIGHBOR_BLOCK", 3)
    training = blobs(8)
    generated = np.concatenate([training[[5, 1]] + 0.02, blobs(3, seed=9)])
    region = brain_region(training)
    expected = [[np.sqrt(np.mean(np.float64(a - b)[region] ** 2)) for b in training] for a in generated]
    nearest, distances = nearest_neighbors(generated, training, region)
    assert nearest.tolist() == np.argmin(expected, 1).tolist() and nearest[:2].tolist() == [5, 1]
    np.testing.assert_allclose(distances, np.min(expected, 1), rtol=1e-6)
    np.testing.assert_allclose(distances[:2], 0.02, rtol=1e-4)


def test_a_copy_of_a_training_volume_is_at_no_distance():
    training = blobs(8)
    assert nearest_neighbors(training[3:4], training, brain_region(training))[1][0] < 1e-7


def test_pair_similarity_is_the_mean_over_all_pairs_or_over_those_drawn():
    volumes = np.random.default_rng(0).random((3, 112, 112, 112)).astype(np.float32)
    volumes[1] = 0.5 * (volumes[0] + volumes[1])
    pairs = [ms_ssim(volumes[i], volumes[j]) for i, j in ((0, 1), (0, 2), (1, 2))]
    estimate, count = pair_similarity(volumes, pairs=10, seed=0)
    assert count == 3 and estimate.mean == pytest.approx(np.mean(pairs), rel=1e-9) and estimate.n == 3
    one, count = pair_similarity(volumes, pairs=1, seed=0)
    assert count == 1 and min(abs(one.mean - value) for value in pairs) < 1e-12


def pool(images):
    """An encoder for tests: means of quarters, the standard deviation and the roughness from row to row of an image."""
    _, h, w, _ = images.shape
    x = np.asarray(images)[..., 0]
    quarters = [x[:, a : a + h // 2, b : b + w // 2].mean((1, 2)) for a in (0, h // 2) for b in (0, w // 2)]
    return np.stack([*quarters, x.std((1, 2)), 10 * np.abs(np.diff(x, axis=1)).mean((1, 2))], axis=-1)


@pytest.fixture(scope="module")
def scored():
    reference, training, held_out, generated = (blobs(10, seed=i) for i in range(4))
    random = np.random.default_rng(0)
    sets = {
        "generated <b>": generated,
        "independent slices": np.stack([generated[random.integers(10, size=10), range(10)] for _ in range(10)]),
        "real (held out)": held_out,
    }
    scores = score_sets(
        sets,
        reference,
        training,
        slice_encoders={"quarters": pool},
        volume_encoders={"means": lambda volumes: volumes.mean((2, 3))},
        frechet_resamples=20,
    )
    return scores, sets, reference, training


def test_every_set_has_every_score_with_its_encoder_in_the_column(scored):
    scores, sets, *_ = scored
    assert list(scores.table) == list(sets)
    columns = [column for columns in scores.groups.values() for column in columns]
    for row in scores.table.values():
        assert set(row) == {column.key for column in columns}
        assert all(np.isfinite(estimate).all() and estimate.n == 10 for estimate in row.values())
    distances = [column for column in columns if column.label.startswith(("Fréchet", "kernel"))]
    assert len(distances) == 7
    assert all(column.label.endswith(("(quarters)", "(means)")) for column in distances)


def test_scores_are_those_of_the_features(scored):
    scores, sets, reference, _ = scored
    generated = sets["generated <b>"]

    def rows(volumes):  # coronal slices at the places that the reference fills
        filled = np.flatnonzero(reference.max(0).max((0, 2)) > 0)
        return np.concatenate([pool(2 * volume[:, filled].swapaxes(0, 1)[..., None] - 1) for volume in volumes])

    expected = frechet_distance(rows(generated), rows(reference))
    assert scores.table["generated <b>"]["frechet_coronal_quarters"].mean == pytest.approx(expected, rel=1e-4)
    expected = 1000 * frechet_distance(generated.mean((2, 3)), reference.mean((2, 3)))
    assert scores.table["generated <b>"]["frechet_3d_means_x1000"].mean == pytest.approx(expected, rel=1e-4)


def test_independent_slices_differ_in_the_planes_across_them(scored):
    table = scored[0].table
    for key in ("frechet_coronal_quarters", "frechet_sagittal_quarters", "step_relative"):
        assert table["independent slices"][key].mean > 2 * abs(table["generated <b>"][key].mean)


def test_small_volumes_leave_ms_ssim_out_and_say_so(scored):
    scores = scored[0]
    assert scores.notes == [TOO_SMALL]
    assert not any("ms_ssim" in row for row in scores.table.values())


def test_scores_are_the_same_each_time(scored):
    scores, sets, reference, training = scored
    again = score_sets(
        sets, reference, training, slice_encoders={"quarters": pool}, volume_encoders={}, frechet_resamples=20
    )
    for name, row in again.table.items():
        assert row == {key: scores.table[name][key] for key in row}


def test_every_volume_has_a_row(scored):
    scores, sets, _, training = scored
    found = [(row["set"], row["sample"]) for row in scores.volume_rows]
    assert found == [(name, i) for name in sets for i in range(10)]
    row = scores.volume_rows[13]
    volume = sets["independent slices"][3]
    nearest, distance = nearest_neighbors(volume[None], training, brain_region(training))
    assert row["nearest_training"] == nearest[0] and row["nearest_rmse"] == pytest.approx(distance[0], rel=1e-9)
    assert row["step"] == mean_abs_delta_z(volume)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda volumes: volumes[:, :5], "generated: needs two or more volumes"),
        (lambda volumes: volumes[:1], "generated: needs two or more volumes"),
        (lambda volumes: np.where(volumes > 0, volumes, np.nan), "generated: holds values that are not finite"),
    ],
)
def test_sets_that_cannot_be_compared_are_refused(change, message):
    real = blobs(4)
    with pytest.raises(ValueError, match=message):
        score_sets({"generated": change(real)}, real, real, slice_encoders={}, volume_encoders={})


def test_large_volumes_have_ms_ssim_and_the_notes_say_of_how_many_pairs(monkeypatch):
    monkeypatch.setattr(generation, "MS_SSIM_SIDE", 1)
    monkeypatch.setattr(distribution, "ms_ssim", lambda a, b: 1 - float(np.abs(a - b).mean()))
    generated, real = blobs(5), blobs(3, seed=1)
    scores = score_sets(
        {"generated": generated, "real": real}, real, real, slice_encoders={}, volume_encoders={}, pairs=4
    )
    expected = np.mean([1 - np.abs(real[i] - real[j]).mean() for i, j in ((0, 1), (0, 2), (1, 2))])
    assert scores.table["real"]["ms_ssim"].mean == pytest.approx(expected, rel=1e-6)
    assert "4 of generated, 3 of real" in scores.notes[0]
    assert "ms_ssim" in [column.key for column in scores.groups["Volumes as they are"]]
