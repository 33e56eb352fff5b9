"""How sure a translation is, and whether that knows the error."""

import json

import nibabel as nib
import numpy as np
import pytest
from scipy import stats
from small_network import random_parameters, small_network

from configs.quickstart import get_config
from lift_jax.data.brats import BratsCases
from lift_jax.data.cases import Case
from lift_jax.evaluation.uncertainty import rank_correlation, retention_curve
from lift_jax.inference.complete import predict_contrasts
from lift_jax.inference.files import ContrastSynthesis
from lift_jax.inference.uncertainty import predict_with_deviation, views
from lift_jax.models.build import configured_translator
from lift_jax.trained import Trained

AVAILABLE = np.array([True, False, True, True])


@pytest.mark.parametrize(("available", "count"), [((1, 0, 0, 0), 2), ((0, 1, 1, 0), 6), ((1, 0, 1, 1), 8)])
def test_views_begin_with_the_plain_one_and_are_all_different_and_never_without_a_source(available, count):
    available = np.array(available, bool)
    every = views(available, 100)
    seen = [(view.mirrored, tuple(view.available)) for view in every]
    assert seen[:2] == [(False, tuple(available)), (True, tuple(available))]
    assert len(set(seen)) == len(seen) == count
    for view in every:
        assert view.available.any() and not (view.available & ~available).any()
    few = views(available, 3)
    assert [(view.mirrored, tuple(view.available)) for view in few] == seen[:3]


def test_the_deviation_is_that_of_the_predictions_of_all_views_and_the_prediction_that_of_the_first():
    network = small_network("none", widths=(8,))
    params = random_parameters(network)
    rng = np.random.default_rng(0)
    brain = rng.random((5, 16, 12, 1)) < 0.7
    sources = (rng.random((5, 16, 12, 4)) * brain * AVAILABLE).astype(np.float32)
    case = Case("case", sources, sources, AVAILABLE, np.eye(4))
    options = {"chunk": 5, "skip_memory": 1.0}
    prediction, deviation = predict_with_deviation(network, params, case, AVAILABLE, (1,), 8, **options)
    assert prediction.dtype == deviation.dtype == np.float32

    made = []
    for dropped in (None, 0, 2, 3):
        used = AVAILABLE & (np.arange(4) != dropped)
        for step in (1, -1):
            shown = Case("case", sources[:, :, ::step], None, AVAILABLE, np.eye(4))
            made.append(predict_contrasts(network, params, shown, used, (1,), **options)[..., ::step].astype(float))
    np.testing.assert_array_equal(prediction, made[0])
    np.testing.assert_allclose(deviation, np.std(made, axis=0), atol=1e-6)
    assert deviation.max() > 0.01
    np.testing.assert_array_equal(deviation[0][~brain[..., 0]], 0)


def test_rank_correlation_is_spearmans_with_ties_too():
    rng = np.random.default_rng(0)
    error = rng.integers(0, 20, (6, 7, 8)) / 4
    uncertainty = (error + rng.integers(0, 30, error.shape)).astype(np.float32)
    assert rank_correlation(error, uncertainty) == pytest.approx(stats.spearmanr(error, uncertainty, axis=None)[0])
    assert rank_correlation(error, np.exp(error)) == pytest.approx(1)
    assert np.isnan(rank_correlation(error, np.ones_like(error)))


def test_the_retention_curve_is_the_mean_error_of_the_most_certain():
    rng = np.random.default_rng(1)
    error, uncertainty = rng.random((5, 4, 10)), rng.permutation(200).reshape(5, 4, 10)
    fractions = (0.001, 0.1, 0.5, 0.77, 1.0)
    expected = []
    for fraction in fractions:
        kept = sorted(zip(uncertainty.ravel(), error.ravel(), strict=True))[: max(round(fraction * 200), 1)]
        expected.append(sum(float(each) for _, each in kept) / len(kept))
    np.testing.assert_allclose(retention_curve(error, uncertainty, fractions), expected, rtol=1e-12)


def test_the_best_retention_curve_rises_and_no_other_is_below_it():
    rng = np.random.default_rng(2)
    error, fractions = rng.random(500), np.linspace(0.1, 1, 10)
    best = retention_curve(error, error, fractions)
    assert (np.diff(best) > 0).all()
    assert (best <= retention_curve(error, rng.random(500), fractions) + 1e-12).all()
    assert best[-1] == pytest.approx(error.mean())


@pytest.mark.parametrize(
    ("error", "uncertainty", "told"),
    [(np.ones(3), np.ones(4), r"\(3,\) and \(4,\)"), ([], [], "one shape"), ([1, np.nan], [1, 2], "not finite")],
)
def test_what_cannot_be_compared_is_refused(error, uncertainty, told):
    for compare in (rank_correlation, lambda *samples: retention_curve(*samples, [0.5])):
        with pytest.raises(ValueError, match=told):
            compare(error, uncertainty)
    with pytest.raises(ValueError, match="fractions"):
        retention_curve([1.0], [1.0], [0.0])


def test_deviations_are_written_beside_the_volumes_and_said_to_be_there(tmp_path):
    config = get_config("tiny")
    config.model.mixer.kind = "none"
    network = configured_translator(config)
    run = Trained(config, network, random_parameters(network), "joint", 24)
    rng = np.random.default_rng(0)
    (tmp_path / "cases" / "a").mkdir(parents=True)
    for contrast in ("t1n", "t2w"):
        image = nib.Nifti1Image(rng.uniform(0, 900, (8, 9, 3)).astype(np.int16), np.diag([-1.0, 1, 3, 1]))
        nib.save(image, tmp_path / "cases" / "a" / f"a-{contrast}.nii.gz")
    work = ContrastSynthesis(run, BratsCases(tmp_path / "cases", ["a"]), tmp_path / "results", passes=6)
    paths = work.write(work.predict(work.read(0)), 0.0)
    names = ["a-t1c.nii.gz", "a-t2f.nii.gz", "a-t1c-sd.nii.gz", "a-t2f-sd.nii.gz"]
    assert [path.name for path in paths] == names
    assert work.outputs(0) == [*paths, tmp_path / "results" / "a-synthesis.json"]
    volumes = [nib.load(path) for path in paths]
    assert all(volume.shape == (8, 9, 3) and (volume.affine == volumes[0].affine).all() for volume in volumes)
    assert all(0 < np.asarray(volume.dataobj).max() <= 0.5 for volume in volumes[2:])
    facts = json.loads((tmp_path / "results" / "a-synthesis.json").read_text())
    assert facts["deviation_over"][:3] == [
        {"sources": ["t1n", "t2w"], "mirrored": False},
        {"sources": ["t1n", "t2w"], "mirrored": True},
        {"sources": ["t2w"], "mirrored": False},
    ]
    assert len(facts["deviation_over"]) == 6
