"""From a sweep to its runs: every variant with every seed, all of them valid, or all errors at once."""

import dataclasses
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence

from ml_collections import ConfigDict

from lift_jax.config.documents import TASKS
from lift_jax.config.overrides import set_key
from lift_jax.errors import UserError, near
from lift_jax.sweeps.definition import Sweep
from lift_jax.sweeps.dependence import stage_digest
from lift_jax.tasks import task_of

NAME = re.compile(r"[\w.+-]+")
"""What a variant may be called: its name becomes a folder's."""


@dataclasses.dataclass(frozen=True)
class Run:
    """One variant with one seed.

    Attributes:
      variant: its name.
      seed: the value of `config.seed`.
      config: of the run, locked.
      directory: its work directory.
    """

    variant: str
    seed: int
    config: ConfigDict
    directory: pathlib.Path


def plan_runs(sweep: Sweep, workdir: pathlib.Path) -> list[Run]:
    """The runs of a sweep, all variants of the first seed first; nothing is written.

    All runs keep their preprocessed volumes in `<workdir>/cache`, unless the base names another folder.

    Raises:
      UserError: a line for everything that cannot work, naming variant and key.
    """
    errors = list(_sweep_errors(sweep))
    configs = {}
    for name, changes in sweep.variants.items():
        try:
            configs[name] = changed(sweep.base, changes)
        except UserError as error:
            errors += [f"variant {name}: {line}" for line in str(error).splitlines()]
    errors += _equals_errors(configs)
    if errors:
        raise UserError("\n".join(errors))
    runs = []
    for seed in sweep.seeds:
        for name, config in configs.items():
            config = config.copy_and_resolve_references()
            config.seed = seed
            config.data.cache = config.data.cache or str((workdir / "cache").resolve())
            runs.append(Run(name, seed, config.lock(), workdir / "runs" / f"{name}-{seed}"))
    return runs


def check_runs(runs: Sequence[Run], devices: int) -> None:
    """Refuses runs that cannot be trained on so many devices, before any data are looked at.

    Raises:
      UserError: a line for every variant of which this is so.
    """
    errors = {}
    for run in runs:
        try:
            task_of(run.config).check_devices(run.config, devices)
        except UserError as error:
            errors[run.variant] = str(error)
    if errors:
        raise UserError("\n".join(f"variant {name}: {told}" for name, told in errors.items()))


def changed(base: ConfigDict, changes: Mapping[str, object]) -> ConfigDict:
    """A copy of a configuration with dotted keys set.

    Raises:
      UserError: a line for every key that is unknown or whose value is of another type, and for every key that cannot
        work in the configuration that comes of it.
    """
    config = base.copy_and_resolve_references().lock()
    errors = []
    for key, value in changes.items():
        errors += ["config.seed: is set by the sweep's seeds"] if key == "seed" else set_key(config, key, value)
    if not errors:
        errors += TASKS[config.task][1](config)
    if errors:
        raise UserError("\n".join(errors))
    return config


def _sweep_errors(sweep: Sweep) -> Iterator[str]:
    known = {column.key for column in task_of(sweep.base).sweep.columns(sweep.base)}
    odd = [column.key for column in sweep.metrics if column.key not in known]
    if odd or not sweep.metrics:
        hint = "".join(near(key, known) for key in odd[:1])
        yield f"metrics: {', '.join(odd) or 'none named'}; runs of this task have {', '.join(sorted(known))}{hint}"
    if sweep.base_variant not in sweep.variants:
        hint = near(sweep.base_variant, sweep.variants)
        yield f"base_variant: {sweep.base_variant!r} is none of the variants {', '.join(sweep.variants)}{hint}"
    if not sweep.seeds or len(set(sweep.seeds)) < len(sweep.seeds):
        yield f"seeds: {sweep.seeds} must be one or more different numbers"
    for name in sweep.variants:
        if not NAME.fullmatch(name):
            yield f"variant {name!r}: must be of letters, digits and _ . + -, since folders are named by it"


def _equals_errors(configs: Mapping[str, ConfigDict]) -> Iterator[str]:
    first: dict[str, str] = {}
    for name, config in configs.items():
        digest = stage_digest(config, config.stages[-1])
        if digest in first:
            yield f"variant {name}: differs from {first[digest]} in nothing that training depends on"
        first.setdefault(digest, name)
