import gc
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh

from lift_jax.checkpoints import (
    bit_sum,
    open_checkpoints,
    restore_checkpoint,
    restore_ema,
    save_checkpoint,
    saved_steps,
)
from lift_jax.config import missing_mr
from lift_jax.errors import DataWarning, UserError
from lift_jax.training.sharding import DATA_AXIS, lay_out, replicate, state_shardings
from lift_jax.training.step import initial_state

# When Orbax refuses to restore it leaves coroutines of a closed event loop behind, which complain when collected.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def collected():
    """Collects what a test leaves behind while its errors are still ignored."""
    yield
    gc.collect()


class Position:
    """Stands in for an iterator of batches: a number that can be asked for and set."""

    def __init__(self, number=0):
        self.number = number

    def get_state(self):
        return {"next_index": self.number}

    def set_state(self, state):
        self.number = state["next_index"]


def state_of(size=3, value=0.0):
    value = jnp.float32(value)
    params = {"translator": {"kernel": jnp.full((size, 2), value)}, "mixer": {"bias": jnp.full(size, value)}}
    return initial_state(params, optax.adam(1e-3), ("translator", "mixer"), jax.random.key(7))


def save(directory, steps, *, every=1, keep=10, last=100, state=None):
    with open_checkpoints(directory, every=every, keep=keep, last=last) as manager:
        for step in steps:
            save_checkpoint(
                manager, state_of(value=step) if state is None else state, Position(step), missing_mr(), step
            )


def steps_in(directory):
    return sorted(int(path.name) for path in directory.iterdir())


def test_checkpoints_come_at_multiples_and_at_the_end_and_the_newest_are_kept(tmp_path):
    save(tmp_path / "all", range(1, 12), every=4, last=11)
    assert steps_in(tmp_path / "all") == [4, 8, 11]
    save(tmp_path / "newest", range(1, 12), every=2, keep=2, last=11)
    assert steps_in(tmp_path / "newest") == [10, 11]


def test_a_restored_state_is_the_saved_one_and_the_batches_are_where_they_were(tmp_path):
    save(tmp_path, [3, 6])
    position, like = Position(), state_of()
    with open_checkpoints(tmp_path, every=1, keep=10, last=100) as manager:
        restored = restore_checkpoint(manager, like, position)
    assert position.number == 6
    expected = state_of(value=6)
    assert jax.tree.structure(restored) == jax.tree.structure(expected)
    np.testing.assert_array_equal(jax.random.key_data(restored.key), jax.random.key_data(expected.key))
    jax.tree.map(np.testing.assert_array_equal, restored.replace(key=0), expected.replace(key=0))


@pytest.mark.parametrize("devices", [1, 8])
def test_what_is_saved_is_the_state_of_its_step_though_later_steps_reuse_its_memory(tmp_path, devices):
    mesh = Mesh(np.array(jax.devices()[:devices]), (DATA_AXIS,))
    advance = jax.jit(
        lambda state: state.replace(
            step=state.step + 1,
            params=jax.tree.map(lambda x: x + 1, state.params),
            ema=jax.tree.map(lambda x: x + 1, state.ema),
        ),
        donate_argnums=0,
    )
    state = replicate(state_of(size=200_000), mesh)
    with open_checkpoints(tmp_path, every=2, keep=10, last=100) as manager:
        for step in range(1, 9):
            state = advance(state)
            save_checkpoint(manager, state, Position(step), missing_mr(), step)
        for _ in range(20):
            state = advance(state)
    like = state_of(size=200_000)
    for step in (8, 6, 4, 2):
        with open_checkpoints(tmp_path, every=2, keep=10, last=100) as manager:
            assert manager.latest_step() == step
            restored = restore_checkpoint(manager, like, Position())
            assert restored.step == step
            for array in jax.tree.leaves((restored.params, restored.ema)):
                np.testing.assert_array_equal(array, np.full(array.shape, step, np.float32))
            manager.delete(step)


def test_a_state_moves_between_numbers_of_devices(tmp_path):
    save(tmp_path, [5], state=replicate(state_of(value=2.0), Mesh(np.array(jax.devices()), (DATA_AXIS,))))
    mesh = Mesh(np.array(jax.devices()[:2]), (DATA_AXIS,))
    with open_checkpoints(tmp_path, every=1, keep=10, last=100) as manager:
        restored = restore_checkpoint(manager, replicate(state_of(), mesh), Position())
    for array in jax.tree.leaves(restored.params):
        assert array.sharding.device_set == set(jax.devices()[:2])
        np.testing.assert_array_equal(array, np.full(array.shape, 2.0, np.float32))


def test_a_divided_state_is_taken_up_whole_and_a_whole_one_divided(tmp_path):
    mesh = Mesh(np.array(jax.devices()), (DATA_AXIS,))

    def laid_out(value, *, divided):
        state = state_of(size=16, value=value)
        return lay_out(state, state_shardings(state, mesh)) if divided else replicate(state, mesh)

    for divided in (True, False):
        save(tmp_path / str(divided), [5], state=laid_out(2.0, divided=divided))
        with open_checkpoints(tmp_path / str(divided), every=1, keep=10, last=100) as manager:
            restored = restore_checkpoint(manager, laid_out(0.0, divided=not divided), Position())
        kernel = restored.ema["translator"]["kernel"]
        assert kernel.addressable_shards[0].data.shape == ((16, 2) if divided else (2, 2))
        np.testing.assert_array_equal(kernel, np.full((16, 2), 2.0, np.float32))
    ema, _ = restore_ema(tmp_path / "True", state_of(size=16).ema)
    np.testing.assert_array_equal(ema["mixer"]["bias"], np.full(16, 2.0, np.float32))


