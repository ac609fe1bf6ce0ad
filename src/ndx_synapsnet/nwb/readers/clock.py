"""The one clock of a session: when its samples are, what each has seen by its end, and where it breaks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import InputError
from ..sources.bulk import values

#: Two samples further apart than this many periods have a gap between them.
GAP = 1.5
#: Rounding allowed for, in samples: times are sums and products of floats.
SLACK = 1e-6


@dataclass(frozen=True)
class Clock:
    """T samples in time.

    A bin sees ``[time, time + period)``; a frame sees ``(time of the frame before, time]``, but no further back than
    `GAP` periods.
    """

    times: NDArray[np.float64]
    """(T,) seconds, strictly increasing: left edges of bins, or timestamps of frames."""
    period: float
    """Seconds between samples."""
    segment: NDArray[np.int32]
    """(T,) number of the gapless stretch."""
    binned: bool
    """Whether the samples are bins; frames otherwise."""

    def __len__(self) -> int:
        return len(self.times)

    def spans(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return start and end (T,) of what each sample sees."""
        low: NDArray[np.float64]
        if self.binned:
            low, high = self.times, self.times + self.period
            if len(self) > 1:  # one edge, not two that differ by rounding
                touch = np.abs(high[:-1] - low[1:]) < SLACK * self.period
                high[:-1][touch] = low[1:][touch]
            return low, high
        low = self.times - self.period
        low[1:] = np.maximum(self.times[:-1], self.times[1:] - GAP * self.period)
        return low, self.times

    def place(self, times: ArrayLike) -> NDArray[np.int64]:
        """Return for each time the sample that sees it, -1 where none does."""
        times = np.asarray(times, dtype=np.float64)
        if len(self) == 0:
            return np.full(times.shape, -1, dtype=np.int64)
        low, high = self.spans()
        if self.binned:
            at = np.searchsorted(low, times, side="right") - 1
            seen = (at >= 0) & (times < high[np.maximum(at, 0)])
        else:
            at = np.searchsorted(high, times, side="left")
            at = np.where(at == len(self), -1, at)
            seen = (at >= 0) & (times > low[np.maximum(at, 0)])
        return np.where(seen, at, -1).astype(np.int64)

    def select(self, keep: NDArray[np.bool_]) -> Clock:
        """Return the clock of the samples in the mask `keep` (T,), with a new segment after each cut."""
        at = np.flatnonzero(keep)
        breaks = (np.diff(at) > 1) | (np.diff(self.segment[at]) != 0)
        return Clock(self.times[at], self.period, _numbered(breaks, len(at)), self.binned)


def _numbered(breaks: NDArray[np.bool_], n: int) -> NDArray[np.int32]:
    segment = np.zeros(n, dtype=np.int32)
    segment[1:] = np.cumsum(breaks)
    return segment


def bin_clock(start: float, n: int, width: float, *, first: int = 0) -> Clock:
    """Return the `n` bins from number `first` on: bin k is ``[start + k * width, start + (k + 1) * width)``."""
    times = np.asarray(start + np.arange(first, first + n) * width, dtype=np.float64)
    return Clock(times, width, np.zeros(n, dtype=np.int32), True)


def bin_index(times: NDArray[np.float64], start: float, width: float) -> NDArray[np.int64]:
    """Return the number k of the bin ``[start + k * width, start + (k + 1) * width)`` that each time is in.

    Exact to the edge: the edges are those very products, and a time equal to one belongs to the bin it begins.
    """
    k = np.floor((times - start) / width)
    k -= times < start + k * width
    k += times >= start + (k + 1) * width
    return k.astype(np.int64)


def whole_bins(seconds: float, width: float) -> int:
    """Return how many whole bins fit, allowing for rounding."""
    return int(np.floor(seconds / width + SLACK))


def frame_clock(times: NDArray[np.float64], *, where: str) -> tuple[Clock, NDArray[np.int64], list[str]]:
    """Return the clock of frames with the given timestamps.

    Frames without a finite timestamp, and repeats of the timestamp before, are left out.

    Returns
    -------
    clock : Clock
        Of the frames that are kept.
    kept : array
        Places of those frames.
    notes : list of str
        What was done.

    Raises
    ------
    InputError
        If a timestamp is earlier than the one before, or fewer than two are left.
    """
    notes = []
    kept = np.flatnonzero(np.isfinite(times))
    if len(kept) < len(times):
        notes.append(f"{len(times) - len(kept)} frames without a timestamp left out of {where}")
    steps = np.diff(times[kept])
    if (steps < 0).any():
        at = int(np.argmax(steps < 0))
        raise InputError(
            f"timestamps go backward at frame {kept[at + 1]}: {times[kept[at]]:.6f} s is followed by "
            f"{times[kept[at + 1]]:.6f} s",
            where=where,
            remedy="Sort out the timestamps in the file",
        )
    if (steps == 0).any():
        repeats = np.concatenate([[False], steps == 0])
        notes.append(f"{int(repeats.sum())} frames that repeat the timestamp before them left out of {where}")
        kept = kept[~repeats]
    if len(kept) < 2:
        raise InputError(f"{len(kept)} frames with a timestamp are too few", where=where)
    times = times[kept]
    steps = np.diff(times)
    period = float(np.median(steps))
    clock = Clock(times, period, _numbered(steps > GAP * period, len(times)), False)
    gaps = int(clock.segment[-1])
    if gaps:
        notes.append(f"{gaps} gaps in the timestamps of {where}, the longest {steps.max():.3g} s; windows stop at them")
    return clock, kept, notes


def series_times(series: Any, n: int, *, where: str) -> tuple[NDArray[np.float64], list[str]]:
    """Return the times of a TimeSeries with `n` samples.

    Returns
    -------
    times : array
        Seconds on the file's clock, one for each of the first samples; a last one may be without.
    notes : list of str
        What was done.

    Raises
    ------
    InputError
        If there are neither timestamps nor a usable rate, or their number differs from the data's by more than one
        sample and more than 0.1 %.
    """
    if series.timestamps is None:
        rate = series.rate
        start = 0.0 if series.starting_time is None else float(series.starting_time)
        if rate is None or not np.isfinite(rate) or rate <= 0 or not np.isfinite(start):
            raise InputError(f"there are no timestamps, and rate {rate} from {start} s is none", where=where)
        return start + np.arange(n) / float(rate), []
    times = values(series.timestamps).astype(np.float64, copy=False)
    if len(times) == n:
        return times, []
    if abs(len(times) - n) > max(1, n // 1000):
        raise InputError(
            f"there are {len(times)} timestamps for {n} samples", where=where, remedy="Correct the file's timestamps"
        )
    short = min(len(times), n)
    return times[:short], [f"{where} has {len(times)} timestamps for {n} samples; the longer one was cut"]
