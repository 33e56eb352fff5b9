"""The same as `lift-jax evaluate`, for a checkout that is not installed: python evaluate.py --help."""

from lift_jax.cli import main

if __name__ == "__main__":
    main("evaluate")
