"""From a sweep to its runs: every variant with every seed, all of them valid, or all errors at once."""

import dataclasses
import hashlib
import json
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence

from ml_collections import ConfigDict

from lift_jax.config.common import flatten
from lift_jax.config.documents import TASKS, set_key
from lift_jax.errors import UserError, near
from lift_jax.sweeps import Sweep
from lift_jax.tasks import task_of

NAME = re.compile(r"[\w.+-]+")
"""What a variant may be called: its name becomes a folder's."""

INDEPENDENT_KEYS = ("log", "checkpoint", "inference", "data.threads", "data.cache", "stages")
"""Keys, or sections, that no stage depends on; of `stages`, a stage depends on itself and those before it."""


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
    """Refuses runs that cannot be trained on so many devices, before any data are read.

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
        raise UserError("\n".join(f"variant {name}: {message}" for name, message in errors.items()))


def changed(base: ConfigDict, changes: Mapping[str, object]) -> ConfigDict:
    """A copy of a configuration with dotted keys set.

    Raises:
      UserError: a line for every key that is unknown or whose value is of another type, and for every key that cannot
        work in the changed configuration.
    """
    config = base.copy_and_resolve_references().lock()
    errors: list[str] = []
    for key, value in changes.items():
        errors += ["config.seed: is set by the sweep's seeds"] if key == "seed" else set_key(config, key, value)
    if not errors:
        errors += TASKS[config.task][1](config)
    if errors:
        raise UserError("\n".join(errors))
    return config


def stage_digest(config: ConfigDict, stage: str) -> str:
    """Names the outcome of a stage: equal for configurations that agree in all that it depends on.

    Tasks list what a stage does *not* depend on. A new key that nobody lists keeps stages apart that could have been
    shared, which costs time; the other way round, a run would take the checkpoint of another experiment.
    """
    stages = tuple(config.stages)
    before = stages[: stages.index(stage) + 1]
    # What a stage does not depend on, one before it may: only what none of them depends on is left out.
    left_out = set.intersection(*(_independent_keys(config, name) for name in before))
    kept = {key: value for key, value in flatten(config).items() if key not in left_out}
    text = json.dumps(kept | {"stages": before}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def stage_directory(workdir: pathlib.Path, config: ConfigDict, stage: str) -> pathlib.Path:
    """The work directory of the sweep's shared stage that a run with this configuration uses."""
    return workdir / "stages" / stage_digest(config, stage)


def _independent_keys(config: ConfigDict, stage: str) -> set[str]:
    sections = (*INDEPENDENT_KEYS, *task_of(config).sweep.independent[stage])
    return {key for key in flatten(config) if any(key == s or key.startswith(f"{s}.") for s in sections)}


def _sweep_errors(sweep: Sweep) -> Iterator[str]:
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
