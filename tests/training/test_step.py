"""Training steps: one device or many, optimizers, accumulation, averaging.

Adam's updates hide a wrong factor in the gradients, and so does clipping; plain gradient descent and the logged
gradient norm do not.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import DEVICES
from jax.sharding import Mesh

from lift_jax.errors import UserError
from lift_jax.losses.paired import LossWeights
from lift_jax.training.sharding import (
    DATA_AXIS,
    check_batch,
    compile_gather,
    compile_step,
    data_mesh,
    lay_out,
    place_batch,
    replicate,
    state_shardings,
)
from lift_jax.training.step import grouped_adamw, initial_state, train_step, warmup_cosine
from lift_jax.training.translation import translation_loss
from tests.quick_compile import QUICK
from tests.small_network import MR, MR_TO_CT, random_pair, random_parameters, random_slab, small_network

STEPS = 10
GROUPS = ("translator", "mixer")


def mesh_of(devices):
    return Mesh(np.array(jax.devices()[:devices]), (DATA_AXIS,))


def copied(state):
    """A copy that a step may consume: states are donated."""
    return jax.tree.map(jnp.copy, state)


def run_sharded(step, state, batches, devices):
    """All metrics, and the last state, over a mesh of so many devices."""
    mesh = mesh_of(devices)
    state, batches, history = replicate(copied(state), mesh), [place_batch(batch, mesh) for batch in batches], []
    compiled = compile_step(step, mesh).lower(state, batches[0]).compile(compiler_options=QUICK)
    for batch in batches:
        state, metrics = compiled(state, batch)
        history.append(jax.device_get(metrics))
    return jax.device_get(state), history


def run_pmapped(step, state, batches):
    compiled = jax.pmap(
        functools.partial(step, axis_name=DATA_AXIS), axis_name=DATA_AXIS, in_axes=(None, 0), out_axes=None
    )
    history = []
    for batch in batches:
        batch = {name: array.reshape(DEVICES, -1, *array.shape[1:]) for name, array in batch.items()}
        state, metrics = compiled(state, batch)
        history.append(jax.device_get(metrics))
    return jax.device_get(state), history


def assert_same_run(actual, expected, rtol=1e-4):
    """The same metrics at every step, and the same parameters and averages after the last, relative to each array."""
    for a, b in zip(actual[1], expected[1], strict=True):
        assert a.keys() == b.keys()
        for name in b:
            np.testing.assert_allclose(a[name], b[name], rtol=rtol, err_msg=name)
    for name in ("params", "ema"):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * np.abs(b).max()),
            getattr(actual[0], name),
            getattr(expected[0], name),
        )


# The real loss of a small network.


@pytest.fixture(scope="module")
def descent():
    """A step of plain gradient descent, the state before it, a batch of two slabs a device for each of `STEPS` steps,
    and what comes of them on one device.
    """
    network, optimizer = small_network(widths=(8,)), optax.sgd(0.001, momentum=0.9)
    loss = translation_loss(network, MR, LossWeights(), use_mixer=True)
    step = functools.partial(train_step, loss_function=loss, optimizer=optimizer, trained=GROUPS, ema_decay=0.9)
    state = initial_state(random_parameters(network), optimizer, GROUPS, jax.random.key(0))
    batches = [random_slab(2 * DEVICES, slices=2, height=12, width=12, seed=seed) for seed in range(STEPS)]
    return step, state, batches, run_sharded(step, state, batches, 1)


def test_descent_moves_every_parameter(descent):
    _, state, _, (after, history) = descent
    jax.tree.map(lambda a, b: np.testing.assert_array_less(0, np.abs(a - b).max()), after.params, state.params)
    assert history[0].keys() == {"loss", "pixel", "similarity", "through_plane", "gradient_norm", "skipped"}
    assert history[0]["gradient_norm"] > 0 and after.step == STEPS


def test_descent_on_eight_devices_in_two_parts_each_equals_one_device(descent):
    step, state, batches, expected = descent
    actual = run_sharded(functools.partial(step, accumulate=2), state, batches, DEVICES)
    assert_same_run(actual, expected)


def test_descent_under_pmap_equals_one_device(descent):
    step, state, batches, expected = descent
    assert_same_run(run_pmapped(step, state, batches), expected)


def joint_stage(task):
    """The joint stage of a task, without the similarity term, which is slow to compile."""
    if task == "missing_mr":
        network = small_network(widths=(8,))
        loss = translation_loss(network, MR, LossWeights(similarity=0.0), use_mixer=True)
        batches = [random_slab(DEVICES, slices=2, height=12, width=12, seed=seed) for seed in range(STEPS)]
    else:
        network = small_network(widths=(8,), source_channels=1, target_channels=1, combine=False)
        loss = translation_loss(network, MR_TO_CT, LossWeights(similarity=0.0, bone=3.0), use_mixer=True)
        batches = [random_pair(DEVICES, slices=2, side=12, seed=seed) for seed in range(STEPS)]
    optimizer = adamw(dict.fromkeys(GROUPS, 1e-3), warmup_steps=2, weight_decay=0.01, clip_norm=0.1)
    step = functools.partial(train_step, loss_function=loss, optimizer=optimizer, trained=GROUPS, ema_decay=0.9)
    return step, initial_state(random_parameters(network), optimizer, GROUPS, jax.random.key(0)), batches


@pytest.mark.parametrize(("task", "many"), [("missing_mr", (2, 4, DEVICES)), ("mr_to_ct", (DEVICES,))])
def test_a_joint_stage_is_the_same_on_several_devices_as_on_one(task, many):
    step, state, batches = joint_stage(task)
    expected = run_sharded(step, state, batches, 1)
    assert {"pixel", "through_plane"} <= expected[1][0].keys()
    assert min(metrics["gradient_norm"] for metrics in expected[1]) > 0.1  # clipping acts at every step
    for devices in many:
        assert_same_run(run_sharded(step, state, batches, devices), expected)


def test_terms_of_weight_zero_are_left_out_and_a_loss_is_the_weighted_sum_of_its_terms():
    network = small_network("none")
    params, batch = random_parameters(network), random_slab(2, slices=2, height=12, width=12)

    def loss(**weights):
        weights = LossWeights(**{"pixel": 0.0, "similarity": 0.0, "through_plane": 0.0} | weights)
        return jax.jit(translation_loss(network, MR, weights, use_mixer=True))(params, batch, jax.random.key(0))

    value, terms = loss(pixel=2.0, through_plane=0.5)
    assert terms.keys() == {"pixel", "through_plane"}
    np.testing.assert_allclose(value, 2 * terms["pixel"] + 0.5 * terms["through_plane"], rtol=1e-6)


# A regression small enough to work out by hand.

RNG = np.random.default_rng(0)
PARAMS = {
    "first": {"kernel": RNG.normal(size=(3, 2)).astype(np.float32), "bias": np.float32([0.3, -0.2])},
    "second": {"kernel": RNG.normal(size=(2, 1)).astype(np.float32), "bias": np.float32([0.1])},
}


def regression_loss(params, batch, key):
    hidden = jnp.tanh(batch["x"] @ params["first"]["kernel"] + params["first"]["bias"][None])
    error = hidden @ params["second"]["kernel"] + params["second"]["bias"][None] - batch["y"]
    squares = (error**2).mean()
    return squares, {"squares": squares, "draw": jax.random.uniform(key)}


def regression_batch(size=16, seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=(size, n)).astype(np.float32) for name, n in (("x", 3), ("y", 1))}


def regression_step(optimizer, trained=tuple(PARAMS), ema_decay=0.9, **options):
    """A step on the regression, and the state before it."""
    step = functools.partial(
        train_step, loss_function=regression_loss, optimizer=optimizer, trained=trained, ema_decay=ema_decay, **options
    )
    return step, initial_state(jax.tree.map(jnp.asarray, PARAMS), optimizer, trained, jax.random.key(0))


def regression_run(optimizer, *, steps=3, **options):
    """States before and after each step, and metrics, on one device without a mapped axis."""
    step, state = regression_step(optimizer, **options)
    step, states, history = jax.jit(step), [state], []
    for seed in range(steps):
        state, metrics = step(state, regression_batch(seed=seed))
        states.append(state)
        history.append(jax.device_get(metrics))
    return jax.device_get(states), history


def changed(before, after):
    """Whether any number of a tree differs."""
    return any(jax.tree.leaves(jax.tree.map(lambda a, b: bool((a != b).any()), before, after)))


def adamw(rates, **options):
    return grouped_adamw(rates, **({"steps": 20, "warmup_steps": 0, "weight_decay": 0.0, "clip_norm": 1e9} | options))


def test_gradient_descent_takes_exactly_the_gradient():
    states, history = regression_run(optax.sgd(1.0), steps=1)
    gradient_of = jax.jit(jax.grad(regression_loss, has_aux=True))
    gradient, _ = gradient_of(PARAMS, regression_batch(), jax.random.key(0))
    taken = jax.tree.map(lambda before, after: before - after, states[0].params, states[1].params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), taken, gradient)
    norm = np.sqrt(sum((leaf**2).sum() for leaf in jax.tree.leaves(gradient)))
    np.testing.assert_allclose(history[0]["gradient_norm"], norm, rtol=1e-5)


def spoiled(batch, part):
    """A batch of which one slab makes the loss, or only its gradient, no number."""
    return batch | {part: np.where(np.arange(DEVICES)[:, None] == 3, {"y": np.nan, "root": 0}[part], batch[part])}


def fragile_loss(params, batch, key):
    """The regression's loss and a root of the batch's `root`, whose value at 0 is 0 and whose gradient is no number."""
    loss, terms = regression_loss(params, batch, key)
    return loss + jnp.sqrt(batch["root"] * params["second"]["bias"][None] ** 2).mean(), terms


@pytest.mark.parametrize("devices", [1, DEVICES])
@pytest.mark.parametrize("part", ["y", "root"], ids=["loss", "gradient"])
def test_a_step_without_a_finite_loss_and_gradient_is_skipped_to_the_bit_on_every_device(devices, part):
    step, state = regression_step(adamw(dict.fromkeys(PARAMS, 0.01)))
    step = functools.partial(step, loss_function=fragile_loss)
    good = [regression_batch(DEVICES, seed) | {"root": np.ones((DEVICES, 1), np.float32)} for seed in range(2)]
    before, _ = run_sharded(step, state, good[:1], devices)
    after, history = run_sharded(step, state, [good[0], spoiled(good[1], part)], devices)
    assert np.isfinite(history[1]["loss"]) == (part == "root") and not np.isfinite(history[1]["gradient_norm"])
    for name in ("params", "optimizer_state", "ema"):
        jax.tree.map(np.testing.assert_array_equal, getattr(after, name), getattr(before, name))
    assert (after.step, after.skipped) == (2, 1)

    later, history = run_sharded(step, state, [good[0], spoiled(good[1], part), good[1]], devices)
    assert [metrics["skipped"] for metrics in history] == [0, 1, 1]
    assert changed(after.params, later.params) and all(np.isfinite(x).all() for x in jax.tree.leaves(later.params))


@pytest.mark.parametrize("parts", [2, 4])
def test_taking_a_batch_in_parts_changes_no_number(parts):
    whole_states, whole = regression_run(optax.sgd(0.5))
    states, history = regression_run(optax.sgd(0.5), accumulate=parts)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), states[-1].params, whole_states[-1].params)
    for a, b in zip(history, whole, strict=True):
        for name in ("loss", "squares", "gradient_norm"):
            np.testing.assert_allclose(a[name], b[name], rtol=1e-5)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_clipped_adamw_on_eight_devices_equals_one_device(accumulate):
    optimizer = adamw({"first": 0.01, "second": 0.03}, warmup_steps=2, weight_decay=0.01, clip_norm=0.05)
    batches = [regression_batch(2 * DEVICES, seed) for seed in range(STEPS)]
    state_after, history = run_sharded(*regression_step(optimizer), batches, 1)
    assert min(metrics["gradient_norm"] for metrics in history) > 0.05  # clipping acts at every step
    for metrics in history:
        del metrics["draw"]
    actual = run_sharded(*regression_step(optimizer, accumulate=accumulate), batches, DEVICES)
    for metrics in actual[1]:
        del metrics["draw"]
    assert_same_run(actual, (state_after, history))


@pytest.mark.parametrize("accumulate", [1, 2])
def test_dividing_the_optimizers_state_over_devices_changes_no_number(accumulate):
    optimizer = adamw({"first": 0.01, "second": 0.03}, warmup_steps=2, weight_decay=0.01, clip_norm=0.05)
    step, state = regression_step(optimizer, accumulate=accumulate)
    params = {
        "first": {"kernel": np.tile(PARAMS["first"]["kernel"], (1, 8)) / 4, "bias": np.tile([0.3, -0.2], 8)},
        "second": {"kernel": np.tile(PARAMS["second"]["kernel"], (8, 1)), "bias": PARAMS["second"]["bias"]},
    }
    params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), params)
    state = initial_state(params, optimizer, tuple(PARAMS), jax.random.key(0))
    batches = [regression_batch(2 * DEVICES, seed) for seed in range(STEPS)]
    expected = run_sharded(step, state, batches, DEVICES)

    mesh = mesh_of(DEVICES)
    shardings = state_shardings(state, mesh)
    compiled, divided, history = compile_step(step, mesh, shardings=shardings), lay_out(state, shardings), []
    for batch in batches:
        divided, metrics = compiled(divided, place_batch(batch, mesh))
        history.append(jax.device_get(metrics))
    for leaf in jax.tree.leaves((divided.optimizer_state, divided.ema)):
        held = {shard.data.size for shard in leaf.addressable_shards}
        assert held == {leaf.size // DEVICES if any(side % DEVICES == 0 for side in leaf.shape) else leaf.size}
    assert divided.ema["first"]["kernel"].addressable_shards[0].data.shape == (3, 2)
    assert_same_run((jax.device_get(compile_gather(mesh)(divided)), history), expected, rtol=1e-5)


def test_random_keys_differ_over_steps_and_not_over_runs():
    (_, history), (_, again) = regression_run(optax.sgd(0.5)), regression_run(optax.sgd(0.5))
    draws = [float(metrics["draw"]) for metrics in history]
    assert len(set(draws)) == len(draws)
    assert draws == [float(metrics["draw"]) for metrics in again]


def test_random_keys_are_the_same_on_every_device():
    """What a loss draws for the global batch is then no matter of how many devices share it."""
    step, state = regression_step(optax.sgd(0.5))
    draws = [run_sharded(step, state, [regression_batch()], devices)[1][0]["draw"] for devices in (1, DEVICES)]
    np.testing.assert_allclose(*draws, rtol=1e-6)


def test_frozen_groups_and_their_average_keep_every_bit_and_have_no_optimizer_state():
    optimizer = adamw({"second": 0.1}, weight_decay=0.1)
    states, _ = regression_run(optimizer, trained=("second",), steps=10)
    for state in states:
        for tree in (state.params, state.ema):
            jax.tree.map(np.testing.assert_array_equal, tree["first"], PARAMS["first"])
    assert changed(states[0].params["second"], states[-1].params["second"])
    shapes = {leaf.shape for leaf in jax.tree.leaves(states[0].optimizer_state)}
    assert shapes == {(), PARAMS["second"]["kernel"].shape, PARAMS["second"]["bias"].shape}


def test_each_group_has_its_own_learning_rate():
    """Without gradient history Adam's first step is its rate in size, whatever the gradient."""
    states, _ = regression_run(adamw({"first": 0.01, "second": 0.2}), steps=1)
    for group, rate in (("first", 0.01), ("second", 0.2)):
        steps = jax.tree.map(lambda a, b: np.abs(a - b), states[0].params[group], states[1].params[group])
        jax.tree.map(lambda step, rate=rate: np.testing.assert_allclose(step, rate, rtol=1e-3), steps)


