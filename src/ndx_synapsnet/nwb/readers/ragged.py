"""Ragged columns in bulk: the flat data in few large reads, never row by row, and never all of them at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ..sources.bulk import pieces, reach, values


def row_bounds(index: Any, n_values: int, *, where: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return start and stop (rows,) of every row in the flat data.

    Parameters
    ----------
    index : array-like
        End of each row, as a VectorIndex stores it.
    n_values : int
        Length of the flat data.
    where : str
        The index' path, for the message.

    Raises
    ------
    InputError
        If the index goes backward, or beyond the data.
    """
    stops = values(index).astype(np.int64)
    starts = np.concatenate([[0], stops[:-1]]).astype(np.int64)
    beyond = int(((stops > n_values) | (stops < 0)).sum())
    if beyond:
        raise InputError(
            f"the ragged index is out of range: {beyond} of {len(stops)} rows end beyond the {n_values} values"
            " that are there",
            where=where,
            remedy="The file is damaged or was cut; get it again from its source",
        )
    if (stops < starts).any():
        raise InputError(
            f"the ragged index goes backward at row {int(np.argmax(stops < starts))}",
            where=where,
            remedy="The file is damaged; get it again from its source",
        )
    return starts, stops


def row_regions(
    starts: NDArray[np.int64], stops: NDArray[np.int64], rows: NDArray[np.int64], reach: int
) -> list[tuple[slice]]:
    """Return the stretches of the flat data that hold the values of `rows`, for `bulk.pieces`.

    Parameters
    ----------
    starts, stops : arrays
        See `row_bounds`.
    rows : array
        Rows wanted, increasing.
    reach : int
        Values up to so far apart are read with what lies between them; see `bulk.reach`.
    """
    rows = rows[stops[rows] > starts[rows]]
    low, high = starts[rows], stops[rows]
    cuts = np.flatnonzero(low[1:] - (high[:-1] - 1) > max(reach, 1)) + 1
    return [(slice(int(low[at[0]]), int(high[at[-1]])),) for at in np.split(np.arange(len(rows)), cuts) if len(at)]


def read_rows(
    data: Any, starts: NDArray[np.int64], stops: NDArray[np.int64], rows: NDArray[np.int64]
) -> Iterator[tuple[int, int, NDArray[Any]]]:
    """Yield the values of `rows` piece by piece and in any order, each value once.

    Parameters
    ----------
    data : array-like
        The flat data; see `bulk.pieces`.
    starts, stops : arrays
        See `row_bounds`.
    rows : array
        Rows wanted, increasing.

    Yields
    ------
    number : int
        Place in `rows`.
    place : int
        Place of the first value in the flat data.
    values : array
        Some of the row's values, one after the other.
    """
    low, high = starts[rows], stops[rows]
    for (part,), piece in pieces(data, row_regions(starts, stops, rows, reach(data)[0])):
        first = int(np.searchsorted(high, part.start, side="right"))
        last = int(np.searchsorted(low, part.stop, side="left"))
        for number in range(first, last):
            start, stop = max(int(low[number]), part.start), min(int(high[number]), part.stop)
            if stop > start:
                yield number, start, piece[start - part.start : stop - part.start]
