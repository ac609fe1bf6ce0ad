"""The description of a file that `inspect` gives."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class SeriesInfo:
    """A ROI series."""

    path: str
    kind: str
    """``dff``, ``fluorescence``, ``events``, ``neuropil`` or ``other``."""
    unit: str
    shape: tuple[int, ...]
    """As it is stored."""
    n_samples: int | None
    n_rois: int
    n_accepted: int | None
    """ROIs left after those marked as rejected."""
    period: float | None
    """Seconds between frames."""
    default: bool
    """Whether it is read when none is named."""


@dataclass(frozen=True)
class UnitsInfo:
    """The table of sorted units."""

    path: str
    n_units: int
    n_default: int | None
    """Units left after the default quality filter."""
    n_spikes: int | None
    columns: tuple[str, ...]


@dataclass(frozen=True)
class BehaviorInfo:
    """A series that can be read as behaviour."""

    path: str
    unit: str
    shape: tuple[int, ...]
    period: float | None
    """Seconds between samples, by the first of them."""
    default: bool
    """Whether it is read when none is named."""


@dataclass(frozen=True)
class EpochsInfo:
    """A table of time intervals."""

    path: str
    n_rows: int
    columns: tuple[str, ...]
    start: float
    stop: float
    seconds: float
    """Time inside the rows."""


@dataclass(frozen=True)
class NeuronInfo:
    """What the file knows of the neurons that are read by default."""

    regions: dict[str, int]
    """Neurons in each region; an empty name where it is unknown."""
    cell_types: dict[str, int]
    has_position: bool
    """Whether there are coordinates, or masks to take them from."""
    identity_columns: tuple[str, ...]
    """Columns that may recognise a neuron in other sessions."""


@dataclass(frozen=True)
class OtherInfo:
    """Something else in the file."""

    path: str
    type: str
    shape: tuple[int, ...] | None


@dataclass(frozen=True)
class Contents:
    """What a file offers, and what is read from it by default."""

    uri: str
    format: str
    nwb_version: str
    about: dict[str, Any]
    """Identifier, session, subject and so on, as far as they are stated."""
    adapter: str | None
    """The reader that is chosen by default; None if there is nothing for any."""
    n_neurons: int | None
    """Of the default read, like the next three."""
    n_samples: int | None
    """About: gaps, and the last spike of units not looked at, may change it."""
    period: float | None
    activity_kind: str | None
    series: tuple[SeriesInfo, ...]
    units: UnitsInfo | None
    behaviors: tuple[BehaviorInfo, ...]
    epochs: tuple[EpochsInfo, ...]
    neurons: NeuronInfo | None
    other: tuple[OtherInfo, ...]
    notes: tuple[str, ...]
    """What the default read does that a person should know."""
    problems: tuple[str, ...]
    """What is wrong with the file, and why it cannot be read where it cannot."""

    @property
    def duration(self) -> float | None:
        """Seconds that the default read covers."""
        return None if self.n_samples is None or self.period is None else self.n_samples * self.period

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON: plain values, None for what is not a number."""
        record: dict[str, Any] = _finite({**asdict(self), "duration": self.duration})
        return record


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
