"""Safe file operations: a file is either as it was or complete, valid and whole; never anything between."""

from __future__ import annotations

import errno
import glob
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import h5py
from pynwb import NWBHDF5IO, NWBFile, validate

from ..errors import InputError, missing_extra
from .compare import first_difference
from .layout import Format
from .locking import no_hdf5_writer, sole_writer
from .preserve import add_schemas, has_schemas, put_back_attributes
from .sources import open_source
from .sources.opened import collected_warnings
from .sources.zarr import is_zarr

_T = TypeVar("_T")

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


def format_of(path: Path) -> Format:
    """Return the format that a new file's name asks for.

    Raises
    ------
    InputError
        If it ends in neither ``.nwb`` nor ``.zarr``.
    """
    formats: dict[str, Format] = {".nwb": "hdf5", ".zarr": "zarr"}
    if path.suffix not in formats:
        raise InputError("the name does not say the format", where=str(path), remedy="End it in .nwb or .zarr.")
    return formats[path.suffix]


def create(path: str | os.PathLike[str], nwbfile: NWBFile, *, room: int = 0) -> None:
    """Write a new file: under a temporary name first, then validated, then given its name.

    Parameters
    ----------
    path : path
        The new file: ``.nwb`` for HDF5, ``.zarr`` for a Zarr folder.
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
    with _plain_errors(path), sole_writer(path):
        temporary = _temporary(path, file_format)
        _require_room(path.parent, room)
        try:
            with _open(temporary, file_format, "w") as io:
                io.write(nwbfile)
            _require_valid(temporary, file_format, None, where=path)
            _sync(temporary)
            _require_free(path)
            os.replace(temporary, path)
            _sync(path.parent)
        finally:
            _remove(temporary)


def amend(path: str | os.PathLike[str], modify: Callable[[NWBFile], _T], *, room: int = 0) -> _T:
    """Add to an existing file: copy it, change the copy, validate and compare that, then put it in the file's place.

    Whatever fails or is interrupted before the last step leaves the file as it was, byte by byte, and nothing beside
    it. Nothing that was in the file may be missing or changed afterwards: this adds, it does not edit. The copy needs
    as much free disk space as the file, in the same folder.

    Parameters
    ----------
    path : path
        An NWB file (HDF5), or an NWB-Zarr folder. Two renames replace a folder: it is missing for an instant between.
    modify : callable
        Gets the opened NWBFile, adds to it, and returns what `amend` is to return; nothing read lazily from the file
        may be in that. What it raises passes through.
    room : int
        Bytes that it will add, so that a disk too small is noticed beforehand: HDF5 takes a full disk badly.

    Raises
    ------
    InputError
        If the file cannot be read or is write-protected, its folder cannot be written to, the disk is full, another
        program writes it, the copy is not valid where the file was, or something that was in it has changed.
    """
    source = require_amendable(Path(path))
    file_format: Format = "zarr" if source.is_dir() else "hdf5"
    with _plain_errors(source), sole_writer(source), _quiet(source, file_format):
        _remove_leftovers(source)
        temporary = _temporary(source, file_format)
        stamp = _stamp(source)
        try:
            _require_readable(source, file_format)
            _require_room(source.parent, _size(source) + room)
            _copy(source, temporary)
            answer = _modify(temporary, file_format, modify, source)
            put_back_attributes(source, temporary)
            _require_valid(temporary, file_format, source, where=source)
            if (difference := first_difference(source, temporary)) is not None:
                raise InputError(
                    f"writing would have changed what is in the file: {difference}",
                    where=str(source),
                    remedy="The file is as it was. Write the results into a new file instead.",
                )
            _sync(temporary)
            if _stamp(source) != stamp:
                raise InputError(
                    "the file was changed by another program meanwhile",
                    where=str(source),
                    remedy="Its new content is kept and nothing was added; try again.",
                )
            _replace(temporary, source)
        finally:
            _remove(temporary)
    return answer


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
    _require_free(path)
    with _plain_errors(path):
        _require_open_folder(path.parent)
    if file_format == "zarr":
        _zarr_io()
    return file_format


def require_amendable(path: Path) -> Path:
    """Return the path of an existing file, links resolved, after checking that it may be replaced by an amended copy.

    Raises
    ------
    InputError
        If there is no such file, it is write-protected, or its folder cannot be written to.
    """
    if not path.exists():
        raise InputError("there is no such file", where=str(path), remedy="Check the path.")
    source = path.resolve()  # a symbolic link stays one
    _require_writable(source)
    with _plain_errors(source):
        _require_open_folder(source.parent)
    return source


def _require_open_folder(folder: Path) -> None:
    """Raise as writing into a folder would, if its permissions or its file system forbid that."""
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))


def _require_free(path: Path) -> None:
    if path.exists() or path.is_symlink():
        raise InputError(
            "this path is taken", where=str(path), remedy="Choose another one; an existing file is never overwritten."
        )


def _require_writable(source: Path) -> None:
    """Raise if the file's permissions forbid everybody to write it: replacing it would go round them."""
    if not source.stat().st_mode & 0o222 or not os.access(source, os.W_OK):
        raise InputError(
            "the file is write-protected",
            where=str(source),
            remedy="Write the results into a new file, or take the protection away first.",
        )


@contextmanager
def _quiet(source: Path, file_format: Format) -> Iterator[None]:
    """Keep other programs from writing the source, as far as its format has a way to."""
    if file_format == "zarr":
        yield
    else:
        with no_hdf5_writer(source):
            yield


