"""One session from several files, where an archive has a file for each imaging plane.

Files belong together if they are of one subject and name the same session: by the Allen Institute's
``ophys_session_id``, else by ``session_id``, else by the time at which the session began.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pynwb import NWBFile

from ...errors import InputError
from ...session import Session
from ..sources import OpenedFile, expand, open_source
from .calcium import Plane, joined, planes_of
from .catalog import walk
from .config import ReadConfig
from .origin import naming, origin_record
from .provenance import file_record, with_settings
from .reading import choose_adapter, with_covariates

#: Attributes of lab meta data that number a session whose planes have files of their own.
_SESSION_NUMBERS = ("ophys_session_id",)


#: Addresses of files, or patterns: one or several.
Addresses = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def _expanded(uris: Addresses) -> list[str]:
    several = [uris] if isinstance(uris, (str, os.PathLike)) else uris
    return [path for uri in several for path in expand(uri)]


def session_key(nwbfile: NWBFile) -> tuple[str, str, str]:
    """Return what files of one session have in common: subject, what names the session, and that name."""
    record = file_record(nwbfile)
    subject = (record["subject"] or {}).get("subject_id", "")
    for item in nwbfile.lab_meta_data.values():
        for name in _SESSION_NUMBERS:
            if getattr(item, name, None) is not None:
                return subject, name, str(getattr(item, name))
    if record["session_id"]:
        return subject, "session_id", record["session_id"]
    return subject, "session_start_time", str(record["session_start_time"])


def group_by_session(uris: Addresses) -> list[tuple[str, ...]]:
    """Return files grouped by the session they are of; sessions and files in the order given.

    Parameters
    ----------
    uris : str, path or sequence of them
        NWB files or patterns; each file is opened, and only its metadata read.

    Raises
    ------
    InputError
        If one cannot be opened.
    """
    groups: dict[tuple[str, str, str], list[str]] = {}
    for uri in _expanded(uris):
        with open_source(uri) as opened:
            groups.setdefault(session_key(opened.nwbfile), []).append(uri)
    return [tuple(group) for group in groups.values()]


def read_planes(uris: Addresses, config: ReadConfig | None = None, **settings: Any) -> Session:
    """Read the imaging planes of one session from several files as one population.

    Planes are put side by side on the clock of the one that is scanned last; of the others the latest sample is held.
    Behaviour, stimuli and the session's metadata are those of the first file. A neuron's id begins with its file's
    identifier.

    Parameters
    ----------
    uris : str, path or sequence of them
        Files of one session, each once, or patterns that they fit; see `group_by_session`.
    config : ReadConfig, optional
        What to read of each file; by default what suits most.
    **settings
        Fields of `ReadConfig`, in place of those of `config`.

    Returns
    -------
    Session
        Its provenance has the list ``files`` with a record of each, and else what that of the first file has.

    Raises
    ------
    InputError
        If the files are not of one session, or one of them is no calcium imaging, or what `read_session` raises.

    Examples
    --------
    >>> session = read_planes(["plane1.nwb", "plane2.nwb"], identity_column="cell_specimen_id")  # doctest: +SKIP
    """
    config = with_settings(config, settings)
    paths = _expanded(uris)
    if not paths:
        raise InputError("there are no files to join", remedy="Name the files of one session")
    with open_source(paths[0]) as first:
        parts = [_part(first, first, config)]
        for path in paths[1:]:
            with open_source(path) as opened:
                parts.append(_part(opened, first, config))
        files = [part.record for part in parts]
        _require_unlike(files)
        with naming(first.uri):
            activity = joined([p for part in parts for p in part.planes], config, [n for p in parts for n in p.notes])
            origin = {**origin_record(first), "files": files}
            nwbfile, warnings = first.nwbfile, first.warnings
            session = with_covariates(activity, nwbfile, config, reader="calcium", origin=origin, warnings=warnings)
            session.provenance["notes"].extend(first.absences())
            return session


@dataclass(frozen=True)
class _Part:
    planes: list[Plane]
    notes: list[str]
    record: dict[str, Any]


def _part(opened: OpenedFile, first: OpenedFile, config: ReadConfig) -> _Part:
    """Read the planes of one file, after checking that it is of the same session as the first."""
    nwbfile = opened.nwbfile
    with naming(opened.uri):
        ours, theirs = session_key(first.nwbfile), session_key(nwbfile)
        if ours != theirs:
            raise InputError(
                f"this is another session ({_told(theirs)}) than that of {first.uri} ({_told(ours)})",
                remedy="Join files of one session only",
            )
        if choose_adapter(nwbfile, walk(nwbfile), config) != "calcium":
            raise InputError("this would be read as spikes, and only imaging planes can be joined")
        label = str(nwbfile.identifier)
        planes, notes = planes_of(nwbfile, config, label=f"{label}:")
        notes = notes if opened is first else [*notes, *opened.absences()]  # of the first one more is read later
    record = file_record(nwbfile)
    stated = {name: record[name] for name in ("identifier", "file_object_id")}
    return _Part(planes, [f"{label}: {note}" for note in notes], {**origin_record(opened), **stated})


def _told(key: tuple[str, str, str]) -> str:
    subject, name, value = key
    return f"{subject or 'unnamed subject'}, {name} {value}"


def _require_unlike(files: list[dict[str, Any]]) -> None:
    seen: dict[str, str] = {}
    for record in files:
        other = seen.setdefault(record["identifier"], record["uri"])
        if other is not record["uri"]:
            raise InputError(
                f"its identifier {record['identifier']!r} is that of {other} too",
                where=record["uri"],
                remedy="Name each plane's file once",
            )
