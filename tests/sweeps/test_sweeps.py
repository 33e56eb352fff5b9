"""Sweeps: what stages depend on, expansion into runs, refusals, numbers; and one as a user runs it."""

import contextlib
import csv
import dataclasses
import json
import pathlib
import signal
import time

import pytest

from lift_jax.config import named_config
from lift_jax.config.files import config_names
from lift_jax.errors import UserError
from lift_jax.run_directory import checkpoint_directory
from lift_jax.sweeps import load_sweep
from lift_jax.sweeps.parallel import LOG_FILE, MEMORY_FRACTION, process_environments, run_in_processes
from lift_jax.sweeps.plan import changed, check_runs, plan_runs, stage_digest, stage_directory
from lift_jax.sweeps.scheduler import Work, attempt, prepare_work, run_all, run_local, shared_stages, train_work
from lift_jax.tasks import task_of
from lift_jax.training.watchdog import Preempted, StopRequest
from tests.commands import SECONDS, assert_refused, snapshot
from tests.small_sweep import generation_sweep

SHIPPED = tuple(config_names("sweeps"))

ELSEWHERE = pathlib.Path("sweep")


def small_generation():
    return named_config("phantom_unconditional", "small_tiny")


def shared(changes, base=small_generation):
    """The stages that a changed configuration shares with the base."""
    base = base()
    config = base.copy_and_resolve_references()
    if "seed" in changes:
        config.seed = changes["seed"]
    else:
        config = changed(base, changes)
    return [name for name in base.stages if stage_digest(base, name) == stage_digest(config, name)]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"loss.particles": "slice"}, ["encoder", "generator"]),
        ({"loss.planes": ("axial",)}, ["encoder", "generator"]),
        ({"model.mapper.hidden": 8}, ["encoder", "generator"]),
        ({"stage.mapper.steps": 5}, ["encoder", "generator"]),
        ({"loss.field": "mean_shift"}, ["encoder"]),
        ({"loss.temperatures": (0.5,)}, ["encoder"]),
        ({"features.local": 4}, ["encoder"]),
        ({"model.generator.slice_latent_dim": 8}, ["encoder"]),
        ({"stage.generator.learning_rate": 3e-5}, ["encoder"]),
        ({"model.mapper.volume_latent_dim": 7}, ["encoder"]),
        ({"model.encoder.blocks": 2}, []),
        ({"stage.encoder.mask_ratio": 0.4}, []),
        ({"optimizer.ema_decay": 0.9}, []),
        ({"data.phantom_seed": 1}, []),
        ({"seed": 1}, []),
        (
            {
                "log.every_steps": 7,
                "checkpoint.every_steps": 3,
                "data.threads": 1,
                "inference.chunk": 3,
                "data.cache": "x",
            },
            "all",
        ),
    ],
)
def test_runs_share_the_stages_that_a_change_does_not_reach(changes, expected):
    assert shared(changes) == (["encoder", "generator", "mapper"] if expected == "all" else expected)


def test_a_generator_is_not_shared_by_runs_whose_latents_begin_differently():
    def base():
        config = small_generation()
        config.stage.generator.reconstruction_weight = 0.0  # random latents have no real slices to be decoded to
        return config

    assert shared({"model.prior.init": "random"}, base) == ["encoder"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"stage.mixer.mixer_learning_rate": 1e-5}, ["translator"]),
        ({"loss.through_plane": 0.0}, []),
        ({"model.mixer.hidden": 6}, []),
    ],
)
def test_a_translator_is_shared_by_mixers_that_train_differently(changes, expected):
    def base():
        config = named_config("quickstart", "small_tiny")
        config.stages = ("translator", "mixer")
        return config

    assert shared(changes, base) == expected


def test_a_stage_of_another_history_is_another_stage():
    alone, after = (named_config("quickstart", "small_tiny") for _ in range(2))
    alone.stages, after.stages = ("joint",), ("translator", "joint")
    assert stage_digest(alone, "joint") != stage_digest(after, "joint")


def test_every_key_that_a_stage_is_said_not_to_depend_on_exists():
    for config in (named_config("phantom_unconditional", "small_tiny"), named_config("quickstart", "small_tiny")):
        for keys in task_of(config).sweep.independent.values():
            for key in keys:
                holder = config
                for part in key.split("."):
                    holder = holder[part]


