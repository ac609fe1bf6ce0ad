"""What people say of subject and session where the source file does not: a YAML file and options → its provenance."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..session import Session
from .metadata import SESSION_LISTS, SESSION_TEXTS, parse_time

#: What may be supplied of the subject.
SUBJECT_FIELDS = (
    "subject_id",
    "species",
    "sex",
    "age",
    "date_of_birth",
    "strain",
    "genotype",
    "weight",
    "description",
)
_TIMES = ("session_start_time", "date_of_birth")
_SESSION_FIELDS = (*SESSION_TEXTS, *SESSION_LISTS, "session_description", "session_start_time")
#: What a file may say that is as good as nothing.
_UNKNOWN = {"sex": ("U",), "subject_id": ("unknown",)}
#: What DANDI requires of a subject, and how a field may be given; the first of each is its name in messages.
_REQUIRED = {
    "subject_id": ("subject_id",),
    "species": ("species",),
    "sex": ("sex",),
    "age or date_of_birth": ("age", "date_of_birth"),
}


def load_supplied(file: str | os.PathLike[str] | None = None, **options: str | None) -> dict[str, Any]:
    """Return what a metadata file and options say, in the shape of a session's provenance.

    Parameters
    ----------
    file : path, optional
        YAML: fields of the session (``session_id``, ``institution``, ...) and a section ``subject`` (``subject_id``,
        ``species``, ``sex``, ``age``, ...), named as in NWB.
    **options : str, optional
        The same fields, one by one; they go before the file's.

    Returns
    -------
    dict
        Fields of the session, as text or lists of text, and ``subject``, a dict of text; only what was given.

    Raises
    ------
    InputError
        If the file is no such YAML, has other fields, or a value is of a form that NWB or DANDI does not take.
    """
    where = "command line" if file is None else os.fspath(file)
    values = {} if file is None else _read_yaml(Path(file))
    subject = values.pop("subject", None) or {}
    if not isinstance(subject, Mapping):
        raise InputError("section subject does not hold fields", where=where, remedy="Write fields such as species:")
    _require_known(values, (*_SESSION_FIELDS, "subject"), where)
    _require_known(subject, SUBJECT_FIELDS, f"{where}, subject")
    given = {name: value for name, value in options.items() if value is not None}
    values |= {name: value for name, value in given.items() if name not in SUBJECT_FIELDS}
    subject = {**subject, **{name: value for name, value in given.items() if name in SUBJECT_FIELDS}}
    found: dict[str, Any] = {
        name: _texts(name, value, where) if name in SESSION_LISTS else _text(name, value, where)
        for name, value in values.items()
        if value is not None
    }
    described = {name: _text(name, value, where) for name, value in subject.items() if value is not None}
    _require_form(described, where)
    return found | ({"subject": described} if described else {})


def _read_yaml(file: Path) -> dict[Any, Any]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        values = YAML(typ="safe", pure=True).load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read ({error})", where=str(file)) from error
    except YAMLError as error:
        raise InputError(f"is not YAML ({error})", where=str(file)) from error
    if values is not None and not isinstance(values, dict):
        raise InputError("does not hold fields", where=str(file), remedy="Write fields such as session_id: s1")
    return values or {}


def _require_known(values: Mapping[Any, Any], known: tuple[str, ...], where: str) -> None:
    unknown = sorted(str(name) for name in values if name not in known)
    if unknown:
        raise InputError(f"unknown field {', '.join(unknown)}", where=where, remedy=f"Known: {', '.join(known)}.")


def _text(name: str, value: Any, where: str) -> str:
    text = value.isoformat() if isinstance(value, date) else value
    if not isinstance(text, str) or not text.strip():
        raise InputError(f"{name} is {value!r}, expected text", where=where, remedy="Put it in quotation marks.")
    text = text.strip()
    if name in _TIMES and parse_time(text) is None:
        raise InputError(f"{name} is {text!r}, expected a time such as 2024-05-01T10:00:00+02:00", where=where)
    if name in ("subject_id", "session_id") and "/" in text:
        raise InputError(f"{name} is {text!r}, and DANDI takes none with '/'", where=where)
    return text


def _texts(name: str, value: Any, where: str) -> list[str]:
    return [_text(name, item, where) for item in (value if isinstance(value, list) else [value])]


def _require_form(subject: Mapping[str, str], where: str) -> None:
    """Raise if a value has not the form that the archive's inspector wants."""
    for fault in _faults({name: value for name, value in subject.items() if name in ("age", "sex", "species")}):
        raise InputError(fault.rstrip("."), where=where)


def _faults(subject: Mapping[str, str]) -> list[str]:
    """Return what the inspector says of the form of those fields of a subject that are there."""
    if not subject:
        return []
    from nwbinspector.checks import check_subject_age, check_subject_sex, check_subject_species_form
    from pynwb.file import Subject

    checks = {"age": check_subject_age, "sex": check_subject_sex, "species": check_subject_species_form}
    found = [check(Subject(**{name: subject[name]})) for name, check in checks.items() if name in subject]
    return [str(message.message) for message in found if message is not None]


def complete(record: Mapping[str, Any], supplied: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    """Return a session's provenance with what was supplied, where the source says nothing.

    A sex of ``U`` and a subject called ``unknown`` say nothing.

    Parameters
    ----------
    record : mapping
        The provenance (see `nwb.readers`).
    supplied : mapping
        See `load_supplied`.
    where : str
        The source, for messages.

    Returns
    -------
    dict
        Its list ``supplied`` names the fields that are not from the source, if there are any.

    Raises
    ------
    InputError
        If the source says something else.
    """
    subject = dict(record.get("subject") or {})
    top = {name: value for name, value in supplied.items() if name != "subject"}
    new = _lacking(record, top, where)
    new_subject = _lacking(subject, supplied.get("subject") or {}, where)
    answer = {**record, **new}
    if new_subject:
        answer["subject"] = {**subject, **new_subject}
    names = [*new, *(f"subject.{name}" for name in new_subject)]
    return {**answer, "supplied": names} if names else answer


def _lacking(record: Mapping[str, Any], supplied: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return of what is supplied that which the source does not say."""
    new = {}
    for name, value in supplied.items():
        said = record.get(name)
        if not said or said in _UNKNOWN.get(name, ()):
            new[name] = value
        elif not _agree(name, said, value):
            raise InputError(
                f"{name} is {said!r} in the recording, and {value!r} was given",
                where=where,
                remedy="Leave it out, or correct the recording: what that says is not overridden.",
            )
    return new


def _agree(name: str, said: Any, value: Any) -> bool:
    if name in _TIMES:
        return parse_time(said) == parse_time(value)
    return list(said) == value if isinstance(value, list) else str(said) == value


def with_supplied(session: Session, supplied: Mapping[str, Any]) -> Session:
    """Return a session whose provenance is completed by `complete`.

    Raises
    ------
    InputError
        If its source says something else.
    """
    if not supplied:
        return session
    return replace(
        session, provenance=complete(session.provenance, supplied, where=str(session.provenance.get("uri") or ""))
    )


def lacks_for_dandi(record: Mapping[str, Any]) -> list[str]:
    """Return the names of what DANDI requires and a session's provenance does not say."""
    subject = record.get("subject") or {}
    return [label for label, names in _REQUIRED.items() if not any(subject.get(name) for name in names)]


def odd_for_dandi(record: Mapping[str, Any]) -> list[str]:
    """Return sentences about what a session's provenance says in a form that DANDI does not take."""
    said = record.get("subject") or {}
    return _faults({name: str(said[name]) for name in ("age", "sex", "species") if said.get(name)})
