"""What a report says of a run's connectivity.

Letters: N neurons. Matrices are [target, source].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..metrics import choose_edges, group_connectivity, recovery
from ..session import Connectivity, FitResult, Neurons
from . import page as bricks
from .compute import connectivity_view
from .group_plots import draw_groups
from .matrix_plots import draw_matrices
from .network_plots import draw_network
from .page import Html
from .plots import network_of
from .report_run import FEW, ReportedRun, figure, fixed, probability, significant

_RATE, _SHARE = 0.1, 0.1  # false-discovery rate of edges; without q-values the strongest share of the pairs
_MATRIX_NAMES = {"effective": "effective connectivity", "raw": "the model's own matrix", "ridge_var": "ridge VAR(1)"}


def connectivity(run: ReportedRun, edges: int) -> list[Html]:
    """Return the matrix, its strongest connections, readouts by group, and how well known wiring was found."""
    result = run.result
    matrix = result.connectivity.get("effective")
    if matrix is None:
        return []
    parts = []
    if not result.trustworthy:
        parts.append(bricks.element("div", bricks.paragraph(_CAUTION), class_="verdict no"))
    parts.append(bricks.paragraph(_READING, " ", f"{matrix.description.rstrip('.')}." if matrix.description else ""))
    view = connectivity_view(result, run.session)
    parts.append(figure(draw_matrices(view), "Connectivity matrix.", note=_MATRIX, narrow=len(view.matrices) == 1))
    parts.append(figure(draw_network(network_of(result)), "The strongest connections in space.", narrow=True))
    parts.append(strongest(result, matrix, edges))
    parts += _groups(result, matrix)
    parts += _recovered(run)
    rows = [
        [_MATRIX_NAMES.get(name, name), one.method, one.lag, one.lag_seconds, one.diagonal, _uncertainty(one)]
        for name, one in result.connectivity.items()
    ]
    columns = ["matrix", "method", "lag (samples)", "lag (s)", "diagonal", "uncertainty"]
    return [*parts, bricks.table("Matrices in the file.", columns, rows)]


def strongest(result: FitResult, matrix: Connectivity, count: int) -> Html:
    """Return the connections of largest absolute weight, with what is known of their uncertainty."""
    weights = matrix.weights.astype(np.float64)
    np.fill_diagonal(weights, 0.0)
    places = np.argsort(-np.abs(weights), axis=None, kind="stable")[:count]
    pairs = [divmod(int(place), len(weights)) for place in places if weights.flat[place] != 0]
    if not pairs:
        return bricks.paragraph("No connection was found: every weight is 0.") if count else Html()
    columns = ["source", "target", "weight"]
    extra: list[tuple[str, Any, Callable[[float], Html]]] = [
        ("standard error", matrix.standard_error, significant),
        ("p", matrix.p_value, probability),
        ("q", matrix.q_value, probability),
    ]
    there = [(name, values, form) for name, values, form in extra if values is not None]
    rows = [
        [_label(result.neurons, source), _label(result.neurons, target), significant(weights[target, source])]
        + [form(float(values[target, source])) for _, values, form in there]
        for target, source in pairs
    ]
    note = "Of largest absolute weight, from source to target."
    if matrix.q_value is not None:
        known = int(np.isfinite(matrix.q_value[~np.eye(len(weights), dtype=bool)]).sum())
        found = int(choose_edges(matrix, significant=_RATE).sum())
        note += f" {found} of {known} pairs have q ≤ {_RATE:g}."
        said = result.provenance.get("significance") or {}
        if not said.get("trustworthy", True):
            note += f" These p- and q-values are NOT to be trusted: {said.get('why', '')}"
    caption = "Strongest connections." if result.trustworthy else "Strongest connections (not to be read)."
    return bricks.table(caption, columns + [name for name, *_ in there], rows, note=note)


_READING = "Rows are targets, columns sources: a weight says how activity of the source changes the target's forecast."
_CAUTION = (
    "The model forecasts no better than simple predictors: nothing below is evidence of connections between neurons."
)
_MATRIX = "Zero is white, red positive, blue negative."


def _groups(result: FitResult, matrix: Connectivity) -> list[Html]:
    """Return mean weights between regions and between cell types, where there are groups one could see."""
    parts = []
    n = len(result.neurons)
    for name, words in (("region", "brain regions"), ("cell_type", "cell types")):
        labels = getattr(result.neurons, name)
        if labels is None or not 2 <= len(np.unique(labels)) <= min(n // 2, 2 * FEW):
            continue
        if matrix.q_value is not None:
            mask, edges = choose_edges(matrix, significant=_RATE), f"q ≤ {_RATE:g}"
        else:
            most = max(1, round(_SHARE * n * (n - 1)))
            mask, edges = choose_edges(matrix, strongest=most), f"the strongest {_SHARE:.0%} of pairs"
        found = group_connectivity(matrix.weights, labels, mask)
        note = "Mean weight ± standard error over neurons, and the share of pairs that are edges."
        parts.append(figure(draw_groups(found, edges=edges), f"Connectivity between {words}.", note=note))
    return parts


def _recovered(run: ReportedRun) -> list[Html]:
    """Return how well known wiring was found, where the file holds it for all neurons of the fit."""
    if run.truth is None:
        return []
    ids, known = run.truth
    place = {name: row for row, name in enumerate(ids.tolist())}
    if not set(run.result.neurons.id.tolist()) <= set(place):
        return []
    rows_ = np.array([place[name] for name in run.result.neurons.id.tolist()])
    truth = known.weights[np.ix_(rows_, rows_)]
    found = {
        _MATRIX_NAMES.get(name, name): recovery(matrix.weights, truth)
        for name, matrix in run.result.connectivity.items()
        if name != "raw"  # its signs and scale are arbitrary
    }
    chance = next((each["chance"] for each in found.values()), float("nan"))
    keys = ("r", "auroc", "average_precision", "sign_accuracy")
    rows = [[name, *(fixed(each[key]) for key in keys)] for name, each in found.items()]
    columns = ["matrix", "Pearson r", "AUROC", f"average precision (chance {chance:.3f})", "sign accuracy"]
    return [bricks.table("Against the known wiring.", columns, rows, note="Off the diagonal.")] if rows else []


def _label(neurons: Neurons, row: int) -> str:
    where = neurons.region[row] if neurons.region is not None else ""
    return f"{neurons.id[row]} ({where})" if where else str(neurons.id[row])


def _uncertainty(matrix: Connectivity) -> str:
    held = {"standard error": matrix.standard_error, "p": matrix.p_value, "q": matrix.q_value}
    return ", ".join(name for name, values in held.items() if values is not None) or "none"
