"""What becomes of a recording whose writer is killed, or whose disk is full or fails: the old file, or the new one.

A result is written into a copy of a recording by a child process. It is killed, or told that the disk is full (ENOSPC)
or broken (EIO), at one of the system calls by which it changes what is on disk, from first to last. Between two of
these nothing changes, so that a kill at any other moment is like one at the next of them. Afterwards the recording has
to be, byte for byte, what it was; or complete: it opens, validates, holds everything that it held and the result. And
the next write has to succeed and to leave nothing else beside it.
"""

from __future__ import annotations

import filecmp
import json
import os
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal
from unittest import mock

from pynwb import NWBHDF5IO

from ..nwb import replace as replacing
from ..nwb import store
from ..nwb.compare import first_difference
from ..nwb.results import list_runs, read_result, write_result
from ..nwb.sources import open_source
from ..provenance import software_versions
from ..session import FitResult
from .interrupted import (
    Call,
    Ended,
    How,
    can_trace,
    interrupt,
    kill_after,
    may_be_refused,
    run_child,
    small_disk,
    spread,
    traced_calls,
)
from .record import write_json
from .views_file import write_file

Kind = Literal["HDF5", "Zarr", "Zarr, renamed twice"]
KINDS: tuple[Kind, ...] = ("HDF5", "Zarr", "Zarr, renamed twice")
State = Literal["old", "new", "moved aside", "damaged"]

_OLD_RUN, _RUN, _NEXT = "synapsnet", "interrupted", "next"


