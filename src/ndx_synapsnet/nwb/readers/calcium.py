"""Calcium imaging: ROI series → activity.

Which series is read when none is named: of the series that are not neuropil, those of the first kind there is in the
order dF/F, fluorescence, deconvolved events, other. Among several of that kind over the same ROIs, corrected
fluorescence goes before raw; what then is still not one is refused with the list of paths. Series over the ROIs of
several imaging planes are joined to one population.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pynwb import NWBFile

from ...errors import InputError
from ...session import ActivityKind, Neurons
from .activity import Activity, rebin
from .catalog import walk
from .clock import GAP, Clock, frame_clock, series_times
from .config import ReadConfig
from .epochs import chosen_intervals
from .intervals import contains, merge
from .neurons.planes import concatenated, id_prefixes
from .neurons.selection import chosen_rois
from .roi_series import KIND_NAMES, activity_kind, chosen_series, dimensions, read_values

#: A ROI that is not finite in more than this part of the frames is left out, rather than making them all invalid.
MAX_MISSING = 0.5


@dataclass(frozen=True)
class Plane:
    """What was read of one ROI series, before planes are joined."""

    path: str
    """Where it is, for messages."""
    source: dict[str, str]
    """Path, object id and name of the series."""
    kind: ActivityKind
    unit: str
    neurons: Neurons
    clock: Clock
    values: NDArray[np.float32]
    """(N, T)."""


def read_calcium(nwbfile: NWBFile, config: ReadConfig) -> Activity:
    """Read ROI series as activity on the frames' clock; see `planes_of` and `joined`.

    Parameters
    ----------
    nwbfile : NWBFile
        An open file.
    config : ReadConfig
        What to read.

    Returns
    -------
    Activity
        A sample is a frame at its timestamp, or with `ReadConfig.rate` a bin. Gaps of more than 1.5 periods and cuts
        begin a new segment; frames with a value that is not finite are not valid.

    Raises
    ------
    InputError
        If no series, or several, can be meant; if its shape, timestamps or ROIs do not fit; if nothing is left.
    """
    planes, notes = planes_of(nwbfile, config)
    return joined(planes, config, notes)


def planes_of(nwbfile: NWBFile, config: ReadConfig, *, label: str = "") -> tuple[list[Plane], list[str]]:
    """Read the ROI series that are chosen, each a plane, and notes.

    Parameters
    ----------
    nwbfile : NWBFile
        An open file.
    config : ReadConfig
        What to read.
    label : str
        Put before every neuron's id, where the file's planes are only some of the session's. The file may then be
        left without a ROI.

    Raises
    ------
    InputError
        If no series, or several, can be meant; if its shape, timestamps or ROIs do not fit.
    """
    entries = walk(nwbfile)
    chosen, notes = chosen_series(entries, config)
    selection, epoch_notes = chosen_intervals(nwbfile, entries, config)
    notes += epoch_notes
    planes = []
    for entry, own in zip(chosen, id_prefixes(chosen), strict=True):
        prefix = label + own
        neurons, columns, roi_notes = chosen_rois(nwbfile, entries, entry, config, prefix=prefix)
        notes += roi_notes
        if len(columns) == 0:
            continue
        n_frames, _, by_roi = dimensions(entry)
        if by_roi:
            notes.append(f"{entry.path} is stored ROI x time, and read so")
        times, time_notes = series_times(entry.object, n_frames, where=entry.path)
        clock, kept, frame_notes = frame_clock(times, where=entry.path)
        notes += time_notes + frame_notes
        if selection is not None:
            inside = contains(merge(selection, gap=clock.period), clock.times)
            if not inside.any():
                raise InputError("no frame lies in the chosen epochs", where=entry.path)
            clock, kept = clock.select(inside), kept[inside]
        values = read_values(entry, columns, kept)
        unit = str(entry.object.unit or "")
        planes.append(Plane(label + entry.path, entry.source, activity_kind(entry), unit, neurons, clock, values))
    return planes, notes


def joined(planes: list[Plane], config: ReadConfig, notes: list[str]) -> Activity:
    """Return planes that were imaged together as the activity of one population.

    Parameters
    ----------
    planes : list of Plane
        At least one with ROIs in it.
    config : ReadConfig
        Says whether to resample.
    notes : list of str
        What was done so far.

    Raises
    ------
    InputError
        If there is no plane, or their frame periods or kinds of activity differ, or nothing finite is left.
    """
    if not planes:
        raise InputError("the choice of ROIs leaves none in any plane", remedy="Choose differently")
    notes = list(notes)
    kind = planes[0].kind
    if len({plane.kind for plane in planes}) > 1:
        listing = ", ".join(f"{plane.path} ({KIND_NAMES[plane.kind]})" for plane in planes)
        raise InputError(f"the planes hold different kinds of activity: {listing}", remedy="Name the series to read")
    neurons, values, clock = _side_by_side(planes, notes)
    values, neurons = _without_missing(values, neurons, notes)
    if config.rate is not None:
        values, clock = _at_rate(values, clock, config.rate, kind, notes)
    valid = np.asarray(np.isfinite(values).all(axis=0))
    if not valid.any():
        raise InputError("no frame has a finite value for every ROI", where=planes[0].path)
    if not valid.all():
        notes.append(f"{int((~valid).sum())} of {len(valid)} samples are not valid: a value in them is not finite")
    sources = tuple(plane.source for plane in planes)
    return Activity(values, clock, valid, neurons, kind, planes[0].unit, "ophys", sources, tuple(notes))


def _side_by_side(planes: list[Plane], notes: list[str]) -> tuple[Neurons, NDArray[np.float32], Clock]:
    """Put planes side by side on the clock of the one that is scanned last, each holding its latest sample."""
    if len(planes) == 1:
        return planes[0].neurons, planes[0].values, planes[0].clock
    periods = [plane.clock.period for plane in planes]
    last = max(planes, key=lambda plane: float(plane.clock.times[0]))
    clock = last.clock
    if max(periods) > 1.01 * min(periods):
        listing = ", ".join(f"{plane.path} ({plane.clock.period:.4g} s)" for plane in planes)
        raise InputError(f"the planes have different frame periods: {listing}", remedy="Name the series to read")
    rows, oldest = [], 0.0
    for plane in planes:
        own = plane.clock.times
        at = np.searchsorted(own, clock.times, side="right") - 1
        age = clock.times - own[np.maximum(at, 0)]
        usable = (at >= 0) & (age <= GAP * clock.period)
        held = plane.values[:, np.maximum(at, 0)]
        held[:, ~usable] = np.nan
        rows.append(held)
        oldest = max(oldest, float(age[usable].max(initial=0.0)))
    notes.append(
        f"{len(planes)} planes joined on the clock of {last.path}; the others' latest sample, "
        f"up to {oldest:.3g} s old, is held"
    )
    return concatenated([plane.neurons for plane in planes]), np.concatenate(rows), clock


def _without_missing(
    values: NDArray[np.float32], neurons: Neurons, notes: list[str]
) -> tuple[NDArray[np.float32], Neurons]:
    finite = np.isfinite(values)
    missing = 1.0 - finite.mean(axis=1)
    never, mostly = missing == 1.0, (missing > MAX_MISSING) & (missing < 1.0)
    if never.any():
        notes.append(f"{int(never.sum())} of {len(values)} ROIs left out: never finite")
    if mostly.any():
        notes.append(f"{int(mostly.sum())} of {len(values)} ROIs left out: not finite in more than half of the frames")
    keep = ~(never | mostly)
    if not keep.any():
        raise InputError("no ROI has finite values in at least half of the frames")
    return (values, neurons) if keep.all() else (values[keep], neurons.select(keep))


def _at_rate(
    values: NDArray[np.float32], clock: Clock, rate: float, kind: str, notes: list[str]
) -> tuple[NDArray[np.float32], Clock]:
    native = 1.0 / clock.period
    if rate > native * 1.01:
        raise InputError(
            f"the activity has {native:.4g} samples a second; it cannot be read at {rate:g}", remedy="Give a lower rate"
        )
    if rate >= native * 0.99:
        return values, clock
    total = kind == "events"
    values, clock = rebin(values, clock, 1.0 / rate, total=total)
    if len(clock) == 0:
        raise InputError(f"no stretch of frames is as long as one sample at {rate:g} Hz", remedy="Give a higher rate")
    notes.append(f"resampled from {native:.4g} to {rate:g} Hz: the {'sum' if total else 'mean'} of the frames in a bin")
    return values, clock
