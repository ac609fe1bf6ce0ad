"""How a file made from a recording is called, and where it lies, so that DANDI takes it as it is."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import InputError
from .readers.provenance import file_record
from .sources import open_source
from .supplied import complete

#: What a derived file's name says of its content.
DESCRIPTION = "synapsnet"
_DANDISET = "dandiset.yaml"
_LONGEST = 200  # bytes; most file systems take 255, and a temporary copy's name is longer
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def dandi_path(subject_id: str, session_id: str) -> PurePosixPath | None:
    """Return where in a dandiset the result of a session belongs; None if no file can be called so.

    Parameters
    ----------
    subject_id, session_id : str
        As the source says them. Characters that DANDI does not take are replaced as ``dandi organize`` does.

    Returns
    -------
    PurePosixPath or None
        ``sub-<subject_id>/sub-<subject_id>_ses-<session_id>_desc-synapsnet.nwb``.
    """
    from dandi.organize import create_unique_filenames_from_metadata

    # a terminal would obey what dandi leaves as it is
    subject, session = (_CONTROL.sub("-", text.strip()) for text in (subject_id, session_id))
    if not (subject and session):
        return None
    record = {"path": "a.nwb", "subject_id": subject, "session_id": session, "description": DESCRIPTION}
    (named,) = create_unique_filenames_from_metadata([record], required_fields=["session_id", "description"])
    path = PurePosixPath(named["dandi_path"])
    return None if len(os.fsencode(path.name)) > _LONGEST else path


def dandi_path_of(uri: str, supplied: Mapping[str, Any] | None = None) -> PurePosixPath | None:
    """Return where in a dandiset the result of a recording belongs, by what is in its file.

    Parameters
    ----------
    uri : str
        The recording; it is opened, and only its metadata read.
    supplied : mapping
        What people say where the file does not (see `supplied.load_supplied`).

    Returns
    -------
    PurePosixPath or None
        None if subject or session are not known. A file that cannot be read has none either: reading it tells why.
    """
    try:
        with open_source(uri) as opened:
            record = complete(file_record(opened.nwbfile), supplied or {}, where=uri)
    except InputError:
        return None
    subject, session = (record.get("subject") or {}).get("subject_id"), record.get("session_id")
    return dandi_path(str(subject), str(session)) if subject and session else None


def dandiset_root(folder: Path) -> Path | None:
    """Return the folder of the dandiset that `folder` is or lies in (it has a ``dandiset.yaml``); None if in none."""
    folder = folder.absolute()
    return next((one for one in (folder, *folder.parents) if (one / _DANDISET).is_file()), None)
