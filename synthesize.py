"""Translates cases, or samples volumes out of noise:

python synthesize.py --workdir runs/quickstart --case DIR --output DIR
python synthesize.py --workdir runs/unconditional --count 4 --seed 7 --output DIR

DIR is a case, or a folder of cases. For a run of missing MR, <case>/<case>-{t1n,t1c,t2w,t2f}.nii.gz with contrasts
missing; for a run of MR to CT, <case>/{mr,mask}.nii.gz, of which the mask may be missing too.
"""

import pathlib

from absl import flags

from lift_jax import commands

commands.prepare_jax()

WORKDIR = flags.DEFINE_string("workdir", None, "work directory of a trained run")
CASE = flags.DEFINE_string("case", None, "a case, or a folder of cases")
OUTPUT = flags.DEFINE_string("output", None, "folder for the results")
TARGET = flags.DEFINE_string("target", None, "missing MR: predict this contrast from the others, even if it is there")
SIDE = flags.DEFINE_integer("side", None, "MR to CT: voxels along each axis to work at, 0 for the MR's own grid", 0)
COUNT = flags.DEFINE_integer("count", None, "sample so many volumes out of noise")
SEED = flags.DEFINE_integer("seed", 0, "of the samples: the same seed gives the same volumes")
DEPTH = flags.DEFINE_integer("depth", 0, "slices of a sampled volume; 0 for as many as in training")
SPACING = flags.DEFINE_float("spacing", 1.0, "voxel size to write of sampled volumes, mm")


def main():
    if COUNT.value is None:
        _translate()
    else:
        _sample()


def _sample():
    from lift_jax.inference.sample_files import synthesize_samples
    from lift_jax.trained import load_generation

    workdir, output = (pathlib.Path(commands.required_path(flag)) for flag in ("workdir", "output"))
    options = {"depth": DEPTH.value, "spacing": SPACING.value}
    for path in synthesize_samples(load_generation(workdir), COUNT.value, SEED.value, output, **options):
        print(path)


def _translate():
    from lift_jax.errors import UserError
    from lift_jax.trained import load_trained

    workdir, case, output = (pathlib.Path(commands.required_path(flag)) for flag in ("workdir", "case", "output"))
    trained = load_trained(workdir)
    opened = {"missing_mr": _contrasts, "mr_to_ct": _pairs}[trained.config.task]
    cases, synthesize = opened(trained, case.resolve(), output)
    root = pathlib.Path(cases.root)
    if output.resolve() in (root.resolve(), *((root / name).resolve() for name in cases.names)):
        raise UserError(f"--output: {output} holds the sources; name another folder")
    failures = []
    for index in range(len(cases.names)):
        try:
            for path in synthesize(index):
                print(path)
        except UserError as error:
            failures.append(str(error))
    if failures:
        raise UserError("\n".join(failures))


def _contrasts(trained, case, output):
    """The cases of a run of missing MR, and what synthesizes one by its index."""
    from lift_jax.data.brats import BratsCases, contrast_paths, find_cases
    from lift_jax.inference.files import synthesize_case

    single = bool(contrast_paths(case.parent, case.name))
    root, names = (case.parent, [case.name]) if single else (case, find_cases(case))
    cases = BratsCases(root, names, (), trained.config.data.spacing or None)
    return cases, lambda index: synthesize_case(trained, cases, index, output, TARGET.value)


def _pairs(trained, case, output):
    """The cases of a run of MR to CT, and what synthesizes one by its index."""
    from lift_jax.data.synthrad import SynthradCases, find_pairs, pair_paths
    from lift_jax.inference.ct_files import synthesize_ct

    single = bool(pair_paths(case.parent, case.name))
    root, names = (case.parent, [case.name]) if single else (case, find_pairs(case))
    side = trained.config.inference.side if SIDE.value is None else SIDE.value
    cases = SynthradCases(root, names, (), side or None)
    return cases, lambda index: synthesize_ct(trained, cases, index, output)


if __name__ == "__main__":
    commands.run(main)
