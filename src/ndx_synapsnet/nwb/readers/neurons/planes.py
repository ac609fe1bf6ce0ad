"""Neurons of several imaging planes as one population."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ....session import Neurons
from ..catalog import Entry


def id_prefixes(chosen: list[Entry]) -> list[str]:
    """Return what makes the ROI ids of several series differ: nothing for a single one."""
    if len(chosen) == 1:
        return [""]
    names = [entry.name for entry in chosen]
    return [f"{name}:" for name in names] if len(set(names)) == len(names) else [f"{e.path}:" for e in chosen]


def concatenated(tables: list[Neurons]) -> Neurons:
    """Return the neurons of several planes as one; a column that some planes lack is unknown there."""
    sizes = [len(table) for table in tables]

    def text(name: str) -> NDArray[np.str_] | None:
        columns = [getattr(table, name) for table in tables]
        if all(column is None for column in columns):
            return None
        return np.concatenate([np.full(n, "") if c is None else c for c, n in zip(columns, sizes, strict=True)])

    places = [table.position for table in tables]
    position = [np.full((n, 3), np.nan) if p is None else p for p, n in zip(places, sizes, strict=True)]
    return Neurons(
        id=np.concatenate([table.id for table in tables]),
        source_path=np.concatenate([table.source_path for table in tables]),
        source_object_id=np.concatenate([table.source_object_id for table in tables]),
        source_row=np.concatenate([table.source_row for table in tables]),
        identity=text("identity"),
        position=None if all(p is None for p in places) else np.concatenate(position),
        region=text("region"),
        cell_type=text("cell_type"),
        extra={name: np.concatenate([table.extra[name] for table in tables]) for name in tables[0].extra},
    )
