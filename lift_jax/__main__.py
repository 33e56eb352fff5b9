"""`python -m lift_jax`, the same as `lift-jax`."""

from lift_jax.cli import main

if __name__ == "__main__":
    main()
