"""Which edges differ between two connectivity matrices whose standard errors are known.

Letters: N neurons. Matrices are [target, source]; the diagonal is never looked at.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .edges import off_diagonal, square, two_matrices


@dataclass(frozen=True, eq=False)
class EdgeDifferences:
    """What `compare_edges` finds; entries (N, N) are NaN on the diagonal and where a standard error is missing."""

    difference: NDArray[np.float64]
    """First less second."""
    z: NDArray[np.float64]
    """Difference over its standard error."""
    p: NDArray[np.float64]
    """Two-sided, normal."""
    q: NDArray[np.float64]
    """Benjamini and Hochberg's, over the pairs tested."""


def compare_edges(
    first: ArrayLike, second: ArrayLike, first_error: ArrayLike, second_error: ArrayLike
) -> EdgeDifferences:
    """Find the edges that differ between two matrices whose standard errors are known.

    For each pair, the null hypothesis is that both matrices estimate the same weight. The two errors are taken to be
    normal and independent of each other, as those of two recordings are; those of two fits of one recording are
    mostly positively correlated, and the test then finds too little. Both matrices must be in the same unit. Weights
    that are shrunk, as a fit's are, are shrunk the more the larger their errors: of recordings of unlike length, strong
    connections that are the same then differ more often than p says.

    Parameters
    ----------
    first, second : array_like
        (N, N) weights [target, source].
    first_error, second_error : array_like
        (N, N) standard errors. A pair of which one is not finite or is negative, or both are 0, is not tested.

    Raises
    ------
    ValueError
        If the matrices are not square and of equal shape, or weights are not finite off the diagonal.
    """
    a, b = two_matrices("first", first, "second", second)
    se_a, se_b = square("first_error", first_error), square("second_error", second_error)
    if se_a.shape != a.shape or se_b.shape != a.shape:
        raise ValueError(f"standard errors have shapes {se_a.shape} and {se_b.shape}, expected {a.shape}")
    usable = np.isfinite(se_a) & np.isfinite(se_b) & (se_a >= 0) & (se_b >= 0)
    error = np.hypot(np.where(usable, se_a, 0), np.where(usable, se_b, 0))
    tested = (error > 0) & off_diagonal(len(a))
    z = np.full(a.shape, np.nan)
    np.divide(a - b, error, out=z, where=tested)
    p, q = np.full(a.shape, np.nan), np.full(a.shape, np.nan)
    p[tested] = [math.erfc(abs(value) / math.sqrt(2)) for value in z[tested].tolist()]
    q[tested] = benjamini_hochberg(p[tested])
    return EdgeDifferences(difference=np.where(tested, a - b, np.nan), z=z, p=p, q=q)


def benjamini_hochberg(p: ArrayLike) -> NDArray[np.float64]:
    """Return the q-values of p-values (m,), in their order: Benjamini and Hochberg (1995), step up.

    A q-value is the least false-discovery rate at which a p-value is among those found.

    Raises
    ------
    ValueError
        If a p-value is not between 0 and 1.
    """
    values = np.asarray(p, np.float64)
    if values.ndim != 1 or not ((values >= 0) & (values <= 1)).all():
        raise ValueError("p-values must be a row of numbers from 0 to 1")
    m = len(values)
    order = np.argsort(values, kind="stable")
    stepped = values[order] * m / np.arange(1, m + 1)
    q = np.empty(m)
    q[order] = np.minimum(np.minimum.accumulate(stepped[::-1])[::-1], 1)
    return q
