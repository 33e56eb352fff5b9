import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lift_jax.data.intensity import get_protocol
from lift_jax.data.phantom.dataset import PhantomSubjects
from lift_jax.data.subject import Box, BoxedSubjects, Subject, crop, foreground, foreground_box

SIDES = st.tuples(*[st.integers(1, 40)] * 3)


@given(SIDES, st.data(), st.integers(0, 3))
def test_a_box_holds_its_mask_with_a_margin_in_multiples_of_the_step_inside_the_grid(shape, data, margin):
    low = [data.draw(st.integers(0, side - 1)) for side in shape]
    high = [data.draw(st.integers(start + 1, side)) for start, side in zip(low, shape, strict=True)]
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*ends) for ends in zip(low, high, strict=True))] = True
    margins = (0, margin, 2 * margin)
    box = foreground_box(mask, margin=margins, step=(2, 4, 8))
    for axis, (side, around, step) in enumerate(zip(shape, margins, (2, 4, 8), strict=True)):
        length = box.shape[axis]
        assert 0 <= box.start[axis] <= max(low[axis] - around, 0)
        assert min(high[axis] + around, side) <= box.stop[axis] <= side
        assert length == side or (length % step == 0 and length < high[axis] - low[axis] + 2 * around + step)


def test_the_box_of_nothing_is_the_grid():
    assert foreground_box(np.zeros((4, 5, 6), bool)) == Box((0, 0, 0), (4, 5, 6))


def test_a_cropped_subject_stays_where_it_was():
    rng = np.random.default_rng(0)
    affine = np.diag([1.0, 2.0, 3.0, 1.0])
    affine[:3, 3] = (-5, 7, 9)
    image = rng.random((6, 8, 10)).astype(np.float32)
    labels = rng.integers(0, 4, image.shape).astype(np.uint8)
    part = crop(Subject("a", {"x": image}, affine, image > 0.5, {"x": 1 - image}, labels), Box((1, 2, 3), (5, 6, 9)))
    cut = (slice(1, 5), slice(2, 6), slice(3, 9))
    np.testing.assert_array_equal(part.images["x"], image[cut])
    np.testing.assert_array_equal(part.reference("x"), 1 - image[cut])
    np.testing.assert_array_equal(part.mask, image[cut] > 0.5)
    np.testing.assert_array_equal(part.segmentation, labels[cut])
    np.testing.assert_allclose(part.affine @ [0, 0, 0, 1], affine @ [3, 2, 1, 1])


@pytest.mark.parametrize("kind, channels", [("phantom", ("t1n", "t2f")), ("phantom_head", ("mr", "ct"))])
def test_boxed_subjects_lose_no_foreground(kind, channels):
    names = {"t1n": "mr_quantile", "t2f": "mr_quantile", "mr": "mr_foreground", "ct": "ct_hu"}
    protocols = {channel: get_protocol(names[channel]) for channel in channels}
    whole = PhantomSubjects(kind, protocols, 0, 0, 1, (40, 40, 40), 6.0)
    boxed = BoxedSubjects(whole)
    before, after = (foreground(s.load(0), channels, protocols) for s in (whole, boxed))
    assert after.sum() == before.sum() and after.size < before.size
    assert whole.fingerprint(0) != boxed.fingerprint(0)
