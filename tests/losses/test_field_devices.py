"""Every drifting field on eight devices, in blocks of one particle, against one device that holds everything."""

import jax
import numpy as np
import pytest

from lift_jax.losses import FIELDS, distances, drifting_loss
from tests.field_values import C, assert_close, particles
from tests.quick_compile import quick_jit


@pytest.mark.parametrize("field", list(FIELDS))
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

    monkeypatch.setattr(distances, "BLOCK_DISTANCES", 1)
    sharded = quick_jit(jax.shard_map(local, mesh=mesh, in_specs=(share, share, share, whole), out_specs=whole))
    placed = [jax.device_put(a, jax.sharding.NamedSharding(mesh, share)) for a in arrays]
    actual = sharded(*placed, jax.device_put(matrix, jax.sharding.NamedSharding(mesh, whole)))
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert_close(np.asarray(a), np.asarray(b))
