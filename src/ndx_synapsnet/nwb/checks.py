"""What is required of stored values before they are read: a file may declare anything, and hold something else.

A dataset of a few bytes can declare more values than any memory has, or have them in a file that is none of its
reader's business. So shape and type are compared with what is expected before anything is read, and the size with
what the file holds and with what memory there is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..memory import available_memory

#: Values may take so many times the bytes that the file has for them: what deflate packs best is 1032 to 1.
MOST_PACKED = 1100
#: Bytes that may be declared whatever the file has for them: a chunk of zeros packs better still in Zarr.
FREELY = 2**24
#: Characters that texts of one column may take, each as long as the longest.
MOST_TEXT = 2**26
#: Neurons that a result may be of: a matrix between them would take four terabytes.
MOST_NEURONS = 2**20
#: Levels of lists and objects in JSON.
DEEPEST = 64
_BLOCK = 256  # texts read at a time: many may share one long one, so that together they take more than the file

_TEXT = (None, str, bytes)  # what vectors of variable length may be of to be texts

Shape = tuple[int | None, ...]
_KINDS = {"b": "truth values", "i": "whole numbers", "u": "whole numbers", "f": "numbers"}


def read_numbers(
    data: Any, name: str, *, where: str, shape: Shape = (None,), kinds: str = "biuf", limit: int | None = None
) -> NDArray[Any]:
    """Return numbers as an array, after checking what is declared.

    Parameters
    ----------
    data : dataset or array_like
        A dataset of an open file, or numbers in memory.
    name : str
        What it is called, for messages.
    where : str
        The file and object that it is in, for messages.
    shape : tuple
        The shape expected; None: any length.
    kinds : str
        The kinds expected, as numpy's ``dtype.kind``.
    limit : int, optional
        The longest first axis.

    Raises
    ------
    InputError
        If shape or type is another, more is declared than the file or memory can hold, the values lie in another file,
        or cannot be read.
    """
    data, dtype = _declared(data, name, where, shape, limit)
    if dtype.kind not in kinds:
        words = " or ".join(dict.fromkeys(_KINDS[kind] for kind in kinds))
        raise InputError(f"{name} holds {dtype}, expected {words}", where=where)
    require_size(data, name, where=where)
    values = np.asarray(_read(data, (), name, where))
    if values.dtype.kind not in kinds or not _fits(values.shape, shape):
        raise InputError(f"{name} holds other values than it declares", where=where)
    return values


def read_texts(
    data: Any, name: str, *, where: str, shape: Shape = (None,), limit: int | None = None
) -> NDArray[np.str_]:
    """Return texts as an array, after checking what is declared; numbers are written out.

    Parameters
    ----------
    data, name, where, shape, limit
        As of `read_numbers`.

    Raises
    ------
    InputError
        As `read_numbers`; also if the texts are no UTF-8, or longer than a column's can be.
    """
    data, dtype = _declared(data, name, where, shape, limit)
    if dtype.kind not in "OSUbiuf" or h5py.check_ref_dtype(dtype) or h5py.check_vlen_dtype(dtype) not in _TEXT:
        raise InputError(f"{name} holds {dtype}, expected text", where=where)
    require_size(data, name, where=where)
    texts: list[str] = []
    longest = 0
    for start in range(0, len(data), _BLOCK):
        for value in _read(data, slice(start, start + _BLOCK), name, where):
            texts.append(as_text(value))
            longest = max(longest, len(texts[-1]))
        if longest * len(data) > MOST_TEXT:
            raise InputError(f"{name} holds a text of {longest} characters", where=where)
    return np.array(texts, dtype=np.str_)


def as_text(value: Any) -> str:
    """Return a stored value as text that can be written anywhere: what is no Unicode is replaced."""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return text.encode("utf-8", "replace").decode("utf-8")


def read_number(value: Any, name: str, default: float, *, where: str) -> float:
    """Return an attribute as a number; `default` where there is none.

    Raises
    ------
    InputError
        If it is no number.
    """
    if value is None:
        return default
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{name} is {as_text(value)[:40]!r}, expected a number", where=where) from error


def read_whole(value: Any, name: str, default: int, *, where: str) -> int:
    """Return an attribute as a whole number; `default` where there is none.

    Raises
    ------
    InputError
        If it is none.
    """
    number = read_number(value, name, default, where=where)
    if not math.isfinite(number) or number != int(number):
        raise InputError(f"{name} is {number}, expected a whole number", where=where)
    return int(number)


def read_truth(value: Any, name: str, *, where: str) -> bool:
    """Return an attribute as true or false; false where there is none.

    Raises
    ------
    InputError
        If it is no single value.
    """
    if isinstance(value, (bool, np.bool_, int, np.integer, type(None))):
        return bool(value)
    raise InputError(f"{name} is {as_text(value)[:40]!r}, expected true or false", where=where)


def require_kinds(value: Any, kinds: Mapping[tuple[str, ...], type | tuple[type, ...]], name: str, where: str) -> None:
    """Raise unless parts of a JSON object are of the kinds that they should be, or absent, and none lies too deep.

    Parameters
    ----------
    value : object
        What the JSON holds.
    kinds : mapping
        Path of keys → type; the key ``*`` stands for every item of a list.
    name, where : str
        What it is called and where it is, for messages.

    Raises
    ------
    InputError
        With the part that is at fault.
    """
    level: list[Any] = [value]
    for _ in range(DEEPEST):
        level = [item for each in level for item in _inside(each)]
        if not level:
            break
    else:
        raise InputError(f"{name} is nested more than {DEEPEST} deep", where=where)
    for path, kind in kinds.items():
        parts = [value]
        for key in path:
            parts = [inside for part in parts for inside in _under(part, key)]
        for part in parts:
            if (part is not None or path[-1] == "*") and not isinstance(part, kind):
                raise InputError(f"{name} holds {type(part).__name__} as {'.'.join(path)}", where=where)


def _inside(value: Any) -> Sequence[Any]:
    if isinstance(value, Mapping):
        return list(value.values())
    return value if isinstance(value, list) else ()


def _under(value: Any, key: str) -> Sequence[Any]:
    if key == "*":
        return value if isinstance(value, list) else ()
    return [value.get(key)] if isinstance(value, Mapping) else ()


def _fits(shape: tuple[int, ...], expected: Shape) -> bool:
    return len(shape) == len(expected) and all(want in (None, have) for want, have in zip(expected, shape, strict=True))


def _declared(data: Any, name: str, where: str, shape: Shape, limit: int | None) -> tuple[Any, np.dtype[Any]]:
    """Return a dataset or array and its type, after checking its shape and that it lies in this file."""
    if data is None:
        raise InputError(f"it has no {name}", where=where)
    if not hasattr(data, "dtype") or not hasattr(data, "shape"):
        data = np.asarray(getattr(data, "data", data))
    declared = None if data.shape is None else tuple(int(length) for length in data.shape)
    if declared is None or not _fits(declared, shape):
        wanted = tuple("any" if length is None else length for length in shape)
        raise InputError(f"{name} has shape {declared}, expected {wanted}", where=where)
    if limit is not None and declared[0] > limit:
        raise InputError(f"{name} holds {declared[0]} values, expected at most {limit}", where=where)
    if _in_hdf5(data):
        require_here(getattr(data, "dset", data), name, where=where)  # hdmf wraps those of text
    # and those of several fields, whose type it tells in words of its own
    return data, np.dtype(getattr(data, "dataset", data).dtype)


def require_here(dataset: h5py.Dataset, name: str, *, where: str) -> None:
    """Raise if the values of an HDF5 dataset lie in another file, which could be anybody's.

    Raises
    ------
    InputError
        If they do.
    """
    if dataset.external or dataset.is_virtual:
        raise InputError(
            f"the values of {name} lie in another file, which is not read",
            where=where,
            remedy="Copy them into this one.",
        )


def require_size(data: Any, name: str, *, where: str) -> None:
    """Raise if a dataset declares more than the file has bytes for, or than fits into memory.

    Raises
    ------
    InputError
        With the numbers.
    """
    try:
        itemsize = np.dtype(data.dtype).itemsize
    except (TypeError, ValueError) as error:  # a type that h5py does not know: the file is damaged
        raise InputError(f"the type of {name} cannot be read ({error})", where=where) from error
    # zarr makes whole chunks
    size = max(math.prod(lengths) * itemsize for lengths in (data.shape or (), getattr(data, "chunks", None) or ()))
    if isinstance(data, np.ndarray) or size <= FREELY:
        return
    held = _bytes_held(data)
    if held is not None and size > MOST_PACKED * held:
        raise InputError(f"{name} declares {size} bytes, and the file holds {held} for it", where=where)
    require_memory(size, name, where=where)


def require_memory(size: int, name: str, *, where: str) -> None:
    """Raise if `size` bytes would take more than half of the memory there is.

    Raises
    ------
    InputError
        With the numbers.
    """
    available = available_memory()
    if available and 2 * size > available:
        raise InputError(
            f"{name} takes {size / 2**30:.1f} GiB, and {available / 2**30:.1f} GiB of memory are free",
            where=where,
            remedy="Read it on a larger machine, or in parts with pynwb.",
        )


def _in_hdf5(data: Any) -> bool:
    """Return whether a dataset is HDF5's; those of lindi are of a class made from h5py's, but lie elsewhere."""
    return isinstance(data, h5py.Dataset) and isinstance(data.id, h5py.h5d.DatasetID)


def _bytes_held(data: Any) -> int | None:
    """Return how many bytes the file has for a dataset; None if it does not say."""
    if _in_hdf5(data):
        return int(data.id.get_storage_size())
    held = getattr(data, "nbytes_stored", None)
    return int(held) if isinstance(held, int) and held >= 0 else None


def _read(data: Any, part: Any, name: str, where: str) -> Any:
    """Return a part of a dataset; whatever the library finds wrong with it is said plainly."""
    try:
        return data[part]
    except InputError:
        raise
    except Exception as error:  # HDF5, zarr and their filters raise many kinds on damaged data
        raise InputError(
            f"{name} cannot be read ({type(error).__name__}: {as_text(error)[:200]})", where=where
        ) from error
