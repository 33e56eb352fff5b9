"""Folders of results are checked, and names of results cannot lead out of them."""

import pytest

from lift_jax.errors import UserError
from lift_jax.inference.output import check_sources_kept, check_writable, output_path
from lift_jax.paths import atomic_write


@pytest.mark.parametrize("name", ["../evil", "..", "", "a/b", "/etc/evil"])
def test_results_named_after_a_subject_stay_in_their_folder(tmp_path, name):
    with pytest.raises(UserError, match="is no name of a subject"):
        output_path(tmp_path, name, "-t1c.nii.gz")


def test_every_name_that_a_file_can_have_can_be_written(tmp_path):
    longest = "ä" * ((255 - len("-synthesis.json")) // 2)
    path = output_path(tmp_path, longest, "-synthesis.json")
    atomic_write(path, "")
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    with pytest.raises(UserError, match="too long"):
        output_path(tmp_path, longest + "ä", "-synthesis.json")


def test_a_folder_is_checked_without_being_made(tmp_path):
    check_writable(tmp_path / "new" / "folder")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"--output: .*file is a file"):
        check_writable(tmp_path / "file" / "below")
    with pytest.raises(UserError, match=r"--output: /proc/.* cannot be written"):
        check_writable(tmp_path.__class__("/proc/results"))


def test_folders_of_sources_are_refused_and_folders_beside_them_are_not(tmp_path):
    source = tmp_path / "a" / "a-t1n.nii.gz"
    source.parent.mkdir()
    source.write_text("")
    check_sources_kept([tmp_path / "results", tmp_path], [source])
    with pytest.raises(UserError, match="holds the sources"):
        check_sources_kept([tmp_path / "a" / ".." / "a"], [source])
