"""Sorted units: spike times → counts in bins.

Bin k is ``[t0 + k * width, t0 + (k + 1) * width)``. Where the file says when its units were observed
(``obs_intervals``), t0 is their first observed moment, and the recording lasts to the last. Otherwise t0 is 0 s, and
the recording lasts from the bin of the first spike that is not negative to the last spike. Only whole bins are counted.

A bin is valid if every unit that is read was observed for all of it. What was observed of some units and not of others
is thus left out: a unit that is not observed is not silent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from hdmf.common import VectorIndex
from numpy.typing import NDArray
from pynwb import NWBFile

from ...errors import InputError
from ...session import Neurons
from ..sources.bulk import values
from .activity import Activity
from .binning import Grid, SpikeCounts, bins_between, nothing_kept
from .catalog import walk
from .clock import SLACK, bin_clock, bin_index
from .config import ReadConfig
from .epochs import chosen_intervals
from .intervals import ALWAYS, Intervals, covers, intersect_all, length, merge
from .neurons.selection import chosen_units
from .neurons.units import UNITS
from .ragged import read_rows, row_bounds


@dataclass(frozen=True)
class Observation:
    """When the units that are read were observed."""

    common: Intervals
    """When all of them were; ALWAYS if the file does not say."""
    union: Intervals
    """When any of them was; empty if the file does not say."""
    unlike: int
    """Units that were observed for less than 90 % of `union`."""


def read_spikes(nwbfile: NWBFile, config: ReadConfig) -> Activity:
    """Read units as spike counts.

    Parameters
    ----------
    nwbfile : NWBFile
        An open file.
    config : ReadConfig
        What to read.

    Returns
    -------
    Activity
        One sample a bin. Epochs keep the bins that lie in them wholly; each cut begins a new segment.

    Raises
    ------
    InputError
        If there are no units or spike times, their ragged index does not fit, or nothing is left.
    """
    entries = walk(nwbfile)
    neurons, notes = chosen_units(nwbfile, config)
    selection, epoch_notes = chosen_intervals(nwbfile, entries, config)
    notes += epoch_notes
    seen = observation(nwbfile, neurons)
    known = len(seen.union) > 0 and bool(np.isfinite(seen.union).all())
    origin, first, n, width = 0.0, 0, None, config.width
    if known:
        origin = float(seen.union[0, 0])
        n = bins_between(origin, float(seen.union[-1, 1]), width)
    grid = Grid.of(origin, width, n, selection)
    if known and len(grid.kept) == 0:
        raise nothing_kept(width)
    counted = _counted(nwbfile, neurons, grid, notes)
    if n is None:
        if counted.outside == counted.usable:
            raise InputError("all spike times are negative", where=UNITS, remedy="Check the file's time reference")
        if counted.outside:
            notes.append(f"{counted.outside} spike times are negative, and are not counted")
        first = int(bin_index(np.array([counted.first]), origin, width)[0])
        n = bins_between(first * width, counted.last, width)
    elif counted.outside:
        notes.append(f"{counted.outside} spikes lie outside the time in which units were observed, and are not counted")
    keep = grid.mask(first, n)
    if not keep.any():
        raise nothing_kept(width)
    activity = counted.counts(first, n)
    clock = bin_clock(origin, n, width, first=first)
    clock = clock.select(keep)
    valid = covers(seen.common, *clock.spans(), slack=SLACK * clock.period)
    _note_observation(seen, valid, notes)
    source = {"path": UNITS, "object_id": str(nwbfile.units.object_id), "name": "units"}
    return Activity(activity, clock, valid, neurons, "spike_counts", "count", "ecephys", (source,), tuple(notes))


def spike_columns(nwbfile: NWBFile) -> tuple[Any, Any]:
    """Return the flat spike times and their index, as they are stored.

    Raises
    ------
    InputError
        If the units have no spike times.
    """
    units = nwbfile.units
    if units is None or "spike_times" not in units.colnames:
        raise InputError("the units have no spike times", where=UNITS)
    index = units["spike_times"]
    if not isinstance(index, VectorIndex):
        raise InputError("there is no index that says which unit has which spike times", where=UNITS)
    return index.target.data, index.data


def _counted(nwbfile: NWBFile, neurons: Neurons, grid: Grid, notes: list[str]) -> SpikeCounts:
    """Count the spikes of the given units, as they are read."""
    data, index = spike_columns(nwbfile)
    starts, stops = row_bounds(index, len(data), where=f"{UNITS}/spike_times_index")
    counted = SpikeCounts(len(neurons), grid)
    for unit, place, times in read_rows(data, starts, stops, neurons.source_row):
        counted.add(unit, place, times)
    if counted.unusable:
        notes.append(f"{counted.unusable} spike times are not finite, and are not counted")
    unsorted = counted.unsorted()
    if unsorted:
        notes.append(f"the spike times of {unsorted} units are not in order; all of them are counted")
    if counted.usable == 0:
        raise InputError("the units have no spikes", where=UNITS)
    return counted


def observation(nwbfile: NWBFile, neurons: Neurons) -> Observation:
    """Return when the given units were observed; a unit without intervals does not restrict the others.

    Raises
    ------
    InputError
        If the ragged index of ``obs_intervals`` does not fit, or no moment is common to all units.
    """
    units = nwbfile.units
    if "obs_intervals" not in units.colnames:
        return Observation(ALWAYS, np.zeros((0, 2)), 0)
    column = units["obs_intervals"]
    if not isinstance(column, VectorIndex):
        return Observation(ALWAYS, np.zeros((0, 2)), 0)
    rows = values(column.target.data).astype(np.float64).reshape(-1, 2)
    starts, stops = row_bounds(column.data, len(rows), where=f"{UNITS}/obs_intervals_index")
    sets = [merge(rows[starts[row] : stops[row]]) for row in neurons.source_row]
    sets = [intervals for intervals in sets if len(intervals)]
    if not sets:
        return Observation(ALWAYS, np.zeros((0, 2)), 0)
    common, union = intersect_all(sets), merge(np.concatenate(sets))
    if len(common) == 0:
        raise InputError(
            "there is no moment at which all the units were observed",
            where=f"{UNITS}/obs_intervals",
            remedy="Choose units that were recorded together with a units query",
        )
    unlike = sum(length(intervals) < 0.9 * length(union) for intervals in sets)
    return Observation(common, union, unlike)


def _note_observation(seen: Observation, valid: NDArray[np.bool_], notes: list[str]) -> None:
    if not valid.any():
        raise InputError("no bin lies in the time in which all units were observed", where=f"{UNITS}/obs_intervals")
    if not valid.all():
        more = f" ({seen.unlike} units were observed for less than 90 % of the recording)" if seen.unlike else ""
        notes.append(
            f"{int((~valid).sum())} of {len(valid)} bins are not valid: not every unit was observed in them{more}"
        )
