"""Connectivity by region, cell type, distance and neuron: the readouts that are published.

Letters: N neurons, G groups, C classes of pairs. Matrices are [target, source]; pairs of a neuron with itself are
never counted.

Standard errors take neurons, not pairs, to be independent: see `jackknife`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .edges import off_diagonal, square
from .jackknife import class_means, divide, group_errors

#: The group of neurons without a label, and of pairs without a distance.
UNKNOWN = "unknown"


@dataclass(frozen=True, eq=False)
class GroupConnectivity:
    """Weights between groups of neurons: arrays (G, G) of [target group, source group]; NaN where there is no pair."""

    groups: tuple[str, ...]
    """G names in alphabetical order, `UNKNOWN` last."""
    neurons: NDArray[np.int64]
    """(G,) neurons of each."""
    pairs: NDArray[np.int64]
    """Ordered pairs of different neurons."""
    mean: NDArray[np.float64]
    """Mean weight."""
    standard_error: NDArray[np.float64]
    """Of `mean`, over neurons; NaN where that of a single neuron decides."""
    mean_absolute: NDArray[np.float64]
    """Mean |weight|."""
    edge_share: NDArray[np.float64]
    """Share of the pairs that are edges; NaN where no edges were given."""


@dataclass(frozen=True, eq=False)
class DistanceConnectivity:
    """Weights by the distance of the two neurons: arrays (C,), one entry a bin, a last one for pairs without one."""

    bins: tuple[str, ...]
    """C names."""
    edges: NDArray[np.float64]
    """(C, 2) lower and upper limit of each bin in the unit of the positions; NaN for pairs without a distance."""
    distance: NDArray[np.float64]
    """Mean distance of the pairs."""
    pairs: NDArray[np.int64]
    mean: NDArray[np.float64]
    standard_error: NDArray[np.float64]
    """Of `mean`, over neurons."""
    mean_absolute: NDArray[np.float64]
    mean_absolute_error: NDArray[np.float64]
    """Standard error of `mean_absolute`, over neurons."""
    edge_share: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class NeuronConnectivity:
    """What each neuron receives and sends: arrays (N,)."""

    in_strength: NDArray[np.float64]
    """Sum of |weight| over its sources."""
    out_strength: NDArray[np.float64]
    """Sum of |weight| over its targets."""
    in_weight: NDArray[np.float64]
    """Sum of the weights over its sources."""
    out_weight: NDArray[np.float64]
    """Sum of the weights over its targets."""
    in_degree: NDArray[np.int64] | None
    """Edges that it receives; None where no edges were given."""
    out_degree: NDArray[np.int64] | None
    """Edges that it sends."""


@dataclass(frozen=True)
class Reciprocity:
    """Whether connections go both ways. What is undefined is NaN."""

    share: float
    """Share of the edges whose opposite is an edge too."""
    chance: float
    """That share if edges were placed at random: the share of pairs that are edges."""
    r: float
    """Pearson correlation of the weights with those of the opposite direction."""


def group_connectivity(weights: ArrayLike, labels: ArrayLike, edges: ArrayLike | None = None) -> GroupConnectivity:
    """Summarise weights over [target group, source group].

    Parameters
    ----------
    weights : array_like
        (N, N), [target, source].
    labels : array_like
        (N,) texts, such as regions or cell types; an empty one means `UNKNOWN`.
    edges : array_like, optional
        (N, N) mask of the edges, such as the significant ones.

    Raises
    ------
    ValueError
        If the shapes do not fit.
    """
    matrix, mask = _matrix(weights, edges)
    names = np.array([str(label).strip() or UNKNOWN for label in np.asarray(labels)], dtype=np.str_)
    if names.shape != (len(matrix),):
        raise ValueError(f"there are {len(names)} labels of {len(matrix)} neurons")
    groups = sorted(set(names.tolist()), key=lambda name: (name == UNKNOWN, name))
    member = (names[:, None] == np.array(groups, dtype=np.str_)).astype(np.float64)  # (N, G)
    sizes = member.sum(0)
    pairs = np.outer(sizes, sizes) - np.diag(sizes)

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return divide(member.T @ values @ member, pairs)

    return GroupConnectivity(
        groups=tuple(groups),
        neurons=sizes.astype(np.int64),
        pairs=pairs.astype(np.int64),
        mean=mean(matrix),
        standard_error=group_errors(matrix, member),
        mean_absolute=mean(np.abs(matrix)),
        edge_share=np.full(pairs.shape, np.nan) if mask is None else mean(mask.astype(np.float64)),
    )


def distance_connectivity(
    weights: ArrayLike, position: ArrayLike, bins: int | Sequence[float] = 10, edges: ArrayLike | None = None
) -> DistanceConnectivity:
    """Summarise weights by the distance between the two neurons.

    Parameters
    ----------
    weights : array_like
        (N, N), [target, source].
    position : array_like
        (N, 3) places; a coordinate that is NaN for all neurons is passed over, and a neuron that lacks another has no
        distance to any.
    bins : int or sequence of float
        How many bins of about equally many pairs; or their limits in the unit of `position`, each bin from its lower
        limit up to and without its upper one, the last with it. Pairs outside the limits are left out.
    edges : array_like, optional
        (N, N) mask of the edges.

    Raises
    ------
    ValueError
        If the shapes do not fit, limits do not increase, or no two neurons have a distance above 0.
    """
    matrix, mask = _matrix(weights, edges)
    distances = pair_distances(position)
    if distances.shape != matrix.shape:
        raise ValueError(f"there are positions of {len(distances)} neurons, expected {len(matrix)}")
    off = off_diagonal(len(matrix))
    known = distances[off & np.isfinite(distances)]
    if not np.any(known > 0):
        raise ValueError("no two neurons are at a known distance above 0")
    if isinstance(bins, int):
        if bins < 1:
            raise ValueError(f"bins is {bins}, expected 1 or more")
        limits = np.unique(np.quantile(known, np.linspace(0, 1, bins + 1)))
        limits = np.repeat(limits, 2) if len(limits) == 1 else limits  # all at one distance
    else:
        limits = np.asarray(bins, np.float64)
        if limits.ndim != 1 or len(limits) < 2 or not np.all(np.diff(limits) > 0):
            raise ValueError(f"limits {tuple(bins)} are not two or more increasing numbers")
    count = len(limits) - 1
    place = np.searchsorted(limits, distances, side="right") - 1
    place[distances == limits[-1]] = count - 1
    place = np.where((place < 0) | (place >= count), -1, place)
    place[~np.isfinite(distances)] = count
    place[~off] = -1
    apart = bool(np.any(place == count))

    classes = count + apart
    pairs = np.bincount(place[place >= 0], minlength=classes)
    absolute = np.abs(matrix)
    mean, error = class_means(matrix, place, classes)
    mean_absolute, absolute_error = class_means(absolute, place, classes)
    spans = [f"{low:.4g} to {high:.4g}" for low, high in pairwise(limits.tolist())]
    return DistanceConnectivity(
        bins=(*spans, *([UNKNOWN] * apart)),
        edges=np.vstack([np.stack([limits[:-1], limits[1:]], axis=1), np.full((int(apart), 2), np.nan)]),
        distance=class_means(distances, place, classes)[0],
        pairs=pairs,
        mean=mean,
        standard_error=error,
        mean_absolute=mean_absolute,
        mean_absolute_error=absolute_error,
        edge_share=np.full(classes, np.nan)
        if mask is None
        else class_means(mask.astype(np.float64), place, classes)[0],
    )


def pair_distances(position: ArrayLike) -> NDArray[np.float64]:
    """Return the Euclidean distances (N, N) of neurons at `position` (N, 3); NaN where one is not known.

    Raises
    ------
    ValueError
        If `position` is not two-dimensional.
    """
    places = np.asarray(position, np.float64)
    if places.ndim != 2:
        raise ValueError(f"position has shape {places.shape}, expected (N, 3)")
    places = np.where(np.isfinite(places), places, np.nan)
    places = places[:, np.isfinite(places).any(0)]
    if not places.shape[1]:
        return np.full((len(places), len(places)), np.nan)
    squares = np.zeros((len(places), len(places)))
    for axis in places.T:
        squares += (axis[:, None] - axis) ** 2
    return np.sqrt(squares)


def neuron_connectivity(weights: ArrayLike, edges: ArrayLike | None = None) -> NeuronConnectivity:
    """Return what each neuron receives (its row) and sends (its column).

    Parameters
    ----------
    weights : array_like
        (N, N), [target, source].
    edges : array_like, optional
        (N, N) mask of the edges, for the degrees.

    Raises
    ------
    ValueError
        If the shapes do not fit.
    """
    matrix, mask = _matrix(weights, edges)
    strength = np.abs(matrix)
    return NeuronConnectivity(
        in_strength=strength.sum(1),
        out_strength=strength.sum(0),
        in_weight=matrix.sum(1),
        out_weight=matrix.sum(0),
        in_degree=None if mask is None else mask.sum(1),
        out_degree=None if mask is None else mask.sum(0),
    )


def reciprocity(weights: ArrayLike, edges: ArrayLike) -> Reciprocity:
    """Return how often connections go both ways.

    Parameters
    ----------
    weights, edges : array_like
        (N, N), [target, source]: the weights, and the mask of the edges.

    Raises
    ------
    ValueError
        If the shapes do not fit.
    """
    matrix, mask = _matrix(weights, edges)
    assert mask is not None
    off, count = off_diagonal(len(matrix)), int(mask.sum())
    there, back = matrix[off], matrix.T[off]
    flat = len(there) < 2 or np.ptp(there) == 0
    return Reciprocity(
        share=float(np.sum(mask & mask.T) / count) if count else float("nan"),
        chance=count / off.sum() if off.any() else float("nan"),
        r=float("nan") if flat else float(np.corrcoef(there, back)[0, 1]),
    )


def _matrix(weights: ArrayLike, edges: ArrayLike | None) -> tuple[NDArray[np.float64], NDArray[np.bool_] | None]:
    """Return the weights with a diagonal of 0, and the mask of the edges off the diagonal."""
    matrix = square("weights", weights).copy()
    np.fill_diagonal(matrix, 0.0)
    if edges is None:
        return matrix, None
    mask = np.asarray(edges, bool)
    if mask.shape != matrix.shape:
        raise ValueError(f"edges has shape {mask.shape}, expected {matrix.shape}")
    return matrix, mask & off_diagonal(len(matrix))
