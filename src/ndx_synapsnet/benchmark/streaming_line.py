"""What the line and the server allow: the ranges that are needed, got in parallel by plain GETs and thrown away."""

from __future__ import annotations

import threading
import time
from http.client import HTTPConnection
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import urlsplit

import h5py

from ..nwb.sources.remote.options import RemoteOptions
from ..nwb.sources.remote.plan import Request, plan
from .recordings import Recording
from .streaming_readers import Reading

#: Name of this way, beside those of `READERS`.
LINE_ALONE = "plain GETs, nothing decoded"
_BUFFER = 1 << 20
_TIMES_OUT = 60.0


def line_alone(url: str, recording: Recording) -> Reading:
    """Get the stored bytes of a recording's data by as many connections, and the same requests, as ours does.

    Where they are is known beforehand. What ours takes longer is for opening the file, its index and decoding; what
    this takes longer than the bound is due to the server and the connections.
    """
    requests = plan(needed_ranges(recording), lambda start, stop: [(start, stop)], RemoteOptions().workers)
    queue: SimpleQueue[Request] = SimpleQueue()
    for request in requests:
        queue.put(request)
    received: list[int] = []
    workers = [threading.Thread(target=_work, args=(url, queue, received)) for _ in range(RemoteOptions().workers)]
    began, processor = time.perf_counter(), time.process_time()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    seconds, processor = time.perf_counter() - began, time.process_time() - processor
    if sum(received) != sum(request.size for request in requests):
        raise RuntimeError("the archive sent other bytes than were asked for")
    return Reading(seconds, {}, processor, sum(received))


def needed_ranges(recording: Recording) -> list[tuple[int, int]]:
    """Return where in the file the data that are needed are stored."""
    with h5py.File(recording.path, "r") as file:
        dataset = file[recording.dataset]
        if dataset.chunks is None:
            start = int(dataset.id.get_offset())
            return [(start, start + recording.needed)]
        found: list[Any] = []
        dataset.id.chunk_iter(found.append)
        return sorted((info.byte_offset, info.byte_offset + info.size) for info in found)


def _work(url: str, queue: SimpleQueue[Request], received: list[int]) -> None:
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=_TIMES_OUT)
    buffer = bytearray(_BUFFER)
    try:
        while True:
            try:
                request = queue.get_nowait()
            except Empty:
                return
            connection.request("GET", parts.path, headers={"Range": f"bytes={request.start}-{request.stop - 1}"})
            received.append(_length(connection, buffer))
    finally:
        connection.close()


def _length(connection: HTTPConnection, buffer: bytearray) -> int:
    """Receive an answer's body, and return its length."""
    answer, length = connection.getresponse(), 0
    while n := answer.readinto(buffer):
        length += n
    return length
