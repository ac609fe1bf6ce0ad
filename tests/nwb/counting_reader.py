"""A `RangeReader` over bytes in memory that counts what it is asked for, and answers out of order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import h5py
import numpy as np

from ndx_synapsnet.nwb.sources.remote.blockfile import BlockFile
from ndx_synapsnet.nwb.sources.remote.location import Located


class CountingReader:
    """As much of `RangeReader` as reading HDF5 needs."""

    def __init__(self, content: bytes, uri: str = "https://example.org/x.nwb") -> None:
        self.content, self.uri, self.size = content, uri, len(content)
        self.located = Located(uri, lambda: uri)
        self.requests = self.bytes = self.fetched = self.given_up = 0
        self.ranges: list[tuple[int, int]] = []

    def read(self, start: int, stop: int) -> bytes:
        self.requests += 1
        self.bytes += stop - start
        return self.content[start:stop]

    def fetch(self, ranges: Sequence[tuple[int, int]], *, keep: bool = True) -> Iterator[tuple[int, bytes]]:
        assert all(0 <= start <= stop <= self.size for start, stop in ranges)
        self.requests += 1
        self.ranges += ranges
        left = len(ranges)
        try:
            for index in np.random.default_rng(0).permutation(left).tolist():
                start, stop = ranges[index]
                self.bytes += stop - start
                self.fetched += stop - start
                left -= 1
                yield index, self.content[start:stop]
        finally:
            self.given_up += left

    def forget(self) -> None:
        """Count from nothing again."""
        self.requests = self.bytes = self.fetched = self.given_up = 0
        self.ranges = []


@contextmanager
def remote(path: Path) -> Iterator[tuple[h5py.File, CountingReader]]:
    """Open a file as a remote one is opened."""
    reader = CountingReader(path.read_bytes())
    with ExitStack() as stack:
        content = stack.enter_context(BlockFile(reader))  # type: ignore[arg-type]
        yield stack.enter_context(h5py.File(content, "r")), reader