def test_gradients_are_clipped_by_the_norm_of_all_groups_together():
    optimizer = grouped_adamw({"first": 1.0, "second": 1.0}, steps=9, warmup_steps=0, weight_decay=0.0, clip_norm=0.1)
    clipped, _ = optimizer.update(PARAMS, optimizer.init(PARAMS), PARAMS)
    # Adam's first step shows only signs; the first moment, a tenth of the clipped gradient, shows the size.
    _, state = optimizer.update(PARAMS, optimizer.init(PARAMS), PARAMS)
    moments = [leaf for leaf in jax.tree.leaves(state) if leaf.shape == PARAMS["first"]["kernel"].shape]
    norm = np.sqrt(sum((leaf**2).sum() for leaf in jax.tree.leaves(PARAMS)))
    np.testing.assert_allclose(moments[0], 0.1 * PARAMS["first"]["kernel"] * 0.1 / norm, rtol=1e-4)
    assert jax.tree.structure(clipped) == jax.tree.structure(PARAMS)


def test_kernels_decay_and_vectors_do_not():
    """With zero gradients Adam's step is the decay alone, rate · decay · parameter."""
    optimizer = adamw({"first": 0.5, "second": 0.5}, weight_decay=0.1)
    updates, _ = optimizer.update(jax.tree.map(jnp.zeros_like, PARAMS), optimizer.init(PARAMS), PARAMS)
    for group in PARAMS:
        np.testing.assert_allclose(updates[group]["kernel"], -0.05 * PARAMS[group]["kernel"], rtol=1e-5)
        np.testing.assert_array_equal(updates[group]["bias"], 0)


