"""Connectivity matrices made ready to be drawn: in one order, thinned to edges, no larger than a screen.

Letters: N neurons, M targets, S sources.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .ordering import Groups, Order

#: Pixels a side beyond which a matrix is drawn by the means of its blocks.
MOST_PIXELS = 1000
_COARSE = 200  # a side below which no picture of edges goes


@dataclass(frozen=True)
class MatrixView:
    """Matrices [target, source] in one common order of the neurons."""

    titles: tuple[str, ...]
    matrices: tuple[NDArray[np.float64], ...]
    groups: tuple[tuple[str, int, int], ...]
    """Name, first and last-plus-one place of each group of neurons in the order; empty without regions."""
    source_groups: Groups | None = None
    """The same along the sources, where these are other neurons than the targets."""
    block: int = 1
    """Neurons a side of each pixel, which is the mean over its pairs."""
    shape: tuple[int, int] | None = None
    """Targets and sources, where a pixel is more than one pair."""
    note: str = ""
    """What one has to know to read the picture."""


def matrix_view(
    matrices: Mapping[str, NDArray[np.floating]],
    order: Order,
    *,
    sources: Order | None = None,
    edges: NDArray[np.bool_] | None = None,
    edges_said: str = "",
    most_pixels: int = MOST_PIXELS,
) -> MatrixView:
    """Return matrices in an order of their neurons.

    Parameters
    ----------
    matrices : mapping
        (M, S) arrays [target, source] by title.
    order : Order
        Of the targets, and of the sources unless `sources` is given.
    sources : Order, optional
        Of the sources.
    edges : array of bool, optional
        (M, S) the pairs to show, in the matrices' own order; the others are drawn as 0.
    edges_said : str
        Which pairs these are, in words.
    most_pixels : int
        Pixels a side beyond which blocks of pairs are averaged; the note says so.
    """
    across = sources or order
    shown, block = [], 1
    for matrix in matrices.values():
        if edges is None:
            pixels, block = block_means(matrix[np.ix_(order.rows, across.rows)], most_pixels)
        else:  # few edges would vanish in means of blocks: large blocks show their strongest one
            pixels, block = strongest_edges(matrix, edges, (order.rows, across.rows), _side(edges, most_pixels))
        shown.append(pixels)
    notes = [order.said, edges_said]
    if block > 1:
        what = "the mean over" if edges is None else "the strongest of"
        notes.append(f"each pixel is {what} {block} x {block} pairs")
    return MatrixView(
        tuple(matrices),
        tuple(shown),
        order.groups,
        None if sources is None else sources.groups,
        block,
        (len(order.rows), len(across.rows)),
        "; ".join(note for note in notes if note),
    )


def block_means(matrix: NDArray[np.floating], most: int) -> tuple[NDArray[np.float64], int]:
    """Return the means over square blocks such that no side is longer than `most`, and the side of a block.

    The last block of a side may be smaller than the others.
    """
    block = max(1, -(-max(matrix.shape) // most))
    if block == 1:
        return np.asarray(matrix, np.float64), 1
    means = matrix
    for axis, length in enumerate(matrix.shape):
        starts = np.arange(0, length, block)
        counts = np.diff(np.r_[starts, length])
        sums = np.add.reduceat(means, starts, axis=axis, dtype=np.float64)
        means = sums / (counts[:, None] if axis == 0 else counts)
    return np.asarray(means, np.float64), block


def strongest_edges(
    matrix: NDArray[np.floating],
    edges: NDArray[np.bool_],
    rows: tuple[NDArray[np.int64], NDArray[np.int64]],
    most: int,
) -> tuple[NDArray[np.float64], int]:
    """Return the edge of largest weight in each square block of an ordered matrix, 0 where there is none.

    Parameters
    ----------
    matrix : array
        (M, S).
    edges : array of bool
        (M, S).
    rows : pair of arrays
        The target and the source at each place of the order.
    most : int
        Blocks a side, at most.

    Returns
    -------
    array, int
        The blocks' values, and the side of a block.
    """
    block = max(1, -(-max(matrix.shape) // most))
    target, source = np.nonzero(edges)
    weight = np.asarray(matrix[target, source], np.float64)
    down, across = (np.argsort(of, kind="stable") // block for of in rows)  # the block in which each neuron lies
    shape = (-(-matrix.shape[0] // block), -(-matrix.shape[1] // block))
    place = down[target] * shape[1] + across[source]
    high, low = np.zeros(shape), np.zeros(shape)
    np.maximum.at(high.reshape(-1), place, weight)
    np.minimum.at(low.reshape(-1), place, weight)
    return np.where(high >= -low, high, low), block


def _side(edges: NDArray[np.bool_], most: int) -> int:
    """Return the pixels a side at which some edges cover about a twentieth of a picture, so that each is seen."""
    return int(np.clip(np.sqrt(np.count_nonzero(edges) / 0.05), min(_COARSE, most), most))


def color_limit(matrix: NDArray[np.floating]) -> float:
    """Return a symmetric colour limit that a few extreme entries off the diagonal cannot wash out.

    Zeros do not count: of a matrix of few edges, the limit is that of the edges.
    """
    size = np.abs(matrix)
    if size.shape[0] == size.shape[1]:
        size = size[~np.eye(len(size), dtype=bool)]
    size = size[size > 0]
    return float(np.quantile(size, 0.995)) if size.size else 1.0
