"""Connectivity matrices ↔ `FunctionalConnectivity`."""

from __future__ import annotations

from typing import Any

import numpy as np
from hdmf.common import DynamicTableRegion
from numpy.typing import NDArray

from ..errors import InputError
from ..session import Connectivity
from .checks import as_text, read_number, read_numbers, read_truth, read_whole, require_memory
from .layout import Layout
from .types import FunctionalConnectivity, NeuronEmbeddings

GROUND_TRUTH = "ground_truth"
#: Matrices with a smaller part of non-zero weights than this, and at least `SPARSE_ROWS` rows, are stored as edges.
SPARSE_DENSITY = 0.1
SPARSE_ROWS = 128

_EXCITES = "Positive: activity of the source raises that of the target; negative: it lowers it."
_BY_HAND = "Read this object with pynwb itself."
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
        require_all_rows(node, axis, n_neurons, where=where)
    shape = (n_neurons, n_neurons)
    require_memory(4 * n_neurons**2, f"a matrix of {n_neurons} neurons", where=where)
    uncertainty = {
        field: read_numbers(value, field, where=where, shape=shape, kinds="f").astype(np.float32)
        for field in ("standard_error", "p_value", "q_value")
        if (value := getattr(node, field)) is not None
    }
    try:
        return Connectivity(
            weights=_weights(node, n_neurons, where),
            method=as_text(node.method),
            description="" if node.description is None else as_text(node.description),
            lag=read_whole(node.lag, "lag", 1, where=where),
            lag_seconds=read_number(node.lag_seconds, "lag_seconds", float("nan"), where=where),
            gain_normalized=read_truth(node.gain_normalized, "gain_normalized", where=where),
            diagonal="learned" if as_text(node.diagonal) == "learned" else "zero",
            **uncertainty,
        )
    except InputError:
        raise
    except ValueError as error:
        raise InputError(str(error), where=where) from error


def _weights(node: FunctionalConnectivity, n: int, where: str) -> NDArray[np.float32]:
    """Return the weights (N, N), whichever form they are stored in."""
    if node.weights is not None:
        with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused as such
            return read_numbers(node.weights, "weights", where=where, shape=(n, n), kinds="f").astype(np.float32)
    if node.edge_weight is None:
        raise InputError("it holds neither weights nor edges", where=where)
    edges = read_numbers(node.edge_weight, "edge_weight", where=where, kinds="f", limit=n * n)
    places = [_places(getattr(node, name), name, len(edges), n, where) for name in ("edge_target", "edge_source")]
    dense = np.zeros((n, n), dtype=np.float32)
    with np.errstate(over="ignore"):
        dense[tuple(places)] = edges
    return dense


def _places(data: Any, name: str, edges: int, n: int, where: str) -> NDArray[np.integer]:
    """Return the places of edges along an axis of N neurons."""
    found = read_numbers(data, name, where=where, shape=(edges,), kinds="iu")
    if edges and not (found.min() >= 0 and found.max() < n):
        raise InputError(f"{name} reaches from {found.min()} to {found.max()} on an axis of {n}", where=where)
    return found.astype(np.int64)


def require_all_rows(owner: Any, axis: str, n_neurons: int, *, where: str) -> None:
    """Raise unless a region names all rows of the fit's own neuron table, in order.

    Parameters
    ----------
    owner : FunctionalConnectivity, ActivityForecast or InputCurrents
        The object that has the region.
    axis : str
        The region's name.
    n_neurons : int
        How many neurons the table has.
    where : str
        The file and the owner, for messages.

    Raises
    ------
    InputError
        With the region in `where` at fault.
    """
    where = f"{where}/{axis}"
    region = getattr(owner, axis, None)
    if not isinstance(region, DynamicTableRegion):
        raise InputError("there is no such region of the neuron table", where=where)
    fit = getattr(owner, "parent", None)
    if fit is not None and region.table is not getattr(fit, "neurons", region.table):
        raise InputError("the region is of another table than the fit's neurons", where=where, remedy=_BY_HAND)
    rows = read_numbers(region.data, "the region", where=where, kinds="iu")
    if rows.shape != (n_neurons,) or not np.array_equal(rows, np.arange(n_neurons)):
        raise InputError(
            f"the region does not name all {n_neurons} rows of the neuron table in order", where=where, remedy=_BY_HAND
        )
