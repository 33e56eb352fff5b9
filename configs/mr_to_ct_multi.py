"""LiFT-C from several MR sequences, or any subset of them, to CT, on embedded phantom heads.

    python train.py --config configs/mr_to_ct_multi.py --workdir runs/mr_to_ct_multi

T1- and T2-weighted MR of the same head; in training each is withheld in turn. With your own heads, set
`config.data.dataset`, `root`, `channels` and `sources` (docs/your_data.md). Half an hour of two CPU cores; `tiny` takes
under a minute, for checks.
"""

from lift_jax.config import check_variant, named_config


def get_config(variant=""):
    check_variant("mr_to_ct_multi.py", variant, "tiny")
    config = named_config("synthrad_mr_to_ct", variant or "phantom")
    config.data.sources = ("mr", "mr_t2")
    return config
