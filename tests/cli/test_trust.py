"""What others made is data: nothing in it is executed, and no name in it leads out of the folder of results."""

import ast
import json
import pathlib
import pickle

import numpy as np
import pytest

from configs.quickstart import get_config
from lift_jax.checkpoints import open_checkpoints, restore_checkpoint, restore_ema
from lift_jax.config import from_json, to_json
from lift_jax.data.cache import METADATA, cache_subjects
from lift_jax.data.volumes import read_volume
from lift_jax.errors import UserError
from lift_jax.models.encoders.weights import read_safetensors
from lift_jax.training.feature_banks import _read as read_bank
from tests.commands import REPOSITORY
from tests.data.test_cache import RandomSubjects
from tests.training.test_checkpoints import Position, save, state_of

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

READERS_OF_CODE = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "yaml", "torch"}


class Malicious:
    """Makes a file when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return pathlib.Path.touch, (self.marker,)


@pytest.fixture
def planted(tmp_path):
    """Writes a malicious pickle to a path; and nothing may have run when the test is over."""
    marker = tmp_path / "ran"
    content = pickle.dumps(Malicious(marker))

    def plant(path, array=False):
        if array:
            np.save(path, np.array([Malicious(marker)], dtype=object), allow_pickle=True)
        else:
            path.write_bytes(content)

    pickle.loads(content)
    assert marker.exists(), "the plant itself does nothing"
    marker.unlink()
    yield plant
    assert not marker.exists()


@pytest.mark.parametrize("array", [True, False], ids=["object array", "plain pickle"])
def test_a_pickle_in_the_cache_or_a_bank_is_not_run(tmp_path, planted, array):
    (subject,) = cache_subjects(RandomSubjects(1), tmp_path / "cache", threads=1)
    planted(subject.directory / "image-t2.npy", array)
    with pytest.raises(UserError, match=r"image-t2\.npy: damaged"):
        subject.image("t2")
    planted(subject.directory / METADATA)
    with pytest.raises(UserError, match=r"metadata\.json: damaged"):
        type(subject)(subject.directory).metadata
    (tmp_path / "bank").mkdir()
    planted(tmp_path / "bank" / "mean.npy", array)
    with pytest.raises(UserError, match="bank: damaged"):
        read_bank(tmp_path / "bank", np.dtype(np.float32))


def test_pickles_in_place_of_any_file_of_a_checkpoint_are_not_run(tmp_path, planted):
    save(tmp_path / "stage", [3])
    for path in [path for path in (tmp_path / "stage" / "3").rglob("*") if path.is_file()]:
        planted(path)
    with pytest.raises(UserError, match="cannot be restored"):
        restore_ema(tmp_path / "stage", state_of().ema)
    manager = open_checkpoints(tmp_path / "stage", every=1, keep=2, last=9)
    with manager, pytest.raises(UserError, match="cannot be restored"):
        restore_checkpoint(manager, state_of(), Position())


def test_pickles_as_weights_and_as_volumes_are_not_run(tmp_path, planted):
    for reader, name in ((read_safetensors, "weights.safetensors"), (read_volume, "a.nii"), (read_volume, "a.nii.gz")):
        planted(tmp_path / name)
        with pytest.raises(UserError, match=name):
            reader(tmp_path / name)


@pytest.mark.parametrize("how", ["pickle", "yaml", "expression", "key"])
def test_a_malicious_configuration_is_not_run(tmp_path, planted, how):
    marker, path = tmp_path / "ran", tmp_path / "config.json"
    code = f"__import__('pathlib').Path({str(marker)!r}).touch()"
    values = get_config().to_dict()
    if how == "pickle":
        planted(path)
        text = path.read_bytes().decode("latin-1")
    elif how == "yaml":
        text = f"!!python/object/apply:eval [{code!r}]"
    elif how == "expression":
        values["stages"], values["data"]["dataset"] = [code], code
        text = json.dumps(values)
    else:
        text = json.dumps(values | {"__class__": code})
    with pytest.raises(UserError):
        from_json(text, str(path))
    assert from_json(to_json(get_config()), "config.json") == get_config()


def test_no_module_reads_what_can_hold_code():
    """No import of what unpickles, no `eval` or `exec`, and no `np.load` that has not said `allow_pickle=False`."""
    for path in [*(REPOSITORY / "lift_jax").rglob("*.py"), *REPOSITORY.glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & READERS_OF_CODE, path
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in ("eval", "exec", "compile"), path
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("np.load", "numpy.load"):
                assert "allow_pickle=False" in ast.unparse(node), path
