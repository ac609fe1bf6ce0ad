"""Intervals tables of a session of Bugeon et al. 2022: experiments, brain states, what was shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pynwb import NWBFile
from pynwb.epoch import TimeIntervals

from .bugeon_layout import PRESENTATIONS
from .bugeon_session import PublishedSession


def add_intervals(nwbfile: NWBFile, published: PublishedSession) -> None:
    """Add ``experiments``, a row each with its task; ``states``; and tables of presentations, where there are any."""
    _add_experiments(nwbfile, published)
    _add_states(nwbfile, published)
    for stimulus in PRESENTATIONS:
        _add_presentations(nwbfile, published, stimulus)


def _add_experiments(nwbfile: NWBFile, published: PublishedSession) -> None:
    held = list(zip(published.experiments, published.offsets, strict=True))
    held.sort(key=lambda part: part[0].times[0] + part[1])
    columns: dict[str, tuple[str, Any]] = {
        "task": ("What was shown, as the paper's tasks are named.", [e.task for e, _ in held]),
        "stimulus": ("Name of the published folder.", [e.stimulus for e, _ in held]),
        "number": ("Number of the folder inside it.", [e.number for e, _ in held]),
        "clock_offset": ("Seconds that were added to the experiment's own clock.", [offset for _, offset in held]),
    }
    rows = np.array([(e.times[0] + offset, e.stop + offset) for e, offset in held])
    about = "Stretches with one stimulus each. Between them nothing was recorded."
    nwbfile.add_time_intervals(_intervals("experiments", about, rows, columns))


def _add_states(nwbfile: NWBFile, published: PublishedSession) -> None:
    """Add the runs of equal labels of brain state."""
    rows, labels = [], []
    for experiment, offset in zip(published.experiments, published.offsets, strict=True):
        if experiment.states is None:
            continue
        edges = np.append(experiment.times, experiment.stop) + offset
        values = experiment.states
        # a run of NaN begins anew at each, and is no row anyway
        first = np.flatnonzero(np.append(True, values[1:] != values[:-1]))
        last = np.append(first[1:], len(values))
        for start, stop in zip(first, last, strict=True):
            if np.isfinite(values[start]) and edges[stop] > edges[start]:
                rows.append((edges[start], edges[stop]))
                labels.append(float(values[start]))
    if not rows:
        return
    order = np.argsort([row[0] for row in rows], kind="stable")
    names = dict(enumerate(published.states))
    columns = {
        "state": (
            "State of the brain, as published; empty if it has no name.",
            [names.get(labels[i], "") for i in order],
        ),
        "label": ("Its number in frame.states.npy.", [labels[i] for i in order]),
    }
    nwbfile.add_time_intervals(_intervals("states", "Runs of one state.", np.array(rows)[order], columns))


def _add_presentations(nwbfile: NWBFile, published: PublishedSession, stimulus: str) -> None:
    name, prefix, _ = PRESENTATIONS[stimulus]
    held = [
        (experiment.presentations[0] + offset, experiment.presentations[1])
        for experiment, offset in zip(published.experiments, published.offsets, strict=True)
        if experiment.stimulus == stimulus and experiment.presentations is not None and len(experiment.presentations[0])
    ]
    if not held:
        return
    held.sort(key=lambda part: float(part[0][0, 0]))
    common = [column for column in held[0][1] if all(column in values for _, values in held)]
    columns = {
        column: (f"As published in {prefix}.*.npy.", np.concatenate([values[column] for _, values in held]))
        for column in common
    }
    rows = np.concatenate([rows for rows, _ in held])
    nwbfile.add_time_intervals(_intervals(name, f"Presentations of {stimulus.lower()}.", rows, columns))


def _intervals(
    name: str, about: str, rows: NDArray[np.float64], columns: Mapping[str, tuple[str, Sequence[Any] | NDArray[Any]]]
) -> TimeIntervals:
    table = TimeIntervals(name=name, description=about)
    for start, stop in rows.tolist():
        table.add_interval(start_time=start, stop_time=stop)
    for column, (told, values) in columns.items():
        table.add_column(name=column, description=told, data=values)
    return table
