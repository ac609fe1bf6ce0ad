"""What streaming a recording takes, against what its bytes take on the line, beside the ways that others read."""

from __future__ import annotations

import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import h5py

from ..nwb.readers import read_session
from ..nwb.sources.bulk import values
from ..provenance import software_versions
from ..show.plots import save_figures
from .archive import Line
from .archive_process import ArchiveProcess
from .record import write_json
from .recordings import Layout, Recording, dff_recording, spike_recording
from .streaming_line import LINE_ALONE, line_alone
from .streaming_memory import streaming_memory
from .streaming_picture import draw
from .streaming_readers import BULK, READERS, SETTINGS, Job, Reading, measure

#: What lies between archive and reader.
LINES = {
    "20 MB/s, shared": Line(latency=0.03, connection_latency=0.06, bandwidth=20e6),
    "100 MB/s, 20 MB/s a connection": Line(
        latency=0.03, connection_latency=0.06, bandwidth=100e6, connection_bandwidth=20e6
    ),
}
#: The bound allows for so many round trips: one to connect, and three from the header to the chunks' places.
ROUND_TRIPS = 4
#: The readers that are measured several times, for their ratios are what is claimed.
REPEATED = ("ours", BULK, "remfile", LINE_ALONE)
#: All that is measured: the readers, and what the line allows.
WAYS = (LINE_ALONE, *READERS)
_AGREES = 1e-3  # relative: ours leaves out the last bin, which is not whole


@dataclass(frozen=True)
class Sizes:
    """How large the recordings are."""

    units: int
    spikes: int
    seconds: float
    """Length of the recordings of spikes."""
    rois: int
    frames: int
    other_spikes: int
    """Bytes beside the spikes."""
    other_dff: int
    """Bytes beside the dF/F."""


FULL = Sizes(500, 30_000_000, 9000.0, 500, 20_000, 94_000_000, 20_000_000)
QUICK = Sizes(50, 1_500_000, 900.0, 200, 5_000, 5_000_000, 1_000_000)
TINY = Sizes(10, 50_000, 60.0, 10, 500, 0, 0)


SPIKES: dict[str, Layout] = {
    "spikes, 58 KB gzip chunks": "small",
    "spikes, 4 MiB gzip chunks": "large",
    "spikes, contiguous": "contiguous",
}
DFF = "dF/F, 40 KB gzip chunks"
#: What `quick` leaves out.
SLOW = {"fsspec", "fsspec, blockcache", "lindi", "spikes, 4 MiB gzip chunks", "spikes, contiguous"}


def make_recording(folder: Path, name: str, sizes: Sizes) -> Recording:
    """Return one of the recordings that are streamed, made in `folder`."""
    if name == DFF:
        path = folder / "dff.nwb"
        return dff_recording(path, rois=sizes.rois, frames=sizes.frames, other=sizes.other_dff)
    return spike_recording(
        folder / f"{SPIKES[name]}.nwb",
        SPIKES[name],
        units=sizes.units,
        spikes=sizes.spikes,
        seconds=sizes.seconds,
        other=sizes.other_spikes,
    )


def bound(recording: Recording, line: Line) -> float:
    """Return the seconds that the bytes that are needed take on a line, with `ROUND_TRIPS`."""
    assert line.bandwidth is not None
    return recording.needed / line.bandwidth + ROUND_TRIPS * line.latency


def inflate_seconds(recording: Recording, *, repeats: int = 3) -> float:
    """Return the seconds that decoding the chunks that are needed takes, in as many threads as reading uses.

    The chunks lie in memory; it is the least of `repeats`.
    """
    from ..nwb.sources.remote.chunks import THREADS
    from ..nwb.sources.remote.filters import decoder_of

    with h5py.File(recording.path, "r") as file, recording.path.open("rb") as stream:
        dataset = file[recording.dataset]
        if dataset.chunks is None or (decoder := decoder_of(dataset)) is None:
            return 0.0
        found: list[Any] = []
        dataset.id.chunk_iter(found.append)
        stored = []
        for info in found:
            stream.seek(info.byte_offset)
            stored.append(stream.read(info.size))
        batches = (
            [stored[at : at + 16] for at in range(0, len(stored), 16)] if len(stored) > 500 else [[s] for s in stored]
        )

        def decode(batch: list[bytes]) -> int:
            return sum(decoder.decode(one, 0).size for one in batch)

        least = float("inf")
        with ThreadPoolExecutor(THREADS) as pool:
            for _ in range(repeats):
                began = time.perf_counter()
                for _ in pool.map(decode, batches):
                    pass
                least = min(least, time.perf_counter() - began)
    return least


