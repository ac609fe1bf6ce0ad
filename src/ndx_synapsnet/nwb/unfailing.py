"""An HDF5 file whose disk fails: the library is not told, for it takes that badly; whoever opened it is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py


class _Unfailing:
    """A file, open for reading and writing, that keeps its first error in writing to itself and then writes no more."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._place = 0
        self.error: OSError | None = None

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._place = os.lseek(self._descriptor, offset, whence)
        return self._place

    def tell(self) -> int:
        return self._place

    def read(self, size: int) -> bytes:
        found = os.pread(self._descriptor, size, self._place)
        self._place += len(found)
        return found

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        done = 0
        while done < len(view) and (count := os.preadv(self._descriptor, [view[done:]], self._place)):
            done += count
            self._place += count
        return done

    def write(self, content: Any) -> int:
        view = memoryview(content).cast("B")
        done = 0
        try:
            while self.error is None and done < len(view):
                done += os.pwrite(self._descriptor, view[done:], self._place + done)
        except OSError as error:
            self.error = error
        self._place += len(view)
        return len(view)

    def truncate(self, size: int) -> int:
        try:
            if self.error is None:
                os.ftruncate(self._descriptor, size)
        except OSError as error:
            self.error = error
        return size

    def flush(self) -> None:
        """Do nothing: whoever wants it on the disk syncs it when it is complete."""


@contextmanager
def open_to_write(path: Path, *, new: bool = False) -> Iterator[h5py.File]:
    """Yield an HDF5 file open for reading and writing, to be given up if this raises.

    After a write that failed (a full disk, a broken one), HDF5 can neither flush nor close a file any more, and crashes
    when the interpreter ends. So a write that failed is passed over in silence, as are those after it, and raised when
    the file is closed.

    Parameters
    ----------
    path : Path
        The file.
    new : bool
        Whether it is made, and must not be there; otherwise it must.

    Raises
    ------
    OSError
        If something could not be written. What was raised within, meanwhile, is its cause.
    """
    if not hasattr(os, "preadv"):  # h5py's own way
        with h5py.File(path, "x" if new else "r+") as file:
            yield file
        return
    descriptor = os.open(path, os.O_RDWR | (os.O_CREAT | os.O_EXCL if new else 0), 0o666)
    try:
        raw = _Unfailing(descriptor)
        try:
            with h5py.File(path, "w" if new else "r+", driver="fileobj", fileobj=raw) as file:
                yield file
        except Exception as error:
            if raw.error is None:
                raise
            raise raw.error from error
        if raw.error is not None:
            raise raw.error
    finally:
        os.close(descriptor)
