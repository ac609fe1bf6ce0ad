"""Connections to one server that are kept alive, shared by threads, and can all be broken at once."""

from __future__ import annotations

import base64
import logging
import os
import socket
import ssl
import threading
import weakref
from contextlib import suppress
from functools import lru_cache
from typing import Any

import urllib3
from requests.certs import where as trusted_authorities
from requests.utils import get_auth_from_url, get_environ_proxies, select_proxy
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from ....errors import InputError


class _NoQueries(logging.Filter):
    """Cuts the query, which may be a presigned one, from the addresses that urllib3 logs."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(a.partition("?")[0] if isinstance(a, str) else a for a in record.args)
        return True


class Connections:
    """A pool of HTTP connections; proxies and certificate authorities as the environment says.

    Parameters
    ----------
    url : str
        An address on the server, by which the proxy is chosen.
    size : int
        Connections kept alive.
    timeout : float
        Seconds for connecting, and for each wait for further bytes.

    Raises
    ------
    InputError
        If the environment names a proxy that cannot be used.
    """

    _filter = _NoQueries()

    def __init__(self, url: str, size: int, timeout: float) -> None:
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._broken = False
        logging.getLogger("urllib3.connectionpool").addFilter(self._filter)  # the same filter is added only once
        settings: dict[str, Any] = {
            "num_pools": 8,
            "maxsize": size,
            "timeout": urllib3.Timeout(connect=timeout, read=timeout),
            "ssl_context": _context(_trusted()),
        }
        proxy = _proxy(url)
        self._pools: urllib3.PoolManager
        if proxy is None:
            self._pools = urllib3.PoolManager(**settings)
        else:
            self._pools = urllib3.ProxyManager(proxy, proxy_headers=_authorization(proxy), **settings)
        self._pools.pool_classes_by_scheme = self._tracked_pools()

    def get(self, url: str, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
        """Send a GET; return the answer once its headers are there, its body unread, redirects not followed."""
        return self._pools.request(
            "GET", url, headers=headers, redirect=False, retries=False, preload_content=False, decode_content=False
        )

    def break_all(self) -> None:
        """End every transfer at once: threads that wait for bytes get an error instead."""
        with self._lock:
            self._broken = True
            sockets = list(self._sockets)
        for one in sockets:
            _shut(one)
        self._pools.clear()

    def _opened(self, one: socket.socket) -> None:
        with self._lock:
            self._sockets.add(one)
            broken = self._broken
        if broken:
            _shut(one)

    def _tracked_pools(self) -> dict[str, type[HTTPConnectionPool]]:
        opened = self._opened

        class PlainConnection(HTTPConnection):
            def connect(self) -> None:
                super().connect()
                opened(self.sock)

        class SecureConnection(HTTPSConnection):
            def connect(self) -> None:
                super().connect()
                opened(self.sock)

        class PlainPool(HTTPConnectionPool):
            ConnectionCls = PlainConnection

        class SecurePool(HTTPSConnectionPool):
            ConnectionCls = SecureConnection

        return {"http": PlainPool, "https": SecurePool}


def _shut(one: socket.socket) -> None:
    with suppress(OSError):  # closed meanwhile
        # not a TLS socket's own method: that takes the socket apart under the thread that waits on it
        socket.socket.shutdown(one, socket.SHUT_RDWR)


def _proxy(url: str) -> str | None:
    """Return the address of the proxy that the environment names for `url`."""
    given = select_proxy(url, get_environ_proxies(url))
    if not given:
        return None
    kind = given.partition("://")[0] if "://" in given else "http"
    if kind.lower() in ("http", "https"):
        with suppress(ValueError, urllib3.exceptions.LocationValueError):
            proxy = given if "://" in given else f"http://{given}"
            if urllib3.util.parse_url(proxy).host:
                return proxy
    raise InputError(
        f"the proxy that the environment names cannot be used: it is no address of one that speaks HTTP ({kind})",
        where="http_proxy, https_proxy, all_proxy",
        remedy="Name an HTTP proxy, http://host:port, or except the server with no_proxy",
    )


def _authorization(proxy: str) -> dict[str, str]:
    """Return the header with the name and password that the address of a proxy holds."""
    user, password = get_auth_from_url(proxy)
    if not user:
        return {}
    encoded = base64.b64encode(f"{user}:{password}".encode()).decode("ascii")
    return {"Proxy-Authorization": f"Basic {encoded}"}


def _trusted() -> str:
    """Return the certificates that TLS trusts: those that the usual variables name, else those of ``requests``."""
    return os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or trusted_authorities()


@lru_cache
def _context(trusted: str) -> ssl.SSLContext:
    if os.path.isdir(trusted):
        return ssl.create_default_context(capath=trusted)
    return ssl.create_default_context(cafile=trusted)
