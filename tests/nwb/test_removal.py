"""Taking objects out of a file, and refusing to where something refers to them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from pynwb import NWBFile, TimeSeries

from ndx_synapsnet.errors import InputError
from ndx_synapsnet.nwb import store
from ndx_synapsnet.nwb.compare import first_difference
from ndx_synapsnet.nwb.removal import object_paths, remove_from_hdf5
from ndx_synapsnet.nwb.results import add_result, list_runs, read_result, write_result
from ndx_synapsnet.nwb.sources import open_source

RUN = "processing/ophys/synapsnet"


def nothing(nwbfile: NWBFile) -> None:
    """Add nothing."""


@pytest.fixture
def with_run(recording: Path, make_result: Callable[..., Any]) -> Path:
    """A recording with a run in it, in each of the two formats."""
    write_result(make_result(), recording, in_place=True)
    return recording


def names(path: Path) -> list[str]:
    with open_source(path) as opened:
        return list_runs(opened.nwbfile)


def test_a_run_is_removed_and_everything_else_stays(with_run: Path, tmp_path: Path, written_recordings: Path) -> None:
    store.amend(with_run, nothing, remove=[RUN])
    assert names(with_run) == []
    assert first_difference(written_recordings / with_run.name, with_run) is None
    assert store.validation_errors(with_run, "zarr" if with_run.is_dir() else "hdf5") == set()
    assert os.listdir(tmp_path) == [with_run.name]


def test_a_run_is_replaced_by_one_of_its_name(with_run: Path, make_result: Callable[..., Any]) -> None:
    new = make_result(seed=1)
    for _ in range(2):
        assert store.amend(with_run, lambda nwbfile: add_result(nwbfile, new), remove=[RUN]) == "synapsnet"
        assert names(with_run) == ["synapsnet"]
        assert read_result(with_run) == new


def test_the_space_of_what_is_removed_is_used_again(tmp_path: Path, written_recordings: Path) -> None:
    path = Path(shutil.copy(written_recordings / "recording.nwb", tmp_path))

    def add(nwbfile: NWBFile) -> None:
        nwbfile.add_acquisition(TimeSeries(name="large", data=np.ones(10**6), unit="V", rate=1.0))

    store.amend(path, add)
    size = path.stat().st_size
    store.amend(path, add, remove=["acquisition/large"])
    assert path.stat().st_size < size + 100_000


def test_what_is_not_there_cannot_be_removed(recording: Path) -> None:
    before = sorted(p.stat().st_mtime_ns for p in [recording, *recording.rglob("*")])
    with pytest.raises(InputError, match="there is no /processing/ophys/synapsnet in it"):
        store.amend(recording, nothing, remove=[RUN])
    assert sorted(p.stat().st_mtime_ns for p in [recording, *recording.rglob("*")]) == before


@pytest.mark.parametrize("path", ["", "/", "a//b", "../x", "a/./b"])
def test_what_is_no_object_cannot_be_removed(path: str) -> None:
    with pytest.raises(InputError, match="no object of a file"):
        object_paths([path])
    assert object_paths(["a/b", "/a/b/", "c"]) == ("/a/b", "/c")


@pytest.mark.parametrize(
    ("removed", "by"),
    [
        ("general/devices/probe", "/general/extracellular_ephys/shank"),  # a link
        (
            "general/extracellular_ephys/shank",
            "/general/extracellular_ephys/electrodes/group",
        ),  # a column of references
        ("general/extracellular_ephys/electrodes", "/units/electrodes"),  # a reference among attributes
        ("units/electrodes", "/units/electrodes_index"),
    ],
)
def test_what_is_referred_to_is_not_removed(recording: Path, removed: str, by: str) -> None:
    with pytest.raises(InputError, match=f"/{removed} cannot be removed: {by}.* refers to it"):
        store.amend(recording, nothing, remove=[removed])
    assert os.listdir(recording.parent) == [recording.name]


def test_what_refers_to_each_other_is_removed_together(recording: Path) -> None:
    gone = ["general/extracellular_ephys/electrodes", "general/extracellular_ephys/shank", "units"]
    store.amend(recording, nothing, remove=[*gone, "general/extracellular_ephys/electrodes/group"])
    with open_source(recording) as opened:
        assert opened.nwbfile.electrodes is None
        assert opened.nwbfile.units is None


def test_consolidated_metadata_forget_what_is_removed(zarr_recording: Path, make_result: Callable[..., Any]) -> None:
    write_result(make_result(), zarr_recording, in_place=True)
    store.amend(zarr_recording, nothing, remove=[RUN])
    described = json.loads((zarr_recording / ".zmetadata").read_text())["metadata"]
    assert not [name for name in described if name.startswith(RUN)]
    assert "processing/ophys/observed/.zattrs" in described


def soft(file: h5py.File) -> None:
    file["other/link"] = h5py.SoftLink("/gone/inside")


def relative(file: h5py.File) -> None:
    file["link"] = h5py.SoftLink("gone")


def hard(file: h5py.File) -> None:
    file["other/link"] = file["gone/inside"]


def attribute(file: h5py.File) -> None:
    file["other"].attrs["to"] = file["gone"].ref


def attributes(file: h5py.File) -> None:
    file["other"].attrs.create("to", [file["gone/inside"].ref], dtype=h5py.ref_dtype)


def region(file: h5py.File) -> None:
    file["other"].attrs["to"] = file["gone/inside"].regionref[0:1]


def dataset(file: h5py.File) -> None:
    file.create_dataset("other/refs", data=[file["gone"].ref], dtype=h5py.ref_dtype)


def scalar(file: h5py.File) -> None:
    file.create_dataset("other/ref", data=file["gone"].ref, dtype=h5py.ref_dtype)


def compound(file: h5py.File) -> None:
    pair = np.dtype([("start", "i8"), ("to", h5py.ref_dtype)])
    file.create_dataset("other/pairs", data=np.array([(0, file["gone"].ref)], pair), dtype=pair)


def ragged(file: h5py.File) -> None:
    rows = file.create_dataset("other/rows", (1,), dtype=h5py.vlen_dtype(h5py.ref_dtype))
    rows[0] = np.array([file["gone"].ref], h5py.ref_dtype)


def scale(file: h5py.File) -> None:
    file["gone/inside"].make_scale("x")
    file["other/data"].dims[0].attach_scale(file["gone/inside"])


@pytest.mark.parametrize(
    "refer",
    [soft, relative, hard, attribute, attributes, region, dataset, scalar, compound, ragged, scale],
    ids=lambda f: f.__name__,
)
def test_every_kind_of_reference_is_seen(tmp_path: Path, refer: Callable[[h5py.File], None]) -> None:
    with h5py.File(tmp_path / "file.h5", "w") as file:
        file["gone/inside"] = np.arange(3)
        file["gone"].attrs["itself"] = file["gone"].ref
        file["gone/to"] = h5py.SoftLink("/other/data")
        file["other/data"] = np.arange(3)
        refer(file)
        with pytest.raises(InputError, match="cannot be removed"):
            remove_from_hdf5(file, ["/gone"], where="file")
        assert "gone/inside" in file
        remove_from_hdf5(file, ["/link" if refer is relative else "/other", "/gone"], where="file")
        assert "gone" not in file
