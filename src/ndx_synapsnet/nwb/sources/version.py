"""Telling NWB 2 from everything else."""

from __future__ import annotations

import re
from typing import Any

from ...errors import InputError


def require_nwb2(version: Any, neurodata_type: Any, *, where: str) -> str:
    """Return the NWB version stored in a file.

    Parameters
    ----------
    version : str, bytes or None
        The file's ``nwb_version`` as it is stored.
    neurodata_type : str, bytes or None
        The root's ``neurodata_type``.
    where : str
        The file, for the message.

    Raises
    ------
    InputError
        If there is no version, or it is 1.x, or the root is something else than an NWBFile.
    """
    text, root = _text(version), _text(neurodata_type)
    if not text:
        raise InputError(
            "this is not an NWB file: it states no nwb_version", where=where, remedy="Give the path of an NWB 2 file"
        )
    if re.match(r"(NWB-)?[01]\.", text):
        raise InputError(
            f"this is NWB {text.removeprefix('NWB-')}; only NWB 2 is read",
            where=where,
            remedy="Convert it to NWB 2 or ask the data's publisher for an NWB 2 version",
        )
    if root and root != "NWBFile":
        raise InputError(f"its root is a {root}, not an NWBFile", where=where)
    return text


def _text(value: Any) -> str:
    if hasattr(value, "flat"):  # NWB 1.x wrote it as an array now and then
        value = next(iter(value.flat), None)
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")
