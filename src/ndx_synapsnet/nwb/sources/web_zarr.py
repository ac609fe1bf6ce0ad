"""NWB in Zarr on a web server (the extra ``zarr``)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from ...errors import InputError, missing_extra
from .opened import OpenedFile, collected_warnings, told_absent
from .remote.options import RemoteOptions
from .stores import LocatedStore, WebFolder
from .version import require_nwb2

_METADATA = ".zmetadata"


def read_metadata(folder: WebFolder) -> dict[str, Any] | None:
    """Return a store's consolidated metadata, path → JSON; None if there is no Zarr store.

    Raises
    ------
    InputError
        If there is a store without them, of Zarr 3, or if they are damaged.
    """
    where = folder.located.uri
    content = folder.read(_METADATA)
    if content is None:
        if folder.read("zarr.json") is not None:
            raise InputError(
                "this is a Zarr 3 store", where=where, remedy="NWB is read from Zarr 2 stores and HDF5 files"
            )
        if folder.read(".zgroup") is not None:
            raise InputError(
                "the Zarr store has no consolidated metadata, without which it cannot be read over the web",
                where=where,
                remedy="Download it, or ask its publisher to consolidate it (zarr.consolidate_metadata)",
            )
        return None
    try:
        metadata = json.loads(content)["metadata"]
        if not all(isinstance(value, dict) for value in metadata.values()):
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError("the store's consolidated metadata are damaged", where=where) from error
    return dict(metadata)


@contextmanager
def open_web_zarr(folder: WebFolder, metadata: Mapping[str, Any]) -> Iterator[OpenedFile]:
    """Open an NWB-Zarr store read-only.

    Parameters
    ----------
    folder : WebFolder
        Its files.
    metadata : mapping
        From `read_metadata`.

    Raises
    ------
    InputError
        If hdmf-zarr is not installed, or the store is not NWB 2 or refused by it.
    """
    where = folder.located.uri
    attributes = metadata.get(".zattrs", {})
    version = require_nwb2(attributes.get("nwb_version"), attributes.get("neurodata_type"), where=where)
    try:
        from .zarr_safety import ClosedZarrIO
        from .zarr_store import WebStore
    except ImportError as error:
        raise missing_extra("hdmf-zarr", "zarr") from error
    io = None
    try:
        with collected_warnings() as messages:
            try:
                io = ClosedZarrIO(path=WebStore(folder, metadata), mode="r", load_namespaces=True)
                nwbfile = io.read()
            except InputError:
                raise
            except Exception as error:  # zarr, hdmf and pynwb raise many kinds on a malformed store
                raise InputError(f"hdmf-zarr cannot read the store ({error})", where=where) from error
        absences = partial(told_absent, folder.missing)
        yield OpenedFile(where, "zarr", nwbfile, version, tuple(messages), _Record(folder), absences)
    finally:
        if io is not None:
            io.close()


@contextmanager
def open_store(located: LocatedStore, options: RemoteOptions) -> Iterator[OpenedFile]:
    """Open the NWB-Zarr store at `located`.

    Raises
    ------
    InputError
        If there is none, and as `open_web_zarr`.
    """
    require_no_verify(options, located.uri)
    folder = WebFolder(located, options)
    try:
        metadata = read_metadata(folder)
        if metadata is None:
            raise InputError("there is no Zarr store", where=located.uri, remedy="Check the address")
        with open_web_zarr(folder, metadata) as opened:
            yield opened
    finally:
        folder.close()


def require_no_verify(options: RemoteOptions, where: str) -> None:
    """Refuse to promise what is not done: no digest of a whole store is computed.

    Raises
    ------
    InputError
        If `options` ask for it.
    """
    if options.verify:
        raise InputError(
            "a Zarr store cannot be verified as a whole", where=where, remedy="Leave out --verify, or download it"
        )


class _Record(Mapping[str, Any]):
    """A store's provenance, with what was transferred so far."""

    def __init__(self, folder: WebFolder) -> None:
        self._folder = folder

    def _now(self) -> dict[str, Any]:
        folder = self._folder
        counts = {"bytes_transferred": folder.bytes, "requests": folder.requests, "absent_files": folder.absent}
        # each file's MD5 may have been compared, but with what the server itself says, not the archive's record
        return {**folder.located.record, "integrity": "unverified", **counts}

    def __getitem__(self, key: str) -> Any:
        return self._now()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._now())

    def __len__(self) -> int:
        return len(self._now())
