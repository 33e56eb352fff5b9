"""Scores a run on its test split, or on a folder of cases, or anybody's predictions:

python evaluate.py --workdir runs/quickstart
python evaluate.py --workdir runs/quickstart --root DIR
python evaluate.py --predictions DIR --targets DIR --protocol cwdm
"""

import pathlib

from absl import flags

from lift_jax import commands

commands.prepare_processor()

WORKDIR = flags.DEFINE_string("workdir", None, "work directory of a trained run")
ROOT = flags.DEFINE_string(
    "root", None, "folder of cases in BraTS layout with all contrasts, instead of the test split"
)
PREDICTIONS = flags.DEFINE_string("predictions", None, "folder of predicted <case>-<contrast>.nii.gz")
TARGETS = flags.DEFINE_string("targets", None, "folder of the true cases, in BraTS layout")
PROTOCOL = flags.DEFINE_enum("protocol", "cwdm", ["cwdm"], "how predictions are scored")
OUTPUT = flags.DEFINE_string("output", None, "folder for the results; of a run, its evaluation/ if not named")


def main():
    if PREDICTIONS.value:
        _evaluate_folder()
    else:
        _evaluate_run()


def _evaluate_run():
    from lift_jax.data.cases import CONTRASTS
    from lift_jax.data.sources import case_source, folder_source
    from lift_jax.evaluation.aggregates import CWDM_COLUMNS
    from lift_jax.evaluation.report import write_evaluation
    from lift_jax.evaluation.runs import picture_run, run_facts, score_run
    from lift_jax.trained import load_trained

    workdir = pathlib.Path(commands.required_path("workdir"))
    trained = load_trained(workdir)
    data = trained.config.data
    if ROOT.value:
        cases, data_set = folder_source(pathlib.Path(ROOT.value), CONTRASTS, data.spacing), f"all cases of {ROOT.value}"
    else:
        cases, data_set = case_source(data, "test"), f"{data.layout}, test split"
    output = pathlib.Path(OUTPUT.value or workdir / ("evaluation_of_root" if ROOT.value else "evaluation"))
    rows, cost = score_run(trained, cases)
    facts = run_facts(trained, cases, data_set, cost)
    pictures = picture_run(trained, cases, rows)
    write_evaluation(output, rows, pictures, title=f"{workdir.name}: {data_set}", facts=facts, columns=CWDM_COLUMNS)
    print(f"report: {output / 'report.html'}")


def _evaluate_folder():
    from lift_jax.evaluation.aggregates import CWDM_COLUMNS
    from lift_jax.evaluation.folders import score_folder
    from lift_jax.evaluation.report import write_evaluation

    predictions, targets, output = (
        pathlib.Path(commands.required_path(flag)) for flag in ("predictions", "targets", "output")
    )
    rows, pictures, facts = score_folder(predictions, targets, PROTOCOL.value)
    write_evaluation(output, rows, pictures, title=predictions.name, facts=facts, columns=CWDM_COLUMNS)
    print(f"report: {output / 'report.html'}")


if __name__ == "__main__":
    commands.run(main)
