"""The numbers, tables and pictures of a sweep."""

import csv
import io
import json

import numpy as np
import pytest
import scipy.stats

from lift_jax.config import named_config
from lift_jax.evaluation.columns import SWEEP_GENERATION_COLUMNS, SWEEP_UNIT_COLUMNS
from lift_jax.evaluation.statistics import best_mark, difference_mark, mean_interval
from lift_jax.sweeps import Sweep
from lift_jax.sweeps.figures import mean_curve, pareto_front
from lift_jax.sweeps.plan import plan_runs
from lift_jax.sweeps.report import quality_and_cost, results_csv, sweep_markdown, sweep_page
from lift_jax.sweeps.results import Result, read_examples, read_stage, write_examples
from lift_jax.sweeps.tables import seed_differences, seed_means
from lift_jax.tasks.base import Example
from tests.small_sweep import generation_sweep


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
    mean = seed_means(values, geometric=True)["other"]
    interval = scipy.stats.ttest_1samp(np.log(b), 0).confidence_interval(0.95)
    np.testing.assert_allclose(mean, (scipy.stats.gmean(b), *np.exp(interval), 3), rtol=1e-9)
    (ratio,) = seed_differences(values, "base", geometric=True).values()
    paired = scipy.stats.ttest_rel(np.log(b), np.log(a))
    np.testing.assert_allclose(ratio[0], scipy.stats.gmean(np.divide(b, a)), rtol=1e-9)
    np.testing.assert_allclose(ratio[1:3], np.exp(paired.confidence_interval(0.95)), rtol=1e-9)
    zero = {"base": {0: 0.0, 1: 2.0, 2: np.nan}, "other": {0: 1.0, 1: 8.0}}  # a distance of 0 has no ratio
    assert seed_means(zero, geometric=True)["base"][::3] == (pytest.approx(2.0), 1)
    assert seed_differences(zero, "base", geometric=True)["other"][::3] == (pytest.approx(4.0), 1)
    column = next(c for c in SWEEP_GENERATION_COLUMNS if c.key == "frechet_coronal")
    assert difference_mark(ratio, column, none=1) == "worse"
    assert difference_mark(ratio._replace(low=0.9), column, none=1) == ""


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
        scores = {c.key: float(np.exp(generator.normal())) for c in SWEEP_GENERATION_COLUMNS}
        named = {"model": scores, "independent slices": scores, "real (held out)": {}}
        run.directory.mkdir(parents=True)
        ball = np.clip(1 - np.linalg.norm(np.indices((8, 8, 8)) / 4 - 1, axis=0), 0, 1)
        examples = [Example("sample 0", {"real": ball}, ball**2)]
        write_examples(run.directory, examples, (6.0, 6.0, 6.0))
        results.append(Result(run, named, 64, "1 x abacus", {}, ""))
    return [*results, Result(runs[-1], {}, 0, "", {}, "mapper: the loss is nan at step 7, <b>")]


def test_the_page_and_the_table_hold_the_same_numbers(tmp_path):
    sweep = generation_sweep({"slice": {"loss.particles": "slice"}}, seeds=(0, 1, 2))
    results = invented_results(sweep, tmp_path)
    rows = list(csv.DictReader(io.StringIO(results_csv(results))))
    failed = rows.pop()
    assert (failed["variant"], failed["seed"], failed["status"]) == ("slice", "2", "failed")
    assert "nan at step 7" in failed["message"]
    assert len(rows) == 5 * len(SWEEP_GENERATION_COLUMNS)

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
    position = 1 + [c.key for c in SWEEP_GENERATION_COLUMNS].index("kernel_axial")
    means, differences = table_rows(text, "variant"), table_rows(text, "minus base")
    lowest = min(values, key=lambda name: np.mean(list(values[name].values())))
    for name, estimate in seed_means(values).items():
        cell = f"{estimate.mean:.4f} ({estimate.low:.4f} to {estimate.high:.4f})".replace("-", "−")
        assert means[name][position] == (f"**{cell}**" if name == lowest else cell)
    assert [means[name][0] for name in ("base", "slice")] == ["3", "2"]
    paired = seed_differences(values, "base")["slice"]
    cell = f"{paired.mean:+.4f} ({paired.low:+.4f} to {paired.high:+.4f}"
    assert differences["slice"][position].strip("*").startswith(cell.replace("-", "−"))
    assert means["*real (held out)*"][position] == "–"


