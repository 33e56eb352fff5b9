"""The same as `lift-jax train`, for a checkout that is not installed: python train.py --help."""

from lift_jax.cli import main

if __name__ == "__main__":
    main("train")
