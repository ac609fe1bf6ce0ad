"""Putting a finished copy in a file's place, in one step that survives a crash; and tidying up after one that did not.

Beside a file NAME there may lie, while it is written, ``.NAME.HEX.tmp.nwb`` or ``.tmp.zarr`` (the copy; once the swap
is done, what it replaced) and ``.NAME.HEX.old.zarr`` (a folder moved aside, where two folders cannot be exchanged).
"""

from __future__ import annotations

import ctypes
import errno
import glob
import os
import re
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from ..errors import InputError
from .compare import first_difference
from .layout import Format

_AT_FDCWD, _RENAME_NOREPLACE, _RENAME_EXCHANGE = -100, 1, 2
#: What is said where a file system, or a system, knows no such ways to rename.
_UNKNOWN = {errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM}

_ENDINGS: dict[Format, str] = {"hdf5": ".nwb", "zarr": ".zarr", "lindi": ".lindi.tar"}


def temporary_name(path: Path, file_format: Format, *, kind: str = "tmp") -> Path:
    """Return a new name in the folder of `path`: on the same disk, and external links in it stay right."""
    return path.with_name(f".{path.name}.{uuid4().hex}.{kind}{_ENDINGS[file_format]}")


def _beside(path: Path, kind: str) -> list[Path]:
    """Return what `temporary_name` has named, beside a file."""
    pattern = re.compile(re.escape(f".{path.name}.") + rf"[0-9a-f]{{32}}\.{kind}\.(nwb|zarr|lindi\.tar)")
    return [p for p in path.parent.glob(f".{glob.escape(path.name)}.*") if pattern.fullmatch(p.name)]


def set_aside(path: Path) -> list[Path]:
    """Return the folders that `replace` has moved aside and that are still there: their process was killed."""
    return _beside(path, "old") if path.parent.is_dir() else []


def recover(path: Path) -> None:
    """Settle what a process left that was killed while it put a folder in another one's place; with its lock held.

    The folder moved aside is put back if nothing is in its place, and removed if all that it holds is there.

    Raises
    ------
    InputError
        If something else is in its place.
    """
    for old in set_aside(path):
        if not path.exists() and not path.is_symlink():
            os.rename(old, path)
            sync(path.parent)
        elif path.is_dir() and first_difference(old, path) is None:
            remove(old)
        else:
            raise InputError(
                f"an earlier run was killed while it replaced it, and what it was then is in {old.name}",
                where=str(path),
                remedy=f"Keep the right one: remove {old}, or move it back in place of this one.",
            )


def remove_leftovers(path: Path) -> None:
    """Remove copies that killed processes left beside a file; with its lock held, so that nobody is at work on them."""
    for leftover in _beside(path, "tmp"):
        remove(leftover)


def remove(path: Path) -> None:
    """Remove a file or folder, if it is there."""
    with suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def stamp(path: Path) -> tuple[object, ...]:
    """Return what changes when somebody writes a file, or any file of a folder."""
    places = [path, *sorted(path.rglob("*"))] if path.is_dir() else [path]
    return tuple((str(p), s.st_ino, s.st_size, s.st_mtime_ns) for p in places for s in [p.lstat()])


def sync(path: Path) -> None:
    """Have the disk keep what was written to a file, or the entries of a folder."""
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_all(path: Path) -> None:
    """Have the disk keep a file, or a folder with all in it, and raise the errors that it met in doing so.

    A Zarr folder is thousands of files, each of which a disk takes milliseconds to confirm; so where the system can, it
    is asked once for the whole file system (Linux, which since 5.8 tells of errors then).
    """
    if not path.is_dir():
        sync(path)
        return
    if sys.platform == "linux" and (syncfs := getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            if syncfs(descriptor):
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(path))
        finally:
            os.close(descriptor)
        return
    for folder, _, files in os.walk(path):
        for name in files:
            if not os.path.islink(os.path.join(folder, name)):
                sync(Path(folder, name))
        sync(Path(folder))


def replace(new: Path, path: Path) -> None:
    """Put a file or folder in the place of another one, which is gone afterwards.

    A file is replaced in one step. So is a folder where the system can exchange two (Linux, on most file systems);
    elsewhere it is missing for an instant, and `recover` puts the old one back if that is where the process was killed.

    Parameters
    ----------
    new, path : Path
        Both in the same folder; `new` is on the disk already (`sync_all`).

    Raises
    ------
    OSError
        If `path` could not be replaced; it is as it was.
    InputError
        If it has been replaced, but the disk failed after that.
    """
    if not path.is_dir():
        os.replace(new, path)
        old = None
    elif exchange(new, path):
        old = new
    else:
        aside = temporary_name(path, "zarr", kind="old")
        try:
            os.rename(path, aside)
            os.rename(new, path)
        except BaseException:
            if not path.exists() and aside.exists():
                os.rename(aside, path)
            raise
        old = aside
    try:
        sync(path.parent)  # before anything of the old one goes
        if old is not None and old != new:
            os.rename(old, new)  # no longer what would be put back
            old = new
        if old is not None:
            remove(old)
    except OSError as error:
        raise InputError(
            f"the new content is in place, but the disk failed after that ({error.strerror or error})",
            where=str(path),
            remedy="Have the disk checked. What may be left beside the file goes with the next write.",
        ) from error


def require_free(path: Path) -> None:
    """Raise if a path is taken.

    Raises
    ------
    InputError
        If there is anything, be it a link into nowhere.
    """
    if path.exists() or path.is_symlink():
        raise InputError(
            "this path is taken", where=str(path), remedy="Choose another one; an existing file is never overwritten."
        )


def publish(new: Path, path: Path) -> None:
    """Give a finished new file or folder its name; not if another program has taken that meanwhile.

    Where the system cannot refuse a name that is taken (other than Linux, or its network file systems), it is looked
    for an instant before.

    Raises
    ------
    InputError
        If the name is taken.
    """
    require_free(path)
    try:
        if not _rename(new, path, _RENAME_NOREPLACE):
            os.rename(new, path)
    except FileExistsError:
        require_free(path)
        raise
    sync(path.parent)


def exchange(a: Path, b: Path) -> bool:
    """Have two files or folders change places in one step; False where the system cannot."""
    return _rename(a, b, _RENAME_EXCHANGE)


def _rename(a: Path, b: Path, way: int) -> bool:
    """Rename in one of Linux's ways; False where the system cannot."""
    if sys.platform != "linux":
        return False
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return False
    if call(_AT_FDCWD, os.fsencode(a), _AT_FDCWD, os.fsencode(b), way) == 0:
        return True
    number = ctypes.get_errno()
    if number in _UNKNOWN:
        return False
    raise OSError(number, os.strerror(number), str(b))


def require_same(path: Path, before: tuple[object, ...]) -> None:
    """Raise if a file is no longer as it was when `stamp` was taken.

    Raises
    ------
    InputError
        If it, or any file of a folder, has been written, replaced or removed.
    """
    try:
        same = stamp(path) == before
    except FileNotFoundError:
        same = False
    if not same:
        raise InputError(
            "the file was changed by another program meanwhile",
            where=str(path),
            remedy="Its new content is kept and nothing was added; try again.",
        )
