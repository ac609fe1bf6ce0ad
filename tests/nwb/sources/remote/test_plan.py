"""Which requests get which ranges, and what is known to be at hand."""

from __future__ import annotations

import numpy as np

from ndx_synapsnet.nwb.sources.remote.extents import Extent, Extents
from ndx_synapsnet.nwb.sources.remote.plan import GAP, LARGEST, SMALLEST, Request, plan


def nothing_cached(start: int, stop: int) -> list[tuple[int, int]]:
    return [(start, stop)]


def spans(requests: list[Request]) -> list[tuple[int, int]]:
    return [(request.start, request.stop) for request in requests]


def test_near_ranges_share_a_request_far_ones_do_not():
    ranges = [(5000, 6000), (0, 1000), (6000 + GAP, 7000 + GAP), (7001 + 2 * GAP, 7002 + 2 * GAP)]
    (first, second) = plan(ranges, nothing_cached, workers=4)
    assert (first.start, first.stop) == (0, 7000 + GAP)
    assert [(piece.number, piece.at) for piece in first.pieces] == [(1, 0), (0, 0), (2, 0)]
    assert [(piece.number, piece.start, piece.stop) for piece in second.pieces] == [(3, 7001 + 2 * GAP, 7002 + 2 * GAP)]


def test_requests_are_large_but_all_workers_have_one_first_and_last():
    sizes = [request.size for request in plan([(0, 200 << 20)], nothing_cached, workers=4)]
    assert sum(sizes) == 200 << 20
    assert sizes[:4] == [SMALLEST] * 4
    assert max(sizes) == LARGEST
    assert max(sizes[-4:]) <= 2 * SMALLEST
    assert min(sizes) >= SMALLEST // 2


def test_every_byte_of_random_ranges_is_in_exactly_one_piece():
    rng = np.random.default_rng(1)
    starts = rng.integers(0, 1 << 26, 300)
    ranges = [
        (int(a), int(a + n)) for a, n in zip(starts, rng.integers(0, 20 << 20, 300) ** 2 // (20 << 20), strict=True)
    ]
    stored = Extents()
    for a in rng.integers(0, 1 << 26, 200):
        stored.add(Extent(int(a), 1 << 18, 0))
    found: dict[int, list[tuple[int, int]]] = {}
    for request in plan(ranges, stored.gaps, workers=3):
        assert request.size <= LARGEST * 3 // 2
        for piece in request.pieces:
            assert request.start <= piece.start < piece.stop <= request.stop
            assert piece.at == piece.start - ranges[piece.number][0]
            assert not request.cached or not stored.gaps(piece.start, piece.stop)
            found.setdefault(piece.number, []).append((piece.start, piece.stop))
    for index, (start, stop) in enumerate(ranges):
        edges = sorted(found.get(index, []))
        assert [a for a, _ in edges] + [stop] == [start] + [b for _, b in edges] if edges else start == stop


def test_a_long_range_gets_only_what_the_cache_lacks():
    def gaps(start: int, stop: int) -> list[tuple[int, int]]:
        return [(2 << 20, 3 << 20)] if stop > 2 << 20 else []

    requests = plan([(0, 4 << 20), (0, 100)], gaps, workers=4)
    assert [(r.start >> 20, r.stop >> 20) for r in requests if not r.cached] == [(2, 3)]
    assert sum(piece.size for r in requests if r.cached for piece in r.pieces) == (3 << 20) + 100


def naive(extents: list[Extent]) -> np.ndarray:
    there = np.zeros(1000, bool)
    for extent in extents:
        there[extent.start : extent.stop] = True
    return there


def test_extents_agree_with_a_mask():
    rng = np.random.default_rng(0)
    for _ in range(30):
        extents, added = Extents(), []
        for _ in range(40):
            start = int(rng.integers(0, 980))
            added.append(Extent(start, int(rng.integers(1, min(80, 1000 - start))), int(rng.integers(9))))
            extents.add(added[-1])
            a, b = sorted(int(x) for x in rng.integers(0, 1000, 2))
            there = naive(added)
            missing = ~there
            for first, last in extents.gaps(a, b):
                assert a <= first < last <= b
                assert missing[first:last].all()
                missing[first:last] = False
            assert not missing[a:b].any()
            covered = extents.cover(a, b)
            assert (covered is not None) == there[a:b].all()
            if covered:
                assert naive(covered)[a:b].all()


def test_an_extent_stored_again_takes_the_place_of_the_old_one():
    extents = Extents()
    extents.add(Extent(0, 10, 1))
    extents.add(Extent(0, 10, 2))
    assert extents.cover(0, 10) == [Extent(0, 10, 2)]
    extents.remove(Extent(0, 10, 1))  # the old one is not there to be removed
    assert extents.cover(0, 10) is not None
    extents.remove(Extent(0, 10, 2))
    assert extents.gaps(0, 10) == [(0, 10)]
