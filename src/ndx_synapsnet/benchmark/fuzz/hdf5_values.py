"""Damage done to the numbers and blobs in the HDF5 file of a result: each function says what it did."""

from __future__ import annotations

import hashlib
import zlib
from random import Random
from typing import Any

import h5py
import numpy as np

from . import nasty
from .targets import Targets, put


def _dtypes() -> tuple[Any, ...]:
    text = h5py.string_dtype()
    return (
        "i1", "u1", "i4", "<i8", ">i8", "u8", "f2", "f4", ">f8", "c16", "?", "S5", "V7", text, h5py.ref_dtype,
        h5py.regionref_dtype, h5py.vlen_dtype(np.dtype("f4")), np.dtype([("a", "f4"), ("b", text)]),
        h5py.enum_dtype({"RED": 0}), np.dtype(("f4", (3,))), h5py.opaque_dtype(np.dtype("M8[ns]")),
        h5py.vlen_dtype(text),
    )  # fmt: skip


def regions(file: h5py.File, targets: Targets) -> list[str]:
    """Return the paths of the regions."""
    return [path for path in targets.datasets if file[path].attrs.get("neurodata_type") == "DynamicTableRegion"]


def named(targets: Targets, *names: str) -> list[str]:
    """Return the paths of ours that end so."""
    return [path for path in targets.datasets if path in targets.ours and path.rpartition("/")[2] in names]


def region_rows(file: h5py.File, targets: Targets, rng: Random) -> str:
    """Let a region name rows that there are not, or not all."""
    path = rng.choice(regions(file, targets))
    rows = file[path][()]
    n = len(rows)
    odd: list[Any] = [
        rows[::-1], rows[:0], rows[:-1], np.append(rows, n), np.zeros_like(rows), rows - n, rows + 1, rows * 2**40,
        rows.astype("f4"), rows + 0.5, np.full(n, -1), rows.astype("u8") + np.uint64(2**63), rows[:, None],
        np.array([b"0"] * n), np.tile(rows, 1000), np.full(n, np.nan),
    ]  # fmt: skip
    choice = rng.randrange(len(odd))
    put(file, path, data=odd[choice])
    return f"rows of {path}, way {choice}"


def shape(file: h5py.File, targets: Targets, rng: Random) -> str:
    """Give a dataset another shape."""
    path = targets.dataset(rng)
    old = file[path]
    text = old.dtype.kind == "O"
    n = old.shape[0] if old.shape else 1
    ways: list[tuple[int, ...] | None] = [
        (), (0,), (1,), (n + 1,), (max(n - 1, 0),), (n, 1), (1, n), (n, n), (n, n + 1), (n, 0), (0, n), (n, n, n),
        (2, 2, 2, 2, 2), (n, 3), (n, 2), None, (100_000,),
    ]  # fmt: skip
    wanted = rng.choice(ways)
    if wanted is None:
        put(file, path, data=h5py.Empty(old.dtype))
    elif text:
        put(file, path, data=np.full(wanted, "x", dtype=object), dtype=h5py.string_dtype())
    else:
        put(file, path, data=np.resize(np.asarray(old[()]), wanted), dtype=old.dtype)
    return f"{path} has shape {wanted}"


def dtype(file: h5py.File, targets: Targets, rng: Random) -> str:
    """Give a dataset another type of values."""
    path = targets.dataset(rng)
    kind = rng.choice(_dtypes())
    old = file[path]
    shape_ = old.shape or ()
    try:
        with np.errstate(all="ignore"):
            values = np.asarray(old[()]).astype(kind)
        put(file, path, data=values, dtype=kind)
    except (TypeError, ValueError, OSError):
        if path in file:
            put(file, path, shape=shape_, dtype=kind)
        else:
            file.create_dataset(path, shape=shape_, dtype=kind)
    return f"{path} holds {kind}"


def huge(file: h5py.File, targets: Targets, rng: Random) -> str:
    """Declare a dataset far larger than the file, nothing of it allocated."""
    path = targets.dataset(rng)
    old = file[path]
    rows = rng.choice((2**16, 2**20, 2**26, 2**31, 2**32 + 1, 2**40, 2**60))
    shape_ = rng.choice(
        [(rows,), (rows, *old.shape[1:]), (*old.shape[:1], rows), (rows, rows) if rows < 2**30 else (rows,)]
    )
    chunks = tuple(min(length, 64) or 1 for length in shape_)
    packed = {"compression": "gzip"} if rng.random() < 0.3 else {}
    put(file, path, shape=shape_, dtype=old.dtype, chunks=chunks, **packed)
    return f"{path} declares {shape_}"


