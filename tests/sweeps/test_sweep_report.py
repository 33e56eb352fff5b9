"""The numbers, tables and pictures of a sweep."""

import csv
import io
import json

import numpy as np
import pytest
import scipy.stats

from lift_jax.config import named_config
from lift_jax.evaluation.sweep_columns import GENERATION_COLUMNS, TRANSLATION_COLUMNS
from lift_jax.sweeps.curves import mean_curve
from lift_jax.sweeps.definition import Sweep
from lift_jax.sweeps.logs import read_stage
from lift_jax.sweeps.markdown import sweep_markdown
from lift_jax.sweeps.page import _tradeoff, sweep_page
from lift_jax.sweeps.pareto_front import front
from lift_jax.sweeps.plan import plan_runs
from lift_jax.sweeps.report import results_csv
from lift_jax.sweeps.results import Result
from lift_jax.sweeps.scoring import Shown, _write_shown, read_shown
from lift_jax.sweeps.tables import seed_differences, seed_interval, seed_means
from lift_jax.sweeps.verdicts import is_best, verdict
from tests.small_sweep import generation_sweep


def test_the_mean_over_seeds_has_students_interval():
    values = np.random.default_rng(0).normal(3, 2, 5)
    expected = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.95)
    estimate = seed_interval(values)
    np.testing.assert_allclose(estimate, (values.mean(), expected.low, expected.high, 5), rtol=1e-12)
    half = 4.302652729911275 * np.std([1.0, 2.0, 4.0], ddof=1) / np.sqrt(3)  # from a table of t, 2 degrees of freedom
    np.testing.assert_allclose(seed_interval([1.0, 2.0, 4.0])[1:3], (7 / 3 - half, 7 / 3 + half), rtol=1e-9)


def test_nineteen_of_twenty_intervals_of_three_seeds_hold_the_true_mean():
    draws = np.random.default_rng(1).normal(1.0, 2.0, (2000, 3))
    held = np.mean([interval.low <= 1.0 <= interval.high for interval in map(seed_interval, draws)])
    assert 0.93 <= held <= 0.97


def test_one_seed_has_no_interval_and_none_no_mean():
    one, none = seed_interval([2.0]), seed_interval([])
    assert one.mean == 2.0 and np.isnan(one.low) and one.n == 1
    assert np.isnan(none.mean) and none.n == 0
    with pytest.raises(ValueError):
        seed_interval([1.0, np.nan])


def test_differences_are_paired_by_seed_over_the_seeds_that_both_have():
    a, b = {0: 1.0, 1: 5.0, 2: 9.5, 3: 7.0}, {2: 8.0, 0: 0.5, 1: 5.5, 4: 3.0}
    (difference,) = seed_differences({"base": a, "other": b}, "base").values()
    paired = scipy.stats.ttest_rel([b[s] for s in (0, 1, 2)], [a[s] for s in (0, 1, 2)])
    interval = paired.confidence_interval(0.95)
    np.testing.assert_allclose(difference, (-2.5 / 3 + 1 / 3, interval.low, interval.high, 3), rtol=1e-9)
    assert seed_means({"base": a, "other": b})["other"].n == 4
    assert seed_means({"base": {0: np.nan, 1: 2.0}})["base"][::3] == (2.0, 1)


def test_distances_are_averaged_and_compared_by_their_logarithms():
    a, b = [0.3, 0.9, 0.34], [2.9, 13.4, 3.7]
    values = {"base": dict(enumerate(a)), "other": dict(enumerate(b))}
    mean = seed_means(values, "frechet_coronal")["other"]
    interval = scipy.stats.ttest_1samp(np.log(b), 0).confidence_interval(0.95)
    np.testing.assert_allclose(mean, (scipy.stats.gmean(b), *np.exp(interval), 3), rtol=1e-9)
    (ratio,) = seed_differences(values, "base", "frechet_coronal").values()
    paired = scipy.stats.ttest_rel(np.log(b), np.log(a))
    np.testing.assert_allclose(ratio[0], scipy.stats.gmean(np.divide(b, a)), rtol=1e-9)
    np.testing.assert_allclose(ratio[1:3], np.exp(paired.confidence_interval(0.95)), rtol=1e-9)
    zero = {"base": {0: 0.0, 1: 2.0, 2: np.nan}, "other": {0: 1.0, 1: 8.0}}  # a distance of 0 has no ratio
    assert seed_means(zero, "frechet_coronal")["base"][::3] == (pytest.approx(2.0), 1)
    assert seed_differences(zero, "base", "frechet_coronal")["other"][::3] == (pytest.approx(4.0), 1)
    column = next(c for c in GENERATION_COLUMNS if c.key == "frechet_coronal")
    assert verdict(ratio, column) == "worse" and verdict(ratio._replace(low=0.9), column) == ""


