"""Counting what one object's reading takes, telling about it, and keeping it within the line's bound."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from .options import Progress, RemoteOptions


@dataclass(frozen=True)
class Stats:
    """What a reader has done so far."""

    requests: int = 0
    """HTTP requests, redirects and repetitions included."""
    bytes: int = 0
    """Bytes of content that arrived."""
    cached_bytes: int = 0
    """Bytes that came from the cache instead."""
    retries: int = 0
    """Attempts after a failure."""
    seconds: float = 0.0
    """Time during which at least one request was under way."""


class Line:
    """A bound on the bytes a second of everything that asks it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free = 0.0

    def take(self, n: int, rate: float) -> float:
        """Return the seconds to wait before taking more, for having taken `n` bytes at `rate` bytes a second."""
        with self._lock:
            now = time.monotonic()
            self._free = max(self._free, now) + n / rate
            return self._free - now


#: The one line of this process.
LINE = Line()


class Meter:
    """Counts for one object; any number of threads.

    Parameters
    ----------
    uri : str
        The object, as it is shown.
    options : RemoteOptions
        The bandwidth, and whom to tell about progress.
    """

    def __init__(self, uri: str, options: RemoteOptions) -> None:
        self._uri, self._options = uri, options
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._wanted = self._active = 0
        self._since = 0.0
        self.bytes = self.cached_bytes = 0
        self.seconds = 0.0

    def want(self, n: int) -> None:
        """Count `n` bytes as about to be transferred."""
        self._tell(wanted=n)

    def received(self, n: int) -> None:
        """Count `n` bytes that arrived; returns when the bandwidth allows for more."""
        self._tell(received=n)
        if self._options.bandwidth is not None:
            self._ended.wait(LINE.take(n, self._options.bandwidth))

    def from_cache(self, n: int) -> None:
        """Count `n` bytes that need no transfer."""
        with self._lock:
            self.cached_bytes += n

    @contextmanager
    def transfer(self) -> Iterator[None]:
        """Count the time of the block."""
        with self._lock:
            self._active += 1
            if self._active == 1:
                self._since = time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                self._active -= 1
                if not self._active:
                    self.seconds += time.monotonic() - self._since

    def end(self) -> None:
        """Let nobody wait any more."""
        self._ended.set()

    def _tell(self, *, wanted: int = 0, received: int = 0) -> None:
        with self._lock:
            self._wanted += wanted
            self.bytes += received
            if self._options.on_progress is not None:
                self._options.on_progress(Progress(self._uri, max(self._wanted, self.bytes), self.bytes))
