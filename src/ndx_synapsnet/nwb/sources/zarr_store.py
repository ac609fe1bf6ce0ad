"""A remote NWB-Zarr store as zarr and hdmf-zarr take it: read-only, its metadata from one consolidated file."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from zarr.errors import ReadOnlyError
from zarr.storage import DirectoryStore

from .stores import WebFolder
from .zarr_safety import has_pickles, pickled, require_sound_array

METADATA = ".zmetadata"
_NAMES = (".zgroup", ".zarray", ".zattrs")


class WebStore(DirectoryStore):
    """A Zarr 2 store on a web server.

    It is a `DirectoryStore` by type only, for that is what hdmf-zarr takes; no file of this machine is touched.

    Parameters
    ----------
    folder : WebFolder
        The store's files.
    metadata : mapping
        The content of its ``.zmetadata``: path of each metadata file → its JSON.
    """

    def __init__(self, folder: WebFolder, metadata: Mapping[str, Any]) -> None:
        super().__init__(folder.located.uri)
        self.path = folder.located.uri
        self._folder = folder
        self._metadata = {key: json.dumps(value).encode() for key, value in metadata.items()}
        self._metadata[METADATA] = json.dumps({"zarr_consolidated_format": 1, "metadata": dict(metadata)}).encode()
        for key, value in metadata.items():
            if posixpath.basename(key) == ".zarray":
                require_sound_array(value, f"{self.path}, /{posixpath.dirname(key)}")
        self._pickled = {
            posixpath.dirname(key)
            for key, value in metadata.items()
            if posixpath.basename(key) == ".zarray" and has_pickles(value)
        }
        self._children: dict[str, set[str]] = {}
        for key in self._metadata:
            while key:
                key, name = posixpath.split(key)
                self._children.setdefault(key, set()).add(name)

    def __getitem__(self, key: str) -> bytes:
        if key in self._metadata:
            return self._metadata[key]
        if _is_metadata(key) or key not in (found := self._chunks([key])):
            raise KeyError(key)
        return found[key]

    def getitems(self, keys: Sequence[str], *, contexts: Mapping[str, Any] | None = None) -> dict[str, bytes]:
        """Return the values of those of `keys` that are there."""
        known = {key: self._metadata[key] for key in keys if key in self._metadata}
        return {**known, **self._chunks([key for key in keys if not _is_metadata(key)])}

    def _chunks(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Return the chunks that are there, and take note of the others, for which zarr puts fill values."""
        for array in {self._array_of(key) for key in keys}:
            if array in self._pickled:
                raise pickled(f"{self._folder.located.uri}, /{array}")
        found = self._folder.read_all(keys)
        self._folder.missing.update(key for key in keys if key not in found)
        return found

    def _array_of(self, chunk: str) -> str:
        """Return the path of the array that a chunk is of; its name may be split by slashes."""
        path = chunk
        while path:
            path = posixpath.dirname(path)
            if posixpath.join(path, ".zarray") in self._metadata:
                break
        return path

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, str) or key in self._metadata or _is_metadata(key):
            return key in self._metadata
        return self._folder.read(key) is not None

    def __setitem__(self, key: str, value: Any) -> None:
        raise ReadOnlyError

    def __delitem__(self, key: str) -> None:
        raise ReadOnlyError

    def __iter__(self) -> Iterator[str]:
        return iter(self._metadata)

    def __len__(self) -> int:
        return len(self._metadata)

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = None  # type: ignore[assignment]

    def keys(self) -> Iterator[str]:
        """Return the paths of the metadata files; a web server does not list others."""
        return iter(self)

    def listdir(self, path: str | None = None) -> list[str]:
        """Return the names of groups, arrays and metadata files in a group."""
        return sorted(self._children.get((path or "").strip("/"), ()))

    def getsize(self, path: str | None = None) -> int:
        """Return -1: unknown."""
        return -1

    def rename(self, src_path: str, dst_path: str) -> None:
        """Refuse."""
        raise ReadOnlyError

    def rmdir(self, path: str | None = None) -> None:
        """Refuse."""
        raise ReadOnlyError


def _is_metadata(key: str) -> bool:
    return posixpath.basename(key) in (*_NAMES, METADATA)