def test_curves_are_averaged_over_the_steps_that_all_seeds_logged():
    assert mean_curve([[(1, 2.0), (2, 4.0), (3, 9.0)], [(1, 4.0), (3, 1.0)]]) == ([1, 3], [3.0, 5.0])


def test_the_cost_of_a_step_is_the_median_of_what_was_logged(tmp_path):
    rates = [2.0, 4.0, 0.1]
    lines = [{"stage": "joint", "step": i, "loss": 1.0 / i, "steps_per_second": r} for i, r in enumerate(rates, 1)]
    lines += [{"stage": "mixer", "step": 1, "loss": 5.0}, {"stage": "joint", "step": 3, "validation_psnr": 20.0}]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"cut')
    log = read_stage(tmp_path, "joint")
    assert log.seconds_per_step == 0.5 and np.isnan(log.seconds)
    assert log.curves == {"loss": [(1, 1.0), (2, 0.5), (3, pytest.approx(1 / 3))], "validation_psnr": [(3, 20.0)]}


def invented_results(sweep, directory):
    """Scored runs of a sweep with random scores, but for the last, which failed."""
    generator = np.random.default_rng(0)
    runs = plan_runs(sweep, directory)
    results = []
    for run in runs[:-1]:
        scores = {c.key: float(np.exp(generator.normal())) for c in sweep.metrics}
        named = {"model": scores, "independent slices": scores, "real (held out)": {}}
        run.directory.mkdir(parents=True)
        ball = np.clip(1 - np.linalg.norm(np.indices((8, 8, 8)) / 4 - 1, axis=0), 0, 1)
        shown = [Shown("sample 0", {"real": ball}, ball**2)]
        _write_shown(run.directory / "pictures.npz", shown, (6.0, 6.0, 6.0))
        results.append(Result(run, named, 64, "1 x abacus", {}, ""))
    return [*results, Result(runs[-1], {}, 0, "", {}, "mapper: the loss is nan at step 7, <b>")]


def test_the_page_and_the_table_hold_the_same_numbers(tmp_path):
    sweep = generation_sweep({"slice": {"loss.particles": "slice"}}, seeds=(0, 1, 2))
    results = invented_results(sweep, tmp_path)
    rows = list(csv.DictReader(io.StringIO(results_csv(results))))
    failed = rows.pop()
    assert (failed["variant"], failed["seed"], failed["status"]) == ("slice", "2", "failed")
    assert "nan at step 7" in failed["message"]
    assert len(rows) == 5 * len(GENERATION_COLUMNS)

    page = sweep_page(sweep, results, "A & B")
    assert "A &amp; B" in page and "&lt;b&gt;" in page and "<b>mapper" not in page
    assert page.index("<img") < page.index("Means over seeds") < page.index("Paired differences")
    means = page[page.index("Means over seeds") :].split("</table>")[0]
    differences = page[page.index("Paired differences") :].split("</table>")[0]
    by_seed = {
        variant: [float(r["value"]) for r in rows if (r["variant"], r["metric"]) == (variant, "frechet_coronal")]
        for variant in ("base", "slice")
    }
    for values in by_seed.values():
        assert f"{scipy.stats.gmean(values):.4f}" in means
    paired = np.array(by_seed["slice"]) / np.array(by_seed["base"])[:2]
    assert f"{scipy.stats.gmean(paired):.2f}" in differences


def table_rows(text, head):
    """`{name: cells}` of the Markdown table whose first heading this is."""
    lines = text[text.index(f"| {head} |") :].split("\n\n")[0].splitlines()
    return {name: cells for name, *cells in ([c.strip() for c in line.strip("| ").split(" | ")] for line in lines[2:])}


