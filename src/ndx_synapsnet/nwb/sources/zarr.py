"""NWB in Zarr (the extra ``zarr``)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from ...errors import InputError, missing_extra
from .declared import require_sound
from .opened import OpenedFile, collected_warnings, told_absent, unreadable
from .version import require_nwb2


def is_zarr(path: Path) -> bool:
    """Return whether the folder `path` is the root of a Zarr store."""
    return (path / ".zgroup").is_file() or (path / "zarr.json").is_file()


def _stored_version(path: Path) -> str:
    attributes = path / ".zattrs"
    try:
        stored = json.loads(attributes.read_text(encoding="utf-8")) if attributes.is_file() else {}
    except (OSError, ValueError, RecursionError) as error:
        raise InputError("the store's attributes are damaged", where=str(attributes)) from error
    if not isinstance(stored, dict):
        raise InputError("the store's attributes are damaged", where=str(attributes))
    return require_nwb2(stored.get("nwb_version"), stored.get("neurodata_type"), where=str(path))


@contextmanager
def open_zarr(path: Path) -> Iterator[OpenedFile]:
    """Open an NWB-Zarr folder read-only.

    Raises
    ------
    InputError
        If hdmf-zarr is not installed, or the store is not NWB 2 or refused by it.
    """
    if (path / "zarr.json").is_file():
        raise InputError(
            "this is a Zarr 3 store", where=str(path), remedy="NWB is read from Zarr 2 stores and HDF5 files"
        )
    version = _stored_version(path)
    io = None
    try:
        with collected_warnings() as messages:
            try:
                from .zarr_folder import FolderStore, open_root
                from .zarr_safety import ClosedZarrIO
            except ImportError as error:
                raise missing_extra("hdmf-zarr", "zarr") from error
            try:
                store = FolderStore(path)
                require_sound(open_root(store), str(path))
                io = ClosedZarrIO(path=store, mode="r", load_namespaces=True)
                nwbfile = io.read()
            except Exception as error:  # zarr, hdmf and pynwb raise many kinds on a malformed store
                raise unreadable(error, by="hdmf-zarr", where=str(path), what="store") from error
        absences = partial(told_absent, store.missing)
        yield OpenedFile(str(path), "zarr", nwbfile, version, tuple(messages), absences=absences)
    finally:
        if io is not None:
            io.close()
