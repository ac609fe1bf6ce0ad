"""Finds the recording that a result was learned from and reads it again, with the same settings and neurons."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..session import FitResult, Session, from_mapping
from .provenance import stated_digest
from .readers import ReadConfig, read_planes, read_session
from .sources.remote.options import current_options


def read_original(result: FitResult, path: Path | str | None = None) -> Session:
    """Read the recording behind a result again, restricted to the fit's neurons and in their order.

    Parameters
    ----------
    result : FitResult
        The fit; its provenance says where the recording is and how it was read.
    path : Path or str, optional
        The recording, if it is no longer where the provenance says; needed for one that was on a web server or in a
        bucket, for what a result's file says is no reason to ask any server.

    Raises
    ------
    InputError
        If the recording is out of reach, has changed in its archive, or does not hold the fit's neurons and samples.
    """
    source = result.provenance.get("source", {})
    config = from_mapping(ReadConfig, source.get("read_config", {}), where="the result's provenance")
    files = source.get("files", []) if path is None else []
    records = files or [source]
    if path is None:
        for record in records:
            _require_ours(record)
    places = [source_address(record) if path is None else os.fspath(path) for record in records]
    session = read_planes(places, config) if files else read_session(places[0], config)
    again = session.provenance.get("files") or [session.provenance]
    for record, now in zip(records, again, strict=False):
        if _changed(record, now):
            raise InputError(
                "there is another content here than the one that was fitted",
                where=str(now.get("uri")),
                remedy="Name a copy of that one, or fit the new one",
            )
    place = {name: row for row, name in enumerate(session.neurons.id)}
    missing = [name for name in result.neurons.id if name not in place]
    if missing or session.n_samples != len(result.split):
        raise InputError(
            f"is not the recording of this result ({len(missing)} of its {len(result.neurons)} neurons are missing, "
            f"{session.n_samples} samples against {len(result.split)})",
            where=str(session.provenance.get("uri")),
            remedy="Name the recording that the result was learned from.",
        )
    return session.select(np.array([place[name] for name in result.neurons.id]))


def find_original(result: FitResult, file: Path | str, source: Path | str | None = None) -> Session:
    """Read the recording behind a result again: `source`, or where the result says, or in the result's own file.

    Parameters
    ----------
    result : FitResult
        The fit.
    file : Path or str
        The file that the result is in; it may hold the recording, and have been moved.
    source : Path or str, optional
        The recording, if it is neither there nor where the result says.

    Raises
    ------
    InputError
        As `read_original`; if it is in none of these places, about the one that the result names.
    """
    if source is not None:
        return read_original(result, source)
    try:
        return read_original(result)
    except InputError as error:
        try:
            return read_original(result, file)
        except InputError:
            raise error from None


def _require_ours(record: Mapping[str, Any]) -> None:
    """Refuse to ask a server only because a result names it; archives that are known are another matter."""
    from .sources import LocalAddress, address_of
    from .sources.uri import DandiAddress

    address = address_of(source_address(record))
    if not isinstance(address, (LocalAddress, DandiAddress)):
        raise InputError(
            "the recording is on a server, which is not asked only because a result names it",
            where=str(address),
            remedy=f"If it is to be trusted, name it: --source {address}",
        )


def _changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Return whether the records of a file's two readings tell of different contents."""
    then, found = before.get("remote") or {}, now.get("remote") or {}
    digests = stated_digest(then), stated_digest(found)
    if all(digests):
        return digests[0] != digests[1]
    keys = then.get("content_key"), found.get("content_key")  # of no meaning but at the same address
    return before.get("uri") == now.get("uri") and all(keys) and keys[0] != keys[1]


def source_address(record: Mapping[str, Any]) -> str:
    """Return the address by which a recording is found again: of an archive's asset, the version that was read.

    Parameters
    ----------
    record : mapping
        A session's provenance, or the part of it about one of its files.

    Raises
    ------
    InputError
        If it says no place, or an archive that is neither known nor the one of the options in force: what a file says
        is no reason to ask any server.
    """
    uri, remote = str(record.get("uri") or ""), record.get("remote") or {}
    if not uri:
        raise InputError("its provenance does not say where the recording is", remedy="Name the recording")
    if not (remote.get("dandiset") and remote.get("version") and remote.get("path")):
        return uri
    from .sources.dandi import of_instance
    from .sources.uri import DandiAddress, known_instances

    api, name = str(remote.get("api") or ""), str(remote.get("archive") or "")
    ours = of_instance(current_options().instance)
    instance = name if name in known_instances() else api
    if instance not in known_instances() and instance != ours:
        raise InputError(
            f"the recording is in an archive that is not known ({api or name})",
            where=uri,
            remedy="If it is to be trusted, name it (--instance)",
        )
    return str(DandiAddress(instance, str(remote["dandiset"]), str(remote["version"]), str(remote["path"])))
