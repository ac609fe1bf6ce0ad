"""Ragged columns in bulk: the flat data in few large reads, never row by row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError

#: Rows that are wanted are read together with what lies between them, if that is less than this many values, ...
_BRIDGE = 2**17
#: ... in reads of about this many values (128 MiB of float64).
_READ = 2**24


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
    stops = np.asarray(index[:]).astype(np.int64)
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


def read_rows(
    data: Any, starts: NDArray[np.int64], stops: NDArray[np.int64], rows: NDArray[np.int64]
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield (row, values) for each of `rows`, reading neighbouring rows of the flat `data` together.

    Parameters
    ----------
    data : array-like
        The flat data: an HDF5 or Zarr dataset, or an array.
    starts, stops : arrays
        See `row_bounds`.
    rows : array
        Rows wanted, increasing.
    """
    at = 0
    while at < len(rows):
        end = at + 1
        while (
            end < len(rows)
            and starts[rows[end]] - stops[rows[end - 1]] <= _BRIDGE
            and stops[rows[end]] - starts[rows[at]] <= _READ
        ):
            end += 1
        low, high = int(starts[rows[at]]), int(stops[rows[end - 1]])
        block = np.asarray(data[low:high])
        for row in rows[at:end]:
            yield int(row), block[starts[row] - low : stops[row] - low]
        at = end
