"""Which entries of a connectivity matrix are its edges: the strongest, or the significant ones.

Letters: N neurons. Matrices are [target, source]; a neuron's own entry is never an edge, nor is a weight of 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError
from ..session import Connectivity

#: Fewer neurons than this have no order of pairs that could be compared.
FEWEST = 3


def square(name: str, matrix: ArrayLike) -> NDArray[np.float64]:
    """Return `matrix` as float64 (N, N).

    Raises
    ------
    ValueError
        If it is not square; the message calls it `name`.
    """
    array = np.asarray(matrix, np.float64)
    if array.ndim != 2 or array.shape[0] != array.shape[1]:
        raise ValueError(f"{name} has shape {array.shape}, expected a square matrix [target, source]")
    return array


def two_matrices(
    name: str, first: ArrayLike, other_name: str, second: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return two matrices (N, N) as float64.

    Raises
    ------
    ValueError
        If they are not square, equal in shape and finite off the diagonal, or have fewer than 3 neurons.
    """
    a, b = square(name, first), square(other_name, second)
    if a.shape != b.shape:
        raise ValueError(f"{name} is of {len(a)} neurons, {other_name} of {len(b)}")
    if len(a) < FEWEST:
        raise ValueError(f"there are {len(a)} neurons, expected {FEWEST} or more")
    off = off_diagonal(len(a))
    if not (np.isfinite(a[off]).all() and np.isfinite(b[off]).all()):
        raise ValueError(f"{name} or {other_name} is not finite")
    return a, b


def off_diagonal(n: int) -> NDArray[np.bool_]:
    """Return the mask (N, N) of the pairs of two different neurons."""
    return ~np.eye(n, dtype=bool)


def strongest_edges(weights: ArrayLike, count: int) -> NDArray[np.bool_]:
    """Return the mask (N, N) of the `count` pairs of largest ``|weight|``.

    All pairs that tie with the last of them are edges too: the order of the neurons never decides. So there may be
    more than `count`; where fewer weights differ from 0, there are fewer.

    Parameters
    ----------
    weights : array_like
        (N, N), [target, source].
    count : int
        How many, 1 or more.

    Raises
    ------
    ValueError
        If the matrix is not square, or `count` is below 1.
    """
    strength = np.abs(square("weights", weights))
    if count < 1:
        raise ValueError(f"count is {count}, expected 1 or more")
    np.fill_diagonal(strength, 0.0)
    flat = strength.ravel()
    if count < flat.size:
        strength[strength < np.partition(flat, flat.size - count)[flat.size - count]] = 0.0
    return np.asarray(strength > 0)


def significant_edges(weights: ArrayLike, q_value: ArrayLike, rate: float) -> NDArray[np.bool_]:
    """Return the mask (N, N) of the pairs whose q-value is at most `rate`; one without a q-value (NaN) is no edge.

    Parameters
    ----------
    weights, q_value : array_like
        (N, N), [target, source].
    rate : float
        The false-discovery rate to allow, above 0 and at most 1.

    Raises
    ------
    ValueError
        If a matrix is not square, the shapes differ, or `rate` is not such a number.
    """
    weights, q = square("weights", weights), square("q_value", q_value)
    if weights.shape != q.shape:
        raise ValueError(f"q_value has shape {q.shape}, expected {weights.shape}")
    if not 0 < rate <= 1:
        raise ValueError(f"rate is {rate}, expected more than 0 and at most 1")
    return np.asarray((q <= rate) & (weights != 0) & off_diagonal(len(q)))


def choose_edges(
    connectivity: Connectivity, *, significant: float | None = None, strongest: int | None = None
) -> NDArray[np.bool_]:
    """Return the mask (N, N) of the edges of a matrix: by default every weight that is not 0.

    Parameters
    ----------
    connectivity : Connectivity
        N by N.
    significant : float, optional
        Only those whose q-value is at most this false-discovery rate.
    strongest : int, optional
        Only so many, those of largest ``|weight|``; with `significant`, of the significant ones.

    Raises
    ------
    InputError
        If the matrix has no q-values and `significant` is given, or a number is refused.
    """
    weights = connectivity.weights.astype(np.float64)
    try:
        if significant is not None:
            if connectivity.q_value is None:
                raise InputError(
                    f"the matrix of method {connectivity.method} has no q-values: it does not say what is significant",
                    remedy="Choose the strongest edges instead.",
                )
            weights *= significant_edges(weights, connectivity.q_value, significant)
        if strongest is not None:
            return strongest_edges(weights, strongest)
    except InputError:
        raise
    except ValueError as error:
        raise InputError(str(error)) from error
    return np.asarray((weights != 0) & off_diagonal(len(weights)))
