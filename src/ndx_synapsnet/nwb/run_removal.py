"""Takes a run out of a file: by way of a verified copy without it, as everything that is written."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pynwb import NWBFile

from ..errors import InputError
from . import store
from .metadata import is_made_here
from .replace import require_same, stamp
from .run_records import stored_bytes
from .runs import fits, list_runs, run_path
from .sources import open_source


@dataclass(frozen=True)
class Removal:
    """What is taken out of a file, or was."""

    path: Path
    """The file."""
    run: str
    """The run's name."""
    objects: tuple[str, ...]
    """What goes, by path in the file: the run, or with it the processing module that held nothing else."""
    bytes: int | None
    """Room that the run's arrays take in the file; None where that cannot be told."""
    last: bool
    """Whether it is the only run of the file."""


def plan_removal(path: str | os.PathLike[str], run: str) -> Removal:
    """Return what `remove_run` would take out of a file, after checking that it may be written to.

    A processing module that this package made, and that would be left empty, goes with its run.

    Parameters
    ----------
    path : path
        An NWB file (HDF5) or an NWB-Zarr folder.
    run : str
        Name of the run.

    Raises
    ------
    InputError
        If the file cannot be read or replaced, or holds no run of that name.
    """
    path = Path(path)
    store.require_amendable(path)
    with open_source(path) as opened:
        nwbfile, runs = opened.nwbfile, list_runs(opened.nwbfile)
        if run not in runs:
            what = f"there is no run {run!r}"
            if run in fits(nwbfile):
                what = f"{run!r} is known wiring, and no run"
            raise InputError(
                what, where=opened.uri, remedy=f"Its runs: {', '.join(runs)}." if runs else "The file holds no run."
            )
        place = run_path(nwbfile, run)
        module = fits(nwbfile)[run][0]
        objects = (f"processing/{module}",) if _is_left_empty(nwbfile, module) else (place,)
        return Removal(path, run, objects, stored_bytes(opened, place), last=len(runs) == 1)


def remove_run(path: str | os.PathLike[str], run: str) -> Removal:
    """Take a run out of a file: a copy without it is made, validated and compared, and put in the file's place.

    An HDF5 file may keep its size: what was the run's is then free room inside it.

    Parameters
    ----------
    path, run
        As for `plan_removal`.

    Returns
    -------
    Removal
        What was taken out.

    Raises
    ------
    InputError
        As `plan_removal` and `store.amend`; if something else in the file refers to the run.
    """
    source = store.require_amendable(Path(path))
    planned = stamp(source)
    removal = plan_removal(path, run)
    # what was looked at is what is removed from: the module may have been given something else meanwhile
    store.amend(removal.path, lambda _: require_same(source, planned), remove=removal.objects)
    return removal


def _is_left_empty(nwbfile: NWBFile, module: str) -> bool:
    """Return whether a processing module was made for results, and holds a single one."""
    found = nwbfile.processing[module]
    return is_made_here(found) and len(found.data_interfaces) == 1
