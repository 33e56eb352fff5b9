"""The configuration of a run: every key with its default, and what is refused at start.

A config file holds `get_config(variant="") -> ConfigDict`, begins with the defaults of its task, such as
`missing_mr()`, and sets what its experiment decides. Keys can be overridden on the command line
(`--config.stage.joint.steps=100`).
"""

from lift_jax.config.documents import differences, from_json, to_json, validate
from lift_jax.config.files import check_variant, load_config, named_config
from lift_jax.config.generation import generation
from lift_jax.config.translation import missing_mr, mr_to_ct, translation

__all__ = [
    "check_variant",
    "differences",
    "from_json",
    "generation",
    "load_config",
    "missing_mr",
    "mr_to_ct",
    "named_config",
    "to_json",
    "translation",
    "validate",
]
