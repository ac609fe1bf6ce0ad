"""Every object of a file under its path, and finding one by what people call it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from hdmf import Container
from hdmf.common import DynamicTable
from pynwb import NWBFile, ProcessingModule

from ...errors import InputError

#: Objects of our own types are results, not recordings.
_OUR_NAMESPACE = "ndx-synapsnet"


@dataclass(frozen=True)
class Entry:
    """An object and where it is."""

    path: str
    """Path inside the file, such as ``/processing/ophys/DfOverF/RoiResponseSeries``."""
    object: Any
    """The pynwb object."""

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rsplit("/", 1)[-1]

    @property
    def container(self) -> str:
        """Name of the object or module that holds it; empty at the top."""
        parts = self.path.split("/")
        return parts[-2] if len(parts) > 3 else ""

    @property
    def source(self) -> dict[str, str]:
        """How provenance names it."""
        return {"path": self.path, "object_id": str(self.object.object_id), "name": self.name}


def walk(nwbfile: NWBFile) -> list[Entry]:
    """Return all data objects of a file, each once and under the path it is stored at.

    Groups' links to objects stored elsewhere, the columns of tables and the results of earlier fits are left out.
    """
    entries: dict[int, Entry] = {}
    for folder, objects in _top_level(nwbfile):
        for obj in objects:
            if obj is not None and obj.parent is nwbfile:
                for entry in _descend(f"{folder}/{obj.name}", obj):
                    entries.setdefault(id(entry.object), entry)
    return list(entries.values())


def _top_level(nwbfile: NWBFile) -> Iterator[tuple[str, Iterable[Any]]]:
    yield "/acquisition", nwbfile.acquisition.values()
    yield "/processing", nwbfile.processing.values()
    yield "/analysis", nwbfile.analysis.values()
    yield "/stimulus/presentation", nwbfile.stimulus.values()
    yield "/stimulus/templates", nwbfile.stimulus_template.values()
    named = [nwbfile.epochs, nwbfile.trials, nwbfile.invalid_times]
    yield "/intervals", [*named, *(nwbfile.intervals or {}).values()]
    yield "/events", (getattr(nwbfile, "events", None) or {}).values()
    yield "/scratch", nwbfile.scratch.values()
    yield "", [nwbfile.units]
    yield "/general/extracellular_ephys", [nwbfile.electrodes]


def _descend(path: str, obj: Any) -> Iterator[Entry]:
    if getattr(obj, "namespace", None) == _OUR_NAMESPACE:
        return
    if not isinstance(obj, ProcessingModule):
        yield Entry(path, obj)
    if not isinstance(obj, DynamicTable):
        for child in getattr(obj, "children", ()):
            if isinstance(child, Container):  # and not a dataset that is an object, such as a region or an image
                yield from _descend(f"{path}/{child.name}", child)


def of_type(entries: Iterable[Entry], kinds: type | tuple[type, ...]) -> list[Entry]:
    """Return the entries whose object is of one of `kinds`."""
    return [entry for entry in entries if isinstance(entry.object, kinds)]


def called(entries: Iterable[Entry], wanted: str) -> list[Entry]:
    """Return the entries that `wanted` names: by full path, else by the path's last parts, such as the name alone."""
    entries = list(entries)
    tail = "/" + wanted.strip("/")
    exact = [entry for entry in entries if entry.path == tail]
    return exact or [entry for entry in entries if entry.path.endswith(tail)]


def the_one(
    entries: Iterable[Entry], wanted: str, *, what: str, describe: Callable[[Entry], str] = lambda entry: entry.path
) -> Entry:
    """Return the one entry that `wanted` names.

    Parameters
    ----------
    entries : iterable of Entry
        Those to choose from.
    wanted : str
        A name or path.
    what : str
        What is sought, for the message, such as ``ROI series``.
    describe : callable, optional
        How to list an entry in the message.

    Raises
    ------
    InputError
        If none or several are called so; the message lists the paths.
    """
    entries = list(entries)
    found = called(entries, wanted)
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(
            f"several {what} are called {wanted!r}: {', '.join(map(describe, found))}",
            remedy="Give the path of the one you mean",
        )
    listing = ", ".join(map(describe, entries)) or "none"
    raise InputError(f"there is no {what} called {wanted!r}", remedy=f"The file has: {listing}")
