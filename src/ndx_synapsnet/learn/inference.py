"""Which connections are more than chance and confounding: p-values and q-values of a connectivity matrix.

An estimate is off for two reasons. Sampling noise has the standard error, and shrinks with time. Confounding by neurons
and inputs that nobody recorded, and by all that the model gets wrong, has no error bar and stays: divided by the
standard error it even grows with the length of a recording, until every pair is "significant". So the null
distribution is not assumed, but taken from the data (Efron 2004, "Large-scale simultaneous hypothesis testing: the
choice of a null hypothesis"), as most pairs of neurons are not connected:

    z_ij = m + a_i + b_j + e + c_ij,   e ~ N(0, 1) sampling,   c_ij ~ Laplace with deviation s r_i q_j: confounding

The middle m and the deviation s follow from the medians of z and of its distance from them, which a minority of
connected pairs moves little. Targets and sources have a middle (a, b) and a spread (r, q) of their own, as far as they
differ more than chance makes them. The Laplace distribution is what confounding by hidden neurons makes one expect: it
is a sum over hidden neurons of (effect on the target) x (what the source tells of it), of few terms and uneven
variance, thus with long tails. A normal null of the same width takes these for connections.

Letters: N neurons, n pairs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ..metrics import benjamini_hochberg
from .coordinate_descent import Array
from .estimates import Estimate

_FEWEST = 90  # pairs (10 neurons) from which a null is learned
_HALF = 0.6744897501960817  # median deviation of a normal
_NARROW = 0.75  # of a median deviation, against a normal's: standard errors this much too long are not these weights'
_CONFOUNDED = 0.75  # share of the null's variance, up to which its shape matters little
_NO_SPREAD = 0.01  # less Laplace than this is none
_ROW = 10  # pairs of a target or source from which it gets a middle and a spread of its own
_MEDIAN_ERROR = 1.2533  # of a median of normal numbers, against that of their mean
_UNEVEN = 0.2  # s from which targets and sources can be told apart
_CAP = 2.2  # standard deviations
_PASSES = 8
_LEAST = float(np.finfo(np.float32).tiny)  # p-values are stored in float32


@dataclass(frozen=True, eq=False)
class Null:
    """Distribution of each pair's z if there is no connection."""

    center: Array
    """(N, N) its middle, in standard errors."""
    confounding: Array
    """(N, N) deviation of its Laplace part, in standard errors; 0 if sampling noise explains all."""
    middle: float
    """m, that of all pairs."""
    spread: float
    """s, that of a typical pair."""

    @property
    def width(self) -> Array:
        """(N, N) its standard deviation, in standard errors."""
        return np.hypot(1.0, self.confounding)

    def p_value(self, z: Array) -> Array:
        """Return the probability (N, N) of a z as far from the middle, or farther, on either side."""
        return two_sided(z - self.center, self.confounding)


@dataclass(frozen=True)
class Diagnostics:
    """Whether to believe the p-values, and what they rest on."""

    pairs: int
    """Ordered pairs tested."""
    null_width: float
    """Standard deviation of the null in standard errors: 1 is sampling noise alone."""
    null_center: float
    """Middle of the null in standard errors."""
    confounded: float
    """Share of the null's variance that is not sampling noise, 0 to 1. A longer recording does not lower that part."""
    significant: float
    """Share of pairs with q of at most 0.1."""
    tail_excess: float
    """Pairs with p from 0.01 to 0.1, over those that the null makes expected. Far from 1 without many connections, the
    null's shape is doubtful."""
    sampling: float
    """Spread of the difference of two halves of the recording, in its standard error: 1 if the standard errors are
    right; NaN where no halves were given."""
    half_confounding: float
    """s in a half of the recording; s over root 2 where confounding is a property of the network, and s where it is
    noise that the standard errors miss. NaN where no halves were given."""
    trustworthy: bool
    """Whether error rates at about their nominal level are to be expected."""
    why: str
    """One sentence for people."""


@dataclass(frozen=True, eq=False)
class Significance:
    """Tests of all pairs of one matrix; the diagonal and pairs that cannot be tested have z 0 and p and q 1."""

    z: Array
    """(N, N) [target, source] estimates in standard errors."""
    standard_error: Array
    """(N, N) deviation of an estimate from the truth by sampling *and* confounding, in units of the weights; NaN for
    pairs that cannot be tested."""
    p: Array
    """(N, N) two-sided p-values under `null`."""
    q: Array
    """(N, N) false-discovery rate at which a pair is found first (Benjamini and Hochberg 1995)."""
    null: Null
    diagnostics: Diagnostics


