"""What fits in memory, and series kept in files where it does not. Plain numpy.

A file of series loses its name as soon as it is mapped: its room on disk is free again when nobody holds the array any
more, or when the process ends, however it does. (Windows keeps the name; there the folder is for the caller to clear.)
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, TypeVar

import numpy as np

from .errors import InputError
from .session import Session

_A = TypeVar("_A")

_SHARE = 2  # of the memory available, sessions may take one part in so many
_COPIES = 2  # a session's series as read, and z-scored
_GROUP_LIMIT, _GROUP_USED = (Path(f"/sys/fs/cgroup/memory.{name}") for name in ("max", "current"))  # of a container


def available_memory() -> int:
    """Return about how many bytes of memory this process could still take, or 0 where the system does not say."""
    found = []
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        found.append(1024 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]))
    if not found:
        with suppress(OSError, ValueError, AttributeError):
            found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    with suppress(OSError, ValueError):
        found.append(int(_GROUP_LIMIT.read_text()) - int(_GROUP_USED.read_text()))
    return max(min(found, default=0), 0)


def session_bytes(session: Session) -> int:
    """Return how many bytes a fit keeps of a session's activity: as read, and z-scored."""
    return _COPIES * 4 * session.n_neurons * session.n_samples


def fits(size: int, available: int) -> bool:
    """Whether sessions of `size` bytes leave half of the memory `available`; also where that is not known (0)."""
    return not available or size * _SHARE <= available


def in_file(folder: Path, write: Callable[[IO[bytes]], None], open_as: Callable[[str], _A]) -> _A:
    """Write a file that is then known only by what is mapped from it.

    Parameters
    ----------
    folder : Path
        Where the file lies; made if it is not there.
    write : callable
        Writes the content to the open file.
    open_as : callable
        Maps the file of the given name.

    Raises
    ------
    InputError
        If the file cannot be written, for want of room for instance.
    """
    name = ""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix="series-", delete=False) as file:
            name = file.name
            write(file.file)
        return open_as(name)
    except OSError as error:
        raise InputError(
            f"series cannot be kept here ({error.strerror or error})",
            where=str(folder),
            remedy="Make room, or name another folder.",
        ) from error
    finally:
        with suppress(OSError):  # an open file cannot be removed on Windows
            os.unlink(name)


def spilled(session: Session, folder: Path) -> Session:
    """Return the session with its activity in a file of `folder`, mapped: memory then holds only what is in use.

    Let go of `session` to free its memory.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    activity = in_file(
        Path(folder),
        lambda file: np.save(file, session.activity, allow_pickle=False),
        lambda name: np.load(name, mmap_mode="r", allow_pickle=False),
    )
    return replace(session, activity=activity)


def emptied(session: Session) -> Session:
    """Return the session with zeros that take no memory in place of its activity: its clock and neurons stay."""
    nothing = np.broadcast_to(np.float32(0), (session.n_neurons, session.n_samples))
    return replace(session, activity=nothing)
