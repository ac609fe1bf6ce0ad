"""Reading large datasets, wherever they are: the one way in which readers take in bulk data.

A dataset is whatever hdmf gives as the data of an object: an HDF5 dataset of a local or a remote file, a Zarr array,
an array or list in memory. Of a remote HDF5 file, only the chunks that are wanted are fetched, in parallel.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import h5py
import numpy as np
from hdmf.data_utils import AbstractDataChunkIterator, DataIO
from numpy.typing import ArrayLike, NDArray

from ...errors import InputError
from .remote.contiguous import GAP, Piece, Region

__all__ = ["Piece", "Region", "pieces", "reach", "runs", "values"]

#: Bytes of one read where a dataset is read by slicing it.
BLOCK = 2**26


def pieces(dataset: Any, regions: Sequence[Region]) -> Iterator[Piece]:
    """Yield the values of some regions of a dataset, piece by piece and in any order.

    Parameters
    ----------
    dataset : h5py.Dataset, zarr.Array, array-like or hdmf.DataIO
        What to read.
    regions : sequence of tuple of slice
        One slice for each axis, of step 1 and inside the dataset. Regions must not overlap; those that lie in one
        chunk are best given in one call (see `runs`).

    Yields
    ------
    region : tuple of slice
        A part of one of the regions. Together the parts are all of them, each value once.
    values : array
        What is stored there, in this machine's byte order; to be read only.

    Raises
    ------
    InputError
        If the data can be read only once, or those of a remote file are damaged.
    """
    dataset = _readable(dataset)
    wanted = [_bounded(region, np.shape(dataset)) for region in regions]
    wanted = [region for region in wanted if all(part.stop > part.start for part in region)]
    if wanted and type(dataset) is h5py.Dataset and dataset.file.driver == "fileobj":  # lindi has a subclass
        from .remote.chunks import remote_pieces  # and with it what speaks HTTP

        fetched = remote_pieces(dataset, wanted)
        if fetched is not None:
            yield from fetched
            return
    for region in wanted:
        for block in _blocks(region, dataset):
            yield block, _native(np.asarray(dataset[block]))


def values(dataset: Any, region: Region | None = None) -> NDArray[Any]:
    """Return a region of a dataset, or all of it, as one array; see `pieces`."""
    dataset = _readable(dataset)
    shape = np.shape(dataset)
    region = _bounded(region if region is not None else (slice(None),) * len(shape), shape)
    wanted = tuple(part.stop - part.start for part in region)
    result: NDArray[Any] | None = None
    for part, piece in pieces(dataset, [region]):
        if piece.shape == wanted:
            return piece
        if result is None:
            result = np.empty(wanted, piece.dtype)
        result[tuple(slice(p.start - r.start, p.stop - r.start) for p, r in zip(part, region, strict=True))] = piece
    return np.empty(wanted, getattr(dataset, "dtype", None)) if result is None else result


def reach(dataset: Any) -> tuple[int, ...]:
    """Return for each axis how far apart two wanted places may be, such that reading what lies between costs nothing.

    That is the length of a chunk; where there are no chunks, what is faster read than left out.
    """
    dataset = _readable(dataset)
    chunks = getattr(dataset, "chunks", None)
    if chunks is not None:
        return tuple(int(n) for n in chunks)
    shape, values_of_gap = np.shape(dataset), GAP // _itemsize(dataset)
    return tuple(max(1, values_of_gap // max(1, math.prod(shape[axis + 1 :]))) for axis in range(len(shape)))


def runs(places: ArrayLike, reach: int) -> list[slice]:
    """Return the slices that hold all of the increasing `places`, with gaps shorter than `reach` filled."""
    places = np.asarray(places, dtype=np.int64)
    if len(places) == 0:
        return []
    cuts = np.flatnonzero(np.diff(places) > max(reach, 1))
    starts, stops = places[np.append(0, cuts + 1)], places[np.append(cuts, len(places) - 1)] + 1
    return [slice(int(start), int(stop)) for start, stop in zip(starts, stops, strict=True)]


def _readable(dataset: Any) -> Any:
    """Return what can be sliced of the data of an object."""
    if isinstance(dataset, DataIO):
        dataset = dataset.data
    if isinstance(dataset, AbstractDataChunkIterator):
        raise InputError("these data can be read only once", remedy="Write the file, and read what was written")
    inner = getattr(dataset, "dataset", None)  # hdmf wraps tables, for the references that some hold
    dtype = getattr(inner, "dtype", None)
    if isinstance(dtype, np.dtype) and not dtype.hasobject:
        return inner
    return np.asarray(dataset) if isinstance(dataset, (list, tuple)) else dataset


def _itemsize(dataset: Any) -> int:
    dtype = getattr(dataset, "dtype", None)
    return max(1, dtype.itemsize) if isinstance(dtype, np.dtype) else 8


def _bounded(region: Region, shape: tuple[int, ...]) -> Region:
    if len(region) != len(shape):
        raise ValueError(f"{len(region)} slices do not fit data of shape {shape}")
    bounded = []
    for part, n in zip(region, shape, strict=True):
        start, stop = part.start or 0, n if part.stop is None else part.stop
        if part.step not in (None, 1) or not 0 <= start <= stop <= n:
            raise ValueError(f"{part} is no part of {n} places")
        bounded.append(slice(int(start), int(stop)))
    return tuple(bounded)


def _blocks(region: Region, dataset: Any) -> Iterator[Region]:
    """Cut a region into blocks of whole chunks and at most `BLOCK` bytes, so that no chunk is read twice."""
    chunks = [int(n) for n in getattr(dataset, "chunks", None) or (1,) * len(region)]
    limit = BLOCK // _itemsize(dataset)
    starts = [part.start - part.start % chunk for part, chunk in zip(region, chunks, strict=True)]
    size = list(chunks)
    for axis in reversed(range(len(size))):
        size[axis] *= max(1, min(limit // math.prod(size), -(-(region[axis].stop - starts[axis]) // size[axis])))
    axes = [
        [slice(max(low, part.start), min(low + n, part.stop)) for low in range(start, part.stop, n)]
        for part, start, n in zip(region, starts, size, strict=True)
    ]
    yield from itertools.product(*axes)


def _native(array: NDArray[Any]) -> NDArray[Any]:
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
