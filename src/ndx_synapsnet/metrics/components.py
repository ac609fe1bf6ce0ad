"""How well a forecast follows the population's leading principal components (paper, figure 2).

Letters: n forecast samples, N neurons, C components.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .pearson import correlate_columns
from .scores import is_constant


@dataclass(frozen=True, eq=False)
class Components:
    """The leading components of the true activity, and what a forecast makes of them."""

    truth: NDArray[np.float64]
    """(n, C) the true activity's components over time."""
    prediction: NDArray[np.float64]
    """(n, C) the forecast's, along the same directions and from the same centre."""
    directions: NDArray[np.float64]
    """(N, C) of norm 1, each with its largest entry positive, so that the sign does not depend on the solver."""
    explained: NDArray[np.float64]
    """(C,) shares of the true activity's variance."""
    correlation: NDArray[np.float64]
    """(C,) Pearson r of truth and forecast, which no choice of sign changes; NaN where one of them is constant."""


def principal_components(prediction: ArrayLike, truth: ArrayLike, count: int = 3) -> Components:
    """Correlate the first principal components of the true and of the forecast activity (paper, figure 2).

    Parameters
    ----------
    prediction, truth : array_like
        (n, N) forecast and measured activity, z-scored.
    count : int
        C. The components are those of the truth alone: its own, of a forecast that barely moves, would be noise.

    Returns
    -------
    Components
        The projections and their correlations.

    Raises
    ------
    ValueError
        If the shapes differ, a number is not finite, or there are not so many components.
    """
    predicted, measured = (np.asarray(each, np.float64) for each in (prediction, truth))
    if predicted.shape != measured.shape or predicted.ndim != 2:
        raise ValueError(f"prediction {predicted.shape} and truth {measured.shape} are not two equal (n, N) arrays")
    if not 1 <= count <= min(measured.shape):
        raise ValueError(f"count is {count}, expected 1 to {min(measured.shape)}")
    if not (np.isfinite(predicted).all() and np.isfinite(measured).all()):
        raise ValueError("the forecast or the measured activity is not finite")
    centre = measured.mean(0)
    centred = measured - centre
    directions = _directions(centred, count)
    own, forecast = centred @ directions, (predicted - centre) @ directions
    total = np.sum(centred**2)
    return Components(
        truth=own,
        prediction=forecast,
        directions=directions,
        explained=np.sum(own**2, axis=0) / total if total > 0 else np.zeros(count),
        correlation=np.where(is_constant(own) | is_constant(forecast), np.nan, correlate_columns(own, forecast)),
    )


def _directions(centred: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Return the first right singular vectors (N, C) of (n, N), by way of the smaller of the two Gram matrices."""
    n_samples, n_neurons = centred.shape
    if n_samples < n_neurons:
        vectors = centred.T @ np.linalg.eigh(centred @ centred.T)[1][:, : -count - 1 : -1]
        vectors /= np.maximum(np.linalg.norm(vectors, axis=0), np.finfo(float).tiny)
    else:
        vectors = np.linalg.eigh(centred.T @ centred)[1][:, : -count - 1 : -1]
    largest = vectors[np.abs(vectors).argmax(0), np.arange(count)]
    return np.asarray(vectors * np.where(largest < 0, -1, 1))
