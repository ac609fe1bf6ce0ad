"""From cells to tables: means over networks, and paired tests against SynapsNet. All that comes out is JSON-able."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...metrics import compare_models, summarize
from ..paper.cells import plain
from .cells import Job
from .methods import METHODS

RECOVERY = ("r", "average_precision", "auroc", "precision", "sign_accuracy")
#: What is averaged: figures of recovery, of the forecast, and the cost.
MEASURES = (*RECOVERY, "chance", "correlation", "mse", "seconds", "components")
#: What is tested.
TESTED = ("r", "average_precision", "correlation")
REFERENCE = "synapsnet"

#: By job, by method, the record of the cell.
Records = Sequence[tuple[Job, Mapping[str, Mapping[str, Any]]]]


def tabulate(records: Records) -> list[dict[str, Any]]:
    """Return a group for each kind and place on the axis.

    Parameters
    ----------
    records : sequence of (Job, mapping)
        Each job of a part with its records, as far as there are any.

    Returns
    -------
    list of dict
        ``kind``, ``value``, ``units`` (names of what is averaged over) and ``rows``: of each method and variant
        ``method``, ``variant``, ``title``, for each of `MEASURES` ``mean``, ``sem`` and ``by_unit``, ``units``
        (z-scored and source units' r), ``failed`` (reasons by unit), and ``tests``: SynapsNet's paired tests against
        it, Holm-corrected over the rows, by measure.
    """
    groups = []
    for kind, value in dict.fromkeys((job.case.kind, job.case.value) for job, _ in records):
        own = [(job, found) for job, found in records if (job.case.kind, job.case.value) == (kind, value)]
        units = list(dict.fromkeys(job.case.unit for job, _ in own))
        keys = dict.fromkeys((method, job.case.variant) for job, _ in own for method in job.methods)
        ordered = sorted(keys, key=lambda key: list(METHODS).index(key[0]))  # stable: variants in their order
        rows = [row for key in ordered if (row := _row(*key, own, units)) is not None]
        _test(rows)
        groups.append({"kind": kind, "value": value, "units": units, "rows": rows})
    return groups


def _row(method: str, variant: str, records: Records, units: Sequence[str]) -> dict[str, Any] | None:
    found = {job.case.unit: by_method[method] for job, by_method in records
             if job.case.variant == variant and method in by_method}  # fmt: skip
    if not found:
        return None
    title = METHODS[method].title
    row: dict[str, Any] = {
        "method": method,
        "variant": variant,
        "title": f"{title}, {variant}" if variant else title,
        "failed": {unit: record["failed"] for unit, record in found.items() if "failed" in record},
    }
    done = {unit: record for unit, record in found.items() if "failed" not in record}
    for measure in MEASURES:
        row[measure] = _summary([_value(done.get(unit), measure) for unit in units])
    for part in ("source_units", "z_scored"):
        row[f"r_{part}"] = _summary([_number(done[unit][part]["r"]) if unit in done else np.nan for unit in units])
    return row


def _value(record: Mapping[str, Any] | None, measure: str) -> float:
    if record is None:
        return np.nan
    source = record["recovery"] if measure in (*RECOVERY, "chance") else record
    return _number(source.get(measure))


def _number(value: float | None) -> float:
    return np.nan if value is None else float(value)


def _summary(values: Sequence[float]) -> dict[str, Any]:
    summary = summarize(values)
    return {"mean": summary.mean, "sem": summary.sem, "by_unit": plain(values)}


def _test(rows: list[dict[str, Any]]) -> None:
    """Add to each row the paired tests of SynapsNet against it; of several variants against SynapsNet's first."""
    first = next((row for row in rows if row["method"] == REFERENCE), None)
    for row in rows:
        row["tests"] = {}
    if first is None:
        return
    others = [row for row in rows if row is not first]
    for measure in TESTED:
        values = {row["title"]: [_number(v) for v in row[measure]["by_unit"]] for row in rows}
        tests = compare_models(values, reference=first["title"])
        for row, test in zip(others, tests, strict=True):
            row["tests"][measure] = {
                "difference": test.difference,
                "units": test.units,
                **{
                    name: None if (v := getattr(test, name)) is None else plain(v) for name in ("t", "p", "p_corrected")
                },
            }
