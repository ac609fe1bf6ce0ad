"""Where recordings come from: an address → an open NWB file.

`SOURCES` is the registry: a new kind of place is a module here and one line. What addresses look like is in `uri`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from ...errors import InputError
from .local import expand_local, open_local
from .opened import OpenedFile
from .remote.options import current_options
from .uri import Address, DandiAddress, HttpAddress, LocalAddress, S3Address, is_glob, parse

__all__ = ["SOURCES", "Address", "LocalAddress", "OpenedFile", "address_of", "expand", "open_source"]

_SHOWN = 3


def _open_file(address: LocalAddress) -> AbstractContextManager[OpenedFile]:
    return open_local(address.path)


def _open_http(address: HttpAddress) -> AbstractContextManager[OpenedFile]:
    from .http import locate_http
    from .web import open_place

    return open_place(locate_http(address), current_options())


@contextmanager
def _open_s3(address: S3Address) -> Iterator[OpenedFile]:
    from .s3 import locate_s3
    from .web import open_place

    options = current_options()
    with open_place(locate_s3(address, options), options) as opened:
        yield opened


@contextmanager
def _open_dandi(address: DandiAddress) -> Iterator[OpenedFile]:
    from .dandi import locate_dandi
    from .stores import LocatedStore
    from .web import open_located
    from .web_zarr import open_store

    options = current_options()
    located = locate_dandi(address, options)
    opening = open_store(located, options) if isinstance(located, LocatedStore) else open_located(located, options)
    with opening as opened:
        yield opened


#: Kind of address → what opens it.
SOURCES: dict[str, Callable[[Any], AbstractContextManager[OpenedFile]]] = {
    "file": _open_file,
    "http": _open_http,
    "s3": _open_s3,
    "dandi": _open_dandi,
}


def open_source(uri: str | os.PathLike[str]) -> AbstractContextManager[OpenedFile]:
    """Return a context manager that opens an NWB file read-only.

    Parameters
    ----------
    uri : str or path
        The address of an HDF5 file, an NWB-Zarr store or a lindi file, in the grammar of `uri`: a path, ``file://``,
        ``http(s)://``, ``s3://``, ``DANDI:``, ``dandi://``, or an archive's own web address. A pattern is taken if
        exactly one recording fits it. How remote ones are read is set by `remote.options.use_options`.

    Returns
    -------
    context manager of OpenedFile
        The file is closed on leaving it; nothing lazily read from it may be used afterwards.

    Raises
    ------
    InputError
        If the address is not understood, or, on entering or right away, if the file cannot be had or read as NWB 2.
    """
    address = address_of(uri)
    if _is_pattern(address):
        fitting = expand(uri)
        if len(fitting) > 1:
            some = ", ".join(fitting[:_SHOWN]) + (", ..." if len(fitting) > _SHOWN else "")
            raise InputError(
                f"{len(fitting)} recordings fit this pattern", where=str(address), remedy=f"Name one of them: {some}"
            )
        address = address_of(fitting[0])
    return SOURCES[address.scheme](address)


def expand(uri: str | os.PathLike[str]) -> list[str]:
    """Return the addresses of the recordings that an address means.

    Parameters
    ----------
    uri : str or path
        As for `open_source`; a path here or in a dandiset may be a pattern.

    Returns
    -------
    list of str
        For a pattern, what fits it, sorted by path; assets of a dandiset with the version they are of (by default the
        latest published one, else the draft). Otherwise the address itself, in its canonical form and unchecked.

    Raises
    ------
    InputError
        If nothing fits, the address is not understood, or the archive cannot be asked.
    """
    address = address_of(uri)
    if isinstance(address, LocalAddress) and _is_pattern(address):
        return expand_local(address.path)
    if isinstance(address, DandiAddress) and address.is_glob:
        from .dandi import expand_dandi

        return expand_dandi(address, current_options())
    # what may hold a secret has to keep it: it is needed again
    return [os.fspath(uri) if isinstance(address, LocalAddress | HttpAddress) else str(address)]


def address_of(uri: str | os.PathLike[str]) -> Address:
    """Return what an address means, ``DANDI:`` in the archive of the options in force; its text may be shown.

    Raises
    ------
    InputError
        If it is not understood.
    """
    instance = current_options().instance
    if instance != "dandi":
        from .dandi import of_instance

        instance = of_instance(instance)
    return parse(uri, instance=instance)


def _is_pattern(address: Address) -> bool:
    if isinstance(address, LocalAddress):
        return is_glob(address.path) and not os.path.lexists(os.path.expanduser(address.path))
    return isinstance(address, DandiAddress) and address.is_glob
