"""Translates cases, or samples volumes out of noise:

python synthesize.py --workdir runs/quickstart --case DIR --output DIR
python synthesize.py --workdir runs/unconditional --count 4 --seed 7 --output DIR

DIR is a case, or a folder of cases. For a run of missing MR, <case>/<case>-{t1n,t1c,t2w,t2f}.nii.gz with contrasts
missing; for a run of MR to CT, <case>/{mr,mask}.nii.gz, of which the mask may be missing too.
"""

from absl import flags

from lift_jax import commands

commands.prepare_jax()

WORKDIR = flags.DEFINE_string("workdir", None, "work directory of a trained run")
CASE = flags.DEFINE_string("case", None, "a case, or a folder of cases")
OUTPUT = flags.DEFINE_string("output", None, "folder for the results")
SKIP = flags.DEFINE_boolean("skip_existing", False, "leave out cases whose results are there already")
TARGET = flags.DEFINE_string("target", None, "missing MR: predict this contrast alone")
FORCE = flags.DEFINE_boolean("force", False, "missing MR: predict --target from the others even if it is there")
SIDE = flags.DEFINE_integer("side", None, "MR to CT: voxels along each axis to work at, 0 for the MR's own grid", 0)
DTYPE = flags.DEFINE_enum(
    "dtype", None, ["float32", "bfloat16"], "of activations, where it is not to be that of the training"
)
COUNT = flags.DEFINE_integer("count", None, "sample so many volumes out of noise")
SEED = flags.DEFINE_integer("seed", 0, "of the samples: the same seed gives the same volumes")
DEPTH = flags.DEFINE_integer("depth", 0, "slices of a sampled volume; 0 for as many as in training")
DEVIATION = flags.DEFINE_float("deviation", None, "of sampled volumes' codes, where it is not to be that of the run")
SPACING = flags.DEFINE_float("spacing", 1.0, "voxel size to write of sampled volumes, mm")


def main():
    commands.check_devices()
    if COUNT.value is None:
        _translate()
    else:
        _sample()


def _sample():
    from lift_jax.inference.sample_files import synthesize_samples
    from lift_jax.places import local_place, place
    from lift_jax.trained import load_generation

    workdir, output = place(commands.required_path("workdir")), local_place(commands.required_path("output"))
    options = {"depth": DEPTH.value, "spacing": SPACING.value, "deviation": DEVIATION.value}
    for path in synthesize_samples(load_generation(workdir), COUNT.value, SEED.value, output, **options):
        commands.say(path)


def _translate():
    from lift_jax.errors import UserError
    from lift_jax.inference.folder import work_through
    from lift_jax.places import local_place, place
    from lift_jax.trained import for_inference, load_trained

    workdir = place(commands.required_path("workdir"))
    case, output = (local_place(commands.required_path(flag)) for flag in ("case", "output"))
    trained = for_inference(load_trained(workdir), DTYPE.value)
    opened = {"missing_mr": _contrasts, "mr_to_ct": _pairs}[trained.config.task]
    work = opened(trained, case.resolve(), output)
    root = work.cases.root
    if output.resolve() in (root.resolve(), *((root / name).resolve() for name in work.cases.names)):
        raise UserError(f"--output: {output} holds the sources; name another folder")
    failures = []
    for outcome in work_through(work, skip_existing=SKIP.value):
        if outcome.error:
            failures.append(str(outcome.error))
        for path in outcome.paths:
            commands.say(f"{path} was there" if outcome.skipped else path)
    if failures:
        raise UserError("\n".join(failures))


def _contrasts(trained, case, output):
    """What is to be done by a run of missing MR."""
    from lift_jax.data.brats import BratsCases, contrast_paths, find_cases
    from lift_jax.inference.files import ContrastSynthesis

    single = bool(contrast_paths(case.parent, case.name))
    root, names = (case.parent, [case.name]) if single else (case, find_cases(case))
    cases = BratsCases(root, names, (), trained.config.data.spacing or None)
    return ContrastSynthesis(trained, cases, output, TARGET.value, FORCE.value)


def _pairs(trained, case, output):
    """What is to be done by a run of MR to CT."""
    from lift_jax.data.synthrad import SynthradCases, find_pairs, pair_paths
    from lift_jax.inference.ct_files import CtSynthesis

    single = bool(pair_paths(case.parent, case.name))
    root, names = (case.parent, [case.name]) if single else (case, find_pairs(case))
    side = trained.config.inference.side if SIDE.value is None else SIDE.value
    return CtSynthesis(trained, SynthradCases(root, names, (), side or None), output)


if __name__ == "__main__":
    commands.run(main)
