"""What to read from a file, and how."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class ReadConfig:
    """Choices on reading a recording; the defaults suit most files.

    Settings that take several values also take one, as a plain text.
    """

    adapter: Literal["auto", "calcium", "spikes"] = "auto"
    """``calcium`` reads ROI series, ``spikes`` bins the units; ``auto`` takes what the file has, and where it has both
    the one with more neurons."""
    series: tuple[str, ...] = ()
    """ROI series to read, by name or path; several are planes of one population. None given: see `calcium`."""
    bin_width: float = 1 / 30
    """Width of a spike-count bin in seconds."""
    rate: float | None = None
    """Samples per second to resample to. Spikes are counted in bins of 1/rate (and `bin_width` is not used); frames
    are put together in bins of that width: the mean of fluorescence and dF/F, the sum of events."""
    units_query: str | None = None
    """Condition on the columns of the units (or ROI) table, in pandas' query language. A column of the electrode that
    a unit was recorded on is called ``electrode_`` and its name: ``electrode_location != ''``."""
    quality_filter: bool = True
    """Whether to leave out units below the usual quality limits, and ROIs that are marked as rejected: of units, those
    without the IBL's full score where the file has it, else those outside the Allen Institute's limits."""
    regions: tuple[str, ...] = ()
    """Brain regions to keep, as the file names them; upper and lower case count as equal."""
    identity_column: str | None = None
    """Column of the units or ROI table that recognises a neuron in other sessions, such as ``cell_specimen_id``."""
    extra_columns: tuple[str, ...] = ()
    """Further columns of the units or ROI table to carry along with the neurons."""
    behavior: tuple[str, ...] = ("auto",)
    """Behaviours by name or path of their series; ``auto`` stands for those found in the usual places, ``none`` for
    none at all."""
    max_hold: float = 1.0
    """Seconds for which the last measured value of a behaviour stands in for missing ones."""
    stimulus: tuple[str, ...] = ()
    """Stimulus covariates as ``table.column`` of an intervals table: one row per value of the column."""
    epoch: str | None = None
    """Name or path of an intervals table: only samples inside its rows are read."""
    epoch_query: str | None = None
    """Condition on the columns of the intervals table, in pandas' query language. Without `epoch`, it is asked of
    every intervals table that has the columns."""
    start: float | None = None
    """Read from this time on, in seconds of the file's clock."""
    stop: float | None = None
    """Read up to this time, exclusive."""
    respect_invalid_times: bool = True
    """Whether samples in the file's ``invalid_times`` are marked as not valid."""

    def __post_init__(self) -> None:
        if self.adapter not in ("auto", "calcium", "spikes"):
            raise ValueError(f"adapter is {self.adapter!r}, expected auto, calcium or spikes")
        for name in ("series", "regions", "extra_columns", "behavior", "stimulus"):
            object.__setattr__(self, name, _texts(name, getattr(self, name)))
        if "none" in self.behavior:
            if len(self.behavior) > 1:
                raise ValueError("behavior is 'none' and something else at once")
            object.__setattr__(self, "behavior", ())
        for name in ("units_query", "identity_column", "epoch", "epoch_query"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, str) and value.strip()):
                raise ValueError(f"{name} is {value!r}, expected a text")
        for name in ("quality_filter", "respect_invalid_times"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} is {getattr(self, name)!r}, expected true or false")
        _require_number("bin_width", self.bin_width, above=0.0)
        _require_number("max_hold", self.max_hold, least=0.0)
        if self.rate is not None:
            _require_number("rate", self.rate, above=0.0)
        for name in ("start", "stop"):
            if getattr(self, name) is not None:
                _require_number(name, getattr(self, name))
        if self.start is not None and self.stop is not None and self.start >= self.stop:
            raise ValueError(f"start is {self.start:g} and stop {self.stop:g}: nothing lies between")
        for name in self.stimulus:
            if "." not in name.strip("."):
                raise ValueError(f"stimulus is {name!r}, expected table.column")

    @property
    def width(self) -> float:
        """Width in seconds of a spike-count bin, from `rate` where it is given."""
        return self.bin_width if self.rate is None else 1.0 / self.rate


def _texts(name: str, value: Any) -> tuple[str, ...]:
    """Return one text or several as a tuple."""
    values = (value,) if isinstance(value, str) else value or ()
    if not isinstance(values, (list, tuple)) or not all(isinstance(item, str) and item.strip() for item in values):
        raise ValueError(f"{name} is {value!r}, expected texts")
    return tuple(dict.fromkeys(item.strip() for item in values))


def _require_number(name: str, value: Any, *, above: float = -math.inf, least: float = -math.inf) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{name} is {value!r}, expected a number")
    if value <= above or value < least:
        raise ValueError(f"{name} is {value!r}, expected {'more than 0' if above == 0.0 else 'at least 0'}")