def assess(
    weights: ArrayLike,
    standard_error: ArrayLike,
    *,
    halves: tuple[Estimate, Estimate] | None = None,
    settled: bool = True,
) -> Significance:
    """Test every connection of a matrix against a null distribution learned from the matrix itself.

    Parameters
    ----------
    weights : array (N, N)
        Estimates [target, source] without shrinkage, as of `estimates.estimate_connectivity`.
    standard_error : array (N, N)
        Their errors by sampling alone; 0 marks a pair that cannot be tested (a silent neuron).
    halves : tuple of Estimate, optional
        The same estimated from each half of the recording: for the diagnostics only.
    settled : bool
        Whether the estimates are those of least squares, which steps towards them do not reach where samples are too
        few (`readout.Readout.settled`). If not, no pair can be tested, and the diagnostics say why.

    Raises
    ------
    ValueError
        If the matrices are not square and alike, a number is not finite, an error is negative, or most weights are
        exactly 0 (a shrunk matrix has no such test).
    """
    w, error = np.asarray(weights, np.float64), np.asarray(standard_error, np.float64)
    tested = _testable(w, error) if settled else np.zeros(w.shape, bool)
    z, p, q = np.zeros_like(w), np.ones_like(w), np.ones_like(w)
    z[tested] = w[tested] / error[tested]
    null = fit_null(z, tested)
    p[tested] = null.p_value(z)[tested]
    q[tested] = benjamini_hochberg(p[tested])
    sampling = half_confounding = float("nan")
    if halves is not None:
        sampling, half_confounding = _compare_halves(*halves, tested)
    found = _diagnose(z, p[tested], q[tested], tested, null, sampling, half_confounding, settled)
    known = np.where(tested | np.eye(len(w), dtype=bool), error * null.width, np.nan)
    return Significance(z, known, p, q, null, found)


def two_sided(z: ArrayLike, confounding: ArrayLike = 0.0) -> Array:
    """Return P(|e + c| >= |z|) for e ~ N(0, 1) and c ~ Laplace of standard deviation `confounding`.

    Source: the distribution function of their sum (Reed 2006, "The normal-Laplace distribution and its relatives").
    """
    far, spread = (torch.as_tensor(each) for each in np.broadcast_arrays(np.abs(np.asarray(z, float)), confounding))
    k = math.sqrt(2) / spread.double().clamp(min=_NO_SPREAD)  # 1 / scale of the Laplace part
    more = torch.exp(k * k / 2 - k * far + torch.special.log_ndtr(far - k))
    more = more - torch.exp(k * k / 2 + k * far + torch.special.log_ndtr(-far - k))
    p = torch.special.erfc(far / math.sqrt(2)) + torch.where(spread > _NO_SPREAD, more, 0.0)
    return np.asarray(p.clamp(_LEAST, 1.0).numpy())


def fit_null(z: Array, tested: NDArray[np.bool_]) -> Null:
    """Learn the null from estimates in standard errors, most of which are of pairs without connection.

    A connected minority of some per cent makes it a little wider and the tests a little more careful; a connected
    majority makes them blind, not wrong. Under 90 pairs the null is the standard normal distribution, and it is never
    narrower than that.

    Parameters
    ----------
    z : array (N, N)
        [target, source].
    tested : array (N, N)
        The pairs to learn from.
    """
    nothing = np.zeros_like(z)
    if tested.sum() < _FEWEST:
        return Null(nothing, nothing, 0.0, 0.0)
    middle, spread = _middle_and_spread(z[tested])
    width = math.hypot(1.0, spread)
    shifts = [_shifts(np.where(tested, z - middle, np.nan), axis, width) for axis in (1, 0)]
    center = middle + shifts[0][:, None] + shifts[1][None, :]
    again, spread = _middle_and_spread((z - center)[tested])
    center = center + again
    return Null(center, spread * _factors(np.abs(z - center), tested, spread), middle, spread)


def _testable(weights: Array, error: Array) -> NDArray[np.bool_]:
    """Return the pairs to test (N, N), after a check of both matrices."""
    if weights.ndim != 2 or weights.shape[0] != weights.shape[1] or weights.shape != error.shape:
        raise ValueError(f"weights {weights.shape} and standard errors {error.shape} are not two equal square matrices")
    off = ~np.eye(len(weights), dtype=bool)
    if not (np.isfinite(weights[off]).all() and np.isfinite(error[off]).all()):
        raise ValueError("weights or standard errors are not finite")
    if (error[off] < 0).any():
        raise ValueError("a standard error is negative")
    tested = off & (error > 0)
    if np.count_nonzero(weights[tested] == 0) > tested.sum() / 2:
        raise ValueError("most weights are exactly 0: they were shrunk, and shrunk weights have no such test")
    return tested


def _middle_and_spread(z: Array) -> tuple[float, float]:
    """Return the median of z (n,), and the s with which the median distance from it is as found."""
    middle = float(np.median(z))
    half = float(np.median(np.abs(z - middle)))
    if half <= _HALF:
        return middle, 0.0
    low, high = 0.0, 4.0 * half  # of a Laplace alone, the median distance is s ln 2 / root 2, about s / 2
    for _ in range(60):
        between = (low + high) / 2
        low, high = (between, high) if float(two_sided(half, between)) < 0.5 else (low, between)
    return middle, (low + high) / 2


