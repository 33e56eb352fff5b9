"""An evaluation on disk: consistent, self-contained, and safe with any subject name."""

import base64
import csv
import dataclasses
import html.parser
import io
import json
import re

import numpy as np
import pytest
from matplotlib.image import imread

from lift_jax.errors import UserError
from lift_jax.evaluation.columns import UNIT_COLUMNS
from lift_jax.evaluation.report.pictures import Picture, draw_picture
from lift_jax.evaluation.report.translation import write_evaluation
from lift_jax.evaluation.statistics import model_differences, rank_subjects

EVIL = '<script>alert("x")</script> & "subject", 1'
METHODS = ("model", "best source", "mean of sources")
CHANNELS = ("t1n", "t2f")
METRICS = ("psnr", "ssim", "psnr_brain", "ssim_brain", "delta_z_mae", "delta_z_correlation")


@pytest.fixture(scope="module")
def rows():
    generator = np.random.default_rng(0)
    names = [EVIL, "case-b", "case-c", "case-d"]
    return [
        {"subject": subject, "channel": channel, "method": method, **{metric: generator.random() for metric in METRICS}}
        for subject in names
        for channel in CHANNELS
        for method in METHODS
    ]


def picture(subject="case-b", rank="best", channel="t2f"):
    generator = np.random.default_rng(0)
    target = np.zeros((10, 12, 14), np.float32)
    target[2:8, 2:10, 3:11] = generator.random((6, 8, 8))
    return Picture(subject, channel, rank, target * 0.9, target, target * 0.8, (3.0, 2.0, 2.0))


@pytest.fixture(scope="module")
def written(rows, tmp_path_factory):
    directory = tmp_path_factory.mktemp("report") / "new" / "folder"
    metadata = {"data set": "A & B <test>", "steps": 1000}
    write_evaluation(directory, rows, [picture(EVIL)], title="A <b>title</b>", metadata=metadata, columns=UNIT_COLUMNS)
    return directory


class Elements(html.parser.HTMLParser):
    """All start tags with their attributes, and the text of the page."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def without_scripts(page):
    """The page without the viewer's scripts, which must be exactly the three that it has."""
    page, count = re.subn(
        r'<script( type="application/json" id="viewer-data")?>.*?</script>', "", page, flags=re.DOTALL
    )
    assert count in (0, 3)
    return page


def values_of(rows, method, channel, metric):
    return [row[metric] for row in rows if row["method"] == method and row["channel"] == channel]


def test_metrics_hold_the_plain_mean_of_every_method_channel_and_metric(rows, written):
    metrics = json.loads((written / "metrics.json").read_text())
    assert metrics["metadata"] == {"data set": "A & B <test>", "steps": 1000} and metrics["subjects"] == 4
    for method in METHODS:
        for channel in CHANNELS:
            estimates = metrics["aggregates"][method][channel]
            assert set(estimates) == set(METRICS)
            for metric, estimate in estimates.items():
                assert estimate["mean"] == pytest.approx(np.mean(values_of(rows, method, channel, metric)), rel=1e-12)
                assert estimate["n"] == 4 and estimate["low"] < estimate["mean"] < estimate["high"]


def test_metrics_hold_the_model_minus_every_other_method_paired_by_subject(rows, written):
    differences = json.loads((written / "metrics.json").read_text())["model_minus"]
    assert list(differences) == ["best source", "mean of sources"]
    expected = np.subtract(*(values_of(rows, method, "t2f", "psnr") for method in ("model", "best source")))
    assert differences["best source"]["t2f"]["psnr"]["mean"] == pytest.approx(expected.mean(), rel=1e-9)


def test_differences_pair_by_name_and_leave_out_unpaired_subjects(rows):
    shuffled = [rows[i] for i in np.random.default_rng(1).permutation(len(rows))]
    kept = [row for row in shuffled if (row["subject"], row["method"]) != ("case-c", "best source")]
    difference = model_differences(kept, UNIT_COLUMNS)["best source"]["t1n"]["ssim"]
    table = {(row["subject"], row["method"]): row["ssim"] for row in kept if row["channel"] == "t1n"}
    pairs = [table[subject, "model"] - table[subject, "best source"] for subject in (EVIL, "case-b", "case-d")]
    assert difference.n == 3 and difference.mean == pytest.approx(np.mean(pairs), rel=1e-9)


def test_subjects_are_the_rows(rows, written):
    with open(written / "cases.csv", newline="", encoding="utf-8") as file:
        read = list(csv.DictReader(file))
    assert [
        {k: v if k in ("subject", "channel", "method") else float(v) for k, v in row.items()} for row in read
    ] == rows


def test_page_loads_nothing_from_anywhere(written):
    page = without_scripts((written / "report.html").read_text())
    elements = Elements(page)
    assert not {tag for tag, _ in elements.tags} & {"script", "link", "iframe", "object", "embed", "base"}
    links = [attributes[name] for _, attributes in elements.tags for name in ("src", "href") if name in attributes]
    assert len(links) == 1 and links[0].startswith("data:image/png;base64,")
    assert "url(" not in page and "@import" not in page and "http:" not in page and "https:" not in page


def test_names_from_outside_are_text_on_the_page(written):
    page = without_scripts((written / "report.html").read_text())
    elements = Elements(page)
    assert "<script" not in page and "<b>title" not in page
    assert EVIL in elements.text and "A <b>title</b>" in elements.text and "A & B <test>" in elements.text
    (image,) = [attributes for tag, attributes in elements.tags if tag == "img"]
    assert EVIL in image["alt"] and set(image) == {"alt", "src"}


