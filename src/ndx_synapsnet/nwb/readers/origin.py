"""What a session's provenance says of the file, and errors that name it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ...errors import InputError
from ..sources import OpenedFile


def origin_record(opened: OpenedFile) -> dict[str, Any]:
    """Return ``uri``, ``format`` and ``nwb_version`` of an open file; of a remote one also its record (``remote``)."""
    origin: dict[str, Any] = {"uri": opened.uri, "format": opened.format, "nwb_version": opened.nwb_version}
    return origin | {"remote": dict(opened.record)} if opened.record else origin


@contextmanager
def naming(uri: str) -> Iterator[None]:
    """Put the file before what errors of the block say is at fault."""
    try:
        yield
    except InputError as error:
        if (error.where or "").startswith(uri):  # what reads remote files says it itself
            raise
        where = error.where or uri
        if not where.startswith(uri):  # what reads remote data names the file itself
            where = f"{uri}, {where}"
        raise InputError(error.what, where=where, remedy=error.remedy) from error
    except OSError as error:  # what HDF5 raises on damaged data and on filters that are not installed
        raise InputError(
            f"reading the data failed ({error})",
            where=uri,
            remedy="If it is compressed with a plug-in filter, install hdf5plugin; else check the file",
        ) from error
