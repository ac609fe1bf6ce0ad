"""Means of a matrix over groups of pairs, with standard errors that take neurons to be independent.

Letters: N neurons, G groups, C classes of pairs. Matrices are [target, source], with a diagonal of 0.

Standard errors take the neurons to be independent, not the pairs: all weights of one neuron, as target and as source,
may depend on each other. They are of the delete-one-neuron jackknife (Snijders and Borgatti, 1999, without their
factor for independent pairs), which on the average is not too small. They say how far the mean would vary with other
neurons of the same kind from the same recording, not with other recordings or animals.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def divide(total: NDArray[np.float64], count: NDArray[np.floating | np.integer]) -> NDArray[np.float64]:
    """Return the quotient, NaN where `count` is 0."""
    quotient = np.full(np.shape(total), np.nan)
    np.divide(total, count, out=quotient, where=np.asarray(count) > 0)
    return quotient


def group_errors(matrix: NDArray[np.float64], member: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the jackknife's standard errors (G, G) of the mean weights; see the head of this file.

    Between two groups, targets and sources are two samples, and their variances add. Within one, a neuron leaves with
    its row and its column.
    """
    between, within = _between_errors(matrix, member), np.diag(_within_errors(matrix, member))
    return np.sqrt(np.where(np.eye(member.shape[1], dtype=bool), within, between + _between_errors(matrix.T, member).T))


def _between_errors(matrix: NDArray[np.float64], member: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the part (G, G) of the variance that the targets make: (n - 1) / n times the sum of squares."""
    sizes = member.sum(0)
    means = divide(matrix @ member, np.broadcast_to(sizes, (len(matrix), len(sizes))))  # (N, G) of each target
    # leaving out a target moves the mean of its group's targets by (own mean - mean) / (n - 1)
    centre = (member.T @ means) / sizes[:, None]
    squares = member.T @ (means - member @ centre) ** 2
    return divide(squares, np.broadcast_to((sizes * (sizes - 1))[:, None], squares.shape))


def _within_errors(matrix: NDArray[np.float64], member: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the variance (G,) of the mean weight within each group."""
    variance = np.full(member.shape[1], np.nan)
    for group, column in enumerate(member.T):
        rows = np.flatnonzero(column)
        n = len(rows)
        if n < 3:  # without one of two there is no pair left
            continue
        block = matrix[np.ix_(rows, rows)]
        total = block.sum()
        left = (total - block.sum(0) - block.sum(1)) / ((n - 1) * (n - 2))
        variance[group] = (n - 1) / n * np.sum((left - total / (n * (n - 1))) ** 2)
    return variance


def class_means(
    values: NDArray[np.float64], place: NDArray[np.integer], classes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and jackknife standard error (C,) of the values of each class of pairs.

    Parameters
    ----------
    values : (N, N) array
    place : (N, N) array of int
        Class of each pair; below 0 for none.
    classes : int
        C.
    """
    mean, error = np.full(classes, np.nan), np.full(classes, np.nan)
    for number in range(classes):
        inside = place == number
        count = int(inside.sum())
        if not count:
            continue
        held = np.where(inside, values, 0.0)
        total = held.sum()
        mean[number] = total / count
        counts = inside.sum(0) + inside.sum(1)
        of = counts > 0
        left = divide(total - (held.sum(0) + held.sum(1))[of], count - counts[of])
        n = int(of.sum())
        error[number] = np.sqrt((n - 1) / n * np.sum((left - mean[number]) ** 2))
    return mean, error
