"""`python -m lift_jax.data.check` is `lift-jax check`."""

if __name__ == "__main__":
    from lift_jax.cli import main

    main("check")
