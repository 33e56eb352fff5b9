"""Config files: by path, or by the name of one that comes with the package, each with a variant if there is one.

`quickstart:tiny` is the variant `tiny` of the file `quickstart.py` that lies in the installed package, or in `configs/`
of the checkout; `path/to/mine.py:tiny` is that of any other file.
"""

import pathlib
import runpy
from collections.abc import Iterator
from types import SimpleNamespace

from ml_collections import ConfigDict

import lift_jax
from lift_jax.errors import UserError, near


def named_config(name: str, variant: str = "") -> ConfigDict:
    """The configuration of a file that comes with the package, for others to start from.

    Args:
      name: such as `quickstart`.
      variant: of that file; "" is the file's default.

    Raises:
      UserError: if there is no such file.
    """
    return _module(find_config(name)).get_config(variant)


def check_variant(name: str, variant: str, *variants: str) -> None:
    """Refuses a variant that a config file does not have, with UserError; "" is the default, which all have."""
    if variant not in ("", *variants):
        raise UserError(f"{name} has for variants {', '.join(variants)}, not {variant!r}{near(variant, variants)}")


def load_config(argument: str, flag: str = "--config") -> ConfigDict:
    """The configuration of `NAME_OR_FILE[:VARIANT]`, locked.

    Args:
      argument: a name, or a Python file that holds `get_config(variant="")`.
      flag: the name of the option, for messages.

    Raises:
      UserError: if there is no such file or variant, or the file cannot be run, or gives no configuration.
    """
    config = call_file(argument, "get_config", flag)
    if not isinstance(config, ConfigDict):
        raise UserError(f"{flag}: {argument}: get_config gives no ConfigDict")
    return config.lock()


def call_file(argument: str, function: str, flag: str, folder: str = "") -> object:
    """What a function of a config file returns for a variant.

    Args:
      argument: `NAME_OR_FILE[:VARIANT]`.
      function: of the file; it takes the variant.
      flag: the name of the option, for messages.
      folder: in which names are looked for first, below that of the configs.

    Raises:
      UserError: if there is no such file, or whatever goes wrong in it.
    """
    name, _, variant = argument.partition(":")
    path = find_config(name, flag, folder)
    try:
        return getattr(_module(path), function)(variant)
    except (UserError, ValueError) as error:
        raise UserError(f"{flag}: {path}: {' '.join(str(error).split())}") from error
    except Exception as error:  # whatever a user's file does
        raise UserError(f"{flag}: {path}: {type(error).__name__}: {' '.join(str(error).split())}") from error


def find_config(name: str, flag: str = "--config", folder: str = "") -> pathlib.Path:
    """The file of a path or of a name, see `call_file`."""
    path = pathlib.Path(name)
    if path.suffix == ".py":
        if not path.is_file():
            raise UserError(f"{flag}: {name} is not a file; name one, or one of {', '.join(config_names(folder))}")
        return path
    for root in config_roots():
        for found in (root / folder / f"{name}.py", root / f"{name}.py"):
            if name and found.is_file():
                return found
    names = config_names(folder)
    raise UserError(f"{flag}: {name!r} is no file and none of {', '.join(names)}{near(name, names)}")


def config_names(folder: str = "") -> list[str]:
    """Names of the files that come with the package, of one folder."""
    found = {path.stem for root in config_roots() for path in (root / folder).glob("*.py")}
    return sorted(name for name in found if not name.startswith("_"))


def config_roots() -> Iterator[pathlib.Path]:
    """Folders of config files: of the installed package, and of the checkout that the package is run from."""
    package = pathlib.Path(lift_jax.__file__).resolve().parent
    for root in (package / "configs", package.parent / "configs"):
        if root.is_dir() and (root / "quickstart.py").is_file():
            yield root


def _module(path: pathlib.Path) -> SimpleNamespace:
    """The names that a file defines when it is run; the caller reports what it raises."""
    return SimpleNamespace(**runpy.run_path(str(path), run_name=path.stem))
