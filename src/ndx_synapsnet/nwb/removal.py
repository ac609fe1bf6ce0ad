"""Takes objects out of a copy of a file, unless something that stays refers to them."""

from __future__ import annotations

import json
import pickletools
import posixpath
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..errors import InputError, missing_extra
from .compare import blocks


def object_paths(names: Collection[str]) -> tuple[str, ...]:
    """Return the absolute paths inside a file that `names` mean; the leading slash may be left out.

    Raises
    ------
    InputError
        If one of them is no path of an object, or is the whole file.
    """
    paths = []
    for name in names:
        parts = name.strip("/").split("/")
        if not all(parts) or {".", ".."} & set(parts):
            raise InputError(
                f"{name!r} is no object of a file", remedy="Name it by its path, such as processing/ophys/x."
            )
        paths.append("/" + "/".join(parts))
    return tuple(sorted(set(paths)))


def is_within(path: str, removed: Collection[str]) -> bool:
    """Return whether an absolute path is one of `removed`, or of an object inside one of them."""
    return any(path == gone or path.startswith(gone + "/") for gone in removed)


def remove_from_hdf5(file: h5py.File, removed: Collection[str], *, where: str) -> None:
    """Unlink objects of an HDF5 file that is open for writing; the space that they took is used for what is added next.

    Parameters
    ----------
    file : h5py.File
        The file, of which nothing is unlinked if this raises.
    removed : collection of str
        Absolute paths, of `object_paths`.
    where : str
        The file, for messages.

    Raises
    ------
    InputError
        If there is no such object, or a link or reference of what stays leads to one of them or into it.
    """
    for path in removed:
        if file.get(path, getlink=True) is None:
            raise _missing(path, where)
    gone: set[int] = set()
    kept: list[tuple[str, Any]] = []
    links: list[tuple[str, str]] = []
    waiting: list[tuple[str, Any, bool]] = [("", file, False)]
    seen: set[tuple[int, bool]] = set()
    while waiting:
        path, node, inside = waiting.pop()
        address = h5py.h5o.get_info(node.id).addr
        if (address, inside) in seen:
            continue
        seen.add((address, inside))
        if inside:
            gone.add(address)
        else:
            kept.append((path or "/", node))
        for name in node if isinstance(node, h5py.Group) else ():
            place = f"{path}/{name}"
            link = node.get(name, getlink=True)
            if isinstance(link, h5py.HardLink):
                waiting.append((place, node[name], inside or place in removed))
            elif isinstance(link, h5py.SoftLink) and not is_within(place, removed) and not inside:
                links.append((place, posixpath.normpath(posixpath.join(path or "/", link.path))))
    for place, target in links:
        if is_within(target, removed):
            raise _referred(target, place, where)
    for path, node in kept:
        if h5py.h5o.get_info(node.id).addr in gone:  # by a second hard link
            raise _referred(removed, path, where)
        for target in _references(node):
            if h5py.h5o.get_info(target).addr in gone:
                raise _referred(h5py.h5i.get_name(target).decode(), path, where)
    for path in removed:
        if path in file or file.get(path, getlink=True) is not None:  # inside another one it has gone already
            del file[path]


def _references(node: Any) -> Iterator[Any]:
    """Yield what the references in an HDF5 object's attributes and data point at; those into nowhere are left out."""
    for name in node.attrs:
        kind = node.attrs.get_id(name).dtype
        if _may_refer(kind):
            yield from _targets(node.attrs[name], node.file)
    if isinstance(node, h5py.Dataset) and _may_refer(node.dtype) and node.shape is not None:
        if node.shape == ():
            yield from _targets(node[()], node.file)
        else:
            for block in blocks(node.shape, node.chunks, node.dtype.itemsize):
                yield from _targets(node[block], node.file)


def _may_refer(kind: np.dtype[Any]) -> bool:
    """Return whether values of an HDF5 type can hold references."""
    if kind.names is not None:
        return any(_may_refer(kind[name]) for name in kind.names)
    if kind.subdtype is not None:
        return _may_refer(kind.subdtype[0])
    inside = h5py.check_vlen_dtype(kind)
    if inside is not None and inside not in (str, bytes):
        return _may_refer(np.dtype(inside))
    return h5py.check_ref_dtype(kind) is not None


