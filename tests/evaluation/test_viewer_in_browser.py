"""The volume viewer of a report in headless Chromium: what is moved changes the pixels, and the console stays clean."""

import base64
import io

import numpy as np
import pytest
from matplotlib.image import imread

from lift_jax.evaluation.report.pictures import Picture
from lift_jax.evaluation.report.translation import write_evaluation
from tests.browser import CHROMIUM, DRIVER, MISSING, Browser

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not (CHROMIUM and DRIVER), reason=MISSING)]

SHAPE = (24, 30, 26)
BRIGHT_SLICE = 14
PAGE_UP = "\ue00e"


def volumes():
    """A dim block with one bright axial slice and a brighter right half, and a prediction that is uniformly dimmer."""
    target = np.zeros(SHAPE, np.float32)
    target[3:-3, 3:-3, 3:-3] = 0.4
    target[3:-3, 3:-3, 13:-3] = 0.6
    target[BRIGHT_SLICE, 3:-3, 3:-3] = 1.0
    return target * 0.9, target, target * 0.5


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    directory = tmp_path_factory.mktemp("report")
    mr, target, prediction = volumes()
    ct = target * 2000 - 1000
    pictures = [
        Picture("a", "t2f", "median", mr, target, prediction, (2.0, 1.0, 1.0)),
        Picture("b", "ct", "best", mr, ct, ct + 100, (2.0, 1.0, 1.0), unit="HU", mask=target > 0),
    ]
    rows = [{"subject": "a", "channel": "t2f", "method": "model", "psnr": 20.0}]
    write_evaluation(directory, rows, pictures, title="viewer", metadata={}, columns=())
    with Browser() as opened:
        opened.open(directory / "report.html")
        opened.wait("document.getElementById('viewer').dataset.state === 'ready'")
        yield opened


@pytest.fixture(autouse=True)
def fresh(browser):
    """Every test starts from the first picture in all planes and ends without a warning in the console."""
    choose(browser, 0)
    click(browser, "[data-plane=axial]")
    browser.run("document.getElementById('viewer').focus()")
    press(browser, "r", "c")  # reset, then no crosshair
    yield
    assert browser.console() == []


def click(browser, selector):
    browser.run(f"document.querySelector('{selector}').click()")


def press(browser, *keys):
    for key in keys:
        browser.press(key)


def slide(browser, name, value):
    browser.run(f"const s = document.getElementById('{name}'); s.value = {value}; s.dispatchEvent(new Event('input'))")


def choose(browser, scene):
    browser.run(
        f"const s = document.getElementById('scene'); s.value = {scene}; s.dispatchEvent(new Event('change'));"
        "document.getElementById('viewer').dataset.state = 'loading'"
    )
    browser.wait("document.getElementById('viewer').dataset.state === 'ready'")


def pixels(browser, panel):
    """The gray values of a panel as it is drawn, `[height, width]`."""
    script = f"const p = document.getElementById('viewer').viewer.panels()[{panel}]; p.nv.drawScene();"
    encoded = browser.run(f"{script} return p.canvas.toDataURL()").split(",")[1]
    return imread(io.BytesIO(base64.b64decode(encoded)))[..., :3].mean(-1)


