"""Finds the recording that a result was learned from and reads it again, with the same settings and neurons."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import InputError
from ..session import FitResult, Session, from_mapping
from .readers import ReadConfig, read_planes, read_session


def read_original(result: FitResult, path: Path | str | None = None) -> Session:
    """Read the recording behind a result again, restricted to the fit's neurons and in their order.

    Parameters
    ----------
    result : FitResult
        The fit; its provenance says where the recording is and how it was read.
    path : Path or str, optional
        The recording, if it is no longer where the provenance says.

    Raises
    ------
    InputError
        If the recording is out of reach, or does not hold the fit's neurons and samples.
    """
    source = result.provenance.get("source", {})
    uri = str(path if path is not None else source.get("uri", ""))
    config = from_mapping(ReadConfig, source.get("read_config", {}), where="the result's provenance")
    files = [record["uri"] for record in source.get("files", [])] if path is None else []
    session = read_planes(files, config) if files else read_session(uri, config)
    place = {name: row for row, name in enumerate(session.neurons.id)}
    missing = [name for name in result.neurons.id if name not in place]
    if missing or session.n_samples != len(result.split):
        raise InputError(
            f"is not the recording of this result ({len(missing)} of its {len(result.neurons)} neurons are missing, "
            f"{session.n_samples} samples against {len(result.split)})",
            where=uri,
            remedy="Name the recording that the result was learned from.",
        )
    return session.select(np.array([place[name] for name in result.neurons.id]))