def test_the_average_follows_its_formula():
    states, _ = regression_run(optax.sgd(0.5), ema_decay=0.3, steps=6)
    average = jax.tree.map(np.float64, PARAMS)
    for step in range(6):
        decay = min(0.3, (1 + step) / (10 + step))
        average = jax.tree.map(
            lambda mean, new, decay=decay: decay * mean + (1 - decay) * new, average, states[step + 1].params
        )
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), states[step + 1].ema, average)


def test_the_rate_warms_up_linearly_and_falls_as_a_cosine():
    schedule = warmup_cosine(0.2, steps=100, warmup_steps=20)
    expected = {0: 0.0, 5: 0.05, 20: 0.2, 60: 0.1, 100: 0.0, 150: 0.0}
    for step, rate in expected.items():
        np.testing.assert_allclose(schedule(step), rate, atol=1e-7)
    np.testing.assert_allclose(schedule(40), 0.1 * (1 + np.cos(np.pi * 20 / 80)), rtol=1e-5)


@pytest.mark.parametrize(("steps", "warmup", "peak"), [(10, 100, 5), (1, 100, 0), (7, 0, 0)])
def test_the_warm_up_takes_at_most_half_of_all_steps(steps, warmup, peak):
    schedule = warmup_cosine(0.2, steps, warmup)
    rates = [float(schedule(step)) for step in range(steps + 1)]
    assert np.argmax(rates) == peak
    np.testing.assert_allclose([rates[peak], rates[-1]], [0.2, 0.0], atol=1e-7)


