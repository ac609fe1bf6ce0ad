"""URI → open NWB file, always read-only.

A source is a function from a URI to a context manager of an `OpenedFile`; adding one is one file and one line in
`SOURCES`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import AbstractContextManager

from ...errors import InputError
from .local import open_local
from .opened import OpenedFile

__all__ = ["SOURCES", "OpenedFile", "open_source"]

#: URI scheme → what opens it. A path without a scheme is a ``file``.
SOURCES: dict[str, Callable[[str], AbstractContextManager[OpenedFile]]] = {
    "file": open_local,
}

# two letters at least: a single one is a Windows drive
_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+):")


def open_source(uri: str | os.PathLike[str]) -> AbstractContextManager[OpenedFile]:
    """Return a context manager that opens an NWB file read-only.

    Parameters
    ----------
    uri : str or path
        A path or ``file://`` address of an HDF5 file or an NWB-Zarr folder.

    Returns
    -------
    context manager of OpenedFile
        The file is closed on leaving it; nothing lazily read from it may be used afterwards.

    Raises
    ------
    InputError
        If there is no source for the URI's scheme, or, on entering, if the file cannot be read as NWB 2.
    """
    text = os.fspath(uri)
    match = _SCHEME.match(text)
    scheme = match.group(1).lower() if match and not os.path.exists(text) else "file"
    if scheme not in SOURCES:
        raise InputError(
            f"this version reads local files, not {scheme} addresses",
            where=text,
            remedy="Download the file and give its path",
        )
    return SOURCES[scheme](text)
