"""The loopback archive, and nothing of the outside: no token, no keyring, no telemetry."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ndx_synapsnet.benchmark.archive import LoopbackArchive


@pytest.fixture(autouse=True)
def _no_outside(no_outside: None) -> None:
    """For every test here."""


@pytest.fixture
def dandiset_folder(tmp_path: Path, written_recordings: Path) -> Path:
    """Two subjects with a recording each in HDF5, one in Zarr, and a file that is no recording."""
    folder = tmp_path / "dandiset"
    for path in ("sub-1/sub-1_ses-1.nwb", "sub-1/sub-1_ses-2.nwb", "sub-2/sub-2_ses-1.nwb"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(written_recordings / "recording.nwb", folder / path)
    shutil.copytree(written_recordings / "recording.zarr", folder / "sub-2/sub-2_ses-2.nwb.zarr")
    (folder / "dandiset.yaml").write_text("identifier: DANDI:000999\n")
    return folder


@pytest.fixture
def make_archive(dandiset_folder: Path, start_archive: Any) -> Any:
    """Start a loopback archive of the folder with the settings given."""
    return partial(start_archive, dandiset_folder)


@pytest.fixture
def archive(make_archive: Any) -> LoopbackArchive:
    """A loopback archive, well and fast, whose dandiset is 000999."""
    return make_archive()
