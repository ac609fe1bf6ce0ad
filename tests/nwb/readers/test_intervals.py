"""Sets of intervals, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ndx_synapsnet.nwb.readers.intervals import (
    ALWAYS,
    contains,
    covered_seconds,
    covers,
    intersect,
    intersect_all,
    length,
    merge,
)


def array(*rows):
    return np.array(rows, dtype=float).reshape(-1, 2)


@pytest.mark.parametrize(
    ("rows", "gap", "expected"),
    [
        ([(0, 1), (1, 2)], 0.0, [[0, 2]]),
        ([(0, 1), (1.5, 2)], 0.0, [[0, 1], [1.5, 2]]),
        ([(0, 1), (1.5, 2)], 0.6, [[0, 2]]),
        ([(0, 1), (1.5, 2)], 0.5, [[0, 1], [1.5, 2]]),
        ([(5, 6), (0, 4), (1, 2)], 0.0, [[0, 4], [5, 6]]),
        ([(2, 1), (np.nan, 3), (1, np.nan), (1, 1)], 0.0, []),
        ([], 0.0, []),
    ],
)
def test_merge(rows, gap, expected):
    assert merge(array(*rows), gap=gap).tolist() == expected


def test_intersect():
    first, second = array((0, 4), (6, 8)), array((1, 2), (3, 7), (9, 10))
    assert intersect(first, second).tolist() == [[1, 2], [3, 4], [6, 7]]
    assert intersect(second, first).tolist() == [[1, 2], [3, 4], [6, 7]]
    assert intersect_all([first, first, second]).tolist() == [[1, 2], [3, 4], [6, 7]]
    assert intersect_all([]) is ALWAYS
    assert length(first) == 6.0


def test_covers_and_contains_end_before_the_stop():
    intervals = array((0, 1), (2, 3))
    assert covers(intervals, [0.0, 0.5, 0.9, 2.0], [0.5, 1.0, 1.1, 3.0]).tolist() == [True, True, False, True]
    assert contains(intervals, [-0.1, 0.0, 0.99, 1.0, 2.0, 3.0]).tolist() == [False, True, True, False, True, False]
    assert covers(array(), [0.0], [1.0]).tolist() == [False]
    assert contains(array(), [0.0]).tolist() == [False]


def test_covered_seconds():
    intervals = array((1, 2), (3, 5))
    low, high = np.array([0.0, 1.5, 2.0, 0.0, 4.0]), np.array([1.0, 3.5, 3.0, 9.0, 4.5])
    assert covered_seconds(intervals, low, high).tolist() == [0.0, 1.0, 0.0, 3.0, 0.5]
    assert covered_seconds(array(), low, high).tolist() == [0.0] * 5
