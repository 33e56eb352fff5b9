"""A trained run as a small folder that stands for its work directory: configuration, weights, and what it trained on.

python -m scripts.export_weights --workdir runs/brats --output exported/brats
"""

import argparse
import pathlib
import shutil

from lift_jax.data.statistics import STATISTICS_FILE
from lift_jax.trained import load_trained, write_weights


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", type=pathlib.Path, required=True, help="of a run that translates")
    parser.add_argument("--output", type=pathlib.Path, required=True, help="the folder")
    arguments = parser.parse_args()
    trained = load_trained(arguments.workdir)
    write_weights(arguments.output, trained.params, trained.config.to_dict(), trained.stage, trained.step)
    statistics = arguments.workdir / STATISTICS_FILE
    if statistics.exists():
        shutil.copy(statistics, arguments.output / STATISTICS_FILE)
    size = sum(path.stat().st_size for path in arguments.output.iterdir())
    print(f"{arguments.output}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
