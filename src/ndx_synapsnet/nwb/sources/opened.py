"""What a source hands over."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from pynwb import NWBFile


@dataclass(frozen=True)
class OpenedFile:
    """An NWB file open for reading."""

    uri: str
    """Where it is; a local path is absolute."""
    format: Literal["hdf5", "zarr", "lindi"]
    """How it is stored."""
    nwbfile: NWBFile
    """Its content; large datasets are read when asked for."""
    nwb_version: str
    """Version of the NWB core schema that the file was written with."""
    warnings: tuple[str, ...] = ()
    """What pynwb found odd in the file, each message once."""
    record: Mapping[str, Any] = field(default_factory=dict)
    """Of a remote file, JSON-able: archive, dandiset, version, asset id, path, size, digest, ``integrity``
    (``verified`` or ``unverified``), and ``bytes_transferred`` and ``requests`` up to now; empty for a local one."""


# About the versions of software or schema, not about the data: pynwb says them of every older file.
_ABOUT_SOFTWARE = (DeprecationWarning, PendingDeprecationWarning, FutureWarning, ResourceWarning)
_ABOUT_NAMESPACES = ("cached namespace", "Loaded namespace")


@contextmanager
def collected_warnings() -> Iterator[list[str]]:
    """Catch the warnings of the block; those that concern the data are in the list when the block ends."""
    messages: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield messages
    for warning in caught:
        text = " ".join(str(warning.message).split())
        about_software = issubclass(warning.category, _ABOUT_SOFTWARE) or any(w in text for w in _ABOUT_NAMESPACES)
        if not about_software and text not in messages:
            messages.append(text)
