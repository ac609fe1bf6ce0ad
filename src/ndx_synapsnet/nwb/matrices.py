"""Connectivity matrices ↔ `FunctionalConnectivity`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..session import Connectivity
from .layout import Layout
from .types import FunctionalConnectivity, NeuronEmbeddings

GROUND_TRUTH = "ground_truth"
#: Matrices with a smaller part of non-zero weights than this, and at least `SPARSE_ROWS` rows, are stored as edges.
SPARSE_DENSITY = 0.1
SPARSE_ROWS = 128

_EXCITES = "Positive: activity of the source raises that of the target; negative: it lowers it."
_ARBITRARY = "Arbitrary: the sign is fixed only together with the decoder that the weights were learned with."


def all_rows(table: NeuronEmbeddings, name: str) -> Any:
    """Return a region called `name` of all rows of a neuron table; every axis needs one of its own."""
    return table.create_region(name=name, region=list(range(len(table))), description=f"All neurons, as {name}.")


def build_matrix(
    name: str, matrix: Connectivity, table: NeuronEmbeddings, layout: Layout, *, raw: bool = False
) -> FunctionalConnectivity:
    """Make the `FunctionalConnectivity` of a matrix over all neurons of `table`.

    Parameters
    ----------
    name : str
        Name of the object.
    matrix : Connectivity
        N targets by N sources.
    table : NeuronEmbeddings
        The N neurons.
    layout : Layout
        How arrays are to lie on disk.
    raw : bool
        Whether these are a network's own parameters, whose sign is arbitrary.
    """
    uncertainty = {
        field: layout(value)
        for field in ("standard_error", "p_value", "q_value")
        if (value := getattr(matrix, field)) is not None
    }
    dense = matrix.weights
    # signs of zero are not kept by the list of edges; nobody reads them
    edges = np.nonzero(dense)
    sparse = not uncertainty and len(dense) >= SPARSE_ROWS and len(edges[0]) < SPARSE_DENSITY * dense.size
    weights: dict[str, NDArray[Any]] = (
        {"edge_target": edges[0], "edge_source": edges[1], "edge_weight": dense[edges]}
        if sparse and len(edges[0])
        else {"weights": dense}
    )
    return FunctionalConnectivity(
        name=name,
        method=matrix.method,
        description=matrix.description or None,
        sign_convention=_ARBITRARY if raw and not matrix.gain_normalized else _EXCITES,
        lag=int(matrix.lag),
        lag_seconds=None if np.isnan(matrix.lag_seconds) else float(matrix.lag_seconds),
        gain_normalized=bool(matrix.gain_normalized),
        diagonal=matrix.diagonal,
        targets=all_rows(table, "targets"),
        sources=all_rows(table, "sources"),
        **{field: layout(value) for field, value in weights.items()},
        **uncertainty,
    )


def read_matrix(node: FunctionalConnectivity, n_neurons: int, *, where: str) -> Connectivity:
    """Return a matrix as it was written.

    Parameters
    ----------
    node : FunctionalConnectivity
        The object, of an open file.
    n_neurons : int
        How many neurons the table has that it refers to.
    where : str
        The file and object, for messages.

    Raises
    ------
    InputError
        If it does not cover all neurons in the table's order, or its parts do not fit together.
    """
    for axis in ("targets", "sources"):
        require_all_rows(getattr(node, axis), n_neurons, where=f"{where}/{axis}")
    uncertainty = {
        field: np.asarray(value[:], dtype=np.float32)
        for field in ("standard_error", "p_value", "q_value")
        if (value := getattr(node, field)) is not None
    }
    try:
        weights = node.dense()
        if weights.shape != (n_neurons, n_neurons):
            raise ValueError(f"weights has shape {weights.shape}, expected {(n_neurons, n_neurons)}")
        return Connectivity(
            weights=weights,
            method=str(node.method),
            description=str(node.description or ""),
            lag=1 if node.lag is None else int(node.lag),
            lag_seconds=float("nan") if node.lag_seconds is None else float(node.lag_seconds),
            gain_normalized=bool(node.gain_normalized),
            diagonal="learned" if node.diagonal == "learned" else "zero",
            **uncertainty,
        )
    except (ValueError, TypeError, IndexError) as error:
        raise InputError(str(error), where=where) from error


def require_all_rows(region: Any, n_neurons: int, *, where: str) -> None:
    """Raise unless a region names all rows of the neuron table, in order.

    Raises
    ------
    InputError
        With the region in `where` at fault.
    """
    rows = np.asarray(region.data[:])
    if rows.shape != (n_neurons,) or not np.array_equal(rows, np.arange(n_neurons)):
        raise InputError(
            f"the region does not name all {n_neurons} rows of the neuron table in order",
            where=where,
            remedy="Read this object with pynwb itself.",
        )
