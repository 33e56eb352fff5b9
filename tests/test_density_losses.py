"""Losses beside drifting, on the same particles: log-density ratio and Fréchet distance."""

import functools

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P
from quick_compile import quick_jit

from lift_jax.evaluation.distribution import frechet_distance
from lift_jax.losses import pairs
from lift_jax.losses.density import log_kde_loss
from lift_jax.losses.drifting import DriftingOptions, drifting_loss
from lift_jax.losses.frechet import frechet_loss
from lift_jax.losses.kernels import GAUSSIAN

TEMPERATURES = (0.5, 1.0)


def particles(*counts, locations=2, features=3, seed=0):
    rng = np.random.default_rng(seed)
    return [(rng.normal(size=(locations, n, features)) + 0.3 * k).astype(np.float32) for k, n in enumerate(counts)]


def moments(samples):
    """Mean `[L, C]` and sample covariance `[L, C, C]`."""
    covariance = np.stack([np.cov(place.astype(np.float64).T) for place in samples])
    return samples.mean(axis=1), covariance.astype(np.float32)


def test_log_kde_equals_plain_float64():
    x, positives = particles(5, 6)
    a, b = x.astype(np.float64), positives.astype(np.float64)
    to_real = np.linalg.norm(a[:, :, None] - b[:, None], axis=-1)
    to_others = np.linalg.norm(a[:, :, None] - a[:, None], axis=-1)
    scale = np.concatenate([to_real, to_others], axis=-1).mean()
    expected = np.zeros(2)
    for place, i, t in np.ndindex(2, 5, 2):
        d_real, d_others = (d[place, i] / scale / TEMPERATURES[t] for d in (to_real, to_others))
        p = np.mean((1 + d_real) * np.exp(-d_real))
        q = np.mean(np.delete((1 + d_others) * np.exp(-d_others), i))
        expected[place] += (np.log(q) - np.log(p)) / 5 / 2
    loss, stats = quick_jit(functools.partial(log_kde_loss, temperatures=TEMPERATURES))(x, positives)
    np.testing.assert_allclose(loss, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(stats["distance_scale"], scale, rtol=1e-5)


@pytest.mark.parametrize(("field", "kernel"), [("sharp_laplace", {}), ("gaussian_score", {"kernel": GAUSSIAN})])
def test_log_kde_descends_along_the_field_of_its_kernel(field, kernel):
    x, positives = particles(5, 6)

    @quick_jit
    def gradients(x):
        ours = jax.grad(lambda x: log_kde_loss(x, positives, temperatures=(0.7,), **kernel)[0].sum())(x)
        options = DriftingOptions(normalise_force=False)
        drift = jax.grad(
            lambda x: drifting_loss(x, positives, temperatures=(0.7,), field=field, options=options)[0].sum()
        )(x)
        return ours, drift

    ours, drift = map(np.asarray, gradients(x))
    factor = 0.7**2 if field == "gaussian_score" else 1.0
    # Both in the features' own units: the gradient of the drifting loss is -2V/(N C unit), ours -V/(N C unit).
    np.testing.assert_allclose(2 * factor * ours, drift, rtol=1e-4, atol=1e-5 * np.abs(drift).max())


def test_frechet_equals_the_metric():
    x, bank = particles(12, 40)
    loss = quick_jit(frechet_loss)(x, *moments(bank))
    np.testing.assert_allclose(loss, [frechet_distance(a, b) for a, b in zip(x, bank, strict=True)], rtol=1e-4)


def test_frechet_is_nought_for_the_same_moments_and_falls_along_its_gradient():
    x, bank = particles(12, 40)
    value_and_gradient = quick_jit(jax.value_and_grad(lambda x: frechet_loss(x, *moments(bank)).sum()))
    np.testing.assert_allclose(frechet_loss(x, *moments(x)), [0, 0], atol=1e-4)
    _, gradient = value_and_gradient(x)
    step = 0.02 * gradient / np.abs(gradient).max()
    difference = value_and_gradient(x + step)[0] - value_and_gradient(x - step)[0]
    np.testing.assert_allclose(difference, 2 * np.vdot(gradient, step), rtol=0.01)


def test_frechet_has_finite_gradients_with_fewer_particles_than_features():
    x, bank = particles(3, 40, features=6)
    loss, gradient = quick_jit(jax.value_and_grad(lambda x: frechet_loss(x, *moments(bank)).sum()))(x)
    expected = sum(frechet_distance(a, b) for a, b in zip(x, bank, strict=True))
    np.testing.assert_allclose(loss, expected, rtol=1e-3)
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0


BANK = moments(particles(40, seed=7)[0])
LOSSES = {
    "log_kde": lambda x, positives, axis_name=None: log_kde_loss(
        x, positives, temperatures=TEMPERATURES, axis_name=axis_name
    )[0],
    "frechet": lambda x, positives, axis_name=None: frechet_loss(x, *BANK, axis_name=axis_name),
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("mapping", ["shard_map", "vmap"])
def test_eight_devices_equal_one(name, mapping):
    noise, positives = particles(16, 8)
    matrix = np.random.default_rng(4).normal(size=(3, 3)).astype(np.float32)

    def step(matrix, noise, positives, axis_name=None):
        def total(matrix):
            loss = LOSSES[name](noise @ matrix, positives, axis_name=axis_name)
            return loss.mean(), loss

        gradient, loss = jax.grad(total, has_aux=True)(matrix)
        return jax.lax.pmean((gradient, loss), axis_name) if axis_name else (gradient, loss)

    expected = quick_jit(step)(matrix, noise, positives)
    if mapping == "vmap":
        shares = [np.stack(np.split(a, 8, axis=1)) for a in (noise, positives)]
        mapped = jax.vmap(functools.partial(step, axis_name="data"), (None, 0, 0), None, axis_name="data")
        actual = quick_jit(mapped)(matrix, *shares)
    else:
        mesh = jax.make_mesh((8,), ("data",))

        def local(matrix, *shares):
            return step(jax.lax.pcast(matrix, "data", to="varying"), *shares, axis_name="data")

        specs = (P(), P(None, "data"), P(None, "data"))
        placed = [
            jax.device_put(a, jax.sharding.NamedSharding(mesh, s))
            for a, s in zip((matrix, noise, positives), specs, strict=True)
        ]
        actual = quick_jit(jax.shard_map(local, mesh=mesh, in_specs=specs, out_specs=P()))(*placed)
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_allclose(np.asarray(a), b, rtol=1e-5, atol=1e-5 * np.abs(b).max())


def test_log_kde_in_blocks_is_the_same(monkeypatch):
    x, positives = particles(11, 6)
    whole, whole_gradient = quick_jit(jax.value_and_grad(lambda x: LOSSES["log_kde"](x, positives).sum()))(x)
    monkeypatch.setattr(pairs, "BLOCK_DISTANCES", 2 * 17 * 4)
    loss, gradient = quick_jit(jax.value_and_grad(lambda x: LOSSES["log_kde"](x, positives).sum()))(x)
    np.testing.assert_allclose(loss, whole, rtol=1e-5)
    np.testing.assert_allclose(gradient, whole_gradient, rtol=1e-4, atol=1e-6)


def test_a_lone_particle_is_refused():
    x, positives = particles(1, 4)
    with pytest.raises(ValueError, match="log_kde_loss needs at least 2"):
        log_kde_loss(x, positives, temperatures=(0.1,))
    with pytest.raises(ValueError, match="frechet_loss needs at least 2"):
        frechet_loss(x, *BANK)
