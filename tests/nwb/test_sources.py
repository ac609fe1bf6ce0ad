"""Opening files: what works, and each way in which it does not."""

from __future__ import annotations

import subprocess
import sys
import warnings
from datetime import datetime, timezone

import h5py
import numpy as np
import pytest
from pynwb import NWBHDF5IO, NWBFile, TimeSeries

from ndx_synapsnet.errors import InputError
from ndx_synapsnet.nwb.sources import open_source
from ndx_synapsnet.nwb.sources.opened import collected_warnings


@pytest.fixture
def recording(tmp_path):
    """A small NWB file with one series."""
    path = tmp_path / "a recording.nwb"
    start = datetime(2026, 11, 21, tzinfo=timezone.utc)
    nwbfile = NWBFile(session_description="test", identifier="it", session_start_time=start)
    nwbfile.add_acquisition(TimeSeries(name="x", data=np.arange(5.0), unit="V", rate=1.0))
    with NWBHDF5IO(path, "w") as io:
        io.write(nwbfile)
    return path


def refused(uri, says):
    with pytest.raises(InputError, match=says) as caught, open_source(uri):
        pass
    return caught.value


def test_a_path_and_a_file_address(recording):
    before = recording.read_bytes()
    for uri in (recording, str(recording), recording.as_uri(), f"file:{recording}"):
        with open_source(uri) as opened:
            assert opened.nwbfile.identifier == "it"
            assert opened.uri == str(recording)
            assert opened.format == "hdf5"
            assert opened.nwb_version.startswith("2.")
            assert opened.nwbfile.acquisition["x"].data[2] == 2.0
    assert recording.read_bytes() == before


def test_a_relative_path_becomes_absolute(recording, monkeypatch):
    monkeypatch.chdir(recording.parent)
    with open_source(recording.name) as opened:
        assert opened.uri == str(recording)


def test_the_file_is_closed_afterwards_even_after_an_error(recording):
    kept = []

    def fail() -> None:
        with open_source(recording) as opened:
            kept.append(opened.nwbfile.acquisition["x"].data)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not kept[0]  # a closed HDF5 dataset
    with h5py.File(recording, "r+"):
        pass


def test_it_cannot_be_written_through(recording):
    with open_source(recording) as opened, pytest.raises((OSError, ValueError)):
        opened.nwbfile.acquisition["x"].data[0] = 9.0


def test_a_read_only_file_and_folder(recording):
    recording.chmod(0o444)
    recording.parent.chmod(0o555)
    try:
        with open_source(recording) as opened:
            assert opened.nwbfile.identifier == "it"
    finally:
        recording.parent.chmod(0o755)


def test_another_machine_s_file():
    refused("file://server/share/x.nwb", r"names another machine \(server\)")


def test_a_missing_path(tmp_path):
    refused(tmp_path / "none.nwb", "none.nwb: there is no such file")


def test_a_folder(tmp_path, recording):
    refused(tmp_path, f"this is a folder, and not an NWB-Zarr store.*Name a file inside it.*{recording.name}")
    empty = tmp_path / "empty"
    empty.mkdir()
    refused(empty, "this is a folder.*Give the path of an .nwb file")


@pytest.mark.parametrize("content", [b"", b"hello", b"\0" * 5000])
def test_what_is_not_hdf5(tmp_path, content):
    path = tmp_path / "x.nwb"
    path.write_bytes(content)
    refused(path, "x.nwb: this is not an NWB file: it is not HDF5")


