"""Translate subjects, or sample volumes from noise.

usage: lift-jax synthesize --workdir DIR --output PATH  --case DIR | --input CHANNEL=FILE ... | --count N  [options]

--case is a folder of subjects, or of one, in the layout of the run's data set; any of the channels may be missing.

examples:
  lift-jax synthesize --workdir runs/brats --case DIR --output DIR
  lift-jax synthesize --workdir runs/brats --input t1n=A.nii.gz --input t2w=B.nii.gz --target=t2f --output C.nii.gz
  lift-jax synthesize --weights phantom-missing-mr --input t1n=A.nii.gz --target=t2f --output C.nii.gz
  lift-jax synthesize --workdir runs/unconditional --count=4 --seed=7 --output DIR
"""

import pathlib
from collections.abc import Sequence

from lift_jax.cli.arguments import DTYPES, Parser, add_device_argument, natural, positive, refuse_given, required
from lift_jax.cli.process import Say, prepare_jax, require_devices, run_folder
from lift_jax.errors import UserError

TASK_OPTIONS = {"case", "input", "mask", "skip_existing", "target", "force", "dtype"}
TASK_OPTIONS |= {"count", "seed", "depth", "temperature", "spacing"}
"""Options that apply only to some tasks."""


def add_arguments(parser: Parser) -> None:
    """The options of the command."""
    add = parser.add_argument
    add("--workdir", metavar="DIR", help="work directory of a trained run")
    add("--weights", metavar="NAME", help="shipped weights, instead of --workdir")
    add("--output", metavar="PATH", help="folder for the results; with --input, the file to write")
    add("--case", metavar="DIR", help="a folder of subjects, or of one")
    add("--input", action="append", metavar="A=FILE", help="channel and file of a source; repeatable")
    add("--mask", metavar="FILE", help="brain or body in the --input files; default: detected")
    add("--skip_existing", action="store_true", help="skip subjects that have results of the same checkpoint")
    add("--target", metavar="CHANNEL", help="predict this channel; default: all missing ones")
    add("--force", action="store_true", help="predict --target from the others even if it is there")
    add("--dtype", choices=DTYPES, help="type of activations; default: that of the training")
    add("--count", type=positive, metavar="N", help="number of volumes to sample from noise")
    add("--seed", type=natural, metavar="N", help="seed of the samples (0)")
    add("--depth", type=natural, metavar="N", help="slices of a sampled volume; default: as in training")
    add("--temperature", type=float, metavar="X", help="standard deviation of the latents; overrides the run's setting")
    add("--spacing", type=float, metavar="MM", help="voxel size of sampled volumes")
    add_device_argument(parser)


def run(arguments, say: Say) -> dict:
    """Writes the volumes; the summary lists the lines that were printed."""
    prepare_jax(arguments.device)
    workdir = run_folder(arguments.workdir, arguments.weights)
    required(arguments.output, "--output")
    require_devices(arguments.device)
    from lift_jax.paths import resolve_local_path
    from lift_jax.run_directory import read_config
    from lift_jax.tasks import SynthesizeOptions, task_of

    task = task_of(read_config(workdir))
    refuse_given(arguments, TASK_OPTIONS - task.flags, f"for a run of task {task.name}")
    options = SynthesizeOptions(
        output=resolve_local_path(arguments.output),
        case=resolve_local_path(arguments.case) if arguments.case else None,
        inputs=channel_files(arguments.input or ()),
        mask=resolve_local_path(arguments.mask) if arguments.mask else None,
        target=arguments.target,
        force=arguments.force,
        skip_existing=arguments.skip_existing,
        dtype=arguments.dtype,
        count=arguments.count,
        seed=arguments.seed or 0,
        depth=arguments.depth or 0,
        spacing=arguments.spacing,
        temperature=arguments.temperature,
    )
    lines = []
    for line in task.synthesize(workdir, options):
        say(line)
        lines.append(str(line))
    return {"workdir": str(workdir), "output": str(options.output), "results": lines}


def channel_files(values: Sequence[str]) -> dict[str, pathlib.Path]:
    """Channel to file, of values CHANNEL=FILE of `--input`; UserError with a line for each wrong one."""
    files, problems = {}, []
    for value in values:
        channel, separator, path = value.partition("=")
        if not (channel and separator and path):
            problems.append(f"--input: {value!r} is not CHANNEL=FILE, such as t1n=scan.nii.gz")
        elif channel in files:
            problems.append(f"--input: {channel} is given twice; keep one")
        files[channel] = pathlib.Path(path)
    if problems:
        raise UserError("\n".join(problems))
    return files
