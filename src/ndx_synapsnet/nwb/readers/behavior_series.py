"""Which series of a file are behaviour.

Found by default are numeric series of at most `MAX_COLUMNS` columns that are

- in a Position, CompassDirection, BehavioralTimeSeries or PupilTracking container,
- or a plain TimeSeries or SpatialSeries in a processing module called behavior or running,
- or called by a usual name (running speed, treadmill velocity, pupil area) anywhere in acquisition or processing,
- or the area of a pupil that the Allen Institute's eye tracking fits an ellipse to,

and are neither raw signals of the rig nor voltages. Where a series is there as measured and smoothed, the smoothed one
is left out, for its smoothing looked ahead.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
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
    r"(^|[_/ ])raw|unfiltered|voltage|rotation|command|timestamps?$|end_?times?$|template|blink|/dx$", re.I
)
_SMOOTHED = re.compile(r"smooth(ed)?", re.I)
#: Words that make two names of one measurement differ.
_TREATMENT = re.compile(r"smooth(ed)?|raw|_", re.I)
_VOLTAGE = re.compile(r"^(m|u|micro|milli)?v(olts?)?$", re.I)
_DIRECTION = re.compile(r"direction|heading|yaw|azimuth", re.I)


@dataclass(frozen=True)
class Part:
    """A dataset that a series of an extension has beside its data, looked at as a series of its own."""

    series: TimeSeries
    """What it is part of."""
    part: str
    """The attribute that holds it, such as ``area``."""
    conversion: None = None
    offset: None = None

    @property
    def data(self) -> Any:
        """The dataset."""
        return getattr(self.series, self.part)

    @property
    def unit(self) -> str:
        """Nothing: the extension does not say."""
        return ""

    def __getattr__(self, name: str) -> Any:  # timestamps, object_id, parent and so on are the series'
        return getattr(self.series, name)


@dataclass(frozen=True)
class Candidate:
    """A series that can be read as behaviour."""

    entry: Entry
    """The series."""
    name: str
    """What it is called when read."""
    n_columns: int
    """1, or the length of its second axis."""
    axes: tuple[str, ...]
    """What its columns are called."""
    direction: bool
    """Whether it is a direction, so that its values may be angles."""
    default: bool
    """Whether it is read when nobody says what to read."""
    ends: TimeSeries | None = None
    """Series whose timestamps say when each measurement was over, where its own say when it began."""


def candidates(entries: list[Entry]) -> list[Candidate]:
    """Return all series of a file that can be read as behaviour, in the file's order."""
    found = []
    series = of_type(entries, TimeSeries)
    by_path = {entry.path: entry.object for entry in series}
    for entry in series:
        if isinstance(entry.object, _NEVER):
            continue
        found += _ellipse_area(entry)
        shape = np.shape(entry.object.data)
        kind = getattr(getattr(entry.object.data, "dtype", None), "kind", "f")
        if len(shape) not in (1, 2) or min(shape) == 0 or kind not in "biuf":
            continue
        n_columns = 1 if len(shape) == 1 else shape[1]
        axes = ("x", "y", "z") if isinstance(entry.object, SpatialSeries) else ("0", "1", "2")
        direction = isinstance(entry.object.parent, CompassDirection) or _DIRECTION.search(entry.name) is not None
        default = n_columns <= MAX_COLUMNS and _is_default(entry)
        ends = by_path.get(f"{entry.path}_end_times")
        ends = ends if ends is not None and np.shape(ends.data)[:1] == shape[:1] else None
        found.append(Candidate(entry, entry.name, n_columns, axes[:n_columns], direction, default, ends))
    return _without_smoothed(found)


def _ellipse_area(entry: Entry) -> list[Candidate]:
    """Return the area of the ellipses that an eye tracking series of the Allen Institute holds; none of others."""
    area, data = getattr(entry.object, "area", None), entry.object.data
    if area is None or len(np.shape(area)) != 1 or np.shape(area)[0] not in np.shape(data)[:1]:
        return []
    name = f"{entry.name}_area"
    default = _USUAL_NAME.search(name) is not None and not _RIG_SIGNAL.search(entry.path)
    return [Candidate(Entry(f"{entry.path}/area", Part(entry.object, "area")), name, 1, ("0",), False, default)]


def _without_smoothed(found: list[Candidate]) -> list[Candidate]:
    """Return the candidates, no longer as default those that are another one of them smoothed."""

    def measured(candidate: Candidate) -> str:
        folder, name = candidate.entry.path.rsplit("/", 1)
        return f"{folder}/{_TREATMENT.sub('', name).lower()}"

    plain = {measured(c) for c in found if c.default and not _SMOOTHED.search(c.entry.name)}
    twins = [bool(_SMOOTHED.search(c.entry.name)) and measured(c) in plain for c in found]
    return [replace(c, default=c.default and not twin) for c, twin in zip(found, twins, strict=True)]


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
