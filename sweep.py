"""The same as `lift-jax sweep`, for a checkout that is not installed: python sweep.py --help."""

from lift_jax.cli import main

if __name__ == "__main__":
    main("sweep")
