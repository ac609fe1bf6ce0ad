"""Files with another version of this extension, or with a broken one: what can be read of them, and why not.

The rules for versions are in ``spec/README.md``: each reads what all before it wrote, and what a later one of the same
major number wrote as far as it knows the types. pynwb leaves out what it does not know, without a word.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from pynwb import NWBFile, get_type_map

from ..errors import InputError
from .types import NAMESPACE

_SCHEMAS = "specifications"
_LONGEST = 40  # characters of a version that are shown
_DAMAGED = (KeyError, TypeError, ValueError, AttributeError, RuntimeError, OSError)  # what reading schemas may raise


def own_version() -> str:
    """Return the version of the namespace that is loaded."""
    return str(get_type_map(copy=False).namespace_catalog.get_namespace(NAMESPACE)["version"])


def cached_version(root: Any) -> str | None:
    """Return the latest version of this extension whose schema a file keeps; None if it keeps none.

    Parameters
    ----------
    root : mapping
        The root group of the open file: of h5py, zarr or lindi.
    """
    versions: list[str] = []
    with suppress(*_DAMAGED):
        versions = [str(name) for name in root[_SCHEMAS][NAMESPACE]]
    return max(versions, key=_numbers, default=None)


def is_outdated(name: str, version: str, kept: Iterable[str]) -> bool:
    """Return whether a file keeps this extension's schema in earlier versions only, which may lack what is written now.

    Parameters
    ----------
    name : str
        A namespace.
    version : str
        The version by which it is written now.
    kept : iterable of str
        The versions that the file keeps.
    """
    return name == NAMESPACE and all(_numbers(each) < _numbers(version) for each in kept)


def version_note(nwbfile: NWBFile) -> str | None:
    """Return a sentence about a file with results of a later version than this one; None if it has none.

    Parameters
    ----------
    nwbfile : NWBFile
        The open file.
    """
    cached = cached_version(getattr(nwbfile.read_io, "_file", None))
    if cached is None or _numbers(cached) <= _numbers(own_version()):
        return None
    return (
        f"the file was written with version {cached[:_LONGEST]} of {NAMESPACE}, and this is {own_version()}: "
        "what that one added is left out"
    )


def require_known_version(nwbfile: NWBFile, *, where: str) -> None:
    """Raise if the results in a file are of a version whose types have another meaning.

    Parameters
    ----------
    nwbfile : NWBFile
        The file, open or in memory.
    where : str
        The file, for messages.

    Raises
    ------
    InputError
        If they are of a later major version.
    """
    cached = cached_version(getattr(nwbfile.read_io, "_file", None))
    if cached is not None and _numbers(cached)[0] > _numbers(own_version())[0]:
        raise InputError(
            f"its results are of version {cached[:_LONGEST]} of {NAMESPACE}, unknown to this version, {own_version()}",
            where=where,
            remedy=_UPDATE,
        )


_UPDATE = f"Update the package: pip install --upgrade {NAMESPACE}"


def reason_unreadable(root: Any) -> tuple[str, str] | None:
    """Return why pynwb may have failed at a file, and a remedy, if its schemas tell.

    Parameters
    ----------
    root : mapping
        The root group of the open file.
    """
    cached = cached_version(root)
    if cached is not None and _numbers(cached) > _numbers(own_version()):
        text = f"it was written with version {cached[:_LONGEST]} of {NAMESPACE}, and this is {own_version()}"
        return text, _UPDATE
    broken = next(_broken(root), None)
    if broken is not None:
        return (
            f"the schema of the extension {broken} that the file keeps is damaged",
            "Have the file written again by the program that made it.",
        )
    return None


def _broken(root: Any) -> Iterator[str]:
    """Yield the extensions with a schema in the file that is no JSON."""
    with suppress(*_DAMAGED):
        for name, versions in root[_SCHEMAS].items():
            for parts in versions.values():
                for part in parts.values():
                    try:
                        sound = math.prod(part.shape) == 1 and json.loads(part[()]) is not None  # one text
                    except (*_DAMAGED, RecursionError):
                        sound = False
                    if not sound:
                        yield str(name)


def _numbers(version: str) -> tuple[int, ...]:
    """Return the numbers that a version begins with; of a text that is none, the lowest."""
    found = re.match(r"(\d{1,9})(?:\.(\d{1,9}))?(?:\.(\d{1,9}))?", version)
    return tuple(int(number or 0) for number in found.groups()) if found else (0, 0, 0)
