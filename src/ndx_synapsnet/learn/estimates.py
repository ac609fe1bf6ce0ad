"""Unshrunk estimates of connectivity with their standard errors: what a test needs, where a forecast wants shrinkage.

    u(t+1) = W u(t) + D b(t) + C v(t) + c + e        u: what a neuron's own history does not tell of its activity

A neuron's own history is taken out of targets *and* sources. Calcium shows why: fluorescence lasts for many frames, so
its last value says little of what a neuron just did; with it as source almost no connection is found. For counts the
difference is small, and a gain. Hidden drive v comes from the linear stage, which also says how unsure it is of it.

Letters: N neurons (targets, and sources), K behaviours, k hidden series, p = N + K + k predictors, n rows, T samples,
L lags.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .coordinate_descent import Array
from .drive import DriveFit
from .windows import Windows

_ROWS = 4096  # rows worked on at a time
_COLUMNS = 16  # neurons likewise
_VANISHES = 1e-10  # a variance below this, against the z-scored ones, is rounding


@dataclass(frozen=True, eq=False)
class Estimate:
    """Least squares, and how far sampling moves it."""

    weights: Array
    """(N, p) [target, source]; 0 where the source never varies."""
    standard_error: Array
    """(N, p); 0 where the source never varies."""
    count: int
    """Rows behind it."""


def regress(predictors: NDArray[np.floating], targets: NDArray[np.floating], doubt: Array | None = None) -> Estimate:
    """Regress all targets on all predictors and an intercept, with errors that hold where the noise is uneven.

    Counts vary more when they are high, so the noise depends on the predictors. The errors are those of White (1980),
    "A heteroskedasticity-consistent covariance matrix estimator", each residual divided by what its row's leverage
    leaves of it (HC2: MacKinnon and White 1985).

    Parameters
    ----------
    predictors : array (n, p)
        What is known before each row's target.
    targets : array (n, N)
        What is regressed.
    doubt : array (k, k), optional
        Covariance of the error in the last k predictors, where these are themselves estimates (the expected products
        of the EM algorithm; Shumway and Stoffer 1982).

    Raises
    ------
    ValueError
        If rows differ in number, or a value is not finite.
    InputError
        If there are fewer than two rows for each predictor.
    """
    n, p = predictors.shape
    if len(targets) != n:
        raise ValueError(f"{n} rows of predictors and {len(targets)} of targets")
    if n < 2 * (p + 1):
        raise InputError(
            f"{n} samples are too few to tell {p} sources apart",
            remedy=f"Use a recording of at least {2 * (p + 1)} training samples, or fewer neurons.",
        )
    means = predictors.mean(0, dtype=np.float64), targets.mean(0, dtype=np.float64)
    if not (np.isfinite(means[0]).all() and np.isfinite(means[1]).all()):
        raise ValueError("predictors or targets are not finite")
    gram, cross = np.zeros((p, p)), np.zeros((p, targets.shape[1]))
    for x, y in _blocks(predictors, targets, means):
        gram += x.T @ x
        cross += x.T @ y
    varies = np.diagonal(gram) > _VANISHES * n
    if doubt is not None:
        gram[p - len(doubt) :, p - len(doubt) :] += n * doubt
    inverse = np.zeros((p, p))
    inverse[np.ix_(varies, varies)] = np.linalg.pinv(gram[np.ix_(varies, varies)], hermitian=True)
    weights = inverse @ cross  # (p, N)
    spread = np.zeros_like(weights)
    for x, y in _blocks(predictors, targets, means):
        reach = x @ inverse  # (rows, p) how far a row's residual moves each coefficient
        left = np.maximum(1 - 1 / n - (reach * x).sum(1), 1 / n)
        spread += (reach**2).T @ ((y - x @ weights) ** 2 / left[:, None])
    return Estimate(np.ascontiguousarray(weights.T), np.ascontiguousarray(np.sqrt(spread).T), n)


def innovations(series: NDArray[np.floating], rows: NDArray[np.int64], lags: int) -> NDArray[np.float32]:
    """Return what a linear autoregression on each neuron's own past leaves of its samples `rows`.

    Parameters
    ----------
    series : array (T, N)
        Activity.
    rows : array (n,)
        Samples to return, each with `lags` valid ones before it. The regression is fitted to these.
    lags : int
        L; 0 takes only the mean away.

    Returns
    -------
    array (n, N)
    """
    left = np.empty((len(rows), series.shape[1]), np.float32)
    for first in range(0, series.shape[1], _COLUMNS):
        part = slice(first, first + _COLUMNS)
        target = series[rows, part].astype(np.float64)
        target -= target.mean(0)
        if lags:
            past = np.stack([series[rows - lag, part] for lag in range(1, lags + 1)], axis=2).astype(np.float64)
            past = (past - past.mean(0)).transpose(1, 0, 2)  # (columns, n, L)
            gram = past.transpose(0, 2, 1) @ past
            cross = past.transpose(0, 2, 1) @ target.T[:, :, None]
            target -= (past @ (np.linalg.pinv(gram, hermitian=True) @ cross))[:, :, 0].T
        left[:, part] = target
    return left


def estimate_connectivity(windows: Windows, fit: DriveFit) -> tuple[Estimate, tuple[Estimate, Estimate]]:
    """Estimate the connectivity of a session without shrinkage, beside the hidden drive of its linear stage.

    Parameters
    ----------
    windows : Windows
        The session; its training part is used.
    fit : DriveFit
        Its linear stage, fitted to the same part.

    Returns
    -------
    Estimate
        (N, N) [target, source]: deviations of the target's next innovation per deviation of the source's.
    tuple of Estimate
        The same from the first and the second half of the rows; see `inference.assess`.

    Raises
    ------
    InputError
        If a half of the training part has fewer than two samples for each predictor.
    """
    chosen = windows.targets["train"].cpu().numpy()
    later = chosen[1:][np.diff(chosen) == 1]  # the sample before it has W valid ones before it, too
    activity = windows.activity.cpu().numpy()
    series, doubt = fit.smoothed(windows)
    target = innovations(activity, later, windows.window)
    source = innovations(activity, later - 1, windows.window)
    for each in (target, source):
        scale = np.sqrt(np.mean(each**2, axis=0, dtype=np.float64))
        each /= np.where(scale > _VANISHES, scale, 1)
    behavior = windows.behavior.cpu().numpy()[later - 1]
    predictors = np.hstack([source, behavior, series[later]])
    n, middle = windows.n_neurons, len(later) // 2

    def of(part: slice) -> Estimate:
        found = regress(predictors[part], target[part], doubt)
        return Estimate(found.weights[:, :n], found.standard_error[:, :n], found.count)

    return of(slice(None)), (of(slice(middle)), of(slice(middle, None)))


def _blocks(
    predictors: NDArray[np.floating], targets: NDArray[np.floating], means: tuple[Array, Array]
) -> Iterator[tuple[Array, Array]]:
    """Yield some rows of both at a time, centred, in float64."""
    for first in range(0, len(predictors), _ROWS):
        part = slice(first, first + _ROWS)
        yield predictors[part] - means[0], targets[part] - means[1]
