"""`python -m lift_jax.data.check` is `lift-jax check`."""

import sys

if __name__ == "__main__":
    from lift_jax.cli import main

    sys.exit(main(["check", *sys.argv[1:]]))