def test_page_shows_the_model_first_then_pictures_then_all_tables(rows, written):
    text = Elements((written / "report.html").read_text()).text
    headline = text[: text.index("Pictures")]
    mean = np.mean(values_of(rows, "model", "t1n", "ssim"))
    assert f"{mean:.4f}" in headline and "mean of sources" not in headline
    assert text.index("Pictures") < text.index("All metrics") < text.index("Paired differences")


def test_columns_that_no_row_has_are_left_out(written):
    assert "crop," not in without_scripts((written / "report.html").read_text())


def test_values_that_are_not_finite_are_left_out_of_means_and_null_in_json(tmp_path):
    rows = [
        {
            "subject": "a",
            "channel": "t1n",
            "method": "model",
            "psnr": float("inf"),
            "ssim": float("nan"),
            "ssim_brain": 0.5,
        },
        {"subject": "b", "channel": "t1n", "method": "model", "psnr": 20.0, "ssim": float("nan"), "ssim_brain": 0.6},
    ]
    write_evaluation(tmp_path, rows, [], title="t", metadata={}, columns=UNIT_COLUMNS)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    estimates = metrics["aggregates"]["model"]["t1n"]
    assert estimates["psnr"] == {"mean": 20.0, "low": None, "high": None, "n": 1}
    assert estimates["ssim"] == {"mean": None, "low": None, "high": None, "n": 0}
    assert metrics["model_minus"] == {}
    page = (tmp_path / "report.html").read_text()
    assert "nan" not in page.lower() and "Paired differences" not in page
    assert "n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}1" in page


def test_best_median_and_worst_subject_follow_the_model(rows):
    values = {row["subject"]: row["psnr"] for row in rows if row["method"] == "model" and row["channel"] == "t1n"}
    ranks = rank_subjects([row for row in rows if row["subject"] != "case-d"], "t1n")
    ordered = sorted((subject for subject in values if subject != "case-d"), key=values.get, reverse=True)
    assert list(ranks) == ["best", "median", "worst"] and list(ranks.values()) == ordered


@pytest.mark.parametrize(("count", "ranks"), [(0, []), (1, ["median"]), (2, ["best", "worst"])])
def test_few_subjects_have_fewer_ranks(count, ranks):
    rows = [{"subject": str(i), "channel": "t1n", "method": "model", "psnr": 20.0 + i} for i in range(count)]
    assert list(rank_subjects(rows, "t1n")) == ranks


def test_a_new_evaluation_replaces_the_old_one_and_leaves_nothing_aside(rows, tmp_path):
    for title in ("first", "second"):
        write_evaluation(tmp_path, rows, [], title=title, metadata={}, columns=UNIT_COLUMNS)
    assert json.loads((tmp_path / "metrics.json").read_text())["title"] == "second"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cases.csv", "metrics.json", "report.html"]


def test_no_rows_and_an_unwritable_folder_are_refused(rows, tmp_path):
    with pytest.raises(UserError, match="nothing to report"):
        write_evaluation(tmp_path, [], [], title="t", metadata={}, columns=UNIT_COLUMNS)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        write_evaluation(tmp_path / "file", rows, [], title="t", metadata={}, columns=UNIT_COLUMNS)


def test_a_picture_is_the_same_whenever_it_is_drawn_and_shows_the_error():
    shown = imread(io.BytesIO(draw_picture(picture())))
    assert shown.ndim == 3 and shown.shape[1] > 1000
    np.testing.assert_array_equal(shown, imread(io.BytesIO(draw_picture(picture()))))
    perfect = dataclasses.replace(picture(), prediction=picture().target)
    saturation = [np.ptp(imread(io.BytesIO(draw_picture(p)))[..., :3], axis=-1) > 0.15 for p in (picture(), perfect)]
    assert saturation[0].sum() > 2 * saturation[1].sum()


def test_the_patients_right_is_shown_on_the_left_and_superior_up():
    volume = np.zeros((20, 20, 20), np.float32)
    volume[4:16, 4:16, 4:16] = 0.2
    volume[13:16, 4:16, 13:16] = 1.0  # superior, right
    shown = imread(io.BytesIO(draw_picture(Picture("a", "t1n", "best", volume, volume, volume, (1, 1, 1)))))
    height, width = shown.shape[:2]
    coronal = shown[int(0.34 * height) : int(0.6 * height), int(0.03 * width) : int(0.19 * width), 0]
    rows, columns = np.nonzero(coronal[5:-25, 5:-5] > 0.95)
    assert rows.mean() < 0.4 * coronal.shape[0] and columns.mean() < 0.45 * coronal.shape[1]


def test_a_ct_is_drawn_in_two_windows_with_its_calibration():
    generator = np.random.default_rng(0)
    ct = generator.uniform(-1000, 1500, (14, 15, 16)).astype(np.float32)
    mask = generator.random(ct.shape) < 0.7
    shown = Picture("a", "ct", "best", generator.random(ct.shape), ct, ct + 900, (2.0, 1.0, 1.0), unit="HU", mask=mask)
    np.testing.assert_array_equal(shown.difference, np.where(mask, shown.prediction - ct, 0))
    drawn = imread(io.BytesIO(draw_picture(shown)))
    assert drawn.shape[1] > imread(io.BytesIO(draw_picture(picture()))).shape[1]


def test_embedded_pictures_are_png(written):
    page = (written / "report.html").read_text()
    encoded = page.split("data:image/png;base64,")[1].split('"')[0]
    assert base64.b64decode(encoded).startswith(b"\x89PNG")