def middle(image):
    """The median of the middle of the left and right half."""
    height, width = image.shape
    rows = slice(height * 4 // 10, height * 6 // 10)
    return [float(np.median(image[rows, width * a // 20 : width * b // 20])) for a, b in ((5, 8), (12, 15))]


def test_the_slider_moves_through_the_slices_of_all_panels(browser):
    slide(browser, "slice", 3)
    dim = [pixels(browser, panel) for panel in range(4)]
    offset = 1  # slices cropped below the foreground
    slide(browser, "slice", BRIGHT_SLICE - offset)
    bright = [pixels(browser, panel) for panel in range(4)]
    assert middle(dim[1]) == pytest.approx([0.6, 0.4], abs=0.02)  # the patient's right is on the left
    assert middle(bright[1]) == pytest.approx([1.0, 1.0], abs=0.02)
    assert middle(bright[2]) == pytest.approx([0.5, 0.5], abs=0.02)
    assert all(np.abs(a - b).max() > 0.1 for a, b in zip(dim, bright, strict=True))
    assert "of 22" in browser.run("return document.getElementById('slice-value').textContent")


def test_keys_move_slices_and_choose_planes(browser):
    slide(browser, "slice", 3)
    before = pixels(browser, 1)
    press(browser, PAGE_UP, PAGE_UP)
    assert browser.run("return document.getElementById('slice').value") == "13"
    assert middle(pixels(browser, 1)) == pytest.approx([1.0, 1.0], abs=0.02) != middle(before)
    press(browser, "2")
    coronal = pixels(browser, 1)
    bright_rows = np.flatnonzero(np.median(coronal, axis=1) > 0.95)
    assert bright_rows.size and bright_rows.mean() < coronal.shape[0] * 0.55  # slice 14 of 24 is above the middle


def test_level_and_window_change_targets_and_predictions_but_not_the_difference(browser):
    slide(browser, "slice", 3)
    before = [pixels(browser, panel) for panel in range(4)]
    slide(browser, "width", 0.5)
    after = [pixels(browser, panel) for panel in range(4)]
    assert middle(after[1]) == pytest.approx([0.7, 0.3], abs=0.02)  # (0.6 - 0.25) / 0.5
    np.testing.assert_array_equal(after[3], before[3])
    slide(browser, "limit", 0.6)
    assert np.abs(pixels(browser, 3) - before[3]).max() > 0.05


def test_a_click_moves_the_crosshair_of_all_panels(browser):
    slide(browser, "slice", 3)
    values = "return [...document.querySelectorAll('.panel .heading span')].map(span => span.textContent)"
    for across, expected in ((0.3, ["0.54", "0.60", "0.30", "−0.30"]), (0.7, ["0.36", "0.40", "0.20", "−0.20"])):
        point = point_of(browser, 0, across)
        browser.drag(point, point)
        assert browser.run(values) == expected


def test_the_right_button_drags_the_window_of_panels_with_the_same_windows(browser):
    slide(browser, "slice", 3)
    before = [pixels(browser, panel) for panel in range(4)]
    x, y = point_of(browser, 1, 0.5)
    browser.drag((x, y), (x - 100, y), button=2)
    after = [pixels(browser, panel) for panel in range(4)]
    assert middle(after[1]) == pytest.approx([0.5 + 0.1 * np.e**0.5, 0.5 - 0.1 * np.e**0.5], abs=0.02)
    assert np.abs(after[2] - before[2]).max() > 0.05
    np.testing.assert_array_equal(after[3], before[3])


def test_swipe_and_blink_show_target_and_prediction_in_one_place(browser):
    slide(browser, "slice", BRIGHT_SLICE - 1)
    press(browser, "s")
    slide(browser, "swipe", 50)
    left, right = middle(_panels_on_screen(browser))
    assert left == pytest.approx(1.0, abs=0.03) and right == pytest.approx(0.5, abs=0.03)
    press(browser, "b")
    assert middle(_panels_on_screen(browser)) == pytest.approx([1.0, 1.0], abs=0.03)
    press(browser, "b")
    assert middle(_panels_on_screen(browser)) == pytest.approx([0.5, 0.5], abs=0.03)


def test_another_picture_brings_its_own_windows(browser):
    choose(browser, 1)
    names = browser.run("return [...document.querySelectorAll('[data-window]')].map(b => b.textContent)")
    assert names == ["brain", "bone"]
    slide(browser, "slice", 3)
    brain = pixels(browser, 1)
    browser.run("document.querySelectorAll('[data-window]')[1].click()")
    bone = pixels(browser, 1)
    # The target is 200 HU on the patient's right and -200 HU on the left.
    assert middle(brain) == pytest.approx([1.0, 0.0], abs=0.02)
    assert middle(bone) == pytest.approx([0.375, 0.175], abs=0.02)


def point_of(browser, panel, across):
    """Where in the viewport a panel's canvas has its middle row, a share of its width from the left."""
    browser.run("document.getElementById('viewer').scrollIntoView({block: 'start'})")
    left, width, middle_row = browser.run(
        f"const b = document.querySelectorAll('.panel canvas')[{panel}].getBoundingClientRect();"
        "return [b.left, b.width, (b.top + b.bottom) / 2]"
    )
    return round(left + across * width), round(middle_row)


def _panels_on_screen(browser):
    """What the window shows where the swiped panel is."""
    browser.run("document.querySelector('.panel.first .box').scrollIntoView({block: 'start'})")
    box = browser.run(
        "const b = document.querySelector('.panel.first .box').getBoundingClientRect();"
        "return [b.left, b.top, b.right, b.bottom].map(Math.round)"
    )
    left, top, right, bottom = box
    return imread(io.BytesIO(browser.screenshot()))[max(top, 0) : bottom, left:right, :3].mean(-1)


def test_without_webgl_the_page_says_so_and_keeps_its_pictures(tmp_path):
    pictures = [Picture("a", "t2f", "median", *volumes(), (2.0, 1.0, 1.0))]
    rows = [{"subject": "a", "channel": "t2f", "method": "model", "psnr": 20.0}]
    write_evaluation(tmp_path, rows, pictures, title="viewer", metadata={}, columns=())
    with Browser(flags=("--disable-3d-apis",)) as opened:
        opened.open(tmp_path / "report.html")
        opened.wait("document.getElementById('viewer').dataset.state === 'unavailable'")
        assert "no WebGL 2" in opened.run("return document.getElementById('viewer').innerText")
        assert opened.run("return document.querySelector('figure img').complete")
