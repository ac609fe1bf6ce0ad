"""The runs in a file: which there are, and what a new one may be called."""

from __future__ import annotations

import re
from typing import Any

from pynwb import NWBFile

from ..errors import InputError
from ..session import Modality
from .metadata import parse_time
from .run_digest import stored_digest
from .types import SynapsNetFit

MODULES: tuple[Modality, ...] = ("ecephys", "ophys")


def list_runs(nwbfile: NWBFile) -> list[str]:
    """Return the names of the runs in an open file, the latest last. Known wiring is no run."""

    def age(name: str) -> tuple[float, list[Any]]:
        finished = parse_time(found[name].provenance.finished)
        natural = [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]
        return (finished.timestamp() if finished else 0.0, natural)

    found = {name: fit for name, (_, fit) in fits(nwbfile).items() if fit.provenance is not None}
    return sorted(found, key=age)


def fits(nwbfile: NWBFile) -> dict[str, tuple[Modality, SynapsNetFit]]:
    """Return every `SynapsNetFit` of a file by name, with the module it is in."""
    return {
        name: (modality, item)
        for modality in MODULES
        if modality in nwbfile.processing
        for name, item in nwbfile.processing[modality].data_interfaces.items()
        if isinstance(item, SynapsNetFit)
    }


def require_name(name: str) -> None:
    """Raise if an object of a file cannot be called `name`.

    Raises
    ------
    InputError
        If it is empty, or has a character that is part of paths.
    """
    if not name or "/" in name or ":" in name:
        raise InputError(f"a run cannot be called {name!r}", remedy="Choose a name without '/' and ':'.")


def run_path(nwbfile: NWBFile, name: str) -> str:
    """Return the path of a run inside its file."""
    return f"processing/{fits(nwbfile)[name][0]}/{name}"


def digests(nwbfile: NWBFile) -> dict[str, str | None]:
    """Return for every run what it is recognised by (see `run_digest`), the latest run last."""
    found = fits(nwbfile)
    return {name: stored_digest(found[name][1].provenance) for name in list_runs(nwbfile)}


def run_to_replace(nwbfile: NWBFile, digest: str | None, *, name: str | None, replace: bool) -> str | None:
    """Return the name of the run that a new one takes the place of; None if it is one more.

    Parameters
    ----------
    nwbfile : NWBFile
        The open file.
    digest : str or None
        What the new run is recognised by, if that is known.
    name : str or None
        The name asked for.
    replace : bool
        Whether a run may be replaced: that called `name`, or without a name the latest of the same digest.

    Raises
    ------
    InputError
        If the name is taken or the same run is there, and none is to be replaced; if what has the name is no run.
    """
    runs = digests(nwbfile)
    same = [run for run, of in runs.items() if digest is not None and of == digest]
    if name is not None:
        require_name(name)
        if name in _taken(nwbfile):
            if not replace:
                raise InputError(
                    f"the file has something called {name!r} already",
                    remedy="Choose another name, leave it out to have a free one chosen"
                    + (", or replace that run by --replace (in Python: replace=True)." if name in runs else "."),
                )
            if name not in runs:
                raise InputError(f"{name!r} is no run, and is not replaced", remedy="Choose another name.")
        same = [run for run in same if not (replace and run == name)]
        if same and replace:
            raise InputError(
                f"the file holds the same run under another name, {same[-1]!r}",
                remedy="Leave out the name to replace that one, or remove it first: ndx-synapsnet remove",
            )
    if same and not replace:
        raise InputError(
            f"the file holds this run already: {same[-1]!r} has the same settings, recording and seed",
            remedy="Replace it by --replace (in Python: replace=True), or change a setting or the seed.",
        )
    return (name if name in runs else None) if name is not None else (same[-1] if same else None)


def _taken(nwbfile: NWBFile) -> set[str]:
    return {n for m in MODULES if m in nwbfile.processing for n in nwbfile.processing[m].data_interfaces}


def free_name(nwbfile: NWBFile, name: str | None, *, default: str) -> str:
    """Return the name for a new run: `name` if it is given, else `default`, numbered if it is taken.

    Parameters
    ----------
    nwbfile : NWBFile
        The file that the run is to be added to.
    name : str or None
        The name asked for.
    default : str
        What to call it otherwise: ``default``, ``default_2``, ``default_3`` and so on.

    Raises
    ------
    InputError
        If `name` is taken, or HDF5 cannot have it.
    """
    taken = _taken(nwbfile)
    if name is None:
        number = 1
        while (candidate := default if number == 1 else f"{default}_{number}") in taken:
            number += 1
        return candidate
    require_name(name)
    if name in taken:
        raise InputError(
            f"the file has something called {name!r} already, and NWB cannot replace it",
            remedy="Choose another name, or leave it out to have a free one chosen.",
        )
    return name
