"""Translates subjects, or samples volumes out of noise:

python synthesize.py --workdir runs/quickstart --case DIR --output DIR
python synthesize.py --workdir runs/quickstart --input t1n=A.nii.gz --input t2w=B.nii.gz --target t2f --output C.nii.gz
python synthesize.py --workdir runs/unconditional --count 4 --seed 7 --output DIR

--case is a folder of subjects, or of one, in the layout of the run's data set; any of the channels may be missing.
"""

from absl import flags

from lift_jax import commands

commands.prepare_jax()

WORKDIR = flags.DEFINE_string("workdir", None, "work directory of a trained run")
CASE = flags.DEFINE_string("case", None, "a folder of subjects, or of one")
INPUT = flags.DEFINE_multi_string("input", [], "CHANNEL=FILE, a source; may be given several times")
MASK = flags.DEFINE_string("mask", None, "brain or body in the --input files; default: it is found in them")
OUTPUT = flags.DEFINE_string("output", None, "folder for the results; with --input, the file to write")
SKIP = flags.DEFINE_boolean("skip_existing", False, "leave out subjects that have results of the same checkpoint")
TARGET = flags.DEFINE_string("target", None, "predict only this channel; default: all that are missing")
FORCE = flags.DEFINE_boolean("force", False, "predict --target from the others even if it is there")
DTYPE = flags.DEFINE_enum("dtype", None, ["float32", "bfloat16"], "of activations; default: that of the training")
COUNT = flags.DEFINE_integer("count", None, "sample so many volumes out of noise")
SEED = flags.DEFINE_integer("seed", 0, "of the samples: the same seed gives the same volumes")
DEPTH = flags.DEFINE_integer("depth", 0, "slices of a sampled volume; 0 for as many as in training")
DEVIATION = flags.DEFINE_float("deviation", None, "of sampled volumes' codes, where it is not to be that of the run")
SPACING = flags.DEFINE_float("spacing", None, "voxel size to write of sampled volumes, mm")

OF_TASKS = ("case", "input", "mask", "skip_existing", "target", "force", "dtype")
OF_TASKS += ("count", "seed", "depth", "deviation", "spacing")


def main():
    commands.check_devices()
    from lift_jax.places import local_place, place
    from lift_jax.run_directory import read_config
    from lift_jax.tasks import SynthesizeOptions, task_of

    workdir = place(commands.required_path("workdir"))
    task = task_of(read_config(workdir))
    commands.refuse_flags((flag for flag in OF_TASKS if flag not in task.flags), f"for a run of task {task.name}")
    options = SynthesizeOptions(
        output=local_place(commands.required_path("output")),
        case=local_place(CASE.value) if CASE.value else None,
        inputs=commands.channel_files(INPUT.value),
        mask=local_place(MASK.value) if MASK.value else None,
        target=TARGET.value,
        force=FORCE.value,
        skip_existing=SKIP.value,
        dtype=DTYPE.value,
        count=COUNT.value,
        seed=SEED.value,
        depth=DEPTH.value,
        spacing=SPACING.value,
        deviation=DEVIATION.value,
    )
    for line in task.synthesize(workdir, options):
        commands.say(line)


if __name__ == "__main__":
    commands.run(main)
