"""Score a run on its test split or on a folder of subjects, or predictions of any method, and write a report.

usage: lift-jax evaluate --workdir DIR [--root DIR] | --predictions DIR --targets DIR --output DIR
       | --prediction FILE --target FILE  [options]

examples:
  lift-jax evaluate --workdir runs/quickstart
  lift-jax evaluate --workdir runs/quickstart --root DIR
  lift-jax evaluate --weights phantom-missing-mr --output DIR
  lift-jax evaluate --predictions DIR --targets DIR --protocol=cwdm --output DIR
  lift-jax evaluate --prediction ct.nii.gz --target true.nii.gz --protocol=synthrad2023 --mask m.nii.gz
"""

from lift_jax.cli.arguments import DTYPES, Parser, add_device_argument, refuse_given, required
from lift_jax.cli.process import Say, add_process_arguments, join_processes, prepare_jax, run_folder

PROTOCOLS = "cwdm", "synthrad2023", "synthrad2025"

RUN_OPTIONS = "root", "medicalnet", "dtype"
FOLDER_OPTIONS = "predictions", "targets"
SINGLE_OPTIONS = "prediction", "target", "mask"
PREDICTION_OPTIONS = "protocol", "prediction_range", *FOLDER_OPTIONS, *SINGLE_OPTIONS
"""Options that apply only to a run, to folders of predictions, or to a single prediction."""


def add_arguments(parser: Parser) -> None:
    """The options of the command."""
    add = parser.add_argument
    add("--workdir", metavar="DIR", help="work directory of a trained run")
    add("--weights", metavar="NAME", help="shipped weights, instead of --workdir; scored on phantoms, or on --root")
    add("--root", metavar="DIR", help="subjects to score instead of the test split")
    add("--predictions", metavar="DIR", help="folder of predictions, <subject>-<channel>.nii.gz")
    add("--targets", metavar="DIR", help="folder of the true subjects, in the layout of BraTS or SynthRAD")
    add("--prediction", metavar="FILE", help="a single prediction")
    add("--target", metavar="FILE", help="the true volume of --prediction")
    add("--mask", metavar="FILE", help="brain or body; --prediction is scored inside")
    add("--protocol", choices=PROTOCOLS, help="metrics of predictions: MR in [0, 1], CT in HU (cwdm)")
    add("--prediction_range", metavar="A,B", help="values of the predictions that stand for 0,1 or -1024,3000")
    add(
        "--medicalnet",
        metavar="FILE",
        help="weights (.safetensors) for 3D Fréchet distances of LiFT-U",
    )
    add("--dtype", choices=DTYPES, help="type of activations; default: that of the training")
    add("--output", metavar="DIR", help="folder for the results; for a run: evaluation/ in its workdir")
    add_device_argument(parser)
    add_process_arguments(parser)


def run(arguments, say: Say) -> dict:
    """Scores; the summary names the report or, for a single prediction without --output, holds the metrics."""
    if arguments.predictions:
        refuse_given(arguments, ("workdir", "weights", *RUN_OPTIONS, *SINGLE_OPTIONS), "with --predictions")
    elif arguments.prediction:
        refuse_given(arguments, ("workdir", "weights", *RUN_OPTIONS, *FOLDER_OPTIONS), "with --prediction")
    else:
        refuse_given(arguments, PREDICTION_OPTIONS, "without --predictions or --prediction")
        run_folder(arguments.workdir, arguments.weights)
        if arguments.weights:
            required(arguments.output, "--output")
    prepare_jax(arguments.device)
    join_processes(arguments)
    from lift_jax import hosts

    if not (arguments.predictions or arguments.prediction):
        return _evaluate_run(arguments, say)
    return _evaluate_files(arguments, say) if hosts.is_first() else {}


def _evaluate_run(arguments, say: Say) -> dict:
    from lift_jax.paths import resolve_local_path, resolve_path
    from lift_jax.run_directory import read_config
    from lift_jax.tasks import EvaluateOptions, task_of

    workdir = run_folder(arguments.workdir, arguments.weights)
    task = task_of(read_config(workdir))
    refuse_given(arguments, set(RUN_OPTIONS) - task.flags, f"for a run of task {task.name}")
    options = EvaluateOptions(
        root=resolve_local_path(arguments.root) if arguments.root else None,
        output=resolve_path(arguments.output) if arguments.output else None,
        dtype=arguments.dtype,
        medicalnet=arguments.medicalnet,
    )
    report = task.evaluate(workdir, options)
    if report is None:
        return {}
    say(f"report: {report}")
    return {"workdir": str(workdir), "report": str(report)}


def _evaluate_files(arguments, say: Say) -> dict:
    from lift_jax.evaluation.prediction_files import parse_range
    from lift_jax.evaluation.predictions import SCORING_PROTOCOLS, score_file, score_folder
    from lift_jax.evaluation.report.translation import write_evaluation
    from lift_jax.inference.output import check_writable
    from lift_jax.paths import is_in_bucket, resolve_local_path, resolve_path

    named = arguments.output or arguments.predictions
    output = resolve_path(required(arguments.output, "--output")) if named else None
    if output is not None and not is_in_bucket(output):
        check_writable(output)
    protocol = arguments.protocol or PROTOCOLS[0]
    limits = None if arguments.prediction_range is None else parse_range(arguments.prediction_range)
    options = FOLDER_OPTIONS if arguments.predictions else SINGLE_OPTIONS[:2]
    prediction, target = (resolve_local_path(required(getattr(arguments, name), f"--{name}")) for name in options)
    if arguments.predictions:
        rows, pictures, metadata = score_folder(prediction, target, protocol, limits)
    else:
        mask = resolve_local_path(arguments.mask) if arguments.mask else None
        rows, pictures, metadata = score_file(prediction, target, protocol, limits, mask)
    columns = SCORING_PROTOCOLS[protocol].columns
    if output is None:
        say(f"prediction intensities: {metadata['prediction intensities']}")
        found = [column for column in columns if column.key in rows[0]]
        for column in found:
            say(f"{column.label}: {rows[0][column.key]:.{column.digits}f}")
        return {"protocol": protocol, **{column.key: float(rows[0][column.key]) for column in found}}
    write_evaluation(output, rows, pictures, title=prediction.name, metadata=metadata, columns=columns)
    report = output / "report.html"
    say(f"report: {report}")
    return {"protocol": protocol, "report": str(report)}
