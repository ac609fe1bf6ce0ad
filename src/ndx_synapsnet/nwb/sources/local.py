"""Files and folders of this machine."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from ...errors import InputError
from .hdf5 import open_hdf5
from .opened import OpenedFile
from .zarr import is_zarr, open_zarr


def local_path(uri: str) -> Path:
    """Return the absolute path that `uri` (a path or a ``file://`` address) names, symbolic links kept.

    Raises
    ------
    InputError
        If the address names another machine.
    """
    text = uri
    if uri.lower().startswith("file:"):
        parts = urlsplit(uri)
        if parts.netloc not in ("", "localhost"):
            raise InputError(
                f"the address names another machine ({parts.netloc})", where=uri, remedy="Give a path on this machine"
            )
        text = url2pathname(parts.path)
    return Path(text).expanduser().absolute()


def open_local(uri: str) -> AbstractContextManager[OpenedFile]:
    """Return a context manager that opens a local HDF5 file or NWB-Zarr folder.

    Raises
    ------
    InputError
        If there is nothing at the path, or a folder that is not an NWB-Zarr store; on entering, see the formats.
    """
    path = local_path(uri)
    if not path.exists():
        raise InputError("there is no such file", where=str(path), remedy="Check the path")
    if not path.is_dir():
        return open_hdf5(path)
    if is_zarr(path):
        return open_zarr(path)
    inside = sorted(p.name for p in path.iterdir() if p.suffix in (".nwb", ".zarr"))
    remedy = f"Name a file inside it, such as {path / inside[0]}" if inside else "Give the path of an .nwb file"
    raise InputError("this is a folder, and not an NWB-Zarr store", where=str(path), remedy=remedy)
