"""Objects on any web server."""

from __future__ import annotations

import base64
from urllib.parse import unquote

from .remote.location import Located
from .uri import HttpAddress


def locate_http(address: HttpAddress) -> Located:
    """Return where an object on a web server is; nothing is asked of the server yet."""
    headers = {}
    if address.userinfo:
        encoded = base64.b64encode(unquote(address.userinfo).encode()).decode("ascii")
        headers["Authorization"] = f"Basic {encoded}"
    return Located(uri=str(address), url=lambda: address.url, headers=headers, record={"url": str(address)})
