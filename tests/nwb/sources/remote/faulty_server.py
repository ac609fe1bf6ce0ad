"""A server of one object on this machine that fails as it is told to."""

from __future__ import annotations

import re
import socket
import threading
from collections import deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ndx_synapsnet.nwb.sources.remote.location import Located

#: What a fault does with a request; True: it has been dealt with.
Fault = Callable[["Handler"], bool]


class Handler(BaseHTTPRequestHandler):
    """Ranged GETs of one object, unless a fault comes first."""

    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        server = self.server
        with server.lock:
            server.seen.append((self.path, dict(self.headers)))
            fault = server.faults.popleft() if server.faults else server.always
        try:
            if fault is None or not fault(self):
                self.serve()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def wanted(self) -> tuple[int, int]:
        first, last = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"]).groups()  # type: ignore[union-attr]
        return int(first), min(int(last) + 1, len(self.server.content))

    def head(self, status: int, length: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(length), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def range_head(self, start: int, stop: int, length: int | None = None) -> None:
        stated = {"Content_Range": f"bytes {start}-{stop - 1}/{len(self.server.content)}"}
        self.head(206, stop - start if length is None else length, **stated, **self.server.validators)

    def serve(self) -> None:
        etag = self.server.validators.get("ETag")
        if "If-Match" in self.headers and self.headers["If-Match"] != etag:
            return self.head(412, 0)
        if "If-None-Match" in self.headers and self.headers["If-None-Match"] == etag:
            self.send_response(304)
            return self.end_headers()
        start, stop = self.wanted()
        if start >= stop:
            return self.head(416, 0)
        self.range_head(start, stop)
        self.server.sent += stop - start
        self.wfile.write(memoryview(self.server.content)[start:stop])
        return None

    def cut(self) -> None:
        """Break the connection, however much was promised."""
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)


class Server(ThreadingHTTPServer):
    """One object, in memory."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = content
        self.validators = {"ETag": '"0123456789abcdef0123456789abcdef"'}
        self.faults: deque[Fault | None] = deque()
        self.always: Fault | None = None
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.sent = 0
        self.lock = threading.Lock()
        self.release = threading.Event()  # ends what stalls

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/blobs/object?signature=SECRET"

    def located(self, **kwargs: Any) -> Located:
        return Located(uri="archive:object.nwb", url=kwargs.pop("url", lambda: self.url), **kwargs)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a reader that went away
