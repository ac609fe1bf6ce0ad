"""How far two connectivity matrices over the same neurons agree.

Two seeds of one model, two methods, two sessions, two conditions. Letters: N neurons, P = N (N - 1) ordered pairs.
Matrices are [target, source]; the diagonal is never looked at.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .edges import off_diagonal, strongest_edges, two_matrices
from .pearson import unit_rows

_ROUNDING = 1e-10  # a permutation that changes nothing must not count as lower by rounding


@dataclass(frozen=True)
class Agreement:
    """What `compare_matrices` finds. A figure that is undefined (a constant matrix, no edge) is NaN."""

    neurons: int
    """N."""
    r: float
    """Pearson correlation of the two matrices' entries off the diagonal."""
    spearman: float
    """Spearman's, ties at their mean rank."""
    r_chance: float
    """Mean of r over the permutations: about 0, but not where neurons are permuted within groups only."""
    p: float
    """Of r, by permutation: see `permutation_test` for what is tested."""
    sign_pairs: int
    """Pairs whose signs are compared: those of largest ``|first x second|``."""
    sign_agreement: float
    """Share of them of equal sign."""
    sign_chance: float
    """That share if signs were dealt out at random, each matrix keeping how many of its own are positive."""
    edges: tuple[int, int]
    """Edges of the first and of the second matrix."""
    shared_edges: int
    """Edges of both."""
    jaccard: float
    """Shared edges over those of either."""
    jaccard_chance: float
    """Mean of that over the permutations."""
    jaccard_p: float
    """Of the number of shared edges, by the same permutations."""
    permutations: int
    seed: int


@dataclass(frozen=True, eq=False)
class Permutations:
    """What `permutation_test` finds."""

    r: float
    """Pearson correlation off the diagonal; NaN if a matrix is constant there."""
    p: float
    """(1 + number of permutations with at least this r) / (1 + number of permutations)."""
    null: NDArray[np.float64]
    """(permutations,) correlations with the second matrix's neurons permuted."""
    shared: int
    """Edges that both matrices have; 0 where no edges were given."""
    shared_p: float
    """The same for `shared`; NaN where no edges were given."""
    null_shared: NDArray[np.int64]
    """(permutations,) shared edges; empty where no edges were given."""


def compare_matrices(
    first: ArrayLike,
    second: ArrayLike,
    *,
    edges: tuple[ArrayLike, ArrayLike] | None = None,
    strongest: float = 0.1,
    permutations: int = 1000,
    seed: int = 0,
    within: ArrayLike | None = None,
) -> Agreement:
    """Compare two connectivity matrices over the same neurons in the same order.

    Parameters
    ----------
    first, second : array_like
        (N, N), [target, source].
    edges : pair of array_like, optional
        (N, N) masks of the edges of each, such as the significant ones; by default each one's strongest.
    strongest : float
        Share of the pairs whose signs are compared, and, without `edges`, that are taken as edges of each matrix.
    permutations : int
        How many, for p; see `permutation_test`.
    seed : int
        Of the permutations.
    within : array_like, optional
        (N,) labels, such as regions: permute only among neurons of one label.

    Raises
    ------
    ValueError
        If the matrices are not square, equal in shape and finite off the diagonal, or have fewer than 3 neurons; if
        `strongest` is not a share, or what `permutation_test` raises.
    """
    a, b = two_matrices("first", first, "second", second)
    if not 0 < strongest <= 1:
        raise ValueError(f"strongest is {strongest}, expected more than 0 and at most 1")
    count = max(1, round(strongest * len(a) * (len(a) - 1)))
    masks = (strongest_edges(a, count), strongest_edges(b, count)) if edges is None else _masks(edges, len(a))
    test = permutation_test(a, b, permutations=permutations, seed=seed, within=within, edges=masks)
    off = off_diagonal(len(a))
    sizes = int(masks[0].sum()), int(masks[1].sum())
    either = sum(sizes) - test.shared
    pairs, agreement, chance = _signs(a, b, count)
    nan = float("nan")
    return Agreement(
        neurons=len(a),
        r=test.r,
        spearman=_pearson(_ranks(a[off]), _ranks(b[off])),
        r_chance=float(np.mean(test.null)) if np.isfinite(test.r) else nan,
        p=test.p,
        sign_pairs=pairs,
        sign_agreement=agreement,
        sign_chance=chance,
        edges=sizes,
        shared_edges=test.shared,
        jaccard=test.shared / either if either else nan,
        jaccard_chance=float(np.mean(test.null_shared / (sum(sizes) - test.null_shared))) if either else nan,
        jaccard_p=test.shared_p if either else nan,
        permutations=permutations,
        seed=seed,
    )


