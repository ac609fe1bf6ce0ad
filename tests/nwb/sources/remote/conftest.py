"""Readers that meet a server that fails as it is told to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from faulty_server import Server

from ndx_synapsnet.nwb.sources.remote.fetch import CacheConfig, RangeReader, RemoteOptions, open_remote
from ndx_synapsnet.nwb.sources.remote.location import Located


@pytest.fixture
def serve() -> Iterator[Callable[[bytes], Server]]:
    """A function that starts a server of some content."""
    servers = []

    def start(content: bytes) -> Server:
        server = Server(content)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.release.set()
        server.shutdown()
        server.server_close()


@pytest.fixture
def content() -> bytes:
    """More than the smallest request."""
    return np.random.default_rng(0).bytes(3_000_000)


@pytest.fixture
def server(serve: Callable[[bytes], Server], content: bytes) -> Server:
    return serve(content)


@pytest.fixture
def options(tmp_path: Path) -> RemoteOptions:
    """Little patience, and a cache of the test's own."""
    return RemoteOptions(workers=4, timeout=5, backoff=0.001, cache=CacheConfig(tmp_path / "cache"))


@pytest.fixture
def opened(options: RemoteOptions) -> Iterator[Callable[..., RangeReader]]:
    """A function that opens a located object; what it opened is closed, and no thread may be left."""
    readers = []

    def open_it(located: Located, options: RemoteOptions = options) -> RangeReader:
        readers.append(open_remote(located, options))
        return readers[-1]

    yield open_it
    for reader in readers:
        reader.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "remote-reader"]
