"""The configuration of MR to CT."""

from collections.abc import Iterator

from ml_collections import ConfigDict

from lift_jax.configuration.checks import one_of
from lift_jax.configuration.translator import add_run_sections, loss_section, network_section, shared_complaints

LAYOUTS = ("phantom", "synthrad")


def mr_to_ct() -> ConfigDict:
    """Defaults of LiFT-C for MR to CT, in Hounsfield units."""
    config = ConfigDict()
    config.task = "mr_to_ct"
    config.seed = 0
    config.start_from = ""  # work directory of a trained run of the same network to begin with; "" begins at random

    config.data = data = ConfigDict()
    data.layout = "phantom"  # phantom, or synthrad: <root>/<case>/{mr,ct,mask}.nii.gz
    data.root = ""  # folder of the cases (synthrad)
    data.split_file = ""  # JSON {"train": [names], "validation": …, "test": …}; "" splits by a hash of the names
    data.side = 0  # synthrad: volumes are resampled to side x side x side voxels for training; 0 keeps their grid
    data.spacing = 0.0  # phantom: mm
    data.shape = (64, 64, 64)  # phantom: slices, rows, columns (D, H, W)
    data.phantom_seed = 0  # phantom: cases are a function of this and their index
    data.cases = ConfigDict({"train": 144, "validation": 4, "test": 36})  # phantom: sizes of the splits
    data.cache = ""  # folder of preprocessed volumes, shared between runs if named; "" is <workdir>/cache
    data.crop = (0, 0)  # rows and columns of training slices, cropped at random or padded; (0, 0) takes whole slices
    data.flip = True  # mirror left and right, every other time
    data.gamma = 0.0  # the MR to the power of e^N(0, gamma²): looks that the data do not hold
    data.threads = 2  # reading ahead

    config.model = network_section()

    config.loss = loss_section()
    config.loss.bone_weight = 0.0  # extra weight of voxels of bone (CT above 250 HU) in the pixel term

    config.optimiser = ConfigDict(
        {
            "weight_decay": ConfigDict({"translator": 0.0, "mixer": 0.01}),  # Adam and AdamW
            "clip": 1.0,  # global gradient norm
            "max_skipped": 10,  # steps without a finite loss and gradient, in a row, at which training stops
            "warmup": 100,  # steps to the full learning rate, cosine to zero from there
            "ema": 0.999,  # decay of the averaged parameters, which inference uses
            "shard_state": False,  # divide optimiser state and averages over devices: less memory, the same numbers
        }
    )
    add_run_sections(config)
    config.inference.side = 0  # cases are resampled to side x side x side voxels for synthesis; 0 keeps their grid
    config.stages = ("translator", "mixer")
    config.stage.translator.batch = 32
    config.stage.translator.window = 1
    config.stage.mixer.batch = 32
    config.stage.mixer.window = 16
    return config.lock()


def complaints(config: ConfigDict) -> Iterator[str]:
    """Yields one line for every key that cannot work."""
    data = config.data
    yield from one_of("data.layout", data.layout, LAYOUTS)
    if data.layout == "synthrad" and not data.root:
        yield "config.data.root: not set; give the folder of the cases, --config.data.root=DIR"
    if data.layout == "phantom" and data.spacing <= 0:
        yield "config.data.spacing: the phantom needs its voxel size in mm, such as 3.375"
    for key, side in (("data", data.side), ("inference", config.inference.side)):
        if side < 0:
            yield f"config.{key}.side: {side} must be a number of voxels, or 0 for the grid of the files"
    if config.loss.bone_weight < 0:
        yield f"config.loss.bone_weight: {config.loss.bone_weight} must not be negative"
    yield from shared_complaints(config)