def _silent(text: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class Material:
    """What is written into what."""

    kind: Kind
    recording: Path
    """Never touched: it is copied for each point."""
    result: FitResult
    """What is written into the copy."""


@dataclass(frozen=True)
class Row:
    """What came of one interruption."""

    kind: Kind
    how: str
    """``kill``, ``ENOSPC``, ``EIO``, or ``full disk``: a small file system that is."""
    call: str
    """The system call, or the time or room that was left."""
    nth: int
    """Which of its name."""
    place: float
    """In the whole write, from 0 to 1."""
    code: int
    """Exit code of the writer, or the negative of the signal that killed it."""
    said: str
    """What it said."""
    state: State
    """What the recording was afterwards."""
    trouble: str
    """What is wrong: with the file, with the next write, or with what the writer said. Empty if nothing is."""


def make_material(folder: Path, kind: Kind, *, neurons: int = 30, samples: int = 2000) -> Material:
    """Make a recording with a run in it, and a result to add, of the size of a small real one."""
    hdf5 = folder / "recording.nwb"
    if not hdf5.exists():
        write_file(hdf5, neurons=neurons, samples=samples)
    result = replace(read_result(hdf5), run_id="1" * 16)
    if kind == "HDF5":
        return Material(kind, hdf5, result)
    zarr = folder / "recording.zarr"
    if not zarr.exists():
        from hdmf_zarr import NWBZarrIO

        with NWBHDF5IO(str(hdf5), "r") as source, NWBZarrIO(str(zarr), "w") as io:
            io.export(src_io=source, write_args={"link_data": False})
    return Material(kind, zarr, result)


def _write(material: Material, path: Path, run: str) -> str:
    """Write the result into a copy, as a child does."""
    if material.kind == "Zarr, renamed twice":
        with mock.patch.object(replacing, "exchange", return_value=False):
            return write_result(material.result, path, in_place=True, name=run).run
    return write_result(material.result, path, in_place=True, name=run).run


def _copied(material: Material, folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    path = folder / material.recording.name
    copy: Callable[..., Any] = shutil.copytree if material.recording.is_dir() else shutil.copyfile
    copy(material.recording, path)
    return path


def _same(a: Path, b: Path) -> bool:
    """Return whether two files, or folders file for file, are the same to the byte."""
    if not a.is_dir():
        return b.is_file() and filecmp.cmp(a, b, shallow=False)
    names = [sorted(p.relative_to(place) for p in place.rglob("*")) for place in (a, b)]
    return names[0] == names[1] and all((b / n).is_dir() or filecmp.cmp(a / n, b / n, False) for n in names[0])


def _found(material: Material, path: Path, runs: Sequence[str]) -> str:
    """Return what keeps a file from being complete, with what was in the recording and these runs; empty if nothing."""
    if said := store.validation_errors(path, "zarr" if path.is_dir() else "hdf5"):
        return f"it is not valid: {sorted(said)}"
    if (difference := first_difference(material.recording, path)) is not None:
        return f"something old is gone: {difference}"
    with open_source(path) as opened:
        if set(list_runs(opened.nwbfile)) != {_OLD_RUN, *runs}:
            return f"its runs are {list_runs(opened.nwbfile)}"
    for run in runs:
        if read_result(path, run) != material.result:
            return f"the run {run} is not what was written"
    return ""


def _inspect(material: Material, path: Path, thorough: bool) -> str:
    """Say in JSON what a recording is now, and whether the next write succeeds; as a child, for it may be damaged.

    That write is not validated (most of its time) unless `thorough` or if the file is a new one: it is of the same
    result into the same file.
    """
    trouble = ""
    state: State = "damaged"
    if not path.exists() and material.kind == "Zarr, renamed twice":
        state = "moved aside"
    elif _same(material.recording, path):
        state = "old"
    elif not (trouble := _found(material, path, [_RUN])):
        state = "new"
    if state != "damaged":
        thorough = thorough or state == "new"
        try:
            with nullcontext() if thorough else mock.patch.object(store, "_require_valid"):
                _write(material, path, _NEXT)
        except Exception as error:
            trouble = f"the next write fails: {type(error).__name__}: {error}"
        else:
            if len(left := os.listdir(path.parent)) > 1:
                trouble = f"left beside it: {sorted(left)}"
            elif thorough:
                trouble = _found(material, path, [_RUN, _NEXT] if state == "new" else [_NEXT])
            elif (difference := first_difference(material.recording, path)) is not None:
                trouble = f"the next write has lost something: {difference}"
    return json.dumps([state, trouble])


def _row(
    material: Material, path: Path, ended: Ended, how: str, call: Call, place: float, *, thorough: bool = True
) -> Row:
    """Return what came of an interruption."""
    found = run_child(lambda: _inspect(material, path, thorough))
    state: State
    state, trouble = ("damaged", f"it cannot be inspected: {found}") if found.code else json.loads(found.said)
    if how != "kill":
        if ended.code not in (0, 2):
            trouble = trouble or f"the writer ended with {ended.code}, not with a plain error: {ended.said}"
        elif state == "new" and ended.code == 2 and "Nothing was changed" in ended.said:
            trouble = trouble or "the writer said that nothing was changed"
        elif state == "old" and ended.code == 0:
            trouble = trouble or "the writer said that it was done"
    return Row(material.kind, how, call.name, call.nth, round(place, 4), ended.code, ended.said, state, trouble)


def rows_by_call(
    material: Material, folder: Path, *, kills: int, errors: int, seed: int = 0, say: Callable[[str], None] = _silent
) -> Iterator[Row]:
    """Interrupt the write at system calls spread over it, and yield what came of each.

    Parameters
    ----------
    material : Material
        What is written into what.
    folder : Path
        To work in; emptied.
    kills, errors : int
        How many kills; and how many calls at which the disk is full from then on, and as many at which it fails.
    seed : int
        Of the choice of calls.
    say : callable
        Gets a line on how far it is.
    """
    path = _copied(material, folder)
    _write(material, path, _RUN)  # whatever is imported late, is now
    path = _copied(material, folder)
    calls = traced_calls(lambda: _write(material, path, _RUN))
    assert calls is not None
    refusable = [call for call in calls if may_be_refused(call)]
    places = {call: place / len(calls) for place, call in enumerate(calls)}
    of_each: list[tuple[How, list[tuple[int, Call]]]] = [
        ("kill", spread(calls, kills, seed)),
        ("ENOSPC", spread(refusable, errors, seed + 1)),
        ("EIO", spread(refusable, errors, seed + 2)),
    ]
    say(f"{material.kind}: a write makes {len(calls)} calls that change what is on disk")
    for how, chosen in of_each:
        for number, (_, call) in enumerate(chosen, 1):
            path = _copied(material, folder)
            ended = interrupt(lambda path=path: _write(material, path, _RUN), call, how)  # type: ignore[misc]
            yield _row(material, path, ended, how, call, places[call], thorough=number % 10 == 0)
            if number % 25 == 0:
                say(f"{material.kind}: {how} {number} of {len(chosen)}")


def rows_by_time(material: Material, folder: Path, *, kills: int, seed: int = 0) -> Iterator[Row]:
    """Kill the write after random times, where calls cannot be counted, and yield what came of each."""
    path = _copied(material, folder)
    _write(material, path, _RUN)
    path = _copied(material, folder)
    began = time.monotonic()
    run_child(lambda: _write(material, path, _RUN))
    whole = time.monotonic() - began
    rng = random.Random(seed)
    for k in range(kills):
        part = (k + rng.random()) / kills
        path = _copied(material, folder)
        ended = kill_after(lambda path=path: _write(material, path, _RUN), part * whole)  # type: ignore[misc]
        yield _row(material, path, ended, "kill", Call(f"after {part * whole:.3f} s", 1), part)


def rows_on_full_disk(material: Material, folder: Path, *, points: int) -> Iterator[Row]:
    """Write on small file systems with more and more room, and yield what came of each; nothing if none is allowed."""
    size = sum(
        -(-p.stat().st_size // 4096) * 4096 for p in [material.recording, *material.recording.rglob("*")] if p.is_file()
    )
    folder.mkdir(exist_ok=True)
    for k in range(points):
        part = (k + 1) / points
        room = round(1.6 * part * size)
        with small_disk(folder, size + room) as disk:
            if disk is None:
                return
            path = _copied(material, disk / "folder")
            # what would be noticed beforehand is to be met in the midst
            with mock.patch.object(store, "require_room"), mock.patch.object(store, "set_aside_room"):
                ended = run_child(lambda path=path: _write(material, path, _RUN))  # type: ignore[misc]
            whole = _copied_aside(material, path, folder.with_name("aside"))
            yield _row(material, whole, ended, "full disk", Call(f"{room // 1024} KiB left", 1), part)


def _copied_aside(material: Material, path: Path, folder: Path) -> Path:
    """Copy a folder with a recording to where there is room for the next write."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(path.parent, folder)
    return folder / path.name


def run(
    folder: Path,
    *,
    points: int = 200,
    errors: int = 24,
    kinds: Sequence[Kind] = KINDS,
    say: Callable[[str], None] = _silent,
) -> dict[str, Any]:
    """Interrupt writes of each kind, and leave ``crash.json`` in `folder`; return the same.

    Parameters
    ----------
    folder : Path
        For the results.
    points : int
        Kills of each kind; a quarter of them where a folder is renamed twice, for systems that cannot exchange two.
    errors : int
        Calls of each kind at which the disk is full from then on, and as many at which it fails.
    kinds : sequence of str
        Of `KINDS`.
    say : callable
        Gets a line on how far it is.
    """
    untraced = can_trace()
    rows: list[Row] = []
    skipped = [f"calls are not counted, and no errors injected: {untraced}"] if untraced else []
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="synapsnet-crash-") as made:
        for kind in kinds:
            material = make_material(Path(made), kind)
            work = Path(made, "work")
            share = 4 if kind == "Zarr, renamed twice" else 1
            kills, refusals = -(-points // share), -(-errors // share)
            if untraced:
                rows += rows_by_time(material, work, kills=kills)
            else:
                rows += rows_by_call(material, work, kills=kills, errors=refusals, say=say)
            full = list(rows_on_full_disk(material, work, points=max(2, refusals // 2)))
            rows += full
            if not full:
                skipped.append(f"{kind}: no full disk, for no file system may be mounted here")
    results = {
        "software": software_versions(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - began),
        "skipped": skipped,
        "summary": summary(rows),
        "rows": [asdict(row) for row in rows],
    }
    write_json(folder / "crash.json", results)
    return results


def summary(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return how often each kind of interruption left which file, and how many were in trouble."""
    found = []
    for kind, how in dict.fromkeys((row.kind, row.how) for row in rows):
        these = [row for row in rows if (row.kind, row.how) == (kind, how)]
        counts = Counter(row.state for row in these)
        found.append(
            {
                "kind": kind,
                "how": how,
                "points": len(these),
                "interrupted": sum(row.code != 0 for row in these),
                "old": counts["old"],
                "new": counts["new"],
                "moved aside": counts["moved aside"],
                "damaged": counts["damaged"],
                "in trouble": sum(bool(row.trouble) for row in these),
            }
        )
    return found
