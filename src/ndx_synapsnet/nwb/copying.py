"""Copies of files and folders that are as like the original as the system allows; and which could not be."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

from ..errors import InputError

How = Literal["reflink", "copy"]

#: Linux: share the blocks of another file; both keep theirs when one is written (Btrfs, XFS, bcachefs, ZFS).
_FICLONE = 0x40049409
_FS_IOC_GETFLAGS = 0x80086601
_IMMUTABLE, _APPEND_ONLY = 0x10, 0x20
_STEP = 2**30
_BLOCK = 4096
#: Extended attributes that a user sets or relies on, access lists among them; others are the system's own.
_OURS = ("user.", "system.")


def copy(source: Path, target: Path) -> None:
    """Copy a file or folder with its permissions, owner, extended attributes and access lists, holes staying holes.

    Blocks are shared with the original where the file system can do that. A file is dated now; in a folder, what is
    not written later keeps its date.

    Parameters
    ----------
    source, target : Path
        What to copy, and a path that is not taken, on the same file system.

    Raises
    ------
    InputError
        If owner, group, attributes or access lists cannot be given to the copy.
    OSError
        What reading and writing raise.
    """
    if not source.is_dir():
        _copy_file(source, target)
        _copy_access(source, target)
        return
    for folder, folders, files in os.walk(source):
        new = target / Path(folder).relative_to(source)
        new.mkdir(0o700)
        for name in (*folders, *files):
            old = Path(folder, name)
            if old.is_symlink():
                (new / name).symlink_to(os.readlink(old))
            elif name in files:
                _copy_file(old, new / name)
                _copy_access(old, new / name)
                status = old.stat()
                os.utime(new / name, ns=(status.st_atime_ns, status.st_mtime_ns))
    for folder, _, _ in os.walk(source, topdown=False):  # one that is not to be written to has its files by now
        _copy_access(Path(folder), target / Path(folder).relative_to(source))


def copy_content(source: Path, target: Path) -> None:
    """Copy a file or folder as a new one of whoever makes it, with that one's permissions and no attributes."""
    if source.is_dir():
        shutil.copytree(source, target, symlinks=False, copy_function=_copy_plain)
        for folder, _, _ in os.walk(target):  # copytree gives folders the permissions of the source's
            os.chmod(folder, stat.S_IMODE(os.stat(folder).st_mode) | stat.S_IRWXU)
    else:
        _copy_plain(str(source), str(target))


def _copy_plain(source: str, target: str) -> None:
    with open(source, "rb") as a, open(target, "xb") as b:
        if not share_blocks(a.fileno(), b.fileno()):
            shutil.copyfileobj(a, b, 2**22)


def keep_access(source: Path, target: Path) -> None:
    """Give files of a copied folder that were written anew the owner, attributes and permissions that they had.

    Zarr writes a file by putting a new one in its place.
    """
    for folder, _, files in os.walk(source):
        for name in files:
            old, new = Path(folder, name), target / Path(folder, name).relative_to(source)
            if not old.is_symlink() and new.is_file() and old.stat().st_mtime_ns != new.stat().st_mtime_ns:
                _copy_access(old, new)


def _copy_file(source: Path, target: Path) -> None:
    """Copy the content of a file; nobody else may read the copy yet."""
    with open(source, "rb") as a:
        b = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
        try:
            if not share_blocks(a.fileno(), b):
                size = os.fstat(a.fileno()).st_size
                for start, end in _filled(a.fileno(), size):
                    _copy_range(a.fileno(), b, start, end)
                os.ftruncate(b, size)
        finally:
            os.close(b)


def copied_bytes(path: Path) -> int:
    """Return the bytes that a plain copy of a file or folder takes on disk."""
    if path.is_dir():  # thousands of files, of no holes
        return sum(file.lstat().st_size + _BLOCK for file in path.rglob("*"))
    with open(path, "rb") as file:
        return sum(end - start for start, end in _filled(file.fileno(), os.fstat(file.fileno()).st_size))


def share_blocks(source: int, target: int) -> bool:
    """Give an empty file the blocks of another one, both open; False where the file system cannot."""
    if sys.platform != "linux":
        return False
    import fcntl

    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True


