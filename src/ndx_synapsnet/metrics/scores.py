"""How good a forecast is, neuron by neuron.

Letters: n forecast samples, N neurons.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..session import Scores
from .pearson import correlate_columns

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
        r[block] = np.where(is_constant(p) | is_constant(y), np.nan, correlate_columns(p, y))
    return Scores(correlation=r, mse=mse)  # type: ignore[arg-type]
