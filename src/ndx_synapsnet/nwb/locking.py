"""One writer at a time: locks that the operating system drops when their process ends."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import InputError

if sys.platform != "win32":
    import fcntl

#: What a file system says that knows no locks, as some network ones do.
_NO_LOCKS = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL}


def try_lock(descriptor: int, *, shared: bool) -> bool:
    """Take a lock at once; False if somebody else holds one that excludes it."""
    if sys.platform == "win32":  # no flock; but there a file that is open elsewhere cannot be replaced anyway
        return True
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True


def unlock(descriptor: int) -> None:
    """Give up what `try_lock` took."""
    if sys.platform != "win32":
        with suppress(OSError):  # a file system that knows no locks
            fcntl.flock(descriptor, fcntl.LOCK_UN)


@contextmanager
def sole_writer(path: Path) -> Iterator[None]:
    """Hold the right to write `path`; the lock is an empty file beside it, gone afterwards.

    Raises
    ------
    InputError
        If another process holds it.
    OSError
        If the folder cannot be written to.
    """
    place = path.with_name(f".{path.name}.lock")
    while True:
        descriptor = os.open(place, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not try_lock(descriptor, shared=False):
                raise InputError(
                    "another run is writing this file", where=str(path), remedy="Wait until it is done and try again."
                )
            # the holder before us may have removed the file between our opening and our locking it
            if place.exists() and os.path.samestat(os.fstat(descriptor), os.stat(place)):
                break
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
    try:
        yield
    finally:
        place.unlink(missing_ok=True)
        os.close(descriptor)


@contextmanager
def no_hdf5_writer(path: Path) -> Iterator[None]:
    """Keep HDF5 from opening the file `path` for writing, here or elsewhere; readers are not disturbed.

    HDF5 locks its files in the same way: a writer excludes everybody, readers exclude writers.

    Raises
    ------
    InputError
        If it is open for writing now.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if not try_lock(descriptor, shared=True):
            raise InputError(
                "the file is open for writing in another program",
                where=str(path),
                remedy="Close it there and try again.",
            )
        yield
    finally:
        os.close(descriptor)
