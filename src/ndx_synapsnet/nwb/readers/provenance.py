"""Where a session comes from, as plain values that JSON can hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import date
from typing import Any

from pynwb import NWBFile

from ...session import from_mapping
from ..metadata import SESSION_LISTS, SESSION_TEXTS
from .config import ReadConfig


def plain(value: Any) -> Any:
    """Return lists for tuples, all the way down."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (tuple, list)) else value


def config_record(config: ReadConfig) -> dict[str, Any]:
    """Return a configuration that `ReadConfig` takes back: ``ReadConfig(**config_record(config))`` is equal."""
    record: dict[str, Any] = plain(asdict(config))
    record["behavior"] = record["behavior"] or ["none"]
    return record


def with_settings(config: ReadConfig | None, settings: Mapping[str, Any]) -> ReadConfig:
    """Return `config`, by default the defaults, with some of its fields replaced.

    Raises
    ------
    InputError
        If a setting is none of `ReadConfig`, or refused by it.
    """
    config = config or ReadConfig()
    if not settings:
        return config
    return from_mapping(ReadConfig, {**config_record(config), **settings}, where="settings of the reader")


def file_record(nwbfile: NWBFile) -> dict[str, Any]:
    """Return what the file says about itself; of the session's description only what is set."""
    record: dict[str, Any] = {
        "identifier": str(nwbfile.identifier),
        "session_id": _text(nwbfile.session_id) or None,
        "session_description": _text(nwbfile.session_description),
        "session_start_time": _moment(nwbfile.session_start_time) or None,
        "timestamps_reference_time": _moment(nwbfile.timestamps_reference_time) or None,
        "file_object_id": str(nwbfile.object_id),
        "subject": subject_record(nwbfile),
    }
    where_set: dict[str, Any] = {name: _text(getattr(nwbfile, name)) for name in SESSION_TEXTS if name not in record}
    where_set |= {name: _texts(getattr(nwbfile, name)) for name in SESSION_LISTS}
    return record | {key: value for key, value in where_set.items() if value}


def subject_record(nwbfile: NWBFile) -> dict[str, str] | None:
    """Return the subject's fields that are set, as text; None without a subject."""
    if nwbfile.subject is None:
        return None
    fields = {name: _moment(value) or _text(value) for name, value in nwbfile.subject.fields.items()}
    return {name: text for name, text in fields.items() if text}


def subject_label(nwbfile: NWBFile) -> str:
    """Return what a neuron's identity begins with: the subject's id, else the file's identifier."""
    return (subject_record(nwbfile) or {}).get("subject_id") or str(nwbfile.identifier)


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _moment(value: Any) -> str:
    return value.isoformat() if isinstance(value, date) else ""


def _texts(values: Iterable[Any] | None) -> list[str]:
    if isinstance(values, str):
        values = [values]
    return [text for value in (values if values is not None else ()) if (text := _text(value))]