def bomb(file: h5py.File, targets: Targets, rng: Random) -> str:
    """Give a dataset many chunks that hold nothing but zeros, well packed."""
    path = targets.dataset(rng)
    old = file[path]
    kind = np.dtype("f4") if old.dtype.kind == "O" else old.dtype
    n = old.shape[-1] if old.ndim > 1 else 1
    rows = 2**21 // n
    chunk = zlib.compress(bytes(rows * n * kind.itemsize), 9)
    many = rng.choice((1, 16, 64))
    wide = (
        {"shape": (rows * many, n), "chunks": (rows, n)}
        if old.ndim > 1
        else {"shape": (rows * many,), "chunks": (rows,)}
    )
    put(file, path, dtype=kind, compression="gzip", **wide)
    for number in range(many):
        file[path].id.write_direct_chunk((number * rows, 0) if old.ndim > 1 else (number * rows,), chunk)
    return f"{path} is {rows * many * n * kind.itemsize >> 20} MiB of zeros, packed"


def numbers(file: h5py.File, targets: Targets, rng: Random) -> str:
    """Put odd numbers into a dataset."""
    paths = [path for path in targets.datasets if file[path].dtype.kind in "iuf" and file[path].size]
    path = targets.pick(rng, paths)
    item = file[path]
    values = np.asarray(item[()])
    flat = np.atleast_1d(values).ravel()
    odd = nasty.FLOATS if values.dtype.kind == "f" else nasty.INTEGERS
    whole = rng.random() < 0.2
    with np.errstate(all="ignore"):
        if rng.random() < 0.1:
            flat = flat[::-1].copy()
        elif whole:
            flat[:] = np.array(rng.choice(odd)).astype(values.dtype)
        else:
            for _ in range(rng.choice((1, 1, 4))):
                flat[rng.randrange(len(flat))] = np.array(rng.choice(odd)).astype(values.dtype)
    item[()] = flat.reshape(values.shape)
    return f"numbers of {path}"


def weights(file: h5py.File, targets: Targets, rng: Random) -> str:
    """Put other bytes in place of the decoder's parameters."""
    path = rng.choice(named(targets, "decoder_weights"))
    blob, said = nasty.weight_blob(rng, file[path][()].tobytes())
    put(file, path, data=np.frombuffer(blob, np.uint8))
    signed = rng.random() < 0.85
    if signed:
        file[path].parent.attrs["decoder_weights_sha256"] = hashlib.sha256(blob).hexdigest()
    return f"{path}: {said}{'' if signed else ', unsigned'}"


def json_texts(file: h5py.File, targets: Targets, rng: Random) -> str:
    """Put other JSON in place of the configuration or of the record."""
    path = rng.choice(named(targets, "config", "record", "record"))
    text, said = nasty.json_text(rng, file[path][()].decode())
    put(file, path, data=text.replace("\0", ""))
    return f"{path}: {said}"


def split(file: h5py.File, targets: Targets, rng: Random) -> str:
    """Let the split be of another length."""
    path = rng.choice(named(targets, "split_length"))
    item = file[path]
    values = item[()].astype("i8")
    way = rng.randrange(6)
    if way < 4:
        values[rng.randrange(len(values))] = rng.choice((-1, 2**31 - 200, 2**33, 2**62, 2**63 - 1, 10**8, 10**9))
    put(file, path, data=values if way < 5 else np.zeros(200_000, "i8"))
    return f"lengths of {path}"


def edges(file: h5py.File, targets: Targets, rng: Random) -> str:
    """Let edges lead elsewhere, or be of different number."""
    path = rng.choice(named(targets, "edge_target", "edge_source", "edge_weight"))
    values = file[path][()]
    odd: list[Any] = [
        values[:-1], values[:0], np.append(values, values), values - 100, values + 100, values.astype("f8") + 0.5,
        np.full(len(values), np.nan), values.astype("i8") + 2**40, values[:, None], np.zeros(1, values.dtype),
    ]  # fmt: skip
    choice = rng.randrange(len(odd))
    put(file, path, data=odd[choice])
    return f"{path}, way {choice}"