def _targets(value: Any, file: h5py.File) -> Iterator[Any]:
    if isinstance(value, (h5py.Reference, h5py.RegionReference)):
        if value:
            yield h5py.h5r.dereference(value, file.id)
        return
    array = np.asarray(value)
    if array.dtype.names is not None:
        for name in array.dtype.names:
            yield from _targets(array[name], file)
    elif array.dtype.hasobject:
        for item in array.ravel():
            yield from _targets(item, file)


def remove_from_zarr(folder: Path, removed: Collection[str], *, where: str) -> None:
    """Take objects out of a Zarr folder, and write its consolidated metadata anew.

    Parameters
    ----------
    folder : Path
        The store, of which nothing is removed if this raises.
    removed : collection of str
        Absolute paths, of `object_paths`.
    where : str
        The file, for messages.

    Raises
    ------
    InputError
        If there is no such object, or a link or reference of what stays leads to one of them or into it.
    """
    removed = [path for path in removed if not is_within(posixpath.dirname(path), removed)]
    for path in removed:
        place = folder / path[1:]
        if not any((place / name).is_file() for name in (".zgroup", ".zarray")):
            raise _missing(path, where)
    for file in sorted(path for name in (".zattrs", ".zarray") for path in folder.rglob(name)):
        path = "/" + file.parent.relative_to(folder).as_posix().removeprefix(".")
        if is_within(path, removed):
            continue
        content = json.loads(file.read_text(encoding="utf-8"))
        found = _zarr_places(content) if file.name == ".zattrs" else _chunk_texts(file.parent, content)
        for text in found:
            target = posixpath.normpath("/" + text.lstrip("/"))
            if is_within(target, removed):
                raise _referred(target, path, where)
    for path in removed:
        shutil.rmtree(folder / path[1:])
    if (folder / ".zmetadata").exists():
        try:
            import zarr
        except ImportError as error:
            raise missing_extra("zarr", "zarr") from error
        zarr.consolidate_metadata(str(folder))


def _zarr_places(value: Any) -> Iterator[str]:
    """Yield the paths that the links and references among a Zarr object's attributes lead to."""
    if isinstance(value, dict):
        if isinstance(value.get("path"), str) and value.get("source") == ".":  # in this same store
            yield value["path"]
        for inside in value.values():
            yield from _zarr_places(inside)
    elif isinstance(value, list):
        for inside in value:
            yield from _zarr_places(inside)


def _chunk_texts(array: Path, description: dict[str, Any]) -> Iterator[str]:
    """Yield the texts among an array's references, of which some are paths. Nothing is unpickled: it is only looked at.

    hdmf-zarr keeps references in datasets as pickled objects, or on request as JSON; numbers and texts hold none.
    """
    codec = (description.get("filters") or [{}])[-1].get("id")
    if codec not in ("pickle", "json2"):
        return
    from numcodecs import get_codec

    compressor = get_codec(description["compressor"]) if description.get("compressor") else None
    for chunk in array.iterdir():
        if chunk.name.startswith(".") or not chunk.is_file():
            continue
        content = chunk.read_bytes()
        content = bytes(compressor.decode(content)) if compressor else content
        if codec == "json2":
            yield from _zarr_places(json.loads(content))
        else:
            yield from (argument for _, argument, _ in pickletools.genops(content) if isinstance(argument, str))


def _missing(path: str, where: str) -> InputError:
    return InputError(f"there is no {path} in it to be removed", where=where, remedy="The file is as it was.")


def _referred(target: Any, by: str, where: str) -> InputError:
    target = target if isinstance(target, str) else " or ".join(target)
    return InputError(
        f"{target} cannot be removed: {by} refers to it",
        where=where,
        remedy="The file is as it was. Remove that first, or export the rest to a new file.",
    )