def _temporary(path: Path, file_format: Format) -> Path:
    """Return a new name in the folder of `path`: on the same disk, and external links in it stay right."""
    return path.with_name(f".{path.name}.{uuid4().hex}.tmp{'.zarr' if file_format == 'zarr' else '.nwb'}")


def _remove_leftovers(source: Path) -> None:
    """Remove copies that a process which was killed left behind; nobody else is at work, the lock is ours."""
    for leftover in source.parent.glob(f".{glob.escape(source.name)}.*.tmp.*"):
        if re.fullmatch(r"\.[0-9a-f]{32}\.tmp\.(nwb|zarr)", leftover.name[len(source.name) + 1 :]):
            _remove(leftover)


def _remove(path: Path) -> None:
    with suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _stamp(path: Path) -> tuple[int, ...]:
    """Return what changes when somebody writes a file (of a folder: its own entries and metadata)."""
    status = [path.stat()]
    if path.is_dir():
        status += [(path / name).stat() for name in (".zattrs", ".zmetadata") if (path / name).exists()]
    return tuple(number for s in status for number in (s.st_ino, s.st_size, s.st_mtime_ns))


def _size(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _require_room(folder: Path, needed: int) -> None:
    """Raise as a full disk would, before it is."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OSError(errno.ENOSPC, f"{needed / 2**20:,.0f} MiB are needed, {free / 2**20:,.0f} MiB are free")


def _copy(source: Path, temporary: Path) -> None:
    """Copy a file or folder, with its permissions and, where that is allowed, its owner."""
    if source.is_dir():
        shutil.copytree(source, temporary, symlinks=True)
    else:
        shutil.copyfile(source, temporary)
        shutil.copymode(source, temporary)
    status = source.stat()
    if hasattr(os, "chown"):
        with suppress(PermissionError):
            os.chown(temporary, status.st_uid, status.st_gid)


def _open(path: Path, file_format: Format, mode: str) -> Any:
    """Return pynwb's reader and writer of a file, open."""
    return NWBHDF5IO(str(path), mode) if file_format == "hdf5" else _zarr_io()(str(path), mode)


def _zarr_io() -> Any:
    """Return hdmf-zarr's reader and writer class."""
    try:
        from hdmf_zarr import NWBZarrIO
    except ImportError as error:
        raise missing_extra("hdmf-zarr", "zarr") from error
    return NWBZarrIO


def _require_readable(source: Path, file_format: Format) -> None:
    """Raise if a file is plainly no NWB file, before it is copied."""
    if file_format == "hdf5" and h5py.is_hdf5(source):
        with suppress(OSError), h5py.File(source, "r"):
            return
    elif file_format == "zarr" and is_zarr(source):
        return
    with open_source(source):  # says in plain words what is wrong
        pass


def _modify(path: Path, file_format: Format, modify: Callable[[NWBFile], _T], source: Path) -> _T:
    """Open the copy, have it modified, and write it."""
    holds_schemas = has_schemas(path)
    io = None
    try:
        try:
            with collected_warnings():  # what readers say of the source is not said again
                io = _open(path, file_format, "r+")
                nwbfile = io.read()
        except Exception:
            with open_source(source):  # says in plain words what is wrong, and names the source
                pass
            raise
        answer = modify(nwbfile)
        io.write(nwbfile, cache_spec=not holds_schemas)
    finally:
        if io is not None:
            io.close()
    if holds_schemas:
        add_schemas(path, io.manager.namespace_catalog)
    return answer


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
        with _open(path, file_format, "r") as io:
            return {str(error) for error in validate(io=io)}


def _sync(path: Path) -> None:
    """Have the disk keep what was written."""
    if os.name != "posix":
        return
    if path.is_dir() and path.suffix == ".zarr":
        os.sync()  # a store is thousands of files
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _replace(temporary: Path, source: Path) -> None:
    """Put the copy in the source's place: in one step for a file, with a way back for a folder."""
    if not source.is_dir():
        os.replace(temporary, source)
    else:
        old = _temporary(source, "zarr")
        try:
            os.rename(source, old)
            os.rename(temporary, source)
        except BaseException:
            if not source.exists() and old.exists():
                os.rename(old, source)
            raise
        _remove(old)
    _sync(source.parent)


@contextmanager
def _plain_errors(path: Path) -> Iterator[None]:
    """Say in plain words what the disk refused."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        code = _error_number(error)
        if code is not None and code in _FULL:
            # what HDF5 appends is of use to its makers only
            reason = re.split(r",? ?\(?(?:errno = |file write failed)", getattr(error, "strerror", None) or "")[0]
            raise InputError(
                f"the disk is full or the file would be too large ({reason or os.strerror(code)})",
                where=str(path),
                remedy=f"Nothing was changed. Free space in {path.parent}, or write to another disk.",
            ) from error
        if code in _FORBIDDEN:
            raise InputError(
                f"the folder {path.parent} cannot be written to",
                where=str(path),
                remedy="Nothing was changed. Write the results into a new file in a folder of yours.",
            ) from error
        raise


def _error_number(error: Exception) -> int | None:
    """Return an error's number; HDF5 tells it in the text only."""
    if getattr(error, "errno", None):
        return int(error.errno)  # type: ignore[attr-defined]
    found = re.search(r"errno = (\d+)", str(error))
    return int(found.group(1)) if found else None
