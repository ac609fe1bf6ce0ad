"""Counting spikes in bins as they arrive, in pieces and in any order: never are all of them held at once."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from .clock import SLACK, bin_index, whole_bins
from .intervals import Intervals, merge
from .neurons.units import UNITS

#: More bins than this (three months at 30 Hz) are a mistake in the times or the width.
MAX_BINS = 2**28
#: More counts than this would take 64 GiB.
MAX_VALUES = 2**34
#: Where counting begins at 0 s and nothing says where it ends.
_ENDLESS = 2**52
#: Rows of more bytes have pages of their own, which the system takes back as soon as a row is done with.
_OWN_PAGES = 2**16


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


@dataclass(frozen=True)
class Grid:
    """Bins, bin k being ``[origin + k * width, origin + (k + 1) * width)``, and which of them are kept."""

    origin: float
    """Seconds."""
    width: float
    """Seconds."""
    n: int | None
    """How many bins there are; None: from 0 on, as many as there are spikes for."""
    kept: NDArray[np.int64]
    """(E, 2) first bin of each stretch that is kept, and the bin after its last; increasing."""

    @classmethod
    def of(cls, origin: float, width: float, n: int | None, selection: Intervals | None) -> Grid:
        """Return the grid of `n` bins, keeping those that lie in `selection` wholly; all of them if that is None.

        Intervals less than a bin apart are one, and a bin may stick out of them by `SLACK` bins.
        """
        end = _ENDLESS if n is None else n
        if selection is None:
            return cls(origin, width, n, np.array([[0, end]]))
        rows = merge(selection, gap=width)
        edges = ((rows - origin) / width).clip(-_ENDLESS, _ENDLESS)
        first, after = np.ceil(edges[:, 0] - SLACK), np.floor(edges[:, 1] + SLACK)
        kept = np.column_stack([first, after]).astype(np.int64).clip(0, end)
        return cls(origin, width, n, kept[kept[:, 1] > kept[:, 0]])

    def columns(self, bins: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return for bins in increasing or any order how many kept bins there are before each; -1 if it is not kept."""
        if len(self.kept) == 1 and self.kept[0, 0] == 0 and self.kept[0, 1] == (self.n or _ENDLESS):
            return bins
        if len(self.kept) == 0:
            return np.full(bins.shape, -1, dtype=np.int64)
        lengths = self.kept[:, 1] - self.kept[:, 0]
        before = np.cumsum(lengths) - lengths
        at = np.maximum(np.searchsorted(self.kept[:, 0], bins, side="right") - 1, 0)
        inside = (bins >= self.kept[at, 0]) & (bins < self.kept[at, 1])
        return np.where(inside, before[at] + bins - self.kept[at, 0], -1)

    def mask(self, first: int, n: int) -> NDArray[np.bool_]:
        """Return which of the `n` bins from `first` on are kept."""
        keep = np.zeros(n, dtype=bool)
        for start, stop in (self.kept - first).clip(0, n):
            keep[start:stop] = True
        return keep


