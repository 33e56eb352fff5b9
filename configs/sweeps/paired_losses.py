"""LiFT-C's loss, term by term: what similarity and through-plane terms add to the pixel term.

    lift-jax sweep --sweep paired_losses --workdir runs/paired_losses

Five variants with three seeds, about a minute a run on one core of a Xeon; docs/studies/loss_sweeps.md has the
table, of more variants. `:tiny` is two of them with one seed, for checks.
"""

from lift_jax.config import check_variant, named_config
from lift_jax.sweeps import Sweep

COMPARED = {
    "all_terms": {},
    "pixel_only": {"loss.similarity": 0.0, "loss.through_plane": 0.0},
    "no_similarity": {"loss.similarity": 0.0},
    "no_through_plane": {"loss.through_plane": 0.0},
    "through_plane_2": {"loss.through_plane": 2.0},
}

TINY = ("all_terms", "pixel_only")


def get_sweep(variant=""):
    check_variant("paired_losses.py", variant, "tiny")
    names = TINY if variant == "tiny" else COMPARED
    return Sweep(
        base=named_config("quickstart", "small_tiny" if variant == "tiny" else "small"),
        variants={name: COMPARED[name] for name in names},
        base_variant="all_terms",
        seeds=(0,) if variant == "tiny" else (0, 1, 2),
    )
