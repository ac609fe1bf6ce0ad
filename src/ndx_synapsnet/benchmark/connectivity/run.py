"""A part of the benchmark from beginning to end: cases, cells, means, and the files that are left."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...metrics import compare_models
from ...provenance import software_versions
from ...show.plots import require_matplotlib, save_figures
from ..paper.jobs import run_cells
from ..paper.layout import SIGNIFICANT, Layout
from ..record import write_json
from . import figures, layout, results
from .cases import Case, Sizes, simulated_cases
from .cells import Job, finished, run_job
from .methods import COMPARED, METHODS, SLOW
from .references import reference_cases

Say = Callable[[str], None]

#: What can be measured.
PARTS = {
    "recovery": "Recovery of known connectivity",
    "length": "Recovery over the length of a recording",
    "fraction": "Recovery over the share of the network that is recorded",
    "ladder": "Recovery with more of the network revealed",
    "references": "Connectivity against a structural reference",
}


def run(
    part: str,
    folder: Path,
    *,
    kinds: Sequence[str] = ("paper", "spiking", "calcium", "glm"),
    sizes: Sizes | None = None,
    data: Path | None = None,
    models: Sequence[str] = (),
    jobs: int = 1,
    say: Say = lambda text: None,
) -> tuple[dict[str, Any], list[Layout]]:
    """Measure a part, and leave its JSON, its tables in Markdown and its picture in `folder`, as far as they go.

    Parameters
    ----------
    part : str
        Of `PARTS`.
    folder : Path
        Where to. Cells lie in ``folder/cells``; those that are there already are not run again.
    kinds : sequence of str
        Of `simulate.SIMULATORS`.
    sizes : Sizes, optional
        Of the simulated networks.
    data : Path, optional
        Where the recordings of ``references`` are.
    models : sequence of str
        Only these, of `methods.METHODS`; by default all of the part but those that are slow.
    jobs : int
        Processes.
    say : callable
        Told of each case.

    Returns
    -------
    dict
        What is in the JSON.
    list of Layout
        The tables.

    Raises
    ------
    InputError
        If a model or a kind is unknown, there is no recording, or an optional package is missing.
    """
    require_matplotlib()
    compare_models({"a": [0.0, 1.0], "b": [0.0, 2.0]})  # says what to install, before anything long is begun
    sizes = sizes or Sizes()
    methods = _chosen(part, models)
    cases: list[Case] = []
    if part == "references":
        if data is None:
            raise InputError("references are compared on recordings", remedy="Say with --data in which folder.")
        cases += reference_cases(data)
    else:
        cases += simulated_cases(part, kinds, sizes)
    every = [Job(case, _usable(case, methods)) for case in cases]
    cells = folder / "cells"
    records: dict[int, dict[str, Any]] = {}
    waiting: list[Job] = []
    for place, job in enumerate(every):
        there = {method: finished(job.case, method, cells) for method in job.methods}
        records[place] = {method: record for method, record in there.items() if record is not None}
        if missing := tuple(method for method, record in there.items() if record is None):
            waiting.append(replace(job, methods=missing))
    done = sum(map(len, records.values()))
    if done:
        say(f"{done} of {done + sum(len(job.methods) for job in waiting)} cells are there already, in {cells}")
    places = {id(job.case): place for place, job in enumerate(every)}
    with closing(run_cells(waiting, cells, jobs=jobs, run=run_job)) as running:
        for number, (job, found) in enumerate(running, start=1):
            records[places[id(job.case)]] |= found
            say(f"[{number}/{len(waiting)}] {job.name}: {_outcome(found)}")
            if number < len(waiting):
                _leave(part, every, records, sizes, folder, jobs)
    return _leave(part, every, records, sizes, folder, jobs)


def _chosen(part: str, models: Sequence[str]) -> tuple[str, ...]:
    known = COMPARED[part]
    if unknown := [name for name in models if name not in known]:
        raise InputError(
            f"{part} has no model {', '.join(map(repr, unknown))}", remedy=f"Its models: {', '.join(known)}."
        )
    return tuple(name for name in known if (name in models if models else name not in SLOW))


def _usable(case: Case, methods: Sequence[str]) -> tuple[str, ...]:
    """Return what can be fitted to a case. SynapsNet stands at the foot of a ladder only."""
    foot = case.variant in ("", "recorded neurons")
    return tuple(
        name
        for name in methods
        if (case.counts or not METHODS[name].counts_only) and (foot or name != results.REFERENCE)
    )


def _outcome(found: dict[str, Any]) -> str:
    return "; ".join(
        f"{name} FAILED: {record['failed']}" if "failed" in record
        else f"{name} r {record['recovery']['r']} ({record['seconds']:.0f} s)"
        for name, record in found.items()
    )  # fmt: skip


def _leave(
    part: str, every: Sequence[Job], records: dict[int, dict[str, Any]], sizes: Sizes, folder: Path, jobs: int
) -> tuple[dict[str, Any], list[Layout]]:
    """Write what there is, and return it with its tables."""
    groups = results.tabulate([(job, records[place]) for place, job in enumerate(every) if records[place]])
    found: dict[str, Any] = {
        "part": part,
        "title": PARTS[part],
        "notes": _notes(part, sizes),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count(), "jobs": jobs},
        "software": software_versions(),
        "sizes": None if part == "references" else vars(sizes),
        "cases": [
            {"name": job.name, "case": job.case.identity(), "cells": records[place]}
            for place, job in enumerate(every)
            if records[place]
        ],
        "groups": groups,
    }
    tables = layout.tables(found)
    write_json(folder / f"{part}.json", found, finite=True)
    text = "\n".join([f"## {found['title']}", "", *(table.markdown() for table in tables)])
    (folder / f"{part}.md").write_text(text, encoding="utf-8")
    save_figures(figures.draw(found), folder)
    return found, tables


def _notes(part: str, sizes: Sizes) -> list[str]:
    """Return the sentences below the tables."""
    shown = f"{sizes.neurons} of {3 * sizes.neurons} neurons"
    length = f"{sizes.samples:,} samples"
    about = {
        "recovery": f"{shown} recorded, {length}.",
        "length": f"{shown} recorded; of each network one long recording, cut short.",
        "fraction": f"Of networks of {3 * sizes.neurons} neurons, {length}; scored among those recorded.",
        "ladder": f"{shown} recorded, {length}; always scored among these.",
        "references": "Off the diagonal, by strength: a structural reference has no signs.",
    }
    unit = "weights z-scored"
    if part != "references":
        unit = "weights of spike counts in spikes of the target per spike of the source, of calcium z-scored"
    notes = [about[part], f"Means ± standard errors, off the diagonal; {unit}; forecasts one step ahead, z-scored."]
    if part != "references":
        notes.append(f"{SIGNIFICANT}: SynapsNet differs (paired t-test over networks, Holm-corrected p ≤ 0.05).")
    return notes
