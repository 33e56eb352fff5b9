"""Trains a run: python train.py --config configs/quickstart.py --workdir runs/quickstart

Any key of the configuration can be overridden: --config.stage.joint.steps=100. Started again with the same command,
a run goes on from its last checkpoint. On several hosts: docs/cloud.md.
"""

from absl import flags
from ml_collections import config_flags

from lift_jax import commands

commands.prepare_jax()

CONFIG = config_flags.DEFINE_config_file("config", None, "file with get_config, and :variant", lock_config=True)
WORKDIR = flags.DEFINE_string("workdir", None, "folder for checkpoints, logs and the configuration")
PROFILE = flags.DEFINE_string("profile_steps", None, "FIRST,LAST: steps to trace; sets config.log.profile")
commands.define_host_flags()


def main():
    commands.join_processes()
    from lift_jax.configuration import validate
    from lift_jax.places import place
    from lift_jax.training.preemption import Preempted
    from lift_jax.training.profiling import steps_of
    from lift_jax.training.run import train

    workdir = place(commands.required_path("workdir"))
    config = validate(commands.loaded_config(CONFIG))
    if PROFILE.value is not None:
        config.log.profile = steps_of(PROFILE.value)
    try:
        train(config, workdir)
        told = f"{WORKDIR.value}: trained; now python evaluate.py --workdir {WORKDIR.value}"
    except Preempted as stop:
        told = f"{stop}; the same command goes on from there"
    if commands.is_first():
        commands.say(told)


if __name__ == "__main__":
    commands.run(main)
