"""Eight simulated devices, and no silent broadcasting over missing axes, for every test.

The environment is set here, before anything imports JAX, which reads it once.
"""

import os

DEVICES = 8

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={DEVICES}".strip()
# Each device blocks a thread in a collective: with as few threads as cores, eight of them on two cores deadlock.
os.environ["NPROC"] = "32"

import jax  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")
