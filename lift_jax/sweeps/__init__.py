"""Sweeps: named variants of a configuration, over several seeds, trained, scored and compared by one command."""

import dataclasses
from collections.abc import Mapping

from ml_collections import ConfigDict

from lift_jax.config.files import call_file
from lift_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Variants of a configuration, each trained with every seed.

    Attributes:
      base: the configuration that every variant is made from.
      variants: by name, the dotted keys that a variant sets and their values; {} is the base as it is.
      base_variant: the name of the variant that all others are compared with.
      seeds: values of `config.seed`, the same for every variant, so that differences are paired.
    """

    base: ConfigDict
    variants: Mapping[str, Mapping[str, object]]
    base_variant: str
    seeds: tuple[int, ...]


def load_sweep(argument: str) -> Sweep:
    """The sweep of a file that holds `get_sweep(variant="")`: `NAME_OR_FILE[:VARIANT]`, such as `particles:tiny`.

    Raises:
      UserError: if there is no such file, or it cannot be run, or gives no sweep.
    """
    sweep = call_file(argument, "get_sweep", "--sweep", folder="sweeps")
    if not isinstance(sweep, Sweep):
        raise UserError(f"--sweep: {argument}: get_sweep gives no lift_jax.sweeps.Sweep")
    return sweep
