"""Every kind of damage done to the HDF5 file of a result."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import h5py

from . import hdf5_structure as structure
from . import hdf5_values as values
from .targets import Targets

Mutation = Callable[[h5py.File, Targets, Random], str]

#: Kind of damage → what does it, and how often it is chosen.
MUTATIONS: dict[str, tuple[Mutation, int]] = {
    "rows of regions": (values.region_rows, 3),
    "tables of regions": (structure.region_table, 2),
    "shapes": (values.shape, 4),
    "types of values": (values.dtype, 4),
    "huge declared sizes": (values.huge, 4),
    "packed zeros": (values.bomb, 1),
    "numbers": (values.numbers, 4),
    "missing objects": (structure.remove, 4),
    "objects too many": (structure.extra, 3),
    "attributes": (structure.attribute, 5),
    "neurodata types": (structure.kind, 4),
    "swapped objects": (structure.swap, 3),
    "links": (structure.links, 4),
    "values in other files": (structure.storage, 2),
    "parameters": (values.weights, 4),
    "JSON": (values.json_texts, 4),
    "texts": (structure.texts, 5),
    "names": (structure.rename, 3),
    "ids": (structure.ids, 2),
    "columns": (structure.columns, 3),
    "split": (values.split, 2),
    "edges": (values.edges, 2),
    "schemas": (structure.schemas, 2),
}


def flip_bytes(content: bytes, rng: Random) -> tuple[bytes, str]:
    """Return an HDF5 file with some of its bytes changed, wherever they are, and what was done."""
    damaged = bytearray(content)
    way = rng.randrange(5)
    if way == 0:
        del damaged[rng.randrange(len(damaged)) :]
        return bytes(damaged), f"cut off after {len(damaged)} bytes"
    if way == 1:
        start = rng.randrange(len(damaged))
        length = rng.choice((8, 64, 512, 4096))
        damaged[start : start + length] = rng.choice((bytes(length), b"\xff" * length, rng.randbytes(length)))
        return bytes(damaged), f"{length} bytes from {start}"
    many = rng.choice((1, 3, 10, 100, 1000))
    for _ in range(many):
        damaged[rng.randrange(len(damaged))] = rng.randrange(256)
    return bytes(damaged), f"{many} bytes"
