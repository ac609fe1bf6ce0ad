"""How well a connectivity matrix recovers a known one. The diagonal is never scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .pearson import correlate_columns


@dataclass(frozen=True)
class PrecisionAt:
    """How many of the strongest pairs are true edges."""

    count: int
    """k, the number of strongest pairs looked at."""
    fraction: float | None
    """The share of the number of true edges that `count` was made of; None where the count itself was asked for."""
    precision: float
    """Share of true edges among them; of pairs that tie at the border, the expected share."""
    recall: float
    """Share of the true edges that are among them."""
    chance: float
    """Precision of a random ranking: the share of true edges among all pairs."""


def recovery(estimate: ArrayLike, truth: ArrayLike) -> dict[str, float]:
    """Compare an estimated connectivity with the true one, off the diagonal (paper, section 3.2).

    Parameters
    ----------
    estimate, truth : array_like
        (N, N) matrices [target, source]. An edge of `truth` is an entry that is not 0.

    Returns
    -------
    dict
        - ``r``: Pearson correlation of the entries, the likeliest reading of the paper's "accuracy"; ``r2`` its square;
        - ``auroc``: chance that a true edge's strength ``|estimate|`` exceeds that of a pair without one, ties half;
        - ``average_precision``: area under precision against recall when pairs are ranked by strength;
        - ``chance``: share of true edges, the average precision of a random ranking;
        - ``precision``: share of true edges among as many strongest pairs as there are true edges (ties in part);
        - ``sign_accuracy``: share of the true edges whose estimate has the right sign.

        A figure that is undefined (no edge, only edges, a constant matrix) is NaN.

    Raises
    ------
    ValueError
        If the matrices are not square and of equal shape.
    """
    guess, true = _off_diagonal(estimate, truth)
    edge, strength = true != 0, np.abs(guess)
    flat = not len(true) or np.ptp(guess) == 0 or np.ptp(true) == 0
    r = float("nan") if flat else float(correlate_columns(guess[:, None], true[:, None])[0])
    return {
        "r": r,
        "r2": r**2,
        "auroc": _auroc(strength, edge),
        "average_precision": _average_precision(strength, edge),
        "chance": float(edge.mean()) if len(edge) else float("nan"),
        "precision": _precision_at_edges(strength, edge),
        "sign_accuracy": float(np.mean(np.sign(guess[edge]) == np.sign(true[edge]))) if edge.any() else float("nan"),
    }


def precision_at(
    estimate: ArrayLike,
    truth: ArrayLike,
    *,
    fractions: Sequence[float] = (0.1, 0.25, 0.5, 1.0),
    counts: Sequence[int] = (),
) -> list[PrecisionAt]:
    """Return the precision among the k strongest pairs, off the diagonal, for several k.

    Parameters
    ----------
    estimate, truth : array_like
        (N, N) matrices [target, source]. An edge of `truth` is an entry that is not 0.
    fractions : sequence of float
        Each k is this share of the number of true edges, rounded, and at least 1.
    counts : sequence of int
        Further k, as they are; one above the number of pairs N (N - 1) means all of them.

    Returns
    -------
    list of PrecisionAt
        In the order given, fractions first. Without a true edge there is none of a fraction, and recall is NaN.

    Raises
    ------
    ValueError
        If the matrices are not square and of equal shape, a fraction is not above 0, or a count below 1.
    """
    if not all(fraction > 0 for fraction in fractions) or not all(count >= 1 for count in counts):
        raise ValueError(f"fractions {tuple(fractions)} or counts {tuple(counts)} are not above 0")
    guess, true = _off_diagonal(estimate, truth)
    edge = true != 0
    edges, pairs = int(edge.sum()), len(edge)
    asked: list[tuple[int, float | None]] = [(max(1, round(f * edges)), f) for f in fractions if edges]
    asked += [(int(count), None) for count in counts]
    if not pairs:
        return []
    chosen, hits = _ranked(np.abs(guess), edge)
    found = []
    for wanted, fraction in asked:
        k = min(wanted, pairs)
        hit = float(np.interp(k, np.r_[0, chosen], np.r_[0, hits]))
        found.append(PrecisionAt(k, fraction, hit / k, hit / edges if edges else float("nan"), edges / pairs))
    return found


def _off_diagonal(estimate: ArrayLike, truth: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the entries off the diagonal of two matrices (N (N - 1),), row by row."""
    guess, true = np.asarray(estimate, np.float64), np.asarray(truth, np.float64)
    if guess.shape != true.shape or guess.ndim != 2 or guess.shape[0] != guess.shape[1]:
        raise ValueError(f"estimate {guess.shape} and truth {true.shape} are not two equal square matrices")
    off = ~np.eye(len(true), dtype=bool)
    return guess[off], true[off]


def _auroc(strength: NDArray[np.float64], edge: NDArray[np.bool_]) -> float:
    """Area under the ROC curve by the rank sum (Mann-Whitney), tied strengths at their mean rank."""
    positive, negative = int(edge.sum()), int((~edge).sum())
    if not positive or not negative:
        return float("nan")
    _, place, count = np.unique(strength, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(count) - (count - 1) / 2
    return float((mean_rank[place][edge].sum() - positive * (positive + 1) / 2) / (positive * negative))


def _average_precision(strength: NDArray[np.float64], edge: NDArray[np.bool_]) -> float:
    """Sum of precision times the step in recall, over thresholds from the strongest down, ties at one threshold."""
    if not edge.any():
        return float("nan")
    chosen, hits = _ranked(strength, edge)
    return float(np.sum(hits / chosen * np.diff(hits, prepend=0)) / hits[-1])


def _precision_at_edges(strength: NDArray[np.float64], edge: NDArray[np.bool_]) -> float:
    """Precision among the strongest pairs, as many as there are edges; of a tie at the border, the expected share."""
    if not edge.any():
        return float("nan")
    chosen, hits = _ranked(strength, edge)
    return float(np.interp(hits[-1], np.r_[0, chosen], np.r_[0, hits]) / hits[-1])


def _ranked(strength: NDArray[np.float64], edge: NDArray[np.bool_]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Pairs chosen and edges among them, at each threshold from the strongest down."""
    order = np.argsort(-strength, kind="stable")
    last = np.r_[np.flatnonzero(np.diff(strength[order])), len(order) - 1]
    return last + 1, np.cumsum(edge[order])[last]