class SpikeCounts:
    """Counts of N units' spikes in the bins of a `Grid`, filled by `add`.

    A unit's row reaches over the bins that it has spikes in, so that nothing has to be known beforehand of when the
    first and the last spike of all come.

    Parameters
    ----------
    n_units : int
        N.
    grid : Grid
        The bins. Of one that has no end, spikes before 0 s are not counted.
    """

    def __init__(self, n_units: int, grid: Grid) -> None:
        self.grid = grid
        self.usable = 0
        """Spike times that are finite."""
        self.unusable = 0
        """Spike times that are not."""
        self.outside = 0
        """Finite spike times before the first bin, or after the last."""
        self.first, self.last = np.inf, -np.inf
        """The earliest and the latest of the others, in seconds."""
        self._unsorted = np.zeros(n_units, dtype=bool)
        self._ends: list[list[tuple[int, float, float]]] = [[] for _ in range(n_units)]
        self._rows: list[_Row | None] = [None] * n_units
        self._low, self._high = _ENDLESS, 0
        self._whole: NDArray[np.float32] | None = None
        if grid.n is not None:
            self._low, self._high = 0, int((grid.kept[:, 1] - grid.kept[:, 0]).sum())
            self._check_size()
            self._whole = np.zeros((n_units, self._high), dtype=np.float32)
            self._rows = [_Row(0, counts) for counts in self._whole]

    def add(self, unit: int, place: int, stored: NDArray[Any]) -> None:
        """Count some spikes.

        Parameters
        ----------
        unit : int
            Whose they are.
        place : int
            Where they stand among the unit's spikes, or any other number that grows along these.
        stored : array
            Seconds.

        Raises
        ------
        InputError
            If the spikes are absurdly far apart, or the counts too many to hold.
        """
        times = stored.astype(np.float64, copy=False)
        finite = np.isfinite(times)
        if not finite.all():
            self.unusable += int((~finite).sum())
            times = times[finite]
        if len(times) == 0:
            return
        self.usable += len(times)
        self._ends[unit].append((place, float(times[0]), float(times[-1])))
        ordered = bool((times[1:] >= times[:-1]).all())
        self._unsorted[unit] |= not ordered
        grid = self.grid
        low = 0.0 if grid.n is None else grid.origin
        high = np.inf if grid.n is None else grid.origin + grid.n * grid.width
        first, last = (times[0], times[-1]) if ordered else (times.min(), times.max())
        if first < low or last >= high:
            inside = (times >= low) & (times < high)
            self.outside += int((~inside).sum())
            times = times[inside]
            if len(times) == 0:
                return
            first, last = times.min(), times.max()
        self.first, self.last = min(self.first, float(first)), max(self.last, float(last))
        if grid.n is None and self.last - self.first > 2 * MAX_BINS * grid.width:
            bins_between(self.first, self.last, grid.width)  # raises
        if self.last >= _ENDLESS * grid.width:
            bins_between(0.0, self.last, grid.width)  # raises
        columns = grid.columns(bin_index(times, grid.origin, grid.width))
        if len(grid.kept) != 1 or columns[0] < 0 or columns[-1] < 0 or not ordered:
            columns = columns[columns >= 0]
        if len(columns):
            self._count(unit, columns)

    def _count(self, unit: int, columns: NDArray[np.int64]) -> None:
        low, high = int(columns.min()), int(columns.max()) + 1
        if low < self._low or high > self._high:
            self._low, self._high = min(self._low, low), max(self._high, high)
            self._check_size()
        row = self._rows[unit]
        if row is None or low < row.first or high > row.first + len(row.counts):
            row = self._rows[unit] = _grown(row, low, high, self._low, self._high)
        np.add.at(row.counts, columns - row.first, np.float32(1))

    def _check_size(self) -> None:
        n = self._high - self._low
        if len(self._rows) * n > MAX_VALUES:
            raise InputError(
                f"{len(self._rows)} units x {n} bins are too many to hold in memory",
                where=UNITS,
                remedy="Read fewer units, a part of the recording, or wider bins",
            )

    def unsorted(self) -> int:
        """Return of how many units the spike times are not in order."""
        for unit, ends in enumerate(self._ends):
            ends.sort()
            if any(before[2] > after[1] for before, after in pairwise(ends)):
                self._unsorted[unit] = True
        return int(self._unsorted.sum())

    def counts(self, first: int, n: int) -> NDArray[np.float32]:
        """Return the counts (N, kept bins) of the `n` bins from `first` on; can be called once."""
        if self._whole is not None:
            return self._whole
        keep = self.grid.mask(first, n)
        begin = int(self.grid.columns(np.array([first + int(np.argmax(keep))]))[0])
        # on pages as small as the rows', which thus become the result's one row after the other
        result = _zeros(len(self._rows) * int(keep.sum())).reshape(len(self._rows), -1)
        for unit, row in enumerate(self._rows):
            if row is not None:
                low, high = max(row.first, begin), min(row.first + len(row.counts), begin + result.shape[1])
                if high > low:
                    result[unit, low - begin : high - begin] = row.counts[low - row.first : high - row.first]
            self._rows[unit] = row = None  # give its memory back before the next takes as much of the result's
        return result


@dataclass(frozen=True)
class _Row:
    """One unit's counts."""

    first: int
    """Column of the first."""
    counts: NDArray[np.float32]
    """One for each column; exact up to 2**24."""


def _grown(row: _Row | None, low: int, high: int, least: int, most: int) -> _Row:
    """Return a row that reaches at least from `low` to `high`, and as far as any other yet where that costs nothing.

    Memory that is not touched is not used: the row is as long as the longest from the beginning.
    """
    low, high = min(low, least), max(high, most)
    if row is not None:
        low, high = min(low, row.first), max(high, row.first + len(row.counts))
        margin = (high - low) // 4
        low, high = (max(0, low - margin) if low < row.first else low), high + margin
    counts = _zeros(high - low)
    if row is not None:
        counts[row.first - low : row.first - low + len(row.counts)] = row.counts
    return _Row(low, counts)


def _zeros(n: int) -> NDArray[np.float32]:
    size = 4 * n
    if size < _OWN_PAGES:
        return np.zeros(n, dtype=np.float32)
    # private ones where there is a choice: they take no memory by being read
    private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
    return np.frombuffer(mmap.mmap(-1, size, **private), dtype=np.float32)


def nothing_kept(width: float) -> InputError:
    """Return the error for epochs that hold no whole bin."""
    return InputError(
        f"no whole bin of {width:.4g} s lies in the chosen epochs", where=UNITS, remedy="Use narrower bins"
    )
