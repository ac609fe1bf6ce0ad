"""Penalised coefficients for all targets at once, from second moments alone, by block coordinate descent.

    minimise over a and o   ½ E(y_i - a_i·x - o_i·h_i)² + λ_i |a_i|₁ + ½ κ_i |a_i|²,   a_ii = 0,   for every target i

x are all neurons' last samples and the behaviours, h_i the target's own history; all are centred. Own history is free
of the penalty, so it is projected out beforehand (Frisch-Waugh): a correction of rank L to the Gram matrix that all
targets share. What remains is the lasso (or ridge) of Friedman, Hastie and Tibshirani 2010, "Regularization paths for
generalized linear models via coordinate descent", with one coordinate updated for all targets together, and the
gradient brought up to date by a matrix product once a block of coordinates.

Letters: N neurons, K behaviours, p = N + K, L own lags, G targets, Q coordinates of a block.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .moments import Moments

Array = NDArray[np.float64]

#: Turns a coordinate's place, the targets' places (G,), its moments (G,) with what the others leave and its variance
#: (G,) into its value (G,).
Update = Callable[[int, NDArray[np.int64], Array, Array], Array]

_BLOCK = 16  # Q, coordinates between two matrix products
_TARGETS = 512  # G, targets at a time: what a block of coordinates needs of them stays in the processor's cache
_VANISHES = 1e-9  # a z-scored predictor of which less variance than this is left after projection is rounding
_SWEEPS = 1_000


@dataclass(frozen=True)
class Targets:
    """What is regressed on a `CoupledDesign`, as its moments with the predictors."""

    shared: Array
    """(G, p) [target, source]: with the shared predictors, freed of own history; 0 for the target itself."""
    history: Array
    """(G, L) with each target's own history."""

    def largest_strength(self, weights: Array) -> float:
        """Return the lowest λ at which all coefficients are 0, the thresholds being λ `weights` (G,)."""
        return float((np.abs(self.shared) / weights[:, None]).max())


class CoupledDesign:
    """The predictors of one session's windows, prepared for the descent.

    Coefficients and moments come and go as two arrays: *shared* (G, p), on the neurons' last samples [target, source],
    the target's own among them, then on the behaviours; and *own* (G, L - 1), on the target's older lags.

    Parameters
    ----------
    moments : Moments
        Centred, as of `linear.RidgeVAR` (L = 1) or `linear.ARVAR` (L = W).
    """

    def __init__(self, moments: Moments) -> None:
        cross = moments.cross.permute(2, 1, 0)  # (N, p, L - 1)
        self._gram, self._own = to_array(moments.shared), to_array(moments.own)
        n = len(cross)
        self.rows = np.arange(n)
        """(G,) place of each target among the neurons."""
        # own history: the older lags, and the latest, which is among the shared predictors; (N, p, L) numbers are most
        # of the memory that all this takes, and there is no second array of as many
        self._history = np.concatenate([to_array(cross), self._gram[:, :n].T[:, :, None]], axis=2)
        edge = self._history[self.rows, self.rows]  # (N, L): of the latest lag with all
        own = np.concatenate([np.concatenate([self._own, edge[:, None, :-1]], axis=1), edge[:, :, None]], axis=2)
        values, vectors = np.linalg.eigh(own)
        kept = values > _VANISHES * np.maximum(values[:, -1:], 1)  # lags of a trace that moves in steps coincide
        # (N, L, L) with q_i = history_i root_i the Gram matrix of target i is gram - q_i q_iᵀ
        self._root = vectors * np.where(kept, 1 / np.sqrt(np.where(kept, values, 1)), 0)[:, None, :]
        self._inverse = self._root @ self._root.transpose(0, 2, 1)  # (N, L, L)

    def of(self, targets: NDArray[np.int64]) -> CoupledDesign:
        """Return the design of some of the targets, (G,) of those there are."""
        part = copy.copy(self)
        for name in ("rows", "_own", "_history", "_root", "_inverse"):
            setattr(part, name, getattr(self, name)[targets])
        return part

    def targets(self, shared: Array, own: Array) -> Targets:
        """Return targets whose moments with the predictors are `shared` (G, p) and `own` (G, L - 1)."""
        history = np.concatenate([own, shared[self._every, self.rows, None]], axis=1)
        alone = _apply(self._inverse, history)  # own coefficients where nothing else is
        freed = shared - _apply(self._history.transpose(0, 2, 1), alone)
        freed[self._every, self.rows] = 0
        return Targets(freed, history)

    def coefficients(self, targets: Targets, chosen: Array) -> tuple[Array, Array]:
        """Return shared (G, p) and own (G, L - 1): `chosen` (G, p), as `descend` gives it, and the best own history."""
        history = _apply(self._inverse, targets.history - _apply(self._history, chosen))
        shared = chosen.copy()
        shared[self._every, self.rows] = history[:, -1]
        return shared, history[:, :-1]

    def without_own(self, shared: Array) -> Array:
        """Return the coefficients that are penalised: `shared` (G, p) with 0 for the target itself."""
        chosen = shared.copy()
        chosen[self._every, self.rows] = 0
        return chosen

    def moments_of(self, shared: Array, own: Array) -> tuple[Array, Array]:
        """Return the moments, (G, p) and (G, L - 1), of what the coefficients `shared` and `own` make."""
        cross = self._history[:, :, :-1]
        with_shared = shared @ self._gram + _apply(cross.transpose(0, 2, 1), own)
        return with_shared, _apply(cross, shared) + _apply(self._own, own)

    def descend(
        self, targets: Targets, start: Array, *, l1: Array, l2: Array | None = None, tolerance: float = 1e-4
    ) -> Array:
        """Minimise the penalised squared error of every target.

        Parameters
        ----------
        targets : Targets
            What is regressed.
        start : array (G, p)
            Coefficients to start from, such as those of a neighbouring strength, zero for the target itself.
        l1, l2 : array (G,)
            λ and κ of each target; κ is 0 by default.
        tolerance : float
            A target is done when no update in a sweep moves its fit by more, in root mean square.

        Returns
        -------
        array (G, p)
            Coefficients [target, source], zero for the target itself.
        """
        chosen = start.copy()
        l2 = np.zeros_like(l1) if l2 is None else l2
        going = np.arange(len(chosen))

        def soft_threshold(place: int, which: NDArray[np.int64], wish: Array, variance: Array) -> Array:
            return np.asarray(np.sign(wish) * np.maximum(np.abs(wish) - l1[which], 0) / (variance + l2[which]))

        for _ in range(_SWEEPS):
            part = chosen[going]
            moved = self.sweep(targets, part, soft_threshold, going)
            chosen[going] = part
            going = going[moved > tolerance]
            if not len(going):
                break
        return chosen

    def product(self, chosen: Array) -> Array:
        """Return the moments (G, p) with the predictors, freed of own history, of what `chosen` (G, p) makes."""
        by_history = _apply(self._inverse, _apply(self._history, chosen))
        return np.asarray(chosen @ self._gram - _apply(self._history.transpose(0, 2, 1), by_history))

    def variance_left(self, targets: Targets, square: Array) -> Array:
        """Return the variance (G,) that own history leaves of targets with variance `square` (G,)."""
        return np.asarray(square - (targets.history * _apply(self._inverse, targets.history)).sum(1))

    def sweep(self, targets: Targets, chosen: Array, update: Update, going: NDArray[np.int64] | None = None) -> Array:
        """Update every coordinate of `chosen` (G, p) once, in place.

        Parameters
        ----------
        targets : Targets
            What is regressed.
        chosen : array (G, p)
            Coefficients, zero for the target itself, of all targets or of `going`.
        update : Update
            Returns a coordinate's new value.
        going : array (G,), optional
            Places of the targets at work, if not all.

        Returns
        -------
        array (G,)
            The farthest that one update moved a target's fit, in root mean square.
        """
        going = self._every if going is None else going
        farthest = np.zeros(len(going))
        for first in range(0, len(going), _TARGETS):
            some = slice(first, first + _TARGETS)
            part = np.ascontiguousarray(chosen[some])
            farthest[some] = self._sweep(targets, part, update, going[some])
            chosen[some] = part
        return farthest

    def _sweep(self, targets: Targets, chosen: Array, update: Update, going: NDArray[np.int64]) -> Array:
        """Update every coordinate of a few targets."""
        p, rows, right = chosen.shape[1], self.rows[going], targets.shared[going]
        projected = self._history[going] @ self._root[going]
        inside = _apply(projected, chosen)  # (G, L): qᵀ a
        farthest = np.zeros(len(going))
        for block in blocks_of(p):
            q = projected[:, block]  # (G, Q, L)
            gradient = right[:, block] - chosen @ self._gram[:, block] + (q @ inside[:, :, None])[..., 0]
            local = self._gram[block, block] - q @ q.transpose(0, 2, 1)  # (G, Q, Q)
            before = chosen[:, block].copy()
            own = rows[:, None] == np.arange(p)[block]
            moved = update_block(chosen, block, gradient, local, own, update, going)
            np.maximum(farthest, moved, out=farthest)
            inside += ((chosen[:, block] - before)[:, None] @ q)[:, 0]
        return farthest

    @property
    def _every(self) -> NDArray[np.int64]:
        return np.arange(len(self.rows))


