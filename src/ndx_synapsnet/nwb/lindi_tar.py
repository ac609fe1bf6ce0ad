"""New NWB files as lindi archives: a tar of chunks and of the JSON that describes them (the extra ``lindi``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pynwb import NWBHDF5IO, NWBFile

from ..errors import missing_extra
from .sources.lindi import closed_for_good


def require_lindi() -> Any:
    """Return the package lindi.

    Raises
    ------
    InputError
        If it is not installed.
    """
    try:
        import lindi
    except ImportError as error:
        raise missing_extra("lindi", "lindi") from error
    return lindi


def write_lindi_tar(path: Path, nwbfile: NWBFile) -> None:
    """Write a new lindi archive.

    Parameters
    ----------
    path : Path
        The new file, ``.lindi.tar``.
    nwbfile : NWBFile
        What to write.
    """
    client = require_lindi().LindiH5pyFile.from_lindi_file(str(path), mode="w")
    io = NWBHDF5IO(file=client, mode="w")
    try:
        io.write(nwbfile, expandable=())  # lindi has no datasets that can grow
    finally:
        io.close()  # and the client with it
        closed_for_good(client)
