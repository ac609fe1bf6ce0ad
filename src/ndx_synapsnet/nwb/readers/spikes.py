"""Sorted units: spike times → counts in bins.

Bin k is ``[t0 + k * width, t0 + (k + 1) * width)``. The recording lasts from the units' first to their last observed
moment, where the file says when they were observed (``obs_intervals``); otherwise from the last multiple of the bin
width before the first spike that is not negative, to the last spike. Only whole bins are counted.

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
from .activity import Activity
from .catalog import walk
from .clock import SLACK, Clock, bin_clock, bin_index, whole_bins
from .config import ReadConfig
from .epochs import chosen_intervals
from .intervals import ALWAYS, Intervals, covers, intersect_all, length, merge
from .neurons.selection import chosen_units
from .neurons.units import UNITS
from .ragged import read_rows, row_bounds

#: More bins than this (three months at 30 Hz) are a mistake in the times or the width.
MAX_BINS = 2**28
#: More counts than this would take 64 GiB.
MAX_VALUES = 2**34


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
    times, edges = _spike_times(nwbfile, neurons, notes)
    seen = observation(nwbfile, neurons)
    start, stop = _extent(times, seen, config.width, notes)
    n = bins_between(start, stop, config.width)
    clock = bin_clock(start, n, config.width)
    keep = _kept(clock, selection)
    if len(neurons) * int(keep.sum()) > MAX_VALUES:
        raise InputError(
            f"{len(neurons)} units x {int(keep.sum())} bins are too many to hold in memory",
            where=UNITS,
            remedy="Read fewer units, a part of the recording, or wider bins",
        )
    values, outside = _counts(times, edges, start, config.width, keep)
    if outside and len(seen.union):
        notes.append(f"{outside} spikes lie outside the time in which units were observed, and are not counted")
    clock = clock.select(keep)
    valid = covers(seen.common, *clock.spans(), slack=SLACK * clock.period)
    _note_observation(seen, valid, notes)
    source = {"path": UNITS, "object_id": str(nwbfile.units.object_id), "name": "units"}
    return Activity(values, clock, valid, neurons, "spike_counts", "count", "ecephys", (source,), tuple(notes))


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


def _spike_times(nwbfile: NWBFile, neurons: Neurons, notes: list[str]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return all usable spike times, neuron after neuron, and the edges (N + 1,) between the neurons."""
    data, index = spike_columns(nwbfile)
    starts, stops = row_bounds(index, len(data), where=f"{UNITS}/spike_times_index")
    rows = neurons.source_row
    times = np.empty(int((stops - starts)[rows].sum()))
    edges = np.zeros(len(rows) + 1, dtype=np.int64)
    unsorted = unusable = 0
    for neuron, (_, stored) in enumerate(read_rows(data, starts, stops, rows)):
        spikes = stored[np.isfinite(stored)]
        unusable += len(stored) - len(spikes)
        unsorted += bool((np.diff(spikes) < 0).any())  # bins do not mind
        edges[neuron + 1] = edges[neuron] + len(spikes)
        times[edges[neuron] : edges[neuron + 1]] = spikes
    if unusable:
        notes.append(f"{unusable} spike times are not finite, and are not counted")
    if unsorted:
        notes.append(f"the spike times of {unsorted} units are not in order; all of them are counted")
    if edges[-1] == 0:
        raise InputError("the units have no spikes", where=UNITS)
    return times[: edges[-1]], edges


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
    rows = np.asarray(column.target.data[:], dtype=np.float64).reshape(-1, 2)
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


def _extent(times: NDArray[np.float64], seen: Observation, width: float, notes: list[str]) -> tuple[float, float]:
    """Return start and stop of the recording in seconds."""
    if len(seen.union) and np.isfinite(seen.union).all():
        return float(seen.union[0, 0]), float(seen.union[-1, 1])
    negative = times < 0
    if negative.all():
        raise InputError("all spike times are negative", where=UNITS, remedy="Check the file's time reference")
    if negative.any():
        notes.append(f"{int(negative.sum())} spike times are negative, and are not counted")
    first = np.min(times, where=~negative, initial=np.inf, keepdims=True)
    return float(bin_index(first, 0.0, width)[0]) * width, float(times.max())


def bins_between(start: float, stop: float, width: float) -> int:
    """Return how many whole bins lie between two times.

    Raises
    ------
    InputError
        If there are none, or absurdly many.
    """
    n = whole_bins(min(stop - start, 2.0 * MAX_BINS * width), width)
    if not 0 < n <= MAX_BINS:
        raise InputError(
            f"from {start:g} to {stop:g} s there are {'no' if n <= 0 else 'far too many'} bins of {width:.4g} s",
            where=UNITS,
            remedy="Check the bin width, and that the file's times are in seconds",
        )
    return n


def _kept(clock: Clock, selection: Intervals | None) -> NDArray[np.bool_]:
    if selection is None:
        return np.ones(len(clock), dtype=bool)
    keep = covers(merge(selection, gap=clock.period), *clock.spans(), slack=SLACK * clock.period)
    if not keep.any():
        raise InputError(
            f"no whole bin of {clock.period:.4g} s lies in the chosen epochs", where=UNITS, remedy="Use narrower bins"
        )
    return keep


def _counts(
    times: NDArray[np.float64],
    edges: NDArray[np.int64],
    start: float,
    width: float,
    keep: NDArray[np.bool_],
) -> tuple[NDArray[np.float32], int]:
    """Return counts (N, kept bins), and how many spikes lie in no bin at all."""
    counts = np.zeros((len(edges) - 1, int(keep.sum())), dtype=np.float32)
    outside = 0
    for unit in range(len(counts)):  # unit by unit: the bins of all spikes at once would take as much as the spikes
        at = bin_index(times[edges[unit] : edges[unit + 1]], start, width)
        inside = (at >= 0) & (at < len(keep))
        outside += int((~inside).sum())
        counts[unit] = np.bincount(at[inside], minlength=len(keep))[keep]
    return counts, outside


def _note_observation(seen: Observation, valid: NDArray[np.bool_], notes: list[str]) -> None:
    if not valid.any():
        raise InputError("no bin lies in the time in which all units were observed", where=f"{UNITS}/obs_intervals")
    if not valid.all():
        more = f" ({seen.unlike} units were observed for less than 90 % of the recording)" if seen.unlike else ""
        notes.append(
            f"{int((~valid).sum())} of {len(valid)} bins are not valid: not every unit was observed in them{more}"
        )
