"""In which order the neurons stand along a matrix or a raster, and which of them belong together.

Letters: N neurons, D embedding dimensions, C clusters.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..metrics import principal_components
from ..session import Modality, Neurons

Groups = tuple[tuple[str, int, int], ...]
"""Name, first and last-plus-one place of each group of neurons in an order."""

MOST_GROUPS = 24  # names that fit along a matrix
_MOST_CLUSTERS = 8
_FEWEST_TO_CLUSTER = 8
#: Which axis of a position is depth: of an imaged volume z; of a brain atlas, and of NWB's electrodes, y (inferior).
_DEPTH_AXIS: dict[Modality, int] = {"ophys": 2, "ecephys": 1}


@dataclass(frozen=True, eq=False)
class Order:
    """An order of N neurons."""

    name: str
    """A key of `ORDERS`."""
    rows: NDArray[np.int64]
    """(N,) the neuron at each place."""
    groups: Groups = ()
    """Neighbours that belong together; empty where there are none."""
    said: str = ""
    """What it is, for a caption."""


def order_by(
    name: str, neurons: Neurons, embeddings: NDArray[np.floating] | None = None, *, modality: Modality = "ophys"
) -> Order:
    """Return an order of the neurons.

    Parameters
    ----------
    name : str
        A key of `ORDERS`.
    neurons : Neurons
        N neurons.
    embeddings : array, optional
        (N, D).
    modality : {"ophys", "ecephys"}
        Says which axis of a position is depth, where no column of that name does.

    Raises
    ------
    InputError
        If these neurons have no such order; the message lists those they have.
    """
    found = ORDERS[name](neurons, embeddings, modality) if name in ORDERS else None
    if found is None:
        there = available_orders(neurons, embeddings, modality=modality)
        raise InputError(f"the neurons cannot be ordered by {name!r}", remedy=f"They can by: {', '.join(there)}.")
    return found


def available_orders(
    neurons: Neurons, embeddings: NDArray[np.floating] | None = None, *, modality: Modality = "ophys"
) -> list[str]:
    """Return the names of the orders that `order_by` can give, the most telling first."""
    return list(orders_of(neurons, embeddings, modality=modality))


def orders_of(
    neurons: Neurons, embeddings: NDArray[np.floating] | None = None, *, modality: Modality = "ophys"
) -> dict[str, Order]:
    """Return all orders that `order_by` can give, by name, the most telling first."""
    found = {name: order(neurons, embeddings, modality) for name, order in ORDERS.items()}
    return {name: order for name, order in found.items() if order is not None}


def cluster_embeddings(embeddings: NDArray[np.floating], *, seed: int = 0) -> NDArray[np.int64] | None:
    """Return the cluster (N,) of each neuron, counted from 0 along the first principal component; None if too few.

    k-means on the embeddings; of 2 to 8 clusters, the number whose neurons are the nearest to their own centre
    against the second nearest (the simplified silhouette).

    Parameters
    ----------
    embeddings : array
        (N, D).
    seed : int
        Of the first centres.
    """
    points = np.asarray(embeddings, np.float64)
    n = len(points)
    if points.ndim != 2 or not points.shape[1] or n < _FEWEST_TO_CLUSTER or not np.isfinite(points).all():
        return None
    if np.ptp(points, axis=0).max() == 0:
        return None
    best, best_labels = -np.inf, None
    for count in range(2, min(_MOST_CLUSTERS, n // 4) + 1):
        labels, distance = _k_means(points, count, np.random.default_rng(seed))
        nearest = np.sort(distance, axis=1)[:, :2]
        silhouette = float(np.mean(1 - nearest[:, 0] / np.maximum(nearest[:, 1], np.finfo(float).tiny)))
        if silhouette > best + 1e-9:
            best, best_labels = silhouette, labels
    if best_labels is None:
        return None
    along = _first_component(points)
    present = np.unique(best_labels)
    ranked = present[np.argsort([along[best_labels == label].mean() for label in present])]
    renamed = np.empty(best_labels.max() + 1, np.int64)
    renamed[ranked] = np.arange(len(ranked))
    return np.asarray(renamed[best_labels])


def makes_groups(labels: NDArray[np.str_] | None) -> bool:
    """Return whether labels tell groups of neurons apart: not one for all, nor about one a neuron."""
    return labels is not None and 2 <= len(np.unique(labels)) <= len(labels) // 2


def depth_of(neurons: Neurons, modality: Modality) -> tuple[NDArray[np.float64], str] | None:
    """Return the depth (N,) of each neuron and where it is from; None if it is not known or the same for all."""
    for name, column in neurons.extra.items():
        if re.search(r"(^|_)depth", name, re.I) and column.dtype.kind in "iuf":
            depth = column.astype(np.float64)
            if len(np.unique(depth[np.isfinite(depth)])) > 1:
                return depth, f"column {name}"
    if neurons.position is None:
        return None
    axis = _DEPTH_AXIS[modality]
    depth = neurons.position[:, axis]
    return (depth, f"{'xyz'[axis]} of the position") if len(np.unique(depth[np.isfinite(depth)])) > 1 else None


def _k_means(
    points: NDArray[np.float64], count: int, rng: np.random.Generator, rounds: int = 50
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return labels (N,) and distances to all centres (N, C), from centres chosen far from each other."""
    centres = points[[rng.integers(len(points))]]
    while len(centres) < count:
        far = _distances(points, centres).min(1) ** 2
        total = far.sum()
        if total == 0:  # fewer different points than clusters
            break
        centres = np.vstack([centres, points[rng.choice(len(points), p=far / total)]])
    labels = np.full(len(points), -1)
    for _ in range(rounds):
        distance = _distances(points, centres)
        now = distance.argmin(1)
        if np.array_equal(now, labels):
            break
        labels = now
        for k in range(len(centres)):
            if (mine := labels == k).any():
                centres[k] = points[mine].mean(0)
    distance = _distances(points, centres)
    if distance.shape[1] == 1:
        distance = np.repeat(distance, 2, axis=1)
    return np.asarray(distance.argmin(1), np.int64), distance


