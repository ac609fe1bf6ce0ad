"""What a recording refers to outside itself: a copy of it elsewhere would link into nowhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import h5py
from pynwb import NWBFile
from pynwb.image import ImageSeries

from ..errors import InputError

_SHOWN = 3


def require_self_contained(source: Path) -> None:
    """Raise if part of a file lies in another one.

    Parameters
    ----------
    source : Path
        An HDF5 file or a Zarr folder.

    Raises
    ------
    InputError
        If it has external links, virtual datasets or external storage (HDF5), or links to another store (Zarr).
    """
    if source.is_dir():
        outside = list(_zarr_links(source))
    else:
        with h5py.File(source, "r") as file:
            outside = list(_hdf5_links(file))
    if outside:
        some = ", ".join(outside[:_SHOWN]) + (", ..." if len(outside) > _SHOWN else "")
        raise InputError(
            f"{len(outside)} of its objects lie in other files ({some}), and a copy would link into nowhere",
            where=str(source),
            remedy="Make it one file first (pynwb's export with link_data=False), or leave out --with-source.",
        )


def _hdf5_links(file: h5py.File) -> Iterator[str]:
    """Yield what lies in other files, as ``object -> file``."""
    seen = set()
    waiting: list[h5py.Group] = [file]
    while waiting:
        group = waiting.pop()
        for name in group:
            link = group.get(name, getlink=True)
            path = f"{group.name.rstrip('/')}/{name}"
            if isinstance(link, h5py.ExternalLink):
                yield f"{path} -> {link.filename}"
            elif isinstance(link, h5py.HardLink):
                item = group[name]
                address = h5py.h5o.get_info(item.id).addr
                if address in seen:
                    continue
                seen.add(address)
                if isinstance(item, h5py.Group):
                    waiting.append(item)
                elif isinstance(item, h5py.Dataset):
                    yield from (f"{path} -> {other}" for other in _parts_elsewhere(item))


def _parts_elsewhere(dataset: h5py.Dataset) -> Iterator[str]:
    if dataset.is_virtual:
        yield from sorted({part.file_name for part in dataset.virtual_sources()} - {"."})
    yield from (str(name) for name, *_ in dataset.external or ())


def _zarr_links(store: Path) -> Iterator[str]:
    """Yield links to other stores, as hdmf-zarr keeps them in a group's attributes."""
    for file in sorted(store.rglob(".zattrs")):
        try:
            links = json.loads(file.read_bytes()).get("zarr_link") or []
            others = [(link["name"], link["source"]) for link in links if link["source"] not in (".", None)]
        except (ValueError, AttributeError, TypeError, KeyError):
            continue  # reading the store says what is wrong with it
        group = file.parent.relative_to(store).as_posix()
        yield from (f"{group}/{name} -> {other}" for name, other in others)


def require_pictures(nwbfile: NWBFile, source: Path, path: Path) -> None:
    """Raise if pictures or films that lie beside a recording would not be found from a copy of it.

    Parameters
    ----------
    nwbfile : NWBFile
        The open recording.
    source, path : Path
        The recording, and its copy. What is not found from the recording either is no loss.

    Raises
    ------
    InputError
        If the copy lies in another folder, and a relative path of the recording means a file that is there.
    """
    here, there = source.parent.resolve(), path.parent.resolve()
    if here == there:
        return
    for item in nwbfile.objects.values():
        if not isinstance(item, ImageSeries) or item.external_file is None:
            continue
        for name in map(str, item.external_file[:]):
            if "://" not in name and not Path(name).is_absolute() and (here / name).exists():
                raise InputError(
                    f"its series {item.name} is kept in {name} beside it, which a copy elsewhere would not find",
                    where=str(source),
                    remedy=f"Write the copy into the folder {here}, or leave out --with-source.",
                )
