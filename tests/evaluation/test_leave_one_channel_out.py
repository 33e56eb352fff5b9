"""The hidden channel has no part in what the network sees, nor in the region that is scored."""

import nibabel as nib
import numpy as np
import pytest

from lift_jax.data.channels import Channels
from lift_jax.data.intensity import get_protocol
from lift_jax.data.naming import SubjectFiles
from lift_jax.data.scans import ScannedSubjects
from lift_jax.evaluation.leave_one_channel_out import hidden_channels

SHAPE = (24, 22, 20)
PROTOCOLS = {name: get_protocol("mr_quantile") for name in ("a", "b", "c")}
CHANNELS = Channels(("a", "b", "c"), ("a", "b", "c"), PROTOCOLS)


def scan(seed, size, noise=0.0):
    generator = np.random.default_rng(seed)
    grid = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    inside = sum(axis**2 for axis in grid) < size
    return inside * (0.3 + generator.random(SHAPE)) * 500 + noise * np.abs(generator.normal(size=SHAPE))


def subjects(root, volumes, spacing=0.0):
    files = {}
    for channel, volume in volumes.items():
        files[channel] = root / f"s-{channel}.nii.gz"
        nib.save(nib.Nifti1Image(volume.astype(np.float32), np.diag([2.0, 2.0, 2.0, 1.0])), files[channel])
    return ScannedSubjects((SubjectFiles("s", files),), PROTOCOLS, spacing)


@pytest.mark.filterwarnings("ignore::lift_jax.errors.DataWarning")
@pytest.mark.parametrize("spacing", [0.0, 3.0])
def test_the_foreground_is_the_same_whatever_the_hidden_channel_shows(tmp_path, spacing):
    """Also where noise in the air of a source is masked by the other channels, and where subjects are resampled."""
    shown = []
    for hidden_size in (0.9, 0.2):
        volumes = {"a": scan(0, 0.5), "b": scan(1, 0.6, noise=20.0), "c": scan(2, hidden_size)}
        (hidden,) = hidden_channels(subjects(tmp_path, volumes, spacing), 0, CHANNELS, ["c"])
        assert hidden.sources == ("a", "b") and set(hidden.subject.images) == {"a", "b"}
        shown.append((hidden.truth.foreground, hidden.subject.images["b"]))
    np.testing.assert_array_equal(shown[0][0], shown[1][0])
    np.testing.assert_array_equal(shown[0][1], shown[1][1])


def test_only_channels_that_are_there_and_can_be_predicted_are_hidden(tmp_path):
    source = subjects(tmp_path, {"a": scan(0, 0.5), "c": scan(2, 0.5)})
    assert [(h.target, h.sources) for h in hidden_channels(source, 0, CHANNELS)] == [("a", ("c",)), ("c", ("a",))]
    (tmp_path / "alone").mkdir()
    assert list(hidden_channels(subjects(tmp_path / "alone", {"a": scan(0, 0.5)}), 0, CHANNELS)) == []
