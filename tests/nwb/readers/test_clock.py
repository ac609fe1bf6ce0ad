"""Bins and frames to the edge, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ndx_synapsnet.errors import InputError
from ndx_synapsnet.nwb.readers.activity import rebin
from ndx_synapsnet.nwb.readers.clock import Clock, bin_clock, bin_index, frame_clock, whole_bins


def test_a_time_at_an_edge_belongs_to_the_bin_it_begins():
    edges = 0.5 + np.arange(5) * 0.25
    assert bin_index(edges, 0.5, 0.25).tolist() == [0, 1, 2, 3, 4]
    assert bin_index(np.nextafter(edges, -np.inf), 0.5, 0.25).tolist() == [-1, 0, 1, 2, 3]
    assert bin_index(np.array([0.0, 0.49, 10.0]), 0.5, 0.25).tolist() == [-2, -1, 38]


@pytest.mark.parametrize(("start", "width"), [(0.0, 1 / 30), (59.0457, 1 / 30), (1e6 + 0.1, 0.1), (-3.7, 0.007)])
def test_bin_index_agrees_with_searching_the_edges_themselves(start, width):
    edges = start + np.arange(5001) * width
    rng = np.random.default_rng(0)
    times = np.concatenate(
        [edges, np.nextafter(edges, -np.inf), np.nextafter(edges, np.inf), rng.uniform(start, edges[-1], 5000)]
    )
    times = times[(times >= start) & (times < edges[-1])]
    assert np.array_equal(bin_index(times, start, width), np.searchsorted(edges, times, side="right") - 1)


@pytest.mark.parametrize(("seconds", "width", "expected"), [(0.3, 0.1, 3), (0.29, 0.1, 2), (3600.0, 1 / 30, 108000)])
def test_only_whole_bins_are_counted(seconds, width, expected):
    assert whole_bins(seconds, width) == expected


def test_a_bin_sees_its_own_time_and_not_its_end():
    clock = bin_clock(1.0, 3, 0.5)
    assert clock.times.tolist() == [1.0, 1.5, 2.0]
    assert clock.place([0.99, 1.0, 1.49, 1.5, 2.0, 2.49, 2.5]).tolist() == [-1, 0, 0, 1, 2, 2, -1]


def test_a_frame_sees_the_time_since_the_one_before_and_not_beyond_a_gap():
    clock, kept, notes = frame_clock(np.array([1.0, 2.0, 3.0, 7.0, 8.0]), where="x")
    assert clock.segment.tolist() == [0, 0, 0, 1, 1]
    assert clock.period == 1.0
    assert kept.tolist() == [0, 1, 2, 3, 4]
    assert "1 gaps" in notes[0]
    low, high = clock.spans()
    assert low.tolist() == [0.0, 1.0, 2.0, 5.5, 7.0]
    assert high.tolist() == [1.0, 2.0, 3.0, 7.0, 8.0]
    assert clock.place([0.0, 0.1, 1.0, 1.01, 5.0, 5.6, 7.0, 8.01]).tolist() == [-1, 0, 0, 1, -1, 3, 3, -1]


def test_frames_without_a_time_or_at_the_same_time_are_left_out():
    clock, kept, notes = frame_clock(np.array([0.0, 1.0, np.nan, 2.0, 2.0, 3.0]), where="x")
    assert kept.tolist() == [0, 1, 3, 5]
    assert clock.times.tolist() == [0.0, 1.0, 2.0, 3.0]
    assert [note.split(" ")[0] for note in notes] == ["1", "1"]


def test_a_timestamp_that_goes_backward_is_named():
    with pytest.raises(InputError, match=r"/a/b: timestamps go backward at frame 2: 1\.000000 s is followed by 0\.5"):
        frame_clock(np.array([0.0, 1.0, 0.5, 2.0]), where="/a/b")


def test_one_frame_is_no_clock():
    with pytest.raises(InputError, match="1 frames with a timestamp are too few"):
        frame_clock(np.array([0.0, np.nan]), where="x")


def test_selecting_begins_a_segment_at_each_cut_and_keeps_the_gaps():
    clock = Clock(np.arange(8.0), 1.0, np.array([0, 0, 0, 0, 1, 1, 1, 1], dtype=np.int32), True)
    kept = clock.select(np.array([1, 1, 0, 1, 1, 1, 0, 1], dtype=bool))
    assert kept.times.tolist() == [0, 1, 3, 4, 5, 7]
    assert kept.segment.tolist() == [0, 0, 1, 2, 2, 3]
    assert kept.segment.dtype == np.int32


def test_frames_are_put_together_in_bins_by_mean_or_sum():
    clock, _, _ = frame_clock(np.array([0.0, 0.1, 0.2, 0.3, 0.4, 10.0, 10.1, 10.2]), where="x")
    values = np.array([[1, 3, 5, 7, 100, 2, 4, 100]], dtype=np.float32)
    mean, bins = rebin(values, clock, 0.2, total=False)
    # the fifth frame and the eighth do not fill a bin
    assert mean.tolist() == [[2.0, 6.0, 3.0]]
    assert mean.dtype == np.float32
    assert np.allclose(bins.times, [0.0, 0.2, 10.0])
    assert bins.segment.tolist() == [0, 0, 1]
    assert bins.period == 0.2
    assert bins.binned
    total, _ = rebin(values, clock, 0.2, total=True)
    assert np.allclose(total, [[4.0, 12.0, 6.0]])


def test_the_sum_of_a_steady_trace_is_steady_where_bins_hold_different_numbers_of_frames():
    clock, _, _ = frame_clock(np.arange(100) / 10, where="x")
    total, _ = rebin(np.ones((1, 100), dtype=np.float32), clock, 0.25, total=True)
    assert np.allclose(total, 2.5)


def test_a_bin_with_a_frame_that_is_not_finite_is_not_finite():
    clock, _, _ = frame_clock(np.arange(6) / 10, where="x")
    mean, _ = rebin(np.array([[1, np.nan, 1, 1, 1, np.inf]], dtype=np.float32), clock, 0.2, total=False)
    assert np.isfinite(mean).tolist() == [[False, True, False]]
