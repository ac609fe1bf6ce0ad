"""A new file that holds a whole recording and a result: copied, not linked, so that it can be given away by itself."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
from pynwb import NWBFile

from ..errors import InputError
from ..session import FitResult
from . import store
from .links import require_pictures, require_self_contained
from .results import WrittenRun, add_result, digest_of, size_of
from .runs import run_to_replace


def require_whole(source: Path | None, path: Path, *, where: str) -> Path:
    """Return the recording that a new file is to hold, after checking what can be told beforehand.

    Parameters
    ----------
    source : Path or None
        The recording; None if it is not on this machine.
    path : Path
        The new file.
    where : str
        The recording, for messages.

    Raises
    ------
    InputError
        If it is not on this machine, no HDF5 file or Zarr folder, has another format than the new file, or refers to
        other files.
    """
    if source is None:
        raise InputError(
            "all of it can be copied only if it is one file, on this machine",
            where=where,
            remedy="Download it first (dandi download), or leave out --with-source: the result then gets a small file.",
        )
    if not source.is_dir() and not h5py.is_hdf5(source):
        raise InputError(
            "only an HDF5 file or a Zarr folder can be copied whole", where=where, remedy="Leave out --with-source."
        )
    file_format = "zarr" if source.is_dir() else "hdf5"
    if store.format_of(path) != file_format:
        raise InputError(
            f"it is {'a Zarr folder' if source.is_dir() else 'not Zarr'}, and its copy must be so too",
            where=where,
            remedy=f"End the new name in {'.zarr' if source.is_dir() else '.nwb'}.",
        )
    require_self_contained(source)
    return source


def write_whole(
    result: FitResult,
    source: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    name: str | None = None,
    compress: bool = False,
) -> WrittenRun:
    """Write a new file with everything that a recording holds, and a result.

    The copy keeps the recording's object ids, so that what the result says of its source holds within it.

    Parameters
    ----------
    result : FitResult
        What was learned of the recording.
    source : path
        The recording: an HDF5 file or a Zarr folder on this machine.
    path : path
        The new file.
    name : str, optional
        Name of the run; by default one that is free.
    compress : bool
        Whether to compress the result (HDF5).

    Returns
    -------
    WrittenRun
        The new file, and the run's name in it.

    Raises
    ------
    InputError
        See `require_whole` and `store.derive`.
    """
    source, path = Path(source), Path(path)
    require_whole(source, path, where=str(source))

    def add(nwbfile: NWBFile) -> str:
        require_pictures(nwbfile, source, path)
        run_to_replace(nwbfile, digest_of(result), name=name, replace=False)
        return add_result(nwbfile, result, name=name, compress=compress)

    return WrittenRun(path, store.derive(source, path, add, room=size_of(result)))
