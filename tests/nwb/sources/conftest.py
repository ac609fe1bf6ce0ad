"""The loopback archive, and nothing of the outside: no token, no keyring, no telemetry."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ndx_synapsnet.benchmark.archive import LoopbackArchive
from ndx_synapsnet.nwb.sources.remote.options import RemoteOptions, use_options


@pytest.fixture(autouse=True)
def _no_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DANDI_NO_ET", "1")
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    for name in ("DANDI_API_KEY", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)


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
def make_archive(dandiset_folder: Path) -> Iterator[Any]:
    """Start a loopback archive of the folder with the settings given."""
    running = []

    def start(**settings: Any) -> LoopbackArchive:
        running.append(LoopbackArchive(dandiset_folder, **settings).__enter__())
        return running[-1]

    yield start
    for archive in running:
        archive.close()


@pytest.fixture
def archive(make_archive: Any) -> LoopbackArchive:
    """A loopback archive, well and fast, whose dandiset is 000999."""
    return make_archive()


@pytest.fixture
def use_archive() -> Iterator[Any]:
    """Have ``DANDI:`` mean an archive until the test ends; further settings are of `RemoteOptions`."""
    entered = []

    def use(archive: LoopbackArchive, **settings: Any) -> None:
        settings = {"cache": None, "backoff": 0.001, "tries": 3, "timeout": 5.0, **settings}
        context = use_options(RemoteOptions(instance=archive.api_url, **settings))
        context.__enter__()
        entered.append(context)

    yield use
    for context in reversed(entered):
        context.__exit__(None, None, None)
