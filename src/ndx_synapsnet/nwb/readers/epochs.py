"""Which stretches of a recording are read: rows of intervals tables, a condition on them, a range of time.

Samples outside are dropped, and each cut begins a new segment. Rows that are less than one sample apart, such as
presentations that follow each other, are one stretch.
"""

from __future__ import annotations

import numpy as np
from pynwb import NWBFile
from pynwb.epoch import TimeIntervals

from ...errors import InputError
from .catalog import Entry, of_type, the_one
from .config import ReadConfig
from .intervals import Intervals, intersect, merge
from .table import column, matching

#: Not part of the experiment but marks on the recording; see `invalid_times`.
_INVALID = "invalid_times"


def interval_tables(entries: list[Entry]) -> list[Entry]:
    """Return all tables of time intervals of a file, wherever they are, except ``invalid_times``."""
    return [entry for entry in of_type(entries, TimeIntervals) if entry.name != _INVALID and len(entry.object.id)]


def rows_of(entry: Entry) -> np.ndarray:
    """Return start and stop (rows, 2) of an intervals table, as they are stored."""
    table = entry.object
    return np.column_stack(
        [np.asarray(column(table, name), dtype=np.float64) for name in ("start_time", "stop_time")]
    ).reshape(-1, 2)


def chosen_intervals(nwbfile: NWBFile, entries: list[Entry], config: ReadConfig) -> tuple[Intervals | None, list[str]]:
    """Return the stretches to read as one set of intervals, None for the whole recording, and notes.

    Raises
    ------
    InputError
        If a table or column is not there, or no row is left.
    """
    selection: Intervals | None = None
    notes: list[str] = []
    if config.epoch is not None or config.epoch_query is not None:
        selection, notes = _rows_chosen(interval_tables(entries), config)
    if config.start is not None or config.stop is not None:
        low = -np.inf if config.start is None else config.start
        high = np.inf if config.stop is None else config.stop
        asked = np.array([[low, high]], dtype=np.float64)
        selection = asked if selection is None else intersect(selection, asked)
        notes.append(f"read from {low:g} to {high:g} s only")
        if len(selection) == 0:
            raise InputError(f"no chosen epoch lies between {low:g} and {high:g} s", remedy="Choose another range")
    return selection, notes


def _rows_chosen(tables: list[Entry], config: ReadConfig) -> tuple[Intervals, list[str]]:
    query = config.epoch_query
    if config.epoch is not None:
        asked = [the_one(tables, config.epoch, what="intervals table")]
    else:
        asked = [entry for entry in tables if query is not None and _has_columns(entry, query)]
        if not asked:
            listing = "; ".join(f"{e.path} ({', '.join(e.object.colnames)})" for e in tables) or "none"
            raise InputError(
                f"no intervals table has the columns of the epoch query {query!r}", remedy=f"Tables: {listing}"
            )
    chosen, notes = [], []
    for entry in asked:
        rows = rows_of(entry)
        met = np.ones(len(rows), dtype=bool)
        if query is not None:
            met = matching(entry.object, query, where=entry.path, setting="epoch query")
        usable = rows[:, 1] > rows[:, 0]  # not NaN, and not ended before it began
        if (met & ~usable).any():
            notes.append(f"{int((met & ~usable).sum())} rows of {entry.path} have no time between start and stop")
        chosen.append(rows[met & usable])
        if met.any():
            asking = f" where {query}" if query is not None else ""
            notes.append(f"{len(chosen[-1])} of {len(rows)} rows of {entry.path}{asking} are read, nothing else")
    merged = merge(np.concatenate(chosen))
    if len(merged) == 0:
        raise InputError(
            f"no row of {', '.join(entry.path for entry in asked)} is left by the epoch query {query!r}"
            if query is not None
            else f"no row of {asked[0].path} has time between start and stop",
            remedy="Choose another epoch",
        )
    return merged, notes


def _has_columns(entry: Entry, query: str) -> bool:
    try:
        matching(entry.object, query, where=entry.path, setting="epoch query")
    except InputError:
        return False
    return True


def invalid_intervals(nwbfile: NWBFile) -> Intervals:
    """Return the stretches that the file's ``invalid_times`` names."""
    table = nwbfile.invalid_times
    if table is None or len(table.id) == 0:
        return np.zeros((0, 2))
    return merge(rows_of(Entry(f"/intervals/{_INVALID}", table)))
