"""An NWB-Zarr folder on this machine that takes note of the chunks it lacks."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zarr.storage import DirectoryStore

_METADATA = (".zgroup", ".zarray", ".zattrs", ".zmetadata")


class FolderStore(DirectoryStore):
    """A Zarr 2 store in a folder.

    The format lets a writer leave out a chunk of nothing but fill values, so one that is absent is no error; but
    it may as well have been lost, and zarr says nothing of it.

    Attributes
    ----------
    missing : set of str
        Chunks that were read and are absent, so that fill values stand for them.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self.missing: set[str] = set()

    def __getitem__(self, key: str) -> bytes:
        try:
            content: bytes = super().__getitem__(key)
        except KeyError:
            if posixpath.basename(key) not in _METADATA:
                self.missing.add(key)
            raise
        return content

    def getitems(self, keys: Sequence[str], *, contexts: Mapping[str, Any] | None = None) -> dict[str, bytes]:
        """Return the values of those of `keys` that are there."""
        found = {}
        for key in keys:
            try:
                found[key] = self[key]
            except KeyError:
                continue
        return found
