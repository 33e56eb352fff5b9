"""WDM's protocol: BraTS's grid halved, each voxel where the eight voxels it averages are."""

import dataclasses

import numpy as np
import pytest

from lift_jax.data.geometry import new_geometry
from lift_jax.data.intensity import get_protocol
from lift_jax.data.single_channel import WDM_SHAPE, WdmSubjects
from lift_jax.data.subject import Subject
from lift_jax.errors import UserError

AFFINE = np.array([[1.0, 0, 0, -119], [0, 1, 0, -121], [0, 0, 1, -70], [0, 0, 0, 1]])


@dataclasses.dataclass(frozen=True)
class OneSubject:
    """A subject whose image is given."""

    image: np.ndarray
    names = ("a",)
    patients = ("patient",)
    protocols = {"t1n": get_protocol("mr_quantile")}  # noqa: RUF012

    def channels(self, index):
        return ("t1n",)

    def load(self, index, channels=None):
        return Subject("a", {"t1n": self.image}, AFFINE)

    def fingerprint(self, index):
        return "print"

    def geometry(self, index):
        return new_geometry(self.image.shape, AFFINE)


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).random(WDM_SHAPE, dtype=np.float32)


def test_a_voxel_is_the_mean_of_the_eight_at_its_place(image):
    source = WdmSubjects(OneSubject(image))
    subject = source.load(0)
    halved = subject.images["t1n"]
    assert halved.shape == (128, 128, 128) and halved.dtype == np.float32
    for place in ((30, 10, 100), (60, 64, 5), (101, 123, 66)):
        center = subject.affine @ [*place[::-1], 1]
        middle = (np.linalg.inv(AFFINE) @ center)[2::-1]  # between two voxels along D, H, W
        block = image[tuple(slice(round(m - 0.5), round(m + 1.5)) for m in middle)]
        assert block.shape == (2, 2, 2)
        np.testing.assert_allclose(middle % 1, 0.5)
        np.testing.assert_allclose(halved[place], block.astype(np.float64).mean(), rtol=1e-6)
    assert not halved[:, :4].any() and not halved[:25].any()
    np.testing.assert_allclose(halved.sum(dtype=np.float64) * 8, image.sum(dtype=np.float64), rtol=1e-6)
    np.testing.assert_array_equal(source.geometry(0).affine, subject.affine)
    assert source.geometry(0).shape == halved.shape


def test_names_patients_and_channels_are_those_of_the_source(image):
    whole = OneSubject(image)
    source = WdmSubjects(whole)
    assert (source.names, source.patients, source.protocols) == (whole.names, whole.patients, whole.protocols)
    assert source.channels(0) == ("t1n",)
    assert source.fingerprint(0) != whole.fingerprint(0)


def test_another_grid_is_refused():
    with pytest.raises(UserError, match=r"a: has .* WDM's protocol needs"):
        WdmSubjects(OneSubject(np.zeros((8, 8, 8), np.float32))).load(0)
