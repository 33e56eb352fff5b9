"""The report of unconditional volumes: three files that agree, and a page that loads nothing."""

import base64
import csv
import io
import json
import re

import numpy as np
import pytest
from matplotlib.image import imread

from lift_jax.errors import UserError
from lift_jax.evaluation.generation import score_sets
from lift_jax.evaluation.report.generation import write_generation_report
from lift_jax.evaluation.report.planes import draw_volumes, slice_means, view_of

EVIL = "generated <script>alert(1)</script>"
SPACING = (3.0, 2.0, 2.0)


def volumes(n, seed):
    random = np.random.default_rng(seed)
    generated = np.zeros((n, 8, 10, 12), np.float32)
    generated[:, 2:7, 2:8, 3:10] = random.uniform(0.3, 1, (n, 5, 6, 7))
    return generated


def means(images):
    return np.asarray(images).mean((1, 2)) * np.ones((1, 2)) + [[0.0, 1.0]]


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory):
    directory = tmp_path_factory.mktemp("report") / "new" / "folder"
    sets, reference, training = {EVIL: volumes(3, 0), "real": volumes(2, 1)}, volumes(4, 2), volumes(5, 3)
    scores = score_sets(
        sets, reference, training, slice_encoders={"mean": means}, volume_encoders={}, frechet_resamples=5
    )
    write_generation_report(
        directory, scores, sets, reference, training, title="A & B", metadata={"steps": 7}, spacing=SPACING
    )
    return directory, scores


def test_the_numbers_are_those_that_were_scored(evaluation):
    directory, scores = evaluation
    metrics = json.loads((directory / "metrics.json").read_text())
    assert metrics["scores"][EVIL]["step"]["mean"] == scores.table[EVIL]["step"].mean
    assert metrics["volumes"] == {EVIL: 3, "real": 2, "real (reference)": 4}
    rows = list(csv.DictReader(io.StringIO((directory / "cases.csv").read_text())))
    assert [(row["set"], row["sample"]) for row in rows] == [(r["set"], str(r["sample"])) for r in scores.volume_rows]
    assert [float(row["nearest_rmse"]) for row in rows] == [row["nearest_rmse"] for row in scores.volume_rows]


def test_the_page_stands_alone_with_pictures_before_tables(evaluation):
    page = (evaluation[0] / "report.html").read_text()
    assert "generated <script" not in page and "A &amp; B" in page
    page = re.sub("<script>.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert page.index("<img") < page.index("<table")
    pictures = re.findall(r"data:image/png;base64,([^\"]+)", page)
    assert len(pictures) == 5  # two sets, the reference, neighbors, profiles
    for picture in pictures:
        assert np.ptp(imread(io.BytesIO(base64.b64decode(picture)))) > 0.5


def test_every_table_names_the_sets_with_values_and_intervals(evaluation):
    directory, scores = evaluation
    page = (directory / "report.html").read_text()
    for heading, columns in scores.groups.items():
        table = page[page.index(f"<h2>{heading}</h2>") :].split("</table>")[0]
        for column in columns:
            assert column.label in table
            assert f"{scores.table['real'][column.key].mean:.{column.digits}f}".lstrip("-") in table
    assert "too small for five scales" in page


def test_nothing_is_left_beside_the_three_files(evaluation):
    names = sorted(path.name for path in evaluation[0].iterdir())
    assert names == ["cases.csv", "metrics.json", "report.html"]


def test_a_folder_that_cannot_be_written_is_refused(evaluation, tmp_path):
    (tmp_path / "file").write_text("")
    sets = {"generated": volumes(2, 0)}
    real = volumes(2, 1)
    scores = score_sets(sets, real, real, slice_encoders={}, volume_encoders={})
    with pytest.raises(UserError, match="cannot be written"):
        write_generation_report(tmp_path / "file", scores, sets, real, real, title="", metadata={}, spacing=SPACING)


def test_slice_means_are_taken_within_the_region():
    generated, region = volumes(2, 0), volumes(1, 1)[0] > 0.6
    expected = [[v[k][region[k]].mean() if region[k].any() else np.nan for k in range(8)] for v in generated]
    np.testing.assert_allclose(slice_means(generated, region), expected, rtol=1e-6)


def test_volumes_are_drawn_superior_up_and_the_patients_right_on_the_left():
    volume = np.zeros((20, 20, 20))
    volume[12:, :, :10] = 1  # superior and left
    picture = imread(io.BytesIO(draw_volumes([("v", volume)], view_of(np.ones((20, 20, 20), bool), (1, 1, 1)))))
    coronal = picture[picture.shape[0] * 4 // 10 : picture.shape[0] * 6 // 10, 50:, 0]
    up, right = coronal[: len(coronal) // 3], slice(coronal.shape[1] * 6 // 10, coronal.shape[1] * 9 // 10)
    assert up[:, right].mean() > 0.9 and coronal[-len(coronal) // 4 :, right].mean() < 0.1
    assert up[:, coronal.shape[1] // 10 : coronal.shape[1] * 4 // 10].mean() < 0.1
