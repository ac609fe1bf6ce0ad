"""Safe file operations: a file is either as it was or complete, valid and whole; never anything between.

An HDF5 file that is open for writing when its process dies can be lost whole, so none of the user's ever is. A copy is
changed instead (sharing blocks with the file where the file system can, so that it is made at once and takes no room),
brought to the disk, read back, validated and compared with the file, and only then renamed over it: at every moment one
complete file has the name. A journal of undone writes would need less room for large files where blocks cannot be
shared, but would have to be right about what HDF5 overwrites, and a file would wait to be repaired after a crash, by
whoever opens it first, with or without this package. So a disk too small is a reason to refuse, with the numbers.

What it keeps: permissions, owner, group, extended attributes, access lists, holes, symbolic links to it. It is dated
now, as a file that was written. One with other names (hard links) is refused, for those would keep the old content.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import h5py
from pynwb import NWBHDF5IO, NWBFile, validate

from ..errors import InputError
from .compare import first_difference
from .copying import copied_bytes, copy, copy_content, keep_access, set_aside_room
from .disk_errors import plain_errors
from .layout import Format
from .lindi_tar import write_lindi_tar
from .locking import no_hdf5_writer, sole_writer
from .preserve import add_schemas, has_schemas, put_back_attributes
from .removal import object_paths, remove_from_hdf5, remove_from_zarr
from .replace import publish, recover, remove_leftovers, replace, require_same, stamp, sync_all, temporary_name
from .replace import remove as delete
from .sources import open_source
from .sources.opened import collected_warnings
from .sources.zarr import is_zarr
from .targets import (
    WritePlan,
    check_amendable,
    format_of,
    plan,
    require_amendable,
    require_new,
    require_room,
    room_needed,
    zarr_io,
)
from .unfailing import open_to_write

__all__ = [
    "WritePlan",
    "amend",
    "create",
    "derive",
    "format_of",
    "plan",
    "require_amendable",
    "require_new",
    "validation_errors",
]

_T = TypeVar("_T")


def create(path: str | os.PathLike[str], nwbfile: NWBFile, *, room: int = 0) -> None:
    """Write a new file: under a temporary name first, then validated, then given its name.

    Parameters
    ----------
    path : path
        The new file: ``.nwb`` for HDF5, ``.zarr`` for a Zarr folder, ``.lindi.tar`` for lindi.
    nwbfile : NWBFile
        What to write.
    room : int
        Bytes that it takes, so that a disk too small is noticed beforehand.

    Raises
    ------
    InputError
        If the path is taken, its folder does not exist or cannot be written to, the disk is full, or the content is
        not valid NWB. Nothing is left behind.
    """
    path = Path(path)
    file_format = require_new(path)
    with plain_errors(path), sole_writer(path):
        remove_leftovers(path)
        temporary = temporary_name(path, file_format)
        require_room(path, room)
        try:
            _write_new(temporary, file_format, nwbfile)
            _require_valid(temporary, file_format, None, where=path)
            sync_all(temporary)
            publish(temporary, path)
        finally:
            _tidy(temporary)


def amend(
    path: str | os.PathLike[str],
    modify: Callable[[NWBFile], _T],
    *,
    remove: Collection[str] = (),
    room: int = 0,
    wait: float = 0,
) -> _T:
    """Add to an existing file: copy it, change the copy, validate and compare that, then put it in the file's place.

    Whatever fails, is interrupted or killed before the last step leaves the file as it was, byte by byte; what a killed
    process leaves beside it goes with the next write. Nothing that was in the file may be missing or changed
    afterwards, but for what `remove` names: this adds, it does not edit. The file itself is never open for writing.

    Parameters
    ----------
    path : path
        An NWB file (HDF5), or an NWB-Zarr folder.
    modify : callable
        Gets the opened NWBFile, adds to it, and returns what `amend` is to return; nothing read lazily from the file
        may be in that. What it raises passes through.
    remove : collection of str
        Paths inside the file, such as ``processing/ecephys/synapsnet``, of objects that are taken out before `modify`.
    room : int
        Bytes that `modify` will add, rather too many: they are set aside beforehand, for HDF5 takes a full disk badly.
    wait : float
        Seconds to wait for another process that writes the file.

    Raises
    ------
    InputError
        If the file cannot be read or is write-protected, has other names (hard links) or another owner, its folder
        cannot be written to, the disk is full or fails, another program writes it, what is to be removed is not there
        or is referred to, the copy is not valid where the file was, or something that was in it has changed.

    Notes
    -----
    An HDF5 file is replaced in one step, on every system. A Zarr folder is too on Linux, where two folders can be
    exchanged; elsewhere it is missing for an instant between two renames, and should the process be killed just then,
    the next write puts it back. Readers that have an HDF5 file open keep reading what it was. Those of a Zarr folder
    open its files by name, one by one: while it is replaced they may find those of both, so they should not be at work.
    Zarr knows no lock either: another program that writes the folder is noticed only if it does so before the swap.
    """
    source = require_amendable(Path(path))
    removed = object_paths(remove)
    file_format: Format = "zarr" if source.is_dir() else "hdf5"
    with plain_errors(source), sole_writer(source, wait=wait), _quiet(source, file_format, wait):
        recover(source)
        remove_leftovers(source)
        temporary = temporary_name(source, file_format)
        before = stamp(source)
        try:
            _require_readable(source, file_format)
            require_room(source, room_needed(source, check_amendable(source), room))
            copy(source, temporary)
            answer = _modify(temporary, file_format, modify, source, removed, room)
            if file_format == "zarr":
                keep_access(source, temporary)
            sync_all(temporary)
            _require_valid(temporary, file_format, source, where=source)
            if (difference := first_difference(source, temporary, without=removed)) is not None:
                raise InputError(
                    f"writing would have changed what is in the file: {difference}",
                    where=str(source),
                    remedy="The file is as it was. Write the results into a new file instead.",
                )
            require_same(source, before)
            replace(temporary, source)
        finally:
            _tidy(temporary)
    return answer


def derive(
    source: str | os.PathLike[str], path: str | os.PathLike[str], modify: Callable[[NWBFile], _T], *, room: int = 0
) -> _T:
    """Write a new file that holds everything of another one, and what `modify` adds; as safely as `create` and `amend`.

    Parameters
    ----------
    source : path
        An NWB file (HDF5), or an NWB-Zarr folder; it is only read, and may be write-protected.
    path : path
        The new file, of the same format. It belongs to who writes it.
    modify : callable
        As for `amend`.
    room : int
        Bytes that `modify` will add, rather too many.

    Raises
    ------
    InputError
        As `create` and `amend`, or if the formats differ. Nothing is left behind.
    """
    source, path = Path(source), Path(path)
    file_format = require_new(path)
    if file_format != ("zarr" if source.is_dir() else "hdf5"):
        raise InputError(
            f"all of a {'Zarr folder' if source.is_dir() else 'file in HDF5'} can be kept in that format only",
            where=str(path),
            remedy=f"End the name in {'.zarr' if source.is_dir() else '.nwb'}.",
        )
    with plain_errors(path), sole_writer(path), _quiet(source, file_format, 0):
        remove_leftovers(path)
        temporary = temporary_name(path, file_format)
        before = stamp(source)
        try:
            _require_readable(source, file_format)
            require_room(path, copied_bytes(source) + room)
            copy_content(source, temporary)
            answer = _modify(temporary, file_format, modify, source, (), room)
            sync_all(temporary)
            _require_valid(temporary, file_format, source, where=path)
            if (difference := first_difference(source, temporary)) is not None:
                raise InputError(f"the new file would differ from its source: {difference}", where=str(path))
            require_same(source, before)
            publish(temporary, path)
        finally:
            _tidy(temporary)
    return answer


@contextmanager
def _quiet(source: Path, file_format: Format, wait: float) -> Iterator[None]:
    """Keep other programs from writing the source, as far as its format has a way to."""
    if file_format == "zarr":
        yield
    else:
        with no_hdf5_writer(source, wait=wait):
            yield


def _tidy(temporary: Path) -> None:
    """Remove what is of no more use; where the disk refuses that, the next write does it."""
    with suppress(OSError):
        delete(temporary)


def _write_new(path: Path, file_format: Format, nwbfile: NWBFile) -> None:
    if file_format == "lindi":
        write_lindi_tar(path, nwbfile)
    elif file_format == "zarr":
        with _open(path, file_format, "w") as io:
            io.write(nwbfile)
    else:
        with open_to_write(path, new=True) as file:
            io = _open(path, file_format, "w", file)
            io.write(nwbfile)
            io.close_linked_files()


def _open(path: Path, file_format: Format, mode: str, place: h5py.File | Path | None = None) -> Any:
    """Return pynwb's reader and writer of a file, open; of an HDF5 file that is open already, if that is given."""
    if file_format == "zarr":
        return zarr_io()(str(path), mode)
    return NWBHDF5IO(str(path), mode, file=place if isinstance(place, h5py.File) else None)