def permutation_test(
    first: ArrayLike,
    second: ArrayLike,
    *,
    permutations: int = 1000,
    seed: int = 0,
    within: ArrayLike | None = None,
    edges: tuple[ArrayLike, ArrayLike] | None = None,
) -> Permutations:
    """Test whether two matrices agree more than by chance, permuting the neurons of one of them.

    The null hypothesis: which neuron is which in the second matrix has nothing to do with which is which in the
    first; every assignment of its neurons to those of the first is as likely. Rows and columns are permuted alike, so
    that each matrix keeps its own structure (strong and weak neurons, reciprocity, groups) under the null. Entries
    that share a neuron are not independent, which makes a test that takes them to be so reject far too often
    (Mantel, 1967; Krackhardt, 1988, "QAP"). One-sided: p is small where the matrices agree.

    What rejecting does not say: that single edges agree. Matrices that share no more than which neurons are strong
    targets or sources, or (without `within`) which groups are connected, are no chance assignment either. And the test
    says nothing of what made them agree: two estimates from one recording share its noise and its unseen inputs.

    Parameters
    ----------
    first, second : array_like
        (N, N), [target, source].
    permutations : int
        How many, drawn at random; p is never below 1 / (1 + permutations), nor, with few neurons, much below one over
        the number of different permutations.
    seed : int
        Of the permutations.
    within : array_like, optional
        (N,) labels, such as regions: permute only among neurons of one label. Then agreement that the labels explain
        does not count.
    edges : pair of array_like, optional
        (N, N) masks: test the number of edges that both have, too.

    Raises
    ------
    ValueError
        If the matrices are not square, equal in shape and finite off the diagonal, or have fewer than 3 neurons; if
        `permutations` is below 1, or `within` or the masks do not fit.
    """
    a, b = two_matrices("first", first, "second", second)
    n = len(a)
    if permutations < 1:
        raise ValueError(f"permutations is {permutations}, expected 1 or more")
    masks = None if edges is None else _masks(edges, n)
    labels = np.zeros(n, int) if within is None else np.unique(np.asarray(within), return_inverse=True)[1].ravel()
    if labels.shape != (n,):
        raise ValueError(f"within has {len(labels)} labels, expected {n}")
    strata = [np.flatnonzero(labels == label) for label in np.unique(labels)]

    # standardised once: a permutation changes neither mean nor norm, and r is a sum of products
    x, y = _standardised(a), _standardised(b)
    r = float(np.vdot(x, y))
    shared = 0 if masks is None else int(np.sum(masks[0] & masks[1]))
    null, null_shared = np.empty(permutations), np.empty(0 if masks is None else permutations, np.int64)
    rng, order, square_order = np.random.default_rng(seed), np.arange(n), np.empty((n, n), np.intp)
    flat_edges = None if masks is None else (np.flatnonzero(masks[0]), masks[1].ravel())
    for place in range(permutations):
        for members in strata:
            order[members] = rng.permutation(members)
        np.add(order[:, None] * n, order, out=square_order)
        null[place] = np.vdot(x, y.take(square_order))
        if flat_edges is not None:
            null_shared[place] = np.count_nonzero(flat_edges[1][square_order.ravel()[flat_edges[0]]])
    defined = np.any(x) and np.any(y)
    nan = float("nan")
    return Permutations(
        r=min(max(r, -1.0), 1.0) if defined else nan,
        p=(1 + int(np.sum(null >= r - _ROUNDING))) / (1 + permutations) if defined else nan,
        null=null,
        shared=shared,
        shared_p=nan if masks is None else (1 + int(np.sum(null_shared >= shared))) / (1 + permutations),
        null_shared=null_shared,
    )


def _masks(edges: tuple[ArrayLike, ArrayLike], n: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    a, b = (np.asarray(each, bool) for each in edges)
    if a.shape != (n, n) or b.shape != (n, n):
        raise ValueError(f"edges have shapes {a.shape} and {b.shape}, expected {(n, n)}")
    off = off_diagonal(n)
    return a & off, b & off


def _standardised(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (N, N) with mean 0 and norm 1 off the diagonal and 0 on it; all 0 if it is constant off the diagonal."""
    off = off_diagonal(len(matrix))
    result = np.zeros_like(matrix)
    result[off] = unit_rows(matrix[off][None])[0]
    return result


def _pearson(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    x, y = unit_rows(np.stack([a, b]))
    return float(np.clip(x @ y, -1, 1)) if np.any(x) and np.any(y) else float("nan")


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ranks from 1, ties at their mean."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(count) - (count - 1) / 2)[place])


def _signs(a: NDArray[np.float64], b: NDArray[np.float64], count: int) -> tuple[int, float, float]:
    """Return how many pairs are compared, the share of equal signs among them, and that share by chance.

    Pairs are chosen by the product of the two strengths, which says nothing of whether the signs are equal.
    """
    chosen = strongest_edges(a * b, count)
    n = int(chosen.sum())
    if not n:
        return 0, float("nan"), float("nan")
    up_a, up_b = a[chosen] > 0, b[chosen] > 0
    share_a, share_b = float(up_a.mean()), float(up_b.mean())
    return n, float(np.mean(up_a == up_b)), share_a * share_b + (1 - share_a) * (1 - share_b)
