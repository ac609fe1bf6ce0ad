"""Texts and bytes of unequal length in Zarr chunks, of which a chunk says itself how many it holds.

numcodecs makes room for that many before it looks for the first: a flipped byte has it ask for tens of gigabytes.
"""

from __future__ import annotations

from typing import Any

from numcodecs.compat import ensure_contiguous_ndarray
from numcodecs.registry import register_codec
from numcodecs.vlen import VLenArray, VLenBytes, VLenUTF8

_LENGTH = 4  # bytes that say how long a text is, and how many there are


def bound_texts() -> None:
    """Have chunks refused that declare more texts than they have bytes for, by all who read Zarr in this process."""
    for codec in (VLenUTF8, VLenBytes, VLenArray):
        register_codec(_bounded(codec))


def _bounded(codec: Any) -> Any:
    def decode(self: Any, buf: Any, out: Any = None) -> Any:
        data = ensure_contiguous_ndarray(buf).view("u1")
        declared, room = int.from_bytes(data[:_LENGTH].tobytes(), "little"), (len(data) - _LENGTH) // _LENGTH
        if declared > max(room, 0):
            raise ValueError(f"a chunk declares {declared} texts and has room for {max(room, 0)}")
        return codec.decode(self, data, out)

    return type(codec.__name__, (codec,), {"__module__": __name__, "decode": decode})
