"""Which requests get a set of ranges: near ones together, large ones split, all workers busy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from .options import MIB

#: Bytes between two ranges that are fetched along rather than by a request of their own.
GAP = 1 << 16
SMALLEST, LARGEST = MIB, 4 * MIB

Gaps = Callable[[int, int], "list[tuple[int, int]]"]


class Piece(NamedTuple):  # there may be tens of thousands: a tuple is made and compared quickly
    """A part of a range, or all of it."""

    start: int
    """Where in the object it begins."""
    stop: int
    number: int
    """Of the range that it is part of."""
    at: int
    """Where in the range it begins."""

    @property
    def size(self) -> int:
        """Bytes."""
        return self.stop - self.start


@dataclass(frozen=True)
class Request:
    """A stretch of the object that is got at once, and what of it is wanted."""

    start: int
    stop: int
    pieces: tuple[Piece, ...]
    cached: bool
    """Whether it is in the cache."""

    @property
    def size(self) -> int:
        """Bytes."""
        return self.stop - self.start


def plan(ranges: Sequence[tuple[int, int]], gaps: Gaps, workers: int) -> list[Request]:
    """Return the requests that get `ranges`, by their place in the object.

    Parameters
    ----------
    ranges : sequence of (start, stop)
        What is wanted, in any order; they may overlap. Empty ones are passed over.
    gaps : callable
        Returns the stretches of a range that the cache lacks.
    workers : int
        Requests that run at once.
    """
    near: list[Piece] = []
    far: list[Piece] = []
    for index, (start, stop) in enumerate(ranges):
        missing = gaps(start, stop) if start < stop else []
        if missing and stop - start <= SMALLEST:
            missing = [(start, stop)]  # one request is cheaper than several for what is missing of little
        position = start
        for first, last in [*missing, (stop, stop)]:
            if position < first:
                near.append(Piece(position, first, index, position - start))
            if first < last:
                far.append(Piece(first, last, index, first - start))
            position = last
    requests = _joined(near, workers, cached=True) + _joined(far, workers, cached=False)
    return sorted(requests, key=lambda request: request.start)


def _joined(pieces: list[Piece], workers: int, *, cached: bool) -> list[Request]:
    """Return requests for `pieces`, small ones first and last, large ones between.

    Small at first, so that all workers, and what decodes, have something at once; at last, so that all end together.
    """
    remaining = sum(piece.size for piece in pieces)
    gap = 0 if cached else GAP
    requests: list[Request] = []
    gathered: list[Piece] = []
    start = stop = 0

    def limit() -> int:
        rising = SMALLEST * (1 + len(requests) // workers)
        return max(SMALLEST, min(LARGEST, rising, remaining // (2 * workers)))

    def flush() -> None:
        nonlocal remaining, gathered
        if gathered:
            requests.append(Request(start, stop, tuple(gathered), cached))
            remaining -= sum(piece.size for piece in gathered)
            gathered = []

    following = list(pieces)
    heapify(following)
    while following:
        piece = heappop(following)
        if gathered and (piece.start - stop > gap or max(stop, piece.stop) - start > limit()):
            flush()
        if piece.size > limit() * 3 // 2:
            cut = piece.start + limit()
            heappush(following, Piece(cut, piece.stop, piece.number, piece.at + limit()))
            piece = Piece(piece.start, cut, piece.number, piece.at)
        if not gathered:
            start, stop = piece.start, piece.stop
        stop = max(stop, piece.stop)
        gathered.append(piece)
    flush()
    return requests
