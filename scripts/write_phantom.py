"""Writes held-out phantoms of a run as NIfTI files in the layout of BraTS, to try synthesis on.

python -m scripts.write_phantom --config runs/quickstart/config.json --without t2f --output runs/demo_subjects
"""

import argparse
import pathlib

from lift_jax.config import from_json
from lift_jax.data.datasets.brats import CHANNELS
from lift_jax.data.sources import subject_source
from lift_jax.data.volumes import new_geometry, write_volume


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=pathlib.Path, required=True, help="config.json of a run on phantoms")
    parser.add_argument("--count", type=int, default=1, help="subjects of the test split to write")
    parser.add_argument("--without", choices=tuple(CHANNELS), nargs="*", default=[], help="channels to leave out")
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--truth", type=pathlib.Path, help="folder for what is left out, as a prediction should be")
    arguments = parser.parse_args()
    subjects = subject_source(from_json(arguments.config.read_text(), str(arguments.config)).data, "test")
    for index in range(arguments.count):
        subject = subjects.load(index)
        grid = new_geometry(subject.shape, subject.affine)
        for channel, image in subject.images.items():
            left_out = channel in arguments.without
            root = arguments.truth if left_out else arguments.output
            if root is not None:
                folder = root / subject.name
                folder.mkdir(parents=True, exist_ok=True)
                volume = subject.reference(channel) if left_out else image
                write_volume(folder / f"{subject.name}-{channel}.nii.gz", volume, grid)
        print(arguments.output / subject.name)


if __name__ == "__main__":
    main()