def _shifts(z: Array, axis: int, width: float) -> Array:
    """Return the medians (N,) along an axis of z (N, N; NaN: not tested), shrunk by what chance gives them."""
    count = np.isfinite(z).sum(axis)
    usable = np.flatnonzero(count >= _ROW)
    shifts = np.zeros(len(z))
    if len(usable) > 1:
        medians = np.nanmedian(np.take(z, usable, axis=1 - axis), axis=axis)
        chance = float(np.mean((_MEDIAN_ERROR * width) ** 2 / count[usable]))
        variance = float(np.mean(medians**2))
        shifts[usable] = medians * max(0.0, 1 - chance / variance) if variance > 0 else 0.0
    return shifts


def _factors(distance: Array, tested: NDArray[np.bool_], spread: float) -> Array:
    """Return r_i q_j (N, N): how the confounding differs between targets and sources.

    Rows, then columns, are widened or narrowed in steps until their mean distances, capped so that connections count
    little, vary no more than chance makes them.
    """
    logs = [np.zeros(len(distance)), np.zeros(len(distance))]  # of the variance: targets, sources
    factors = np.ones_like(distance)
    if spread < _UNEVEN:
        return factors
    for _ in range(_PASSES):
        for axis, log in ((1, logs[0]), (0, logs[1])):
            variance = (spread * factors) ** 2
            capped = np.where(tested, np.minimum(distance / np.sqrt(1 + variance), _CAP), 0.0)
            count = tested.sum(axis)
            usable = count >= _ROW
            if not usable.any():  # so few neurons say nothing of how targets or sources differ
                continue
            every = capped[tested]
            means = np.log(capped.sum(axis)[usable] / count[usable] / every.mean())
            chance = float((every.std() / every.mean()) ** 2 / count[usable].mean())
            real = max(float(means.var()) - chance, 0.0)
            mean_variance = variance.mean(axis)[usable]
            # the logarithm of the width moves by v / 2(1 + v) for one of v
            step = 2 * (1 + mean_variance) / np.maximum(mean_variance, 0.05) * means * real / (real + chance)
            log[usable] += np.clip(0.7 * step, -0.7, 0.7)
            log[usable] -= log[usable].mean()
            factors = np.exp((logs[0][:, None] + logs[1][None, :]) / 2)
    return factors


def _compare_halves(first: Estimate, second: Estimate, tested: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the spread of the halves' difference, in its standard error, and the confounding within a half."""
    usable = tested & (first.standard_error > 0) & (second.standard_error > 0)
    if not usable.any():
        return float("nan"), float("nan")
    weights = [half.weights[usable] for half in (first, second)]
    errors = [half.standard_error[usable] for half in (first, second)]
    difference = (weights[0] - weights[1]) / np.hypot(*errors)
    spread = float(np.median(np.abs(difference - np.median(difference)))) / _HALF
    inside = [_middle_and_spread(w / e)[1] for w, e in zip(weights, errors, strict=True)]
    return spread, float(np.mean(inside))


def _diagnose(
    z: Array,
    p: Array,
    q: Array,
    tested: NDArray[np.bool_],
    null: Null,
    sampling: float,
    half_confounding: float,
    settled: bool,
) -> Diagnostics:
    """Return the figures behind a null, and the verdict on it; p and q of the tested pairs."""
    confounded = null.spread**2 / (1 + null.spread**2)
    spread = float(np.median(np.abs(z - null.center)[tested])) / _HALF if len(p) else float("nan")
    trustworthy = False
    if not settled:
        why = "The recording is too short to tell so many neurons apart: the estimates tested are not determined by it."
    elif len(p) < _FEWEST:
        why = f"{len(p)} pairs are too few to learn a null from, so confounding is not accounted for."
    elif spread < _NARROW:
        why = "The estimates vary far less than their standard errors say: the two do not belong together."
    elif confounded > _CONFOUNDED:
        why = (
            f"{confounded:.0%} of the spread between unconnected pairs is confounding or misfit, not noise, so the "
            "p-values rest on the assumed shape of it; a longer recording does not help."
        )
    else:
        trustworthy = True
        why = (
            f"{confounded:.0%} of the spread between unconnected pairs is confounding or misfit, and the p-values "
            "allow for it, provided that most pairs are not connected."
        )
    return Diagnostics(
        pairs=len(p),
        null_width=math.hypot(1.0, null.spread),
        null_center=null.middle,
        confounded=confounded,
        significant=float(np.mean(q <= 0.1)) if len(q) else 0.0,
        tail_excess=float(np.mean((p > 0.01) & (p <= 0.1)) / 0.09) if len(p) else float("nan"),
        sampling=sampling,
        half_confounding=half_confounding,
        trustworthy=trustworthy,
        why=why,
    )
