"""HDF5 datasets of a remote file: the bytes of the chunks that are wanted, fetched in parallel and decoded in threads.

The file's own chunk index says where the chunks lie; `RangeReader.fetch` brings them, in whatever order they arrive,
and a few threads decode them meanwhile. What this module does not understand is left to HDF5 (`remote_pieces` returns
None): text, references, virtual and external datasets, filters that HDF5 cannot undo outside the dataset.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ....errors import InputError
from .blockfile import BlockFile, block_file_of
from .contiguous import Piece, Region, contiguous_ranges
from .fetch import RangeReader
from .filters import DecodeError, Decoder, decoder_of

#: A dataset of no more bytes is read by HDF5: it lies in blocks that were read for the metadata around it.
SMALL = 2**16
#: Bytes that may be under way between fetching and use, beside what the reader holds.
PENDING = 2**25
#: Bytes of chunks that are decoded, and if they follow each other on a single axis given out, together.
TOGETHER = 2**19
#: Threads that decode: inflating sets them free of Python's lock.
THREADS = min(4, os.cpu_count() or 1)
_HUGE = 2**62


def remote_pieces(dataset: h5py.Dataset, regions: Sequence[Region]) -> Iterator[Piece] | None:
    """Return the pieces of `regions` in order of arrival, or None if HDF5 itself must read this dataset.

    Parameters
    ----------
    dataset : h5py.Dataset
        Of any file; those of files that are not read through a `BlockFile` are left to HDF5.
    regions : sequence of tuple of slice
        Disjoint and not empty, inside the dataset, with starts and stops.

    Raises
    ------
    InputError
        On iterating: if the chunk index makes no sense, or a chunk is damaged.
    """
    file = block_file_of(dataset)
    if file is None:
        return None
    properties = dataset.id.get_create_plist()
    stored = dataset.id.get_type()
    if (
        dataset.dtype.hasobject
        or dataset.dtype.kind not in "iufcSV"
        or dataset.dtype.subdtype is not None
        or stored != h5py.h5t.py_create(dataset.dtype)  # such as numbers of 12 bits
        or dataset.nbytes <= SMALL
        or properties.get_external_count()
        or dataset.file.userblock_size  # HDF5 before 2.0 counts chunks' places from after it
    ):
        return None
    layout = properties.get_layout()
    if layout == h5py.h5d.CONTIGUOUS:
        return _contiguous(dataset, file.reader, regions)
    if layout == h5py.h5d.CHUNKED and hasattr(dataset.id, "chunk_iter"):
        decoder = decoder_of(dataset)
        return None if decoder is None else _chunked(dataset, file, regions, decoder)
    return None


def _contiguous(dataset: h5py.Dataset, reader: RangeReader, regions: Sequence[Region]) -> Iterator[Piece]:
    native = dataset.dtype.newbyteorder("=")
    if dataset.id.get_space_status() == h5py.h5d.SPACE_STATUS_NOT_ALLOCATED:
        for region in regions:
            yield region, _filled(dataset, _shape(region))
        return
    offset = dataset.id.get_offset()
    if offset is None or offset + dataset.nbytes > reader.size:
        raise _damaged(reader, dataset, "it should lie beyond the end of the file")
    parts = contiguous_ranges(regions, dataset.shape, dataset.dtype.itemsize)
    for number, stored in reader.fetch([(offset + part.start, offset + part.stop) for part in parts]):
        part = parts[number]
        values = np.frombuffer(stored, dataset.dtype).reshape(part.shape)[part.inside]
        yield part.region, values.astype(native, copy=False)


class _Grid:
    """The grid of a dataset's chunks, which are numbered in C order."""

    def __init__(self, dataset: h5py.Dataset) -> None:
        self.chunks: tuple[int, ...] = tuple(int(n) for n in dataset.chunks)
        self.shape = tuple(-(-n // chunk) for n, chunk in zip(dataset.shape, self.chunks, strict=True))

    def numbers(self, corners: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the numbers of the chunks with first values at `corners` (C, axes); -1 for those outside."""
        places = corners // np.array(self.chunks)
        inside = ((places >= 0) & (places < self.shape)).all(axis=1)
        places[~inside] = 0
        return np.where(inside, np.ravel_multi_index(tuple(places.T), self.shape), -1)

    def covering(self, region: Region) -> NDArray[np.int64]:
        """Return the numbers of the chunks that a region needs, whether or not they are stored."""
        axes = [
            np.arange(part.start // chunk, (part.stop - 1) // chunk + 1)
            for part, chunk in zip(region, self.chunks, strict=True)
        ]
        return np.ravel_multi_index(np.meshgrid(*axes, indexing="ij"), self.shape).ravel()

    def corner(self, number: int) -> tuple[int, ...]:
        """Return the place of a chunk's first value."""
        at = np.unravel_index(number, self.shape)
        return tuple(int(a) * chunk for a, chunk in zip(at, self.chunks, strict=True))


def _stored_chunks(dataset: h5py.Dataset) -> list[Any]:
    """Return place, size and filter mask of all chunks, by one walk through the index."""
    found: list[Any] = []
    dataset.id.chunk_iter(found.append)
    return found


class _Index:
    """Where the chunks of a dataset are stored."""

    def __init__(self, dataset: h5py.Dataset, grid: _Grid) -> None:
        rows = [
            # a damaged index may hold numbers that int64 does not
            [min(number, _HUGE) for number in (*info.chunk_offset, info.byte_offset, info.size, info.filter_mask)]
            for info in _stored_chunks(dataset)
            if info.byte_offset is not None
        ]
        table = np.array(rows, dtype=np.int64).reshape(len(rows), dataset.ndim + 3)
        numbers = grid.numbers(table[:, : dataset.ndim])
        order = np.argsort(numbers, kind="stable")
        order = order[numbers[order] >= 0]  # a dataset that was made smaller may keep chunks outside
        self.numbers: NDArray[np.int64] = numbers[order]
        self.starts, self.sizes, self.skipped = table[order, dataset.ndim :].T

    def makes_sense(self, size: int, largest: int) -> bool:
        """Whether each chunk is there once, inside a file of `size` bytes, and none is larger than `largest`."""
        inside = (self.sizes >= 0) & (self.sizes <= largest) & (self.starts >= 0) & (self.starts <= size - self.sizes)
        return bool(inside.all() and (np.diff(self.numbers) > 0).all())

    def rows(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the places of chunks in this index; -1 for those that are not stored."""
        if len(self.numbers) == 0:
            return np.full(len(numbers), -1)
        at = np.minimum(np.searchsorted(self.numbers, numbers), len(self.numbers) - 1)
        return np.where(self.numbers[at] == numbers, at, -1)


class _Wanted:
    """The chunks that some regions need, each once."""

    def __init__(self, regions: Sequence[Region], grid: _Grid) -> None:
        self._regions, self._grid = regions, grid
        needed = [grid.covering(region) for region in regions]
        numbers = np.concatenate(needed)
        order = np.argsort(numbers, kind="stable")
        self._region = np.repeat(np.arange(len(regions)), [len(one) for one in needed])[order]
        self.numbers, self._first = np.unique(numbers[order], return_index=True)
        self._after = np.append(self._first[1:], len(numbers))

    def parts(self, at: int, shape: tuple[int, ...]) -> Iterator[tuple[Region, Region]]:
        """Yield the parts of regions that a block of `shape` holds: where in the dataset, and where in the block.

        The block begins with chunk number `at`, and goes on with the next ones if it is longer than a chunk.
        """
        corner = self._grid.corner(int(self.numbers[at]))
        last = at + shape[0] // self._grid.chunks[0] - 1
        for number in np.unique(self._region[self._first[at] : self._after[last]]):
            region = tuple(
                slice(max(part.start, low), min(part.stop, low + length))
                for part, low, length in zip(self._regions[number], corner, shape, strict=True)
            )
            yield region, tuple(slice(p.start - low, p.stop - low) for p, low in zip(region, corner, strict=True))


def _chunked(dataset: h5py.Dataset, file: BlockFile, regions: Sequence[Region], decoder: Decoder) -> Iterator[Piece]:
    reader, grid, size = file.reader, _Grid(dataset), math.prod(dataset.chunks) * dataset.dtype.itemsize
    try:
        with file.whole_index():
            index = _Index(dataset, grid)
    except InputError:
        raise
    except (OSError, RuntimeError, ValueError, KeyError) as error:  # by what HDF5 finds wrong
        raise _damaged(reader, dataset, f"its chunk index cannot be read ({error})") from error
    if not index.makes_sense(reader.size, 2 * size + 2**16):
        raise _damaged(reader, dataset, "its chunk index makes no sense")
    wanted = _Wanted(regions, grid)
    row = index.rows(wanted.numbers)
    for missing in np.flatnonzero(row < 0).tolist():
        for region, _ in wanted.parts(missing, grid.chunks):
            yield region, _filled(dataset, _shape(region))
    stored = np.flatnonzero(row >= 0)
    stored = stored[np.argsort(index.starts[row[stored]], kind="stable")]
    row = row[stored]

    def decode(arrived: list[tuple[int, bytes]]) -> list[tuple[int, NDArray[Any]]]:
        blocks: list[tuple[int, list[NDArray[Any]]]] = []
        for number, data in sorted(arrived, key=lambda one: int(stored[one[0]])):
            at = int(stored[number])
            try:
                chunk = decoder.decode(data, int(index.skipped[row[number]]))
            except DecodeError as error:
                place = ", ".join(map(str, grid.corner(int(wanted.numbers[at]))))
                raise _damaged(reader, dataset, f"the chunk that begins at [{place}] is damaged: {error}") from error
            first, chunks = blocks[-1] if blocks else (at, [])
            follows = dataset.ndim == 1 and chunks and wanted.numbers[at] == wanted.numbers[first] + len(chunks)
            if follows:
                chunks.append(chunk)
            else:
                blocks.append((at, [chunk]))
        return [(at, chunks[0] if len(chunks) == 1 else np.concatenate(chunks)) for at, chunks in blocks]

    starts = index.starts[row].tolist()
    ranges = [(start, start + length) for start, length in zip(starts, index.sizes[row].tolist(), strict=True)]
    for first, block in _decoded(reader, ranges, decode, size):
        for region, inside in wanted.parts(first, block.shape):
            yield region, block[inside]


Decode = Callable[[list[tuple[int, bytes]]], list[tuple[int, NDArray[Any]]]]


def _decoded(
    reader: RangeReader, ranges: Sequence[tuple[int, int]], decode: Decode, size: int
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield what `decode`, in threads, makes of ranges that arrived and hold chunks of `size` bytes.

    Small chunks are decoded together, for handing one to a thread takes about as long as decoding it. Bytes under way
    are `PENDING` at most, or those of one chunk.
    """
    waiting: deque[tuple[int, Future[list[tuple[int, NDArray[Any]]]]]] = deque()
    batch: list[tuple[int, bytes]] = []
    pending = cost = 0
    arriving = reader.fetch(ranges)
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="decode")
    try:
        for number, data in arriving:
            batch.append((number, data))
            cost += len(data) + size
            if size * len(batch) < TOGETHER and len(ranges) > len(batch):
                continue
            while waiting and (pending + cost > PENDING or waiting[0][1].done()):
                its_cost, future = waiting.popleft()
                pending -= its_cost
                yield from future.result()
            waiting.append((cost, pool.submit(decode, batch)))
            pending += cost
            batch, cost = [], 0
        if batch:
            waiting.append((cost, pool.submit(decode, batch)))
        while waiting:
            yield from waiting.popleft()[1].result()
    finally:  # also when the consumer stops early
        pool.shutdown(wait=True, cancel_futures=True)
        close = getattr(arriving, "close", None)
        if close is not None:
            close()


def _filled(dataset: h5py.Dataset, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return what HDF5 reads where nothing was ever written."""
    native = dataset.dtype.newbyteorder("=")
    defined = dataset.id.get_create_plist().fill_value_defined() != h5py.h5d.FILL_VALUE_UNDEFINED
    return np.full(shape, dataset.fillvalue if defined else np.zeros((), native), native)


def _shape(region: Region) -> tuple[int, ...]:
    return tuple(part.stop - part.start for part in region)


def _damaged(reader: RangeReader, dataset: h5py.Dataset, what: str) -> InputError:
    return InputError(
        what,
        where=f"{reader.uri}, {dataset.name}",
        remedy="The file, or the copy that was transferred, is damaged: read it again with "
        + ("--verify and --no-cache" if reader.located.digest else "--no-cache"),
    )
