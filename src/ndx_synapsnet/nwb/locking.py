"""One writer at a time: locks that the operating system drops when their process ends."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import InputError

if sys.platform != "win32":
    import fcntl

#: What a file system says that knows no locks, as some network ones do.
_NO_LOCKS = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL}
_POLL_SECONDS = 0.1


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


def _lock_by(deadline: float, descriptor: int, *, shared: bool) -> bool:
    """Take a lock as soon as nobody's excludes it; False if that is not before the deadline, on the monotonic clock."""
    while not try_lock(descriptor, shared=shared):
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(left, _POLL_SECONDS))
    return True


def unlock(descriptor: int) -> None:
    """Give up what `try_lock` took."""
    if sys.platform != "win32":
        with suppress(OSError):  # a file system that knows no locks
            fcntl.flock(descriptor, fcntl.LOCK_UN)


@contextmanager
def sole_writer(path: Path, *, wait: float = 0) -> Iterator[None]:
    """Hold the right to write `path`; the lock is an empty file beside it, gone afterwards.

    The operating system drops the lock when its process ends, however that ends; the empty file may stay then, and is
    no hindrance. On a file system that knows no locks (some network ones) nobody is kept out.

    Parameters
    ----------
    path : Path
        The file.
    wait : float
        Seconds to wait for another process that holds it.

    Raises
    ------
    InputError
        If another process holds it still.
    OSError
        If the folder cannot be written to.
    """
    place = path.with_name(f".{path.name}.lock")
    deadline = time.monotonic() + wait
    while True:
        descriptor = os.open(place, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not _lock_by(deadline, descriptor, shared=False):
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
        with suppress(OSError):  # an empty file that stays is no hindrance
            place.unlink()
        os.close(descriptor)


@contextmanager
def no_hdf5_writer(path: Path, *, wait: float = 0) -> Iterator[None]:
    """Keep HDF5 from opening the file `path` for writing, here or elsewhere; readers are not disturbed.

    HDF5 locks its files in the same way: a writer excludes everybody, readers exclude writers.

    Parameters
    ----------
    path : Path
        The file.
    wait : float
        Seconds to wait for another program that has it open for writing.

    Raises
    ------
    InputError
        If it is open for writing still.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if not _lock_by(time.monotonic() + wait, descriptor, shared=True):
            raise InputError(
                "the file is open for writing in another program",
                where=str(path),
                remedy="Close it there and try again.",
            )
        yield
    finally:
        os.close(descriptor)
