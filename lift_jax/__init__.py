"""LiFT in JAX: 3D medical volumes from 2D networks and a light model of how slices follow each other.

Public names are imported when they are first used, so that `import lift_jax` loads neither JAX nor SciPy.
"""

import importlib

__version__ = "0.1.0"

_PUBLIC = {
    "DataWarning": "lift_jax.errors",
    "UserError": "lift_jax.errors",
    "load": "lift_jax.api",
    "load_config": "lift_jax.config",
    "named_config": "lift_jax.config",
    "score": "lift_jax.api",
}
"""Public name to the module that defines it."""

__all__ = ["DataWarning", "UserError", "__version__", "load", "load_config", "named_config", "score"]


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
