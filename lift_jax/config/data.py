"""The section `data` of every configuration: which subjects, which of their channels, on which grid."""

from collections.abc import Iterator

from ml_collections import ConfigDict

from lift_jax.data.channels import protocols_of
from lift_jax.data.datasets import DATASETS
from lift_jax.errors import UserError

MADE = ("phantom", "phantom_head")
"""Data sets that are made on demand."""


def data_section() -> ConfigDict:
    """Defaults of `config.data`."""
    data = ConfigDict()
    data.dataset = "phantom"  # phantom, phantom_head; brats, synthrad2023, synthrad2025, bids, files or manifest
    data.root = ""  # folder of the subjects; of a manifest, what its relative paths start from
    data.pattern = ""  # files: such as "{subject}/{subject}_{channel}.nii.gz"
    data.manifest = ""  # manifest: CSV with the columns subject and one for each channel
    data.suffixes = ConfigDict()  # files, bids: words in file names, such as {"T1": "T1w"}; else the channel's name
    data.channels = ConfigDict()  # channel to intensity protocol; empty: those of the data set
    data.sources = ()  # channels to translate from, in the order of the network; () is all
    data.targets = ()  # channels to predict; () is all
    data.hu_range = (-1024.0, 3000.0)  # of CT and CBCT: what is clipped to, -1 and 1 of the network
    data.spacing = 0.0  # mm; subjects are resampled to isotropic voxels of this size; 0 keeps the grid of the files
    data.size = (0, 0, 0)  # slices, rows, columns (D, H, W) of the grid; zeros keep the field of view
    data.split_file = ""  # JSON {"train": [names], "validation": …, "test": …}; "": by a hash of the patients
    data.phantom_seed = 0  # phantoms are a function of this and their index
    data.subjects = ConfigDict({"train": 256, "validation": 8, "test": 32})  # phantoms: sizes of the splits
    data.cache = ""  # folder of preprocessed volumes, shared between runs if named; "" is <workdir>/cache
    data.threads = 2  # reading ahead
    return data


def data_errors(data: ConfigDict) -> Iterator[str]:
    """Yields one line for every key that cannot work."""
    try:
        protocols_of(data)
    except UserError as error:
        yield from str(error).splitlines()
    if data.dataset in MADE:
        if data.spacing <= 0:
            yield "config.data.spacing: a phantom needs its voxel size in mm, such as 4.0"
        if min(data.size) <= 0:
            yield f"config.data.size: {tuple(data.size)}: a phantom needs three sides, such as (48, 48, 48)"
    else:
        if min(data.size) < 0 or 0 < sum(side > 0 for side in data.size) < 3:
            yield f"config.data.size: {tuple(data.size)} must be three sides, or (0, 0, 0) for those of the files"
        if data.spacing < 0:
            yield f"config.data.spacing: {data.spacing} must be a voxel size in mm, or 0 for that of the files"
        if data.dataset == "manifest" and not data.manifest:
            yield "config.data.manifest: not set; give the CSV file, --config.data.manifest=FILE"
        elif data.dataset in DATASETS and data.dataset != "manifest" and not data.root:
            yield "config.data.root: not set; give the folder of the subjects, --config.data.root=DIR"
        if data.dataset == "files" and "{subject}" not in data.pattern:
            yield f"config.data.pattern: {data.pattern!r} has no {{subject}}; give one, {{subject}}_{{channel}}.nii.gz"