def _distances(points: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.float64]:
    squared = (points**2).sum(1)[:, None] - 2 * points @ centres.T + (centres**2).sum(1)
    return np.asarray(np.sqrt(np.maximum(squared, 0)))


def _first_component(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each point's place (N,) along the direction in which the points differ most."""
    return principal_components(points, points, 1).truth[:, 0]


def _grouped(name: str, labels: NDArray[Any], within: NDArray[np.float64] | None, said: str) -> Order:
    """Return the neurons by label, those without one last, and within a label by `within` or as they stand."""
    labels = labels.astype(np.str_)
    unknown = labels == ""
    order = np.lexsort((np.arange(len(labels)) if within is None else within, labels, unknown))
    starts = np.flatnonzero(np.r_[True, labels[order][1:] != labels[order][:-1]])
    ends = [*starts[1:].tolist(), len(order)]
    groups = tuple(
        (str(labels[order[a]]) or "unknown", int(a), int(b)) for a, b in zip(starts.tolist(), ends, strict=True)
    )
    return Order(name, order, groups, said)


def _by_region(neurons: Neurons, _: Any, __: Modality) -> Order | None:
    if not makes_groups(neurons.region):
        return None
    assert neurons.region is not None
    return _grouped("region", neurons.region, None, "neurons by region")


def _by_cell_type(neurons: Neurons, _: Any, __: Modality) -> Order | None:
    if not makes_groups(neurons.cell_type):
        return None
    assert neurons.cell_type is not None
    return _grouped("cell type", neurons.cell_type, None, "neurons by cell type")


def _by_cluster(_: Neurons, embeddings: NDArray[np.floating] | None, __: Modality) -> Order | None:
    labels = None if embeddings is None else cluster_embeddings(embeddings)
    if labels is None or embeddings is None:
        return None
    along = _first_component(np.asarray(embeddings, np.float64))
    names = np.array([f"cluster {label + 1}" for label in labels])
    return _grouped("embedding cluster", names, along, "neurons by cluster of the embedding (k-means)")


def _by_depth(neurons: Neurons, _: Any, modality: Modality) -> Order | None:
    known = depth_of(neurons, modality)
    if known is None:
        return None
    depth, source = known
    order = np.argsort(depth, kind="stable")  # what is not known comes last
    levels, starts = np.unique(depth[order][np.isfinite(depth[order])], return_index=True)
    groups: Groups = ()
    if len(levels) <= MOST_GROUPS:  # imaged planes
        ends = [*starts[1:].tolist(), int(np.isfinite(depth).sum())]
        names = [f"{level:g}" for level in levels]
        groups = tuple((name, int(a), int(b)) for name, a, b in zip(names, starts.tolist(), ends, strict=True))
    return Order("depth", order, groups, f"neurons by depth ({source}), the smallest first")


def _by_file(neurons: Neurons, _: Any, __: Modality) -> Order:
    return Order("file", np.arange(len(neurons)), (), "neurons as in the file")


#: Orders by name: neurons, embeddings and modality → an order, or None where they have none of that kind.
ORDERS: dict[str, Callable[[Neurons, NDArray[np.floating] | None, Modality], Order | None]] = {
    "region": _by_region,
    "cell type": _by_cell_type,
    "embedding cluster": _by_cluster,
    "depth": _by_depth,
    "file": _by_file,
}
