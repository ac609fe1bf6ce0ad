"""Neurons as points: where the embedding puts them, what is known of them, how well they are forecast.

Letters: N neurons, D embedding dimensions.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, missing_extra
from ..metrics import principal_components
from ..session import Neurons, Scores
from .ordering import cluster_embeddings, makes_groups

_FEWEST_FOR_UMAP = 4


@dataclass(frozen=True, eq=False)
class EmbeddingView:
    """Neurons on a map of their embeddings."""

    places: NDArray[np.float64]
    """(N, 2)."""
    axes: tuple[str, str]
    title: str
    column: str
    """What the colours tell."""
    values: NDArray[Any] | None
    """(N,) numbers, or text with an empty one where unknown; None for no colours."""
    note: str = ""


@dataclass(frozen=True, eq=False)
class ScoreView:
    """Each predictor's scores over the neurons, and the model's against those of a reference."""

    names: tuple[str, ...]
    """Of the predictors that have any correlation, the model first."""
    correlations: tuple[NDArray[np.float64], ...]
    """Of each, over the neurons that have one."""
    model: str
    reference: str | None
    """Name of the predictor to compare with; None if there is none."""
    pairs: NDArray[np.float64]
    """(2, N) the reference's and the model's correlation, NaN where there is none."""


def embedding_view(
    neurons: Neurons,
    embeddings: NDArray[np.floating],
    *,
    column: str | None = None,
    columns: Mapping[str, NDArray[Any]] | None = None,
    method: str = "pca",
    seed: int = 0,
) -> EmbeddingView:
    """Return a map of the embeddings in two dimensions.

    Parameters
    ----------
    neurons : Neurons
        N neurons.
    embeddings : array
        (N, D).
    column : str, optional
        What colours tell: a key of `columns`.
    columns : mapping, optional
        (N,) columns by name; by default those of `neuron_columns`.
    method : {"pca", "umap"}
        Principal components, or UMAP, which keeps near neurons near but no distances.
    seed : int
        Of UMAP.

    Raises
    ------
    InputError
        If there are no embeddings of 2 dimensions, no such column, or UMAP is not installed or has too few neurons.
    """
    points = np.asarray(embeddings, np.float64)
    if points.ndim != 2 or min(points.shape) < 2:
        raise InputError(f"there is no map of embeddings of shape {points.shape}", remedy="This needs 2 neurons and 2 "
                         "dimensions or more.")  # fmt: skip
    known = neuron_columns(neurons, embeddings) if columns is None else columns
    if column is not None and column not in known:
        raise InputError(f"the neurons have no column {column!r}", remedy=f"They have: {', '.join(known)}.")
    if method == "umap":
        places, axes = _umap(points, seed), ("UMAP 1", "UMAP 2")
        note = "UMAP: neighbours are meaningful, distances between groups are not"
    elif method == "pca":
        found = principal_components(points, points, 2)
        places, note = found.truth, ""
        axes = (f"PC 1 ({100 * found.explained[0]:.0f} % of variance)", f"PC 2 ({100 * found.explained[1]:.0f} %)")
    else:
        raise InputError(f"there is no map by {method!r}", remedy="Choose pca or umap.")
    return EmbeddingView(
        places=places,
        axes=axes,
        title=f"embedding of {len(points)} neurons in {points.shape[1]} dimensions",
        column=column or "",
        values=None if column is None else known[column],
        note=note,
    )


def neuron_columns(
    neurons: Neurons,
    embeddings: NDArray[np.floating] | None = None,
    scores: Mapping[str, Scores] | None = None,
) -> dict[str, NDArray[Any]]:
    """Return every column by which neurons could be coloured: what is the same for all is left out.

    Parameters
    ----------
    neurons : Neurons
        N neurons.
    embeddings : array, optional
        (N, D); gives the column ``embedding cluster``.
    scores : mapping, optional
        By predictor; gives ``test r`` and ``test MSE`` of each.
    """
    found: dict[str, NDArray[Any]] = {}
    for name, values in (("region", neurons.region), ("cell type", neurons.cell_type)):
        if values is not None and makes_groups(values):
            found[name] = values
    labels = None if embeddings is None else cluster_embeddings(embeddings)
    if labels is not None:
        found["embedding cluster"] = np.array([f"cluster {label + 1}" for label in labels])
    for name, score in (scores or {}).items():
        found[f"test r of {name}"] = score.correlation
        found[f"test MSE of {name}"] = score.mse
    if neurons.position is not None:
        found |= {f"position {axis}": neurons.position[:, k] for k, axis in enumerate("xyz")}
    found |= {name: values for name, values in neurons.extra.items() if values.dtype.kind in "biufU"}
    return {name: values for name, values in found.items() if _varies(values)}


def score_view(
    scores: Mapping[str, Scores], model: str, names: Mapping[str, str], *, reference: str | None = None
) -> ScoreView:
    """Return the distributions of the test correlation, and the model's against its neurons' own history.

    Parameters
    ----------
    scores : mapping
        By predictor.
    model : str
        The one that was fitted.
    names : mapping
        What predictors are called in pictures.
    reference : str, optional
        The predictor to compare with; by default each neuron's own history, else the first that has correlations.
    """
    by_name = {names.get(key, key): s.correlation[np.isfinite(s.correlation)] for key, s in scores.items()}
    shown = {name: np.asarray(r, np.float64) for name, r in by_name.items() if len(r)}
    own = scores[model].correlation.astype(np.float64)
    others = [key for key in scores if key != model and np.isfinite(scores[key].correlation).any()]
    if reference is None:
        reference = "ar" if "ar" in scores else next(iter(others), None)
    other = np.full(len(own), np.nan) if reference is None else scores[reference].correlation.astype(np.float64)
    return ScoreView(
        names=tuple(shown),
        correlations=tuple(shown.values()),
        model=names.get(model, model),
        reference=None if reference is None else names.get(reference, reference),
        pairs=np.stack([other, own]),
    )


def _varies(values: NDArray[Any]) -> bool:
    known = values[values != ""] if values.dtype.kind == "U" else values
    if known.dtype.kind == "f":
        known = known[np.isfinite(known)]
    distinct = len(np.unique(known))
    return distinct > 1 and not (values.dtype.kind == "U" and not makes_groups(values))  # ids tell nothing


def _umap(points: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    if len(points) < _FEWEST_FOR_UMAP:
        raise InputError(f"UMAP cannot map {len(points)} neurons", remedy=f"It needs {_FEWEST_FOR_UMAP} or more.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the compiler that it brings
            import umap
    except ImportError as error:
        raise missing_extra("umap-learn", "umap") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a seed means one thread
        neighbors = min(15, len(points) - 1)
        return np.asarray(umap.UMAP(n_neighbors=neighbors, random_state=seed).fit_transform(points), np.float64)
