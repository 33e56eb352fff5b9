"""Scores a run on its test split, or on a folder of subjects, or anybody's predictions:

python evaluate.py --workdir runs/quickstart
python evaluate.py --workdir runs/quickstart --root DIR
python evaluate.py --predictions DIR --targets DIR --protocol cwdm --output DIR
python evaluate.py --prediction FILE --target FILE --protocol synthrad2023 --mask FILE
"""

from absl import flags

from lift_jax import commands

commands.prepare_jax()

WORKDIR = flags.DEFINE_string("workdir", None, "work directory of a trained run")
ROOT = flags.DEFINE_string("root", None, "folder of subjects with the run's channels, instead of the test split")
PREDICTIONS = flags.DEFINE_string("predictions", None, "folder of predictions, <subject>-<channel>.nii.gz")
TARGETS = flags.DEFINE_string("targets", None, "folder of the true subjects, in the layout of BraTS or SynthRAD")
PREDICTION = flags.DEFINE_string("prediction", None, "a single prediction")
TARGET = flags.DEFINE_string("target", None, "the true volume of --prediction")
MASK = flags.DEFINE_string("mask", None, "brain or body in which --prediction is scored")
PROTOCOL = flags.DEFINE_enum(
    "protocol", "cwdm", ["cwdm", "synthrad2023", "synthrad2025"], "how predictions are scored: MR in [0, 1], CT in HU"
)
RANGE = flags.DEFINE_string(
    "prediction_range", None, "LOW,HIGH of predictions that are not in [0, 1] or HU; stand for 0,1 or -1024,3000"
)
MEDICALNET = flags.DEFINE_string(
    "medicalnet", None, "MedicalNet ResNet-50's weights, .safetensors: 3D Fréchet distances of a run of LiFT-U"
)
DTYPE = flags.DEFINE_enum("dtype", None, ["float32", "bfloat16"], "of activations; default: that of the training")
OUTPUT = flags.DEFINE_string("output", None, "folder for the results; default for a run: evaluation/ in its workdir")
commands.define_host_flags()

OF_RUNS = ("root", "medicalnet", "dtype")
OF_FILES = ("protocol", "prediction_range")
OF_FOLDERS = ("predictions", "targets")
OF_SINGLE_FILES = ("prediction", "target", "mask")


def main():
    files = (*OF_FILES, *OF_FOLDERS, *OF_SINGLE_FILES)
    if PREDICTIONS.value:
        commands.refuse_flags(("workdir", *OF_RUNS, *OF_SINGLE_FILES), "with --predictions")
    elif PREDICTION.value:
        commands.refuse_flags(("workdir", *OF_RUNS, *OF_FOLDERS), "with --prediction")
    else:
        commands.refuse_flags(files, "without --predictions or --prediction")
    commands.join_processes()
    if not (PREDICTIONS.value or PREDICTION.value):
        _evaluate_run()
    elif commands.is_first():
        _evaluate_files()


def _evaluate_run():
    from lift_jax.places import local_place, place
    from lift_jax.run_directory import read_config
    from lift_jax.tasks import EvaluateOptions, task_of

    workdir = place(commands.required_path("workdir"))
    task = task_of(read_config(workdir))
    commands.refuse_flags((flag for flag in OF_RUNS if flag not in task.flags), f"for a run of task {task.name}")
    options = EvaluateOptions(
        root=local_place(ROOT.value) if ROOT.value else None,
        output=place(OUTPUT.value) if OUTPUT.value else None,
        dtype=DTYPE.value,
        medicalnet=MEDICALNET.value,
    )
    report = task.evaluate(workdir, options)
    if report is not None:
        commands.say(f"report: {report}")


def _evaluate_files():
    from lift_jax.evaluation.folders import SCORING_PROTOCOLS, score_file, score_folder
    from lift_jax.evaluation.prediction_files import parse_range
    from lift_jax.evaluation.report import write_evaluation
    from lift_jax.inference.output import check_writable
    from lift_jax.places import is_in_bucket, local_place, place

    output = place(commands.required_path("output")) if OUTPUT.value or PREDICTIONS.value else None
    if output is not None and not is_in_bucket(output):
        check_writable(output)
    values = PROTOCOL.value, parse_range(RANGE.value) if RANGE.value is not None else None
    if PREDICTIONS.value:
        paths = (local_place(commands.required_path(flag)) for flag in OF_FOLDERS)
        rows, pictures, metadata = score_folder(*paths, *values)
    else:
        paths = (local_place(commands.required_path(flag)) for flag in OF_SINGLE_FILES[:2])
        rows, pictures, metadata = score_file(*paths, *values, local_place(MASK.value) if MASK.value else None)
    columns = SCORING_PROTOCOLS[PROTOCOL.value].columns
    if output is None:
        commands.say(f"prediction intensities: {metadata['prediction intensities']}")
        for column in columns:
            if column.key in rows[0]:
                commands.say(f"{column.label}: {rows[0][column.key]:.{column.digits}f}")
        return
    title = (PREDICTIONS.value or PREDICTION.value).rstrip("/").rpartition("/")[2]
    write_evaluation(output, rows, pictures, title=title, metadata=metadata, columns=columns)
    commands.say(f"report: {output / 'report.html'}")


if __name__ == "__main__":
    commands.run(main)
