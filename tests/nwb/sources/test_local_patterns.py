"""Patterns of local paths."""

from __future__ import annotations

import shutil

import pytest

from ndx_synapsnet.errors import InputError
from ndx_synapsnet.nwb.sources import expand, open_source

FILE = "sub-1/sub-1_ses-1.nwb"
ZARR = "sub-2/sub-2_ses-2.nwb.zarr"


def refused(uri, says):
    with pytest.raises(InputError, match=says), open_source(uri):
        pass


def test_local_patterns(dandiset_folder, monkeypatch):
    ours = [str(dandiset_folder / path) for path in (FILE, "sub-1/sub-1_ses-2.nwb", "sub-2/sub-2_ses-1.nwb")]
    assert expand(f"{dandiset_folder}/sub-*/*.nwb") == ours
    assert expand(f"file://{dandiset_folder}/sub-*/*.nwb") == ours
    zarr = str(dandiset_folder / ZARR)
    assert expand(f"{dandiset_folder}/sub-2/*") == [ours[2], zarr]
    assert expand(f"{dandiset_folder}/sub-2/**") == [ours[2], zarr]  # nothing from inside the store
    monkeypatch.chdir(dandiset_folder)
    assert expand("sub-1/*_ses-[1].nwb") == ours[:1]
    assert expand(dandiset_folder / FILE) == [ours[0]]
    with open_source("sub-1/*_ses-[1].nwb") as opened:
        assert opened.uri == ours[0]
    refused("sub-1/*.nwb", "2 recordings fit this pattern")


def test_local_patterns_that_fit_nothing(dandiset_folder):
    refused(f"{dandiset_folder}/sub-1/*.nwc", "no file fits this pattern. There is .*sub-1_ses-1.nwb")
    refused(f"{dandiset_folder}/nowhere/*/x.nwb", "no file fits this pattern. There is .*sub-1")
    (dandiset_folder / "empty").mkdir()
    refused(f"{dandiset_folder}/empty/*.nwb", "The folder .*empty is empty")


def test_a_file_whose_name_is_a_pattern(dandiset_folder):
    name = dandiset_folder / "x[1].nwb"
    shutil.copy(dandiset_folder / FILE, name)
    assert expand(str(name)) == [str(name)]
    with open_source(str(name)) as opened:
        assert opened.uri == str(name)
