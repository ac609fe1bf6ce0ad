"""The runs in a file: which there are, and what a new one may be called."""

from __future__ import annotations

import re
from typing import Any

from pynwb import NWBFile

from ..errors import InputError
from ..session import Modality
from .metadata import parse_time
from .types import SynapsNetFit

MODULES: tuple[Modality, ...] = ("ecephys", "ophys")


def list_runs(nwbfile: NWBFile) -> list[str]:
    """Return the names of the runs in an open file, the latest last. Known wiring is no run."""

    def age(name: str) -> tuple[float, list[Any]]:
        finished = parse_time(found[name].provenance.finished)
        natural = [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]
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
    taken = {n for m in MODULES if m in nwbfile.processing for n in nwbfile.processing[m].data_interfaces}
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
