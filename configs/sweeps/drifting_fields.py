"""Fields of the drifting loss, in generator and mapper alike, at the temperatures of the published loss.

    lift-jax sweep --sweep drifting_fields --workdir runs/drifting_fields

Six variants with three seeds, about three hours of one CPU core (estimated from `particles.py`, not measured);
docs/studies/loss_sweeps.md has the table, of an earlier budget and of `row_softmax` without its floor. The encoder is
trained once a seed. `mmd` is a negative control: it is reported not to train image models. A kernel's width does not
mean the same in every field, so a field that loses here may want other temperatures (see `temperatures.py`).
`:tiny` is two of them with one seed, for checks.
"""

from lift_jax.config import check_variant, named_config
from lift_jax.sweeps import Sweep

COMPARED = ("softmax_no_floor", "row_softmax", "mean_shift", "sharp_laplace", "sinkhorn", "mmd")


def get_sweep(variant=""):
    check_variant("drifting_fields.py", variant, "tiny")
    fields = COMPARED[:2] if variant == "tiny" else COMPARED
    return Sweep(
        base=named_config("phantom_unconditional", "small_tiny" if variant == "tiny" else "small"),
        variants={field: {"loss.field": field} for field in fields},
        base_variant="softmax_no_floor",
        seeds=(0,) if variant == "tiny" else (0, 1, 2),
    )
