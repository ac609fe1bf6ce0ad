"""The ways of reading a remote recording that are compared, each in a new process (see `measure`).

All lead to the arrays that a session needs: the spikes of all units, counted in bins, or the dF/F of all ROIs.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..nwb.readers import read_session
from ..nwb.sources import open_source
from ..nwb.sources.bulk import values
from ..nwb.sources.remote.options import CacheConfig, RemoteOptions, use_options

_WIDTH = 1 / 30  # seconds of a bin
#: How ours reads, such that others do the same work.
SETTINGS: dict[str, Any] = {"behavior": "none", "quality_filter": False}
_TIMES_OUT = 240.0
#: The reader of which the bulk read is timed by itself.
BULK = "ours, bulk read alone"
_ANSWER = "answer.json"


@dataclass(frozen=True)
class Job:
    """One reading."""

    reader: str
    """A key of `READERS`."""
    url: str
    kind: str
    """``spikes`` or ``dff``."""
    warm: str
    """A small local recording of this kind, read before the clock starts."""
    cache: str | None = None
    """Folder for ours to keep what it read."""
    folder: str = ""
    """For what else is written; it is made and removed by `measure`."""


@dataclass
class Reading:
    """What one reading took."""

    seconds: float
    """From the address to the arrays."""
    phases: dict[str, float] = field(default_factory=dict)
    """Seconds of the parts of it, where they can be told apart: ``open``, ``read``, ``count``."""
    processor: float = 0.0
    """Seconds of processor time of the reading process."""
    values: int = 0
    """Spikes counted, or values of dF/F."""
    total: float = 0.0
    """Their sum, in double precision: the same for everyone, or someone is wrong."""


def measure(job: Job, *, limit: float = _TIMES_OUT) -> Reading | str:
    """Do a job in a new process; return what it took, or why that is not known.

    Imports are not timed, and neither is what Python and pynwb do once: a small local recording is read before.
    """
    with tempfile.TemporaryDirectory() as folder:
        told = json.dumps(asdict(replace(job, folder=folder)))
        command = [sys.executable, "-W", "ignore", "-m", __name__, told]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=limit)
        except subprocess.TimeoutExpired:
            return f"given up after {limit:.0f} s"
        if done.returncode:
            return (done.stderr.strip().splitlines() or ["it ended without a word"])[-1][:200]
        found = json.loads(Path(folder, _ANSWER).read_text())  # what it printed may be others' words
    return found["skipped"] if "skipped" in found else Reading(**found)


class Clock:
    """Seconds since it was made, and since the last `lap`."""

    def __init__(self) -> None:
        self._began = self._last = time.perf_counter()
        self._processor = time.process_time()
        self.phases: dict[str, float] = {}

    def lap(self, name: str) -> None:
        """End a phase."""
        now = time.perf_counter()
        self.phases[name], self._last = now - self._last, now

    def reading(self, array: NDArray[Any], *, n: int | None = None) -> Reading:
        """Return what was measured; the checks come after it."""
        seconds, processor = time.perf_counter() - self._began, time.process_time() - self._processor
        total = float(array.sum(dtype=np.float64))
        return Reading(seconds, self.phases, processor, array.size if n is None else n, total)


def _ours(job: Job) -> Reading:
    cache = None if job.cache is None else CacheConfig(Path(job.cache))
    with use_options(RemoteOptions(cache=cache, progress=False)):
        clock = Clock()
        activity = read_session(job.url, **SETTINGS).activity
        return clock.reading(activity)


def _ours_bulk(job: Job) -> Reading:
    """Opening and then the bulk read by itself, into one array; not the session."""
    with use_options(RemoteOptions(cache=None, progress=False)):
        clock = Clock()
        with open_source(job.url) as opened:
            data = _dataset(opened.nwbfile, job.kind)
            clock.lap("open")
            array = values(data)
            clock.lap("read")
            return clock.reading(array)


def _with_pynwb(opening: Callable[[Job], AbstractContextManager[Any]]) -> Callable[[Job], Reading]:
    """Return a reader that does what one does by hand: pynwb on a file object, the data whole, the spikes counted."""

    def read(job: Job) -> Reading:
        from pynwb import NWBHDF5IO

        clock = Clock()
        with opening(job) as file, NWBHDF5IO(**file, mode="r", load_namespaces=True) as io:
            nwbfile = io.read()
            data = _dataset(nwbfile, job.kind)
            clock.lap("open")
            stops = np.asarray(nwbfile.units["spike_times"].data[:], np.int64) if job.kind == "spikes" else None
            array = np.asarray(data[:])
            clock.lap("read")
            if stops is None:
                return clock.reading(array)
            counts = _counts(array, stops)
            clock.lap("count")
            return clock.reading(counts)

    return read


@contextmanager
def _remfile(job: Job) -> Iterator[dict[str, Any]]:
    import h5py
    import remfile

    with h5py.File(remfile.File(job.url), "r") as file:
        yield {"file": file}


def _fsspec(**settings: Any) -> Callable[[Job], AbstractContextManager[dict[str, Any]]]:
    @contextmanager
    def opening(job: Job) -> Iterator[dict[str, Any]]:
        import fsspec
        import h5py

        with fsspec.filesystem("http").open(job.url, "rb", **settings) as stream, h5py.File(stream, "r") as file:
            yield {"file": file}

    return opening


@contextmanager
def _lindi(job: Job) -> Iterator[dict[str, Any]]:
    import lindi

    yield {"file": lindi.LindiH5pyFile.from_hdf5_file(job.url)}


@contextmanager
def _download(job: Job) -> Iterator[dict[str, Any]]:
    import requests

    path = Path(job.folder, "downloaded.nwb")
    with requests.get(job.url, stream=True, timeout=20) as answer, path.open("wb") as stream:
        answer.raise_for_status()
        for block in answer.iter_content(1 << 20):
            stream.write(block)
    yield {"path": str(path)}


@dataclass(frozen=True)
class Reader:
    """A way of reading."""

    read: Callable[[Job], Reading]
    needs: str | None = None
    """A package that may not be installed."""


#: Name → way of reading. Of fsspec the default, and the best two of bytes, readahead, blockcache and
#: background with blocks of 0.25 to 16 MiB: which of them is the better depends on the file.
READERS: dict[str, Reader] = {
    "ours": Reader(_ours),
    "ours, filling the cache": Reader(_ours),
    "ours, second time": Reader(_ours),
    BULK: Reader(_ours_bulk),
    "remfile": Reader(_with_pynwb(_remfile), "remfile"),
    "fsspec": Reader(_with_pynwb(_fsspec()), "fsspec"),
    "fsspec, blockcache": Reader(_with_pynwb(_fsspec(cache_type="blockcache", block_size=2**22)), "fsspec"),
    "fsspec, background": Reader(_with_pynwb(_fsspec(cache_type="background", block_size=2**22)), "fsspec"),
    "lindi": Reader(_with_pynwb(_lindi), "lindi"),
    "full download": Reader(_with_pynwb(_download)),
}


def _dataset(nwbfile: Any, kind: str) -> Any:
    if kind == "spikes":
        return nwbfile.units["spike_times"].target.data
    return nwbfile.processing["ophys"]["DfOverF"]["RoiResponseSeries"].data


def _counts(times: NDArray[np.float64], stops: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the counts (units, bins) of spikes in bins, up to the last spike's."""
    n = int(times.max() / _WIDTH) + 1
    counts = np.empty((len(stops), n), np.float32)
    for unit, (start, stop) in enumerate(zip([0, *stops[:-1].tolist()], stops.tolist(), strict=True)):
        counts[unit] = np.bincount((times[start:stop] / _WIDTH).astype(np.int64), minlength=n)
    return counts


def answer(job: Job) -> dict[str, Any]:
    """Do a job in this process; return its `Reading` as a mapping, or why it was ``skipped``."""
    from importlib import import_module

    reader = READERS[job.reader]
    if reader.needs is not None:
        try:
            import_module(reader.needs)
        except ImportError as error:
            return {"skipped": f"the package {reader.needs} cannot be imported ({error})"}
    for package in ("requests", "ndx_synapsnet.nwb.sources.web", "ndx_synapsnet.nwb.sources.remote.chunks"):
        import_module(package)
    read_session(job.warm, **SETTINGS)
    # what is left of that, freed by another thread while HDF5 reads, would block fsspec's for ever
    gc.collect()
    return asdict(reader.read(job))


if __name__ == "__main__":
    os.environ["DANDI_NO_ET"] = "1"
    told = Job(**json.loads(sys.argv[1]))
    Path(told.folder, _ANSWER).write_text(json.dumps(answer(told)))
