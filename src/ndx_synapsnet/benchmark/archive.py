"""A small archive on this machine: a folder of files served as a dandiset, with the line and the faults one wants.

It answers as the DANDI API and its S3 bucket do, closely enough for the real ``DandiAPIClient`` to list, resolve and
stream from it. It needs aiohttp (the extra ``benchmark``) and listens on the loopback interface only.

>>> with LoopbackArchive("recordings", line=Line(latency=0.03)) as archive:  # doctest: +SKIP
...     print(archive.api_url, archive.file_url("sub-1/sub-1.nwb"))
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from ..errors import missing_extra

_NAMESPACE = uuid.UUID("7d6d0f4c-6c1b-4f0e-9a52-0d6f5a3c1e11")
_PART = 64 * 2**20  # bytes of a part in the archive's own digest
_START_SECONDS = 30.0


@dataclass(frozen=True)
class Line:
    """The line between archive and reader; by default as fast as the machine."""

    latency: float = 0.0
    """Seconds before each answer."""
    connection_latency: float = 0.0
    """Further seconds before the first answer on a connection."""
    bandwidth: float | None = None
    """Bytes per second that all connections share."""
    connection_bandwidth: float | None = None
    """Bytes per second of one connection."""


@dataclass(frozen=True)
class Faults:
    """What goes wrong with requests (GET) for data; the counts start anew when they are set."""

    path: str = "*"
    """Which files, as a pattern of their paths."""
    after: int = 0
    """How many requests go well before `drop_after`, `truncate`, `short_range`, `stall` and `ignore_range` begin."""
    times: int | None = 1
    """How many requests those then concern; None: all."""
    statuses: tuple[int, ...] = ()
    """What the first requests are answered, one each; 0 lets one pass."""
    retry_after: float | None = None
    """Seconds in the ``Retry-After`` of those answers."""
    drop_after: int | None = None
    """Reset the connection after so many bytes of the body."""
    truncate: bool = False
    """Close the connection after half of the promised body."""
    short_range: bool = False
    """Answer half of the range, and say so."""
    stall: float | None = None
    """Send half of the body, then nothing for so many seconds."""
    ignore_range: bool = False
    """Answer 200 and the whole file."""
    replace_after: int | None = None
    """From this request on it is another object of the same size: another ETag, other bytes."""
    flip_at: int | None = None
    """Turn one bit of the byte at this offset of the file, always."""
    expire_requests: int | None = None
    """Presigned URLs are good for so many requests."""
    expire_addresses: int | None = None
    """Only so many of the first presigned addresses expire by `expire_requests`; None: all."""
    expire_seconds: float | None = None
    """Presigned URLs are good for so many seconds (an hour if None)."""
    withdrawn: tuple[str, ...] = ()
    """Paths of assets that the archive no longer has."""
    api_statuses: tuple[int, ...] = ()
    """What the first requests to the API are answered, one each; 0 lets one pass."""


@dataclass
class Counts:
    """What was asked for and sent, in requests for data unless said otherwise."""

    requests: int = 0
    """GETs of data."""
    bytes: int = 0
    """Bytes of bodies sent."""
    connections: int = 0
    """Connections that carried data."""
    by_method: Counter[str] = field(default_factory=Counter)
    by_status: Counter[int] = field(default_factory=Counter)
    requests_by_path: Counter[str] = field(default_factory=Counter)
    bytes_by_path: Counter[str] = field(default_factory=Counter)
    ranges: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    """Ranges sent of each file, ``[start, stop)``, in the order of the requests."""
    api: list[str] = field(default_factory=list)
    """Requests to the API: method, path and query."""
    api_tokens: int = 0
    """Requests to the API that carried a token."""
    data_tokens: int = 0
    """Requests for data that carried an ``Authorization`` header: there should be none."""


@dataclass(frozen=True)
class Asset:
    """A file, or a Zarr folder, of the dandiset."""

    path: str
    """Its path in the dandiset, with slashes."""
    file: Path
    asset_id: str
    object_id: str
    """Id of the blob or Zarr that holds its bytes."""
    is_zarr: bool

    @property
    def size(self) -> int:
        """Bytes, all files of a Zarr together."""
        return sum(file.stat().st_size for file in self.file.rglob("*") if file.is_file()) or self.file.stat().st_size


class LoopbackArchive:
    """A folder of files as a dandiset on 127.0.0.1, served by a background thread while the context lasts.

    Files ``sub-1/x.nwb`` below the folder are assets of that path; a folder that ends in ``.zarr`` is one asset. The
    same files are also served plainly, below `data_url` ``/files/``, as any file server or S3 bucket would.

    Parameters
    ----------
    folder : path
        The files.
    dandiset : str
        Six digits.
    published : sequence of str
        Published versions, the latest last; none: only a draft.
    draft_only : sequence of str
        Paths that are in the draft but in no published version.
    embargoed : bool
        Whether API and data want a token.
    token : str
        The token that is good.
    page_size : int
        Assets on a page of a listing.
    line, faults
        To begin with; both may be set again while it runs.

    Raises
    ------
    InputError
        If aiohttp is not installed.
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        dandiset: str = "000999",
        published: Sequence[str] = ("0.260101.0001",),
        draft_only: Sequence[str] = (),
        embargoed: bool = False,
        token: str = "loopback-token",
        page_size: int = 100,
        line: Line | None = None,
        faults: Faults | None = None,
    ) -> None:
        self.folder = Path(folder).resolve()
        self.dandiset, self.published, self.draft_only = dandiset, tuple(published), frozenset(draft_only)
        self.embargoed, self.token, self.page_size = embargoed, token, page_size
        self.line = line or Line()
        self.counts = Counts()
        self.faults = faults or Faults()
        self.port = self.data_port = 0
        self._etags: dict[tuple[str, int, int], dict[str, str]] = {}
        self._digesting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending: asyncio.Event | None = None
        self._failure: BaseException | None = None

    @property
    def faults(self) -> Faults:
        """What goes wrong; setting it starts its counts anew."""
        return self._faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._faults = faults
        self.fault_requests = 0
        self.api_requests = 0

    @property
    def url(self) -> str:
        """Address of the archive's pages and API, without a final slash."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def data_url(self) -> str:
        """Address of the server of the data, another one as in the real archive; as endpoint of S3, too."""
        return f"http://127.0.0.1:{self.data_port}"

    @property
    def api_url(self) -> str:
        """Address of the API, as ``DandiAPIClient`` and ``--instance`` take it."""
        return f"{self.url}/api"

    def file_url(self, path: str) -> str:
        """Return the plain address of a file of the folder."""
        return f"{self.data_url}/files/{path}"

    def reset_counts(self) -> None:
        """Start counting anew."""
        self.counts = Counts()

    def assets(self, version: str = "draft") -> list[Asset]:
        """Return the assets of a version, by path."""
        found = []
        for file in sorted(self.folder.rglob("*")):
            path = file.relative_to(self.folder).as_posix()
            is_zarr = file.is_dir() and path.endswith(".zarr")
            inside_zarr = any(part.endswith(".zarr") for part in Path(path).parts[:-1])
            hidden = version != "draft" and path in self.draft_only
            if inside_zarr or hidden or path in self.faults.withdrawn or not (is_zarr or file.is_file()):
                continue
            asset_id, object_id = (str(uuid.uuid5(_NAMESPACE, f"{kind} {path}")) for kind in ("asset", "object"))
            found.append(Asset(path, file, asset_id, object_id, is_zarr))
        return found

    def asset(self, path: str) -> Asset:
        """Return the asset at `path`."""
        return next(asset for asset in self.assets() if asset.path == path)

    def digests(self, file: Path) -> dict[str, str]:
        """Return the digests that an asset's record states (``dandi:dandi-etag``, ``dandi:sha2-256``), and ``md5``."""
        stat = file.stat()
        key = (str(file), stat.st_size, stat.st_mtime_ns)
        with self._digesting:
            if key not in self._etags:
                self._etags[key] = _digests(file)
            return self._etags[key]

    def __enter__(self) -> LoopbackArchive:
        try:
            import aiohttp  # noqa: F401
        except ImportError as error:
            raise missing_extra("aiohttp", "benchmark") from error
        started = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(started,), name="loopback-archive", daemon=True)
        self._thread.start()
        if not started.wait(_START_SECONDS) or self._failure is not None:
            raise RuntimeError("the loopback archive did not start") from self._failure
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop serving: from now on connections are refused. May be called twice."""
        thread, loop, ending = self._thread, self._loop, self._ending
        if thread is None:
            return
        if loop is not None and ending is not None:
            loop.call_soon_threadsafe(ending.set)
        thread.join()
        self._thread = None

    def _serve(self, started: threading.Event) -> None:
        try:
            asyncio.run(self._serve_until_ended(started))
        except BaseException as error:
            self._failure = error
        finally:
            started.set()

    async def _serve_until_ended(self, started: threading.Event) -> None:
        from aiohttp import web

        from .archive_server import application

        self._loop, self._ending = asyncio.get_running_loop(), asyncio.Event()
        runner = web.AppRunner(application(self), access_log=None, shutdown_timeout=0.2, handler_cancellation=True)
        await runner.setup()
        try:
            for port in (self.port, self.data_port):
                await web.TCPSite(runner, "127.0.0.1", port).start()
            self.port, self.data_port = (address[1] for address in runner.addresses)
            started.set()
            await self._ending.wait()
        finally:
            await runner.cleanup()


def _digests(file: Path) -> dict[str, str]:
    whole, plain, parts = hashlib.sha256(), hashlib.md5(usedforsecurity=False), []
    with file.open("rb") as stream:
        while part := stream.read(_PART):
            whole.update(part)
            plain.update(part)
            parts.append(hashlib.md5(part, usedforsecurity=False).digest())
    etag = hashlib.md5(b"".join(parts), usedforsecurity=False).hexdigest()
    return {"dandi:dandi-etag": f"{etag}-{len(parts)}", "dandi:sha2-256": whole.hexdigest(), "md5": plain.hexdigest()}
