"""Recordings to stream: made quickly, laid out on disk as those in the archives are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
from hdmf.common import VectorData, VectorIndex
from numpy.typing import NDArray
from pynwb import NWBHDF5IO, NWBFile, TimeSeries
from pynwb.misc import Units
from pynwb.ophys import DfOverF, ImageSegmentation, OpticalChannel

from ..nwb.metadata import NO_ANIMAL, new_nwbfile, processing_module

Layout = Literal["small", "large", "contiguous", "fletcher32"]

#: Where the values that a session is made of lie in the files made here.
SPIKE_TIMES = "/units/spike_times"
DFF = "/processing/ophys/DfOverF/RoiResponseSeries/data"
_CLOCK = 30_000.0  # samples a second of the probe
_TOGETHER = 1 << 22  # values written at once
_STORAGE: dict[Layout, dict[str, Any]] = {
    # 58 KB: what h5py used to choose for spike times
    "small": {"chunks": (7325,), "compression": "gzip"},
    # 4 MiB: what pynwb 4.2 gives long columns by itself
    "large": {"chunks": (524_288,), "compression": "gzip"},
    "contiguous": {},
    "fletcher32": {"chunks": (7325,), "fletcher32": True},
}


@dataclass(frozen=True)
class Recording:
    """A file made to be streamed."""

    path: Path
    kind: Literal["spikes", "dff"]
    """What a session is made of."""
    dataset: str
    """Path in the file of the data that are wanted."""
    needed: int
    """Bytes that these take as stored: what cannot but be transferred."""
    size: int
    """Bytes of the file."""
    chunks: int
    """Chunks that these are stored in; 0 if contiguous."""
    values: int
    """Of these."""


def spike_recording(
    path: Path, layout: Layout, *, units: int, spikes: int, seconds: float, other: int = 0, even: bool = False
) -> Recording:
    """Write a recording of sorted units.

    Parameters
    ----------
    path : Path
        The new file.
    layout : str
        Of the spike times: ``small`` for gzip chunks of 58 KB, ``large`` for gzip chunks of 4 MiB as pynwb
        makes them by itself, ``contiguous`` and uncompressed as the Allen Institute's, ``fletcher32`` for small chunks
        with checksums.
    units, spikes : int
        How many; the spikes in all.
    seconds : float
        Length.
    other : int
        Bytes of a raw series beside them, which no reader of spikes needs.
    even : bool
        Whether spikes are evenly spaced rather than random, which is quicker to make and compresses well.
    """
    rng = np.random.default_rng(0)
    shares = rng.lognormal(-0.5, 1.0, units).clip(0.01, 6.0)
    stops = np.round(np.cumsum(shares) / shares.sum() * spikes).astype(np.int64)
    nwbfile = _new_file(path.stem)
    if other:
        raw = rng.integers(-99, 99, other // 2, dtype=np.int16)
        nwbfile.add_acquisition(TimeSeries(name="raw", data=raw, unit="V", rate=_CLOCK))
    times = VectorData(name="spike_times", description="spike times", data=np.zeros(1))
    index = VectorIndex(name="spike_times_index", data=np.array([1] * units), target=times)
    quality = VectorData(name="snr", description="signal to noise", data=rng.uniform(1, 9, units))
    names = ["spike_times", "snr"]
    nwbfile.units = Units(
        name="units", description="made", columns=[index, times, quality], colnames=names, id=np.arange(units)
    )
    _write(path, nwbfile)

    def train(start: int, stop: int) -> NDArray[np.float64]:
        if even:
            return np.asarray((np.arange(stop - start) + rng.uniform()) * (seconds / (stop - start)), np.float64)
        ticks = np.rint(np.sort(rng.uniform(0, seconds, stop - start)) * _CLOCK)
        return np.asarray(ticks / _CLOCK, np.float64)

    bounds = zip([0, *stops[:-1].tolist()], stops.tolist(), strict=True)
    _fill(path, stops, layout, (train(*pair) for pair in bounds))
    return _described(path, "spikes", SPIKE_TIMES)


def dff_recording(
    path: Path, *, rois: int, frames: int, chunk: tuple[int, int] = (625, 16), other: int = 0
) -> Recording:
    """Write a recording of dF/F (`frames` x `rois`, float32) in gzip chunks of `chunk`.

    `other` is the bytes of a series beside it that no reader of dF/F needs.
    """
    rng = np.random.default_rng(0)
    nwbfile = _new_file(path.stem)
    if other:
        raw = rng.integers(0, 99, other, np.uint8)
        nwbfile.add_acquisition(TimeSeries(name="raw", data=raw, unit="n.a.", rate=30.0))
    plane = nwbfile.create_imaging_plane(
        name="plane",
        optical_channel=OpticalChannel(name="channel", description="n.a.", emission_lambda=520.0),
        description="n.a.",
        device=nwbfile.create_device(name="scope"),
        excitation_lambda=920.0,
        indicator="GCaMP6f",
        location="VISp",
    )
    segmentation = ImageSegmentation()
    table = segmentation.create_plane_segmentation(name="PlaneSegmentation", description="made", imaging_plane=plane)
    for roi in range(rois):
        table.add_roi(pixel_mask=[(roi, roi, 1.0)])
    trace = rng.normal(0, 0.1, (frames, rois)).astype(np.float32)
    for at in range(1, frames):  # calcium decays
        trace[at] += 0.9 * trace[at - 1]
    module, traces = processing_module(nwbfile, "ophys"), DfOverF()
    module.add(segmentation)
    module.add(traces)
    region = table.create_roi_table_region(description="all", region=list(range(rois)))
    empty = np.zeros((1, rois), np.float32)  # pynwb would take all, chunked by itself
    traces.create_roi_response_series(name="RoiResponseSeries", data=empty, unit="n.a.", rois=region, rate=30.0)
    _write(path, nwbfile)
    with h5py.File(path, "r+") as file:
        _remade(file, DFF, trace.shape, trace.dtype, chunks=chunk, compression="gzip")[...] = trace
    return _described(path, "dff", DFF)


def _new_file(name: str) -> NWBFile:
    source = {
        "subject": NO_ANIMAL,
        "session_id": name,
        "session_start_time": datetime(2026, 1, 1, tzinfo=timezone.utc).isoformat(),
    }
    return new_nwbfile(source, description="Made to measure how fast recordings are read.")


def _write(path: Path, nwbfile: NWBFile) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with NWBHDF5IO(path, "w") as io:
        io.write(nwbfile)


def _fill(path: Path, stops: NDArray[np.int64], layout: Layout, rows: Iterator[NDArray[np.float64]]) -> None:
    """Put `rows` in place of the one spike that pynwb wrote; it would take all of them at once, chunked by itself."""
    length = int(stops[-1])
    with h5py.File(path, "r+") as file:
        dataset = _remade(file, SPIKE_TIMES, (length,), np.dtype(np.float64), **_STORAGE[layout])
        index = _remade(file, f"{SPIKE_TIMES}_index", stops.shape, np.dtype(np.uint32))
        index[...] = stops
        index.attrs["target"] = dataset.ref
        held: list[NDArray[np.float64]] = []
        at = size = 0
        for row in rows:
            held.append(row)
            size += len(row)
            if size >= _TOGETHER or at + size == length:
                dataset[at : at + size] = np.concatenate(held)
                held, at, size = [], at + size, 0


def _remade(file: h5py.File, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], **storage: Any) -> h5py.Dataset:
    """Return a new dataset in place of another, with its attributes."""
    attributes = dict(file[name].attrs)
    del file[name]
    if "chunks" in storage:
        storage["chunks"] = tuple(min(pair) for pair in zip(storage["chunks"], shape, strict=True))
    dataset = file.create_dataset(name, shape, dtype, **storage)
    dataset.attrs.update(attributes)
    return dataset


def _described(path: Path, kind: Literal["spikes", "dff"], name: str) -> Recording:
    with h5py.File(path, "r") as file:
        dataset = file[name]
        chunks = dataset.id.get_num_chunks() if dataset.chunks else 0
        needed, values = dataset.id.get_storage_size(), dataset.size
    return Recording(path, kind, name, needed, path.stat().st_size, chunks, values)