def test_the_data_mesh_holds_all_devices():
    assert data_mesh().shape == {DATA_AXIS: DEVICES}


def test_a_batch_is_divided_along_its_first_axis():
    batch = place_batch({"x": np.arange(16.0, dtype=np.float32).reshape(16, 1)}, data_mesh())["x"]
    parts = sorted((int(shard.data[0, 0]), shard.data.shape) for shard in batch.addressable_shards)
    assert parts == [(2 * i, (2, 1)) for i in range(DEVICES)]


@pytest.mark.parametrize(
    ("batch", "accumulate", "devices", "message"),
    [
        (10, 1, 8, "config.stage.joint.batch: 10 does not divide over 8 devices; 8 or 16 would"),
        (3, 1, 8, "config.stage.joint.batch: 3 does not divide over 8 devices; 8 would"),
        (8, 2, 8, "config.stage.joint.batch: 8 does not divide over 8 devices in 2 parts each; 16 would"),
        (24, 2, 8, "config.stage.joint.batch: 24 does not divide over 8 devices in 2 parts each; 16 or 32 would"),
        (3, 2, 1, "config.stage.joint.batch: 3 does not divide over 1 device in 2 parts each; 2 or 4 would"),
    ],
)
def test_a_batch_that_does_not_divide_is_refused_with_the_nearest_that_does(batch, accumulate, devices, message):
    with pytest.raises(UserError) as error:
        check_batch(batch, accumulate, devices, "stage.joint.batch")
    assert str(error.value) == message


@pytest.mark.parametrize(("batch", "accumulate", "devices"), [(8, 1, 8), (16, 2, 8), (1, 1, 1), (48, 3, 8)])
def test_a_batch_that_divides_is_accepted(batch, accumulate, devices):
    check_batch(batch, accumulate, devices, "stage.joint.batch")
