"""Opening what a web server has, by what it is rather than by its name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit, urlunsplit

from ...errors import InputError
from .opened import OpenedFile
from .remote.location import Located
from .remote.options import RemoteOptions
from .stores import LocatedStore, WebFolder

if TYPE_CHECKING:
    from .remote.fetch import RangeReader

_HDF5 = b"\x89HDF\r\n\x1a\n"
_HEAD = 4096
_MOST_JSON = 1 << 30  # bytes of a lindi file


@contextmanager
def open_located(located: Located, options: RemoteOptions) -> Iterator[OpenedFile]:
    """Open an object: HDF5 or lindi.

    Raises
    ------
    InputError
        If it cannot be had, or is neither.
    """
    from .remote.fetch import open_remote

    with ExitStack() as stack:
        reader = stack.enter_context(open_remote(located, options))
        head = bytes(reader.read(0, min(_HEAD, reader.size)))
        if is_hdf5(head):
            from .hdf5 import open_hdf5_remote

            record = _Record(reader)
            opened = stack.enter_context(open_hdf5_remote(reader))
        elif head.lstrip().startswith(b"{") and reader.size <= _MOST_JSON:
            from .lindi import open_lindi

            _require_no_verify(options, located.uri)
            record = _Record(reader)
            content = reader.read(0, reader.size)
            opened = stack.enter_context(open_lindi(content, where=located.uri, record=record, local=False))
        else:
            raise InputError(
                "this is not an NWB file: it is neither HDF5 nor a Zarr store nor a lindi file",
                where=located.uri,
                remedy="Give the address of an .nwb file",
            )
        yield replace(opened, uri=located.uri, record=record)


@contextmanager
def open_place(located: Located, options: RemoteOptions) -> Iterator[OpenedFile]:
    """Open what may be an object or the root of a Zarr store; the name only says what to try first.

    Raises
    ------
    InputError
        As `open_located`, where there is no Zarr store either.
    """
    from .web_zarr import open_web_zarr

    zarr_first = urlsplit(located.url()).path.endswith((".zarr", ".zarr/", "/"))
    with ExitStack() as stack:
        found = _store(located, options, stack) if zarr_first else None
        if found is None:
            try:
                opened = stack.enter_context(open_located(located, options))
            except InputError:
                if not zarr_first:
                    with suppress(InputError):  # what went wrong first is what people asked for
                        found = _store(located, replace(options, tries=min(options.tries, 2)), stack)
                if found is None:
                    raise
        if found is not None:
            opened = stack.enter_context(open_web_zarr(*found))
        yield opened


def _require_no_verify(options: RemoteOptions, where: str) -> None:
    if options.verify:
        raise InputError(
            "a lindi file cannot be verified: its data lie in other files",
            where=where,
            remedy="Leave out --verify, or download the recording itself",
        )


def is_hdf5(head: bytes) -> bool:
    """Return whether a file that begins so is HDF5: its signature comes first, or after a block of the user's."""
    return any(head.startswith(_HDF5, place) for place in (0, 512, 1024, 2048))


def _as_store(located: Located) -> LocatedStore:
    """Return the folder that has the address of an object; its query goes with every file's."""
    parts = urlsplit(located.url())
    root = parts.path.rstrip("/")

    def url(path: str) -> str:
        return urlunsplit((parts.scheme, parts.netloc, f"{root}/{quote(path)}", parts.query, ""))

    return LocatedStore(located.uri, url, located.headers, record=located.record)


def _store(located: Located, options: RemoteOptions, stack: ExitStack) -> tuple[WebFolder, dict[str, Any]] | None:
    """Return the files and metadata of the Zarr store that has the address of an object, if there is one."""
    from .web_zarr import read_metadata, require_no_verify

    folder = WebFolder(_as_store(located), options)
    stack.callback(folder.close)
    metadata = read_metadata(folder)
    if metadata is None:
        return None
    require_no_verify(options, located.uri)
    return folder, metadata


class _Record(Mapping[str, Any]):
    """An object's provenance, with what was transferred so far."""

    def __init__(self, reader: RangeReader) -> None:
        self._reader = reader

    def _now(self) -> dict[str, Any]:
        reader, stats = self._reader, self._reader.stats
        known = {**reader.located.record, "size": reader.size, "content_key": reader.key, "integrity": reader.integrity}
        return {**known, "bytes_transferred": stats.bytes, "requests": stats.requests}

    def __getitem__(self, key: str) -> Any:
        return self._now()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._now())

    def __len__(self) -> int:
        return len(self._now())
