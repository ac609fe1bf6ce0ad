"""Views of neurons: the map of their embeddings, their scores, and a table."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import InputError
from ..compute import PREDICTOR_NAMES
from ..neuron_plots import draw_embedding, draw_score_view
from ..neuron_view import EmbeddingView, embedding_view, score_view
from .nodes import Population, population_of
from .panel import dropdown, note, panel, require_ipywidgets, table, tabs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROWS = 100
_NONE = "nothing"
_UMAP_TAKES = "UMAP is at work, which takes half a minute the first time."


def view_neurons(node: Any, neurodata_vis_spec: Any = None, **_: Any) -> Any:
    """Return views of a `NeuronEmbeddings`: the map of the embeddings, the scores, the best forecast neurons.

    Parameters
    ----------
    node, neurodata_vis_spec
        As of `view_fit`.

    Returns
    -------
    ipywidgets.Tab
    """
    population = population_of(node)
    return tabs(
        {
            "Embedding": lambda: embedding_panel(population),
            "Scores": lambda: score_panel(population),
            "Table": lambda: neuron_table(population),
        }
    )


def embedding_panel(population: Population) -> Any:
    """Return the map of the embeddings, coloured by any column."""
    if min(population.embeddings.shape) < 2:
        raise InputError("the neurons have no embeddings of two dimensions or more")
    columns = population.columns
    maps: dict[str, EmbeddingView] = {}  # UMAP takes its time

    def draw(column: str, method: str) -> Figure:
        if method not in maps:
            maps[method] = embedding_view(population.neurons, population.embeddings, columns=columns, method=method)
        found = maps[method]
        if column == _NONE:
            return draw_embedding(replace(found, column="", values=None))
        return draw_embedding(replace(found, column=column, values=columns[column]))

    def patience(column: str, method: str) -> str:
        return _UMAP_TAKES if method == "umap" and method not in maps else ""

    methods = [("principal components", "pca")]
    if find_spec("umap") is not None:
        methods.append(("UMAP", "umap"))
    return panel(
        {
            "column": dropdown("colour", [*columns, _NONE], next(iter(columns), _NONE)),
            "method": dropdown("map", methods, "pca"),
        },
        draw,
        patience=patience,
    )


def score_panel(population: Population) -> Any:
    """Return the distributions of the test scores, against any of the reference predictors."""
    scores = population.scores
    if not scores:
        raise InputError("the neuron table holds no scores")
    model = next(iter(scores))
    others = [key for key in scores if key != model and np.isfinite(scores[key].correlation).any()]
    usual = "ar" if "ar" in others else next(iter(others), None)

    def draw(reference: str | None) -> Figure:
        return draw_score_view(score_view(scores, model, PREDICTOR_NAMES, reference=reference))

    options: list[tuple[str, str | None]] = [(PREDICTOR_NAMES.get(key, key), key) for key in others] or [("none", None)]
    return panel({"reference": dropdown("compare with", options, usual)}, draw)


def neuron_table(population: Population) -> Any:
    """Return a table of the neurons, the best forecast first."""
    w, neurons = require_ipywidgets(), population.neurons
    model = next(iter(population.scores.values()), None)
    r = np.full(len(neurons), np.nan) if model is None else model.correlation.astype(np.float64)
    order = np.argsort(-np.nan_to_num(r, nan=-2), kind="stable")[:_ROWS]
    columns: dict[str, Any] = {"neuron": neurons.id, "region": neurons.region, "cell type": neurons.cell_type}
    if neurons.position is not None:
        columns |= {axis: neurons.position[:, k] for k, axis in enumerate("xyz")}
    if model is not None:
        columns |= {"test r": r, "test MSE": model.mse.astype(np.float64)}
    columns |= {name: of for name, of in neurons.extra.items() if of.dtype.kind in "biufU"}
    shown = {name: of[order].tolist() for name, of in columns.items() if of is not None}
    said = f"{len(order)} of {len(neurons)} neurons, the best forecast first"
    rows = zip(*shown.values(), strict=True)
    return w.HTML(note(said) + f'<div style="overflow-x: auto; max-height: 32em">{table(shown, rows)}</div>')
