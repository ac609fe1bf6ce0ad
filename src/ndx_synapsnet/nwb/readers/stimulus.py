"""Stimulus covariates: one row per value of a column of an intervals table.

A row holds the part of each sample, of what it sees (see `Clock`), in which an interval with that value lasts: 1 all
the time, 0 none of it. So nothing of the future enters, and a frame's or bin's edge need not meet the stimulus'.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import InputError
from .behavior import Covariates
from .catalog import Entry, the_one
from .clock import Clock
from .config import ReadConfig
from .epochs import interval_tables, rows_of
from .intervals import covered_seconds, merge
from .table import as_text, column, column_named, scalar_columns

#: More values than this are no categories.
MAX_VALUES = 128


def read_stimulus(entries: list[Entry], clock: Clock, config: ReadConfig) -> Covariates:
    """Read the stimulus covariates that `config` asks for.

    Raises
    ------
    InputError
        If a table or column is not there, or the column has no value, or too many.
    """
    tables = interval_tables(entries)
    low, high = clock.spans()
    rows, records, notes = [], [], []
    for asked in config.stimulus:
        table_name, column_name = asked.rsplit(".", 1)
        entry = the_one(tables, table_name, what="intervals table")
        found = column_named(entry.object, column_name)
        if found is None:
            raise InputError(
                f"there is no column {column_name!r} of one value per row",
                where=entry.path,
                remedy=f"Columns: {', '.join(scalar_columns(entry.object))}",
            )
        labels = as_text(column(entry.object, found))
        values = np.unique(labels[labels != ""])
        if not 0 < len(values) <= MAX_VALUES:
            raise InputError(
                f"column {found} has {len(values)} different values, expected 1 to {MAX_VALUES}", where=entry.path
            )
        times = rows_of(entry)
        for value in values:
            seconds = covered_seconds(merge(times[labels == value]), low, high)
            rows.append((seconds / (high - low)).clip(0, 1).astype(np.float32))
            record: dict[str, Any] = {**entry.source, "name": f"{entry.name}.{found}={value}", "missing": 0.0}
            records.append(record)
        notes.append(f"{len(values)} values of {entry.path}/{found} are read as stimulus covariates")
    values_array = np.stack(rows) if rows else np.zeros((0, len(clock)), dtype=np.float32)
    return Covariates(values_array, tuple(r["name"] for r in records), tuple(records), tuple(notes))