@pytest.mark.parametrize("name", SHIPPED)
def test_sweeps_that_are_shipped_are_valid(name):
    for variant in ("", "tiny"):
        sweep = load_sweep(f"{name}:{variant}")
        runs = plan_runs(sweep, ELSEWHERE)
        assert len(runs) == len(sweep.variants) * len(sweep.seeds) >= 2
    with pytest.raises(UserError, match="huge"):
        load_sweep(f"{name}:huge")


def test_every_variant_has_every_seed_and_its_changes_in_a_directory_of_its_own():
    runs = plan_runs(generation_sweep({"one": {"loss.particles": "slice"}}, seeds=(3, 5)), ELSEWHERE)
    assert [(run.variant, run.seed) for run in runs] == [("base", 3), ("one", 3), ("base", 5), ("one", 5)]
    assert [run.directory for run in runs] == [ELSEWHERE / "runs" / f"{run.variant}-{run.seed}" for run in runs]
    assert [run.config.seed for run in runs] == [3, 3, 5, 5]
    assert [run.config.loss.particles for run in runs] == ["unordered", "slice"] * 2
    assert {run.config.data.cache for run in runs} == {str((ELSEWHERE / "cache").resolve())}


def test_shared_stages_are_listed_once_first_stages_first():
    variants = {"slice": {"loss.particles": "slice"}, "field": {"loss.field": "mean_shift"}}
    runs = plan_runs(generation_sweep(variants), ELSEWHERE)
    encoders, generators = shared_stages(runs, ELSEWHERE)
    assert len(encoders) == 2 and {config.stages for config in encoders.values()} == {("encoder",)}
    assert len(generators) == 4
    assert {config.stages for config in generators.values()} == {("encoder", "generator")}


def test_all_that_is_wrong_with_any_variant_is_reported_at_once_by_variant_and_key():
    variants = {
        "misspelled": {"loss.feild": "softmax"},
        "typed": {"stage.mapper.steps": "many"},
        "section": {"checkpoint": {"every_steps": 1}},
        "odd": {"loss.field": "softmin", "stage.mapper.batch": 1},
        "seeded": {"seed": 3},
        "same": {"log.every_steps": 9},
        "a/b": {"loss.particles": "slice"},
    }
    with pytest.raises(UserError) as raised:
        plan_runs(generation_sweep(variants), ELSEWHERE)
    lines = str(raised.value).splitlines()
    expected = [
        ("misspelled", "config.loss.feild", "loss.field"),
        ("typed", "config.stage.mapper.steps", "many"),
        ("section", "config.checkpoint", "checkpoint.every_steps"),
        ("odd", "config.loss.field", "softmin"),
        ("odd", "config.stage.mapper.batch"),
        ("seeded", "config.seed"),
        ("same", "base", "nothing"),
        ("a/b", "letters"),
    ]
    assert len(lines) == len(expected)
    for words in expected:
        assert any(all(word in line for word in words) for line in lines), words


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"base_variant": "first"}, "base_variant"),
        ({"seeds": ()}, "seeds"),
        ({"seeds": (1, 1)}, "seeds"),
    ],
)
def test_a_sweep_that_cannot_work_is_refused(change, message):
    sweep = dataclasses.replace(generation_sweep({"one": {"loss.particles": "slice"}}), **change)
    with pytest.raises(UserError, match=message):
        plan_runs(sweep, ELSEWHERE)


def test_variants_that_do_not_fit_networks_or_devices_are_refused_by_name():
    variants = {"deep": {"model.encoder.widths": (4, 4, 4, 4, 4, 4, 4)}, "three": {"stage.mapper.batch": 3}}
    runs = plan_runs(generation_sweep(variants), ELSEWHERE)
    check_runs([run for run in runs if run.variant in ("base", "three")], devices=1)
    with pytest.raises(UserError) as raised:
        check_runs([run for run in runs if run.variant != "base"], devices=2)
    deep, three = str(raised.value).splitlines()
    assert "variant deep" in deep and "encoder" in deep
    assert "variant three" in three and "config.stage.mapper.batch" in three


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "get_sweep"), ("def get_sweep(variant): return 3", "Sweep"), ("1 +", "SyntaxError"), (None, "not a file")],
)
def test_a_file_that_holds_no_sweep_is_refused(tmp_path, text, message):
    path = tmp_path / "mine.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=message):
        load_sweep(str(path))


