"""Columns of DynamicTables as plain arrays and data frames.

Object references are never read: in Zarr they are pickled. Ragged and multi-dimensional columns are left alone, so
no waveform or spike amplitude is ever loaded by looking at a table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import h5py
import numpy as np
import pandas as pd
from hdmf.common import DynamicTable, DynamicTableRegion, VectorData, VectorIndex
from numpy.typing import NDArray
from pynwb.base import TimeSeriesReferenceVectorData

from ...errors import InputError
from ..sources import bulk

_NO_TEXT = frozenset({"", "nan", "none", "null", "n/a", "na", "unknown", "undefined"})


def _is_plain(data: Any) -> bool:
    """Return whether `data` holds numbers or text rather than references to objects."""
    if isinstance(data, h5py.Dataset):
        kind = data.dtype.kind
        return kind in "biufSU" or h5py.check_string_dtype(data.dtype) is not None or h5py.check_enum_dtype(data.dtype)
    if isinstance(data, (list, tuple)):
        return all(isinstance(item, (str, bytes, bool, int, float, np.generic)) for item in data)
    if isinstance(data, np.ndarray) and data.dtype.kind == "O":
        return data.ndim == 1 and _is_plain(list(data))
    kind = getattr(getattr(data, "dtype", None), "kind", None)
    # zarr keeps text as objects; columns of references come wrapped in a class of hdmf-zarr's own
    return kind in tuple("biufSU") or (kind == "O" and type(data).__module__.startswith("zarr"))


def _own_column(table: DynamicTable, name: str) -> Any:
    """Return the table's column object, its index where it is ragged; None if there is no such column."""
    return table[name] if name in table.colnames else None


def is_scalar(table: DynamicTable, name: str) -> bool:
    """Return whether `name` is a column of one number or text per row."""
    column = _own_column(table, name)
    if not isinstance(column, VectorData):
        return False
    if isinstance(column, (VectorIndex, DynamicTableRegion, TimeSeriesReferenceVectorData)):
        return False
    shape = getattr(column.data, "shape", None)
    return (shape is None or len(shape) == 1) and len(column.data) == len(table.id) and _is_plain(column.data)


def scalar_columns(table: DynamicTable) -> list[str]:
    """Return the names of all columns of one number or text per row."""
    return [name for name in table.colnames if is_scalar(table, name)]


def column_named(table: DynamicTable, *names: str) -> str | None:
    """Return the first of `names` that the table has as a scalar column, in the table's own upper and lower case."""
    own: dict[str, str] = {name.lower(): name for name in reversed(table.colnames)}
    for name in names:
        found = own.get(name.lower())
        if found is not None and is_scalar(table, found):
            return found
    return None


def as_text(values: Any) -> NDArray[np.str_]:
    """Return values as text: bytes decoded, whole floats without their point, and no text for "nothing known"."""

    def one(value: Any) -> str:
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        if isinstance(value, (float, np.floating)):
            value = "" if np.isnan(value) else int(value) if float(value).is_integer() else value
        text = str(value).strip()
        return "" if text.lower() in _NO_TEXT else text

    return np.array([one(value) for value in values], dtype=np.str_)


def column(table: DynamicTable, name: str) -> NDArray[Any]:
    """Return a scalar column as an array (rows,): numbers and booleans as they are, text as objects of type str."""
    own = _own_column(table, name)
    values = bulk.values(own.data)
    elements = getattr(own, "elements", None)
    if elements is not None:  # an EnumData column stores places in a list of values
        values = np.asarray(elements.data[:])[values]
    if values.dtype.kind in "SUO":
        values = np.array([v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in values], dtype=object)
    return values


def frame(table: DynamicTable) -> pd.DataFrame:
    """Return the scalar columns as a data frame with the row ids as its index; tags are joined by commas."""
    columns: dict[str, Any] = {name: column(table, name) for name in scalar_columns(table)}
    if "tags" in table.colnames and "tags" not in columns:
        columns["tags"] = [", ".join(map(str, row)) for row in _ragged_rows(table, "tags")]
    return pd.DataFrame(columns, index=pd.Index(np.asarray(table.id[:]), name="id"))


def _ragged_rows(table: DynamicTable, name: str) -> Iterator[Any]:
    index = table[name]
    values = index.target.data[:]
    start = 0
    for stop in np.asarray(index.data[:], dtype=np.int64):
        yield values[start:stop]
        start = stop


def matching(
    table: DynamicTable, query: str, *, where: str, setting: str, more: Mapping[str, NDArray[Any]] | None = None
) -> NDArray[np.bool_]:
    """Return the rows (mask) of `table` that satisfy a pandas query on its scalar columns.

    Parameters
    ----------
    table : DynamicTable
        The table asked.
    query : str
        Such as ``snr > 2 and quality == 'good'``.
    where : str
        The table's path, for the message.
    setting : str
        The setting that the query comes from, for the message.
    more : mapping of str to array (rows,), optional
        Further columns to ask of; the table's own go before them.

    Raises
    ------
    InputError
        If pandas cannot evaluate it on these columns, or its result is no condition.
    """
    rows = frame(table)
    for name, values in (more or {}).items():
        if name not in rows.columns:
            rows[name] = values
    try:
        # nothing but the columns is in reach of the expression
        answer = rows.eval(query, engine="python", local_dict={}, global_dict={})
    except Exception as error:  # pandas raises many kinds
        raise InputError(
            f"the {setting} {query!r} cannot be evaluated ({error})",
            where=where,
            remedy=f"Columns: {', '.join(rows.columns) or 'none'}",
        ) from error
    if isinstance(answer, (bool, np.bool_)):
        return np.full(len(rows), bool(answer))
    if not isinstance(answer, pd.Series) or answer.dtype.kind != "b":
        raise InputError(
            f"the {setting} {query!r} is no condition", where=where, remedy="Compare a column with a value"
        )
    return answer.to_numpy(dtype=bool)
