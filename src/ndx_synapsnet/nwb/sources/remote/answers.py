"""What a server's answer says about the object, and what a failure was."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import urllib3

# a body of no interest that is longer is not worth reading for the sake of its connection
_SHORT = 1 << 16
_CONTENT_RANGE = re.compile(r"\s*bytes\s+([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Identity:
    """What tells one content of an object from another."""

    size: int
    """Bytes."""
    etag: str | None = None
    """As the server gives it."""
    modified: str | None = None
    """``Last-Modified``, as the server gives it."""

    @property
    def strong_etag(self) -> str | None:
        """The ETag, if it is one that stands for the exact bytes."""
        return self.etag if self.etag and re.fullmatch(r'"[^"]*"', self.etag) else None

    def agrees(self, other: Identity) -> bool:
        """Whether nothing that both state differs."""
        if self.size != other.size:
            return False
        if self.etag and other.etag:
            return self.etag.removeprefix("W/") == other.etag.removeprefix("W/")
        return not (self.modified and other.modified) or self.modified == other.modified


def stated_range(response: urllib3.BaseHTTPResponse) -> tuple[int, int, int] | None:
    """Return the first and last byte of an answer's range, and the object's size, if it states them."""
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    return (int(match[1]), int(match[2]), int(match[3])) if match else None


def host_of(url: str) -> tuple[str, str, int | None]:
    """Return the scheme, name and port that a URL leads to."""
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    return scheme, (parts.hostname or "").lower(), parts.port or {"http": 80, "https": 443}.get(scheme)


def discard(response: urllib3.BaseHTTPResponse) -> None:
    """Be done with an answer whose body is of no interest, in such a way that its connection can serve again."""
    if len(response.read(_SHORT, decode_content=False)) == _SHORT:
        response.close()  # too long to be read out
    response.release_conn()


def described(error: BaseException) -> str:
    """Return what happened, without the address that urllib3 may put into its messages."""
    if isinstance(error, urllib3.exceptions.NameResolutionError):
        return "its name is not known"
    if isinstance(error, urllib3.exceptions.NewConnectionError):
        return "it does not accept connections"
    if isinstance(error, (urllib3.exceptions.TimeoutError, TimeoutError)):
        return "it did not answer in time"
    if isinstance(error, urllib3.exceptions.ProxyError):
        return "the proxy does not answer"
    if isinstance(error, urllib3.exceptions.SSLError):
        return "its certificate is not trusted"
    if isinstance(error, (urllib3.exceptions.ProtocolError, ConnectionError)):
        return "the connection was dropped"
    return type(error).__name__


def retry_after(response: urllib3.BaseHTTPResponse) -> float | None:
    """Return the seconds that the server asks to be left alone, if it does."""
    text = (response.headers.get("Retry-After") or "").strip()
    if re.fullmatch(r"\d{1,9}", text):
        return float(text)
    with suppress(ValueError, TypeError):
        until = parsedate_to_datetime(text)
        with suppress(ValueError, TypeError):  # by the server's clock, where it tells
            return max(0.0, (until - parsedate_to_datetime(response.headers.get("Date", ""))).total_seconds())
        return max(0.0, (until - datetime.now(timezone.utc)).total_seconds())
    return None