def _require_readable(source: Path, file_format: Format) -> None:
    """Raise if a file is plainly no NWB file, before it is copied."""
    if file_format == "hdf5" and h5py.is_hdf5(source):
        with suppress(OSError), h5py.File(source, "r"):
            return
    elif file_format == "zarr" and is_zarr(source):
        return
    with open_source(source) as opened:  # says in plain words what is wrong
        raise InputError(
            f"a {opened.format} file is not written into, and not copied",
            where=str(source),
            remedy="Write the results into a new file instead.",
        )


def _modify(
    path: Path,
    file_format: Format,
    modify: Callable[[NWBFile], _T],
    source: Path,
    removed: Collection[str],
    room: int,
) -> _T:
    """Open the copy, take out of it what is to go, have it modified, written, and its old attributes put back."""
    with _writable(path, file_format, room) as place:
        holds_schemas = has_schemas(place)
        if isinstance(place, h5py.File):
            remove_from_hdf5(place, removed, where=str(source))
        elif removed:
            remove_from_zarr(place, removed, where=str(source))
        try:
            with collected_warnings():  # what readers say of the source is not said again
                io = _open(path, file_format, "r+", place)
                nwbfile = io.read()
        except Exception:
            with open_source(source):  # says in plain words what is wrong, and names the source
                pass
            raise
        try:
            answer = modify(nwbfile)
            io.write(nwbfile, cache_spec=not holds_schemas)
        finally:
            io.close_linked_files() if file_format == "hdf5" else io.close()
        if holds_schemas:
            add_schemas(place, io.manager.namespace_catalog)
        put_back_attributes(source, place, without=removed)
    return answer


