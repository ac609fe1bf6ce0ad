"""What writing a result would do: a result of zeros is written into memory, and looked at."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import h5py
from pynwb import NWBHDF5IO, NWBFile

from ..session import FitResult
from . import store
from .copying import copied_bytes
from .metadata import new_nwbfile
from .results import DEFAULT_NAME, add_result, size_of
from .runs import free_name, run_to_replace
from .sources import open_source


@dataclass(frozen=True)
class PlannedObject:
    """A dataset that would be written."""

    path: str
    """In the file."""
    shape: tuple[int, ...]
    dtype: str
    bytes: int


@dataclass(frozen=True)
class Rehearsal:
    """What writing a result would do."""

    run: str
    """Name that the run would have."""
    replaced: bool
    """Whether one that is there would go."""
    objects: tuple[PlannedObject, ...]
    """What it consists of."""
    plan: store.WritePlan
    """The file, and the room that it takes."""


def rehearse(
    result: FitResult,
    path: Path,
    *,
    digest: str | None = None,
    in_place: bool = False,
    name: str | None = None,
    replace: bool = False,
    whole: Path | None = None,
) -> Rehearsal:
    """Return what `results.write_result` would do. Nothing is written, nor is any folder made.

    Sizes are those of an HDF5 file that is not compressed.

    Parameters
    ----------
    result : FitResult
        One of the right shapes (see `outline`).
    path : Path
        The file.
    digest : str, optional
        What the run will be recognised by; see `experiment.run_digests`.
    in_place, name, replace
        As for `results.write_result`.
    whole : Path, optional
        The recording, if all that it holds is to be in the new file too.

    Raises
    ------
    InputError
        If the name is taken or the same run is there, and not to be replaced; if the file cannot be read.
    """
    old = None
    if in_place or whole is not None or (replace and path.exists()):
        with open_source(whole or path) as opened:
            old = run_to_replace(opened.nwbfile, digest, name=name, replace=replace)
            name = old or free_name(opened.nwbfile, name, default=DEFAULT_NAME)
    source: Mapping[str, Any] = result.provenance.get("source") or {}

    def empty() -> NWBFile:
        return new_nwbfile(source, description="A rehearsal.")

    nwbfile = empty()
    run = add_result(nwbfile, result, name=name)
    with _written(nwbfile) as file, _written(empty()) as bare:
        objects = tuple(_planned(file[f"processing/{result.modality}/{run}"]))
        size = file.id.get_filesize()
        if path.exists() or whole is not None:  # schemas, subject and session are there already
            size -= bare.id.get_filesize()
    copied = 0 if whole is None else copied_bytes(whole)
    # writing asks for rather too much room, so as not to be caught out
    plan = dataclasses.replace(_plan(path, size_of(result) + copied), bytes_added=size + copied)
    return Rehearsal(run, old is not None, objects, plan)


@contextmanager
def _written(nwbfile: NWBFile) -> Iterator[h5py.File]:
    """Write an HDF5 file into memory."""
    file = h5py.File(f"{uuid4()}.nwb", "w", driver="core", backing_store=False)
    with NWBHDF5IO(file=file, mode="w") as io:
        io.write(nwbfile)
        file.flush()
        yield file


def _planned(group: h5py.Group) -> Iterator[PlannedObject]:
    for name in group:
        item = group.get(name) if isinstance(group.get(name, getlink=True), h5py.HardLink) else None
        if isinstance(item, h5py.Group):
            yield from _planned(item)
        elif isinstance(item, h5py.Dataset):
            kind = "text" if h5py.check_string_dtype(item.dtype) else str(item.dtype)
            yield PlannedObject(item.name, tuple(item.shape), kind, int(item.size * item.dtype.itemsize))


def _plan(path: Path, added: int) -> store.WritePlan:
    """Return the plan for a file; if its folder is not there, for one in the folder that this would be made in."""
    folder = path.parent
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    return dataclasses.replace(store.plan(folder / path.name, added=added), path=path)
