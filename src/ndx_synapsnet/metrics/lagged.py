"""Correlation of every neuron with every other's past.

Letters: N neurons, T samples.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .pearson import unit_rows


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
    if lag < 0:
        raise ValueError(f"lag is {lag}, expected 0 or more samples")
    pairs = paired_samples(values.shape[1], lag, segment=segment, valid=valid)
    target, source = (unit_rows(values[:, at].astype(np.float64)) for at in (pairs + lag, pairs))
    correlation = target @ source.T
    np.fill_diagonal(correlation, 0)
    return np.asarray(np.clip(correlation, -1, 1))


def paired_samples(
    n_samples: int, lag: int, *, segment: ArrayLike | None = None, valid: ArrayLike | None = None
) -> NDArray[np.int64]:
    """Return the samples t for which t and t + `lag` are both valid and in one segment.

    Raises
    ------
    ValueError
        If there are fewer than two.
    """
    pairs = np.arange(max(-lag, 0), n_samples - max(lag, 0))
    if segment is not None:
        # stretches are told apart by where the number changes, in case a number is used again
        stretch = np.cumsum(np.diff(np.asarray(segment), prepend=np.asarray(segment)[:1]) != 0)
        pairs = pairs[stretch[pairs] == stretch[pairs + lag]]
    if valid is not None:
        usable = np.asarray(valid, bool)
        pairs = pairs[usable[pairs] & usable[pairs + lag]]
    if len(pairs) < 2:
        raise ValueError(f"a lag of {lag} leaves {len(pairs)} pairs of samples, expected at least 2")
    return pairs
