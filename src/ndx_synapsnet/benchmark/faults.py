"""What becomes of reading a recording while things go wrong: the identical answer, or an error that says what."""

from __future__ import annotations

import errno
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal
from unittest import mock

import h5py
import numpy as np

from ..errors import InputError
from ..nwb.readers import read_session
from ..nwb.sources.remote.options import CacheConfig, Progress, RemoteOptions, use_options
from ..provenance import software_versions
from ..session import Session
from .archive import Faults, Line, LoopbackArchive
from .record import write_json
from .recordings import Layout, Recording, spike_recording

Outcome = Literal["identical answer", "error", "another answer, marked unverified", "ANOTHER ANSWER"]

_SETTINGS: dict[str, Any] = {"behavior": "none", "quality_filter": False}
#: Little patience, so that the table takes seconds.
_HASTE = RemoteOptions(workers=4, timeout=0.5, tries=4, backoff=0.001, max_wait=0.02, cache=None, progress=False)
_BEGUN = 2  # data requests that go well: the header's and one more
_NO_OUTSIDE = {
    "DANDI_NO_ET": "1",
    "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
    "DANDI_API_KEY": "",
    "no_proxy": "127.0.0.1",
}


@dataclass
class Situation:
    """One reading that is about to go wrong; what is done around it may change it."""

    archive: LoopbackArchive
    recording: Recording
    options: RemoteOptions
    uri: str
    path: str
    """In the archive."""
    faults: Faults
    environment: dict[str, str]
    """Variables that are set while it is read."""


Around = Callable[[Situation], AbstractContextManager[None]]


@dataclass(frozen=True)
class Case:
    """Something that goes wrong, and what has to come of it."""

    name: str
    faults: Faults = field(default_factory=Faults)
    """What the archive does."""
    layout: Layout = "small"
    """Of the spike times."""
    flip: bool = False
    """Whether a bit in the midst of the spike times is flipped on the way, each time."""
    dandi: bool = False
    """Whether the recording is an asset of an archive rather than a file on a server."""
    archive: Mapping[str, Any] = field(default_factory=dict)
    """Further settings of the archive."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further settings of reading."""
    around: Around | None = None
    """What is done around the reading."""
    expected: Outcome = "identical answer"
    """What comes of it."""
    words: str = ""
    """What the error says, as a pattern."""


@dataclass(frozen=True)
class Found:
    """What came of a case."""

    outcome: Outcome
    """Whether the session is that of the local file, to the bit."""
    words: str
    """What the error says; empty if there was none."""
    requests: int
    """Requests for data."""


@contextmanager
def _token(situation: Situation) -> Iterator[None]:
    situation.environment["DANDI_API_KEY"] = situation.archive.token
    yield


@contextmanager
def _wrong_token(situation: Situation) -> Iterator[None]:
    situation.environment["DANDI_API_KEY"] = "not-the-token"
    yield


@contextmanager
def _withdrawn(situation: Situation) -> Iterator[None]:
    situation.faults = replace(situation.faults, withdrawn=(situation.path,))
    yield


@contextmanager
def _gone(situation: Situation) -> Iterator[None]:
    situation.archive.close()
    yield


@contextmanager
def _goes(situation: Situation) -> Iterator[None]:
    """Have the server end when half of the spike times are there."""

    def close(progress: Progress) -> None:
        if progress.done > situation.recording.needed // 2:
            situation.archive.close()

    situation.options = replace(situation.options, on_progress=close)
    yield


@contextmanager
def _cached(situation: Situation) -> Iterator[None]:
    with tempfile.TemporaryDirectory(prefix="synapsnet-cache-") as folder:
        situation.options = replace(situation.options, cache=CacheConfig(Path(folder)))
        yield


@contextmanager
def _disk_full(situation: Situation) -> Iterator[None]:
    """Let nothing of the data be written to the cache."""
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with _cached(situation), mock.patch("os.pwrite", side_effect=full):
        yield


@contextmanager
def _cache_damaged(situation: Situation) -> Iterator[None]:
    """Fill the cache, and turn a bit of every 1,000th byte of the data in it."""
    with _cached(situation):
        with use_options(situation.options):
            read_session(situation.uri, **_SETTINGS)
        assert situation.options.cache is not None
        assert situation.options.cache.folder is not None
        (data,) = situation.options.cache.folder.rglob("data")
        stored = np.fromfile(data, np.uint8)
        stored[::1000] ^= 1
        stored.tofile(data)
        yield


def _statuses(*statuses: int, **more: Any) -> Faults:
    return Faults(statuses=(0,) * _BEGUN + statuses, **more)


_ALWAYS = (503,) * 100
_GONE_WORDS = "the server did not deliver"

