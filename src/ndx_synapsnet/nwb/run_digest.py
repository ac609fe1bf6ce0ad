"""Recognises a run: one digest of everything that decides it, from what a file keeps or before a fit is begun.

In it are the settings, how the recording was read, and which recording it is, known by the ids in its file. Not in it
are the device, times, addresses and the software: the same work done elsewhere or again is the same run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any


def run_digest(
    config: Mapping[str, Any], source: Mapping[str, Any], *, samples: int, sessions: Sequence[str] = ()
) -> str | None:
    """Return what a run is recognised by.

    Parameters
    ----------
    config : mapping
        The configuration, as `FitResult.config` holds it.
    source : mapping
        The session's provenance.
    samples : int
        T, the session's samples.
    sessions : sequence of str
        What `session_digest` says of every session that is fitted together with this one, itself among them, in
        order; may be left out for one alone.

    Returns
    -------
    str or None
        A SHA-256 in hexadecimal digits; None if the source does not say which recording it is.
    """
    own = session_digest(source)
    if own is None:
        return None
    settings = {name: value for name, value in config.items() if name != "recipe"}
    training = settings.get("train")
    if isinstance(training, Mapping):
        settings["train"] = {name: value for name, value in training.items() if name != "device"}
    model = settings.get("model")
    if settings.get("penalty_grid") and isinstance(model, Mapping):  # what of the grid was best is found by the fit
        settings["model"] = {name: value for name, value in model.items() if name != "penalty_weight"}
    return _digest({"settings": settings, "session": own, "samples": int(samples), "sessions": list(sessions) or [own]})


def session_digest(source: Mapping[str, Any]) -> str | None:
    """Return what tells a recording, read in one way, from others; None if its provenance does not say which it is.

    Parameters
    ----------
    source : mapping
        The session's provenance.
    """
    files = [record for record in source.get("files") or [source] if isinstance(record, Mapping)]
    ids = [[str(record.get(name) or "") for name in ("identifier", "file_object_id")] for record in files]
    if not all(any(pair) for pair in ids):
        return None
    reading = source.get("read_config")
    objects = [[str(item.get("object_id")) for item in source.get(kind) or []] for kind in ("series", "behavior")]
    return _digest(
        {
            "files": ids,
            "objects": objects,
            "reader": source.get("reader"),  # the adapter, whether it was asked for or found
            "reading": {n: v for n, v in reading.items() if n != "adapter"} if isinstance(reading, Mapping) else None,
        }
    )


def recorded_digest(config: Mapping[str, Any], provenance: Mapping[str, Any], *, samples: int) -> str | None:
    """Return what a run that is done is recognised by; None if that is not recorded, or it was interrupted.

    Parameters
    ----------
    config, provenance : mapping
        As `FitResult` has them. Of several sessions that version 0.1.0 fitted together, it has the names only.
    samples : int
        T, the session's samples.
    """
    if provenance.get("interrupted"):
        return None
    labels = [str(label) for label in provenance.get("sessions_in_run") or []]
    names = [PurePath(label).name for label in labels] if len(labels) > 1 else []
    sessions = [str(each) for each in provenance.get("session_digests") or names]
    return run_digest(config, provenance.get("source") or {}, samples=samples, sessions=sessions)


def stored_digest(node: Any) -> str | None:
    """Return what a stored run is recognised by; None if it does not say, or is damaged.

    Parameters
    ----------
    node : FitProvenance
        The object, of an open file.
    """
    try:
        config, record = json.loads(node.config), json.loads(node.record)
        return recorded_digest(config, record, samples=sum(int(n) for n in node.split_length[:]))
    except (TypeError, ValueError, AttributeError, RecursionError):
        return None


def _digest(value: Any) -> str:
    text = json.dumps(_canonical(value), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _canonical(value: Any) -> Any:
    """Return a value without what is not set: a later version may have more settings that can be left out."""
    if isinstance(value, Mapping):
        return {str(key): _canonical(item) for key, item in value.items() if item is not None}
    if isinstance(value, (list, tuple)):
        return [_canonical(item) for item in value]
    return value