def test_a_sweep_is_loaded_by_file_and_variant():
    assert load_sweep("configs/sweeps/particles.py:tiny").seeds == (0,)


def test_runs_whose_stage_failed_fail_with_its_reason_and_the_others_go_on(tmp_path):
    runs = plan_runs(generation_sweep({"field": {"loss.field": "mean_shift"}}, seeds=(0,)), tmp_path)
    bad = stage_directory(tmp_path, runs[1].config, "generator")
    done, reported = [], {}

    def runner(work, report):
        for each in work:
            done.append(each.directory)
            report(each, "not finite" if each.directory == bad else None)

    failures = run_all(runs, tmp_path, runner, lambda work, reason: reported.update({work.directory: reason}))
    assert failures == {bad: "not finite", runs[1].directory: "not finite"}
    assert done[-1] == runs[0].directory and runs[1].directory not in done
    assert len(done) == 4 and reported[runs[1].directory] == "not finite"
    link = checkpoint_directory(runs[0].directory, "encoder")
    target = checkpoint_directory(stage_directory(tmp_path, runs[0].config, "encoder"), "encoder")
    target.mkdir(parents=True, exist_ok=True)
    assert link.is_symlink() and link.resolve() == target.resolve()


@pytest.mark.parametrize("asked", [True, False])
def test_a_stop_that_is_asked_for_in_the_last_step_of_a_stage_stops_the_sweep(tmp_path, monkeypatch, asked):
    run, _ = plan_runs(generation_sweep({"one": {"loss.particles": "slice"}}, seeds=(0,)), tmp_path)
    prepare_work(tmp_path, run.directory, run.config)

    def last_step(config, directory):
        with StopRequest():
            if asked:
                signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr("lift_jax.sweeps.scheduler.train", last_step)
    with pytest.raises(Preempted, match="after the last step of stage mapper") if asked else contextlib.nullcontext():
        train_work(run.directory)
    assert (run.directory / "timing.json").exists()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_work_directory_of_another_run_is_refused_before_any_work(tmp_path):
    runs, others = (
        plan_runs(generation_sweep({"one": {"loss.particles": particles}}), tmp_path)
        for particles in ("slice", "volume")
    )
    run_all(runs, tmp_path, lambda work, report: None, lambda work, reason: None)
    with pytest.raises(UserError, match=r"one-0.*loss\.particles"):
        run_all(others, tmp_path, run_local, lambda work, reason: None)


def test_work_that_cannot_begin_is_a_failure_and_no_crash(tmp_path):
    config = named_config("phantom_unconditional", "small_tiny")
    config.stage.mapper.batch = 3
    prepare_work(tmp_path, tmp_path / "run", config)
    assert "config.stage.mapper.batch" in attempt(Work(tmp_path / "run", "mapper", True))


