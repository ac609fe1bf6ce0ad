"""Neurons of a units table: their place comes from their own columns or from the electrodes they were recorded on."""

from __future__ import annotations

from typing import Any

import numpy as np
from hdmf.common import DynamicTableRegion
from numpy.typing import NDArray
from pynwb import NWBFile

from ....session import Neurons
from ..config import ReadConfig
from ..table import as_text, column, column_named, scalar_columns
from .columns import CELL_TYPE_COLUMNS, REGION_COLUMNS, extras, identities, labels, positions, row_ids

UNITS = "/units"
#: What a units query calls the columns of the electrode that a unit was recorded on: this, then the column's name.
ELECTRODE = "electrode_"


def unit_neurons(nwbfile: NWBFile, config: ReadConfig, subject: str) -> Neurons:
    """Return all units of a file as neurons, in the table's order.

    Position and region are those of the unit's own columns, else of its electrode (see `unit_electrodes`), else
    (region only) of its electrode group.

    Parameters
    ----------
    nwbfile : NWBFile
        A file with a units table.
    config : ReadConfig
        Names the identity column and extra columns.
    subject : str
        What identities begin with.

    Raises
    ------
    InputError
        If a column that `config` names is not there.
    """
    units = nwbfile.units
    n = len(units.id)
    electrodes, at = unit_electrodes(nwbfile)
    region = labels(units, REGION_COLUMNS)
    position = positions(units)
    if electrodes is not None:
        if region is None:
            region = _at(labels(electrodes, REGION_COLUMNS), at, "")
        if position is None:
            position = _at(positions(electrodes), at, np.nan)
    if region is None:
        region = _group_locations(units)
    return Neurons(
        id=row_ids(units),
        source_path=np.full(n, UNITS),
        source_object_id=np.full(n, units.object_id),
        source_row=np.arange(n),
        identity=None
        if config.identity_column is None
        else identities(units, config.identity_column, subject, where=UNITS),
        position=position,
        region=region,
        cell_type=labels(units, CELL_TYPE_COLUMNS),
        extra=extras(units, config.extra_columns, where=UNITS),
    )


def unit_electrodes(nwbfile: NWBFile) -> tuple[Any, NDArray[np.int64]]:
    """Return the electrodes table and each unit's row in it (-1 for none); no table if the file joins them nowhere.

    A unit's electrode is its peak channel (the Allen Institute's ``peak_channel_id``, the id of an electrode), else its
    ``max_electrode`` (the IBL's, a row of the table), else the first electrode that it refers to.
    """
    units, electrodes = nwbfile.units, nwbfile.electrodes
    if electrodes is not None and len(electrodes.id):
        at = _by_id(units, electrodes)
        if at is not None:
            return electrodes, at
    if "max_electrode" in units.colnames:
        own = units["max_electrode"]
        table = own.table if isinstance(own, DynamicTableRegion) else electrodes
        rows = np.asarray(own.data[:])
        if table is not None and rows.ndim == 1 and rows.dtype.kind in "iu" and len(rows) == len(units.id):
            return table, _inside(rows, table)
    if "electrodes" not in units.colnames:
        return None, np.zeros(0, dtype=np.int64)
    own = units["electrodes"]
    target = getattr(own, "target", own)
    rows = np.asarray(target.data[:], dtype=np.int64)
    if target is own:
        first = rows
    else:
        stops = np.asarray(own.data[:], dtype=np.int64)
        starts = np.concatenate([[0], stops[:-1]])
        has = (stops > starts) & (starts >= 0) & (stops <= len(rows))
        first = np.full(len(stops), -1)
        first[has] = rows[starts[has]]
    return target.table, _inside(first, target.table)


def _by_id(units: Any, electrodes: Any) -> NDArray[np.int64] | None:
    """Return the row of each unit's peak channel, -1 where there is no such electrode; None if there is none at all."""
    peak = column_named(units, "peak_channel_id", "max_channel_id")
    wanted = None if peak is None else column(units, peak)
    if wanted is None or wanted.dtype.kind not in "iuf":
        return None
    ids = np.asarray(electrodes.id[:])
    order = np.argsort(ids)
    at = order[np.minimum(np.searchsorted(ids, wanted, sorter=order), len(ids) - 1)]
    met = ids[at] == wanted
    return np.where(met, at, -1) if met.any() else None


def _inside(rows: NDArray[Any], table: Any) -> NDArray[np.int64]:
    return np.where((rows >= 0) & (rows < len(table.id)), rows, -1).astype(np.int64)


def electrode_columns(nwbfile: NWBFile) -> dict[str, NDArray[Any]]:
    """Return the columns of each unit's electrode under their names with `ELECTRODE` before them.

    Text that says nothing is empty. A unit without an electrode has an empty text, NaN or False.
    """
    electrodes, at = unit_electrodes(nwbfile)
    if electrodes is None:
        return {}
    columns: dict[str, NDArray[Any]] = {}
    for name in scalar_columns(electrodes):
        values = column(electrodes, name)
        if values.dtype.kind == "O":
            values = as_text(values).astype(object)
        elif values.dtype.kind in "iu" and (at < 0).any():
            values = values.astype(np.float64)
        unknown = {"O": "", "b": False}.get(values.dtype.kind, np.nan if values.dtype.kind == "f" else 0)
        columns[ELECTRODE + name] = _at(values, at, unknown)
    return columns


def _at(values: Any, rows: NDArray[np.int64], unknown: Any) -> Any:
    """Return `values` of the electrodes at `rows`, `unknown` where a unit has none; None where there are no values."""
    if values is None:
        return None
    picked = values[rows].copy()
    picked[rows < 0] = unknown
    return picked


def _group_locations(units: Any) -> NDArray[np.str_] | None:
    """Return the location of each unit's electrode group, where it can be had without unpickling a reference."""
    if "electrode_group" not in units.colnames:
        return None
    data = units["electrode_group"].data
    if type(data).__module__.startswith(("hdmf_zarr", "zarr")):
        return None
    groups = list(data[:])
    if not all(hasattr(group, "location") for group in groups):
        return None
    text = np.array([str(group.location or "") for group in groups], dtype=np.str_)
    return text if (text != "").any() else None
