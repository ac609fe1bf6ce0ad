"""NWB as a lindi reference file system: JSON that says where in other files each chunk lies (the extra ``lindi``)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pynwb import NWBHDF5IO

from ...errors import InputError, missing_extra
from .opened import OpenedFile, collected_warnings
from .version import require_nwb2

_TEMPLATE_START = "{{"
_METADATA = (".zarray", ".zattrs", ".zgroup", ".zmetadata")


def parse_lindi(content: bytes | str, *, where: str, local: bool) -> dict[str, Any]:
    """Return a reference file system after looking at what it would have us read.

    Parameters
    ----------
    content : bytes or str
        JSON.
    where : str
        The file, for messages.
    local : bool
        Whether it lies on this machine; only then may it refer to files here.

    Raises
    ------
    InputError
        If it is no such JSON, refers to files of this machine though it came from elsewhere, holds pickled objects, or
        has its metadata in another file.
    """
    try:
        system = json.loads(content)
        refs = dict(system["refs"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            "this is JSON, but not a lindi file: it has no 'refs'",
            where=where,
            remedy="Give an .nwb or .lindi.json file",
        ) from error
    templates = system.get("templates") or {}
    for key, value in refs.items():
        name = key.rpartition("/")[2]
        if name in _METADATA and not isinstance(value, (str, dict)):  # what lies elsewhere is not looked at
            raise InputError("the metadata of an object are not in the file itself", where=f"{where}, {key}")
        if isinstance(value, list) and value:
            _require_web(_expanded(str(value[0]), templates), key, where=where, local=local)
        elif name == ".zarray":
            _require_no_pickle(value, key, where=where)
        elif name == ".zattrs":
            _require_web_link(value, key, where=where, local=local)
    return dict(system)


def _expanded(url: str, templates: Mapping[str, Any]) -> str:
    for name, text in templates.items():
        url = url.replace(f"{_TEMPLATE_START}{name}}}}}", str(text))
    return url


def _require_web(url: str, key: str, *, where: str, local: bool) -> None:
    if url.startswith(("http://", "https://")) or local:
        return
    raise InputError(
        "it refers to a file of this machine though it comes from elsewhere",
        where=f"{where}, {key}",
        remedy="Read a lindi file that you trust from a local copy",
    )


def _require_web_link(value: Any, key: str, *, where: str, local: bool) -> None:
    """Look at the link to an array in another file, if there is one."""
    try:
        attributes = json.loads(value) if isinstance(value, str) else value
        link = attributes.get("_EXTERNAL_ARRAY_LINK")
        url = None if link is None else str(link["url"])
    except (ValueError, AttributeError, TypeError, KeyError) as error:
        raise InputError("the attributes of an object are damaged", where=f"{where}, {key}") from error
    if url is not None:
        _require_web(url, key, where=where, local=local)


def _require_no_pickle(value: Any, key: str, *, where: str) -> None:
    try:
        array = json.loads(value) if isinstance(value, str) else value
        codecs = [array.get("compressor"), *(array.get("filters") or [])]
        pickled = any(isinstance(codec, dict) and codec.get("id") == "pickle" for codec in codecs)
    except (ValueError, AttributeError, TypeError) as error:
        raise InputError("the metadata of an array are damaged", where=f"{where}, {key}") from error
    if pickled:
        raise InputError("it holds pickled objects, which are not read", where=f"{where}, {key}")


@contextmanager
def open_lindi(content: bytes | str, *, where: str, record: Mapping[str, Any], local: bool) -> Iterator[OpenedFile]:
    """Open an NWB file that a lindi reference file system describes.

    Parameters
    ----------
    content : bytes or str
        The JSON.
    where : str
        The file.
    record : mapping
        See `OpenedFile`.
    local : bool
        Whether it lies on this machine.

    Raises
    ------
    InputError
        If lindi is not installed, or the file is not NWB 2 or refused.
    """
    system = parse_lindi(content, where=where, local=local)
    try:
        import lindi
    except ImportError as error:
        raise missing_extra("lindi", "lindi") from error
    client, io = None, None
    try:
        with collected_warnings() as messages:
            try:
                client = lindi.LindiH5pyFile.from_reference_file_system(system)
                version = require_nwb2(client.attrs.get("nwb_version"), client.attrs.get("neurodata_type"), where=where)
                io = NWBHDF5IO(file=client, mode="r", load_namespaces=True)
                nwbfile = io.read()
            except InputError:
                raise
            except Exception as error:  # lindi, zarr, hdmf and pynwb raise many kinds on a malformed file
                raise InputError(f"lindi cannot read the file ({error})", where=where) from error
        yield OpenedFile(where, "lindi", nwbfile, version, tuple(messages), record)
    finally:
        if io is not None:
            io.close()  # and the client with it
        elif client is not None:
            client.close()
