"""NWB in HDF5."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
from pynwb import NWBHDF5IO

from ...errors import InputError
from .opened import OpenedFile, collected_warnings
from .version import require_nwb2


def _stored_version(path: Path) -> str:
    """Return the file's NWB version, after telling apart the ways in which it can be unreadable."""
    where = str(path)
    try:
        with h5py.File(path, "r") as file:
            version = file.attrs.get("nwb_version")
            if version is None and isinstance(file.get("nwb_version"), h5py.Dataset):
                version = file["nwb_version"][()]  # where NWB 1.x keeps it
            return require_nwb2(version, file.attrs.get("neurodata_type"), where=where)
    except BlockingIOError as error:
        raise _held_by_writer(where) from error
    except PermissionError as error:
        raise InputError("you may not read this file", where=where, remedy="Ask its owner") from error
    except OSError as error:
        text = str(error)
        if "already open for write" in text:
            raise _held_by_writer(where) from error
        if "truncated" in text:
            raise InputError(
                "the file is truncated: it ends before its own header says",
                where=where,
                remedy="Copy or download it again",
            ) from error
        if "signature not found" in text:
            raise InputError(
                "this is not an NWB file: it is not HDF5", where=where, remedy="Give the path of an .nwb file"
            ) from error
        raise InputError(f"HDF5 cannot open the file ({text})", where=where) from error


def _held_by_writer(where: str) -> InputError:
    return InputError(
        "another program has the file open for writing", where=where, remedy="Close it there, then run this again"
    )


@contextmanager
def open_hdf5(path: Path) -> Iterator[OpenedFile]:
    """Open an NWB HDF5 file read-only, with the extensions whose specifications it carries.

    Raises
    ------
    InputError
        If the file is not NWB 2 in HDF5, truncated, held by a writer, or refused by pynwb.
    """
    version = _stored_version(path)
    io = None
    try:
        with collected_warnings() as messages:
            try:
                io = NWBHDF5IO(path=str(path), mode="r", load_namespaces=True)
                nwbfile = io.read()
            except Exception as error:  # pynwb and hdmf raise many kinds on a malformed file
                # hdmf's errors hold a dump of the whole object, and the reason as their last argument
                reason = next(
                    (str(part) for part in reversed(error.args) if isinstance(part, str)), type(error).__name__
                )
                raise InputError(f"pynwb cannot read the file ({reason})", where=str(path)) from error
        yield OpenedFile(str(path), "hdf5", nwbfile, version, tuple(messages))
    finally:
        if io is not None:
            io.close()
