"""Ranges of one remote object: from the cache or the line, in parallel, within bounds of memory and bandwidth."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator, Sequence
from hashlib import sha256
from types import TracebackType
from typing import Literal
from urllib.parse import urlsplit

from ....errors import InputError
from .answers import Identity
from .cache import Cache
from .cached_object import CachedObject
from .digest import verify_digest
from .flow import Flow
from .location import Located
from .meter import Meter, Stats
from .options import CacheConfig, Progress, RemoteOptions, current_options, use_options
from .plan import SMALLEST, Request, plan
from .pool import Pool
from .transport import Closed, Transport
from .verified import Hashes, whole_blocks

__all__ = [
    "CacheConfig",
    "Progress",
    "RangeReader",
    "RemoteOptions",
    "Stats",
    "current_options",
    "open_remote",
    "use_options",
    "verify_digest",
]

#: Bytes of the first request, from which an object's size and identity come.
HEAD = 1 << 18
#: Bytes up to which a request costs a round trip and little else.
TINY = 1 << 14
# seconds to wait for threads whose connections were broken; one that is still connecting ends by its timeout
_PATIENCE = 2.0
# transfers of the same bytes until they are what was verified
_ATTEMPTS = 3


def open_remote(located: Located, options: RemoteOptions | None = None) -> RangeReader:
    """Return a reader of the object at `located`, to be closed after use.

    Parameters
    ----------
    located : Located
        The object.
    options : RemoteOptions, optional
        How to read it; by default the options in force (see `use_options`).

    Raises
    ------
    InputError
        If the server does not give it, it is not of the size that the archive's record states, or, with
        ``options.verify``, not of its digest or the record states none.
    """
    options = options or current_options()
    if options.verify and located.digest is None:
        raise InputError(
            "its record states no digest, so it cannot be verified", where=located.uri, remedy="Leave out --verify"
        )
    reader = RangeReader(located, options)
    try:
        if options.on_open is not None:
            options.on_open(reader)
        if options.verify:
            reader.verify()
    except BaseException:
        reader.close()
        raise
    return reader


class RangeReader:
    """Ranges of one object; made by `open_remote`, usable from any thread.

    Attributes
    ----------
    uri : str
        The object, as it may be shown.
    size : int
        Bytes.
    key : str
        What the content is known by: the archive's digest, or ETag, size and a hash of the place.
    located : Located
        Where it is.
    integrity : {"verified", "unverified"}
        Whether the whole content was compared with the archive's digest, and all bytes given since with that content.
    """

    def __init__(self, located: Located, options: RemoteOptions) -> None:
        self.uri, self.located, self.options = located.uri, located, options
        self.integrity: Literal["verified", "unverified"] = "unverified"
        self._lock = threading.Lock()
        self._meter = Meter(located.uri, options)
        self._pool = Pool(options.workers, "remote-reader")
        # such as for the scattered nodes of an index: more of them take no more memory, and fewer round trips
        self._tiny_pool = Pool(2 * options.workers, "remote-reader")
        self._transport: Transport | None = None
        self._cached: CachedObject | None = None
        self._settled = self._served = self._replaced = False
        self._hashes: Hashes | None = None
        self._closed = False
        self._head = b""
        self._cache = Cache(options.cache) if options.cache is not None else None
        try:
            # with the archive's word for both, everything may be in the cache, and no request needed at all
            identity = None if located.digest and located.size else self._first_block()
            self.size: int = identity.size if identity else located.size or 0
            self.key: str = located.digest or self._etag_key(identity)
            if self._cache is not None and self.key:
                self._cached = self._cache.open(self._cache_key(), self.size)
            if identity is not None:
                self._settle(identity)
                self._keep_first_block(identity)
        except BaseException:
            self.close()
            raise
        weakref.finalize(self, _abandon, (self._pool, self._tiny_pool), self._meter, self._cached)

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes ``[start, stop)``.

        Raises
        ------
        InputError
            If they cannot be had, or the object is no longer the one that was opened.
        ValueError
            If the range does not lie within the object, or the reader is closed.
        """
        self._check(start, stop)
        if stop <= len(self._head):
            return self._head[start:stop]
        if stop - start > 2 * SMALLEST:
            return next(data for _, data in self.fetch([(start, stop)]))
        missing = self._gaps(start, stop)
        stored = None if missing else self._from_cache(start, stop)
        if stored is not None:
            return stored
        if stop <= HEAD and not self._head:  # what comes first is read in bits: get it at once
            self._head = self._wanted(0, min(HEAD, self.size))
            return self._head[start:stop]
        return self._wanted(start, stop)

    def fetch(self, ranges: Sequence[tuple[int, int]], *, ordered: bool = False) -> Iterator[tuple[int, bytes]]:
        """Get many ranges in parallel.

        Parameters
        ----------
        ranges : sequence of (start, stop)
            In any order; they may overlap.
        ordered : bool
            Whether to give them in their order rather than as they arrive.

        Yields
        ------
        int
            Number of the range, each once.
        bytes
            Its content.

        Raises
        ------
        InputError, ValueError
            As `read` does. Ranges whose memory is not handed on yet are held to ``options.in_flight`` bytes in all
            readers together: a slow consumer slows the transfer down.
        """
        wanted = [(int(start), int(stop)) for start, stop in ranges]
        for start, stop in wanted:
            self._check(start, stop)
        requests = plan(wanted, self._gaps, self.options.workers)
        self._meter.want(sum(request.size for request in requests if not request.cached))
        flow = Flow(
            wanted,
            requests,
            get=self._answered,
            pool=self._tiny_pool if all(request.size <= TINY for request in requests) else self._pool,
            bound=self.options.in_flight,
        )
        return flow.in_order() if ordered else flow.as_they_arrive()

    def verify(self) -> None:
        """Compare the whole content with the archive's digest; what is read from now on is held against it.

        Raises
        ------
        InputError
            If it is another one, or the archive states none.
        """
        if self.located.digest is None:
            raise InputError("its record states no digest", where=self.uri)
        try:
            hashes = verify_digest(self, self.located.digest)
        except InputError:
            if self._cached is not None:
                self._cached.discard()  # or the next run would be given the same
            raise
        if not hashes.agree(0, self._head):
            self._head = b""
        self._hashes = hashes
        self.integrity = "verified"

    @property
    def stats(self) -> Stats:
        """What was done so far."""
        meter, transport = self._meter, self._transport
        requests, retries = (transport.requests, transport.retries) if transport is not None else (0, 0)
        return Stats(requests, meter.bytes, meter.cached_bytes, retries, meter.seconds)

    def close(self) -> None:
        """End what is under way and let go of threads, connections and files."""
        self._closed = True
        self._meter.end()
        if self._transport is not None:
            self._transport.close()
        for pool in (self._pool, self._tiny_pool):
            pool.close()
        for pool in (self._pool, self._tiny_pool):
            pool.join(_PATIENCE)
        if self._cached is not None:
            self._cached.close()

    def __enter__(self) -> RangeReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<RangeReader {self.uri}>"

    # -- opening

    def _first_block(self) -> Identity:
        """Get the first block, or learn that it is the known one; return which content the object has."""
        transport = self._transport = self._make_transport()
        guess = self._cache.recall(self.uri) if self._cache is not None and self.located.digest is None else None
        with self._meter.transfer():
            head = transport.get_unless(guess[0], 0, HEAD) if guess else transport.get(0, HEAD)
        if head is None and guess:
            transport.pin(Identity(guess[1], guess[0]))
        self._head = bytes(head or b"")
        assert transport.identity is not None  # every answer pins it
        return transport.identity

    def _keep_first_block(self, identity: Identity) -> None:
        if self._cache is not None and self._cached is not None and identity.strong_etag:
            self._cache.remember(self.uri, identity.strong_etag, identity.size)
        self._store(0, self._head)

    def _etag_key(self, identity: Identity | None) -> str:
        """Return what tells the content from all others; empty if the server gives nothing that does."""
        if identity is None or identity.strong_etag is None:
            return ""
        return f"etag:{identity.strong_etag}:{identity.size}:{self._place()}"

    def _cache_key(self) -> str:
        """Return the key with the place: another archive may state a digest that its bytes do not have."""
        return f"{self.key}:{self._place()}" if self.located.digest else self.key

    def _place(self) -> str:
        """Return a hash of the address without its query: ETags and digests are a server's word for its own only."""
        parts = urlsplit(self.located.url())
        return sha256(f"{parts.scheme}://{parts.netloc}{parts.path}".encode()).hexdigest()[:16]

    def _make_transport(self) -> Transport:
        return Transport(self.located, self.options, self._meter.received)

    # -- one range

    def _check(self, start: int, stop: int) -> None:
        if self._closed:
            raise Closed
        if self._replaced:
            raise self._was_replaced()
        if not 0 <= start <= stop <= self.size:
            raise ValueError(f"[{start}, {stop}) does not lie within the {self.size} bytes of {self.uri}")

    def _gaps(self, start: int, stop: int) -> list[tuple[int, int]]:
        if self._cached is None:
            return [(start, stop)] if start < stop else []
        return self._cached.gaps(start, stop)

    def _from_cache(self, start: int, stop: int) -> bytes | None:
        if start == stop:
            return b""
        if self._cached is None:
            return None
        if self._hashes is None:
            stored = self._cached.read(start, stop)
        else:  # another process may have put something else there
            first, last = whole_blocks(start, stop, self.size)
            stored = self._cached.read(first, last)
            if stored is not None:
                stored = stored[start - first : stop - first] if self._hashes.agree(first, stored) else None
        if stored:
            self._served = True
            self._meter.from_cache(len(stored))
        return stored

    def _wanted(self, start: int, stop: int) -> bytes:
        self._meter.want(stop - start)
        return bytes(self._transferred(start, stop))

    def _transferred(self, start: int, stop: int) -> bytearray:
        """Get a range from the server, and store it; after `verify`, make sure that it is what was verified.

        Raises
        ------
        InputError
            If it cannot be had, or is not what was verified.
        """
        if self._hashes is None:
            data = self._received(start, stop)
            self._store(start, data)
            return data
        first, last = whole_blocks(start, stop, self.size)
        lacking = last - first - (stop - start)
        for _ in range(_ATTEMPTS):
            self._meter.want(lacking)
            data = self._received(first, last)
            if self._hashes.agree(first, data):
                self._store(first, data)
                del data[stop - first :], data[: start - first]
                return data
            lacking = last - first
        raise InputError(
            f"bytes {start} to {stop} are not those that were verified: damaged on their way, or replaced",
            where=self.uri,
            remedy="Try again; if it stays so, something between here and the archive is broken",
        )

    def _received(self, start: int, stop: int) -> bytearray:
        with self._lock:
            if self._transport is None:
                self._transport = self._make_transport()
            transport = self._transport
        if self._closed:
            raise Closed
        with self._meter.transfer():
            data = transport.get(start, stop)
        assert transport.identity is not None  # every answer pins it
        self._settle(transport.identity)
        return data

    def _settle(self, identity: Identity) -> None:
        """Make sure, once, that the server's object is the one that the cache has parts of.

        Raises
        ------
        InputError
            If it is not, and some of those were handed on already.
        """
        with self._lock:
            if self._replaced:
                raise self._was_replaced()
            if self._settled:
                return
            self._settled = True
            etag, cached = identity.strong_etag, self._cached
            if cached is None or etag is None or cached.etag == etag:
                return
            if cached.etag is None:
                cached.set_etag(etag)
                return
            cached.discard()
            if self._served:
                self._replaced = True
                raise self._was_replaced()

    def _was_replaced(self) -> InputError:
        return InputError(
            "the object was replaced since parts of it were put into the cache",
            where=self.uri,
            remedy="Run this again: those parts are forgotten",
        )

    def _store(self, start: int, data: bytes | bytearray) -> None:
        if self._cached is not None:
            self._cached.write(start, data)

    # -- many ranges

    def _answered(self, request: Request) -> bytes | bytearray:
        if request.cached:
            if (stored := self._from_cache(request.start, request.stop)) is not None:
                return stored
            self._meter.want(request.size)  # it was damaged
        return self._transferred(request.start, request.stop)


def _abandon(pools: tuple[Pool, ...], meter: Meter, cached: CachedObject | None) -> None:
    """End the threads of a reader that nobody closed, and let go of its files."""
    meter.end()
    for pool in pools:
        pool.close()
    if cached is not None:
        cached.close()
