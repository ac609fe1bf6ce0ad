"""What was read, kept on disk: by content (digest, or ETag and size) and place, never by place alone.

One folder an object, see `cached_object`; those unused for longest are given up when the cache is full.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

from ....errors import InputError
from ...locking import try_lock
from .cached_object import CachedObject, bytes_of, last_used, read_whole, write_whole
from .options import CacheConfig, current_options

_GONE = ".gone-"
_LOG = logging.getLogger(__name__)
_SAID: set[tuple[str, str]] = set()


@dataclass(frozen=True)
class CacheInfo:
    """What the cache holds."""

    folder: Path
    """Where it is."""
    bytes: int
    """Bytes that it takes on disk."""
    objects: int
    """Remote objects of which it has something."""
    max_bytes: int
    """Bytes that it may take."""


def cache_folder(config: CacheConfig) -> Path:
    """Return the folder that `config` means."""
    if config.folder is not None:
        return Path(config.folder)
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("ndx-synapsnet")) / "remote"


def info(config: CacheConfig | None = None) -> CacheInfo:
    """Return what the cache holds (None: the cache of the options in force, or the default one)."""
    config = config or current_options().cache or CacheConfig()
    folder = cache_folder(config)
    sizes = [bytes_of(one) for one in _objects(folder)]
    return CacheInfo(folder, sum(sizes), len(sizes), config.max_bytes)


def clear(config: CacheConfig | None = None) -> CacheInfo:
    """Remove everything from the cache; return what it held. Runs that use it go on unharmed.

    Raises
    ------
    InputError
        If something cannot be removed.
    """
    held = info(config)
    try:
        for one in held.folder.iterdir() if held.folder.is_dir() else ():
            if _is_ours(one):
                shutil.rmtree(one)
    except FileNotFoundError:  # another process clears it too
        pass
    except OSError as error:
        raise InputError(f"the cache cannot be cleared ({error.strerror})", where=str(held.folder)) from error
    return held


class Cache:
    """The cache folder; any trouble with it makes reading slower, but never fail.

    Parameters
    ----------
    config : CacheConfig
        Where it is and how much it may hold.
    """

    def __init__(self, config: CacheConfig) -> None:
        self.folder = cache_folder(config)
        self._max_bytes = config.max_bytes
        self._lock = threading.Lock()
        self._room = 0

    def open(self, key: str, size: int) -> CachedObject | None:
        """Return the place of the object with the content `key`; None if there can be none."""
        try:
            if not hasattr(os, "pwrite"):
                raise InputError("this system lacks what it needs")
            _own_folder(self.folder)
            for _ in range(100):
                place = self.folder / sha256(f"{key} {size}".encode()).hexdigest()[:40]
                place.mkdir(mode=0o700, exist_ok=True)
                with suppress(FileNotFoundError):  # evicted at this very moment
                    data = os.open(place / "data", os.O_RDWR | os.O_CREAT, 0o600)
                    if try_lock(data, shared=True) and _is_at(data, place / "data"):
                        os.utime(data)
                        return CachedObject(self, place, data, key, size)
                    os.close(data)
                time.sleep(0.01)
        except (OSError, InputError) as error:
            self.note(error)
        return None

    def make_room(self, n: int) -> bool:
        """Whether `n` more bytes may be stored, after giving up what was unused for longest."""
        with self._lock:
            if n > self._room:
                self._room = self._evict(n)
            if n > self._room:
                return False
            self._room -= n
            return True

    def _evict(self, n: int) -> int:
        """Remove objects that nobody has open until `n` bytes fit; return the bytes that may be written unasked."""
        for left in self.folder.glob(f"{_GONE}*"):  # of a process killed while removing it
            shutil.rmtree(left, ignore_errors=True)
        objects = [(one, bytes_of(one)) for one in _objects(self.folder)]
        total = sum(size for _, size in objects)
        bound = min(self._max_bytes, total + shutil.disk_usage(self.folder).free // 2)
        stride = max(n, bound // 64)  # other processes write too: look again after so much
        for one, size in sorted(objects, key=lambda pair: last_used(pair[0])):
            if total + stride <= bound:
                break
            if _remove_unused(one):
                total -= size
        return max(0, min(stride, bound - total))

    def note(self, error: BaseException) -> None:
        """Say once why something is not kept."""
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        if (str(self.folder), reason) not in _SAID:
            _SAID.add((str(self.folder), reason))
            _LOG.warning("the cache %s cannot be used (%s): reading goes on without it", self.folder, reason)

    # -- what an address led to last time: a guess, for the server to confirm

    def remember(self, uri: str, etag: str, size: int) -> None:
        """Store which content `uri` had."""
        with suppress(OSError):
            place = self._guess(uri)
            place.parent.mkdir(mode=0o700, exist_ok=True)
            write_whole(place, {"etag": etag, "size": size})

    def recall(self, uri: str) -> tuple[str, int] | None:
        """Return the ETag and size that `uri` had when it was last read."""
        stored = read_whole(self._guess(uri))
        etag, size = stored.get("etag"), stored.get("size")
        return (etag, size) if isinstance(etag, str) and isinstance(size, int) and size > 0 else None

    def _guess(self, uri: str) -> Path:
        return self.folder / "seen" / sha256(uri.encode()).hexdigest()[:40]


def _own_folder(folder: Path) -> None:
    """Make the folder, for this user alone.

    Raises
    ------
    InputError
        If it belongs to somebody else, or others may write to it: what is read from it would be theirs.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.stat()
    if hasattr(os, "getuid") and (status.st_uid != os.getuid() or status.st_mode & 0o022):
        raise InputError("others may write to it")


def _is_ours(path: Path) -> bool:
    """Whether `path` in the cache's folder is something that this module made."""
    name = path.name
    is_object = len(name) == 40 and set(name) <= set("0123456789abcdef")
    return path.is_dir() and not path.is_symlink() and (is_object or name == "seen" or name.startswith(_GONE))


def _objects(folder: Path) -> list[Path]:
    try:
        return [one for one in folder.iterdir() if len(one.name) == 40 and _is_ours(one)]
    except OSError:
        return []


def _remove_unused(place: Path) -> bool:
    """Remove an object from the cache, unless somebody has it open."""
    try:
        data = os.open(place / "data", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:
        return False
    try:
        if not try_lock(data, shared=False):
            return False
        away = place.with_name(f"{_GONE}{uuid4().hex}")
        place.rename(away)
        shutil.rmtree(away, ignore_errors=True)
        return True
    except OSError:
        return False
    finally:
        os.close(data)


def _is_at(descriptor: int, path: Path) -> bool:
    return path.exists() and os.path.samestat(os.fstat(descriptor), path.stat())
