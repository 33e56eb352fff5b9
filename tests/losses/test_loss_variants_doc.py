"""The page on loss variants: its example runs, and it leaves nothing out."""

import functools
import pathlib
import re

import jax
import numpy as np
import pytest

from lift_jax.config import generation, missing_mr
from lift_jax.losses import FIELDS, drifting_loss
from lift_jax.losses.fields import Pairs
from lift_jax.models.z_mixer import MIXER_KINDS

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "loss_variants.md"


@pytest.fixture
def example():
    """The names that the page's Python blocks leave behind; the registry as it was."""
    before, names = dict(FIELDS), {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL):
        exec(compile(block, PAGE.name, "exec"), names)
    yield names
    FIELDS.clear()
    FIELDS.update(before)


def test_the_worked_example_adds_a_field_that_works(example):
    assert example["loss"].shape == (4,)
    assert np.isfinite(example["loss"]).all() and (example["loss"] > 0).all()
    assert example["stats"]["effective_neighbors_1"] > example["stats"]["effective_neighbors_0.2"] > 1
    origin, right = np.zeros((1, 2, 1), np.float32), np.ones((1, 1, 1), np.float32)
    attraction, repulsion = example["student"](*pairs_of(origin, right))
    np.testing.assert_allclose(attraction, [[[1], [1]]])
    np.testing.assert_allclose(repulsion, [[[0, 1], [1, 0]]])


def pairs_of(x, y):
    """What a field is given of particles and real targets, scale one."""
    n, m = x.shape[1], y.shape[1]
    itself = np.eye(n, dtype=bool)[None]
    real = Pairs(np.abs(x - y.swapaxes(1, 2)), np.ones((1, 1, m), np.float32), np.zeros((1, n, m), bool))
    return real, Pairs(np.abs(x - x.swapaxes(1, 2)) + 100 * itself, np.ones((1, 1, n), np.float32), itself), 1.0


def test_the_page_names_every_field_and_statistic():
    page = PAGE.read_text()
    x = np.zeros((1, 2, 1), np.float32)
    stats = jax.eval_shape(functools.partial(drifting_loss, temperatures=(1.0,)), x, x + 1)[1]
    for name in [*FIELDS, *(name.replace("_1", "_τ") for name in stats)]:
        assert f"| `{name}` |" in page


def test_the_page_names_every_switch_of_a_configuration_and_every_kind():
    page, config = PAGE.read_text(), generation()
    keys = [f"loss.{key}" for key in config.loss]
    keys += [f"loss.{key}" for key in missing_mr().loss]
    for key in keys:
        assert f"`{key}`" in page, key
    for name in MIXER_KINDS:
        assert f"`{name}`" in page, name
