"""What table columns about neurons are called, and reading them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from hdmf.common import DynamicTable
from numpy.typing import NDArray

from ....errors import InputError
from ..table import as_text, column, column_named, scalar_columns

REGION_COLUMNS = (
    "location", "region", "brain_region", "brain_area", "area", "structure_acronym", "ecephys_structure_acronym",
    "structure", "acronym", "anatomical_location", "brain_location", "allen_location", "allen_acronym",
    "beryl_location",
)  # fmt: skip
CELL_TYPE_COLUMNS = ("cell_type", "celltype", "putative_cell_type", "cell_class", "ttype", "subclass")
#: In this order; each names the columns of x, y and (where it is there) z.
POSITION_COLUMNS = (
    ("centroid_x", "centroid_y", "centroid_z"),
    ("x", "y", "z"),
    ("x_position", "y_position", "z_position"),
    ("rel_x", "rel_y", "rel_z"),
)
#: What the Allen Institute gives as x and z of a channel whose probe was not found in the brain; y is then its depth.
UNREGISTERED = -1000.0
IDENTITY_COLUMNS = (
    "cell_specimen_id", "ecephys_unit_id", "unit_id", "cell_id", "neuron_id", "global_id", "unique_id", "uniqueid",
    "uuid",
)  # fmt: skip


def labels(table: DynamicTable, names: Sequence[str]) -> NDArray[np.str_] | None:
    """Return the text of the first of the columns `names` that says anything, or None."""
    for name in names:
        found = column_named(table, name)
        if found is not None:
            values = as_text(column(table, found))
            if (values != "").any():
                return values
    return None


def positions(table: DynamicTable) -> NDArray[np.float64] | None:
    """Return (rows, 3) coordinates of the first set of position columns that holds any, NaN where unknown.

    Coordinates that are the same in every one of several rows are fill-ins and count as unknown, and so are those of
    `UNREGISTERED` places. A table that has x and y with a width and a height holds boxes by their corner; the position
    is their centre.
    """
    for names in POSITION_COLUMNS:
        found = [column_named(table, name) for name in names]
        if found[0] is None or found[1] is None:
            continue
        axes = [np.full(len(table.id), np.nan) if name is None else _numbers(table, name) for name in found]
        where = np.column_stack(axes)
        where[(where[:, [0, 2]] == UNREGISTERED).all(axis=1)] = np.nan
        if known(where):
            return where + _half_box(table) if names[0] == "x" else where
    return None


def _half_box(table: DynamicTable) -> NDArray[np.float64]:
    """Return what leads from a box's corner to its centre (rows, 3); zero where the table has no boxes."""
    sides = [column_named(table, name) for name in ("width", "height")]
    if sides[0] is None or sides[1] is None:
        return np.zeros((len(table.id), 3))
    width, height = (_numbers(table, name) / 2 for name in sides if name is not None)
    return np.column_stack([width, height, np.zeros(len(width))])


def known(where: NDArray[np.float64]) -> bool:
    """Return whether coordinates (rows, 3) say anything: they are finite, and not one and the same fill-in."""
    finite = where[np.isfinite(where[:, :2]).all(axis=1)]
    if len(finite) == 0:
        return False
    spread = np.ptp(np.nan_to_num(finite), axis=0).max()
    return bool(spread > 0 or (len(where) == 1 and np.any(finite)))


def _numbers(table: DynamicTable, name: str) -> NDArray[np.float64]:
    values = column(table, name)
    if values.dtype.kind not in "biuf":
        return np.full(len(values), np.nan)
    return values.astype(np.float64)


def identities(table: DynamicTable, name: str, subject: str, *, where: str) -> NDArray[np.str_]:
    """Return ``subject:column:value`` for every row; empty where there is no value, or rows share one.

    Raises
    ------
    InputError
        If there is no such column of one value per row.
    """
    values = as_text(column(table, _required(table, name, setting="identity_column", where=where)))
    names, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    usable = (names != "") & (names != "-1") & (counts == 1)
    return np.array(
        [f"{subject}:{name}:{v}" if usable[i] else "" for v, i in zip(values, inverse, strict=True)], np.str_
    )


def extras(table: DynamicTable, names: Sequence[str], *, where: str) -> Mapping[str, NDArray[Any]]:
    """Return the columns `names` as numbers or text.

    Raises
    ------
    InputError
        If there is no such column of one value per row.
    """
    columns = {}
    for name in names:
        values = column(table, _required(table, name, setting="extra_columns", where=where))
        columns[name] = as_text(values) if values.dtype.kind == "O" else values
    return columns


def _required(table: DynamicTable, name: str, *, setting: str, where: str) -> str:
    found = column_named(table, name) if name != "id" else None
    if found is None:
        raise InputError(
            f"{setting} is {name!r}, and the table has no such column of one value per row",
            where=where,
            remedy=f"Columns: {', '.join(scalar_columns(table)) or 'none'}",
        )
    return found


def row_ids(table: DynamicTable) -> NDArray[np.str_]:
    """Return the table's ids as text; where two are equal, all are the row numbers instead."""
    ids = as_text(np.asarray(table.id[:]))
    return ids if len(np.unique(ids)) == len(ids) else np.arange(len(ids)).astype(np.str_)
