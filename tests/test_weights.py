import json

import jax
import numpy as np
import pytest

from lift_jax.config import named_config
from lift_jax.data.channels import channels_of
from lift_jax.errors import UserError
from lift_jax.models.volume_translator import volume_translator
from lift_jax.trained import is_exported, load_trained, shipped_folder, shipped_names, write_weights
from lift_jax.training.inputs import starting_parameters
from tests.small_network import random_parameters


@pytest.fixture(scope="module")
def config():
    config = named_config("quickstart", "tiny")
    config.data.cache = "/somewhere/of/this/machine"
    return config


@pytest.fixture(scope="module")
def exported(tmp_path_factory, config):
    folder = tmp_path_factory.mktemp("exported") / "run"
    params = random_parameters(volume_translator(config.model, channels_of(config.data)))
    write_weights(folder, params, config.to_dict(), "joint", 24)
    return folder, params


def test_an_exported_run_is_read_as_a_work_directory_to_half_precision(exported):
    folder, params = exported
    trained = load_trained(folder)
    assert (trained.stage, trained.step, trained.shipped) == ("joint", 24, False)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2**-10, atol=1e-6), trained.params, params)
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(trained.params))


def test_a_run_starts_from_exported_weights(exported, tmp_path, config):
    folder, params = exported
    run = config.copy_and_resolve_references()
    run.start_from = str(folder)
    fresh = jax.tree.map(np.zeros_like, params)
    started = starting_parameters(run, tmp_path, fresh)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2**-10, atol=1e-6), started, params)


def test_paths_of_the_machine_are_not_exported(exported):
    folder, _ = exported
    assert is_exported(folder)
    assert "somewhere" not in (folder / "config.json").read_text()


def test_weights_of_another_network_are_refused(exported, tmp_path):
    folder, _ = exported
    for name in ("config.json", "weights.safetensors"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    config["model"]["mixer"]["hidden"] *= 2
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="another network"):
        load_trained(tmp_path)


def test_weights_that_do_not_come_along_are_refused_by_name():
    with pytest.raises(UserError, match="--weights: 'phantom-mising-mr' is none of"):
        shipped_folder("phantom-mising-mr")


@pytest.mark.parametrize("name", shipped_names())
def test_shipped_weights_can_be_read_and_have_a_card(name):
    folder = shipped_folder(name)
    trained = load_trained(folder)
    assert trained.shipped and trained.step > 0
    card = (folder / "model_card.md").read_text()
    for words in ("simulated", "not for diagnosis", "n = "):
        assert words in card


def test_shipped_weights_are_small():
    sizes = [path.stat().st_size for name in shipped_names() for path in shipped_folder(name).iterdir()]
    assert sum(sizes) <= 12e6
