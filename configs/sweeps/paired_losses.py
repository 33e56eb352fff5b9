"""LiFT-C's loss, term by term: what similarity and through-plane terms add to the pixel term, and of which kind.

    python sweep.py --sweep configs/sweeps/paired_losses.py --workdir runs/paired_losses

Thirteen variants with three seeds, 45 minutes on one core of a Xeon whose other core was busy; docs/loss_sweeps.md has
the table. `:tiny` is one of every kind with one seed, for checks.
"""

from configs.sweeps.small import known, small_seeds, small_translation
from lift_jax.sweeps.columns import TRANSLATION_COLUMNS
from lift_jax.sweeps.definition import Sweep

COMPARED = {
    "all_terms": {},
    "pixel_only": {"loss.similarity": 0.0, "loss.through_plane": 0.0},
    "no_similarity": {"loss.similarity": 0.0},
    "no_through_plane": {"loss.through_plane": 0.0},
    "through_plane_2": {"loss.through_plane": 2.0},
    "brain_weight_4": {"loss.brain_weight": 4.0},
    "l2": {"loss.pixel_kind": "l2"},
    "charbonnier": {"loss.pixel_kind": "charbonnier"},
    "ssim": {"loss.similarity_kind": "ssim"},
    "second_difference": {"loss.through_plane_kind": "second"},
    "multi_gap": {"loss.through_plane_kind": "multi_gap"},
    "gradient": {"loss.through_plane_kind": "gradient"},
    "residual_drifting": {"loss.drifting": 0.01},
}

TINY = ("all_terms", "pixel_only", "charbonnier", "ssim", "multi_gap", "residual_drifting")


def get_sweep(variant=""):
    known("paired_losses.py", variant)
    names = TINY if variant == "tiny" else COMPARED
    return Sweep(
        base=small_translation(variant),
        variants={name: COMPARED[name] for name in names},
        base_variant="all_terms",
        seeds=small_seeds(variant),
        metrics=TRANSLATION_COLUMNS,
    )
