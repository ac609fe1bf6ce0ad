"""A session's provenance → the NWBFile that holds something made from it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from uuid import uuid4

from hdmf.utils import get_docval
from pynwb import NWBFile
from pynwb.file import Subject

from ..session import Modality

#: Set where no animal is known: DANDI wants these fields, and this is how to say "none" in them.
NO_ANIMAL = {
    "subject_id": "simulated",
    "description": "No animal: the activity was simulated.",
    "species": "http://purl.obolibrary.org/obo/NCBITaxon_32644",  # "unidentified"
    "sex": "U",
    "age": "P0D",
}

#: Fields of a session that are carried over from its source: as text, and as lists of text.
SESSION_TEXTS = (
    "session_id",
    "experiment_description",
    "institution",
    "lab",
    "protocol",
    "pharmacology",
    "surgery",
    "virus",
)
SESSION_LISTS = ("experimenter", "keywords", "related_publications")

_SUBJECT_FIELDS = {argument["name"] for argument in get_docval(Subject.__init__)}
_MODULES = {
    "ecephys": "Processed extracellular electrophysiology data.",
    "ophys": "Processed optical physiology data.",
    "behavior": "Processed behavioral data.",
}


def new_nwbfile(source: Mapping[str, Any], *, description: str, identifier: str | None = None) -> NWBFile:
    """Make an empty NWBFile that says of session and subject what the source file said.

    Parameters
    ----------
    source : mapping
        A session's provenance (see `nwb.readers`).
    description : str
        What the new file is; also the session's description, if the source has none.
    identifier : str, optional
        A fresh one is made unless given: no two files share one.
    """
    start = parse_time(source.get("session_start_time")) or datetime.now(timezone.utc).replace(microsecond=0)
    optional: dict[str, Any] = {name: str(source[name]) for name in SESSION_TEXTS if source.get(name)}
    optional |= {name: [str(item) for item in source[name]] for name in SESSION_LISTS if source.get(name)}
    experiment = optional.pop("experiment_description", None)
    if (reference := parse_time(source.get("timestamps_reference_time"))) is not None:
        optional["timestamps_reference_time"] = reference
    return NWBFile(
        session_description=str(source.get("session_description") or description),
        identifier=identifier or str(uuid4()),
        session_start_time=start,
        experiment_description=f"{description} The experiment: {experiment}" if experiment else description,
        was_generated_by=[["ndx-synapsnet", _own_version()]],
        subject=_subject(source.get("subject")),
        **optional,
    )


def _own_version() -> str:
    try:
        return version("ndx-synapsnet")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "unknown"


def parse_time(text: Any) -> datetime | None:
    """Return an ISO 8601 time, in UTC if it names no zone; None if there is none or it is none."""
    if isinstance(text, datetime):
        time = text
    else:
        try:
            # Python 3.10 knows no "Z"
            time = datetime.fromisoformat(re.sub(r"[Zz]$", "+00:00", str(text)))
        except ValueError:
            return None
    return time if time.tzinfo is not None else time.replace(tzinfo=timezone.utc)


def _subject(fields: Mapping[str, Any] | None) -> Subject | None:
    """Return the subject that a provenance describes; fields that NWB does not know are left out.

    A source whose subject has no id or sex gets the words for not knowing them, since they may not be empty.
    """
    if fields is None:
        return None
    known = {name: str(value) for name, value in fields.items() if name in _SUBJECT_FIELDS and value not in (None, "")}
    birth = parse_time(known.pop("date_of_birth", None))
    known = {"subject_id": "unknown", "sex": "U", **known}
    return Subject(**known, **({} if birth is None else {"date_of_birth": birth}))


def processing_module(nwbfile: NWBFile, name: Modality | str) -> Any:
    """Return the processing module called `name` (``ecephys``, ``ophys`` or ``behavior``), making it if need be."""
    if name in nwbfile.processing:
        return nwbfile.processing[name]
    return nwbfile.create_processing_module(name=name, description=_MODULES[name])


def is_made_here(module: Any) -> bool:
    """Return whether a processing module says of itself what `processing_module` writes into one that it makes."""
    return bool(module.description == _MODULES.get(module.name))