@contextmanager
def _writable(path: Path, file_format: Format, room: int) -> Iterator[h5py.File | Path]:
    """Yield the copy to write to: an HDF5 file that is open meanwhile, or the folder itself."""
    if file_format == "zarr":
        yield path
        return
    set_aside_room(path, room)
    with open_to_write(path) as file:
        yield file


def _require_valid(path: Path, file_format: Format, source: Path | None, *, where: Path) -> None:
    """Raise if a file has validation errors that its source has not."""
    errors = validation_errors(path, file_format)
    if errors and source is not None:
        errors -= validation_errors(source, file_format)
    if errors:
        raise InputError(
            f"what was to be written is not valid NWB: {'; '.join(sorted(errors))}",
            where=str(where),
            remedy="Nothing was changed. Write the results into a new file instead, and please report this.",
        )


def validation_errors(path: Path, file_format: Format) -> set[str]:
    """Return what `pynwb.validate` says of a file, by the schemas kept in it."""
    with collected_warnings():
        if file_format == "hdf5":
            return {str(error) for error in validate(path=str(path))}
        if file_format == "lindi":
            with open_source(path) as opened:
                return {str(error) for error in validate(io=opened.nwbfile.read_io)}
        with _open(path, file_format, "r") as io:
            return {str(error) for error in validate(io=io)}
