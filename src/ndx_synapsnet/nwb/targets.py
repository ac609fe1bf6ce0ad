"""Files that may be made or replaced, and the room that this takes."""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError, missing_extra
from .copying import How, copied_bytes, probe, require_replaceable
from .disk_errors import plain_errors
from .layout import Format
from .lindi_tar import require_lindi
from .locking import sole_writer
from .replace import recover, require_free, set_aside


@dataclass(frozen=True)
class WritePlan:
    """What writing into a file would take, and what keeps it from being done."""

    path: Path
    """The file."""
    in_place: bool
    """Whether it is there, and would be replaced by an amended copy."""
    how: How
    """How it would be copied: ``reflink`` shares its blocks, ``copy`` takes as much room again."""
    bytes_added: int
    """By which it grows, about; that many it takes if it is new."""
    bytes_needed: int
    """Free on its disk while it is written."""
    bytes_free: int
    """On its disk, now."""
    refusals: tuple[str, ...]
    """Why it cannot be written, each a sentence that says what to do; empty if nothing is known to be in the way."""


def plan(path: str | os.PathLike[str], *, added: int) -> WritePlan:
    """Return what `amend` of a file that is there, or `create` of a new one, would take. Nothing is written.

    Parameters
    ----------
    path : path
        An NWB file or NWB-Zarr folder, or the path of a new one.
    added : int
        Bytes that would be added.
    """
    path = Path(path)
    in_place = path.exists()
    source = path.resolve() if in_place else path
    refusals: list[str] = []
    how: How = "copy"
    try:
        how = check_amendable(source) if in_place else "copy"
        if not in_place:
            require_new(path)
    except InputError as error:
        refusals.append(str(error))
    needed = room_needed(source, how, added) if in_place else added
    folder = source.parent
    free = shutil.disk_usage(folder).free if folder.is_dir() else 0
    if folder.is_dir():
        try:
            require_room(source, needed)
        except InputError as error:
            refusals.append(str(error))
    return WritePlan(path, in_place, how, added, needed, free, tuple(refusals))


def format_of(path: Path) -> Format:
    """Return the format that a new file's name asks for.

    Raises
    ------
    InputError
        If it ends in none of ``.nwb``, ``.zarr`` and ``.lindi.tar``.
    """
    if path.name.endswith(".lindi.tar"):
        return "lindi"
    formats: dict[str, Format] = {".nwb": "hdf5", ".zarr": "zarr"}
    if path.suffix not in formats:
        raise InputError(
            "the name does not say the format", where=str(path), remedy="End it in .nwb or .zarr, or .lindi.tar."
        )
    return formats[path.suffix]


def require_new(path: Path) -> Format:
    """Return the format of a new file, after checking that it could be made.

    Raises
    ------
    InputError
        If its name says no format or one whose package is not installed, the path is taken, or its folder does not
        exist or cannot be written to.
    """
    file_format = format_of(path)
    if not path.parent.is_dir():
        raise InputError("there is no such folder", where=str(path.parent), remedy="Make it first.")
    require_free(path)
    with plain_errors(path):
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path.parent))
    if file_format == "zarr":
        zarr_io()
    elif file_format == "lindi":
        require_lindi()
    return file_format


def zarr_io() -> Any:
    """Return hdmf-zarr's reader and writer class.

    Raises
    ------
    InputError
        If it is not installed.
    """
    try:
        from hdmf_zarr import NWBZarrIO
    except ImportError as error:
        raise missing_extra("hdmf-zarr", "zarr") from error
    return NWBZarrIO


def require_amendable(path: Path) -> Path:
    """Return the path of an existing file, links resolved, after checking that it may be replaced by an amended copy.

    A folder that a killed run had moved aside and not yet replaced is put back first.

    Raises
    ------
    InputError
        If there is no such file, it is write-protected, has other names (hard links) or another owner, or its folder
        cannot be written to.
    """
    source = path.resolve()  # a symbolic link stays one
    if set_aside(source):
        with plain_errors(source), sole_writer(source):
            recover(source)
    if not source.exists():
        raise InputError("there is no such file", where=str(path), remedy="Check the path.")
    check_amendable(source)
    return source


def check_amendable(source: Path) -> How:
    """Return how an existing file would be copied, after the checks of `require_amendable`."""
    with plain_errors(source):
        require_replaceable(source)
        return probe(source)


def room_needed(source: Path, how: How, added: int) -> int:
    """Return the bytes that must be free while a file grows by `added`: those of its copy too, if that has its own."""
    return added + (0 if how == "reflink" else copied_bytes(source))


def require_room(path: Path, needed: int) -> None:
    """Raise if a disk is too small, before it is full.

    Parameters
    ----------
    path : Path
        The file that is to be written.
    needed : int
        Bytes.

    Raises
    ------
    InputError
        With both numbers, and what to do.
    """
    free = shutil.disk_usage(path.parent).free
    if needed > free:
        raise InputError(
            f"the disk is full or too small: {needed / 2**20:,.0f} MiB are needed, {free / 2**20:,.0f} MiB are free",
            where=str(path),
            remedy=f"Nothing was changed. Free space in {path.parent}, or write beside it on another disk (-o).",
        )
