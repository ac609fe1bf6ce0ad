"""Spikes that arrive in pieces, in any order, are counted as if they had all been there."""

from __future__ import annotations

import numpy as np
import pytest

from ndx_synapsnet.errors import InputError
from ndx_synapsnet.nwb.readers import binning
from ndx_synapsnet.nwb.readers.binning import Grid, SpikeCounts
from ndx_synapsnet.nwb.readers.clock import SLACK, bin_clock
from ndx_synapsnet.nwb.readers.intervals import covers, merge


def filled(counts: SpikeCounts, spikes, *, piece: int, seed: int) -> SpikeCounts:
    """Add each unit's spikes in pieces, all of them shuffled."""
    parts = [(unit, at) for unit, times in enumerate(spikes) for at in range(0, len(times), piece)]
    for i in np.random.default_rng(seed).permutation(len(parts)):
        unit, at = parts[i]
        counts.add(unit, at, np.asarray(spikes[unit])[at : at + piece])
    return counts


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("piece", [1, 7, 1000])
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("chosen", [True, False])
def test_counts_do_not_depend_on_the_order_of_arrival(seed, piece, known, chosen, monkeypatch):
    monkeypatch.setattr(binning, "_OWN_PAGES", 64)
    rng = np.random.default_rng(seed)
    width, first, n = 0.1, 70, 180
    spikes = [np.sort(rng.uniform(7.0, 25.0 - 2 * unit, 60)).round(1 + unit) for unit in range(4)] + [np.zeros(0)]
    origin = 7.0 if known else 0.0
    selection = np.array([[8.01, 9.3], [9.35, 9.5], [11.0, 11.05], [12.0, 20.0]]) if chosen else None
    grid = Grid.of(origin, width, n if known else None, selection)
    counts = filled(SpikeCounts(5, grid), spikes, piece=piece, seed=seed)
    begin = 0 if known else first
    keep = grid.mask(begin, n)
    clock = bin_clock(origin, n, width, first=begin)
    if chosen:
        low, high = clock.spans()
        assert np.array_equal(keep, covers(merge(selection, gap=width), low, high, slack=SLACK * width))
    edges = np.append(clock.times, origin + (begin + n) * width)
    expected = np.stack([np.diff(np.searchsorted(times, edges)) for times in spikes])
    assert np.array_equal(counts.counts(begin, n), expected[:, keep])
    assert counts.usable == sum(map(len, spikes))
    assert counts.unsorted() == 0
    assert counts.outside == sum(int((times >= edges[-1]).sum()) for times in spikes) * known
    if not known:
        assert (counts.first, counts.last) == (min(t.min() for t in spikes[:4]), max(t.max() for t in spikes[:4]))


@pytest.mark.parametrize("width", [0.1, 1 / 30, 0.7])
def test_kept_bins_are_those_that_the_epochs_cover(width):
    rng = np.random.default_rng(0)
    for _ in range(50):
        edges = np.sort(rng.integers(-20, 200, 8)) * rng.choice([width, 0.05, 0.33])
        selection = edges.reshape(-1, 2)
        grid = Grid.of(0.0, width, None, selection)
        low, high = bin_clock(0.0, 400, width).spans()
        expected = covers(merge(selection, gap=width), low, high, slack=SLACK * width)
        assert np.array_equal(grid.mask(0, 400), expected)
        assert np.array_equal(grid.mask(33, 200), expected[33:233])
        columns = grid.columns(np.arange(400))
        assert columns[expected].tolist() == list(range(expected.sum()))
        assert (columns[~expected] == -1).all()
    assert Grid.of(0.0, width, None, np.array([[-np.inf, np.inf]])).mask(0, 9).all()


def test_order_is_judged_across_pieces():
    spikes = [np.arange(10.0), np.r_[np.arange(5.0), np.arange(5.0)], np.r_[3.0, np.nan, 4.0, 3.5]]
    for piece in (1, 5, 10):
        counts = filled(SpikeCounts(3, Grid.of(0.0, 1.0, None, None)), spikes, piece=piece, seed=1)
        assert counts.unsorted() == 2
        assert counts.unusable == 1
        assert counts.usable == 23
        assert counts.counts(0, 9)[1].tolist() == [2, 2, 2, 2, 2, 0, 0, 0, 0]


def test_spikes_before_the_beginning():
    endless = SpikeCounts(1, Grid.of(0.0, 1.0, None, None))
    endless.add(0, 0, np.array([-3.0, -1.0, 0.0, 1.5]))
    assert (endless.outside, endless.usable, endless.first, endless.last) == (2, 4, 0.0, 1.5)
    known = SpikeCounts(1, Grid.of(-2.0, 1.0, 3, None))
    known.add(0, 0, np.array([-3.0, -2.0, -1.0, 1.0]))
    assert known.outside == 2
    assert known.counts(0, 3).tolist() == [[1, 1, 0]]


def test_what_cannot_be_held_is_refused_before_it_is(monkeypatch):
    far = SpikeCounts(1, Grid.of(0.0, 0.1, None, None))
    far.add(0, 0, np.array([3.0]))
    with pytest.raises(InputError, match="far too many bins"):
        far.add(0, 1, np.array([1e12]))
    with pytest.raises(InputError, match="far too many bins"):
        SpikeCounts(1, Grid.of(0.0, 0.1, None, None)).add(0, 1, np.array([1e300]))
    monkeypatch.setattr(binning, "MAX_VALUES", 1000)
    many = SpikeCounts(10, Grid.of(0.0, 1.0, None, None))
    many.add(0, 0, np.array([500.0, 590.0]))
    with pytest.raises(InputError, match="10 units x 111 bins are too many"):
        many.add(1, 0, np.array([610.0]))
    with pytest.raises(InputError, match="10 units x 101 bins are too many"):
        SpikeCounts(10, Grid.of(0.0, 1.0, 101, None))
    SpikeCounts(10, Grid.of(0.0, 1.0, 101, np.array([[5.0, 50.0]])))
