"""Decoding a chunk of an HDF5 dataset from the bytes that are stored in the file.

Gzip, shuffle and Fletcher32 are undone here, where threads can share the work. Every other filter that HDF5 has is
left to HDF5 itself: the stored bytes are put into a file in memory that declares the same filters, and read from there.
"""

from __future__ import annotations

import math
import threading
import zlib
from dataclasses import dataclass
from importlib import import_module
from itertools import count
from types import ModuleType
from typing import Any, Protocol

import h5py
import numpy as np
from numpy.typing import NDArray


def _fastest_zlib() -> ModuleType:
    try:  # about twice as fast; the extra `fast`
        return import_module("isal.isal_zlib")
    except ImportError:
        return zlib


_inflate = _fastest_zlib()

DEFLATE, SHUFFLE, FLETCHER32 = h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32
_ALL_FILTERS = 0
_CHECKSUM = 4  # bytes of a Fletcher32 sum
# Words summed at once: row sums times row numbers then stay below 2**64.
_ROW, _BLOCK = 128, 2**24


class DecodeError(ValueError):
    """The stored bytes of a chunk are not what the dataset's filters write."""


class Decoder(Protocol):
    """Turns stored bytes into a chunk; may be called from several threads."""

    def decode(self, stored: bytes, skipped: int) -> NDArray[Any]:
        """Return the chunk, in its dataset's chunk shape and in this machine's byte order.

        Parameters
        ----------
        stored : bytes
            What the file holds.
        skipped : int
            The chunk's filter mask: filter k of the dataset was not applied where bit k is set.

        Raises
        ------
        DecodeError
            If the bytes are damaged.
        """
        ...


def decoder_of(dataset: h5py.Dataset) -> Decoder | None:
    """Return what decodes the chunks of a chunked dataset, None where only HDF5's own reading can.

    Parameters
    ----------
    dataset : h5py.Dataset
        Chunked, and of a type whose stored bytes numpy understands.
    """
    properties = dataset.id.get_create_plist()
    filters = [properties.get_filter(i) for i in range(properties.get_nfilters())]
    codes = [code for code, *_ in filters]
    if set(codes) <= {DEFLATE, SHUFFLE, FLETCHER32} and codes.count(DEFLATE) <= 1:
        steps = tuple((code, int(values[0]) if code == SHUFFLE and values else 1) for code, _, values, _ in filters)
        return Pipeline(steps, tuple(dataset.chunks), dataset.dtype)
    try:
        return _ByHDF5(dataset) if all(map(h5py.h5z.filter_avail, codes)) else None
    except (OSError, ValueError, RuntimeError):  # a filter that this HDF5 can undo but not apply
        return None


@dataclass(frozen=True)
class Pipeline:
    """Gzip, shuffle and Fletcher32 in any order; see `Decoder`."""

    steps: tuple[tuple[int, int], ...]
    """Code of each filter in the order of writing, and for shuffle the bytes of an element."""
    shape: tuple[int, ...]
    """Of a chunk."""
    dtype: np.dtype[Any]
    """As it is stored."""

    def decode(self, stored: bytes, skipped: int) -> NDArray[Any]:
        """Return the chunk; see `Decoder.decode`."""
        size = math.prod(self.shape) * self.dtype.itemsize
        steps = [step for i, step in enumerate(self.steps) if not skipped >> i & 1]
        data: Any = stored
        while steps:
            code, element = steps.pop()
            if code == FLETCHER32:
                data = _checked(data)
            elif code == SHUFFLE:
                data = unshuffled(data, element)
            else:
                data = inflated(data, size + _CHECKSUM * sum(c == FLETCHER32 for c, _ in steps))
        data = memoryview(data)
        if data.nbytes != size:
            raise DecodeError(f"it has {data.nbytes} bytes instead of {size}")
        chunk = np.frombuffer(data, self.dtype).reshape(self.shape)
        return chunk.astype(self.dtype.newbyteorder("="), copy=False)


def inflated(data: Any, size: int) -> bytes:
    """Return the content of a zlib stream that must be of `size` bytes; no more than one byte beyond is inflated.

    Raises
    ------
    DecodeError
        If the stream is damaged, or its content is shorter or longer.
    """
    stream = _inflate.decompressobj()
    try:
        content: bytes = stream.decompress(data, size + 1)
    except (_inflate.error, zlib.error) as error:
        raise DecodeError(f"it does not inflate ({error})") from error
    if len(content) > size:
        raise DecodeError(f"it inflates to more than its {size} bytes")
    if not stream.eof or len(content) < size:
        raise DecodeError(f"its gzip stream ends early, after {len(content)} of {size} bytes")
    return content


def unshuffled(data: Any, element: int) -> Any:
    """Return bytes in the order of the elements, from the order of all first bytes, all second bytes and so on.

    Bytes after the last whole element of `element` bytes stay where they are.
    """
    n = len(data) // max(element, 1)
    if element <= 1 or n <= 1:
        return data
    stored = np.frombuffer(data, np.uint8)
    result = np.empty(len(stored), np.uint8)
    result[n * element :] = stored[n * element :]
    planes, elements = stored[: n * element].reshape(element, n), result[: n * element].reshape(n, element)
    for k in range(element):  # plane by plane: several times as fast as copying the transpose
        elements[:, k] = planes[k]
    return result


