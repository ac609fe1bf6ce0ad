"""Sets of time intervals as arrays (E, 2) of start and stop in seconds, sorted and disjoint."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

Intervals = NDArray[np.float64]

#: Everything.
ALWAYS: Intervals = np.array([[-np.inf, np.inf]])


def merge(intervals: ArrayLike, *, gap: float = 0.0) -> Intervals:
    """Return the union of `intervals`, joined across gaps shorter than `gap`; touching ones are joined always.

    Intervals with a NaN, or that do not end after they start, are left out.
    """
    rows = np.asarray(intervals, dtype=np.float64).reshape(-1, 2)
    rows = rows[rows[:, 1] > rows[:, 0]]
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    if len(rows) == 0:
        return rows
    reach = np.maximum.accumulate(rows[:, 1])
    between = rows[1:, 0] - reach[:-1]
    new = np.concatenate([[True], (between > 0) & (between >= gap)])
    last = np.concatenate([np.flatnonzero(new)[1:] - 1, [len(rows) - 1]])
    return np.column_stack([rows[new, 0], reach[last]])


def intersect(first: Intervals, second: Intervals) -> Intervals:
    """Return what lies in both sets."""
    pieces = []
    i = j = 0
    while i < len(first) and j < len(second):
        low, high = max(first[i, 0], second[j, 0]), min(first[i, 1], second[j, 1])
        if low < high:
            pieces.append((low, high))
        if first[i, 1] < second[j, 1]:
            i += 1
        else:
            j += 1
    return np.array(pieces, dtype=np.float64).reshape(-1, 2)


def intersect_all(sets: Iterable[Intervals]) -> Intervals:
    """Return what lies in every one of `sets`; equal sets, the usual case, cost nothing."""
    result = ALWAYS
    for rows in {item.tobytes(): item for item in sets}.values():
        result = intersect(result, rows)
    return result


def length(intervals: Intervals) -> float:
    """Return the summed length in seconds."""
    return float(np.sum(intervals[:, 1] - intervals[:, 0]))


def covers(intervals: Intervals, low: ArrayLike, high: ArrayLike, *, slack: float = 0.0) -> NDArray[np.bool_]:
    """Return for each span [low, high] whether it lies wholly inside one interval, give or take `slack` seconds."""
    low, high = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
    if len(intervals) == 0:
        return np.zeros(low.shape, dtype=bool)
    at = np.searchsorted(intervals[:, 0], low + slack, side="right") - 1
    inside: NDArray[np.bool_] = (at >= 0) & (high <= intervals[np.maximum(at, 0), 1] + slack)
    return inside


def contains(intervals: Intervals, times: ArrayLike) -> NDArray[np.bool_]:
    """Return for each time whether it lies in [start, stop) of an interval."""
    times = np.asarray(times, dtype=np.float64)
    if len(intervals) == 0:
        return np.zeros(times.shape, dtype=bool)
    at = np.searchsorted(intervals[:, 0], times, side="right") - 1
    inside: NDArray[np.bool_] = (at >= 0) & (times < intervals[np.maximum(at, 0), 1])
    return inside


def covered_seconds(intervals: Intervals, low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return for each span [low, high] how many of its seconds lie inside `intervals`."""
    if len(intervals) == 0:
        return np.zeros(low.shape)
    edges = intervals.ravel()
    before = np.concatenate([[0.0], np.cumsum(intervals[:, 1] - intervals[:, 0])])
    reached = np.column_stack([before[:-1], before[1:]]).ravel()
    seconds: NDArray[np.float64] = np.interp(high, edges, reached) - np.interp(low, edges, reached)
    return seconds
