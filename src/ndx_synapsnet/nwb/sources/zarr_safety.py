"""What keeps a Zarr store from having anything run, or anything else read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from hdmf_zarr import NWBZarrIO

from ...errors import InputError
from .zarr_texts import bound_texts

bound_texts()  # before anything of a store is read

_LARGEST = 2**20  # bytes of a value: zarr makes one, to fill chunks with, as soon as it reads of them


class ClosedZarrIO(NWBZarrIO):
    """Reads a store; a reference that leads out of it is refused, for it could lead anywhere."""

    def resolve_ref(self, zarr_ref: Mapping[str, Any]) -> Any:
        """Return name and object that a reference means; see the base class."""
        source = zarr_ref.get("source")
        own = self._file.attrs.get("object_id")
        if source in (None, "", ".", "./") or (own is not None and zarr_ref.get("source_object_id") == own):
            return super().resolve_ref({**zarr_ref, "source": "."})
        raise InputError(
            f"the store refers to an object in another one ({source})",
            where=str(self.source),
            remedy="Export both into one store with hdmf-zarr",
        )


def has_pickles(array: Mapping[str, Any]) -> bool:
    """Return whether the metadata of an array say that its chunks hold pickles, which run code when they are read."""
    return "pickle" in _codecs(array)


def require_sound_array(array: Any, where: str) -> None:
    """Raise if the metadata of an array are none that a writer makes, and zarr would take them as they are.

    Parameters
    ----------
    array : object
        What the JSON of a ``.zarray`` holds.
    where : str
        The store and the array, for messages.

    Raises
    ------
    InputError
        If shape or chunks are no whole numbers or not as many, values are of more than a megabyte, or numbers are
        packed as texts.
    """
    if not isinstance(array, Mapping):
        raise InputError("the array's metadata are no JSON object", where=where)
    for name in ("shape", "chunks"):
        lengths = array.get(name)
        if not isinstance(lengths, list) or not all(type(n) is int and 0 <= n < 2**63 for n in lengths):
            raise InputError(f"the array's {name} is {str(lengths)[:40]}, expected whole numbers", where=where)
    if len(array["shape"]) != len(array["chunks"]):
        raise InputError(f"the array has {len(array['shape'])} axes, its chunks {len(array['chunks'])}", where=where)
    declared = array.get("dtype")
    try:
        kind = np.dtype([tuple(field) for field in declared] if isinstance(declared, list) else declared)
    except (TypeError, ValueError):
        raise InputError(f"the array's values are of no known type ({str(declared)[:40]})", where=where) from None
    if kind.itemsize > _LARGEST:
        raise InputError(f"the array's values take {kind.itemsize} bytes each", where=where)
    if not kind.hasobject and any(name.startswith("vlen-") for name in _codecs(array)):
        raise InputError(f"the array declares {kind} that are packed as texts", where=where)


def _codecs(array: Mapping[str, Any]) -> list[str]:
    """Return the names of what an array's chunks go through."""
    filters = array.get("filters")
    every = [array.get("compressor"), *(filters if isinstance(filters, list) else ())]
    return [str(codec.get("id")) for codec in every if isinstance(codec, Mapping)]


def pickled(where: str) -> InputError:
    """Return the error for an array whose chunks hold pickles."""
    return InputError("it holds pickled objects, which are not read", where=where)