def test_truncated_hdf5(recording):
    content = recording.read_bytes()
    recording.write_bytes(content[: len(content) // 2])
    refused(recording, "the file is truncated.*Copy or download it again")


def test_hdf5_that_is_not_nwb(tmp_path):
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["data"] = [1, 2, 3]
    refused(path, "not an NWB file: it states no nwb_version")


@pytest.mark.parametrize("version", ["NWB-1.0.6", b"NWB-1.0.6", "1.0.5_beta", [b"NWB-1.0.3"]])
def test_nwb_1(tmp_path, version):
    path = tmp_path / "x.nwb"
    with h5py.File(path, "w") as file:
        file["nwb_version"] = version
        file["identifier"] = "old"
    refused(path, r"this is NWB 1\.0.*; only NWB 2 is read\. Convert it")


def test_another_root(recording):
    with h5py.File(recording, "r+") as file:
        file.attrs["neurodata_type"] = "TimeSeries"
    refused(recording, "its root is a TimeSeries, not an NWBFile")


def test_a_file_that_pynwb_refuses(recording):
    with h5py.File(recording, "r+") as file:
        del file["session_start_time"]
    refused(recording, "a recording.nwb: pynwb cannot read the file")


def test_a_file_that_another_program_writes(recording):
    code = "import h5py, sys; f = h5py.File(sys.argv[1], 'r+'); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(recording)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout.readline() == "open\n"
        refused(recording, "another program has the file open for writing.*Close it there")
        writer.stdin.close()
    with open_source(recording) as opened:
        assert opened.nwbfile.identifier == "it"


def test_a_file_that_a_killed_program_left_open_for_writing(tmp_path):
    path = tmp_path / "x.nwb"
    code = (
        "import h5py, os, sys\nf = h5py.File(sys.argv[1], 'w', libver='latest')\nf.attrs['nwb_version'] = '2.8.0'\n"
        "f.flush()\nos._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    refused(path, "another program has the file open for writing")


def test_warnings_are_collected_and_not_shown(recording):
    with h5py.File(recording, "r+") as file:
        file["acquisition/x/timestamps"] = np.arange(4.0)
        file["acquisition/x/timestamps"].attrs.update({"unit": "seconds", "interval": 1})
        del file["acquisition/x/starting_time"]
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        with open_source(recording) as opened:
            assert len(opened.warnings) == 1
            assert "'x': Length of data does not match length of timestamps" in opened.warnings[0]
    assert not shown


def test_only_warnings_about_the_data_are_kept_and_each_once():
    with collected_warnings() as messages:
        for category, text in (
            (UserWarning, "x is\nodd"),
            (UserWarning, "x is odd"),
            (DeprecationWarning, "the 'manufacturer' field is deprecated"),
            (UserWarning, "Ignoring cached namespace 'core' version 2.2.2 because version 2.11.0 is already loaded."),
            (ResourceWarning, "not closed"),
        ):
            warnings.warn(text, category, stacklevel=1)
    assert messages == ["x is odd"]


def test_zarr_without_its_extra(tmp_path, monkeypatch):
    store = tmp_path / "x.zarr"
    store.mkdir()
    (store / ".zgroup").write_text('{"zarr_format": 2}')
    (store / ".zattrs").write_text('{"nwb_version": "2.8.0", "neurodata_type": "NWBFile"}')
    monkeypatch.delitem(sys.modules, "ndx_synapsnet.nwb.sources.zarr_safety", raising=False)
    monkeypatch.setitem(sys.modules, "hdmf_zarr", None)
    refused(store, r"needs the package hdmf-zarr.*ndx-synapsnet\[zarr\]")


@pytest.mark.parametrize(
    ("attributes", "says"),
    [
        (None, "states no nwb_version"),
        ('{"nwb_version": "1.0.6"}', r"this is NWB 1\.0\.6"),
        ("{", "attributes are damaged"),
        ('{"nwb_version": "2.8.0", "neurodata_type": "NWBFile"}', "hdmf-zarr cannot read the store"),
    ],
)
def test_zarr_that_is_not_nwb(tmp_path, attributes, says):
    pytest.importorskip("hdmf_zarr", reason="the extra zarr is not installed")
    store = tmp_path / "x.zarr"
    store.mkdir()
    (store / ".zgroup").write_text('{"zarr_format": 2}')
    if attributes is not None:
        (store / ".zattrs").write_text(attributes)
    refused(store, says)


def test_zarr_3(tmp_path):
    (tmp_path / "zarr.json").write_text("{}")
    refused(tmp_path, "this is a Zarr 3 store")


def test_opening_imports_no_zarr_and_no_torch(recording):
    code = (
        "import sys; from ndx_synapsnet.nwb.sources import open_source\nwith open_source(sys.argv[1]): pass\n"
        "assert not {'torch', 'hdmf_zarr'} & set(sys.modules), 'too much'"
    )
    subprocess.run([sys.executable, "-c", code, str(recording)], check=True)
