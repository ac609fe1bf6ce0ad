"""How good a forecast is, and how well a connectivity matrix recovers a known one. Plain numpy.

Letters: n forecast samples, N neurons, T samples. Connectivity is [target, source]; its diagonal is never scored.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .session import Scores

# Traces are z-scored, of scale 1: what varies by less than this is constant up to the rounding of float32. Two
# constants that differ by rounding would otherwise correlate at any r, even 1.
_CONSTANT = 1e-6
_BLOCK = 2**19  # numbers turned to float64 at a time


def is_constant(values: ArrayLike) -> NDArray[np.bool_]:
    """Whether each column of `values` (n, N), in z-scored units, is constant up to rounding."""
    values = np.asarray(values)
    if not len(values):
        return np.ones(values.shape[1], bool)
    spread = values.max(0) - values.min(0)
    return np.asarray(spread <= _CONSTANT * np.maximum(1, np.abs(values).max(0)))


def score_neurons(prediction: ArrayLike, truth: ArrayLike) -> Scores:
    """Score a forecast neuron by neuron (paper, section 3.1).

    Parameters
    ----------
    prediction, truth : array_like
        (n, N) forecast and measured activity, z-scored.

    Returns
    -------
    Scores
        Pearson r over the n samples, NaN where the trace or its forecast is constant (up to rounding), and the mean
        squared error.

    Raises
    ------
    ValueError
        If the shapes differ, there is no sample, or a number is not finite.
    """
    predicted, measured = np.asarray(prediction), np.asarray(truth)
    if predicted.shape != measured.shape or predicted.ndim != 2 or not len(predicted):
        raise ValueError(f"prediction {predicted.shape} and truth {measured.shape} are not two equal (n, N) arrays")
    mse, r = np.empty(predicted.shape[1]), np.empty(predicted.shape[1])
    step = max(8, _BLOCK // len(predicted))  # neurons
    for start in range(0, len(mse), step):
        block = slice(start, start + step)
        p, y = predicted[:, block].astype(np.float64), measured[:, block].astype(np.float64)
        if not (np.isfinite(p).all() and np.isfinite(y).all()):
            raise ValueError("the forecast or the measured activity is not finite")
        mse[block] = np.mean((p - y) ** 2, axis=0)
        r[block] = np.where(is_constant(p) | is_constant(y), np.nan, _correlation(p, y))
    return Scores(correlation=r, mse=mse)  # type: ignore[arg-type]


def lagged_correlation(
    x: ArrayLike, lag: int, *, segment: ArrayLike | None = None, valid: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Correlate each neuron with every other's past: C[i, j] = corr(x_i(t + lag), x_j(t)) (paper, section 3.2).

    Parameters
    ----------
    x : array_like
        (N, T) activity.
    lag : int
        Samples from source j to target i, 0 or more.
    segment : array_like, optional
        (T,) number of the stretch each sample belongs to; no pair crosses a change of it.
    valid : array_like, optional
        (T,) samples that may be used.

    Returns
    -------
    numpy.ndarray
        (N, N) [target, source], with a zero diagonal, and 0 for a neuron that is constant over the pairs.

    Raises
    ------
    ValueError
        If the lag is negative or leaves fewer than two pairs of samples.
    """
    values = np.asarray(x)
    n_samples = values.shape[1]
    if lag < 0:
        raise ValueError(f"lag is {lag}, expected 0 or more samples")
    pairs = np.arange(max(n_samples - lag, 0))
    if segment is not None:
        # stretches are told apart by where the number changes, in case a number is used again
        stretch = np.cumsum(np.diff(np.asarray(segment), prepend=np.asarray(segment)[:1]) != 0)
        pairs = pairs[stretch[pairs] == stretch[pairs + lag]]
    if valid is not None:
        usable = np.asarray(valid, bool)
        pairs = pairs[usable[pairs] & usable[pairs + lag]]
    if len(pairs) < 2:
        raise ValueError(f"a lag of {lag} leaves {len(pairs)} pairs of samples, expected at least 2")
    target, source = (_unit(values[:, at].astype(np.float64)) for at in (pairs + lag, pairs))
    correlation = target @ source.T
    np.fill_diagonal(correlation, 0)
    return np.asarray(np.clip(correlation, -1, 1))


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
    r = float("nan") if flat else float(_correlation(guess[:, None], true[:, None])[0])
    return {
        "r": r,
        "r2": r**2,
        "auroc": _auroc(strength, edge),
        "average_precision": _average_precision(strength, edge),
        "chance": float(edge.mean()) if len(edge) else float("nan"),
        "precision": _precision_at_edges(strength, edge),
        "sign_accuracy": float(np.mean(np.sign(guess[edge]) == np.sign(true[edge]))) if edge.any() else float("nan"),
    }


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pearson r of each column of `a` with the same column of `b`; 0 where one is constant."""
    return np.asarray(np.clip(np.einsum("nt,nt->n", _unit(a.T), _unit(b.T)), -1, 1))


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return `rows` with mean 0 and norm 1, and constant ones as zeros."""
    centred = rows - rows.mean(1, keepdims=True)
    norm = np.linalg.norm(centred, axis=1, keepdims=True)
    vanishes = norm <= 1e-12 * np.sqrt(rows.shape[1]) * np.abs(rows).max(1, keepdims=True)
    return np.asarray(np.where(vanishes, 0, centred / np.where(vanishes, 1, norm)))


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
