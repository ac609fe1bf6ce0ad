"""How well a connectivity matrix recovers a known one. The diagonal is never scored."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .pearson import correlate_columns


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
    guess, true = np.asarray(estimate, np.float64), np.asarray(truth, np.float64)
    if guess.shape != true.shape or guess.ndim != 2 or guess.shape[0] != guess.shape[1]:
        raise ValueError(f"estimate {guess.shape} and truth {true.shape} are not two equal square matrices")
    off = ~np.eye(len(true), dtype=bool)
    guess, true = guess[off], true[off]
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
