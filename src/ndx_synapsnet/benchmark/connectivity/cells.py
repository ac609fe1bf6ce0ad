"""One cell: an estimator on one case. It is a file, named by a digest of all that decides its numbers.

The cells of a case run together: they share its simulation, its windows and its hidden drive.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ...metrics import precision_at, recovery
from ...provenance import software_versions
from ..paper.cells import plain
from ..record import write_json
from .cases import Case
from .methods import METHODS, Estimate, Prepared

_FORMAT = 1


@dataclass(frozen=True)
class Job:
    """The cells of one case."""

    case: Case
    methods: tuple[str, ...]
    """Of `METHODS`."""

    @property
    def name(self) -> str:
        """For people."""
        value = "" if self.case.value is None else f"{self.case.value:g}"
        return ", ".join(part for part in (self.case.kind, self.case.unit, value, self.case.variant) if part)


def identity(case: Case, method: str) -> dict[str, Any]:
    """Return all that decides a cell's numbers but the code itself, JSON-able."""
    versions = software_versions()
    return {
        "format": _FORMAT,
        "case": case.identity(),
        "method": method,
        "settings": METHODS[method].settings(),
        "software": {name: versions[name] for name in ("ndx-synapsnet", "torch", "numpy")},
    }


def cell_path(case: Case, method: str, folder: Path) -> Path:
    """Return a cell's file."""
    text = json.dumps(identity(case, method), sort_keys=True)
    return folder / f"{method}-{hashlib.sha256(text.encode()).hexdigest()[:24]}.json"


def finished(case: Case, method: str, folder: Path) -> dict[str, Any] | None:
    """Return what an earlier run left of a cell."""
    try:
        record = json.loads(cell_path(case, method, folder).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and {"recovery", "seconds"} <= record.keys() else None


def run_job(job: Job, folder: Path, *, progress: bool | None = False) -> dict[str, Any]:
    """Run the cells of a case, and write each one's file as it is done.

    Returns
    -------
    dict
        By method the record as in the file, or only ``failed``, a sentence; then there is no file, and a later run
        tries again.
    """
    try:
        prepared = Prepared(job.case.load())
    except InputError as error:
        return {method: {"failed": str(error)} for method in job.methods}
    records = {}
    for method in job.methods:
        try:
            record = _measure(method, prepared)
        except InputError as error:
            records[method] = {"failed": str(error)}
            continue
        except (RuntimeError, ValueError, ArithmeticError, MemoryError) as error:  # one method's fault is its own
            records[method] = {"failed": f"{type(error).__name__}: {error}"}
            continue
        path = cell_path(job.case, method, folder)
        write_json(path, {"identity": identity(job.case, method), **record}, finite=True)
        records[method] = record
    return records


def _measure(method: str, prepared: Prepared) -> dict[str, Any]:
    own = prepared.drive[1] if METHODS[method].drive else 0.0
    begin = time.perf_counter()
    estimate = METHODS[method].run(prepared)
    seconds = time.perf_counter() - begin + own
    return {"seconds": seconds, **score(estimate, prepared)}


def score(estimate: Estimate, prepared: Prepared) -> dict[str, Any]:
    """Compare an estimate with the wiring, in both units, and its forecast with the test samples.

    Returns
    -------
    dict
        ``recovery``, in the unit that is right: of counts that of a source's spike, else z-scored; ``source_units``
        and ``z_scored``; ``precision_at``; ``correlation`` and ``mse`` of the forecast, means over the ``neurons``
        that are scored; ``samples`` of the test part; and what the estimate says itself.
    """
    weights = np.asarray(estimate.weights, np.float64)
    among = np.ix_(prepared.scored, prepared.scored)
    in_source, z_scored = (prepared.windows.normalization.effect_scale * weights)[among], weights[among]
    natural = in_source if prepared.session.activity_kind == "spike_counts" else z_scored
    return {
        "recovery": _recovery(natural, prepared.truth),
        "source_units": _recovery(in_source, prepared.truth),
        "z_scored": _recovery(z_scored, prepared.truth),
        "precision_at": [
            {"count": each.count, "fraction": each.fraction, "precision": plain(each.precision)}
            for each in precision_at(natural, prepared.truth)
        ],
        "correlation": plain(_mean(estimate.scores.correlation[prepared.scored])),
        "mse": plain(_mean(estimate.scores.mse[prepared.scored])),
        "neurons": len(prepared.truth),
        "samples": len(prepared.windows.targets["test"]),
        **estimate.facts,
    }


def _recovery(weights: NDArray[np.float64], truth: NDArray[np.float64]) -> dict[str, Any]:
    return {name: plain(value) for name, value in recovery(weights, truth).items()}


def _mean(values: NDArray[np.floating]) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean(dtype=np.float64)) if len(known) else float("nan")
