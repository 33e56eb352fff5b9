"""LiFT-C on your own scans: FLAIR from T1, from six subjects up.

    python train.py --config configs/t1_to_flair.py --config.data.root=DIR --workdir runs/t1_to_flair

Files are `DIR/<subject>/T1.nii.gz` and `DIR/<subject>/FLAIR.nii.gz`, skull-stripped and on one grid; other names by
`--config.data.pattern="{subject}/anat/{subject}_{channel}.nii.gz"`. The variant `bids` reads
`sub-*/[ses-*/]anat/*_T1w.nii.gz` and `*_FLAIR.nii.gz`. Sized for two CPU cores, at 2 mm: about half an hour. `tiny` is
the same at 8 mm in under a minute, for checks. docs/your_data.md describes other channels and data sets.
"""

from ml_collections import ConfigDict

from lift_jax.configuration import translation


def get_config(variant=""):
    config = translation()
    config.data.dataset = "files"
    config.data.pattern = "{subject}/{channel}.nii.gz"
    config.data.channels = ConfigDict({"T1": "mr_quantile", "FLAIR": "mr_quantile"})
    config.data.sources = ("T1",)
    config.data.targets = ("FLAIR",)
    config.data.spacing = 2.0
    config.data.crop = (96, 96)

    config.model.translator.widths = (32, 64)
    config.model.translator.blocks = 1
    config.model.translator.stem = 2
    config.model.translator.condition_features = 64
    config.model.mixer.hidden = 64

    config.stages = ("joint",)
    config.stage.joint.steps = 1000
    config.stage.joint.window = 32
    config.stage.joint.translator_rate = 1e-3
    config.stage.joint.mixer_rate = 1e-3
    config.optimiser.warmup = 50
    config.optimiser.ema = 0.99

    config.checkpoint.every = 100
    config.log.every = 10
    config.log.validate = 250
    config.inference.chunk = 32

    for name in variant.split("_") if variant else ():
        if name == "bids":
            config.data.dataset = "bids"
            config.data.suffixes = ConfigDict({"T1": "T1w"})
        elif name == "tiny":
            _tiny(config)
        else:
            raise ValueError(f"t1_to_flair.py has the variants bids, tiny and bids_tiny, not {variant!r}")
    return config


def _tiny(config):
    config.data.spacing = 8.0
    config.data.crop = (32, 32)
    config.model.translator.widths = (8, 16)
    config.model.translator.groups = 4
    config.model.mixer.hidden = 16
    config.stage.joint.steps = 24
    config.stage.joint.window = 16
    config.optimiser.warmup = 4
    config.checkpoint.every = 8
    config.log.every = 1
    config.log.validate = 12
