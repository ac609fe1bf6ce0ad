"""What is to be known of the runs in a file without reading them: for a list of many files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..errors import InputError
from .checks import MOST_NEURONS, read_numbers
from .neuron_table import read_predictors
from .run_digest import stored_digest
from .runs import fits, list_runs, run_path
from .sources import OpenedFile


@dataclass(frozen=True)
class RunRecord:
    """One run."""

    run: str
    """Its name."""
    path: str
    """Where it is in the file."""
    model: str
    finished: str
    """End of the fit, ISO 8601; empty where it is not recorded."""
    interrupted: bool
    """Whether training was stopped before its end."""
    neurons: int
    trustworthy: bool
    verdict: str
    correlation: float | None
    """Mean over neurons of the forecast's correlation on the test part."""
    mse: float | None
    """The same of its mean squared error, in z-scored units."""
    bytes: int | None
    """Room that its arrays take in the file, compressed as they are; None where that cannot be told."""
    digest: str | None
    """What it is recognised by (see `run_digest`); None if it does not say which recording it is of."""


def run_records(opened: OpenedFile) -> list[RunRecord]:
    """Return a record of every run in an open file, the latest last. A damaged one has gaps in its record.

    Parameters
    ----------
    opened : OpenedFile
        The file.
    """
    found = fits(opened.nwbfile)
    return [_record(opened, name, found[name][1]) for name in list_runs(opened.nwbfile)]


def _record(opened: OpenedFile, name: str, fit: Any) -> RunRecord:
    path = run_path(opened.nwbfile, name)
    return RunRecord(
        run=name,
        path=path,
        model=str(fit.model or ""),
        finished=str(fit.provenance.finished or ""),
        interrupted=bool(fit.provenance.interrupted),
        neurons=0 if fit.neurons is None else len(fit.neurons),
        trustworthy=bool(fit.trustworthy),
        verdict=str(fit.verdict or ""),
        correlation=_mean_score(fit.neurons, "correlation"),
        mse=_mean_score(fit.neurons, "mse"),
        bytes=stored_bytes(opened, path),
        digest=stored_digest(fit.provenance),
    )


def _mean_score(table: Any, column: str) -> float | None:
    """Return the mean of a score of the model over neurons; None where there is none."""
    if table is None or column not in table.colnames or not read_predictors(table):
        return None
    try:
        values = read_numbers(table[column].data, column, where="neurons", kinds="f", limit=MOST_NEURONS)
    except InputError:
        return None
    if not np.isfinite(values).any():
        return None
    return float(np.nanmean(values, dtype=np.float64))


def stored_bytes(opened: OpenedFile, path: str) -> int | None:
    """Return the room that the arrays of an object take in its file; None where that cannot be told.

    Parameters
    ----------
    opened : OpenedFile
        The file.
    path : str
        The object in it.
    """
    root = getattr(opened.nwbfile.read_io, "_file", None)
    if opened.format == "hdf5" and isinstance(root, h5py.File):  # lindi's is of a class made from it
        sizes: list[int] = []

        def add(_: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                sizes.append(item.id.get_storage_size())

        root[path].visititems(add)
        return sum(sizes)
    folder = Path(opened.uri, path)
    if opened.format != "zarr" or not folder.is_dir():
        return None
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