def test_processes_take_the_gpus_in_turn(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    assert [environment["CUDA_VISIBLE_DEVICES"] for environment in process_environments(3)] == ["2", "5", "2"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert process_environments(2) == [{}, {}]


def test_processes_that_share_a_gpu_reserve_no_more_of_its_memory_than_there_is(monkeypatch):
    monkeypatch.delenv(MEMORY_FRACTION, raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert not any(MEMORY_FRACTION in environment for environment in process_environments(2))
    reserved = {"0": 0.0, "1": 0.0}
    for environment in process_environments(5):
        reserved[environment["CUDA_VISIBLE_DEVICES"]] += float(environment[MEMORY_FRACTION])
    assert min(reserved.values()) > 0.5 and max(reserved.values()) <= 0.9
    monkeypatch.setenv(MEMORY_FRACTION, "0.2")
    assert not any(MEMORY_FRACTION in environment for environment in process_environments(5))


def test_work_that_runs_out_of_memory_beside_others_is_done_again_alone(tmp_path, monkeypatch):
    monkeypatch.delenv(MEMORY_FRACTION, raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    done, reported = [], {}

    def do(work, environment):
        done.append((work.stage, MEMORY_FRACTION in environment))
        fits = work.stage == "small" or (work.stage == "large" and MEMORY_FRACTION not in environment)
        return None if fits else "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 9 bytes."

    monkeypatch.setattr("lift_jax.sweeps.parallel._run_process", do)
    work = [Work(tmp_path / name, name, True) for name in ("small", "large", "giant")]
    run_in_processes(2)(work, lambda each, reason: reported.update({each.stage: reason}))
    assert sorted(done) == [("giant", False), ("giant", True), ("large", False), ("large", True), ("small", True)]
    assert reported["small"] is None and reported["large"] is None and "RESOURCE_EXHAUSTED" in reported["giant"]

    done.clear()
    run_in_processes(1)(work[2:], lambda each, reason: None)  # alone already: what is too large stays too large
    assert done == [("giant", False)]


def test_a_process_reports_why_its_work_failed(tmp_path):
    reported = []
    run_in_processes(2)(
        [Work(tmp_path, "mapper", True)], lambda work, reason: reported.append((work.directory, reason))
    )
    ((directory, reason),) = reported
    assert directory == tmp_path and "config.json" in reason


def test_an_error_in_reporting_leaves_the_rest_undone(tmp_path):
    work = [Work(tmp_path / name, "mapper", True) for name in "abc"]
    for each in work:
        each.directory.mkdir()

    def report(work, reason):
        raise RuntimeError("no page")

    with pytest.raises(RuntimeError, match="no page"):
        run_in_processes(1)(work, report)
    assert not (tmp_path / "c" / LOG_FILE).exists()


SWEEP = """
from lift_jax.config import named_config
from lift_jax.sweeps import Sweep


def get_sweep(variant=""):
    base = named_config("quickstart", "small_tiny")
    base.stages = ("translator", "mixer")
    base.data.targets = ("t2w",)
    for stage in ("translator", "mixer"):
        base.stage[stage].update({"steps": 4, "batch": 1, "slices": 8})
    base.checkpoint.every_steps = 2
    variants = {"base": {}, "lost": {"stage.mixer.mixer_learning_rate": 1e30}}
    return Sweep(base, variants, "base", (0,))
"""


def test_a_sweep_that_is_killed_goes_on_and_trains_what_is_shared_once(tmp_path, begin, command):
    path, workdir = tmp_path / "mixers.py", tmp_path / "sweep"
    path.write_text(SWEEP)
    arguments = ("sweep", f"--sweep={path}", f"--workdir={workdir}")
    process = begin(*arguments)
    scored = workdir / "runs" / "base-0" / "scores.json"
    deadline = time.monotonic() + SECONDS
    while not scored.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == -signal.SIGKILL, errors
    before = snapshot(workdir / "stages"), snapshot(workdir / "runs" / "base-0")

    result = command(*arguments)
    assert result.returncode == 1
    assert (snapshot(workdir / "stages"), snapshot(workdir / "runs" / "base-0")) == before
    (stage,) = (workdir / "stages").iterdir()
    lines = [json.loads(line) for line in (stage / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3, 4]
    with (workdir / "sweep.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {(row["variant"], row["status"]) for row in rows} == {("base", "scored"), ("lost", "failed")}
    (psnr,) = (float(row["value"]) for row in rows if row["metric"] == "psnr")
    assert psnr == json.loads(scored.read_text())["scores"]["model"]["psnr"]
    (message,) = (row["message"] for row in rows if row["variant"] == "lost")
    assert "not finite" in message and message in result.stderr
    assert "| base | 1 | " in (workdir / "sweep.md").read_text()
    page = (workdir / "sweep.html").read_text()
    assert page.count("<img") >= 3 and "lost, seed 0" in page and "learning curves of stage translator" in page


def test_a_wrong_sweep_is_refused_in_lines_before_anything_is_made(tmp_path, command):
    path = tmp_path / "wrong.py"
    path.write_text(SWEEP.replace("stage.mixer.mixer_learning_rate", "stage.mixer.mixer_rat"))
    result = command("sweep", f"--sweep={path}", f"--workdir={tmp_path / 'sweep'}")
    assert result.returncode == 1 and not (tmp_path / "sweep").exists()
    assert [line.split(":")[0] for line in result.stderr.splitlines()] == ["variant lost"]
    assert_refused(command("sweep", f"--workdir={tmp_path / 'sweep'}"), "--sweep")