def blocks_of(p: int) -> Iterator[slice]:
    """Yield places (p,) of coordinates, so many at a time as pay for bringing the gradient up to date."""
    for first in range(0, p, _BLOCK):
        yield slice(first, min(first + _BLOCK, p))


def update_block(
    chosen: Array,
    block: slice,
    gradient: Array,
    local: Array,
    held_at_zero: NDArray[np.bool_],
    update: Update,
    which: NDArray[np.int64],
) -> Array:
    """Update a block of coordinates of all targets, one after the other.

    Parameters
    ----------
    chosen : array (G, p)
        Coefficients, changed in place.
    block : slice
        Places of the block's Q coordinates.
    gradient : array (G, Q)
        Moments of the block's predictors with what `chosen` leaves, changed in place.
    local : array (G, Q, Q)
        Their products with each other.
    held_at_zero : array (G, Q)
        Coefficients that stay 0, beside those of predictors without variance.
    update : Update
        Returns a coordinate's new value.
    which : array (G,)
        Places of the targets, for `update`.

    Returns
    -------
    array (G,)
        The farthest that one update moved a target's fit, in root mean square.
    """
    held, farthest = chosen[:, block], np.zeros(len(chosen))
    for k in range(gradient.shape[1]):
        variance = local[:, k, k]
        usable = (variance > _VANISHES) & ~held_at_zero[:, k]
        variance = np.where(usable, variance, 1)
        wish = gradient[:, k] + variance * held[:, k]
        step = np.where(usable, update(block.start + k, which, wish, variance), 0) - held[:, k]
        if step.any():
            held[:, k] += step
            gradient -= local[:, k] * step[:, None]
            np.maximum(farthest, np.abs(step) * np.sqrt(variance), out=farthest)
    return farthest


def to_array(values: Tensor) -> Array:
    """Return a tensor as an array in float64 on the CPU: the descent's steps are too small for a GPU."""
    return np.asarray(values.detach().cpu().double().numpy())


def _apply(matrices: Array, vectors: Array) -> Array:
    """Return the product of each vector (m,) with its matrix (m, n), as rows (G, n)."""
    return np.asarray((vectors[:, None, :] @ matrices)[:, 0])
