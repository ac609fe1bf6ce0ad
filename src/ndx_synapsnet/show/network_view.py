"""The strongest connections as a graph in space (paper, figure 3b).

Letters: N neurons, E edges, D embedding dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..metrics import principal_components
from ..session import Neurons
from .ordering import makes_groups

_MIN_COMPONENTS = 3


@dataclass(frozen=True, eq=False)
class NetworkView:
    """Neurons at places, and the edges between them."""

    places: NDArray[np.float64]
    """(N, 3), or (N, 2) where all lie in one plane."""
    axes: tuple[str, ...]
    """What the coordinates are."""
    source: NDArray[np.int64]
    """(E,) neuron from which each edge goes; the strongest edge comes last."""
    target: NDArray[np.int64]
    """(E,) neuron to which it goes."""
    weight: NDArray[np.float64]
    """(E,)."""
    labels: NDArray[np.str_] | None
    """(N,) what the neurons' colours tell; an empty text where unknown."""
    labels_said: str
    """What the labels are."""
    spatial: bool
    """Whether the places are positions in the tissue, so that distances may be compared."""
    note: str
    """What one has to know to read the picture."""


def network_view(
    neurons: Neurons,
    weights: NDArray[np.floating],
    edges: NDArray[np.bool_],
    embeddings: NDArray[np.floating] | None = None,
    *,
    layout: str = "auto",
    labels: NDArray[Any] | None = None,
    labels_said: str = "",
    edges_said: str = "",
) -> NetworkView:
    """Return the graph of some edges at the neurons' positions, or at their places in the embedding.

    Parameters
    ----------
    neurons : Neurons
        N neurons.
    weights : array
        (N, N) [target, source].
    edges : array of bool
        (N, N) the edges, as `metrics.choose_edges` gives them.
    embeddings : array, optional
        (N, D).
    layout : {"auto", "position", "embedding", "circle"}
        Where neurons are drawn; "auto" takes the first of these that they have.
    labels : array, optional
        (N,) what colours tell; by default the cell type, else the region.
    labels_said : str
        What `labels` are.
    edges_said : str
        Which pairs the edges are, in words.

    Raises
    ------
    InputError
        If the neurons have no such layout.
    """
    kinds = ("position", "embedding", "circle") if layout == "auto" else (layout,)
    placed = next((found for kind in kinds if (found := _place(kind, neurons, embeddings)) is not None), None)
    if placed is None:
        raise InputError(
            f"the neurons have no {layout} to draw them at",
            remedy=f"They have: {', '.join(available_layouts(neurons, embeddings))}.",
        )
    kind, places, axes, note = placed
    known = _finite(places)
    target, source = np.nonzero(edges & known[:, None] & known[None, :])
    weight = np.asarray(weights[target, source], np.float64)
    order = np.argsort(np.abs(weight), kind="stable")
    left_out = int(np.count_nonzero(edges)) - len(order)
    if labels is None:
        labels, labels_said = next(
            ((of, name) for of, name in ((neurons.cell_type, "cell type"), (neurons.region, "region"))
             if makes_groups(of)), (None, ""),
        )  # fmt: skip
    notes = [note, edges_said]
    if left_out:
        notes.append(f"{left_out} edges of neurons without a position are left out")
    return NetworkView(
        places=places,
        axes=axes,
        source=source[order],
        target=target[order],
        weight=weight[order],
        labels=None if labels is None else np.asarray(labels).astype(np.str_),
        labels_said=labels_said,
        spatial=kind == "position",
        note="; ".join(said for said in notes if said),
    )


def available_layouts(neurons: Neurons, embeddings: NDArray[np.floating] | None = None) -> list[str]:
    """Return the layouts that `network_view` can draw these neurons in."""
    return [kind for kind in ("position", "embedding", "circle") if _place(kind, neurons, embeddings) is not None]


def _place(
    kind: str, neurons: Neurons, embeddings: NDArray[np.floating] | None
) -> tuple[str, NDArray[np.float64], tuple[str, ...], str] | None:
    """Return the layout's name, coordinates, names of the axes and a note; None if there is no such layout."""
    n = len(neurons)
    if kind == "position" and neurons.position is not None:
        # a coordinate that nobody has is no reason to have no picture
        empty = ~np.isfinite(neurons.position).any(axis=0)
        position = np.where(empty, 0.0, neurons.position)
        known = _finite(position)
        if known.sum() < 2:
            return None
        spread: NDArray[np.float64] = np.ptp(position[known], axis=0)
        axes = [k for k in range(3) if spread[k] > 1e-6 * spread.max()]
        if not axes:
            return None
        axes = (axes + [k for k in range(3) if k not in axes])[: max(2, len(axes))]
        places, moved = _apart(position[:, sorted(axes)])
        note = "neurons at their positions (unit of the source)"
        note += ", those at one place drawn beside each other" if moved else ""
        return kind, places, tuple("xyz"[k] for k in sorted(axes)), note
    if kind == "embedding" and embeddings is not None and min(embeddings.shape) >= _MIN_COMPONENTS:
        found = principal_components(embeddings, embeddings, _MIN_COMPONENTS)
        if np.ptp(found.truth, axis=0).min() > 0:
            names = tuple(f"embedding PC {k + 1} ({100 * found.explained[k]:.0f} %)" for k in range(_MIN_COMPONENTS))
            return kind, found.truth, names, "not positions: places are the embedding's principal components"
    if kind == "circle":
        angle = 2 * np.pi * np.arange(n) / max(n, 1)
        circle = np.stack([np.sin(angle), np.cos(angle)], axis=1)
        return kind, circle, ("", ""), "not positions: neurons on a circle, as in the file"
    return None


def _apart(places: NDArray[np.float64]) -> tuple[NDArray[np.float64], bool]:
    """Return places such that no two are the same, and whether any was moved: units share electrodes."""
    known = _finite(places)
    _, inverse, counts = np.unique(places[known], axis=0, return_inverse=True, return_counts=True)
    if not (counts > 1).any():
        return places, False
    shared = counts[inverse.ravel()] > 1
    step = 0.015 * np.ptp(places[known], axis=0).max()
    moved = np.random.default_rng(0).normal(0, step, (int(known.sum()), places.shape[1])) * shared[:, None]
    out = places.copy()
    out[known] += moved
    return out, True


def _finite(places: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(places).all(axis=1), np.bool_)
