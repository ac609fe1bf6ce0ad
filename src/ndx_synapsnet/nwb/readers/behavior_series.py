"""Which series of a file are behaviour.

Found by default are numeric series of at most `MAX_COLUMNS` columns that are

- in a Position, CompassDirection, BehavioralTimeSeries or PupilTracking container,
- or a plain TimeSeries or SpatialSeries in a processing module called behavior or running,
- or called by a usual name (running speed, treadmill velocity, pupil area) anywhere in acquisition or processing,

and are neither raw signals of the rig nor voltages.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pynwb import TimeSeries
from pynwb.behavior import (
    BehavioralEvents,
    BehavioralTimeSeries,
    CompassDirection,
    Position,
    PupilTracking,
    SpatialSeries,
)
from pynwb.ecephys import ElectricalSeries
from pynwb.icephys import PatchClampSeries
from pynwb.image import ImageSeries, IndexSeries
from pynwb.misc import AbstractFeatureSeries, AnnotationSeries, DecompositionSeries, IntervalSeries
from pynwb.ogen import OptogeneticSeries
from pynwb.ophys import RoiResponseSeries

from .catalog import Entry, of_type

MAX_COLUMNS = 3

_NEVER = (
    AbstractFeatureSeries, AnnotationSeries, DecompositionSeries, ElectricalSeries, ImageSeries, IndexSeries,
    IntervalSeries, OptogeneticSeries, PatchClampSeries, RoiResponseSeries,
)  # fmt: skip
_CONTAINERS = (BehavioralTimeSeries, CompassDirection, Position, PupilTracking)
_MODULE = re.compile(r"^/processing/(behaviou?r|running)/", re.I)
_USUAL_NAME = re.compile(
    r"^(speed|velocity)$|(run|treadmill|wheel|locomotion|ball).*(speed|velocity)|pupil.*(area|size|diameter|radius)",
    re.I,
)
_RIG_SIGNAL = re.compile(
    r"(^|[_/ ])raw|unfiltered|voltage|rotation|command|timestamps?$|end_?times?$|template|blink", re.I
)
_VOLTAGE = re.compile(r"^(m|u|micro|milli)?v(olts?)?$", re.I)
_DIRECTION = re.compile(r"direction|heading|yaw|azimuth", re.I)


@dataclass(frozen=True)
class Candidate:
    """A series that can be read as behaviour."""

    entry: Entry
    """The series."""
    n_columns: int
    """1, or the length of its second axis."""
    axes: tuple[str, ...]
    """What its columns are called."""
    direction: bool
    """Whether it is a direction, so that its values may be angles."""
    default: bool
    """Whether it is read when nobody says what to read."""


def candidates(entries: list[Entry]) -> list[Candidate]:
    """Return all series of a file that can be read as behaviour, in the file's order."""
    found = []
    for entry in of_type(entries, TimeSeries):
        shape = np.shape(entry.object.data)
        kind = getattr(getattr(entry.object.data, "dtype", None), "kind", "f")
        if isinstance(entry.object, _NEVER) or len(shape) not in (1, 2) or min(shape) == 0 or kind not in "biuf":
            continue
        n_columns = 1 if len(shape) == 1 else shape[1]
        axes = ("x", "y", "z") if isinstance(entry.object, SpatialSeries) else ("0", "1", "2")
        direction = isinstance(entry.object.parent, CompassDirection) or _DIRECTION.search(entry.name) is not None
        default = n_columns <= MAX_COLUMNS and _is_default(entry)
        found.append(Candidate(entry, n_columns, axes[:n_columns], direction, default))
    return found


def _is_default(entry: Entry) -> bool:
    series = entry.object
    if not entry.path.startswith(("/acquisition/", "/processing/")) or isinstance(series.parent, BehavioralEvents):
        return False
    if _RIG_SIGNAL.search(entry.path) or _VOLTAGE.match(str(series.unit or "").strip()):
        return False
    plain = type(series) in (TimeSeries, SpatialSeries)
    in_place = isinstance(series.parent, _CONTAINERS) or (plain and _MODULE.match(entry.path) is not None)
    return in_place or (plain and _USUAL_NAME.search(entry.name) is not None)


def angle_unit(series: Any, values: NDArray[np.float64]) -> Literal["radians", "degrees"] | None:
    """Return the unit of a direction's `values`: what is stated, else, in a CompassDirection, what their range allows.

    None means that they are no angles.
    """
    stated = str(series.unit or "").strip().lower()
    if stated.startswith("rad"):
        return "radians"
    if stated.startswith(("deg", "°")):
        return "degrees"
    finite = values[np.isfinite(values)]
    if len(finite) == 0 or not isinstance(series.parent, CompassDirection):
        return None
    reach = float(np.abs(finite).max())
    return "radians" if reach <= 2.1 * np.pi else "degrees" if reach <= 361 else None
