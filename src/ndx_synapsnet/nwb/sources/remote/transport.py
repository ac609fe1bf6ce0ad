"""One immutable object over HTTP: ranged GETs that give the object's own bytes or an error, never anything else."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from urllib.parse import urljoin

import tenacity
import urllib3

from ....errors import InputError
from .answers import Identity, described, discard, host_of, retry_after, stated_range
from .connections import Connections
from .location import Located
from .options import RemoteOptions

_REDIRECTS = {301, 302, 303, 307, 308}
_TRY_AGAIN = {408, 425, 429}
_MAX_REDIRECTS = 8
# of one range, each by an address that was good for others: it may be good for few requests, and many are under way
_MAX_REFUSALS = 6
_PIECE = 1 << 18
# below this many bytes a second, over a whole timeout, an answer counts as stalled
_SLOWEST = 256
# so many bytes are progress, after which failures are counted anew: a line that drops often still gets there
_PROGRESS = 1 << 16


class _Transient(Exception):
    """A failure that another attempt may mend."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class Closed(ValueError):
    """The reader is closed, or was while it was reading."""

    def __init__(self) -> None:
        super().__init__("the reader is closed")


@dataclass(frozen=True)
class _Address:
    """The URL in use, and how it was come by."""

    origin: str
    """What the location gave."""
    url: str
    """The same, or where it was redirected to."""
    generation: int = 0
    worked: bool = False
    """Whether the origin has led to an answer since it was given."""
    renewed: bool = False
    """Whether the origin was asked for anew, with no answer since."""


@dataclass
class _Part:
    """A range on its way."""

    start: int
    stop: int
    """May exceed the object's end while its size is unknown."""
    unless: str | None = None
    """An ETag; an object that still has it need not be sent."""
    buffer: bytearray = field(default_factory=bytearray)
    unchanged: bool = False
    done: bool = False
    fruitless: int = 0
    """Failures since the last progress."""
    mark: int = 0
    """Bytes there at that progress."""
    refusals: int = 0


