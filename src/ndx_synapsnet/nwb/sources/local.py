"""Files and folders of this machine."""

from __future__ import annotations

import glob
from contextlib import AbstractContextManager
from difflib import get_close_matches
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from ...errors import InputError
from .hdf5 import open_hdf5
from .opened import OpenedFile
from .uri import is_glob
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
    """Return a context manager that opens a local HDF5 file, NWB-Zarr folder or lindi file.

    Raises
    ------
    InputError
        If there is nothing at the path, or a folder that is not an NWB-Zarr store; on entering, see the formats.
    """
    path = local_path(uri)
    if not path.exists():
        raise InputError("there is no such file", where=str(path), remedy="Check the path")
    if not path.is_dir():
        if path.name.endswith(".lindi.tar"):
            from .lindi import open_lindi, read_tar

            return open_lindi(read_tar(path), where=str(path), record={}, local=True)
        if _is_json(path):
            from .lindi import open_lindi

            return open_lindi(path.read_bytes(), where=str(path), record={}, local=True)
        return open_hdf5(path)
    if is_zarr(path):
        return open_zarr(path)
    inside = sorted(p.name for p in path.iterdir() if p.suffix in (".nwb", ".zarr"))
    remedy = f"Name a file inside it, such as {path / inside[0]}" if inside else "Give the path of an .nwb file"
    raise InputError("this is a folder, and not an NWB-Zarr store", where=str(path), remedy=remedy)


def expand_local(pattern: str) -> list[str]:
    """Return the absolute paths of files and Zarr folders that fit a pattern, sorted; ``**`` is any number of folders.

    Raises
    ------
    InputError
        If nothing fits.
    """
    path = local_path(pattern)
    found = sorted(Path(name) for name in glob.glob(str(path), recursive=True))
    files = [str(one) for one in found if not one.is_dir() or is_zarr(one)]
    # what lies inside a Zarr store is no recording of its own
    stores = tuple(f"{one}/" for one in files if Path(one).is_dir())
    files = [one for one in files if not one.startswith(stores)]
    if files:
        return files
    parts = path.parts
    fixed = Path(*parts[: next(i for i, part in enumerate(parts) if is_glob(part))])
    while not fixed.is_dir():
        fixed = fixed.parent
    there = [str(fixed / one.name) for one in sorted(fixed.iterdir())]
    near = get_close_matches(str(path), there, n=4, cutoff=0.3) or there[:4]
    raise InputError(
        "no file fits this pattern",
        where=str(path),
        remedy=f"There is {', '.join(near)}" if near else f"The folder {fixed} is empty",
    )


def _is_json(path: Path) -> bool:
    """Return whether a file begins as JSON does, which HDF5 never does."""
    try:
        with path.open("rb") as file:
            return file.read(64).lstrip().startswith(b"{")
    except OSError:
        return False
