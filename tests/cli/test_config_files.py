"""Config files by name and by path, from the checkout."""

import pathlib

import pytest
from ml_collections import ConfigDict

from lift_jax.config import load_config, named_config, validate
from lift_jax.config.files import config_names
from lift_jax.errors import UserError
from tests.commands import REPOSITORY


def test_a_name_and_a_path_are_the_same_file(monkeypatch, tmp_path):
    by_path = load_config(str(REPOSITORY / "configs/quickstart.py:tiny"))
    monkeypatch.chdir(tmp_path)
    by_name = load_config("quickstart:tiny")
    assert by_name == by_path == named_config("quickstart", "tiny")
    assert by_name != load_config("quickstart")
    assert by_name.is_locked


@pytest.mark.parametrize("name", config_names())
def test_every_shipped_config_is_valid_by_its_name_and_names_its_variants(name):
    config = load_config(name)
    if not config.data.dataset.startswith("phantom"):
        config.data.root = "folder"
    validate(config)
    with pytest.raises(UserError, match=f"{pathlib.PurePath(name).name}.py.*huge"):
        load_config(f"{name}:huge")


def test_no_config_imports_the_folder_as_a_package():
    for path in (REPOSITORY / "configs").rglob("*.py"):
        assert "from configs" not in path.read_text() and "import configs" not in path.read_text(), path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "is not a file; name one, or one of .*quickstart"),
        ("def get_config(variant): return 3", "gives no ConfigDict"),
        ("def get_config(variant): return 1 / 0", "ZeroDivisionError: division by zero"),
        ("from nowhere import it", "ModuleNotFoundError: No module named 'nowhere'"),
        ("get_config = (", "SyntaxError"),
        ("pass", "AttributeError: .*get_config"),
    ],
)
def test_a_file_that_gives_no_configuration_is_refused_in_one_line(tmp_path, text, message):
    path = tmp_path / "mine.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=message) as refused:
        load_config(str(path))
    assert "\n" not in str(refused.value) and "mine.py" in str(refused.value)


def test_a_file_of_a_users_own_may_start_from_a_shipped_one(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "import lift_jax\n\n\ndef get_config(variant=''):\n"
        "    config = lift_jax.named_config('quickstart', 'tiny')\n    config.seed = 7\n    return config\n"
    )
    config = load_config(str(path))
    assert isinstance(config, ConfigDict) and config.seed == 7


def test_a_mistyped_name_has_the_nearest_one():
    with pytest.raises(UserError, match=r"'quickstrat' is no file and none of .*; near it is quickstart"):
        load_config("quickstrat")
    with pytest.raises(UserError, match="'' is no file"):
        load_config("")
