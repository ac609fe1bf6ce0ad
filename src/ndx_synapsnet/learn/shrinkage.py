"""Empirical-Bayes shrinkage of many regressions at once: most coefficients are 0, the others of any size.

The prior of a coefficient is a mixture of normals around 0 and a spike at 0; its weights are common to all coefficients
of all targets and learned from them, as is each target's noise. The posterior is approximated by one factor a
coefficient and found by coordinate ascent on the evidence (Kim, Wang, Carbonetto and Stephens 2024, "A flexible
empirical Bayes approach to multivariate multiple regression": mr.ash; Carbonetto and Stephens 2012). What a penalty
does to all coefficients alike, this does only to those that the data hold to be small.

Letters: G targets, p predictors, S normals in the prior, the spike first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .coordinate_descent import Array, CoupledDesign, Targets, Update, blocks_of, update_block

#: Deviations of the prior's normals in z-scored units; the spike is the first.
SCALES = (0.0, *(0.003 * 2**k for k in range(9)))

_NEVER = 1e-30  # a weight of the prior that rounding made 0
_QUIET = 1e-12  # least noise variance


@dataclass(frozen=True)
class Prior:
    """What coefficients are expected to be before the data are seen."""

    scales: Array
    """(S,) deviations of the normals, ascending; the first is 0, the spike."""
    weights: Array
    """(S,) shares of the coefficients; they sum to 1."""

    @classmethod
    def sparse(cls, scales: tuple[float, ...] = SCALES) -> Prior:
        """Return the prior to start from: four fifths of all coefficients are 0, the rest of any scale alike."""
        rest = len(scales) - 1
        return cls(np.array(scales), np.r_[0.8, np.full(rest, 0.2 / rest)])


@dataclass(frozen=True)
class Posterior:
    """What is known of the coefficients afterwards. Rows are targets."""

    mean: Array
    """(G, p); 0 where a coefficient was held at 0."""
    variance: Array
    """(G, p)."""
    spike: Array
    """(G, p) probability that the coefficient is 0."""
    noise: Array
    """(G,) variance that the predictors leave."""
    prior: Prior
    """With the weights learned."""
    sweeps: int
    """Passes over all coefficients."""


class _Design(Protocol):
    """Predictors as `CoupledDesign` has them."""

    def sweep(self, targets: Targets, chosen: Array, update: Update) -> Array: ...

    def product(self, chosen: Array) -> Array: ...


def shrink_coupled(
    design: CoupledDesign,
    targets: Targets,
    square: Array,
    count: float,
    *,
    start: Array | None = None,
    prior: Prior | None = None,
    noise: Array | None = None,
    sweeps: int = 30,
    tolerance: float = 1e-4,
) -> Posterior:
    """Shrink the coefficients on the neurons' last samples, own history left free.

    Parameters
    ----------
    design : CoupledDesign
        The predictors.
    targets : Targets
        What is regressed.
    square : array (G,)
        Variance of the targets.
    count : float
        Samples behind the moments.
    start : array (G, p), optional
        Coefficients to start from; 0 by default.
    prior : Prior, optional
        To start from; its weights are learned anew.
    noise : array (G,), optional
        Noise variance to start from; all that own history leaves by default.
    sweeps : int
        Passes at most.
    tolerance : float
        It ends when no update moves a fit by more, in root mean square.
    """
    left = design.variance_left(targets, square)
    shape = targets.shared.shape
    absent = np.zeros(shape, bool)
    absent[np.arange(shape[0]), design.rows] = True
    return _ascend(design, targets, left, count, absent, start, prior, noise, sweeps, tolerance)


def shrink(
    gram: Array,
    cross: Array,
    square: Array,
    count: float,
    *,
    start: Array | None = None,
    absent: NDArray[np.bool_] | None = None,
    prior: Prior | None = None,
    noise: Array | None = None,
    sweeps: int = 30,
    tolerance: float = 1e-4,
) -> Posterior:
    """Shrink regressions given by sums of products.

    Parameters
    ----------
    gram : array (p, p) or (G, p, p)
        Σ x xᵀ, common to all targets or of each; centred, and freed of what is not to be shrunk.
    cross : array (G, p)
        Σ x y.
    square : array (G,)
        Σ y².
    count : float
        Samples summed.
    start, prior, noise, sweeps, tolerance
        See `shrink_coupled`.
    absent : array (G, p), optional
        Coefficients that are held at 0.
    """
    shape = cross.shape
    absent = np.zeros(shape, bool) if absent is None else absent
    design = _Sums(gram / count, absent)
    targets = Targets(cross / count, np.zeros((shape[0], 0)))
    return _ascend(design, targets, square / count, count, absent, start, prior, noise, sweeps, tolerance)


def _ascend(
    design: _Design,
    targets: Targets,
    square: Array,
    count: float,
    absent: NDArray[np.bool_],
    start: Array | None,
    prior: Prior | None,
    noise: Array | None,
    sweeps: int,
    tolerance: float,
) -> Posterior:
    chosen = np.zeros(targets.shared.shape) if start is None else np.where(absent, 0, start)
    rule = _Rule(prior or Prior.sparse(), np.maximum(square if noise is None else noise, _QUIET), count, absent)
    done = 0
    for done in range(1, sweeps + 1):  # noqa: B007
        rule.begin()
        moved = design.sweep(targets, chosen, rule)
        rule.learn(square - (chosen * (2 * targets.shared - design.product(chosen))).sum(1))
        if moved.max(initial=0) < tolerance:
            break
    return Posterior(chosen, rule.variance, rule.spike, rule.noise, rule.prior, done)


class _Rule:
    """Updates one coefficient of all targets to its posterior mean; gathers what prior and noise are learned from."""

    def __init__(self, prior: Prior, noise: Array, count: float, absent: NDArray[np.bool_]) -> None:
        self.prior, self.noise, self._count, self._absent = prior, noise, count, absent
        self.variance = np.zeros(absent.shape)
        self.spike = np.ones(absent.shape)

    def begin(self) -> None:
        self._squares = self.prior.scales[:, None] ** 2
        self._likely = np.maximum(self.prior.weights, _NEVER)[:, None]
        self._shares = np.zeros(len(self.prior.scales))
        self._spread = np.zeros(len(self.noise))

    def __call__(self, place: int, which: NDArray[np.int64], wish: Array, variance: Array) -> Array:
        # what least squares alone would say
        estimate, error = wish / variance, self.noise[which] / (self._count * variance)
        square = estimate**2
        precision = 1 / (self._squares + error)  # (S, G)
        # no normal fits an estimate worse than a narrower one in the exponent: the widest is the largest, and is taken
        # off, so that nothing overflows
        share = np.exp(-0.5 * square * (precision - precision[-1]))
        share *= self._likely
        share *= np.sqrt(precision)
        share *= ~self._absent[which, place] / share.sum(0)
        kept = precision * self._squares  # of the estimate
        part = share * kept
        mean, second = part.sum(0), np.einsum("sg,sg->g", part, kept)
        spread = second * square + mean * error
        mean *= estimate
        spread -= mean**2
        self._shares += share.sum(1)
        self._spread[which] += variance * spread
        self.variance[which, place], self.spike[which, place] = spread, share[0]
        return np.asarray(mean)

    def learn(self, left: Array) -> None:
        """Take the prior's weights from the last pass, and the noise: what is `left` (G,) and the doubt."""
        self.prior = replace(self.prior, weights=self._shares / max(self._shares.sum(), _NEVER))
        self.noise = np.maximum(left + self._spread, _QUIET)


class _Sums:
    """Predictors whose products are given, common to all targets (p, p) or of each (G, p, p), as means."""

    def __init__(self, gram: Array, absent: NDArray[np.bool_]) -> None:
        self._gram, self._absent = gram, absent

    def sweep(self, targets: Targets, chosen: Array, update: Update) -> Array:
        farthest, every = np.zeros(len(chosen)), np.arange(len(chosen))
        for block in blocks_of(chosen.shape[1]):
            gradient = targets.shared[:, block] - self._times(chosen, block)
            local = np.broadcast_to(self._gram[..., block, block], (len(chosen), *[gradient.shape[1]] * 2))
            moved = update_block(chosen, block, gradient, local, self._absent[:, block], update, every)
            np.maximum(farthest, moved, out=farthest)
        return farthest

    def product(self, chosen: Array) -> Array:
        return self._times(chosen, slice(None))

    def _times(self, chosen: Array, block: slice) -> Array:
        if self._gram.ndim == 2:
            return np.asarray(chosen @ self._gram[:, block])
        return np.asarray((chosen[:, None, :] @ self._gram[:, :, block])[:, 0])
