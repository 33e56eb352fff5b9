"""Synthesis from files: which channels, where results go, back onto the grid of the files, and what is not repeated."""

import dataclasses
import json

import nibabel as nib
import numpy as np
import pytest
from ml_collections import ConfigDict

from lift_jax.data.channels import Channels
from lift_jax.data.intensity import get_protocol
from lift_jax.data.naming import SubjectFiles
from lift_jax.data.resample import resample_within_mask
from lift_jax.data.scans import ScannedSubjects
from lift_jax.data.subject import foreground
from lift_jax.errors import UserError
from lift_jax.inference.output import work_through
from lift_jax.inference.synthesis import Synthesis

SHAPE = (20, 24, 22)
"""`(i, j, k)` of the files."""

AFFINE = np.diag([-2.0, 2.0, 2.0, 1.0])


@dataclasses.dataclass(frozen=True)
class Copies:
    """In place of a trained run: predicts half of the first source, or 100 HU, in the foreground."""

    channels: Channels
    scale: float = 0.5
    stage: str = "joint"
    step: int = 7
    shipped: bool = False

    @property
    def params(self):
        return {"translator": {"scale": np.float32(self.scale)}}

    @property
    def config(self):
        data = {"dataset": "brats", "spacing": 0.0, "size": (0, 0, 0)}
        return ConfigDict({"data": data, "model": {"translator": {"dtype": "float32"}}})

    def predict(self, subject, sources, targets):
        inside, made = foreground(subject, sources, self.channels.protocols), {}
        assert set(subject.images) == set(sources)
        for target in targets:
            protocol = self.channels.protocols[target]
            value = 100 if protocol.unit == "HU" else self.scale * subject.images[sources[0]]
            made[target] = np.where(inside, value, protocol.background).astype(np.float32)
        return made


MR = {name: get_protocol("mr_quantile") for name in ("t1n", "t1c", "t2w", "t2f")}
ALL_MR = Channels(tuple(MR), tuple(MR), MR)
TO_CT = {"mr": get_protocol("mr_foreground"), "ct": get_protocol("ct_hu")}


def scan(seed, scale=500.0):
    grid = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    inside = sum(axis**2 for axis in grid) < 0.6
    return inside * (0.2 + np.random.default_rng(seed).random(SHAPE)) * scale


def save(path, array, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.asarray(array, np.float32), affine), path)
    return path


def subject(root, name, channels, mask=False):
    files = {channel: save(root / name / f"{name}-{channel}.nii.gz", scan(i)) for i, channel in enumerate(channels)}
    mask_path = save(root / name / f"{name}-mask.nii.gz", scan(0) > 0) if mask else None
    return SubjectFiles(name, files, mask_path)


def brats(root, **names):
    return ScannedSubjects(tuple(subject(root, name, channels) for name, channels in names.items()), MR)


def test_every_subset_of_sources_gives_the_channels_that_are_missing(tmp_path):
    subjects = brats(tmp_path / "in", a=("t1n", "t2w", "t2f"), b=("t1c",), c=tuple(MR))
    outcomes = list(work_through(Synthesis(Copies(ALL_MR), subjects, tmp_path / "out")))
    made = [[path.name for path in outcome.paths] for outcome in outcomes]
    assert made == [["a-t1c.nii.gz"], ["b-t1n.nii.gz", "b-t2w.nii.gz", "b-t2f.nii.gz"], []]
    assert "c: lacks no channel" in str(outcomes[2].error)
    record = json.loads((tmp_path / "out" / "a-synthesis.json").read_text())
    assert record["sources"] == ["t1n", "t2w", "t2f"] and record["targets"] == ["t1c"] and record["step"] == 7
    image = nib.load(tmp_path / "out" / "a-t1c.nii.gz")
    np.testing.assert_array_equal(image.affine, AFFINE)
    stored = np.asarray(image.dataobj)
    np.testing.assert_array_equal(stored > 0, (scan(0) > 0) & (stored > 0))
    assert 0.4 < stored.max() <= 0.5


def test_a_target_that_is_there_needs_force_and_is_not_read(tmp_path):
    subjects = brats(tmp_path / "in", a=tuple(MR))
    work = Synthesis(Copies(ALL_MR), subjects, tmp_path / "out", target="t1n")
    with pytest.raises(UserError, match=r"a: has t1n already; give --force"):
        work.outputs(0)
    subjects.files[0].channels["t1n"].write_bytes(b"of no use")
    forced = dataclasses.replace(work, force=True)
    with pytest.raises(UserError, match=r"--target: 't9' is none of t1n"):
        dataclasses.replace(work, target="t9").outputs(0)
    moved = dataclasses.replace(subjects.files[0], channels=dict(reversed(subjects.files[0].channels.items())))
    subjects = dataclasses.replace(subjects, files=(moved,), protocols={c: MR[c] for c in ("t1c", "t2w", "t2f", "t1n")})
    (outcome,) = work_through(dataclasses.replace(forced, subjects=subjects))
    assert [path.name for path in outcome.paths] == ["a-t1n.nii.gz"], outcome.error


