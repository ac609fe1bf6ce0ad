"""Where one remote object is: what finding it hands to reading it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Located:
    """An object that can be read by ranged HTTP requests."""

    uri: str
    """As people gave it and as it may be shown: no secrets, no presigned query."""
    url: Callable[[], str] = field(repr=False)
    """Returns the URL to read now, which may carry a presigned query."""
    refresh: Callable[[], str] | None = field(default=None, repr=False)
    """Returns a new URL after the server refused the old one (401 or 403); None: there is no other."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Request headers, such as ``Authorization``; sent only to the host of the URL itself."""
    size: int | None = None
    """Bytes, as the archive's record says; checked against the server."""
    digest: str | None = None
    """``sha256:...`` or ``dandi-etag:...`` where the archive states one."""
    record: Mapping[str, Any] = field(default_factory=dict)
    """JSON-able provenance: dandiset, version, asset id, path, digest and the like."""
