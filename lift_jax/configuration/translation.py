"""The configuration of missing-modality MR: from volumes of some contrasts to another."""

from collections.abc import Iterator

from ml_collections import ConfigDict

from lift_jax.configuration.checks import not_empty, one_of
from lift_jax.configuration.translator import add_run_sections, loss_section, network_section, shared_complaints
from lift_jax.data.cases import CONTRASTS

LAYOUTS = ("phantom", "brats")


def missing_mr() -> ConfigDict:
    """Defaults of LiFT-C for missing-modality MR: any contrast from any of the others."""
    config = ConfigDict()
    config.task = "missing_mr"
    config.seed = 0
    config.start_from = ""  # work directory of a trained run of the same network to begin with; "" begins at random

    config.data = data = ConfigDict()
    data.layout = "phantom"  # phantom, or brats: <root>/<case>/<case>-{t1n,t1c,t2w,t2f}.nii.gz
    data.root = ""  # folder of the cases (brats)
    data.split_file = ""  # JSON {"train": [names], "validation": …, "test": …}; "" splits by a hash of the names
    data.spacing = 0.0  # mm; volumes are resampled to isotropic voxels of this size; 0 keeps the grid they have
    data.shape = (48, 48, 48)  # phantom: slices, rows, columns (D, H, W)
    data.phantom_seed = 0  # phantom: cases are a function of this and their index
    data.cases = ConfigDict({"train": 256, "validation": 8, "test": 32})  # phantom: sizes of the splits
    data.targets = CONTRASTS  # contrasts that are asked for in training and evaluation
    data.cache = ""  # folder of preprocessed volumes, shared between runs if named; "" is <workdir>/cache
    data.crop = (0, 0)  # rows and columns of training slices, cropped at random or padded; (0, 0) takes whole slices
    data.flip = True  # mirror left and right, every other time
    data.source_drop = 0.25  # probability that a source is withheld, one always stays
    data.gamma = 0.0  # sources to the power of e^N(0, gamma²): looks that the data do not hold
    data.threads = 2  # reading ahead

    config.model = network_section()

    config.loss = loss_section()

    config.optimiser = ConfigDict(
        {
            "weight_decay": 0.01,
            "clip": 1.0,  # global gradient norm
            "max_skipped": 10,  # steps without a finite loss and gradient, in a row, at which training stops
            "warmup": 100,  # steps to the full learning rate, cosine to zero from there
            "ema": 0.999,  # decay of the averaged parameters, which inference uses
            "shard_state": False,  # divide optimiser state and averages over devices: less memory, the same numbers
        }
    )
    add_run_sections(config)
    return config.lock()


def complaints(config: ConfigDict) -> Iterator[str]:
    """Yields one line for every key that cannot work."""
    data = config.data
    yield from one_of("data.layout", data.layout, LAYOUTS)
    for name in data.targets:
        yield from one_of("data.targets", name, CONTRASTS)
    yield from not_empty(config, ("data.targets",))
    if data.layout == "brats" and not data.root:
        yield "config.data.root: not set; give the folder of the cases, --config.data.root=DIR"
    if data.layout == "phantom" and data.spacing <= 0:
        yield "config.data.spacing: the phantom needs its voxel size in mm, such as 4.0"
    if not 0 <= data.source_drop < 1:
        yield f"config.data.source_drop: {data.source_drop} is not a probability below 1"
    yield from shared_complaints(config)
