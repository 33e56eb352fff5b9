"""Writes held-out phantoms of a run as NIfTI files, to try synthesize.py on: brains as BraTS, heads as SynthRAD2023.

python -m scripts.write_phantom --config runs/quickstart/config.json --without t2f --output runs/demo_subjects
"""

import argparse
import pathlib

from lift_jax.config import from_json
from lift_jax.data.sources import subject_source
from lift_jax.data.volumes import write_volume


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=pathlib.Path, required=True, help="config.json of a run on phantoms")
    parser.add_argument("--count", type=int, default=1, help="subjects of the test split to write")
    parser.add_argument("--without", nargs="*", default=[], help="channels to leave out")
    parser.add_argument("--spacing", type=float, help="mm, in place of the run's; the grid covers what it covered")
    parser.add_argument("--output", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    data = from_json(arguments.config.read_text(), str(arguments.config)).data
    if arguments.spacing:
        data.size = tuple(round(side * data.spacing / arguments.spacing) for side in data.size)
        data.spacing = arguments.spacing
    subjects = subject_source(data, "test")
    unknown = set(arguments.without) - set(subjects.protocols)
    if unknown:
        parser.error(f"--without: {', '.join(sorted(unknown))}: the run has {', '.join(subjects.protocols)}")
    for index in range(arguments.count):
        subject, grid = subjects.load(index), subjects.geometry(index)
        folder = arguments.output / subject.name
        folder.mkdir(parents=True, exist_ok=True)
        volumes = {name: image for name, image in subject.images.items() if name not in arguments.without}
        if subject.mask is not None:
            volumes["mask"] = subject.mask.astype("float32")
        prefix = f"{subject.name}-" if data.dataset == "phantom" else ""
        for name, volume in volumes.items():
            write_volume(folder / f"{prefix}{name}.nii.gz", volume, grid)
        print(folder)


if __name__ == "__main__":
    main()
