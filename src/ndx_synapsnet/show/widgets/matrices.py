"""Views of connectivity: the matrix, and its strongest part in space."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...errors import InputError
from ..matrix_plots import draw_matrices
from ..matrix_view import matrix_view
from ..network_plots import draw_network
from ..network_view import available_layouts, network_view
from .nodes import Matrix, Population
from .panel import dropdown, panel, slider, tabs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COUNTS = (50, 100, 200, 300, 500, 1000, 2000, 5000, 10_000, 50_000)
_MOST_LINES = 1000
_PIXELS = 500  # a side of a matrix in the browser
_RATES = (0.01, 0.05, 0.1, 0.2)
_ALL = "all pairs"
#: What a threshold is: nothing, a false-discovery rate, or a number of edges.
Threshold = tuple[str, float]


def view_connectivity(node: Any, neurodata_vis_spec: Any = None, **_: Any) -> Any:
    """Return views of a `FunctionalConnectivity`: the matrix, and its strongest connections in space.

    Parameters
    ----------
    node, neurodata_vis_spec
        As of `view_fit`.

    Returns
    -------
    ipywidgets.Tab
    """
    matrix = Matrix(node)
    return tabs(
        {
            "Matrix": lambda: matrix_panel({matrix.title: matrix}),
            "Network": lambda: network_panel({matrix.title: matrix}),
        }
    )


def matrix_panel(matrices: Mapping[str, Matrix]) -> Any:
    """Return the view of matrices: which, in which order, and which of its pairs."""
    first = next(iter(matrices.values()))

    def draw(matrix: str, order: str, pairs: Threshold) -> Figure:
        chosen = matrices[matrix]
        edges, said = _edges(chosen, pairs)
        across = None if chosen.same else chosen.sources.orders[order]
        view = matrix_view(
            {matrix: chosen.weights},
            chosen.targets.orders[order],
            sources=across,
            edges=edges,
            edges_said=said,
            most_pixels=_PIXELS,
        )
        return draw_matrices(view)

    orders = list(first.targets.orders)
    if not first.same:
        orders = [name for name in orders if name in first.sources.orders]
    usual = next((name for name in ("region", "cell type", "embedding cluster") if name in orders), orders[0])
    return panel(
        {
            "matrix": dropdown("matrix", list(matrices)),
            "order": dropdown("order by", orders, usual),
            "pairs": dropdown("show", _thresholds(matrices, len(first.weights))),
        },
        draw,
    )


def network_panel(matrices: Mapping[str, Matrix]) -> Any:
    """Return the view of the strongest connections in space; it needs matrices over one list of neurons."""
    square = {title: matrix for title, matrix in matrices.items() if matrix.same}
    if not square:
        raise InputError("targets and sources are not the same neurons", remedy="See the matrix.")
    population = next(iter(square.values())).targets
    columns = {name: values for name, values in population.columns.items() if values.dtype.kind == "U"}

    def draw(matrix: str, pairs: Threshold, layout: str, color: str, elevation: int, azimuth: int) -> Figure:
        chosen = square[matrix]
        edges, said = _edges(chosen, pairs, most=_MOST_LINES)
        assert edges is not None
        view = network_view(
            population.neurons,
            chosen.weights,
            edges,
            population.embeddings,
            layout=layout,
            labels=columns.get(color),
            labels_said=color,
            edges_said=said,
        )
        return draw_network(view, elevation=elevation, azimuth=azimuth)

    counts = [(text, value) for text, value in _thresholds(square, len(population.neurons))[1:]
              if value[0] == "significant" or value[1] <= _MOST_LINES]  # fmt: skip
    usual = min((value for _, value in counts if value[0] == "strongest"), key=lambda value: abs(value[1] - 300))
    layouts = available_layouts(population.neurons, population.embeddings)
    return panel(
        {
            "matrix": dropdown("matrix", list(square)),
            "pairs": dropdown("show", counts, usual),
            "layout": dropdown("places", layouts, layouts[0]),
            "color": dropdown("colour", ["usual", *columns]),
            "elevation": slider("elevation", -90, 90, 28, 2),
            "azimuth": slider("azimuth", -180, 180, -60, 5),
        },
        draw,
    )


def _thresholds(matrices: Mapping[str, Matrix], n: int) -> list[tuple[str, Threshold]]:
    """Return what may be shown, as pairs of text and value: all, so many of the strongest, the significant."""
    most = n * (n - 1)
    counts = [count for count in _COUNTS if count < most] or [most]
    shown: list[tuple[str, Threshold]] = [(_ALL, ("all", 0.0))]
    shown += [(f"the {count} strongest", ("strongest", float(count))) for count in counts]
    if any(matrix.significant for matrix in matrices.values()):
        shown += [(f"significant: q up to {rate:g}", ("significant", rate)) for rate in _RATES]
    return shown


def _edges(matrix: Matrix, threshold: Threshold, most: int | None = None) -> tuple[Any, str]:
    """Return the mask of the pairs to show and what they are; None for all of them."""
    kind, value = threshold
    if kind == "significant":
        edges = matrix.edges(significant=value)
        found = int(edges.sum())
        if most is not None and found > most:
            return matrix.edges(significant=value, strongest=most), (
                f"the {most} strongest of {found} significant connections (q up to {value:g})"
            )
        return edges, f"{found} significant connections (q up to {value:g})"
    if kind == "strongest":
        edges = matrix.edges(strongest=int(value))
        return edges, f"the {int(edges.sum())} strongest connections"
    return None, ""


def as_matrices(nodes: Mapping[str, Any], population: Population | None = None) -> dict[str, Matrix]:
    """Return the matrices of a fit by title, ``effective`` first."""
    ordered = sorted(nodes.values(), key=lambda node: node.name != "effective")
    found = [Matrix(node, population if node.targets.table is node.sources.table else None) for node in ordered]
    return {matrix.title: matrix for matrix in found}
