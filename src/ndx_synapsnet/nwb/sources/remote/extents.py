"""Which stretches of an object are at hand."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass


@dataclass(frozen=True)
class Extent:
    """Bytes that were stored together, with what tells whether they are still the same."""

    start: int
    length: int
    crc: int

    @property
    def stop(self) -> int:
        """Where it ends."""
        return self.start + self.length


class Extents:
    """A set of extents, none of which lies within another: by start, they are also sorted by stop."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._extents: list[Extent] = []

    def add(self, new: Extent) -> None:
        """Add an extent; it takes the place of those that it covers, and of none if another one covers it."""
        before = bisect_right(self._starts, new.start) - 1
        if before >= 0 and self._extents[before].stop >= new.stop:
            if self._extents[before].start == new.start and self._extents[before].stop == new.stop:
                self._extents[before] = new  # stored again: what counts is what was written last
            return
        first = last = bisect_left(self._starts, new.start)
        while last < len(self._extents) and self._extents[last].stop <= new.stop:
            last += 1
        self._extents[first:last] = [new]
        self._starts[first:last] = [new.start]

    def remove(self, extent: Extent) -> None:
        """Take an extent out, if it is still there."""
        at = bisect_left(self._starts, extent.start)
        if at < len(self._extents) and self._extents[at] == extent:
            del self._extents[at], self._starts[at]

    def cover(self, start: int, stop: int) -> list[Extent] | None:
        """Return extents that together hold ``[start, stop)``, in order; None if a byte is missing."""
        chosen: list[Extent] = []
        while start < stop:
            at = bisect_right(self._starts, start) - 1  # of those that begin before, it reaches farthest
            if at < 0 or self._extents[at].stop <= start:
                return None
            chosen.append(self._extents[at])
            start = self._extents[at].stop
        return chosen

    def gaps(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Return the stretches of ``[start, stop)`` that no extent holds, in order."""
        missing: list[tuple[int, int]] = []
        while start < stop:
            at = bisect_right(self._starts, start) - 1
            if at >= 0 and self._extents[at].stop > start:
                start = self._extents[at].stop
                continue
            begins = self._starts[at + 1] if at + 1 < len(self._starts) else stop
            missing.append((start, min(begins, stop)))
            start = begins
        return missing