#: Each in its own row of the table.
CASES: tuple[Case, ...] = (
    Case("connections dropped", Faults(drop_after=50_000, after=1, times=4)),
    Case("500", _statuses(500)),
    Case("503, three times in a row", _statuses(503, 503, 503)),
    Case("429 with Retry-After", _statuses(429, 429, retry_after=0.01)),
    Case("503 for good", _statuses(*_ALWAYS), expected="error", words="it answered 503, 4 times in a row"),
    Case("503 of the archive's API", Faults(api_statuses=(503, 0, 503)), dandi=True),
    Case(
        "address expires in mid-read",
        Faults(expire_requests=2, expire_addresses=1),  # the next one lasts: requests in parallel would use it up
        dandi=True,
        archive={"embargoed": True},
        around=_token,
    ),
    Case(
        "address expires, and there is no other",
        _statuses(*(403,) * 100),
        expected="error",
        words="access was refused .403.",
    ),
    Case("stall", Faults(stall=60.0, after=1, times=2)),
    Case("truncated body", Faults(truncate=True, after=1, times=2)),
    Case("short 206", Faults(short_range=True, after=1, times=3)),
    Case(
        "Range ignored",
        Faults(ignore_range=True, after=_BEGUN),
        expected="error",
        words="ignores requests for ranges",
    ),
    Case(
        "object replaced in mid-read",
        Faults(replace_after=_BEGUN),
        expected="error",
        words="the object was replaced while it was being read",
    ),
    Case("bit flipped, gzip", flip=True, expected="error", words="the chunk that begins at .* is damaged"),
    Case(
        "bit flipped, Fletcher32",
        layout="fletcher32",
        flip=True,
        expected="error",
        words="Fletcher32 checksum is wrong",
    ),
    Case(
        "bit flipped, contiguous",
        layout="contiguous",
        flip=True,
        dandi=True,
        expected="another answer, marked unverified",
    ),
    Case(
        "bit flipped, contiguous, with --verify",
        layout="contiguous",
        flip=True,
        dandi=True,
        options={"verify": True},
        expected="error",
        words="the content is damaged: its sha256 is",
    ),
    Case("disk of the cache full", around=_disk_full),
    Case("bits flipped in the cache", around=_cache_damaged),
    Case("token missing", dandi=True, archive={"embargoed": True}, expected="error", words="token"),
    Case("token wrong", dandi=True, archive={"embargoed": True}, around=_wrong_token, expected="error", words="token"),
    Case(
        "asset withdrawn",
        dandi=True,
        around=_withdrawn,
        expected="error",
        words="has no such asset: withdrawn, or misspelt",
    ),
    Case(
        "withdrawn in mid-read",
        _statuses(*(404,) * 100),
        expected="error",
        words="the object was withdrawn while it was being read",
    ),
    Case("server gone", around=_gone, expected="error", words=_GONE_WORDS),
    Case(
        "server gone in mid-read",
        archive={"line": Line(bandwidth=2e6)},  # or all would have arrived
        around=_goes,
        expected="error",
        words=_GONE_WORDS,
    ),
)


def fault_recording(folder: Path, layout: Layout) -> Recording:
    """Return a recording, made in `folder`, of a few requests: 4 MB of spike times."""
    path = folder / layout / "sub-1" / "sub-1.nwb"
    return spike_recording(path, layout, units=20, spikes=500_000, seconds=120.0)


def meet(case: Case, recording: Recording, local: Session) -> Found:
    """Read a recording while something goes wrong.

    Parameters
    ----------
    case : Case
        What goes wrong.
    recording : Recording
        Of the case's layout; see `fault_recording`.
    local : Session
        What reading its file gives.
    """
    root = recording.path.parents[1]
    path = recording.path.relative_to(root).as_posix()
    faults = replace(case.faults, flip_at=_middle(recording)) if case.flip else case.faults
    with ExitStack() as stack:
        archive = stack.enter_context(LoopbackArchive(root, **case.archive))
        options = replace(_HASTE, instance=archive.api_url, **case.options)
        uri = f"DANDI:{archive.dandiset}/{path}" if case.dandi else archive.file_url(path)
        situation = Situation(archive, recording, options, uri, path, faults, dict(_NO_OUTSIDE))
        if case.around is not None:
            stack.enter_context(case.around(situation))
        archive.faults = situation.faults
        archive.reset_counts()
        stack.enter_context(mock.patch.dict(os.environ, situation.environment))
        stack.enter_context(use_options(situation.options))
        try:
            session = read_session(situation.uri, **_SETTINGS)
        except InputError as error:
            return Found("error", str(error), archive.counts.requests)
        return Found(_compared(session, local), "", archive.counts.requests)


def _compared(session: Session, local: Session) -> Outcome:
    names = ("activity", "times", "segment", "valid")
    same = all(np.array_equal(getattr(session, name), getattr(local, name)) for name in names)
    if same and session.neurons == local.neurons:
        return "identical answer"
    integrity = session.provenance["remote"]["integrity"]
    return "another answer, marked unverified" if integrity == "unverified" else "ANOTHER ANSWER"


def is_as_expected(case: Case, found: Found) -> bool:
    """Return whether a case ended as it has to."""
    return found.outcome == case.expected and bool(re.search(case.words, found.words))


def _middle(recording: Recording) -> int:
    """Return the place in the file of a byte in the midst of the spike times."""
    with h5py.File(recording.path, "r") as file:
        dataset = file[recording.dataset]
        if dataset.chunks is None:
            start: int = dataset.id.get_offset()
            return start + recording.needed // 16 * 8 + 5  # of a number's upper bits
        found: list[Any] = []
        dataset.id.chunk_iter(found.append)
        chunk = found[len(found) // 2]
        return int(chunk.byte_offset + chunk.size // 2)


def run(folder: Path, cases: Sequence[Case] = CASES) -> dict[str, Any]:
    """Meet all cases, and leave ``faults.json`` in `folder`; return the same.

    Each row has the fault, the outcome, the error's words, and whether that is what has to come of it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    with tempfile.TemporaryDirectory(prefix="synapsnet-faults-") as made:
        recordings = {layout: fault_recording(Path(made), layout) for layout in {case.layout for case in cases}}
        local = {layout: read_session(one.path, **_SETTINGS) for layout, one in recordings.items()}
        for case in cases:
            found = meet(case, recordings[case.layout], local[case.layout])
            row = {"fault": case.name, "outcome": found.outcome, "words": found.words, "requests": found.requests}
            rows.append(row | {"as_expected": is_as_expected(case, found)})
    results = {
        "software": software_versions(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "faults": rows,
    }
    write_json(folder / "faults.json", results)
    return results
