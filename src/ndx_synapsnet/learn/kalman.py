"""Filter and smoother of a few hidden series that many noisy observations share, in their stationary form.

    v(t) = Φ v(t-1) + w,  w ~ N(0, Q)          r(t) = C v(t) + e,  e ~ N(0, R)

What the observations say of v(t) is their information i(t) = Cᵀ R⁻¹ r(t), k numbers however many observations there are
(Kalman 1960; Rauch, Tung and Striebel 1965). Its covariances converge within tens of samples to values that do not
depend on the data, so each pass is one linear recursion. Letters: k hidden series, T samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_BLOCK = 64  # samples
_STEPS = 2_000
_CONVERGED = 1e-10


@dataclass(frozen=True)
class Stationary:
    """The filter that a long series of observations converges to. Matrices are (k, k)."""

    transition: Array
    """Φ."""
    filtered: Array
    """Covariance of v(t) given all up to t; times i(t), it is what an observation adds."""
    recursion: Array
    """M = (I - filtered CᵀR⁻¹C) Φ."""
    backward: Array
    """G of the smoother: v̂(t) + G (ṽ(t+1) - Φ v̂(t))."""
    smoothed: Array
    """Covariance of v(t) given all observations."""

    @property
    def lagged(self) -> Array:
        """Covariance of v(t+1) with v(t) given all observations."""
        return self.smoothed @ self.backward.T


def stationary(transition: Array, innovation: Array, information: Array) -> Stationary:
    """Return the stationary filter and smoother.

    Parameters
    ----------
    transition : array (k, k)
        Φ.
    innovation : array (k, k)
        Q.
    information : array (k, k)
        CᵀR⁻¹C, what one sample's observations tell.
    """
    k = len(transition)
    predicted = np.eye(k)
    for _ in range(_STEPS):
        filtered = _given(predicted, information)
        following = transition @ filtered @ transition.T + innovation
        settled = np.abs(following - predicted).max(initial=0) < _CONVERGED
        predicted = following
        if settled:
            break
    filtered = _given(predicted, information)
    backward = filtered @ transition.T @ np.linalg.pinv(predicted, hermitian=True)
    smoothed = filtered
    for _ in range(_STEPS):
        before = filtered + backward @ (smoothed - predicted) @ backward.T
        settled = np.abs(before - smoothed).max(initial=0) < _CONVERGED
        smoothed = before
        if settled:
            break
    return Stationary(transition, filtered, (np.eye(k) - filtered @ information) @ transition, backward, smoothed)


def filter_series(steps: Stationary, added: Array, observed: NDArray[np.bool_]) -> Array:
    """Return E[v(t) | all up to t], (T, k).

    Parameters
    ----------
    steps : Stationary
        The filter.
    added : array (T, k)
        What each sample's observation adds, ``filtered @ i(t)``.
    observed : array (T,)
        Whether there is one; where not, Φ carries the series on.
    """
    return run_recursion(steps.transition, steps.recursion, added, observed)


def run_recursion(transition: Array, recursion: Array, added: Array, observed: NDArray[np.bool_]) -> Array:
    """Return s (T, k): s(t) = M s(t-1) + added(t) where `observed`, else Φ s(t-1); s is 0 before the first sample."""
    series, state = np.empty_like(added), np.zeros(added.shape[1])
    turns = np.flatnonzero(np.diff(observed)) + 1
    for start, end in pairwise([0, *turns.tolist(), len(added)]):
        if observed[start:end].any():
            series[start:end] = _recursion(recursion, added[start:end], state)
        else:
            series[start:end] = _recursion(transition, np.zeros((end - start, len(state))), state)
        state = series[end - 1] if end > start else state
    return series


def smooth_series(steps: Stationary, filtered: Array) -> Array:
    """Return E[v(t) | all samples], (T, k), from the filtered series (T, k)."""
    stay = filtered - filtered @ (steps.backward @ steps.transition).T
    stay[-1:] = filtered[-1:]
    return _recursion(steps.backward, stay[::-1], np.zeros(stay.shape[1]))[::-1].copy()


def _recursion(matrix: Array, added: Array, before: Array) -> Array:
    """Return s(t) = matrix s(t-1) + added(t), (T, k), s being `before` (k,) ahead of the first sample.

    Blocks of samples are worked out at once, each as if it began at 0: a block Toeplitz matrix of powers does it. What
    the block before left then decays through it.
    """
    (t, k), size = added.shape, min(_BLOCK, max(len(added), 1))
    if not added.size:
        return added.copy()
    powers = np.empty((size + 1, k, k))
    powers[0] = np.eye(k)
    for j in range(size):
        powers[j + 1] = matrix @ powers[j]
    ages = np.arange(size)[:, None] - np.arange(size)
    toeplitz = np.where((ages >= 0)[:, :, None, None], powers[np.maximum(ages, 0)], 0.0)  # (to, from, k, k)
    blocks = -(-t // size)
    padded = np.zeros((blocks * size, k))
    padded[:t] = added
    alone = padded.reshape(blocks, size * k) @ toeplitz.transpose(1, 3, 0, 2).reshape(size * k, size * k)
    series = alone.reshape(blocks, size, k)
    states = np.empty((blocks, k))
    state = before
    for j, last in enumerate(series[:, -1]):
        states[j] = state
        state = powers[size] @ state + last
    series = series + np.einsum("sab,jb->jsa", powers[1:], states)
    return np.asarray(series.reshape(-1, k)[:t])


def _given(predicted: Array, information: Array) -> Array:
    """Return the covariance after an observation: (predicted⁻¹ + information)⁻¹, for a singular one too."""
    k = len(predicted)
    both = np.linalg.solve(np.eye(k) + predicted @ information, predicted)
    return np.asarray((both + both.T) / 2)
