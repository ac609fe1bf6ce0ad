"""One object's place in the cache.

A folder of three files: ``data``, as sparse as what was read of the object; ``journal``, a record of 16 bytes for each
stretch of it that is there, with a checksum; and ``about.json``. Data are written before their record, so a stretch
that a killed process left half done has no record, or one whose checksum fails, and is fetched again.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4
from zlib import crc32

from ....errors import InputError
from ...locking import try_lock, unlock
from .extents import Extent, Extents

_RECORD = struct.Struct("<QII")  # start, length, checksum of the data
#: Bytes that share a checksum, at most: so many have to be read to have one of them.
_EXTENT = 1 << 18


class Room(Protocol):
    """What is needed of the `cache.Cache` that an object is in."""

    def make_room(self, n: int) -> bool:
        """Whether `n` more bytes may be stored."""
        ...

    def note(self, error: BaseException) -> None:
        """Say why something is not kept."""
        ...


class _Closed(Exception):
    """The object's files were let go of."""


class CachedObject:
    """One object's place in the cache; made by `Cache.open`, used by any number of threads and processes."""

    def __init__(self, cache: Room, place: Path, data: int, key: str, size: int) -> None:
        self._cache, self._place, self._data = cache, place, data
        self._journal = -1
        try:
            self._journal = os.open(place / "journal", os.O_RDWR | os.O_CREAT, 0o600)
            self._about = read_whole(place / "about.json")
            if not self._about:
                self._about = {"key": key, "size": size}
                write_whole(place / "about.json", self._about)
            self._extents, self._loaded = Extents(), 0
            self._lock = threading.Lock()
            self._full = self._closed = False
            self._users = 0
            self._load()
        except BaseException:
            _close(self._data, self._journal)
            raise

    @property
    def etag(self) -> str | None:
        """The ETag that the stored bytes came with."""
        etag = self._about.get("etag")
        return etag if isinstance(etag, str) else None

    def set_etag(self, etag: str) -> None:
        """Store the ETag that the bytes come with."""
        self._about = {**self._about, "etag": etag}
        with suppress(OSError):
            write_whole(self._place / "about.json", self._about)

    def gaps(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Return the stretches of ``[start, stop)`` that are not there."""
        with self._lock:
            missing = self._extents.gaps(start, stop)
            if missing and not self._closed:
                self._load()  # another process may have added some
                missing = self._extents.gaps(start, stop)
            return missing

    def read(self, start: int, stop: int) -> bytes | None:
        """Return the bytes ``[start, stop)``; None if some are missing, or damaged: those are forgotten."""
        with self._lock:
            chosen = self._extents.cover(start, stop)
        parts: list[bytes] = []
        for extent in chosen or ():
            stored = self._checked(extent)
            if stored is None:
                return None
            parts.append(stored[max(0, start - extent.start) : stop - extent.start])
            start = extent.stop
        return None if chosen is None else parts[0] if len(parts) == 1 else b"".join(parts)

    def write(self, start: int, data: bytes | bytearray | memoryview) -> None:
        """Store `data`, which begin at the object's byte `start`, if there is room."""
        view = memoryview(data)
        if self._full or not len(view):
            return
        try:
            if not self._cache.make_room(len(view)):
                raise InputError("all that it may hold is in use")
            added = []
            for at in range(0, len(view), _EXTENT):
                piece = view[at : at + _EXTENT]
                added.append(Extent(start + at, len(piece), crc32(piece)))
            with self._open():
                _write_all(self._data, view, start)
                self._append(added)
        except _Closed:
            pass
        except (OSError, InputError) as error:
            self._full = True
            self._cache.note(error)

    def discard(self) -> None:
        """Forget everything stored of this object: it is not what it was taken for."""
        with self._lock:
            self._extents, self._full = Extents(), True
        shutil.rmtree(self._place, ignore_errors=True)

    def close(self) -> None:
        """Let go of the files."""
        with self._lock:
            if self._closed:
                return
            with suppress(OSError):
                os.utime(self._data)
            self._closed = True
            self._close_if_unused()

    @contextmanager
    def _open(self) -> Iterator[None]:
        """Keep the files open: a descriptor closed under a thread may mean another file by the time it is used."""
        with self._lock:
            if self._closed:
                raise _Closed
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                self._close_if_unused()

    def _close_if_unused(self) -> None:
        if self._closed and not self._users:
            _close(self._data, self._journal)

    def _checked(self, extent: Extent) -> bytes | None:
        stored = b""
        with suppress(OSError, _Closed), self._open():
            stored = os.pread(self._data, extent.length, extent.start)
        if len(stored) == extent.length and crc32(stored) == extent.crc:
            return stored
        with self._lock:
            self._extents.remove(extent)
        return None

    def _append(self, added: list[Extent]) -> None:
        """Write records to the end of the journal, which is cut back to whole records first."""
        with self._lock:
            for _ in range(200):
                if try_lock(self._journal, shared=False):
                    break
                time.sleep(0.01)
            else:
                raise InputError("another process holds on to it")
            try:
                end = os.fstat(self._journal).st_size
                if end % _RECORD.size:
                    end -= end % _RECORD.size
                    os.ftruncate(self._journal, end)
                records = b"".join(_RECORD.pack(extent.start, extent.length, extent.crc) for extent in added)
                _write_all(self._journal, memoryview(records), end)
            finally:
                unlock(self._journal)
            if end == self._loaded:
                self._loaded += len(records)
            for extent in added:
                self._extents.add(extent)

    def _load(self) -> None:
        """Take over what the journal has beyond what is known; records that make no sense are passed over.

        One that is damaged otherwise has the checksum of other bytes, and is found out when they are read.
        """
        end = os.fstat(self._journal).st_size // _RECORD.size * _RECORD.size
        if end <= self._loaded:
            return
        raw = os.pread(self._journal, end - self._loaded, self._loaded)
        raw = raw[: len(raw) // _RECORD.size * _RECORD.size]
        self._loaded += len(raw)
        for start, length, crc in _RECORD.iter_unpack(raw):
            if 0 < length <= _EXTENT:
                self._extents.add(Extent(start, length, crc))


def _write_all(descriptor: int, view: memoryview, offset: int) -> None:
    while len(view):
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def write_whole(path: Path, content: dict[str, Any]) -> None:
    """Write a small JSON file, at once or not at all."""
    temporary = path.with_name(f"{path.name}.{uuid4().hex}")
    try:
        temporary.write_text(json.dumps(content))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_whole(path: Path) -> dict[str, Any]:
    """Return what a small JSON file holds; nothing if it is missing or damaged."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def bytes_of(place: Path) -> int:
    """Return the bytes that the object at `place` takes on disk."""
    total = 0
    for name in ("data", "journal"):
        with suppress(OSError):
            status = (place / name).stat()
            total += getattr(status, "st_blocks", -(-status.st_size // 512)) * 512
    return total


def last_used(place: Path) -> float:
    """Return when the object at `place` was last opened, written or closed."""
    with suppress(OSError):
        return (place / "data").stat().st_mtime
    return 0.0


def _close(*descriptors: int) -> None:
    for one in descriptors:
        if one >= 0:
            os.close(one)
