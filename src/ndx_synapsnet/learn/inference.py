"""Which connections are more than chance and confounding: p-values and q-values of a connectivity matrix.

An estimate is off for two reasons. Sampling noise has the standard error, and shrinks with time. Confounding by neurons
and inputs that nobody recorded, and by all that the model gets wrong, has no error bar and stays: divided by the
standard error it even grows with the length of a recording, until every pair is "significant". So the null
distribution is not assumed, but taken from the data (Efron 2004, "Large-scale simultaneous hypothesis testing: the
choice of a null hypothesis"), as most pairs of neurons are not connected:

    z = centre + e + c,   e ~ N(0, 1) sampling,   c ~ Laplace with standard deviation s confounding

Centre and s follow from the medians of z and of its deviations, which a minority of connected pairs moves little. The
Laplace distribution is what confounding by hidden neurons makes one expect, and what simulated networks show: it is a
sum over hidden neurons of (effect on the target) x (what the source tells of it), of few terms and uneven variance,
thus with long tails. A normal null of the same width takes these for connections.

Letters: N neurons, n pairs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from .coordinate_descent import Array
from .estimates import Estimate

_FEWEST = 90  # pairs (10 neurons) from which a null is learned
_HALF = 0.6744897501960817  # median deviation of a normal
_NARROW = 0.75  # of a median deviation, against a normal's: standard errors this much too long are not these weights'
_CONFOUNDED = 0.75  # share of the null's variance, up to which its shape matters little
_LEAST = float(np.finfo(np.float32).tiny)  # p-values are stored in float32


@dataclass(frozen=True)
class Null:
    """Distribution of z where there is no connection."""

    center: float = 0.0
    """Its middle, in standard errors."""
    confounding: float = 0.0
    """s, the standard deviation of its Laplace part, in standard errors; 0 if sampling noise explains all."""

    @property
    def width(self) -> float:
        """Its standard deviation, in standard errors."""
        return math.hypot(1.0, self.confounding)

    def p_value(self, z: ArrayLike) -> Array:
        """Return the probability that z is as far from the centre as this or farther, on either side."""
        far = torch.as_tensor(np.abs(np.asarray(z, np.float64) - self.center))
        p = torch.special.erfc(far / math.sqrt(2))
        if self.confounding > 0.01:  # below, the rest of it vanishes
            k = math.sqrt(2) / self.confounding  # 1 / scale of the Laplace part
            p += torch.exp(k * k / 2 - k * far + torch.special.log_ndtr(far - k))
            p -= torch.exp(k * k / 2 + k * far + torch.special.log_ndtr(-far - k))
        return np.asarray(p.clamp(_LEAST, 1.0).numpy())


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
    """(N, N) deviation of an estimate from the truth by sampling *and* confounding, in units of the weights."""
    p: Array
    """(N, N) two-sided p-values under `null`."""
    q: Array
    """(N, N) false-discovery rate at which a pair is found first (Benjamini and Hochberg 1995)."""
    null: Null
    diagnostics: Diagnostics


def assess(
    weights: ArrayLike, standard_error: ArrayLike, *, halves: tuple[Estimate, Estimate] | None = None
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

    Raises
    ------
    ValueError
        If the matrices are not square and alike, a number is not finite, an error is negative, or most weights are
        exactly 0 (a shrunk matrix has no such test).
    """
    w, error = np.asarray(weights, np.float64), np.asarray(standard_error, np.float64)
    tested = _testable(w, error)
    z, p, q = np.zeros_like(w), np.ones_like(w), np.ones_like(w)
    z[tested] = w[tested] / error[tested]
    null = fit_null(z[tested])
    p[tested] = null.p_value(z[tested])
    q[tested] = benjamini_hochberg(p[tested])
    sampling = half_confounding = float("nan")
    if halves is not None and tested.any():
        sampling, half_confounding = _compare_halves(*halves, tested)
    found = _diagnose(z[tested], p[tested], q[tested], null, sampling, half_confounding)
    return Significance(z, error * null.width, p, q, null, found)


def fit_null(z: ArrayLike) -> Null:
    """Learn the null from estimates in standard errors (n,), most of which are of pairs without connection.

    Under 90 pairs it is the standard normal distribution. It is never narrower than that: a connected minority of a few
    per cent makes it a little wider, the tests a little more careful; a connected majority makes them blind, not wrong.
    """
    z = np.asarray(z, np.float64)
    if len(z) < _FEWEST:
        return Null()
    center = float(np.median(z))
    half = float(np.median(np.abs(z - center)))
    low, high = 0.0, 4.0 * half + 1.0  # of a Laplace alone, the median deviation is s ln 2 / root 2, about s / 2
    if half <= _HALF:
        return Null(center)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if float(Null(0.0, middle).p_value(half)) < 0.5 else (low, middle)
    return Null(center, (low + high) / 2)


def benjamini_hochberg(p: ArrayLike) -> Array:
    """Return q-values: for each p-value (n,), the least false-discovery rate at which it is among those found.

    Source: Benjamini and Hochberg (1995), in the step-up form.

    Raises
    ------
    ValueError
        If a p-value is not between 0 and 1.
    """
    values = np.asarray(p, np.float64)
    if values.ndim != 1 or not ((values >= 0) & (values <= 1)).all():
        raise ValueError("p-values must be a row of numbers from 0 to 1")
    n = len(values)
    order = np.argsort(values, kind="stable")
    scaled = values[order] * n / np.arange(1, n + 1)
    q = np.empty(n)
    q[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return q


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


def _compare_halves(first: Estimate, second: Estimate, tested: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the spread of the halves' difference, in its standard error, and the confounding within a half."""
    usable = tested & (first.standard_error > 0) & (second.standard_error > 0)
    if not usable.any():
        return float("nan"), float("nan")
    weights = [half.weights[usable] for half in (first, second)]
    errors = [half.standard_error[usable] for half in (first, second)]
    difference = (weights[0] - weights[1]) / np.hypot(*errors)
    spread = float(np.median(np.abs(difference - np.median(difference)))) / _HALF
    inside = [fit_null(w / e).confounding for w, e in zip(weights, errors, strict=True)]
    return spread, float(np.mean(inside))


def _diagnose(z: Array, p: Array, q: Array, null: Null, sampling: float, half_confounding: float) -> Diagnostics:
    """Return the figures behind a null, and the verdict on it."""
    confounded = null.confounding**2 / null.width**2
    spread = float(np.median(np.abs(z - null.center))) / _HALF if len(z) else float("nan")
    trustworthy = False
    if len(z) < _FEWEST:
        why = f"{len(z)} pairs are too few to learn a null from, so confounding is not accounted for."
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
        pairs=len(z),
        null_width=null.width,
        null_center=null.center,
        confounded=confounded,
        significant=float(np.mean(q <= 0.1)) if len(q) else 0.0,
        tail_excess=float(np.mean((p > 0.01) & (p <= 0.1)) / 0.09) if len(p) else float("nan"),
        sampling=sampling,
        half_confounding=half_confounding,
        trustworthy=trustworthy,
        why=why,
    )
