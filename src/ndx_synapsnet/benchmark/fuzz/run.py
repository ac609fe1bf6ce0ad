"""Mutants by number: made, read, and what became of them counted."""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, get_args

import h5py

from ..record import write_json
from .corpus import Seedling, hdf5_corpus, write_zarr
from .hdf5_mutations import MUTATIONS, flip_bytes
from .process import Outcome, Reading, read_apart
from .reading import read_everything
from .targets import Targets
from .zarr_mutations import mutate_store

#: How often each file of the corpus is taken: the larger ones take longer to read.
_SHARES = {"spikes": 1, "calcium": 1, "dense": 8, "sparse": 8, "schemas": 1}
_FLIPPED = 0.06  # share of the mutants that have their bytes changed, whatever these mean
_DRAWN = 400  # one of so many has its report's pictures drawn

#: What may become of a mutant, as counted.
OUTCOMES: tuple[str, ...] = get_args(Outcome)


def run(
    output: Path,
    *,
    mutations: int,
    seed: int = 0,
    jobs: int = 1,
    file_format: str = "hdf5",
    only: Sequence[int] = (),
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Read mutants in processes of their own and count what became of them.

    Parameters
    ----------
    output : Path
        Folder for ``fuzz.json``; numbers of earlier runs with other seeds, or of the other format, stay in it.
    mutations : int
        How many mutants.
    seed : int
        Decides everything: mutant number i of a seed is always the same.
    jobs : int
        Processes that mutants are started from.
    file_format : {"hdf5", "zarr"}
        Which corpus.
    only : sequence of int
        Only these mutants, and nothing is written.
    say : callable
        Told of the progress, and of every fault at once.

    Returns
    -------
    dict
        Counts by kind of damage and outcome, faults by place, and what took longest and most.
    """
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="synapsnet-fuzz-", dir=_memory_folder()) as folder:
        maker = _maker(file_format, Path(folder), seed)
        readings = []
        for reading in _readings(maker, list(only) or range(mutations), jobs, Path(folder)):
            readings.append(reading)
            if reading.outcome not in ("read", "refused"):
                say(f"{reading.index} {reading.outcome}: {reading.what} [{reading.place}] {reading.said}")
            if len(readings) % 500 == 0:
                say(f"{len(readings)} read in {time.monotonic() - started:.0f} s")
    found = _summary(readings, seconds=time.monotonic() - started)
    if not only:
        _keep(output / "fuzz.json", f"{file_format}, seed {seed}", found)
    return found


def _memory_folder() -> str | None:
    """Return a folder that lies in memory, where there is one."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


Maker = Callable[[int, Path], tuple[Path, str]]


def _maker(file_format: str, folder: Path, seed: int) -> Maker:
    """Return what makes the mutant of a number in a folder, and says what it is."""
    if file_format == "zarr":
        return partial(_make_store, write_zarr(folder), seed)
    corpus = [one for one in hdf5_corpus() for _ in range(_SHARES[one.name])]
    return partial(_make_file, corpus, seed)


def _make_file(corpus: Sequence[Seedling], seed: int, index: int, folder: Path) -> tuple[Path, str]:
    rng = Random(f"{seed}-{index}")
    seedling = rng.choice(corpus)
    path = folder / "mutant.nwb"
    if rng.random() < _FLIPPED:
        content, what = flip_bytes(seedling.content, rng)
        path.write_bytes(content)
        return path, f"bytes | {seedling.name}: {what}"
    path.write_bytes(seedling.content)
    names = rng.choices(list(MUTATIONS), [share for _, share in MUTATIONS.values()], k=rng.choice((1, 1, 1, 2, 3)))
    said = []
    with h5py.File(path, "r+") as file:
        targets = Targets.of(file)
        for name in names:
            for _ in range(20):  # what cannot be done to this file, or no longer, is drawn again
                try:
                    said.append(MUTATIONS[name][0](file, targets, rng))
                    break
                except (
                    KeyError, ValueError, TypeError, OSError, IndexError, RuntimeError, AttributeError, MemoryError,
                ):  # fmt: skip
                    name = rng.choice(list(MUTATIONS))
    return path, f"{names[0]} | {seedling.name}: {'; '.join(said)}"


def _make_store(store: Path, seed: int, index: int, folder: Path) -> tuple[Path, str]:
    return mutate_store(store, folder / "mutant.zarr", Random(f"{seed}-{index}"))


def _readings(maker: Maker, indices: Sequence[int], jobs: int, folder: Path) -> Iterator[Reading]:
    """Yield what becomes of every mutant, in some order."""
    if jobs == 1:
        yield from _serve(maker, indices, folder, 0)
        return
    context = multiprocessing.get_context("fork")
    results: Any = context.SimpleQueue()
    servers = [
        context.Process(target=_send, args=(results, maker, indices[job::jobs], folder, job)) for job in range(jobs)
    ]
    for server in servers:
        server.start()
    left = jobs
    while left:
        reading = results.get()
        if reading is None:
            left -= 1
        else:
            yield reading
    for server in servers:
        server.join()


def _send(results: Any, maker: Maker, indices: Sequence[int], folder: Path, job: int) -> None:
    try:
        for reading in _serve(maker, indices, folder, job):
            results.put(reading)
    finally:
        results.put(None)


def _serve(maker: Maker, indices: Sequence[int], folder: Path, job: int) -> Iterator[Reading]:
    _import_all()
    gc.collect()
    gc.freeze()  # what is there now need not be looked through in every process
    place = folder / f"job-{job}"
    place.mkdir()
    for index in indices:
        read = partial(read_everything, pictures=index % _DRAWN == _DRAWN - 1)
        yield read_apart(index, partial(maker, index, place), read, place)


def _import_all() -> None:
    """Import now what every reading imports, so that each starts with it."""
    from ...metrics import choose_edges
    from ...nwb import wiring
    from ...show import as_json, graphs, plots, report

    plots.require_matplotlib()
    plots.new_figure(1, 1)
    _ = as_json, choose_edges, graphs, report, wiring


def _summary(readings: Sequence[Reading], *, seconds: float) -> dict[str, Any]:
    kinds: dict[str, Counter[str]] = {}
    faults: dict[str, dict[str, Any]] = {}
    for reading in sorted(readings, key=lambda one: one.index):
        kinds.setdefault(reading.said.partition(" | ")[0], Counter())[reading.outcome] += 1
        if reading.outcome in ("read", "refused"):
            continue
        what = re.sub(r"'.*'|\".*\"|0x\w+|\d+", "_", reading.what)[:120]
        fault = faults.setdefault(
            f"{reading.outcome} {what} [{re.sub(r':[0-9]+', '', reading.place)}]",
            {"count": 0, "first": [], "what": reading.what},
        )
        fault["count"] += 1
        fault["first"] = [*fault["first"], f"{reading.index}: {reading.said}"][:3]
    slowest = max(readings, key=lambda one: one.seconds)
    largest = max(readings, key=lambda one: one.peak)
    return {
        "mutants": len(readings),
        "seconds": round(seconds),
        "outcomes": dict(Counter(reading.outcome for reading in readings)),
        "kinds": {kind: dict(kinds[kind]) for kind in sorted(kinds)},
        "faults": dict(sorted(faults.items(), key=lambda item: -item[1]["count"])),
        "slowest": {"seconds": round(slowest.seconds, 2), "mutant": f"{slowest.index}: {slowest.said}"},
        "largest": {"MiB": largest.peak >> 20, "mutant": f"{largest.index}: {largest.said}"},
    }


def _keep(path: Path, name: str, found: dict[str, Any]) -> None:
    """Add what a run found to a file that holds those of others."""
    earlier = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"runs": {}}
    write_json(path, {"runs": {**earlier["runs"], name: found}})
