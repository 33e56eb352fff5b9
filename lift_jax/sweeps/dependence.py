"""What the outcome of a stage depends on, so that runs which agree in it can share the stage.

Stated by what a stage does *not* depend on: a key that is new, and forgotten here, keeps stages apart that could have
been shared, which costs time; the other way round would hand a run the checkpoint of another experiment.
"""

import hashlib
import json

from ml_collections import ConfigDict

from lift_jax.config.checks import flatten
from lift_jax.tasks import task_of

NEVER = ("log", "checkpoint", "inference", "data.threads", "data.cache", "stages")
"""Keys, or sections, that no stage depends on; of `stages`, a stage depends on itself and those before it."""


def determining(config: ConfigDict, stage: str) -> dict:
    """The dotted keys and values that the outcome of a stage depends on, the names of the stages up to it included."""
    stages = tuple(config.stages)
    before = stages[: stages.index(stage) + 1]
    # What a stage does not depend on, one before it may: only what none of them depends on is left out.
    left_out = set.intersection(*(_left_out(config, name) for name in before))
    kept = {key: value for key, value in flatten(config).items() if key not in left_out}
    return kept | {"stages": before}


def stage_digest(config: ConfigDict, stage: str) -> str:
    """Names the outcome of a stage: equal for configurations that agree in all that it depends on."""
    text = json.dumps(determining(config, stage), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _left_out(config: ConfigDict, stage: str) -> set[str]:
    sections = (*NEVER, *task_of(config).sweep.independent[stage])
    return {key for key in flatten(config) if any(key == s or key.startswith(f"{s}.") for s in sections)}
