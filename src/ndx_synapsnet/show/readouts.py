"""Group readouts as rows: for a table, a CSV file or JSON."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..metrics import DistanceConnectivity, GroupConnectivity, NeuronConnectivity
from ..session import Neurons

Row = dict[str, Any]


def group_rows(found: GroupConnectivity) -> list[Row]:
    """Return a row for each pair of groups that has a pair of neurons."""
    return [
        {
            "target": found.groups[target],
            "source": found.groups[source],
            "target_neurons": int(found.neurons[target]),
            "source_neurons": int(found.neurons[source]),
            "pairs": int(found.pairs[target, source]),
            "mean_weight": float(found.mean[target, source]),
            "standard_error": float(found.standard_error[target, source]),
            "mean_absolute_weight": float(found.mean_absolute[target, source]),
            "edge_share": float(found.edge_share[target, source]),
        }
        for target, source in np.argwhere(found.pairs > 0).tolist()
    ]


def distance_rows(found: DistanceConnectivity) -> list[Row]:
    """Return a row for each bin of distances."""
    return [
        {
            "distance": name,
            "from": float(found.edges[row, 0]),
            "to": float(found.edges[row, 1]),
            "mean_distance": float(found.distance[row]),
            "pairs": int(found.pairs[row]),
            "mean_weight": float(found.mean[row]),
            "standard_error": float(found.standard_error[row]),
            "mean_absolute_weight": float(found.mean_absolute[row]),
            "mean_absolute_error": float(found.mean_absolute_error[row]),
            "edge_share": float(found.edge_share[row]),
        }
        for row, name in enumerate(found.bins)
    ]


def neuron_rows(found: NeuronConnectivity, neurons: Neurons) -> list[Row]:
    """Return a row for each neuron, in their order."""
    columns: dict[str, Sequence[Any]] = {"neuron": neurons.id.tolist()}
    for name in ("region", "cell_type"):
        if (labels := getattr(neurons, name)) is not None:
            columns[name] = labels.tolist()
    for name in ("in_strength", "out_strength", "in_weight", "out_weight", "in_degree", "out_degree"):
        if (values := getattr(found, name)) is not None:
            columns[name] = values.tolist()
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def write_rows(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write rows as CSV, whole or not at all; an undefined number is an empty field.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(rows[0] if rows else ())
            writer.writerows([_field(value) for value in row.values()] for row in rows)
        os.replace(part, path)
    except OSError as error:
        raise InputError(f"cannot be written ({error.strerror or error})", where=str(path)) from error
    finally:
        part.unlink(missing_ok=True)


def _field(value: Any) -> Any:
    if isinstance(value, float):
        return f"{value:.9g}" if math.isfinite(value) else ""
    return value
