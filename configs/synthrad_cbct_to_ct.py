"""LiFT-C on SynthRAD2023 Task 2: CT in Hounsfield units from cone-beam CT.

    python train.py --config configs/synthrad_cbct_to_ct.py --config.data.root=DIR --workdir runs/cbct

`configs/synthrad_mr_to_ct.py` with another source. Source and target have one unit, so the network predicts a weight of
the CBCT and an offset at every voxel. `tiny` needs a data set too: it is a small network on 32³ voxels, for checks.
"""

from lift_jax.config import check_variant, named_config


def get_config(variant=""):
    check_variant("synthrad_cbct_to_ct.py", variant, "no_mixer", "tiny")
    config = named_config("synthrad_mr_to_ct", variant)
    config.data.dataset = "synthrad2023"
    config.data.sources = ("cbct",)
    config.data.gamma = 0.0
    if variant == "tiny":
        config.data.size = (32, 32, 32)
        config.data.spacing = 0.0
    return config
