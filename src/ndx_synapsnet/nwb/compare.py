"""Whether a file still holds, unchanged, everything that another one held: memory use is bounded."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

#: Bytes read from each file at a time.
BLOCK_BYTES = 2**25


def first_difference(before: Path, after: Path, *, without: Collection[str] = ()) -> str | None:
    """Return where `after` first lacks or changes something of `before`, or None; additions are no difference.

    Compared are, in HDF5, every link (also which object a second one leads to), every attribute, and of datasets the
    type, shape, chunks, filters, fill value and content, references by what they point at. In Zarr, every file of the
    store to the byte; attributes one by one; and consolidated metadata with what it was made from.

    Parameters
    ----------
    before, after : Path
        Two HDF5 files, or two Zarr folders.
    without : collection of str
        Absolute paths of objects of `before` that are left out, with all in them.
    """
    if before.is_dir():
        return _zarr_difference(before, after, without)
    with h5py.File(before, "r") as old, h5py.File(after, "r") as new:
        return next(_hdf5_differences(old, new, without), None)


def paired_objects(old: h5py.File, new: h5py.File, without: Collection[str] = ()) -> Iterator[tuple[str, Any, Any]]:
    """Yield every object of `old` once: its path, itself, and what is at the same place in `new`, None if nothing.

    One with several hard links is yielded again for a link that leads to another object in `new` than the first did.
    Those at the absolute paths `without`, and what is in them, are left out.
    """
    seen: dict[int, int | None] = {}
    waiting: list[tuple[str, Any, Any]] = [("", old, new)]
    while waiting:
        path, a, b = waiting.pop()
        address = h5py.h5o.get_info(a.id).addr
        there = None if b is None else h5py.h5o.get_info(b.id).addr
        if address in seen:  # reached by another hard link already
            if seen[address] != there:
                yield path, a, None
            continue
        seen[address] = there
        yield path or "/", a, b
        if isinstance(a, h5py.Group):
            inside = b if isinstance(b, h5py.Group) else {}
            for name in a:
                place = f"{path}/{name}"
                if place not in without and isinstance(a.get(name, getlink=True), h5py.HardLink):
                    waiting.append((place, a[name], inside.get(name)))


def _hdf5_differences(old: h5py.File, new: h5py.File, without: Collection[str] = ()) -> Iterator[str]:
    """Yield the differences between two files, object by object."""
    for path, a, b in paired_objects(old, new, without):
        if b is None:
            yield f"{path} is missing or another object"
            continue
        if type(a) is not type(b):
            yield f"{a.name} is no {type(a).__name__.lower()} any more"
            continue
        yield from (f"attribute {name} of {a.name} has changed" for name in changed_attributes(a, b))
        if isinstance(a, h5py.Dataset):
            yield from _dataset_differences(a, b)
        elif isinstance(a, h5py.Datatype) and not _same_type(a.id, b.id):
            yield f"{a.name} is another type"
        elif isinstance(a, h5py.Group):
            for name in a:
                if f"{path.rstrip('/')}/{name}" in without:
                    continue
                links = [_link(group.get(name, getlink=True)) for group in (a, b)]
                if links[0] != links[1]:
                    yield f"{a.name.rstrip('/')}/{name} is {'missing' if name not in b else 'another link'}"


def _link(link: Any) -> tuple[Any, ...]:
    """Return what defines a link, apart from the object behind a hard one."""
    return (type(link), getattr(link, "filename", None), getattr(link, "path", None))


def changed_attributes(a: Any, b: Any) -> list[str]:
    """Return the names of the attributes of `a` that `b`, the same object in the other file, lacks or changes."""

    def kept(name: str) -> bool:
        if name not in b.attrs or not _same_type(*(node.attrs.get_id(name).get_type() for node in (a, b))):
            return False
        return _same(a.attrs[name], b.attrs[name], a.file, b.file)

    return [name for name in a.attrs if not kept(name)]


def _dataset_differences(a: h5py.Dataset, b: h5py.Dataset) -> Iterator[str]:
    same_type = _same_type(a.id.get_type(), b.id.get_type())
    if not same_type or (a.shape, a.maxshape, a.chunks) != (b.shape, b.maxshape, b.chunks):
        yield f"{a.name} has another type or shape"
    elif not _same_fill(a, b):
        yield f"{a.name} has another fill value"
    elif a.shape is None or a.shape == ():
        if not _same(a[()], b[()], a.file, b.file):
            yield f"{a.name} has changed"
    elif a.chunks is not None and not a.dtype.hasobject:
        yield from _chunk_differences(a, b)
    elif any(not _same(a[block], b[block], a.file, b.file) for block in blocks(a.shape, a.chunks, a.dtype.itemsize)):
        yield f"{a.name} has changed"


def _same_type(x: Any, y: Any) -> bool:
    """Whether two HDF5 types are the same, also in what `H5Tequal` passes over: the character set of texts."""
    return bool(x.equal(y) and x.copy().encode() == y.copy().encode())


def _same_fill(a: h5py.Dataset, b: h5py.Dataset) -> bool:
    """Whether two datasets of one type read the same where nothing was written."""
    kinds = [dataset.id.get_create_plist().fill_value_defined() for dataset in (a, b)]
    if kinds[0] != kinds[1]:
        return False
    return kinds[0] != h5py.h5d.FILL_VALUE_USER_DEFINED or _same(a.fillvalue, b.fillvalue, a.file, b.file)


def _chunk_differences(a: h5py.Dataset, b: h5py.Dataset) -> Iterator[str]:
    """Compare chunks as they lie on disk: quick, and no filter need be at hand that decodes them."""
    if _filters(a) != _filters(b):
        yield f"{a.name} is compressed in another way"
        return
    found: list[list[tuple[int, ...]]] = [[], []]
    for dataset, offsets in zip((a, b), found, strict=True):
        dataset.id.chunk_iter(lambda info, offsets=offsets: offsets.append(info.chunk_offset))
    if sorted(found[0]) != sorted(found[1]) or any(
        a.id.read_direct_chunk(offset) != b.id.read_direct_chunk(offset) for offset in found[0]
    ):
        yield f"{a.name} has changed"


def _filters(dataset: h5py.Dataset) -> list[Any]:
    plist = dataset.id.get_create_plist()
    return [plist.get_filter(i) for i in range(plist.get_nfilters())]


def blocks(
    shape: tuple[int, ...], chunks: tuple[int, ...] | None, itemsize: int, limit: int = BLOCK_BYTES
) -> Iterator[tuple[slice, ...]]:
    """Yield the parts of an array, made of whole chunks, that together cover it; each of `limit` bytes or one chunk.

    Parameters
    ----------
    shape : tuple of int
        Shape of the array.
    chunks : tuple of int or None
        Shape of its chunks; None if it has none.
    itemsize : int
        Bytes of one value.
    limit : int
        Bytes of one part.
    """
    if 0 in shape:
        return
    size = list(chunks or (1,) * len(shape))
    for axis in reversed(range(len(shape))):
        others = int(np.prod(size, dtype=np.int64)) * itemsize
        size[axis] = min(shape[axis], size[axis] * max(1, limit // others))
    for place in np.ndindex(*(-(-length // step) for length, step in zip(shape, size, strict=True))):
        yield tuple(slice(i * step, (i + 1) * step) for i, step in zip(place, size, strict=True))


def _same(x: Any, y: Any, old: h5py.File, new: h5py.File) -> bool:
    """Whether two values read from the two files are the same, references by what they point at."""
    if isinstance(x, (h5py.Reference, h5py.RegionReference)):
        return type(x) is type(y) and _target(x, old) == _target(y, new)
    if isinstance(x, h5py.Empty) or isinstance(y, h5py.Empty):
        return bool(x == y)
    x, y = np.asarray(x), np.asarray(y)
    if x.dtype != y.dtype or x.shape != y.shape:
        return False
    if x.dtype.names is not None:
        return all(_same(x[name], y[name], old, new) for name in x.dtype.names)
    if x.dtype.hasobject:
        return all(_same_item(p, q, old, new) for p, q in zip(x.ravel(), y.ravel(), strict=True))
    # bit by bit: not-a-number is equal to itself
    return bool(x.tobytes() == y.tobytes())


def _same_item(p: Any, q: Any, old: h5py.File, new: h5py.File) -> bool:
    if isinstance(p, (str, bytes)):
        return type(p) is type(q) and p == q
    return _same(p, q, old, new)


def _target(reference: Any, file: h5py.File) -> tuple[Any, ...]:
    if not reference:
        return ()
    name = h5py.h5r.get_name(reference, file.id)
    if not isinstance(reference, h5py.RegionReference):
        return (name,)
    region = h5py.h5r.get_region(reference, file.id)
    if region.get_select_npoints() == 0:
        return (name,)
    if region.get_select_type() == h5py.h5s.SEL_POINTS:
        return (name, region.get_select_elem_pointlist().tolist())
    if region.get_select_type() == h5py.h5s.SEL_HYPERSLABS:
        return (name, region.get_select_hyper_blocklist().tolist())
    return (name, region.get_select_npoints(), region.get_select_bounds())


def _zarr_difference(before: Path, after: Path, without: Collection[str]) -> str | None:
    """Compare two stores file by file; attributes may have been added, consolidated metadata are made anew."""
    consolidated = _json(after / ".zmetadata").get("metadata") if (after / ".zmetadata").exists() else None
    for old in sorted(path for path in before.rglob("*") if path.is_symlink() or not path.is_dir()):
        place = old.relative_to(before)
        new = after / place
        if place == Path(".zmetadata") or any(Path(gone[1:]) in place.parents for gone in without):
            continue
        if old.is_symlink():
            if not new.is_symlink() or old.readlink() != new.readlink():
                return f"{place} is {'another link' if new.is_symlink() else 'missing'}"
            continue
        if not new.is_file():
            return f"{place} is missing"
        if old.name == ".zattrs":
            was, is_now = _json(old), _json(new)
            # as text: 1 is not true, and not-a-number is itself
            changed = sorted(k for k in was if k not in is_now or json.dumps(is_now[k]) != json.dumps(was[k]))
            if changed:
                return f"attribute {changed[0]} of /{place.parent} has changed"
        elif not _same_bytes(old, new):
            return f"{place} has changed"
        if consolidated is not None and old.name in (".zattrs", ".zarray", ".zgroup"):
            found = consolidated.get(place.as_posix())
            if json.dumps(found, sort_keys=True) != json.dumps(_json(new), sort_keys=True):
                return f"{place} is another one in the consolidated metadata"
    return None


def _json(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))


def _same_bytes(old: Path, new: Path) -> bool:
    if old.stat().st_size != new.stat().st_size:
        return False
    with old.open("rb") as a, new.open("rb") as b:
        while block := a.read(BLOCK_BYTES):
            if block != b.read(BLOCK_BYTES):
                return False
    return True