class Transport:
    """Ranged reading of one object, from any number of threads.

    Parameters
    ----------
    located : Located
        The object.
    options : RemoteOptions
        Time limits and attempts.
    received : callable
        Called with the number of bytes that just arrived; may wait, which slows the transfer down.
    """

    def __init__(self, located: Located, options: RemoteOptions, received: Callable[[int], None]) -> None:
        self._located, self._options, self._received = located, options, received
        url = self._checked(located.url())
        self._home = host_of(url)
        self._address = _Address(url, url)
        self._connections = Connections(url, 2 * options.workers + 2, options.timeout)
        self._lock = threading.Lock()
        self._renewing = threading.Lock()
        self._closing = threading.Event()
        self.identity: Identity | None = None
        self.requests = self.retries = 0

    def get(self, start: int, stop: int) -> bytearray:
        """Return the bytes ``[start, stop)``; fewer only where the object ends before `stop` and this is the first.

        Raises
        ------
        InputError
            If they cannot be had: see the messages below. What arrived is never a mixture of two contents.
        Closed
            If the transport was closed meanwhile.
        """
        part = _Part(start, stop)
        self._run(part)
        return part.buffer

    def get_unless(self, etag: str, start: int, stop: int) -> bytearray | None:
        """Return the bytes as `get` does, or None if the object still has the ETag `etag`."""
        part = _Part(start, stop, unless=etag)
        self._run(part)
        return None if part.unchanged else part.buffer

    def pin(self, identity: Identity) -> None:
        """Take `identity` for the object's; every answer that differs from it is an error from now on.

        Raises
        ------
        InputError
            If another one was seen before, or the archive's record states another size.
        """
        with self._lock:
            known = self.identity
            if known is None:
                self.identity = identity
        stated = self._located.size
        if stated is not None and identity.size != stated and (known is None or known.size == identity.size):
            raise InputError(
                f"the archive's record says {stated} bytes, the server has {identity.size}",
                where=self._located.uri,
                remedy="The record or the object is wrong: ask the archive",
            )
        if known is not None and not known.agrees(identity):
            raise self._replaced()

    def close(self) -> None:
        """End all transfers; they raise `Closed`."""
        self._closing.set()
        self._connections.break_all()

    # -- attempts

    def _run(self, part: _Part) -> None:
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_Transient),
            stop=lambda state: part.fruitless >= self._options.tries,
            wait=lambda state: self._pause(part, state),
            sleep=self._sleep,
            before=lambda state: self._begin(),
            reraise=True,
        )
        try:
            retrying(self._attempt, part)
        except _Transient as error:
            raise InputError(
                f"the server did not deliver: {error}, {part.fruitless} times in a row",
                where=self._located.uri,
                remedy="Check the connection, or try again later",
            ) from error.__cause__

    def _begin(self) -> None:
        if self._closing.is_set():
            raise Closed

    def _pause(self, part: _Part, state: tenacity.RetryCallState) -> float:
        with self._lock:
            self.retries += 1
        longest = min(self._options.max_wait, self._options.backoff * 2.0 ** (part.fruitless - 1))
        jittered = random.uniform(longest / 2, longest)
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after if isinstance(error, _Transient) else None
        return jittered if asked is None else min(self._options.max_wait, asked + jittered)

    def _sleep(self, seconds: float) -> None:
        if self._closing.wait(seconds):
            raise Closed

    def _attempt(self, part: _Part) -> None:
        try:
            while not part.done:
                self._exchange(part)
        except _Transient:
            self._count(part)
            raise
        except (urllib3.exceptions.SSLError, urllib3.exceptions.LocationValueError, UnicodeError) as error:
            if isinstance(error, urllib3.exceptions.SSLError) and "CERTIFICATE" not in str(error).upper():
                self._count(part)
                raise _Transient("the secure connection broke") from error
            raise InputError(
                f"no connection can be made ({described(error)})",
                where=self._located.uri,
                remedy="Check the address, and which certificates this machine trusts",
            ) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            self._count(part)
            raise _Transient(described(error)) from error

    def _count(self, part: _Part) -> None:
        """Count a failure, anew if there was progress since the last one."""
        if self._closing.is_set():
            raise Closed
        if len(part.buffer) - part.mark >= _PROGRESS:
            part.fruitless, part.mark = 0, len(part.buffer)
        part.fruitless += 1

    # -- one request and its answer

    def _exchange(self, part: _Part) -> None:
        address = self._address
        response, url = self._answer(part, address)
        try:
            if response.status in (401, 403):
                discard(response)
                part.refusals += 1
                self._renew(address, response.status, part.refusals)
                return
            self._worked(address, url)
            if response.status == 304 and part.unless:
                part.unchanged = part.done = True
                discard(response)
                return
            self._refuse_unusable(response, part)
            self._read_body(response, part)
        except BaseException:
            response.close()  # what is left of the body must not be taken for the next answer
            raise

    def _answer(self, part: _Part, address: _Address) -> tuple[urllib3.BaseHTTPResponse, str]:
        """Send the request, following redirects; return the answer and the URL that gave it."""
        common = {
            "Range": f"bytes={part.start + len(part.buffer)}-{part.stop - 1}",
            "Accept-Encoding": "identity",
            "User-Agent": "ndx-synapsnet",
        }
        if part.unless:
            common["If-None-Match"] = part.unless
        elif self.identity and self.identity.strong_etag:
            common["If-Match"] = self.identity.strong_etag
        url = address.url
        for _ in range(_MAX_REDIRECTS):
            own = self._located.headers if host_of(url) == self._home else {}
            with self._lock:
                self.requests += 1
            response = self._connections.get(url, {**common, **own})
            target = response.headers.get("Location")
            if response.status not in _REDIRECTS or not target:
                return response, url
            discard(response)
            previous, url = url, self._checked(target, url)
            if previous.startswith("https:") and not url.startswith("https:"):
                raise InputError("the server redirects to an insecure address", where=self._located.uri)
        raise InputError(f"more than {_MAX_REDIRECTS} redirects", where=self._located.uri)

    def _refuse_unusable(self, response: urllib3.BaseHTTPResponse, part: _Part) -> None:
        """Raise what an answer without the wanted bytes calls for."""
        status, where = response.status, self._located.uri
        if status == 206:
            encoding = response.headers.get("Content-Encoding", "identity").lower()
            if encoding not in ("identity", "aws-chunked", ""):
                raise InputError(f"the server compresses ranges ({encoding}), which cannot be read", where=where)
            return
        if status in _TRY_AGAIN or status >= 500:
            raise _Transient(f"it answered {status}", retry_after(response))
        if status == 200:
            raise InputError(
                "the server ignores requests for ranges and sends the whole object",
                where=where,
                remedy="Download the file and give its path",
            )
        if status == 412:
            raise self._replaced()
        if status in (404, 410):
            known = self.identity is not None
            raise InputError(
                f"the object was withdrawn while it was being read ({status})" if known else f"not found ({status})",
                where=where,
                remedy="Check the address, or whether the archive still has it",
            )
        if status == 416:
            what = "the object is empty" if self.identity is None else "the object is shorter than it said (416)"
            raise InputError(what, where=where, remedy="Check that the upload was complete")
        raise InputError(f"the server answered {status} to a request for a range", where=where)

    def _read_body(self, response: urllib3.BaseHTTPResponse, part: _Part) -> None:
        position = part.start + len(part.buffer)
        first, last, size = stated_range(response) or (-1, -1, -1)
        if size >= 0:
            self.pin(Identity(size, response.headers.get("ETag"), response.headers.get("Last-Modified")))
        wanted = min(part.stop, size)
        if first != position or not first <= last < wanted:
            given = f"{first}-{last}" if size >= 0 else "none that is stated"
            raise InputError(
                f"the server sent another range than was asked for ({given} instead of {position}-{wanted - 1})",
                where=self._located.uri,
                remedy="Something between here and the archive is broken: download the file and give its path",
            )
        length = last + 1 - first
        stated = response.headers.get("Content-Length")
        if stated is not None and stated != str(length):
            raise _Transient("an answer's length was not that of its range")
        self._receive(response, part.buffer, length)
        if last + 1 < wanted:
            raise _Transient("it sent less than was asked for")
        part.done = True

    def _receive(self, response: urllib3.BaseHTTPResponse, buffer: bytearray, length: int) -> None:
        """Append exactly `length` bytes of the body; all that arrived before a failure stay in `buffer`."""
        limit = self._options.timeout
        waited, recent, left = 0.0, 0, length
        while left:
            before = time.monotonic()
            piece = response.read1(min(_PIECE, left), decode_content=False)
            waited += time.monotonic() - before
            if not piece:
                raise _Transient("the connection was dropped")
            buffer += piece
            left -= len(piece)
            recent += len(piece)
            self._received(len(piece))
            if self._closing.is_set():
                raise Closed
            if waited > limit:
                if recent < _SLOWEST * limit:
                    raise _Transient(f"it sent {recent} bytes in {waited:.0f} s")
                waited, recent = 0.0, 0
        try:
            longer = response.read(1, decode_content=False)  # also what makes the connection fit for the next request
        except (urllib3.exceptions.HTTPError, OSError):
            response.close()  # but all that was asked for is there
            return
        if longer:
            del buffer[-length:]  # none of it is to be believed
            raise _Transient("an answer was longer than its range")
        response.release_conn()

    # -- the address

    def _worked(self, address: _Address, url: str) -> None:
        """Remember that `address` led to an answer, and where."""
        if address.worked and address.url == url:
            return
        with self._lock:
            if self._address.generation == address.generation:
                self._address = replace(self._address, url=url, worked=True, renewed=False)

    def _renew(self, refused: _Address, status: int, refusals: int) -> None:
        """Get another URL after a refusal, unless another thread has done so."""
        with self._renewing:
            now = self._address
            if now.generation != refused.generation:
                if refusals > _MAX_REFUSALS:
                    raise self._no_access(status)
                return
            if now.url != now.origin:  # what it was redirected to expired: be redirected anew
                origin, renewed = now.origin, now.renewed
            elif self._located.refresh is not None and not now.renewed and refusals <= _MAX_REFUSALS:
                origin, renewed = self._checked(self._located.refresh()), True
            else:
                raise self._no_access(status)
            with self._lock:
                self._address = _Address(origin, origin, now.generation + 1, renewed=renewed)

    def _checked(self, url: str, base: str = "") -> str:
        """Return an address, seen from another, that leads to a web server."""
        with suppress(ValueError):  # no such port, half an IPv6 address
            url = urljoin(base, url)
            if host_of(url)[0] in ("http", "https"):
                return url
        raise InputError("the address does not lead to a web server", where=self._located.uri)

    # -- errors

    def _no_access(self, status: int) -> InputError:
        token = any(name.lower() == "authorization" for name in self._located.headers)
        said = "with the token given" if token else "and no token was given"
        return InputError(
            f"access was refused ({status}), {said}",
            where=self._located.uri,
            remedy="If the data are embargoed, give a token that may read them; if the address was presigned, "
            "it has expired: get a new one",
        )

    def _replaced(self) -> InputError:
        return InputError(
            "the object was replaced while it was being read",
            where=self._located.uri,
            remedy="Run this again to read the new one; nothing of this run mixes the two",
        )
