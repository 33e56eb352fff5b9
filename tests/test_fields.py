"""Every drifting field: its formula, its zero, its sign, its symmetries, its potential; one device or many."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fields_reference import force_reference
from jax.nn import logsumexp
from quick_compile import quick_jit

from lift_jax.losses import pairs
from lift_jax.losses.drifting import FIELDS, DriftingOptions, drifting_loss
from lift_jax.losses.fields import kernel_gradient
from lift_jax.losses.kernels import LAPLACE, SHARP_LAPLACE, matern
from lift_jax.losses.transport import sinkhorn

RAW = DriftingOptions(normalise_force=False)
NEAR, FAR = 0.7, 3.0  # temperatures at which few and many particles are felt
N, P, Q, C = 6, 5, 4, 3


def particles(*counts, locations=2, features=C, seed=0):
    """Normal float32 arrays `[L, count, C]`."""
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(locations, n, features)).astype(np.float32) for n in counts]


def evaluate(x, positives, negatives, weights, *, field, temperature, options=RAW):
    """Force `[L, N, C]` in scaled coordinates, read off the gradient, and the distance scale."""

    def total(x):
        loss, stats = drifting_loss(
            x,
            positives,
            negatives,
            negative_weights=weights,
            temperatures=(temperature,),
            field=field,
            options=options,
        )
        return loss.sum(), stats

    gradient, stats = jax.grad(total, has_aux=True)(x.astype(jnp.float32))
    unit = jnp.maximum(stats["distance_scale"] / x.shape[2] ** 0.5, 1e-3)
    return -gradient * x.shape[1] * x.shape[2] * unit / 2, stats["distance_scale"]


# Compiled once for each field at one set of shapes, which most tests share.
evaluate = quick_jit(evaluate, static_argnames=("field", "temperature", "options"))


def force_of(field, x, positives, negatives, weights=None, temperature=NEAR):
    weights = np.ones(negatives.shape[:2], np.float32) if weights is None else weights
    return np.asarray(evaluate(x, positives, negatives, weights, field=field, temperature=temperature)[0])


def assert_close(actual, expected, rtol=1e-5):
    """Equal up to `rtol` of the largest."""
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=rtol * np.abs(expected).max())


@pytest.fixture(params=list(FIELDS))
def field(request):
    return request.param


@pytest.mark.parametrize("name", [name for name in FIELDS if name != "softmax"])
def test_a_field_equals_its_formula_in_plain_float64(name):
    x, positives, negatives = particles(N, P, Q, locations=1)
    # Two locations alike but for the order of queries and real ones, so that one distance scale is right for both.
    arrays = [np.concatenate(a) for a in ((x, x[:, ::-1]), (positives, positives[:, ::-1]), (negatives, negatives))]
    weights = np.random.default_rng(5).uniform(0.2, 3, size=(1, Q)).astype(np.float32).repeat(2, axis=0)
    actual, scale = evaluate(*arrays, weights, field=name, temperature=NEAR)
    expected, expected_scale = force_reference(name, *(a[0] for a in arrays), weights[0], NEAR)
    np.testing.assert_allclose(scale, expected_scale, rtol=1e-6)
    assert_close(actual[0], expected, 1e-4)
    assert_close(actual[1, ::-1], expected, 1e-4)


def test_a_field_falls_to_zero_as_samples_of_one_distribution_grow(field):
    """Mean squares fall as 1/n, to be compared with the force where the distributions differ by half a deviation."""

    def relative_force(n, shift):
        x, positives, negatives = particles(n, n, n, locations=4, features=2, seed=n)
        weights = np.ones(negatives.shape[:2], np.float32)
        force, _ = evaluate(x, positives + np.float32(shift), negatives, weights, field=field, temperature=1.0)
        return np.mean(np.asarray(force) ** 2)

    few, many = (relative_force(n, 0) / relative_force(n, 0.5) for n in (24, 384))
    assert many < 0.1
    assert 16 / 3 < few / many < 16 * 3


def test_a_lone_real_particle_attracts_and_a_lone_generated_one_repels(field):
    origin = np.zeros((2, N, C), np.float32)
    right = np.zeros((2, P, C), np.float32)
    right[..., 0] = 1
    left = -right[:, :Q]
    pulled = force_of(field, origin, right, left)
    assert (pulled[..., 0] > 0).all()
    assert (force_of(field, origin, -right, -left)[..., 0] < 0).all()
    np.testing.assert_allclose(pulled[..., 1:], 0, atol=1e-6)
    # The generated ones alone: real ones on both sides alike, repulsion from one.
    both_sides = np.concatenate([right[:, :3], left[:, :2]], axis=1)
    both_sides[:, 2] = 0
    assert (force_of(field, origin, both_sides, left)[..., 0] > 0).all()


def test_a_field_moves_and_turns_with_its_particles(field):
    arrays = particles(N, P, Q)
    force = force_of(field, *arrays)
    shift = np.array([3.0, -2, 5], np.float32)
    rotation = np.linalg.qr(np.random.default_rng(3).normal(size=(C, C)))[0].astype(np.float32)
    assert_close(force_of(field, *(a + shift for a in arrays)), force, 1e-4)
    assert_close(force_of(field, *(a @ rotation for a in arrays)), force @ rotation, 1e-4)
    assert_close(force_of(field, *(32 * a for a in arrays)), force, 1e-4)


def test_a_field_knows_no_order(field):
    x, positives, negatives = particles(N, P, Q)
    force = force_of(field, x, positives, negatives)
    turned = force_of(field, x[:, ::-1], positives[:, ::-1], negatives[:, ::-1])
    assert_close(turned[:, ::-1], force, 1e-4)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_a_field_is_finite_whatever_the_distances(field, scale):
    x, positives, negatives = (scale * a for a in particles(N, P, Q))
    weights = np.zeros((2, Q), np.float32)
    coincident = np.zeros_like(x)
    outlier = x.copy()
    outlier[:, 0] += 1000 * np.float32(scale)
    for case in (
        (x, positives, negatives),
        (x, positives, negatives, weights),
        (x, x[:, :P], x[:, :Q]),
        (coincident, coincident[:, :P], coincident[:, :Q]),
        (coincident, positives, negatives),
        (outlier, positives, negatives),
    ):
        assert np.isfinite(force_of(field, *case)).all()


def test_a_field_takes_one_particle_low_temperatures_and_bfloat16(field):
    x, positives, negatives = (a.astype(jnp.bfloat16) for a in particles(1, P, Q))
    cold = functools.partial(drifting_loss, field=field, temperatures=(0.02,))
    loss, stats = quick_jit(cold)(x, positives, negatives)
    assert loss.dtype == jnp.float32
    assert np.isfinite(jax.tree.leaves((loss, stats))[0]).all()
    assert all(np.isfinite(value) for value in stats.values())


# Potentials.


def squares_between(a, b):
    return ((a[:, :, None] - b[:, None]) ** 2).mean(-1)


def laplace(squares, t):
    return -jnp.sqrt(squares) / t


def gaussian(squares, t):
    return -squares / (2 * t**2)


def sharp(squares, t):
    d = jnp.sqrt(squares) / t
    return jnp.log(1 + d) - d


def matern_52(squares, t):
    r = 5**0.5 * jnp.sqrt(squares) / t
    return jnp.log(1 + r + r**2 / 3) - r


def log_ratio(log_p, log_q):
    return log_p - log_q


@pytest.mark.parametrize(
    ("name", "log_kernel", "potential"),
    [
        ("gaussian_score", gaussian, lambda log_p, log_q: NEAR**2 * (log_p - log_q)),
        ("kernel_gradient", laplace, log_ratio),
        ("sharp_laplace", sharp, log_ratio),
        ("matern", matern_52, log_ratio),
        (functools.partial(kernel_gradient, kernel=matern(0.5)), laplace, log_ratio),
        (functools.partial(kernel_gradient, kernel=matern(1.5)), lambda s, t: sharp(3 * s, t), log_ratio),
        ("mmd", laplace, lambda log_p, log_q: jnp.exp(log_p) - jnp.exp(log_q)),
        (
            "reverse_kl_chi2",
            gaussian,
            lambda log_p, log_q: 0.5 * (log_p - log_q) - jnp.exp(log_q - log_p),
        ),
    ],
)
def test_a_conservative_field_is_the_gradient_of_its_potential(name, log_kernel, potential):
    arrays = particles(N, P, Q)
    force, scale = evaluate(*arrays, np.ones((2, Q), np.float32), field=name, temperature=NEAR)
    x, positives, negatives = (a / (scale / C**0.5) for a in arrays)
    generated = jnp.concatenate([x, negatives], axis=1)
    itself = jnp.eye(N, N + Q, dtype=bool)[None]

    def total(x):
        log_p = logsumexp(log_kernel(squares_between(x, positives), NEAR), axis=-1) - np.log(P)
        squares = jnp.where(itself, 1.0, squares_between(x, generated))
        log_q = logsumexp(jnp.where(itself, -jnp.inf, log_kernel(squares, NEAR)), axis=-1) - np.log(N + Q - 1)
        return potential(log_p, log_q).sum()

    assert_close(force, C * np.asarray(jax.grad(total)(x)), 1e-4)


def transport_cost(x, y, epsilon, iterations):
    """Entropic transport cost of uniform particles for d²/2, by its dual, which is as smooth as the cost: `[]`."""
    cost = squares_between(x, y)[0] / 2
    g = jnp.zeros(len(cost[0]))

    def rows(g):
        return -epsilon * logsumexp((g[None] - cost) / epsilon - np.log(cost.shape[1]), axis=1)

    def scaled(g, _):
        return -epsilon * logsumexp((rows(g)[:, None] - cost) / epsilon - np.log(cost.shape[0]), axis=0), None

    g, _ = jax.lax.scan(scaled, g, None, length=iterations)
    return rows(g).mean() + g.mean()


def test_the_sinkhorn_field_descends_the_sinkhorn_divergence():
    x, positives = particles(N, P, locations=1)
    arguments = (x, positives, x[:, :1], np.zeros((1, 1), np.float32))
    force, scale = evaluate(*arguments, field=sinkhorn(iterations=100), temperature=NEAR)

    def divergence(x):
        to_real, to_itself = (transport_cost(x, y, NEAR, 60) for y in (positives / unit, x))
        return to_real - to_itself / 2

    unit = np.asarray(scale) / C**0.5
    gradient = np.asarray(quick_jit(jax.grad(divergence))(x / unit))
    assert_close(force, -N * C * gradient, 1e-3)


def test_the_registry_names_what_it_holds():
    arrays = particles(N, P, Q)
    for name, same in [
        ("sharp_laplace", functools.partial(kernel_gradient, kernel=SHARP_LAPLACE)),
        ("kernel_gradient", functools.partial(kernel_gradient, kernel=LAPLACE)),
        ("sinkhorn", sinkhorn(20)),
    ]:
        np.testing.assert_array_equal(force_of(name, *arrays), force_of(same, *arrays))


# Many devices, many blocks.


def test_a_field_in_blocks_on_eight_devices_is_the_same(field, monkeypatch):
    def step(noise, positives, negatives, matrix, axis_name=None):
        def total(matrix):
            loss, stats = drifting_loss(
                noise @ matrix, positives, negatives, temperatures=(0.3,), field=field, axis_name=axis_name
            )
            return loss.mean(), (loss, stats)

        gradient, results = jax.grad(total, has_aux=True)(matrix)
        return jax.lax.pmean((gradient, results), axis_name) if axis_name else (gradient, results)

    arrays = particles(16, 16, 8)
    matrix = np.random.default_rng(4).normal(size=(C, C)).astype(np.float32)
    expected = quick_jit(step)(*arrays, matrix)

    mesh = jax.make_mesh((8,), ("data",))
    share = jax.sharding.PartitionSpec(None, "data")
    whole = jax.sharding.PartitionSpec()

    def local(*arrays):
        return step(*arrays[:-1], jax.lax.pcast(arrays[-1], "data", to="varying"), axis_name="data")

    monkeypatch.setattr(pairs, "BLOCK_DISTANCES", 1)
    sharded = quick_jit(jax.shard_map(local, mesh=mesh, in_specs=(share, share, share, whole), out_specs=whole))
    placed = [jax.device_put(a, jax.sharding.NamedSharding(mesh, share)) for a in arrays]
    actual = sharded(*placed, jax.device_put(matrix, jax.sharding.NamedSharding(mesh, whole)))
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert_close(np.asarray(a), np.asarray(b))
