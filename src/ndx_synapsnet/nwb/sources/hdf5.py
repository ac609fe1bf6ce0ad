"""NWB in HDF5: local files, and remote ones through a `BlockFile`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
from pynwb import NWBHDF5IO

from ...errors import InputError
from .opened import OpenedFile, collected_warnings
from .version import require_nwb2

if TYPE_CHECKING:
    from .remote.fetch import RangeReader


@contextmanager
def open_hdf5(path: Path) -> Iterator[OpenedFile]:
    """Open a local NWB HDF5 file read-only, with the extensions whose specifications it carries.

    Raises
    ------
    InputError
        If the file is not NWB 2 in HDF5, truncated, held by a writer, or refused by pynwb.
    """
    where = str(path)
    with _hdf5_errors(where), h5py.File(path, "r") as file:
        version = _stored_version(file, where)
    with _opened(version, where, path=where) as opened:
        yield opened


@contextmanager
def open_hdf5_remote(reader: RangeReader) -> Iterator[OpenedFile]:
    """Open a remote NWB HDF5 file, with the extensions whose specifications it carries.

    Parameters
    ----------
    reader : RangeReader
        Its bytes; the caller closes it.

    Raises
    ------
    InputError
        As `open_hdf5`; if a part of it lies in another file; and whatever the reader raises where the bytes cannot be
        had.
    """
    from .remote.blockfile import BlockFile

    with ExitStack() as stack:
        with _hdf5_errors(reader.uri):
            content = stack.enter_context(BlockFile(reader))
            file = stack.enter_context(h5py.File(content, "r"))
            _require_whole(file, reader.uri)
            version = _stored_version(file, reader.uri)
        yield stack.enter_context(_opened(version, reader.uri, file=file))


@contextmanager
def _opened(version: str, where: str, **place: Any) -> Iterator[OpenedFile]:
    """Read with pynwb from a ``path`` or from an open ``file``."""
    io = None
    try:
        with collected_warnings() as messages:
            try:
                io = NWBHDF5IO(**place, mode="r", load_namespaces=True)
                nwbfile = io.read()
            except Exception as error:  # pynwb and hdmf raise many kinds on a malformed file
                if (own := _input_error(error)) is not None:
                    raise own from error
                # hdmf's errors hold a dump of the whole object, and the reason as their last argument
                reason = next(
                    (str(part) for part in reversed(error.args) if isinstance(part, str)), type(error).__name__
                )
                because, remedy = _told_by_schemas(**place) or (None, None)
                what = "pynwb cannot read the file" + (f": {because}" if because else "")
                raise InputError(f"{what} ({reason})", where=where, remedy=remedy) from error
        yield OpenedFile(where, "hdf5", nwbfile, version, tuple(messages))
    finally:
        if io is not None:
            io.close()


def _told_by_schemas(path: str | None = None, file: h5py.File | None = None) -> tuple[str, str] | None:
    """Return why a file may be unreadable and a remedy, if the schemas in it tell."""
    from ..versions import reason_unreadable

    if path is None:
        return reason_unreadable(file)
    with h5py.File(path, "r") as opened:
        return reason_unreadable(opened)


def _require_whole(file: h5py.File, where: str) -> None:
    """Refuse a remote file with parts in other files: HDF5 would look for them here, or take this file for them.

    What is read is what pynwb reads next anyway: links and the headers of datasets.
    """
    failures: list[Exception] = []

    def elsewhere(name: bytes, link: h5py.h5l.LinkInfo) -> bytes | None:  # what is not None ends the walk
        if link.type == h5py.h5l.TYPE_SOFT:  # leads to what is looked at under its own name
            return None
        try:
            whole = link.type == h5py.h5l.TYPE_HARD and not _stored_elsewhere(h5py.h5o.open(file.id, name))
        except Exception as error:  # HDF5 lets none through
            failures.append(error)
            return name
        return None if whole else name

    name = None
    try:
        name = file.id.links.visit(elsewhere, info=True)
    except Exception as error:  # of many kinds where the file is damaged or the server is gone
        failures.append(error)
    if failures:
        own = _input_error(failures[0])
        raise own or InputError(f"HDF5 cannot open the file ({failures[0]})", where=where) from failures[0]
    if name is not None:
        raise InputError(
            "a part of this file lies in another file, which cannot be read from afar",
            where=f"{where}, /{name.decode(errors='replace')}",
            remedy="Download it with the files next to it that it needs, and give the path",
        )


def _stored_elsewhere(part: h5py.h5g.GroupID | h5py.h5d.DatasetID | h5py.h5t.TypeID) -> bool:
    """Return whether an object is a dataset with values outside its file."""
    if not isinstance(part, h5py.h5d.DatasetID):
        return False
    properties = part.get_create_plist()
    if properties.get_external_count():
        return True
    if properties.get_layout() != h5py.h5d.VIRTUAL:
        return False
    return any(properties.get_virtual_filename(number) != "." for number in range(properties.get_virtual_count()))


def _stored_version(file: h5py.File, where: str) -> str:
    version = file.attrs.get("nwb_version")
    if version is None and isinstance(file.get("nwb_version"), h5py.Dataset):
        version = file["nwb_version"][()]  # where NWB 1.x keeps it
    return require_nwb2(version, file.attrs.get("neurodata_type"), where=where)


@contextmanager
def _hdf5_errors(where: str) -> Iterator[None]:
    """Tell apart the ways in which a file can be unreadable."""
    try:
        yield
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


def _input_error(error: BaseException | None) -> InputError | None:
    """Return the error of ours that led to `error`, such as of a server that is gone; None if it is another matter."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, InputError):
            return error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None
