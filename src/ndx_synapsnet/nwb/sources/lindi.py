"""NWB as a lindi reference file system: JSON that says where in other files each chunk lies (the extra ``lindi``)."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pynwb import NWBHDF5IO

from ...errors import InputError, missing_extra
from .opened import OpenedFile, collected_warnings
from .version import require_nwb2

_TEMPLATE_START = "{{"
_LARGEST = 2**28  # bytes of a description
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


def read_tar(path: Path) -> str:
    """Return the reference file system of a lindi archive, its chunks as ranges of the archive itself.

    Nothing is unpacked: a name in it is looked up among its members, and is no path.

    Raises
    ------
    InputError
        If it is no such archive, or refers to what is neither in it nor on the web.
    """
    where = str(path)
    try:
        with tarfile.open(path, "r:") as archive:
            members = {member.name: member for member in archive if member.isreg() and not member.issparse()}
            description = members.get("lindi.json")
            file = None if description is None else archive.extractfile(description)
            if description is None or file is None or description.size > _LARGEST:
                raise InputError("it has no description of its content (lindi.json), or too large a one", where=where)
            system = json.loads(file.read())
        templates = system.get("templates") or {}
        refs = {key: _in_tar(key, value, members, templates, path) for key, value in dict(system["refs"]).items()}
    except (tarfile.TarError, OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"this is no lindi archive ({error})", where=where) from error
    return json.dumps({"refs": refs})


def _in_tar(
    key: str, value: Any, members: Mapping[str, tarfile.TarInfo], templates: Mapping[str, Any], path: Path
) -> Any:
    """Return a reference, if it is one to a part of a member, as one to a part of the archive."""
    if not isinstance(value, list):
        return value
    url = _expanded(str(value[0]), templates)
    if not url.startswith("./"):
        _require_web(url, key, where=str(path), local=False)
        return [url, *value[1:]]
    member = members.get(url[2:])
    start, length = (value[1], value[2]) if len(value) == 3 else (0, 0 if member is None else member.size)
    if member is None or not 0 <= int(start) <= int(start) + int(length) <= member.size:
        raise InputError("a part of it is missing", where=f"{path}, {key}")
    return [str(path), member.offset_data + int(start), int(length)]


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


def closed_for_good(client: Any) -> None:
    """Keep a lindi file that was closed from being closed again.

    It says that it is open for ever, so hdmf closes it at the end of the process, and lindi prints a warning then.
    """
    client.close = lambda: None


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
        if client is not None:
            closed_for_good(client)
