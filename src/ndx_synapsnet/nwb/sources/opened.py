"""What a source hands over."""

from __future__ import annotations

import threading
import traceback
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TextIO

from pynwb import NWBFile

from ...errors import InputError

_PACKAGE = Path(__file__).parents[2]
_LONGEST = 500  # characters of a library's reason


@dataclass(frozen=True)
class OpenedFile:
    """An NWB file open for reading."""

    uri: str
    """Where it is; a local path is absolute."""
    format: Literal["hdf5", "zarr", "lindi"]
    """How it is stored."""
    nwbfile: NWBFile
    """Its content; large datasets are read when asked for."""
    nwb_version: str
    """Version of the NWB core schema that the file was written with."""
    warnings: tuple[str, ...] = ()
    """What pynwb found odd in the file, each message once."""
    record: Mapping[str, Any] = field(default_factory=dict)
    """Of a remote file, JSON-able: archive, dandiset, version, asset id, path, size, digest, ``integrity``
    (``verified`` or ``unverified``), and ``bytes_transferred`` and ``requests`` up to now; empty for a local one."""
    absences: Callable[[], Sequence[str]] = tuple
    """Says what of the data that were read up to now is absent from the file, so that fill values stand for it."""


def unreadable(error: Exception, *, by: str, where: str, what: str = "file") -> InputError:
    """Return the error of ours for what a library raises while it opens a file.

    Parameters
    ----------
    error : Exception
        What was raised.
    by : str
        The library.
    where : str
        The file.
    what : str
        What it is called.

    Raises
    ------
    Exception
        The same again, if it was raised by our own code: a fault of ours is not the file's.
    """
    if (own := input_error(error)) is not None:
        return own
    frames = traceback.extract_tb(error.__traceback__)
    used_up = isinstance(error, (MemoryError, RecursionError))  # by whomever: who asks last is not at fault
    if frames and Path(frames[-1].filename).is_relative_to(_PACKAGE) and not used_up:
        raise error
    # hdmf's errors hold a dump of the whole object, and the reason as their last argument
    reason = next((str(part) for part in reversed(error.args) if isinstance(part, str)), type(error).__name__)
    return InputError(f"{by} cannot read the {what} ({reason[:_LONGEST]})", where=where)


def input_error(error: BaseException | None) -> InputError | None:
    """Return the error of ours that led to `error`, such as of a server that is gone; None if it is another matter."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, InputError):
            return error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None


def told_absent(missing: Collection[str]) -> tuple[str, ...]:
    """Return what is said of the files of a store that are absent: nothing if there are none."""
    if not missing:
        return ()
    parts = f"{len(missing)} files of the store are" if len(missing) > 1 else "a file of the store is"
    return (f"{parts} absent, and fill values stand for them (the first: {min(missing)})",)


# About the versions of software or schema, not about the data: pynwb says them of every older file.
_ABOUT_SOFTWARE = (DeprecationWarning, PendingDeprecationWarning, FutureWarning, ResourceWarning)
_ABOUT_NAMESPACES = ("cached namespace", "Loaded namespace")


# What is done with warnings is the same for all threads of a process, so one file is opened after the other.
_CATCHING = threading.RLock()


@contextmanager
def collected_warnings() -> Iterator[list[str]]:
    """Catch the warnings of the block in this thread; those that concern the data are in the list when it ends."""
    messages: list[str] = []
    caught: list[tuple[Warning | str, type[Warning]]] = []
    ours = threading.get_ident()
    with _CATCHING, warnings.catch_warnings():
        show = warnings.showwarning

        def keep(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if threading.get_ident() == ours:
                caught.append((message, category))
            else:
                show(message, category, filename, lineno, file, line)

        warnings.simplefilter("always")
        warnings.showwarning = keep
        yield messages
    for message, category in caught:
        text = " ".join(str(message).split())
        about_software = issubclass(category, _ABOUT_SOFTWARE) or any(w in text for w in _ABOUT_NAMESPACES)
        if not about_software and text not in messages:
            messages.append(text)