def test_a_difference_whose_interval_leaves_out_zero_is_bold_and_no_mean_that_all_share(tmp_path):
    sweep = generation_sweep({"slice": {"loss.particles": "slice"}}, seeds=(0, 1, 2))
    results = [
        Result(
            run,
            {"model": {c.key: 1.0 + 5.0 * (run.variant == "slice") + 0.1 * run.seed for c in SWEEP_GENERATION_COLUMNS}},
            8,
            "",
            {},
            "",
        )
        for run in plan_runs(sweep, tmp_path)
    ]
    (cells,) = table_rows(sweep_markdown(sweep, results, ""), "minus base").values()
    same = {name: mean_interval([0.4] * 3) for name in ("base", "slice")}
    assert not best_mark("slice", same, SWEEP_GENERATION_COLUMNS[0])
    bold = {c.key: cell.startswith("**") for c, cell in zip(SWEEP_GENERATION_COLUMNS, cells[1:], strict=True)}
    assert [key for key, is_bold in bold.items() if not is_bold] == ["step_relative", "spread_relative", "nearest_rmse"]
    assert cells[1 + list(bold).index("kernel_axial")].startswith("**+5.0")


def test_the_pareto_front_holds_what_nothing_cheaper_comes_up_to():
    costs, values = [1, 2, 2, 4, 8, 1], [3.0, 5.0, 4.0, 5.0, 6.0, 2.0]
    assert pareto_front(costs, values, True) == [0, 1, 4]
    assert pareto_front(costs, [-v for v in values], False) == [0, 1, 4]
    assert pareto_front([], [], True) == []


def test_quality_is_drawn_over_cost_where_that_differs(tmp_path):
    variants = {"a": {}, "b": {"model.translator.space_to_depth": 2}}
    sweep = Sweep(named_config("quickstart", "small_tiny"), variants, "a", (0,))
    runs = plan_runs(sweep, tmp_path)

    def page(costs):
        scores = [{c.key: 1.0 for c in SWEEP_UNIT_COLUMNS} | {"gflop": cost} for cost in costs]
        results = [Result(run, {"model": own}, 8, "1 x abacus", {}, "") for run, own in zip(runs, scores, strict=True)]
        return quality_and_cost(sweep, results)

    assert page([1.0, 4.0]).figures and page([1.0, 1.0]) is None and page([1.0, None]) is None


@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2)])
def test_quality_is_drawn_with_and_without_intervals(tmp_path, seeds):
    variants = {"a": {}, "b": {"model.translator.space_to_depth": 2}}
    sweep = Sweep(named_config("quickstart", "small_tiny"), variants, "a", seeds)
    results = []
    for run in plan_runs(sweep, tmp_path):
        scores = {column.key: 1.0 + run.seed for column in SWEEP_UNIT_COLUMNS}
        scores["gflop"] = 1.0 + (run.variant == "b")
        results.append(Result(run, {"model": scores}, 8, "1 x abacus", {}, ""))
    (figure,) = quality_and_cost(sweep, results).figures
    assert figure.png.startswith(b"\x89PNG")


def test_examples_are_read_as_they_were_written(tmp_path):
    volumes = np.random.default_rng(0).random((3, 4, 5, 6)).astype(np.float16)
    examples = [Example("t1n of c-1", {"source": volumes[0], "truth": volumes[1]}, volumes[2])]
    write_examples(tmp_path, examples, (3.0, 2.0, 1.0))
    (read,), spacing = read_examples(tmp_path)
    assert spacing == (3.0, 2.0, 1.0) and read.name == "t1n of c-1" and list(read.references) == ["source", "truth"]
    np.testing.assert_array_equal(read.volume, volumes[2])
    np.testing.assert_array_equal(read.references["truth"], volumes[1])