def test_the_tables_in_markdown_hold_the_same_numbers(tmp_path):
    sweep = generation_sweep({"slice": {"loss.particles": "slice"}}, seeds=(0, 1, 2))
    results = invented_results(sweep, tmp_path)
    text = sweep_markdown(sweep, results, "A | B")
    assert text.startswith("# A \\| B\n") and "slice: loss.particles = 'slice'" in text
    values = {
        name: {r.run.seed: r.scores["model"]["kernel_axial"] for r in results if r.scores and r.run.variant == name}
        for name in ("base", "slice")
    }
    place = 1 + [c.key for c in GENERATION_COLUMNS].index("kernel_axial")
    means, differences = table_rows(text, "variant"), table_rows(text, "minus base")
    lowest = min(values, key=lambda name: np.mean(list(values[name].values())))
    for name, estimate in seed_means(values).items():
        cell = f"{estimate.mean:.4f} [{estimate.low:.4f}, {estimate.high:.4f}]"
        assert means[name][place] == (f"**{cell}**" if name == lowest else cell)
    assert [means[name][0] for name in ("base", "slice")] == ["3", "2"]
    paired = seed_differences(values, "base")["slice"]
    assert differences["slice"][place].strip("*") == f"{paired.mean:+.4f} [{paired.low:+.4f}, {paired.high:+.4f}]"
    assert means["*real (held out)*"][place] == "–"


def test_a_difference_whose_interval_leaves_out_zero_is_bold_and_no_mean_that_all_share(tmp_path):
    sweep = generation_sweep({"slice": {"loss.particles": "slice"}}, seeds=(0, 1, 2))
    results = [
        Result(
            run,
            {"model": {c.key: 1.0 + 5.0 * (run.variant == "slice") + 0.1 * run.seed for c in sweep.metrics}},
            8,
            "",
            {},
            "",
        )
        for run in plan_runs(sweep, tmp_path)
    ]
    (cells,) = table_rows(sweep_markdown(sweep, results, ""), "minus base").values()
    assert not is_best("slice", {"base": seed_interval([0.4] * 3), "slice": seed_interval([0.4] * 3)}, sweep.metrics[0])
    bold = {c.key: cell.startswith("**") for c, cell in zip(sweep.metrics, cells[1:], strict=True)}
    assert [key for key, is_bold in bold.items() if not is_bold] == ["step_relative", "spread_relative", "nearest_rmse"]
    assert cells[1 + list(bold).index("kernel_axial")].startswith("**+5.0")


def test_the_front_holds_what_nothing_cheaper_comes_up_to():
    costs, values = [1, 2, 2, 4, 8, 1], [3.0, 5.0, 4.0, 5.0, 6.0, 2.0]
    assert front(costs, values, True) == [0, 1, 4]
    assert front(costs, [-v for v in values], False) == [0, 1, 4]
    assert front([], [], True) == []


def test_what_variants_are_worth_is_drawn_over_what_they_cost_where_that_differs(tmp_path):
    variants = {"a": {}, "b": {"model.translator.space_to_depth": 2}}
    sweep = Sweep(named_config("small/translation", "tiny"), variants, "a", (0,), TRANSLATION_COLUMNS)
    runs = plan_runs(sweep, tmp_path)

    def page(costs):
        scores = [{c.key: 1.0 for c in TRANSLATION_COLUMNS} | {"gflop": cost} for cost in costs]
        results = [Result(run, {"model": own}, 8, "1 x abacus", {}, "") for run, own in zip(runs, scores, strict=True)]
        return _tradeoff(sweep, results)

    assert page([1.0, 4.0]).figures and page([1.0, 1.0]) is None and page([1.0, None]) is None


@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2)])
def test_the_trade_is_drawn_with_and_withouseed_intervals(tmp_path, seeds):
    variants = {"a": {}, "b": {"model.translator.space_to_depth": 2}}
    sweep = Sweep(named_config("small/translation", "tiny"), variants, "a", seeds, TRANSLATION_COLUMNS)
    results = []
    for run in plan_runs(sweep, tmp_path):
        scores = {column.key: 1.0 + run.seed for column in TRANSLATION_COLUMNS}
        scores["gflop"] = 1.0 + (run.variant == "b")
        results.append(Result(run, {"model": scores}, 8, "1 x abacus", {}, ""))
    (figure,) = _tradeoff(sweep, results).figures
    assert figure.png.startswith(b"\x89PNG")


def test_shown_volumes_are_read_as_they_were_written(tmp_path):
    volumes = np.random.default_rng(0).random((3, 4, 5, 6)).astype(np.float16)
    shown = [Shown("t1n of c-1", {"source": volumes[0], "truth": volumes[1]}, volumes[2])]
    _write_shown(tmp_path / "pictures.npz", shown, (3.0, 2.0, 1.0))
    (read,), spacing = read_shown(tmp_path)
    assert spacing == (3.0, 2.0, 1.0) and read.name == "t1n of c-1" and list(read.references) == ["source", "truth"]
    np.testing.assert_array_equal(read.made, volumes[2])
    np.testing.assert_array_equal(read.references["truth"], volumes[1])
