"""Recordings read in ranges: the same sessions as from disk, from no bytes that a session does not need."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from counting_reader import CountingReader
from pynwb import TimeSeries
from pynwb.ecephys import ElectricalSeries
from pynwb.ophys import TwoPhotonSeries

from ndx_synapsnet.errors import InputError
from ndx_synapsnet.nwb.readers import ReadConfig, contents, read_nwbfile, read_session
from ndx_synapsnet.nwb.sources.hdf5 import open_hdf5_remote
from ndx_synapsnet.nwb.sources.remote import blockfile
from ndx_synapsnet.nwb.sources.remote.blockfile import BLOCK
from ndx_synapsnet.session import Session

LAYOUTS: dict[str, dict[str, Any]] = {
    "contiguous": {},
    "small chunks": {"chunks": (2000,), "compression": "gzip", "shuffle": True},
    "large chunks": {"chunks": (60_000,), "compression": "gzip", "fletcher32": True},
}
#: Of the file's structure, small tables and the specifications that it carries.
METADATA = 12 * BLOCK


def read_remote(path: Path, **settings: Any) -> tuple[Session, CountingReader]:
    reader = CountingReader(path.read_bytes())
    with open_hdf5_remote(reader) as opened:  # type: ignore[arg-type]
        return read_nwbfile(opened.nwbfile, ReadConfig(**settings), warnings=opened.warnings), reader


def same(session: Session, path: Path, **settings: Any) -> bool:
    local = read_session(path, **settings)
    unlike = {"uri", "format", "nwb_version"}
    told = {key: value for key, value in local.provenance.items() if key not in unlike}
    assert {key: value for key, value in session.provenance.items() if key not in unlike} == told
    return all(
        np.array_equal(getattr(session, name), getattr(local, name), equal_nan=name == "behavior")
        for name in ("activity", "times", "segment", "valid", "behavior")
    ) and bool(session.neurons == local.neurons)


def stored_as(path: Path, name: str, **layout: Any) -> None:
    """Store a dataset of a file anew, in another layout."""
    with h5py.File(path, "r+") as file:
        old = file[name]
        values, attributes, index = old[()], dict(old.attrs), file.get(f"{name}_index")
        del file[name]
        new = file.create_dataset(name, data=values, **layout)
        new.attrs.update(attributes)
        if index is not None:
            index.attrs["target"] = new.ref


def stored_bytes(path: Path, name: str) -> int:
    with h5py.File(path) as file:
        return int(file[name].id.get_storage_size())


@pytest.fixture
def spikes_path(build) -> Path:
    """Forty units of 5000 spikes, 1.6 MB, in a file of 40 MB with amplitudes, waveforms, voltages and images."""
    rng = np.random.default_rng(0)
    nwbfile = build.electrodes(build.file(), ["CA1", "V1"])
    spikes = [np.sort(rng.uniform(3.0, 600.0, 5000)) for _ in range(40)]
    nwbfile = build.units(
        spikes, snr=rng.uniform(0, 1, 40).tolist(), quality=["good"] * 40, electrodes=[[0], [1]] * 20, nwbfile=nwbfile
    )
    nwbfile.units.add_column(
        "spike_amplitudes", "a", data=rng.normal(size=200_000), index=list(range(5000, 200_001, 5000))
    )
    nwbfile.units.add_column("waveform_mean", "w", data=rng.normal(size=(40, 82, 374)))
    region = nwbfile.create_electrode_table_region([0, 1], "all")
    voltages = rng.normal(size=(500_000, 2))
    nwbfile.add_acquisition(ElectricalSeries(name="raw", data=voltages, electrodes=region, rate=30_000.0))
    plane = build.plane(nwbfile, 1).imaging_plane
    images = rng.integers(0, 4000, (500, 128, 128)).astype(np.uint16)
    nwbfile.add_acquisition(TwoPhotonSeries(name="movie", data=images, imaging_plane=plane, unit="a", rate=30.0))
    build.behavior(nwbfile, "speed", rng.normal(size=60_000), rate=100.0)
    nwbfile.add_acquisition(TimeSeries(name="raw_wheel_voltage", data=rng.normal(size=300_000), unit="V", rate=500.0))
    return Path(build.write(nwbfile))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_units_are_read_from_the_bytes_of_their_spike_times(spikes_path, layout):
    stored_as(spikes_path, "units/spike_times", **LAYOUTS[layout])
    settings = {"bin_width": 0.1, "regions": ("CA1", "V1")}
    session, reader = read_remote(spikes_path, **settings)
    assert same(session, spikes_path, **settings)
    assert session.activity.sum() > 190_000
    needed = stored_bytes(spikes_path, "units/spike_times") + stored_bytes(
        spikes_path, "processing/behavior/speed/data"
    )
    assert reader.fetched <= 1.1 * needed
    assert reader.bytes - reader.fetched <= METADATA
    assert needed + METADATA < 0.2 * reader.size


@pytest.mark.parametrize("layout", LAYOUTS)
def test_only_the_spike_times_of_the_units_that_are_chosen_are_read(spikes_path, layout):
    stored_as(spikes_path, "units/spike_times", **LAYOUTS[layout])
    settings = {"bin_width": 0.1, "units_query": "snr > 0.9", "behavior": "none"}
    session, reader = read_remote(spikes_path, **settings)
    assert same(session, spikes_path, **settings)
    assert 2 <= session.n_neurons <= 8
    # up to two chunks more than a unit fills; of the large ones that is nearly all there are
    rate = stored_bytes(spikes_path, "units/spike_times") / 200_000
    length = LAYOUTS[layout].get("chunks", (0,))[0]
    assert reader.fetched <= 1.1 * rate * min(200_000, session.n_neurons * (5000 + 2 * length)) + 30_000


@pytest.mark.parametrize("layout", LAYOUTS)
def test_looking_at_a_file_takes_few_bytes(spikes_path, layout, monkeypatch):
    stored_as(spikes_path, "units/spike_times", **LAYOUTS[layout])
    local = contents.inspect(spikes_path)
    reader = CountingReader(spikes_path.read_bytes())

    @contextmanager
    def opened(uri: str) -> Iterator[Any]:
        with open_hdf5_remote(reader) as file:  # type: ignore[arg-type]
            yield file

    monkeypatch.setattr(contents, "open_source", opened)
    found = contents.inspect("https://example.org/x.nwb").to_dict()
    assert found.pop("uri") == reader.uri
    told = local.to_dict()
    told.pop("uri")
    assert found == told
    assert reader.bytes <= METADATA + stored_bytes(spikes_path, "units/spike_times")
    assert reader.bytes < 0.1 * reader.size


@pytest.mark.parametrize("by_roi", [False, True])
@pytest.mark.parametrize("layout", [{}, {"chunks": (500, 16), "compression": "gzip"}, {"chunks": (4, 160)}])
def test_roi_series_are_read_from_the_chunks_of_the_rois_and_frames_that_are_chosen(build, layout, by_roi):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(6000, 160)).astype(np.float32)
    marks = np.zeros(160, dtype=int)
    marks[[1, 3, 4, 37, 38, 150]] = 1
    nwbfile = build.rois(values, columns={"iscell": marks.tolist()}, timestamps=np.arange(6000) / 10 + 5)
    name = "processing/ophys/DfOverF/RoiResponseSeries"
    path = build.write(nwbfile)
    if by_roi:
        with h5py.File(path, "r+") as file:
            attributes = dict(file[f"{name}/data"].attrs)
            del file[f"{name}/data"]
            file.create_dataset(f"{name}/data", data=values.T).attrs.update(attributes)
    turned = layout | ({"chunks": layout["chunks"][::-1]} if by_roi and layout else {})
    stored_as(path, f"{name}/data", **turned)
    settings = {"start": 25.0, "stop": 100.0}
    session, reader = read_remote(path, **settings)
    assert same(session, path, **settings)
    assert np.array_equal(session.activity, values[200:950, marks == 1].T)
    times = stored_bytes(path, f"{name}/timestamps")
    if not layout:  # rows of 640 bytes are read whole, and rows of 24 kB in parts
        needed = 750 * 640 if not by_roi else 6 * 24_000
    elif layout["chunks"] == (500, 16):
        needed = 2 * 3 * 500 * 16 * 4
    else:
        needed = 188 * 4 * 160 * 4
    assert reader.fetched <= 1.1 * (needed + times)
    assert reader.bytes - reader.fetched <= METADATA


def test_damaged_data_are_an_error_that_names_the_file_once(spikes_path, monkeypatch):
    stored_as(spikes_path, "units/spike_times", **LAYOUTS["small chunks"])
    with h5py.File(spikes_path) as file:
        info = file["units/spike_times"].id.get_chunk_info(7)
    content = bytearray(spikes_path.read_bytes())
    content[info.byte_offset + info.size // 2] ^= 0x55
    reader = CountingReader(bytes(content))

    @contextmanager
    def opened(uri: str) -> Iterator[Any]:
        with open_hdf5_remote(reader) as file:  # type: ignore[arg-type]
            yield file

    monkeypatch.setattr("ndx_synapsnet.nwb.readers.open_source", opened)
    with pytest.raises(
        InputError, match=r"/units/spike_times: the chunk that begins at \[14000\] is damaged"
    ) as caught:
        read_session("https://example.org/x.nwb")
    assert str(caught.value).count(reader.uri) == 1


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"<html>not found</html>" * 100, "this is not an NWB file: it is not HDF5"),
        (None, "the file is truncated"),
        (b"", "this is not an NWB file: it is not HDF5"),
    ],
)
def test_what_is_no_hdf5_is_refused_as_a_local_file_is(build, content, says):
    if content is None:
        whole = build.write(build.units([[0.1, 3.0]])).read_bytes()
        content = whole[: len(whole) - 2000]
    with (
        pytest.raises(InputError, match=rf"https://example\.org/x\.nwb: ({says})"),
        open_hdf5_remote(
            CountingReader(content)  # type: ignore[arg-type]
        ),
    ):
        pass


def test_hdf5_that_is_no_nwb(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["x"] = 1
    reader = CountingReader((tmp_path / "x.h5").read_bytes())
    with pytest.raises(InputError, match="it states no nwb_version"), open_hdf5_remote(reader):  # type: ignore[arg-type]
        pass


def test_an_error_of_the_line_is_said_as_it_is(build, monkeypatch):
    content = build.write(build.units([[0.1, 3.0]])).read_bytes() + bytes(4 * BLOCK)

    class Gone(CountingReader):
        left = 1

        def read(self, start: int, stop: int) -> bytes:
            self.left -= 1
            if self.left < 0:
                raise InputError("the server is gone", where=self.uri, remedy="Try again")
            return super().read(start, stop)

    said = []
    monkeypatch.setattr(blockfile, "BLOCK", 4096)
    for left in range(0, 40, 3):
        reader = Gone(content)
        reader.left = left
        try:
            with open_hdf5_remote(reader) as opened:  # type: ignore[arg-type]
                read_nwbfile(opened.nwbfile)
        except InputError as error:
            said.append(str(error))
    assert len(said) > 5
    assert set(said) == {"https://example.org/x.nwb: the server is gone. Try again"}
    with open_hdf5_remote(CountingReader(content)) as opened:  # type: ignore[arg-type]
        assert read_nwbfile(opened.nwbfile).n_neurons == 1


MEASURE = """
import resource, sys
sys.path.insert(0, {folder!r})
from pathlib import Path
from counting_reader import CountingReader
from ndx_synapsnet.nwb.readers import ReadConfig, read_nwbfile
from ndx_synapsnet.nwb.sources.hdf5 import open_hdf5, open_hdf5_remote

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (2**20 if sys.platform == "darwin" else 2**10)

