"""An NWB-Zarr folder on this machine that takes note of the chunks it lacks."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import zarr
from zarr.storage import DirectoryStore

from .zarr_safety import has_pickles, pickled, require_sound_array

_METADATA = (".zgroup", ".zarray", ".zattrs", ".zmetadata")


class FolderStore(DirectoryStore):
    """A Zarr 2 store in a folder; chunks of pickles are not handed out.

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
        self._pickles: dict[str, bool] = {}
        self._consolidated: Mapping[str, Any] = {}

    def __getitem__(self, key: str) -> bytes:
        metadata = posixpath.basename(key) in _METADATA
        if not metadata and self._of_pickles(posixpath.dirname(key)):
            raise pickled(f"{self.path}, /{posixpath.dirname(key)}")
        try:
            content: bytes = super().__getitem__(key)
        except KeyError:
            if not metadata:
                self.missing.add(key)
            raise
        if metadata:
            self._require_sound(key, content)
        return content

    def _require_sound(self, key: str, content: bytes) -> None:
        """Raise if an array's metadata, or those of any in the consolidated ones, would mislead zarr."""
        name = posixpath.basename(key)
        if name not in (".zarray", ".zmetadata"):
            return
        try:
            found = json.loads(content)
        except (ValueError, RecursionError):  # for zarr to say
            return
        arrays = {key: found} if name == ".zarray" else found.get("metadata", {}) if isinstance(found, Mapping) else {}
        for place, array in arrays.items() if isinstance(arrays, Mapping) else ():
            if posixpath.basename(place) == ".zarray":
                require_sound_array(array, f"{self.path}, /{posixpath.dirname(place)}")

    def _of_pickles(self, folder: str) -> bool:
        """Return whether a folder is inside an array that either copy of the metadata says to be of pickles."""
        if folder not in self._pickles:
            if not self._pickles:
                self._consolidated = self._metadata(".zmetadata").get("metadata") or {}
            name = f"{folder}/.zarray".lstrip("/")
            found = [self._metadata(name), self._consolidated.get(name)]
            inside = bool(folder) and self._of_pickles(posixpath.dirname(folder))  # chunks may lie in folders of theirs
            self._pickles[folder] = inside or any(isinstance(one, Mapping) and has_pickles(one) for one in found)
        return self._pickles[folder]

    def _metadata(self, key: str) -> Mapping[str, Any]:
        try:
            found = json.loads(super().__getitem__(key))
        except (KeyError, ValueError, RecursionError):  # damaged: for zarr to say
            return {}
        return found if isinstance(found, Mapping) else {}

    def getitems(self, keys: Sequence[str], *, contexts: Mapping[str, Any] | None = None) -> dict[str, bytes]:
        """Return the values of those of `keys` that are there."""
        found = {}
        for key in keys:
            try:
                found[key] = self[key]
            except KeyError:
                continue
        return found


def open_root(store: FolderStore) -> zarr.Group:
    """Return the root of a store, with the metadata that hdmf-zarr takes: consolidated ones where there are any."""
    return zarr.open_consolidated(store, mode="r") if ".zmetadata" in store else zarr.open_group(store, mode="r")
