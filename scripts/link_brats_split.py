"""BraTS's official split as links and a split file: train on the official training data, test on the validation data.

    python -m scripts.link_brats_split --training DIR --validation DIR --output DIR
    python train.py --config configs/brats_missing_mr.py --config.data.root=OUTPUT/subjects \\
        --config.data.split_file=OUTPUT/split.json --workdir runs/brats

In BraTS 2023 (glioma) that is 1,251 and 219 subjects, the 219 without segmentations. What validates during training is
one patient in twenty of the training data, with all time points.
"""

import argparse
import json
import pathlib
from collections.abc import Iterable

from lift_jax.data.splits import patient_of, split_patients
from lift_jax.paths import atomic_write


def official_split(training: Iterable[str], validation: Iterable[str]) -> dict[str, list[str]]:
    """The split file's lists, of the names `<challenge>-<patient>-<time point>` in the two official folders."""
    split = split_patients({name: patient_of(name) for name in training})
    return {
        "train": sorted([*split["train"], *split["test"]]),
        "validation": split["validation"],
        "test": sorted(validation),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--training", type=pathlib.Path, required=True, help="folder of the official training subjects")
    parser.add_argument(
        "--validation", type=pathlib.Path, required=True, help="folder of the official validation subjects"
    )
    parser.add_argument(
        "--output", type=pathlib.Path, required=True, help="created; subjects/ and split.json go into it"
    )
    arguments = parser.parse_args()
    subjects = arguments.output / "subjects"
    subjects.mkdir(parents=True)
    found = {}
    for folder in (arguments.training, arguments.validation):
        found[folder] = sorted(path.name for path in folder.iterdir() if path.is_dir())
        for name in found[folder]:
            (subjects / name).symlink_to((folder / name).resolve(), target_is_directory=True)
    split = official_split(found[arguments.training], found[arguments.validation])
    atomic_write(arguments.output / "split.json", json.dumps(split, indent=1) + "\n")
    print(", ".join(f"{key} {len(names):,}" for key, names in split.items()))


if __name__ == "__main__":
    main()