opening = open_hdf5_remote(CountingReader(Path({path!r}).read_bytes())) if {remote} else open_hdf5(Path({path!r}))
with opening as opened:
    config = ReadConfig(bin_width=0.5)
    read_nwbfile(opened.nwbfile, ReadConfig(bin_width=0.5, units_query="id == 0"))
    before = peak()
    session = read_nwbfile(opened.nwbfile, config)
    print(peak() - before, session.activity.nbytes // 2**20, int(session.activity.sum(dtype=float)))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no resource module")
@pytest.mark.parametrize("observed", [True, False])
@pytest.mark.parametrize("remote", [True, False])
def test_memory_is_that_of_the_counts_and_not_of_the_spikes(build, remote, observed):
    n_units, n = 20, 1_000_000  # 160 MB of spike times, in a file of 1 MB
    times = np.floor(np.arange(n) / 1000).astype(np.float64)
    nwbfile = build.units([[1.0]] * n_units, observed=[[(0.0, 1000.0)]] * n_units if observed else None)
    path = build.write(nwbfile)
    with h5py.File(path, "r+") as file:
        old = file["units/spike_times"]
        attributes = dict(old.attrs)
        del file["units/spike_times"]
        new = file.create_dataset(
            "units/spike_times", (n_units * n,), "f8", chunks=(50_000,), compression=1, shuffle=True
        )
        for unit in range(n_units):
            new[unit * n : (unit + 1) * n] = times
        new.attrs.update(attributes)
        index = file["units/spike_times_index"]
        index_attributes = dict(index.attrs)
        del file["units/spike_times_index"]
        index = file.create_dataset("units/spike_times_index", data=np.arange(n, n_units * n + 1, n, dtype=np.uint32))
        index.attrs.update(index_attributes)
        index.attrs["target"] = new.ref
    code = MEASURE.format(folder=str(Path(__file__).parents[1]), path=str(path), remote=remote)
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    grown, counts, spikes = map(int, answer.stdout.split())
    assert spikes >= (n - 1000) * n_units
    # remote: 32 MiB of chunks under way; local: blocks of 64 MiB, of which one is read while another is used
    assert grown < counts + (80 if remote else 140)
