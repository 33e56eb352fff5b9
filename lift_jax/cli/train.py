"""Train a run, or resume it from its last checkpoint.

usage: lift-jax train --config NAME_OR_FILE[:VARIANT] --workdir DIR [--config.KEY=VALUE ...]

Any key of the configuration can be set: --config.stage.joint.steps=100. On several hosts: docs/cloud.md.
Ctrl-C or SIGTERM saves after the step and stops.

examples:
  lift-jax train --config quickstart --workdir runs/quickstart
  lift-jax train --config brats_missing_mr --config.data.root=BRATS --workdir runs/brats
  lift-jax train --config my_config.py:small --workdir runs/mine --device=cpu
"""

from lift_jax.cli.arguments import Parser, add_device_argument, required
from lift_jax.cli.process import Say, add_process_arguments, join_processes, prepare_jax, run_until_stopped


def add_arguments(parser: Parser) -> None:
    """The options of the command."""
    parser.takes_overrides = True
    parser.add_argument("--config", metavar="NAME", help="a shipped configuration or a file, and :VARIANT")
    parser.add_argument("--workdir", metavar="DIR", help="folder for checkpoints, logs and the configuration")
    parser.add_argument("--profile_steps", metavar="A,B", help="first and last step to trace; sets config.log.profile")
    add_device_argument(parser)
    add_process_arguments(parser)


def run(arguments, say: Say) -> dict:
    """Trains all stages; the summary says whether all of them are done."""
    prepare_jax(arguments.device)
    required(arguments.workdir, "--workdir")
    required(arguments.config, "--config")
    from lift_jax.config import load_config, validate
    from lift_jax.config.documents import override
    from lift_jax.paths import resolve_path

    workdir = resolve_path(arguments.workdir)
    config = validate(override(load_config(arguments.config), arguments.overrides))
    join_processes(arguments)
    from lift_jax import hosts
    from lift_jax.tasks.run import train
    from lift_jax.training.run_log import steps_of

    if arguments.profile_steps is not None:
        config.log.profile = steps_of(arguments.profile_steps)
    stopped = run_until_stopped(lambda: train(config, workdir))
    if hosts.is_first():
        say(stopped or f"{arguments.workdir}: trained; now lift-jax evaluate --workdir {arguments.workdir}")
    return {"workdir": str(workdir), "done": stopped is None, "stages": list(config.stages)}
