"""Where the nodes of HDF5's chunk indices have their children: enough to fetch them, never trusted for more.

The layouts are those of the HDF5 file format specification, sections III.A.1 (version 1 B-trees), VII.C and VII.D
(extensible arrays); offsets of 8 bytes and the default fan-out are assumed, which is what is written everywhere. Where
they do not hold, the children found are none, or a few that nobody reads.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_FAN_OUT = 64  # twice the default "indexed storage internal node K"
_UNDEFINED = (1 << 64) - 1
# data blocks of extensible arrays grow with the array; these lengths hold them up to about 20,000 chunks
_FROM_INDEX_BLOCK, _FROM_SUPER_BLOCK = 1 << 12, 1 << 14


@dataclass(frozen=True, order=True)
class Child:
    """A node that another one refers to."""

    start: int
    """Where in the file."""
    stop: int


def is_inner_tree_node(node: bytes, *, above: int = 0) -> bool:
    """Whether `node` is a version 1 B-tree node of chunks at a level higher than `above` (0: the leaves)."""
    return node[:5] == b"TREE\x01" and len(node) > 24 and node[5] > above


def children_of(node: bytes, size: int) -> list[Child]:
    """Return the children of a node of a chunk index, as many as make sense in a file of `size` bytes.

    Parameters
    ----------
    node : bytes
        What HDF5 read at once: for these nodes exactly one.
    size : int
        Bytes of the file.
    """
    if is_inner_tree_node(node):
        return [Child(start, start + len(node)) for start in _tree_children(node) if 0 < start <= size - len(node)]
    length = {b"EAIB": _FROM_INDEX_BLOCK, b"EASB": _FROM_SUPER_BLOCK}.get(node[:4])
    if length is None:
        return []
    return [Child(start, min(start + length, size)) for start in _array_children(node, size)]


def _tree_children(node: bytes) -> list[int]:
    """Return the addresses: between keys, which are one more, all of one size; the node has room for the fan-out."""
    key, odd = divmod(len(node) - 24 - 8 * _FAN_OUT, _FAN_OUT + 1)
    used = struct.unpack_from("<H", node, 6)[0]
    if odd or key < 24 or key % 8 or used > _FAN_OUT:
        return []
    return [struct.unpack_from("<Q", node, 24 + key + i * (key + 8))[0] for i in range(used)]


def _array_children(node: bytes, size: int) -> list[int]:
    """Return the addresses that an extensible array's block ends with, before its checksum."""
    found = []
    for at in range(len(node) - 12, 13, -8):
        (address,) = struct.unpack_from("<Q", node, at)
        if address == _UNDEFINED:
            continue
        if not 0 < address < size:
            break  # what comes before are elements, of another layout
        found.append(address)
    return found