def _checked(data: Any) -> memoryview:
    """Return the data before their Fletcher32 sum."""
    data = memoryview(data)
    content: memoryview
    if len(data) < _CHECKSUM:
        raise DecodeError(f"its {len(data)} bytes have no room for a Fletcher32 checksum")
    content, stated = data[:-_CHECKSUM], int.from_bytes(data[-_CHECKSUM:], "little")
    own = fletcher32(content)
    # old HDF5 on big-endian machines stored each half with its bytes swapped, and HDF5 accepts that
    if stated not in (own, _swapped(own)):
        raise DecodeError("its Fletcher32 checksum is wrong")
    return content


def _swapped(value: int) -> int:
    """Return a 32-bit number with the two bytes of each half exchanged."""
    return (value & 0x00FF00FF) << 8 | (value & 0xFF00FF00) >> 8


def fletcher32(data: Any) -> int:
    """Return HDF5's Fletcher32 sum of some bytes: over 16-bit words, big end first, an odd last byte as a high one.

    The lower half is the sum of the words, the upper half the sum of all its partial sums, both modulo 65535 and
    with 65535 rather than 0 for a sum that is not nothing.
    """
    odd = len(data) % 2
    words = np.frombuffer(data, "<u2", len(data) // 2)
    last = [np.array([data[-1]], "<u2")] if odd else []
    total = partial = 0
    for block in [*(words[i : i + _BLOCK] for i in range(0, len(words), _BLOCK)), *last]:
        block_total, block_partial = _sums(block)
        partial += total * len(block) + block_partial
        total += block_total
    # Summed with the little end first: modulo 65535, exchanging a word's bytes multiplies it, and so the sums, by 256.
    return _swapped(_folded(partial) << 16 | _folded(total))


def _sums(words: NDArray[np.uint16]) -> tuple[int, int]:
    """Return the sum of words, and the sum of all partial sums: word i of n counts n - i times.

    The latter by sums over the rows and columns of a table of the words, where word (r, c) is number ``_ROW * r + c``.
    """
    n, whole = len(words), len(words) // _ROW * _ROW
    table, rest = words[:whole].reshape(-1, _ROW), words[whole:].astype(np.uint64)
    rows, columns = table.sum(axis=1, dtype=np.uint64), table.sum(axis=0, dtype=np.uint64)
    total = int(rows.sum()) + int(rest.sum())
    numbers = _ROW * int(rows @ np.arange(len(rows), dtype=np.uint64))
    numbers += int(columns @ np.arange(_ROW, dtype=np.uint64))
    numbers += int(rest @ np.arange(whole, n, dtype=np.uint64))
    return total, n * total - numbers


def _folded(value: int) -> int:
    """Return a sum modulo 65535 as repeatedly adding its upper bits to its lower 16 leaves it."""
    return 0 if value == 0 else (value - 1) % 65535 + 1


class _ByHDF5:
    """Any filters that this HDF5 has, undone by it in a file in memory; see `Decoder`."""

    _names = count()

    def __init__(self, dataset: h5py.Dataset) -> None:
        self._lock = threading.Lock()
        name = f"chunks being decoded {next(self._names)}"
        self._file = h5py.File(name, "w", driver="core", backing_store=False, rdcc_nbytes=0)
        self._space = h5py.h5s.create_simple(tuple(dataset.chunks))
        self._type = dataset.id.get_type().copy()
        self._properties = dataset.id.get_create_plist()
        self._origin = (0,) * len(dataset.chunks)
        self._datasets: dict[int, h5py.Dataset] = {}
        self._without(0)  # now, to find out whether it can be had

    def _without(self, skipped: int) -> h5py.Dataset:
        """Return the dataset for chunks to which some filters were not applied.

        HDF5 (2.0 at least) forgets a filter mask between writing a chunk and reading it, hence one for each mask.
        """
        if skipped not in self._datasets:
            properties = self._properties.copy()
            filters = [properties.get_filter(i) for i in range(properties.get_nfilters())]
            if skipped:  # all away and some back: HDF5 2.0 corrupts memory when one before others is removed
                properties.remove_filter(_ALL_FILTERS)
                for i, (code, flags, values, _) in enumerate(filters):
                    if not skipped >> i & 1:
                        properties.set_filter(code, flags, values)
            name = f"without {skipped}".encode()
            made = h5py.h5d.create(self._file.id, name, self._type, self._space, properties)
            self._datasets[skipped] = h5py.Dataset(made)
        return self._datasets[skipped]

    def decode(self, stored: bytes, skipped: int) -> NDArray[Any]:
        """Return the chunk; see `Decoder.decode`."""
        with self._lock:
            try:
                dataset = self._without(skipped)
                dataset.id.write_direct_chunk(self._origin, stored)
                chunk = dataset[()]
            except (OSError, ValueError) as error:
                raise DecodeError(f"HDF5 cannot decode it ({error})") from error
        return np.asarray(chunk.astype(chunk.dtype.newbyteorder("="), copy=False))
