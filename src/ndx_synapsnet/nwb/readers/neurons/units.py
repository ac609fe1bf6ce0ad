"""Neurons of a units table: their place comes from their own columns or from the electrodes they were recorded on."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pynwb import NWBFile

from ....session import Neurons
from ..config import ReadConfig
from ..table import column, column_named
from .columns import CELL_TYPE_COLUMNS, REGION_COLUMNS, extras, identities, labels, positions, row_ids

UNITS = "/units"


def unit_neurons(nwbfile: NWBFile, config: ReadConfig, subject: str) -> Neurons:
    """Return all units of a file as neurons, in the table's order.

    Position and region are those of the unit's own columns, else of its peak channel (Allen's ``peak_channel_id``,
    the id of an electrode), else of the first electrode that it refers to, else (region only) of its electrode group.

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
    electrodes, at = _electrodes(nwbfile)
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


def _electrodes(nwbfile: NWBFile) -> tuple[Any, NDArray[np.int64]]:
    """Return the electrodes table and each unit's row in it (-1 for none); no table if the file joins them nowhere."""
    units = nwbfile.units
    peak = column_named(units, "peak_channel_id", "max_channel_id")
    if peak is not None and nwbfile.electrodes is not None:
        ids = np.asarray(nwbfile.electrodes.id[:])
        order = np.argsort(ids)
        wanted = column(units, peak)
        at = order[np.minimum(np.searchsorted(ids, wanted, sorter=order), len(ids) - 1)] if len(ids) else None
        if at is not None and (ids[at] == wanted).any():
            return nwbfile.electrodes, np.where(ids[at] == wanted, at, -1)
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
    table = target.table
    return table, np.where((first >= 0) & (first < len(table.id)), first, -1)


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
