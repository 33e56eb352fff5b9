"""Synthesis by runs that translate: `synthesize.py --case` and `--input`."""

import pathlib
from collections.abc import Iterator, Mapping

from lift_jax.data.datasets import DATASETS
from lift_jax.data.naming import SubjectFiles
from lift_jax.data.nifti import is_nifti_name
from lift_jax.data.scans import ScannedSubjects, check_headers
from lift_jax.data.sources import all_subjects
from lift_jax.data.statistics import read_description
from lift_jax.errors import UserError
from lift_jax.inference.output import check_sources_kept, check_writable, work_through
from lift_jax.inference.synthesis import Synthesis
from lift_jax.paths import PathLike
from lift_jax.run_directory import read_config
from lift_jax.tasks.base import SynthesizeOptions
from lift_jax.trained import Trained, for_inference, load_trained


def synthesize_translation(workdir: PathLike, options: SynthesizeOptions) -> Iterator[str]:
    """Translates subjects and yields a line for each volume.

    Raises:
      UserError: the run or the output cannot be used, before anything is computed; at the end, with one line for each
        subject that failed.
    """
    if bool(options.case) == bool(options.inputs):
        problem = "give only one of them" if options.case else "give one of them"
        raise UserError(f"--case, --input: {problem}: a folder, or files as --input CHANNEL=FILE")
    work = _folder(workdir, options, options.case) if options.case else _files(workdir, options)
    check_writable(work.output)
    failures = []
    for outcome in work_through(work, skip_existing=options.skip_existing):
        if outcome.error:
            failures.append(str(outcome.error))
        note = ""
        if outcome.skipped:
            note = " exists, made by the same checkpoint; skipped"
        elif options.skip_existing and outcome.replaced:
            note = " replaced: the one that was there was not made by this checkpoint from these channels"
        for path in filter(is_nifti_name, outcome.paths):
            yield f"{path}{note}"
    if failures:
        raise UserError("\n".join(failures))


def _folder(workdir: PathLike, options: SynthesizeOptions, case: pathlib.Path) -> Synthesis:
    if options.mask:
        raise UserError("--mask: goes with --input; the mask of a subject in a folder lies beside its channels")
    if case.is_file() and read_config(workdir).data.dataset != "manifest":
        raise UserError(
            f"--case: {case} is a file; give the folder of a subject, or single files by "
            "--input CHANNEL=FILE --target CHANNEL --output FILE.nii.gz"
        )
    if not case.exists():
        raise UserError(f"--case: {case}: no such folder; check the path")
    trained = _load(workdir, options)
    subjects = all_subjects(trained.config.data, case, check=False)
    work = Synthesis(
        trained, subjects, options.output, options.target, options.force, training=read_description(workdir)
    )
    check_sources_kept([options.output], work.source_files)
    data_set = case.resolve()
    if subjects.names == [data_set.name]:  # the folder of one subject, beside which others lie
        data_set = data_set.parent
    if options.output.resolve() in (case.resolve(), data_set):
        raise UserError(f"--output: {options.output} holds the sources; name another folder")
    return work


def _files(workdir: PathLike, options: SynthesizeOptions) -> Synthesis:
    if options.target is None:
        raise UserError("--target: not given; name the channel to predict from the --input files")
    path = options.output
    if not is_nifti_name(path) or path.is_dir():
        raise UserError(f"--output: {path} is not named as a NIfTI file; with --input, name one, such as {path}.nii.gz")
    trained = _load(workdir, options)
    subjects = plain_subject(trained, path, options.inputs, options.mask)
    check_headers(subjects.files)
    return Synthesis(trained, subjects, path.parent, options.target, options.force, path, read_description(workdir))


def plain_subject(
    trained: Trained, output: pathlib.Path, inputs: Mapping[str, pathlib.Path], mask: pathlib.Path | None
) -> ScannedSubjects:
    """One subject of files that a user names.

    Raises:
      UserError: a channel is none of the run's sources, or a file is not there; one line for each.
    """
    data, channels = trained.config.data, trained.channels
    problems = [
        f"--input: {channel!r} is none of the run's sources {', '.join(channels.sources)}"
        for channel in inputs
        if channel not in channels.sources
    ]
    problems += [
        f"{path}: no such file; check the path" for path in (*inputs.values(), mask) if path and not path.is_file()
    ]
    if problems:
        raise UserError("\n".join(problems))
    files = SubjectFiles(output.name.split(".")[0], {c: inputs[c] for c in channels.sources if c in inputs}, mask)
    size = (0, 0, 0) if DATASETS[data.dataset].scanned_as else tuple(data.size)
    return ScannedSubjects((files,), dict(channels.protocols), float(data.spacing), size)


def _load(workdir: PathLike, options: SynthesizeOptions) -> Trained:
    return for_inference(load_trained(workdir), options.dtype)