def _filled(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield where the parts of a file that are no holes begin and end."""
    if not hasattr(os, "SEEK_DATA"):
        yield 0, size
        return
    end = 0
    while end < size:
        try:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole is left
                return
            if error.errno != errno.EINVAL:
                raise
            yield end, size  # a file system that does not know
            return
        end = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, end


def _copy_range(source: int, target: int, start: int, end: int) -> None:
    """Copy bytes from one open file to the same place in another, by the file system itself where it can."""
    by_system = hasattr(os, "copy_file_range")
    while start < end:
        done = 0
        if by_system:
            try:
                done = os.copy_file_range(source, target, min(end - start, _STEP), start, start)
            except OSError as error:
                if error.errno not in {errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM}:
                    raise
        if not done:
            by_system = False
            os.lseek(source, start, os.SEEK_SET)
            os.lseek(target, start, os.SEEK_SET)
            block = os.read(source, min(end - start, 2**22))
            if not block:
                raise OSError(errno.EIO, "the file became shorter while it was copied")
            done = os.write(target, block)
        start += done


def set_aside_room(path: Path, room: int) -> None:
    """Have the file system reserve what a file will grow by; its size is more then, until HDF5 closes it.

    Raises
    ------
    OSError
        If the disk is too full for that.
    """
    if room <= 0 or not hasattr(os, "posix_fallocate"):
        return
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.posix_fallocate(descriptor, os.fstat(descriptor).st_size, room)
    except OSError as error:
        if error.errno not in {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}:
            raise
    finally:
        os.close(descriptor)


def _copy_access(source: Path, target: Path) -> None:
    """Give a copy the owner, group, attributes, access lists and permissions of its original."""
    status = os.stat(source)
    if hasattr(os, "chown"):
        try:
            _give(target, status)
        except PermissionError as error:
            raise _not_owner(source) from error
    for name in os.listxattr(source) if hasattr(os, "listxattr") else ():
        try:
            os.setxattr(target, name, os.getxattr(source, name))
        except OSError as error:
            if name.startswith(_OURS):
                raise InputError(
                    f"its extended attribute {name} cannot be kept ({os.strerror(error.errno or 0)})",
                    where=str(source),
                    remedy="The file is as it was. Write the results into a new file instead.",
                ) from error
    os.chmod(target, stat.S_IMODE(status.st_mode))  # last: a change of owner takes some away


def _give(target: Path | int, status: os.stat_result) -> None:
    made = os.stat(target)
    if (made.st_uid, made.st_gid) != (status.st_uid, status.st_gid):
        os.chown(target, status.st_uid, status.st_gid)


def _not_owner(source: Path) -> InputError:
    return InputError(
        "the file belongs to somebody else, and a replaced one would be yours",
        where=str(source),
        remedy="Have its owner add the results, or write them into a new file instead.",
    )


def probe(source: Path) -> How:
    """Return how a file, or a folder's files, would be copied; an unnamed file is made for that, which leaves nothing.

    Raises
    ------
    InputError
        If a copy would belong to somebody else.
    OSError
        If the folder that it is in cannot be written to.
    """
    folder = source.parent
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
    if not hasattr(os, "O_TMPFILE"):
        return "copy"
    try:
        unnamed = os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o600)
    except OSError as error:
        if error.errno in {errno.EISDIR, errno.ENOENT, errno.EOPNOTSUPP, errno.EINVAL}:  # there is no such thing here
            return "copy"
        raise
    try:
        try:
            _give(unnamed, source.stat())
        except PermissionError as error:
            raise _not_owner(source) from error
        example = source
        if source.is_dir():
            example = next((path for path in source.rglob("*") if path.is_file()), source)
        if not example.is_file():
            return "copy"
        with open(example, "rb") as file:
            return "reflink" if share_blocks(file.fileno(), unnamed) else "copy"
    finally:
        os.close(unnamed)


def require_replaceable(source: Path) -> None:
    """Raise if putting another file in this one's place would part it from other names, or is forbidden for it.

    Parameters
    ----------
    source : Path
        A file, or a folder; files of a folder may have other names, which keep the old content then.

    Raises
    ------
    InputError
        If it is write-protected, marked immutable, has other names (hard links), or something is mounted on it.
    """
    status = source.stat()
    if _flags(source) & (_IMMUTABLE | _APPEND_ONLY):
        raise InputError(
            "the file is marked as not to be changed (chattr +i or +a)",
            where=str(source),
            remedy="Write the results into a new file, or take the mark away first.",
        )
    if not status.st_mode & 0o222 or not os.access(source, os.W_OK):
        raise InputError(
            "the file is write-protected",
            where=str(source),
            remedy="Write the results into a new file, or take the protection away first.",
        )
    if not source.is_dir() and status.st_nlink > 1:
        raise InputError(
            f"the file has {status.st_nlink} names (hard links), and only this one would get the results",
            where=str(source),
            remedy="Make this name a file of its own first (cp FILE NEW && mv NEW FILE), or write beside it (-o).",
        )
    if os.path.ismount(source):
        raise InputError(
            "something is mounted in its place, which cannot be replaced",
            where=str(source),
            remedy="Name the place it is mounted from, or write beside it (-o).",
        )


def _flags(path: Path) -> int:
    """Return the flags of a file that Linux knows (chattr); 0 where there are none."""
    if sys.platform != "linux":
        return 0
    import fcntl

    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            answer = fcntl.ioctl(descriptor, _FS_IOC_GETFLAGS, bytes(8))
        finally:
            os.close(descriptor)
        return int.from_bytes(answer[:4], sys.byteorder)
    return 0
