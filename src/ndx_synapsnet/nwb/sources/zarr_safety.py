"""What keeps a Zarr store from having anything run, or anything else read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hdmf_zarr import NWBZarrIO

from ...errors import InputError


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
    filters = array.get("filters")
    codecs = [array.get("compressor"), *(filters if isinstance(filters, list) else ())]
    return any(isinstance(codec, Mapping) and codec.get("id") == "pickle" for codec in codecs)


def pickled(where: str) -> InputError:
    """Return the error for an array whose chunks hold pickles."""
    return InputError("it holds pickled objects, which are not read", where=where)
