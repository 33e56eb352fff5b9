"""Writes held-out phantoms of a run as NIfTI cases in BraTS layout, to try synthesize.py on.

python -m scripts.write_phantom --config runs/quickstart/config.json --without t2f --output runs/demo_cases
"""

import argparse
import pathlib

from lift_jax.config import from_json
from lift_jax.data.cases import CONTRASTS
from lift_jax.data.sources import case_source
from lift_jax.data.volumes import new_geometry, write_volume


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=pathlib.Path, required=True, help="config.json of a run on phantoms")
    parser.add_argument("--count", type=int, default=1, help="cases of the test split to write")
    parser.add_argument("--without", choices=CONTRASTS, nargs="*", default=[], help="contrasts to leave out")
    parser.add_argument("--output", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    cases = case_source(from_json(arguments.config.read_text(), str(arguments.config)).data, "test")
    for index in range(arguments.count):
        case = cases.load(index)
        folder = arguments.output / case.name
        folder.mkdir(parents=True, exist_ok=True)
        grid = new_geometry(case.sources.shape[:3], case.affine)
        for channel, contrast in enumerate(CONTRASTS):
            if contrast not in arguments.without:
                write_volume(folder / f"{case.name}-{contrast}.nii.gz", case.sources[..., channel], grid)
        print(folder)


if __name__ == "__main__":
    main()
