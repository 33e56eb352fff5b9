"""Scores a run on its test split, or on a folder of cases, or anybody's predictions:

python evaluate.py --workdir runs/quickstart
python evaluate.py --workdir runs/quickstart --root DIR
python evaluate.py --predictions DIR --targets DIR --protocol cwdm
python evaluate.py --predictions DIR --targets DIR --protocol synthrad2023
"""

from absl import flags

from lift_jax import commands

commands.prepare_jax()

WORKDIR = flags.DEFINE_string("workdir", None, "work directory of a trained run")
ROOT = flags.DEFINE_string(
    "root", None, "folder of complete cases in the layout of the run's task, instead of the test split"
)
PREDICTIONS = flags.DEFINE_string("predictions", None, "folder of predictions, <case>-<contrast or ct>.nii.gz")
TARGETS = flags.DEFINE_string("targets", None, "folder of the true cases, in the layout of BraTS or SynthRAD")
PROTOCOL = flags.DEFINE_enum("protocol", "cwdm", ["cwdm", "synthrad2023"], "how predictions are scored")
MEDICALNET = flags.DEFINE_string(
    "medicalnet", None, "MedicalNet ResNet-50's weights, .safetensors: 3D Fréchet distances of a run of LiFT-U"
)
DTYPE = flags.DEFINE_enum(
    "dtype", None, ["float32", "bfloat16"], "of activations, where it is not to be that of the training"
)
OUTPUT = flags.DEFINE_string("output", None, "folder for the results; of a run, its evaluation/ if not named")
commands.define_host_flags()


def main():
    commands.join_processes()
    if PREDICTIONS.value:
        if commands.is_first():
            _evaluate_folder()
    else:
        _evaluate_run()


def _evaluate_run():
    from lift_jax.evaluation.report import write_evaluation
    from lift_jax.places import place
    from lift_jax.run_directory import read_config
    from lift_jax.trained import for_inference, load_trained

    workdir = place(commands.required_path("workdir"))
    if read_config(workdir).task == "unconditional":
        return _evaluate_generation(workdir)
    trained = for_inference(load_trained(workdir), DTYPE.value)
    data_set = f"all cases of {ROOT.value}" if ROOT.value else f"{trained.config.data.layout}, test split"
    scored = {"missing_mr": _score_contrasts, "mr_to_ct": _score_ct}[trained.config.task]
    rows, pictures, facts, columns = scored(trained, data_set)
    made = workdir / ("evaluation_of_root" if ROOT.value else "evaluation")
    output = place(OUTPUT.value) if OUTPUT.value else made
    if not commands.is_first():
        return None
    write_evaluation(output, rows, pictures, title=f"{workdir.name}: {data_set}", facts=facts, columns=columns)
    commands.say(f"report: {output / 'report.html'}")


def _score_contrasts(trained, data_set):
    from lift_jax.data.cases import CONTRASTS
    from lift_jax.data.sources import case_source, folder_source
    from lift_jax.data.splits import check_members
    from lift_jax.evaluation.aggregates import CWDM_COLUMNS
    from lift_jax.evaluation.runs import picture_run, run_facts, score_run
    from lift_jax.places import local_place

    data = trained.config.data
    root = ROOT.value and local_place(ROOT.value)
    cases = folder_source(root, CONTRASTS, data.spacing) if root else case_source(data, "test")
    check_members(cases.names, "test", data.split_file)
    rows, cost = score_run(trained, cases)
    return rows, picture_run(trained, cases, rows), run_facts(trained, cases, data_set, cost), CWDM_COLUMNS


def _score_ct(trained, data_set):
    from lift_jax.data.pair_sources import folder_pairs, pair_source
    from lift_jax.data.splits import check_members
    from lift_jax.evaluation.ct_runs import ct_run_facts, picture_ct_run, score_ct_run
    from lift_jax.evaluation.ct_scores import CT_COLUMNS
    from lift_jax.places import local_place

    data = trained.config.data
    cases = folder_pairs(local_place(ROOT.value), data.side) if ROOT.value else pair_source(data, "test")
    check_members(cases.names, "test", data.split_file)
    rows, cost = score_ct_run(trained, cases)
    return rows, picture_ct_run(trained, cases, rows), ct_run_facts(trained, cases, data_set, cost), CT_COLUMNS


def _evaluate_generation(workdir):
    from lift_jax.evaluation.generation_runs import generation_facts, real_volumes, sampled_sets, score_generation
    from lift_jax.evaluation.unconditional_report import write_unconditional_evaluation
    from lift_jax.places import place
    from lift_jax.trained import load_generation

    trained = load_generation(workdir)
    if not commands.is_first():
        return
    real = real_volumes(trained, workdir)
    count = min(len(real["validation"]), len(real["test"]))
    sets, seconds = sampled_sets(trained, real["validation"], count)
    output = place(OUTPUT.value) if OUTPUT.value else workdir / "evaluation"
    write_unconditional_evaluation(
        output,
        score_generation(trained, sets, real, MEDICALNET.value),
        sets,
        real["test"],
        real["train"],
        title=f"{workdir.name}: volumes out of noise",
        facts=generation_facts(trained, seconds),
        spacing=(trained.config.data.spacing,) * 3,
    )
    commands.say(f"report: {output / 'report.html'}")


def _evaluate_folder():
    from lift_jax.evaluation.aggregates import CWDM_COLUMNS
    from lift_jax.evaluation.ct_folders import score_ct_folder
    from lift_jax.evaluation.ct_scores import CT_COLUMNS
    from lift_jax.evaluation.folders import score_folder
    from lift_jax.evaluation.report import write_evaluation
    from lift_jax.places import local_place, place

    predictions, targets = (local_place(commands.required_path(flag)) for flag in ("predictions", "targets"))
    output = place(commands.required_path("output"))
    protocols = {"cwdm": (score_folder, CWDM_COLUMNS), "synthrad2023": (score_ct_folder, CT_COLUMNS)}
    score, columns = protocols[PROTOCOL.value]
    rows, pictures, facts = score(predictions, targets)
    write_evaluation(output, rows, pictures, title=predictions.name, facts=facts, columns=columns)
    commands.say(f"report: {output / 'report.html'}")


if __name__ == "__main__":
    commands.run(main)
