"""Shipped weights through the commands, with nothing trained."""

import json

import numpy as np
import pytest

from lift_jax.data.sources import subject_source
from lift_jax.data.volumes import read_volume, write_volume
from lift_jax.run_directory import read_config
from lift_jax.trained import shipped_folder

NAME = "phantom-missing-mr"


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """Files of a held-out phantom, channel to path."""
    data = read_config(shipped_folder(NAME)).data
    subjects = subject_source(data, "test")
    subject, folder = subjects.load(0), tmp_path_factory.mktemp("scans")
    for channel, image in subject.images.items():
        write_volume(folder / f"{channel}.nii.gz", image, subjects.geometry(0))
    return {channel: folder / f"{channel}.nii.gz" for channel in subject.images}


def test_files_are_translated_and_the_result_says_what_the_weights_are(command, scans, tmp_path):
    output = tmp_path / "t2w.nii.gz"
    inputs = [f"--input={channel}={scans[channel]}" for channel in ("t1n", "t2f")]
    result = command("synthesize", f"--weights={NAME}", *inputs, "--target=t2w", f"--output={output}")
    assert result.returncode == 0, result.stderr
    assert "not for diagnosis" in result.stderr
    predicted, truth = read_volume(output), read_volume(scans["t2w"])
    np.testing.assert_allclose(predicted.affine, truth.affine)
    described = next(path for path in tmp_path.iterdir() if path.name.endswith("synthesis.json"))
    assert "not for diagnosis" in json.dumps(json.loads(described.read_text()))
    brain = truth.array > 0
    assert np.corrcoef(predicted.array[brain], truth.array[brain])[0, 1] > 0.6


@pytest.mark.slow
def test_they_are_scored_on_phantoms_where_no_subjects_are_given(command, tmp_path):
    result = command("evaluate", f"--weights={NAME}", f"--output={tmp_path / 'scored'}", "--json")
    assert result.returncode == 0, result.stderr
    scores = json.loads((tmp_path / "scored" / "metrics.json").read_text())["aggregates"]
    gain = [
        scores["model"][channel]["psnr"]["mean"] - scores["best source"][channel]["psnr"]["mean"]
        for channel in scores["model"]
    ]
    assert scores["model"]["t1n"]["psnr"]["n"] == 16 and np.mean(gain) > 1