def test_averaged_parameters_come_from_the_newest_checkpoint(tmp_path):
    save(tmp_path, [3, 6])
    ema, step = restore_ema(tmp_path, state_of().ema)
    assert step == 6
    np.testing.assert_array_equal(ema["mixer"]["bias"], np.full(3, 6, np.float32))


def test_a_checkpoint_in_the_writing_does_not_count(tmp_path):
    directory = tmp_path / "mixer"
    assert not saved_steps(directory)
    (directory / "4.orbax-checkpoint-tmp").mkdir(parents=True)
    assert not saved_steps(directory)
    with pytest.raises(UserError, match="no checkpoint there yet"):
        restore_ema(directory, state_of().ema)
    save(directory, [3])
    assert saved_steps(directory) == {3}
    assert restore_ema(directory, state_of().ema)[1] == 3


def test_a_stage_without_checkpoints_is_reported(tmp_path):
    with pytest.raises(UserError, match=r"nowhere: no checkpoint there yet"):
        restore_ema(tmp_path / "nowhere", state_of().ema)


@pytest.mark.parametrize(
    "other",
    [
        {"translator": {"kernel": jnp.zeros((3, 2))}, "mixer": {"bias": jnp.zeros(5)}},
        {"translator": {"kernel": jnp.zeros((3, 2))}, "mixer": {"scale": jnp.zeros(3)}},
        {"translator": {"kernel": jnp.zeros((3, 2))}},
    ],
    ids=["shape", "name", "group"],
)
def test_parameters_of_another_network_are_refused_in_one_line(tmp_path, other):
    save(tmp_path, [3])
    with pytest.raises(UserError, match=r"3: .*network") as refusal:
        restore_ema(tmp_path, other)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("part", ["state", "ema"])
def test_a_damaged_checkpoint_is_refused_by_its_name(tmp_path, part):
    save(tmp_path, [3])
    for path in (tmp_path / "3" / part).rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=r"3: cannot be restored") as refusal:  # noqa: SIM117
        with open_checkpoints(tmp_path, every=1, keep=10, last=100) as manager:
            if part == "state":
                restore_checkpoint(manager, state_of(), Position())
            restore_ema(tmp_path, state_of().ema)
    assert "\n" not in str(refusal.value)


def damage(path, how):
    """Spoils the largest file of a folder."""
    file = max((path for path in path.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    content = bytearray(file.read_bytes())
    if how == "cut":
        content = content[: len(content) // 2]
    else:
        content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("how", ["cut", "flipped"])
@pytest.mark.parametrize("part", ["state", "ema"])
def test_a_damaged_checkpoint_is_put_aside_in_one_line_and_the_one_before_is_used(tmp_path, part, how):
    noise = state_of(size=20_000)
    for step in (3, 6):
        drawn = jax.tree.map(lambda x, step=step: jax.random.normal(jax.random.key(step), x.shape), noise.params)
        save(tmp_path, [step], state=noise.replace(params=drawn, ema=drawn))
    damage(tmp_path / "6" / part, how)
    position = Position()
    with open_checkpoints(tmp_path, every=1, keep=10, last=100) as manager:
        with pytest.warns(DataWarning, match=r"6: cannot be restored .*; going on from step 3$") as reported:
            restored = restore_checkpoint(manager, noise, position)
        (line,) = (str(warning.message) for warning in reported)
        assert "\n" not in line
        expected = jax.random.normal(jax.random.key(3), (20_000, 2))
        np.testing.assert_array_equal(restored.params["translator"]["kernel"], expected)
        assert position.number == 3 and manager.latest_step() == 3
        save_checkpoint(manager, restored, Position(6), missing_mr(), 6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3", "6", "6.damaged"]
    assert restore_ema(tmp_path, noise.ema)[1] == 6


def test_inference_takes_the_checkpoint_before_a_damaged_one_and_says_so(tmp_path):
    save(tmp_path, [3, 6])
    damage(tmp_path / "6" / "ema", "cut")
    with pytest.warns(DataWarning, match=r"6: cannot be restored .*; using step 3$"):
        ema, step = restore_ema(tmp_path, state_of().ema)
    assert step == 3
    np.testing.assert_array_equal(ema["mixer"]["bias"], np.full(3, 3, np.float32))


def test_the_sum_of_bits_tells_any_flipped_bit_and_any_swapped_pair():
    rng = np.random.default_rng(0)
    x = rng.normal(size=64).astype(np.float32)
    expected = bit_sum({"x": jnp.asarray(x)})
    assert bit_sum({"x": jnp.asarray(x[[1, 0, *range(2, 64)]])}) != expected
    for bit in range(32):
        bits = x.view(np.uint32).copy()
        bits[rng.integers(64)] ^= np.uint32(1 << bit)
        assert bit_sum({"x": jnp.asarray(bits.view(np.float32))}) != expected


def test_the_number_of_skipped_steps_is_kept_and_is_none_in_a_checkpoint_of_before(tmp_path):
    save(tmp_path, [3], state=state_of().replace(skipped=jnp.int32(4)))
    for checks, skipped in ((True, 4), (False, 0)):
        if not checks:
            shutil.rmtree(tmp_path / "3" / "checks")
        with open_checkpoints(tmp_path, every=1, keep=10, last=100) as manager:
            assert restore_checkpoint(manager, state_of(), Position()).skipped == skipped


def test_a_full_disk_is_reported_in_one_line(tmp_path, monkeypatch):
    with open_checkpoints(tmp_path, every=1, keep=10, last=100) as manager:

        def fail(*_, **__):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(manager, "save", fail)
        with pytest.raises(UserError, match=r"cannot save a checkpoint .*No space left on device"):
            save_checkpoint(manager, state_of(), Position(), missing_mr(), 1)
