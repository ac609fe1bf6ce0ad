"""The bytes behind the loopback archive: ranges, presigned addresses, and what goes wrong with them."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import time
from collections import Counter
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from .archive import Asset, LoopbackArchive

_SECRET = b"loopback"
_BLOCK = 64 * 1024
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_OVERSLEPT = 0.05  # seconds, at most, by which a sender may be late and still catch up


def signature(path: str, serial: str, expires: str) -> str:
    """Return what makes an address good until `expires`."""
    return hmac.new(_SECRET, f"{path} {serial} {expires}".encode(), "sha256").hexdigest()


@dataclass(frozen=True)
class _Answer:
    """One answer with a body: bytes [start, stop) of a file, and what goes wrong with them."""

    status: int
    start: int
    stop: int
    etag: str
    concerned: bool
    """Whether the faults are about this file."""
    replaced: bool
    faulty: bool


class DataServer:
    """Answers requests for data as a bucket or a plain file server does, with the line and the faults asked for."""

    def __init__(self, archive: LoopbackArchive) -> None:
        self.archive = archive
        self.uses: Counter[str] = Counter()
        self.free_at = 0.0  # when the shared line has sent what it was given
        self.connections: dict[int, tuple[Any, list[float]]] = {}  # the transport is kept: its id stays its own

    async def blob(self, request: web.Request) -> web.StreamResponse:
        """Answer for a blob of the bucket."""
        for asset in self.archive.assets():
            if not asset.is_zarr and asset.object_id == request.match_info["blob"]:
                return await self._object(request, asset.path, asset.file)
        return error_answer(404, "NoSuchKey")

    async def zarr_entry(self, request: web.Request) -> web.StreamResponse:
        """Answer for a file of a Zarr asset in the bucket."""
        for asset in self.archive.assets():
            if asset.is_zarr and asset.object_id == request.match_info["zarr"]:
                key = request.match_info["key"]
                return await self._object(request, f"{asset.path}/{key}", asset.file / key)
        return error_answer(404, "NoSuchKey")

    async def file(self, request: web.Request) -> web.StreamResponse:
        """Answer for a file of the folder by its path."""
        path = request.match_info["path"]
        return await self._send(request, path, self.archive.folder / path)

    async def _object(self, request: web.Request, path: str, file: Path) -> web.StreamResponse:
        """Answer as the bucket: a signature must be good, and there must be one if it is under embargo."""
        query, limit = request.query, self.archive.faults.expire_requests
        if signed := query.get("X-Amz-Signature"):
            serial, expires = query.get("X-Amz-Credential", ""), query.get("X-Amz-Date", "0")
            if request.method != "GET" or signed != signature(request.path, serial, expires):
                return error_answer(403, "SignatureDoesNotMatch")
            self.uses[serial] += 1
            lasting = self.archive.faults.expire_addresses
            used_up = limit is not None and self.uses[serial] > limit and (lasting is None or int(serial) <= lasting)
            if time.time() > float(expires) or used_up:
                return error_answer(403, "AccessDenied")  # S3 says so of a request that has expired
        elif self.archive.embargoed:
            return error_answer(403, "AccessDenied")
        return await self._send(request, path, file)

    async def _send(self, request: web.Request, path: str, file: Path) -> web.StreamResponse:
        archive, counts, faults = self.archive, self.archive.counts, self.archive.faults
        counts.by_method[request.method] += 1
        counts.data_tokens += "Authorization" in request.headers
        connection = await self._delay(request)
        inside = file.resolve().is_relative_to(archive.folder)
        if not inside or not file.is_file() or path in faults.withdrawn:
            counts.by_status[404] += 1
            return error_answer(404, "NoSuchKey")
        number = -1
        if request.method == "GET":
            counts.requests += 1
            counts.requests_by_path[path] += 1
            if fnmatchcase(path, faults.path):
                number = archive.fault_requests
                archive.fault_requests += 1
        if 0 <= number < len(faults.statuses) and faults.statuses[number]:
            counts.by_status[faults.statuses[number]] += 1
            return error_answer(faults.statuses[number], "Injected", retry_after(archive))
        digests = await asyncio.to_thread(archive.digests, file)
        # what was put into the bucket in one piece has its MD5 for ETag
        etag = digests["md5" if request.path.startswith("/zarr/") else "dandi:dandi-etag"]
        answer = self._answer(request, file.stat().st_size, etag, number)
        if isinstance(answer, web.Response):
            counts.by_status[answer.status] += 1
            return answer
        counts.by_status[answer.status] += 1
        if request.method == "GET":
            counts.ranges.setdefault(path, []).append((answer.start, answer.stop))
        return await self._body(request, path, file, answer, connection)

    def _answer(self, request: web.Request, size: int, etag: str, number: int) -> _Answer | web.Response:
        faults = self.archive.faults
        replaced = faults.replace_after is not None and number >= faults.replace_after
        etag = '"' + (hashlib.md5(etag.encode(), usedforsecurity=False).hexdigest() if replaced else etag) + '"'
        last = None if faults.times is None else faults.after + faults.times
        faulty = number >= faults.after and (last is None or number < last)
        wanted = request.headers.get("If-Match")
        if wanted not in (None, "*") and etag not in [tag.strip() for tag in str(wanted).split(",")]:
            return error_answer(412, "PreconditionFailed")
        if etag in [tag.strip() for tag in request.headers.get("If-None-Match", "").split(",")]:
            return web.Response(status=304, headers={"ETag": etag})
        match = _RANGE.fullmatch(request.headers.get("Range", ""))
        if match is None or match.group(0) == "bytes=-" or (faulty and faults.ignore_range):
            return _Answer(200, 0, size, etag, number >= 0, replaced, faulty)
        first, end = match.groups()
        start = int(first) if first else max(size - int(end), 0)
        stop = min(int(end) + 1, size) if first and end else size
        if start >= size or stop <= start:
            return error_answer(416, "InvalidRange", {"Content-Range": f"bytes */{size}"})
        if faulty and faults.short_range:
            stop = start + max((stop - start) // 2, 1)
        return _Answer(206, start, stop, etag, number >= 0, replaced, faulty)

    async def _delay(self, request: web.Request) -> list[float]:
        """Wait as the line does before an answer; return when this connection has sent what it was given."""
        line, transport = self.archive.line, request.transport
        known = self.connections.get(id(transport))
        if known is None:
            self.connections[id(transport)] = known = (transport, [0.0])
            self.archive.counts.connections += 1
            if line.connection_latency:
                await asyncio.sleep(line.connection_latency)
        if line.latency:
            await asyncio.sleep(line.latency)
        return known[1]

    async def _pace(self, n: int, connection: list[float], *, continuing: bool) -> None:
        """Wait until `n` further bytes may go; within a body, time overslept is made up for."""
        line, now = self.archive.line, time.monotonic()
        until = now
        earliest = now - (_OVERSLEPT if continuing else 0.0)
        if line.bandwidth:
            until = self.free_at = max(self.free_at, earliest) + n / line.bandwidth
        if line.connection_bandwidth:
            connection[0] = max(connection[0], earliest) + n / line.connection_bandwidth
            until = max(until, connection[0])
        if until > now + 0.001:
            await asyncio.sleep(until - now)

    async def _body(
        self, request: web.Request, path: str, file: Path, answer: _Answer, connection: list[float]
    ) -> web.StreamResponse:
        faults, counts, size = self.archive.faults, self.archive.counts, file.stat().st_size
        headers = {"Accept-Ranges": "bytes", "ETag": answer.etag, "Content-Type": "application/octet-stream"}
        if answer.status == 206:
            headers["Content-Range"] = f"bytes {answer.start}-{answer.stop - 1}/{size}"
        response = web.StreamResponse(status=answer.status, headers=headers)
        length = response.content_length = answer.stop - answer.start
        try:
            await response.prepare(request)
        except ConnectionResetError:  # the reader has gone
            return response
        if request.method == "HEAD":
            return response
        cut, stall_at = None, None
        if answer.faulty:
            cut = min(faults.drop_after, length) if faults.drop_after is not None else None
            cut = length // 2 if faults.truncate else cut
            stall_at = length // 2 if faults.stall is not None else None
        sent = 0
        with file.open("rb") as stream:
            while sent < (length if cut is None else cut):
                ends = [sent + _BLOCK, length, *(n for n in (cut, stall_at) if n is not None and n > sent)]
                stream.seek(answer.start + sent)
                block = bytearray(stream.read(min(ends) - sent))
                self._damage(block, answer.start + sent, answer)
                await self._pace(len(block), connection, continuing=sent > 0)
                counts.bytes += len(block)  # before it is sent: a reader that has it all may look at once
                counts.bytes_by_path[path] += len(block)
                try:
                    await response.write(bytes(block))
                except ConnectionResetError:  # the reader has gone
                    return response
                sent += len(block)
                if sent == stall_at and faults.stall:
                    await asyncio.sleep(faults.stall)
        if cut is not None and request.transport is not None:
            await asyncio.sleep(0.02)  # let what was written leave first
            request.transport.close() if faults.truncate else request.transport.abort()
            return response
        await response.write_eof()
        return response

    def _damage(self, block: bytearray, start: int, answer: _Answer) -> None:
        flip = self.archive.faults.flip_at if answer.concerned else None
        if answer.replaced:
            block[:] = bytes(byte ^ 0xFF for byte in block)
        if flip is not None and start <= flip < start + len(block):
            block[flip - start] ^= 0x10


def object_path(asset: Asset) -> str:
    """Return where in the bucket an asset is."""
    if asset.is_zarr:
        return f"/zarr/{asset.object_id}/"
    return f"/blobs/{asset.object_id[:3]}/{asset.object_id[3:6]}/{asset.object_id}"


def retry_after(archive: LoopbackArchive) -> dict[str, str]:
    """Return the header that faulty answers carry."""
    seconds = archive.faults.retry_after
    return {} if seconds is None else {"Retry-After": f"{seconds:g}"}


def error_answer(status: int, code: str, headers: dict[str, str] | None = None) -> web.Response:
    """Return an answer as S3 gives it to what it refuses."""
    text = f'<?xml version="1.0"?><Error><Code>{code}</Code></Error>'
    return web.Response(status=status, text=text, content_type="application/xml", headers=headers)
