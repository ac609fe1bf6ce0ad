"""Input currents against activity, over delays (paper, figure 4).

Letters: N neurons, T samples, D delays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .lagged import lagged_correlation, paired_samples
from .pearson import correlate_columns
from .scores import is_constant

_BLOCK = 2**20  # numbers of float64 at a time

#: Delays of the figure, in samples.
DELAYS: tuple[int, ...] = tuple(range(-10, 11))


@dataclass(frozen=True, eq=False)
class CurrentCorrelation:
    """How each neuron's input current goes with its activity, by delay."""

    delays: NDArray[np.int64]
    """(D,) samples from the current to the activity: above 0 the activity comes later, as a forecast's target does."""
    correlation: NDArray[np.float64]
    """(N, D) Pearson r of I_i(t) with x_i(t + delay); NaN where one of them is constant."""

    @property
    def mean(self) -> NDArray[np.float64]:
        """(D,) over the neurons that have a correlation; 0 where none has: no current, no correlation."""
        return np.asarray(np.nansum(self.correlation, axis=0) / np.maximum(self._count, 1))

    @property
    def deviation(self) -> NDArray[np.float64]:
        """(D,) standard deviation over those neurons."""
        return np.asarray(np.sqrt(np.nansum((self.correlation - self.mean) ** 2, axis=0) / np.maximum(self._count, 1)))

    @property
    def constant(self) -> NDArray[np.int64]:
        """(D,) neurons without a correlation."""
        return np.asarray(len(self.correlation) - self._count)

    @property
    def _count(self) -> NDArray[np.int64]:
        return np.asarray((~np.isnan(self.correlation)).sum(0))


def correlate_currents(
    activity: ArrayLike,
    connectivity: ArrayLike,
    delays: Sequence[int] = DELAYS,
    *,
    segment: ArrayLike | None = None,
    valid: ArrayLike | None = None,
) -> CurrentCorrelation:
    """Correlate each neuron's input current I = A x with its activity before and after (paper, section 3.1).

    Parameters
    ----------
    activity : array_like
        (N, T), z-scored.
    connectivity : array_like
        (N, N) [target, source]. Its diagonal is left out, or a neuron would be correlated with itself.
    delays : sequence of int
        Samples from current to activity, of either sign.
    segment : array_like, optional
        (T,) number of the stretch each sample belongs to; no pair crosses a change of it.
    valid : array_like, optional
        (T,) samples that may be used.

    Returns
    -------
    CurrentCorrelation
        By neuron and delay.

    Raises
    ------
    ValueError
        If the shapes do not fit, or a delay leaves fewer than two pairs of samples.
    """
    values, weights = np.asarray(activity), np.array(connectivity, np.float64)
    n = len(values)
    if values.ndim != 2 or weights.shape != (n, n):
        raise ValueError(f"activity {values.shape} and connectivity {weights.shape} are not (N, T) and (N, N)")
    np.fill_diagonal(weights, 0)
    pairs = [paired_samples(values.shape[1], int(delay), segment=segment, valid=valid) for delay in delays]
    found = np.empty((n, len(pairs)))
    step = max(1, _BLOCK // values.shape[1])
    for start in range(0, n, step):
        block = slice(start, start + step)
        current = weights[block] @ values
        for k, (delay, at) in enumerate(zip(delays, pairs, strict=True)):
            source, later = current[:, at].T, values[block][:, at + delay].T.astype(np.float64)
            largest = np.abs(source).max(0)  # the scale of the weights is arbitrary
            source = source / np.where(largest > 0, largest, 1)
            flat = is_constant(source) | is_constant(later)
            found[block, k] = np.where(flat, np.nan, correlate_columns(source, later))
    return CurrentCorrelation(np.asarray(delays, np.int64), found)


def correlate_three_currents(
    activity: ArrayLike,
    connectivity: ArrayLike,
    delays: Sequence[int] = DELAYS,
    *,
    segment: ArrayLike | None = None,
    valid: ArrayLike | None = None,
    fitted: ArrayLike | None = None,
    seed: int = 0,
) -> dict[str, CurrentCorrelation]:
    """Correlate the currents of three matrices with activity, as the paper's figure 4b does.

    Parameters
    ----------
    activity, connectivity, delays, segment, valid
        As of `correlate_currents`; `valid` may be the test part.
    fitted : array_like, optional
        (T,) samples that the pairwise correlation is taken from, such as the training part; by default `valid`.
    seed : int
        Of the shuffling.

    Returns
    -------
    dict
        ``connectivity``: the matrix given; ``correlation``: the pairwise correlation without delay; ``shuffled``: the
        matrix given, with its entries in other places (`shuffle_connectivity`).
    """
    pairwise = lagged_correlation(activity, 0, segment=segment, valid=valid if fitted is None else fitted)
    matrices = {
        "connectivity": connectivity,
        "correlation": pairwise,
        "shuffled": shuffle_connectivity(connectivity, seed=seed),
    }
    return {
        name: correlate_currents(activity, matrix, delays, segment=segment, valid=valid)
        for name, matrix in matrices.items()
    }


def shuffle_connectivity(connectivity: ArrayLike, *, seed: int = 0) -> NDArray[np.float64]:
    """Return a square matrix with its entries off the diagonal in random places there, and the diagonal as it was."""
    shuffled = np.array(connectivity, np.float64)
    off = ~np.eye(len(shuffled), dtype=bool)
    shuffled[off] = np.random.default_rng(seed).permutation(shuffled[off])
    return shuffled
