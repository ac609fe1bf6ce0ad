"""How remote objects are read: the settings, and the ones in force."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from ....errors import InputError

if TYPE_CHECKING:
    from .meter import Stats

MIB = 1 << 20


@dataclass(frozen=True)
class CacheConfig:
    """Where and how much of what was read is kept on disk."""

    folder: Path | None = None
    """The folder; None: ``remote`` in the platform's cache folder of this program."""
    max_bytes: int = 20 << 30
    """Bytes that it may take, at most; the objects unused for longest are given up first."""

    def __post_init__(self) -> None:
        if self.max_bytes <= 0:
            raise InputError(f"the cache's bound is {self.max_bytes} bytes", remedy="Give more than 0, or no cache")


@dataclass(frozen=True)
class Progress:
    """How far the transfers of one object are."""

    uri: str
    """The object."""
    wanted: int
    """Bytes that had to be transferred for all reads so far."""
    done: int
    """Bytes of those that arrived."""


class Reading(Protocol):
    """What reads one remote object or store, as far as those who watch it need it."""

    @property
    def located(self) -> Any:
        """Where it is: a `Located` or a `LocatedStore`."""
        ...

    @property
    def stats(self) -> Stats:
        """What was done so far."""
        ...

    @property
    def integrity(self) -> Literal["verified", "unverified"]:
        """Whether the whole content was compared with the archive's digest."""
        ...

    def close(self) -> None:
        """End what is under way; whoever waits for it has an error."""
        ...


@dataclass(frozen=True)
class RemoteOptions:
    """How remote objects are read."""

    workers: int = 24
    """Requests under way at once for one object; twice as many of those that are for nodes of a chunk index."""
    timeout: float = 20.0
    """Seconds for a connection, and for the next bytes of an answer, before the request is given up and tried again."""
    tries: int = 6
    """Attempts in a row that may fail without any progress before a read fails."""
    backoff: float = 0.5
    """Seconds that the first pause between attempts takes at most; each later one may take twice as long."""
    max_wait: float = 60.0
    """Seconds that one pause takes at most, even if the server's ``Retry-After`` asks for more."""
    cache: CacheConfig | None = field(default_factory=CacheConfig)
    """The disk cache; None: nothing is kept."""
    verify: bool = False
    """Whether the whole object is read and compared with the archive's digest before it is used."""
    bandwidth: float | None = None
    """Bytes a second that all objects together may take; None: no bound."""
    in_flight: int = 32 * MIB
    """Bytes that all objects together may have requested but not handed on (memory)."""
    progress: bool | None = None
    """Whether bars are shown; None: on a terminal only. For the front ends: nothing here draws."""
    instance: str = "dandi"
    """The archive that ``DANDI:`` means: a name that dandi knows, or the address of an API."""
    on_progress: Callable[[Progress], None] | None = None
    """Called as bytes arrive, from any thread, but never twice at once for one object."""
    on_open: Callable[[Reading], None] | None = None
    """Called with what reads an object or store, when it begins to; it is to be closed by others only to break off."""

    def __post_init__(self) -> None:
        for name in ("workers", "timeout", "tries", "max_wait", "in_flight"):
            if getattr(self, name) <= 0:
                raise InputError(f"{name} is {getattr(self, name)}, and must be more than 0")
        if self.backoff < 0 or (self.bandwidth is not None and self.bandwidth <= 0):
            raise InputError("backoff must not be negative, and a bandwidth must be more than 0")


_CURRENT: ContextVar[RemoteOptions | None] = ContextVar("remote_options", default=None)


def current_options() -> RemoteOptions:
    """Return the options in force here: those of the innermost `use_options`, or the defaults."""
    return _CURRENT.get() or RemoteOptions()


@contextmanager
def use_options(options: RemoteOptions) -> Iterator[RemoteOptions]:
    """Have remote objects that are opened in this block read with `options`."""
    token = _CURRENT.set(options)
    try:
        yield options
    finally:
        _CURRENT.reset(token)
