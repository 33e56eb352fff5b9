"""The same as `lift-jax synthesize`, for a checkout that is not installed: python synthesize.py --help."""

from lift_jax.cli import main

if __name__ == "__main__":
    main("synthesize")
