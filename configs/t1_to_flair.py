"""LiFT-C on your own scans: FLAIR from T1, from six subjects up.

    python train.py --config configs/t1_to_flair.py --config.data.root=DIR --workdir runs/t1_to_flair

Files are `DIR/<subject>/T1.nii.gz` and `DIR/<subject>/FLAIR.nii.gz`, skull-stripped and on one grid; other names by
`--config.data.pattern="{subject}/anat/{subject}_{channel}.nii.gz"` and `--config.data.suffixes.T1=mprage`. The variant
`bids` reads `sub-*/[ses-*/]anat/*_T1w.nii.gz` and `*_FLAIR.nii.gz`. Sized for two CPU cores, at 2 mm: about half an
hour. `tiny` is the same at 8 mm in under a minute, for checks. docs/your_data.md describes other channels and data
sets.
"""

from ml_collections import ConfigDict

from lift_jax.config import check_variant, translation


def get_config(variant=""):
    check_variant("t1_to_flair.py", variant, "bids", "tiny", "bids_tiny")
    config = translation()
    config.data.dataset = "files"
    config.data.pattern = "{subject}/{channel}.nii.gz"
    config.data.channels = ConfigDict({"T1": "mr_quantile", "FLAIR": "mr_quantile"})
    config.data.suffixes = ConfigDict({"T1": "T1", "FLAIR": "FLAIR", "mask": "mask", "segmentation": "segmentation"})
    config.data.sources = ("T1",)
    config.data.targets = ("FLAIR",)
    config.data.spacing = 2.0
    config.data.crop = (96, 96)

    config.model.translator.widths = (32, 64)
    config.model.translator.blocks = 1
    config.model.translator.space_to_depth = 2
    config.model.translator.condition_features = 64
    config.model.mixer.hidden = 64

    config.stages = ("joint",)
    config.stage.joint.steps = 1000
    config.stage.joint.slices = 32
    config.stage.joint.translator_learning_rate = 1e-3
    config.stage.joint.mixer_learning_rate = 1e-3
    config.optimizer.warmup_steps = 50
    config.optimizer.ema_decay = 0.99

    config.checkpoint.every_steps = 100
    config.log.every_steps = 10
    config.log.validate_every_steps = 250
    config.inference.chunk = 32

    if "bids" in variant:
        config.data.dataset = "bids"
        config.data.suffixes.update(T1="T1w", segmentation="dseg")
    if "tiny" in variant:
        config.data.spacing = 8.0
        config.data.crop = (32, 32)
        config.model.translator.widths = (8, 16)
        config.model.mixer.hidden = 16
        config.stage.joint.steps = 24
        config.stage.joint.slices = 16
        config.optimizer.warmup_steps = 4
        config.checkpoint.every_steps = 8
        config.log.every_steps = 1
        config.log.validate_every_steps = 12
    return config