def run(
    folder: Path,
    *,
    quick: bool = False,
    sizes: Sizes | None = None,
    names: Iterable[str] = (*SPIKES, DFF, *WAYS),
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Measure all readers on all recordings and lines, and leave ``streaming.json`` and ``streaming.png`` in `folder`.

    Parameters
    ----------
    folder : Path
        Where to; made if missing.
    quick : bool
        Small recordings of two kinds, each reader once, without the slowest and without memory: about a minute.
    sizes : Sizes, optional
        Of the recordings.
    names : iterable of str
        The recordings and the readers (of `WAYS`) to take.
    say : callable
        Told what is being done.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sizes = sizes or (QUICK if quick else FULL)
    names = [name for name in names if not (quick and name in SLOW)]
    results: dict[str, Any] = {
        "machine": {"processor": _processor(), "cores": os.cpu_count(), "system": platform.system()},
        "load_before": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "software": software_versions() | _versions("h5py", "remfile", "fsspec", "lindi", "aiohttp"),
        "isal": find_spec("isal") is not None,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "quick": quick,
        "lines": {name: asdict(line) for name, line in LINES.items()},
        "round_trips": ROUND_TRIPS,
        "recordings": {},
        "readings": [],
        "memory": [],
    }
    with tempfile.TemporaryDirectory(prefix="synapsnet-streaming-") as made:
        say("making recordings")
        recordings = {name: make_recording(Path(made, "archive"), name, sizes) for name in names if name not in WAYS}
        warm = {name: make_recording(Path(made, "warm"), name, TINY) for name in recordings}
        with ArchiveProcess(Path(made, "archive")) as archive:
            for name, recording in recordings.items():
                inflate = inflate_seconds(recording)
                facts = {"kind": recording.kind, "needed": recording.needed, "size": recording.size}
                results["recordings"][name] = facts | {"chunks": recording.chunks, "inflate_seconds": inflate}
                expected = _expected(recording)
                for line_name, line in LINES.items():
                    compared = _Compared(archive, recording, line, str(warm[name].path), expected, quick)
                    for reader in (name for name in names if name in WAYS):
                        say(f"{name}, {line_name}: {reader}")
                        row = {"recording": name, "line": line_name, "reader": reader}
                        results["readings"].append(row | compared.row(reader))
                    compared.forget()
        if not quick:
            say("memory")
            results["memory"] = [streaming_memory(Path(made, "large"), layout) for layout in ("contiguous", "large")]
    results["claims"] = claims(results)
    write_json(folder / "streaming.json", results)
    save_figures({"streaming": draw(results)}, folder)
    return results


class _Compared:
    """One recording on one line, read in all ways."""

    def __init__(
        self,
        archive: ArchiveProcess,
        recording: Recording,
        line: Line,
        warm: str,
        expected: dict[str, float],
        quick: bool,
    ) -> None:
        self._archive, self._recording, self._line, self._warm = archive, recording, line, warm
        self._expected, self._quick = expected, quick
        self._cache = tempfile.TemporaryDirectory(prefix="synapsnet-cache-")

    def forget(self) -> None:
        """Remove the cache."""
        self._cache.cleanup()

    def row(self, reader: str) -> dict[str, Any]:
        """Return what reading took, or why it was not."""
        recording, line = self._recording, self._line
        cache = self._cache.name if "cache" in reader or "second" in reader else None
        job = Job(reader, self._archive.file_url(recording.path.name), recording.kind, self._warm, cache)
        least = bound(recording, line)
        row: dict[str, Any] = {"bound": least}
        for _ in range(2 if reader in REPEATED and not self._quick else 1):
            self._archive.reset(line)
            if reader == LINE_ALONE:
                found: Reading | str = line_alone(job.url, recording)
            else:
                found = measure(job, limit=max(20.0, 4 * least))
            traffic = asdict(self._archive.traffic())
            if isinstance(found, str):
                return row | {"skipped": found} | traffic
            row.setdefault("all_seconds", []).append(found.seconds)
            if found.seconds <= min(row["all_seconds"]):
                row |= (
                    asdict(found) | traffic | {"ratio": found.seconds / least, "right": self._is_right(reader, found)}
                )
        return row

    def _is_right(self, reader: str, found: Reading) -> bool:
        if reader == LINE_ALONE:
            return found.values >= self._recording.needed
        expected = self._expected["data" if reader == BULK else "session"]
        exact = reader.startswith("ours") or self._recording.kind == "dff"
        return abs(found.total - expected) <= (1e-9 if exact else _AGREES) * abs(expected)


def _processor() -> str:
    """Return the processor's name, by the kernel's account where it gives one."""
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return platform.processor() or platform.machine()


def _versions(*packages: str) -> dict[str, str]:
    """Return the versions of those packages that are installed."""
    found = {}
    for package in packages:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def _expected(recording: Recording) -> dict[str, float]:
    """Return the sums that reading the local file gives."""
    with h5py.File(recording.path, "r") as file:
        data = float(values(file[recording.dataset]).sum(dtype="f8"))
    return {"data": data, "session": float(read_session(recording.path, **SETTINGS).activity.sum(dtype="f8"))}


def claims(results: dict[str, Any]) -> list[dict[str, Any]]:
    """Return for each recording and line the ratios that are claimed of ours.

    ``line_alone`` (see there), ``read`` and ``session`` are the seconds of plain GETs, of the bulk read alone and of
    everything from the address to the session, over the larger of the byte bound and, on the faster line, the time to
    inflate; ``bytes`` is what was transferred over what is needed; ``remfile`` is how many times as long remfile takes,
    for the bulk read (opening included in both) and for everything.
    """
    rows = {(r["recording"], r["line"], r["reader"]): r for r in results["readings"] if "seconds" in r}
    found = []
    for recording, facts in results["recordings"].items():
        for place, line in enumerate(results["lines"]):
            ours, bulk, remfile = (rows.get((recording, line, reader)) for reader in REPEATED[:3])
            again = rows.get((recording, line, "ours, second time"))
            alone = rows.get((recording, line, LINE_ALONE))
            if ours is None or bulk is None:
                continue
            limit = max(ours["bound"], facts["inflate_seconds"] if place else 0.0)
            claim = {
                "recording": recording,
                "line": line,
                "limit": limit,
                "line_alone": alone["seconds"] / limit if alone else None,
                "read": bulk["phases"]["read"] / limit,
                "session": ours["seconds"] / limit,
                "bytes": ours["bytes"] / facts["needed"],
                "bytes_second_time": again["bytes"] if again else None,
            }
            if remfile is not None:
                claim["remfile_read"] = (remfile["phases"]["open"] + remfile["phases"]["read"]) / bulk["seconds"]
                claim["remfile_session"] = remfile["seconds"] / ours["seconds"]
            found.append(claim)
    return found