def test_a_ct_is_int16_in_hu_with_air_outside_the_mask_on_any_working_grid(tmp_path):
    files = subject(tmp_path / "in", "h", ("mr", "ct"), mask=True)
    for spacing, size in ((0.0, (0, 0, 0)), (5.0, (0, 0, 0)), (0.0, (12, 12, 12))):
        subjects = ScannedSubjects((files,), TO_CT, spacing, size)
        work = Synthesis(Copies(Channels(("mr",), ("ct",), TO_CT)), subjects, tmp_path / "out")
        (outcome,) = work_through(work)
        image = nib.load(outcome.paths[0])
        voxels = np.asarray(image.dataobj)
        assert image.get_data_dtype() == np.int16
        inside = scan(0) > 0
        assert (voxels[~inside] == -1024).all()
        assert (voxels[inside] == 100).mean() > 0.97  # the rim may lie beyond the coarse mask
    record = json.loads((tmp_path / "out" / "h-synthesis.json").read_text())
    assert record["units"] == {"ct": "HU"} and record["foreground"] == "mask of the subject"


def test_existing_results_are_kept_only_if_the_same_checkpoint_made_them_of_the_same_channels(tmp_path):
    subjects = brats(tmp_path / "in", a=("t1n", "t2w", "t2f"))
    work = Synthesis(Copies(ALL_MR), subjects, tmp_path / "out")
    assert not work.is_done(0)
    list(work_through(work))
    (outcome,) = work_through(work, skip_existing=True)
    assert outcome.skipped
    other = dataclasses.replace(work, trained=Copies(ALL_MR, 0.25))
    before = (tmp_path / "out" / "a-t1c.nii.gz").read_bytes()
    (outcome,) = work_through(other, skip_existing=True)
    assert not outcome.skipped and outcome.replaced
    assert (tmp_path / "out" / "a-t1c.nii.gz").read_bytes() != before
    assert other.is_done(0)
    fewer = dataclasses.replace(other, target="t1c", subjects=brats(tmp_path / "in", a=("t1n", "t2w")))
    assert not fewer.is_done(0)
    (tmp_path / "out" / "a-synthesis.json").write_text("{")
    assert not other.is_done(0)
    (tmp_path / "out" / "a-synthesis.json").unlink()
    assert not other.is_done(0)


def test_results_never_replace_a_file_of_the_subject(tmp_path):
    subjects = brats(tmp_path / "in", a=tuple(MR))
    work = Synthesis(Copies(ALL_MR), subjects, tmp_path / "in" / "a", target="t1n", force=True)
    with pytest.raises(UserError, match=r"a-t1n\.nii\.gz: is a file of the subject and would be overwritten"):
        work.outputs(0)


def test_names_that_are_too_long_are_refused_before_anything_is_read(tmp_path):
    files = SubjectFiles("s" * 245, {"t1n": tmp_path / "absent.nii.gz"})
    work = Synthesis(Copies(ALL_MR), ScannedSubjects((files,), MR), tmp_path / "out")
    (outcome,) = work_through(work)
    assert "too long" in str(outcome.error) and not (tmp_path / "out").exists()


def test_dark_tissue_stays_dark_on_the_finer_grid():
    """2 mm to 1 mm: a core predicted as 0 counts as known, so that linear interpolation reaches it."""
    coarse = np.full((1, 1, 4), 0.4, np.float32)
    coarse[0, 0, 1:3] = 0
    affine, fine = np.diag([2.0, 2.0, 2.0, 1.0]), np.diag([1.0, 2.0, 2.0, 1.0])
    fine[0, 3] = -0.5
    inside = np.ones((1, 1, 8), bool)
    made = resample_within_mask(coarse, np.ones(coarse.shape, bool), affine, inside, fine, 0.0)
    np.testing.assert_allclose(made[0, 0], [0.4, 0.3, 0.1, 0, 0, 0.1, 0.3, 0.4], atol=1e-6)
    inside[0, 0, 7] = False
    assert resample_within_mask(coarse, np.ones(coarse.shape, bool), affine, inside, fine, -1024.0)[0, 0, 7] == -1024


def test_the_rim_is_not_mixed_with_what_lies_outside_the_known_part():
    known = np.array([[[True, True, False, False]]])
    coarse = np.where(known, 300.0, -1024.0).astype(np.float32)
    affine, fine = np.diag([2.0, 2.0, 2.0, 1.0]), np.diag([1.0, 2.0, 2.0, 1.0])
    fine[0, 3] = -0.5
    inside = np.array([[[True] * 5 + [False] * 3]])
    made = resample_within_mask(coarse, known, affine, inside, fine, -1024.0)
    np.testing.assert_allclose(made[0, 0], [300] * 5 + [-1024] * 3)


def test_a_coarse_prediction_gets_the_detail_of_its_sources_back(tmp_path):
    files = subject(tmp_path / "in", "a", ("t1n", "t1c", "t2w"))
    own = ScannedSubjects((files,), MR)
    work = Synthesis(Copies(ALL_MR), dataclasses.replace(own, spacing=4.0), tmp_path / "out")
    read = work.read(0)
    made = work.predict(read).volumes["t2f"]
    truth, inside = 0.5 * own.load(0).images["t1n"], foreground(read.native, read.sources, MR)
    coarse = 0.5 * read.subject.images["t1n"]
    known = foreground(read.subject, read.sources, MR)
    smooth = resample_within_mask(coarse, known, read.subject.affine, inside, read.native.affine, 0.0)
    error, before = (np.sqrt(np.mean((volume - truth)[inside] ** 2)) for volume in (made, smooth))
    assert made.shape == truth.shape and not made[~inside].any()
    assert error < 0.5 * before
