"""Whole small objects below one root on a web server, as the files of a Zarr store are."""

from __future__ import annotations

import hashlib
import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Literal
from urllib.parse import urljoin, urlsplit

from ...errors import InputError
from .remote.meter import Stats
from .remote.options import RemoteOptions

_LARGEST = 2 << 30  # bytes of one file: a server is not believed that sends more
_REDIRECTS = {301, 302, 303, 307, 308}
_TRY_AGAIN = {408, 425, 429}


@dataclass(frozen=True)
class LocatedStore:
    """A folder of files on a web server."""

    uri: str
    """As people gave it and as it may be shown: no secrets."""
    url: Callable[[str], str] = field(repr=False)
    """Returns the URL of a file by its path below the root."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Request headers; sent only to the host of the URLs themselves."""
    md5_etags: bool = False
    """Whether an ETag of 32 hexadecimal digits is known to be the MD5 of the file, and is compared with it."""
    record: Mapping[str, Any] = field(default_factory=dict)
    """JSON-able provenance, as of `Located`."""


class _Transient(Exception):
    """A failure that another attempt may mend."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class WebFolder:
    """Reads files of a `LocatedStore`, several at once; to be closed after use.

    Attributes
    ----------
    bytes, requests, absent : int
        Bytes received, requests sent, and files asked for that are not there.
    missing : set of str
        Files without which data were read; kept by who reads these.
    """

    integrity: Literal["unverified"] = "unverified"

    def __init__(self, located: LocatedStore, options: RemoteOptions) -> None:
        from .remote.connections import Connections

        self.located, self._options = located, options
        self._connections = Connections(located.url(""), options.workers, options.timeout)
        self._pool = ThreadPoolExecutor(options.workers, thread_name_prefix="remote-folder")
        self._lock = Lock()
        self._began = time.monotonic()
        self._seconds = 0.0
        self.bytes = self.requests = self.absent = 0
        self.missing: set[str] = set()
        if options.on_open is not None:
            options.on_open(self)

    @property
    def stats(self) -> Stats:
        """What was done so far; the seconds are those until the last file that was read."""
        return Stats(self.requests, self.bytes, seconds=self._seconds)

    def read(self, path: str) -> bytes | None:
        """Return the content of a file; None if there is none.

        Raises
        ------
        InputError
            If the server does not give it.
        """
        import tenacity

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_Transient),
            stop=tenacity.stop_after_attempt(self._options.tries),
            wait=self._pause,
            reraise=True,
        )
        try:
            content: bytes | None = retrying(self._attempt, path)
        except _Transient as error:
            raise InputError(
                f"the server did not deliver {path}: {error}, {self._options.tries} times in a row",
                where=self.located.uri,
                remedy="Check the connection and try again later",
            ) from error
        with self._lock:
            self._seconds = time.monotonic() - self._began
            self.bytes += len(content or b"")
            self.absent += content is None
        return content

    def read_all(self, paths: Sequence[str]) -> dict[str, bytes]:
        """Return the contents of those of `paths` that are there, fetched in parallel."""
        contents = self._pool.map(self.read, paths) if len(paths) > 1 else map(self.read, paths)
        return {path: content for path, content in zip(paths, contents, strict=True) if content is not None}

    def close(self) -> None:
        """End all transfers."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._connections.break_all()

    def _attempt(self, path: str) -> bytes | None:
        from urllib3.exceptions import HTTPError, LocationValueError, SSLError

        try:
            return self._get(path)
        except (SSLError, LocationValueError, UnicodeError) as error:
            raise InputError("no secure connection can be made", where=self.located.uri) from error
        except (HTTPError, OSError) as error:
            raise _Transient("no connection, or it broke") from error

    def _get(self, path: str) -> bytes | None:
        url, where = self.located.url(path), self.located.uri
        home = _host(url)
        for _ in range(5):
            own = self.located.headers if _host(url) == home else {}
            with self._lock:
                self.requests += 1
            response = self._connections.get(url, {"Accept-Encoding": "identity", "User-Agent": "ndx-synapsnet", **own})
            try:
                target = response.headers.get("Location")
                if response.status in _REDIRECTS and target:
                    following = urljoin(url, target)
                    if _host(following)[0] not in ("http", "https") or (
                        url.startswith("https:") and not following.startswith("https:")
                    ):
                        raise InputError("the server redirects to an insecure address", where=where)
                    url = following
                    continue
                if response.status in (404, 410):
                    return None
                if response.status in _TRY_AGAIN or response.status >= 500:
                    asked = _whole_number(response.headers.get("Retry-After"))
                    raise _Transient(f"it answered {response.status}", asked)
                if response.status in (401, 403):
                    raise InputError(
                        f"access to {path} was refused ({response.status})",
                        where=where,
                        remedy="If the data are embargoed, give a token that may read them",
                    )
                if response.status != 200:
                    raise InputError(f"the server answered {response.status} to a request for {path}", where=where)
                return self._body(response, path)
            finally:
                response.close() if response.status != 200 else response.release_conn()
        raise InputError("too many redirects", where=where)

    def _body(self, response: Any, path: str) -> bytes:
        length = _whole_number(response.headers.get("Content-Length"))
        if length is not None and length > _LARGEST:
            raise InputError(f"{path} has more bytes than any chunk has", where=self.located.uri)
        content = bytes(response.read(_LARGEST + 1, decode_content=False))
        if length is not None and len(content) != length:
            raise _Transient("it sent less than it said")
        if len(content) > _LARGEST:
            raise InputError(f"{path} is larger than any chunk", where=self.located.uri)
        etag = response.headers.get("ETag", "").strip('"').lower()
        is_md5 = self.located.md5_etags and re.fullmatch(r"[0-9a-f]{32}", etag)
        if is_md5 and hashlib.md5(content, usedforsecurity=False).hexdigest() != etag:
            raise _Transient(f"what arrived of {path} is damaged")
        return content

    def _pause(self, state: Any) -> float:
        longest = min(self._options.max_wait, self._options.backoff * 2.0 ** (state.attempt_number - 1))
        jittered = random.uniform(longest / 2, longest)
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after if isinstance(error, _Transient) else None
        return jittered if asked is None else min(self._options.max_wait, asked + jittered)


def _whole_number(text: str | None) -> int | None:
    """Return what a header says, if that is a number of a length that can be meant."""
    return int(text) if text and re.fullmatch(r"[0-9]{1,18}", text) else None


def _host(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    return parts.scheme.lower(), (parts.hostname or "").lower(), parts.port
