"""Connectivity read from a trained network that starts as a linear model: how its forecasts answer to each source.

The network's forecast of target i is linearised in the current it had, I = A u + C f + D b + c, with the slope g_i(t) =
∂x̂_i(t+1)/∂I_i(t), and what explains the sample itself is regressed anew (one Gauss-Newton step):

    y_i(t+1) - x̂_i(t+1) + g_i(t) I_i(t) = g_i(t) [Σ_j w_ij u_j(t) + o_i u_i(t) + d_i b(t) + c_i + l_i v(t)] + noise

with weights 1 / variance, the variance being a linear function of the forecast. u is what neurons send (`drive`). v is
the hidden drive as all samples together show it, and how unsure it is counts; it, behaviour, the constant and what the
target itself sends are projected out. w gets the same prior as in the linear stage (`shrinkage`). So samples in which a
neuron cannot answer, as it is silent or saturated, count for little, and those of much noise too; this, beside the
drive, is what the network adds.

Target by target the products of all sources are N³ numbers. Here all targets share one matrix of products, made with
their mean weights, while gradients and variances are each target's own: a few steps towards the same optimum, each of
a few N² T operations. At 100 neurons the result correlates with that of N matrices to 0.999.

Letters: N neurons, T training samples, K behaviours, k components of the drive, m = K + 1 + k covariates.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .drive import DriveFit
from .shrinkage import Posterior, shrink
from .synapsnet import SynapsNet
from .validation import score_session
from .windows import Windows

_COLUMNS = 65_536  # windows x neurons that are forecast at once
_BLOCK = 2**20  # numbers of a series multiplied at once
_LARGEST = 6e4  # in half precision
_VANISHES = 1e-8  # less variance than this, against the largest, is rounding
_STEPS = 4  # towards the posterior mean
_SWEEPS = 4  # of the shrinkage in each step
_FREE_STEPS = 6  # towards the weighted least squares, where nothing is shrunk
_SETTLED = 0.25  # standard errors: a last step below that adds little to their square
_LEAST_VARIANCE = 0.5  # of the mean squared error: below it the variance is not believed, nor the linearisation


@dataclass(frozen=True)
class Readout:
    """What the data, seen through the network, say of a session's connectivity; z-scored, [target, source].

    Effects are mean changes of the target's forecast per unit of what the source sends: a weight times the target's
    mean gain. The diagonals are 0.
    """

    weights: NDArray[np.float64]
    """(N, N) posterior mean of the effects."""
    deviation: NDArray[np.float64]
    """(N, N) posterior standard deviation."""
    spike: NDArray[np.float64]
    """(N, N) posterior probability that there is no effect."""
    estimate: NDArray[np.float64]
    """(N, N) weighted least squares without a prior, to test against 0."""
    standard_error: NDArray[np.float64]
    """(N, N) of `estimate`, of sampling noise alone."""
    gain: NDArray[np.float64]
    """(N,) mean slope g_i."""
    raw: NDArray[np.float64]
    """(N, N) posterior mean as weights of the current: `weights` over `gain`."""
    last_step: float
    """How far the last step towards `estimate` still moved it: root mean square over pairs, in standard errors;
    infinite where there are no more samples than predictors, and least squares have no one solution."""

    @property
    def settled(self) -> bool:
        """Whether `estimate` is the least-squares solution, near enough to be tested.

        It is not where there are hardly more samples than neurons: the steps then drift apart.
        """
        return self.last_step < _SETTLED


def read_out(model: SynapsNet, session: int, fit: DriveFit) -> Readout:
    """Read a session's connectivity from a model with ``drive``.

    Parameters
    ----------
    model : SynapsNet
        Trained.
    session : int
        Place of the session.
    fit : DriveFit
        The linear model that it started from.
    """
    windows = model.windows[session]
    series, doubt = fit.smoothed(windows)
    linear = _linearise(model, windows)
    sums = _Sums(windows, linear, series, doubt, fit.deflation)
    raw = model.raw_connectivity(session)
    assert raw is not None  # the configuration has seen to it
    weights = torch.from_numpy(raw).to(windows.device, torch.float64)
    posterior: Posterior | None = None
    for _ in range(_STEPS):
        posterior = sums.shrunk(weights, posterior)
        weights = torch.from_numpy(posterior.mean).to(windows.device)
    assert posterior is not None
    free = before = weights
    for _ in range(_FREE_STEPS):
        before, free = free, sums.unshrunk(free)
    error = sums.standard_error(posterior.noise)
    step = (free - before).cpu().numpy()[error > 0] / error[error > 0]
    moved = float(np.sqrt(np.mean(step**2))) if step.size else 0.0
    gain = linear.gain.numpy()[:, None]
    return Readout(
        weights=gain * posterior.mean,
        deviation=np.abs(gain) * np.sqrt(posterior.variance),
        spike=posterior.spike,
        estimate=gain * free.cpu().numpy(),
        standard_error=np.abs(gain) * error,
        gain=gain[:, 0],
        raw=posterior.mean,
        last_step=moved if sums.determined else float("inf"),
    )


def take_if_better(model: SynapsNet, session: int, found: Readout) -> str:
    """Put the weights found into the model if its validation MSE falls by that, and say in words whether it did."""
    windows, weights = model.windows[session], model.weights[session]
    before, kept = score_session(model, windows, "validation")[0], weights.detach().clone()
    with torch.no_grad():
        weights.copy_(torch.from_numpy(found.raw))
    after = score_session(model, windows, "validation")[0]
    if after < before:
        return (
            f"The connectivity read out of the network took the place of the linear model's: validation MSE {after:.5g}"
        )
    with torch.no_grad():
        weights.copy_(kept)
    return (
        "The network keeps the linear model's connectivity for its forecasts: that read out of it does not lower the "
        f"validation MSE ({after:.5g} and {before:.5g})"
    )


@dataclass(frozen=True)
class _Linear:
    """The network's training samples as weighted regressions: response = slope x (current sought) + noise of 1."""

    samples: Tensor
    """(T,) the targets, as indices."""
    slope: Tensor
    """(T, N) g / √variance."""
    response: Tensor
    """(T, N) (y - x̂ + g I) / √variance."""
    gain: Tensor
    """(N,) mean of g."""


def _linearise(model: SynapsNet, windows: Windows) -> _Linear:
    """Linearise the forecasts of all training samples."""
    samples = windows.targets["train"]
    shape = (len(samples), windows.n_neurons)
    # in half precision, whose rounding is a thousandth of the noise: three series as long as the recording
    slope, response, forecast = (torch.empty(shape, dtype=torch.float16, device=windows.device) for _ in range(3))
    total = torch.zeros(shape[1], dtype=torch.float64, device=windows.device)
    moments = torch.zeros(5, shape[1], dtype=torch.float64, device=windows.device)
    start = 0
    for chosen in samples.split(max(1, _COLUMNS // shape[1])):
        batch = windows.batch(chosen)
        expected, slopes, current = model.slopes(batch)
        error = batch.target - expected
        block = slice(start, start + len(chosen))
        slope[block], forecast[block] = slopes.half(), expected.half()
        response[block] = (error + slopes * current).half()
        total += slopes.sum(0).double()
        x, y = expected.double(), error.double() ** 2
        moments += torch.stack([x.sum(0), (x * x).sum(0), y.sum(0), (x * y).sum(0), torch.ones_like(x).sum(0)])
        start += len(chosen)
    x, xx, y, xy, count = moments
    x, xx, y, xy = x / count, xx / count, y / count, xy / count
    rise = (xy - x * y) / (xx - x * x).clamp(min=1e-12)
    for block in torch.arange(shape[0], device=windows.device).split(max(1, _BLOCK // shape[1])):
        part = slice(int(block[0]), int(block[-1]) + 1)
        variance = (y + rise * (forecast[part] - x)).maximum(_LEAST_VARIANCE * y).clamp(min=1e-6)
        scale = variance.rsqrt().float()
        slope[part] = (slope[part] * scale).half()
        response[part] = (response[part] * scale).clamp(-_LARGEST, _LARGEST).half()
    return _Linear(samples, slope, response, (total / shape[0]).cpu())


class _Sums:
    """The regressions' sums of products, and steps towards their solutions.

    Of target i, with u its slope, κ the covariates (m + 1 with own activity) and H_i = Σ u² κ κᵀ, E_ij = Σ u² κ x_j,
    the covariates are eliminated exactly: gradients are Σ u r x_j - E_ijᵀ H_i⁻¹ Σ u r κ. The curvature of a target is
    taken as a number times one matrix.
    """

    def __init__(
        self,
        windows: Windows,
        linear: _Linear,
        series: NDArray[np.float64],
        doubt: NDArray[np.float64],
        deflation: float,
    ) -> None:
        self._windows, self._linear = windows, linear
        n, device, k = windows.n_neurons, windows.device, len(doubt)
        drive = torch.from_numpy(series).to(device, torch.float32).index_select(0, linear.samples)
        last = linear.samples - 1
        behavior = windows.behavior.index_select(0, last).float()
        self._covariates = torch.cat([behavior, drive.new_ones(len(drive), 1), drive], dim=1)
        m = self._covariates.shape[1]
        square = torch.zeros(n, m + 1, m + 1, dtype=torch.float64, device=device)
        cross = torch.zeros(m + 1, n, n, device=device)
        own_curve = torch.zeros(n, n, device=device)
        gram, with_shared, among = (torch.zeros(shape, device=device) for shape in ((n, n), (m, n), (m, m)))
        curve = torch.zeros(n, dtype=torch.float64, device=device)
        for x, u, _, c in self._blocks():
            u2 = u * u
            both = (c[:, :, None] * c[:, None]).flatten(1)  # (t, m m)
            square[:, :m, :m] += (u2.T @ both).view(n, m, m).double()
            square[:, :m, m] += ((u2 * x).T @ c).double()
            square[:, m, m] += (u2 * x * x).sum(0).double()
            for a in range(m):
                cross[a].addmm_((u2 * c[:, a : a + 1]).T, x)
            cross[m].addmm_((u2 * x).T, x)
            own_curve.addmm_(u2.T, x * x)
            mean = u2.mean(1, keepdim=True)
            gram.addmm_((x * mean).T, x)
            with_shared.addmm_((c * mean).T, x)
            among.addmm_((c * mean).T, c)
            curve += u2.sum(0).double()
        square[:, m, :m] = square[:, :m, m]
        unsure = torch.from_numpy(doubt).to(device)
        square[:, m - k : m, m - k : m] += curve[:, None, None] * unsure
        among[m - k :, m - k :] += (curve.mean() * unsure).float()
        self._inverse = torch.linalg.pinv(square, hermitian=True)  # (N, m + 1, m + 1)
        self._cross = cross
        # of each target and source: what own activity and the covariates leave of Σ u² x²
        self._curve = own_curve.double()
        for some, each in self._crosses():
            self._curve[some] -= (torch.einsum("nab,bnj->anj", self._inverse[some], each) * each).sum(0)
        inner = torch.linalg.pinv(among.double(), hermitian=True)
        self._gram = gram.double() - with_shared.T.double() @ inner @ with_shared.double()
        self._gram_inverse = torch.linalg.pinv(self._gram, hermitian=True, rtol=_VANISHES)
        ratio = (self._curve / self._gram.diagonal().clamp(min=1e-9)).clamp(min=0).fill_diagonal_(0)
        self._scale = (ratio.sum(1) / (n - 1)).clamp(min=1e-9)  # (N,)
        # sources of more curvature than that, as they speak when the target answers, are measured in smaller units: the
        # steps would overshoot
        self._unit = (ratio / self._scale[:, None]).clamp(min=1).sqrt()
        self._deflation = deflation
        self._count = len(linear.samples)
        self.determined = self._count > n + m
        """Whether there are more samples than a target has predictors."""

    def shrunk(self, weights: Tensor, before: Posterior | None) -> Posterior:
        """Return the posterior by the gradient at `weights` (N, N)."""
        sums = (self._gram, *self._local(weights))
        gram, cross, square = ((each / self._deflation).cpu().numpy() for each in sums)
        found = shrink(
            gram,
            cross,
            square,
            self._count / self._deflation,
            start=(weights * self._unit).cpu().numpy(),
            absent=np.eye(len(weights), dtype=bool),
            prior=None if before is None else before.prior,
            noise=None if before is None else before.noise,
            sweeps=_SWEEPS,
        )
        unit = self._unit.cpu().numpy()
        return replace(found, mean=found.mean / unit, variance=found.variance / unit**2)

    def unshrunk(self, weights: Tensor) -> Tensor:
        """Return the least-squares weights by the gradient at `weights` (N, N)."""
        gradient, _ = self._gradient(weights)
        step = (gradient / (self._scale[:, None] * self._unit)) @ self._gram_inverse
        estimate: Tensor = (weights + step / self._unit).fill_diagonal_(0)
        return estimate

    def standard_error(self, noise: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the standard errors of the least-squares weights, by each target's noise as `shrunk` gives it."""
        inflation = self._gram_inverse.diagonal() * self._gram.diagonal()  # by the other sources
        variance = torch.from_numpy(noise).to(self._scale) * self._scale
        error = (variance[:, None] * inflation / self._curve.clamp(min=1e-9)).sqrt().fill_diagonal_(0)
        return np.asarray(error.cpu().numpy())

    def _local(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Return Σ x y and Σ y² of regressions with the common products that have the true gradient and residuals."""
        gradient, left = self._gradient(weights)
        gradient, inner = gradient / (self._scale[:, None] * self._unit), weights * self._unit
        cross = gradient + inner @ self._gram
        return cross, left / self._scale + (inner * (gradient + cross)).sum(1)

    def _gradient(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Return for each target the gradient (N, N) at `weights`, and the squares (N,) they leave."""
        n, m = len(weights), self._covariates.shape[1]
        device = self._windows.device
        gradient = torch.zeros(n, n, device=device)
        others = torch.zeros(n, m + 1, dtype=torch.float64, device=device)
        left = torch.zeros(n, dtype=torch.float64, device=device)
        chosen = weights.to(device, torch.float32)
        for x, u, q, c in self._blocks():
            r = q - u * (x @ chosen.T)
            left += (r * r).sum(0).double()
            r *= u
            gradient.addmm_(r.T, x)
            others[:, :m] += (r.T @ c).double()
            others[:, m] += (r * x).sum(0).double()
        explained = (self._inverse @ others[:, :, None])[..., 0]  # (N, m + 1)
        left = left - (others * explained).sum(1)
        result = gradient.double()
        for some, each in self._crosses():
            result[some] -= torch.einsum("na,anj->nj", explained[some], each)
        return result, left

    def _crosses(self) -> Iterator[tuple[slice, Tensor]]:
        """Yield E (m + 1, n, N) in double precision, some targets at a time: of all at once it takes gigabytes."""
        step = max(1, _BLOCK // self._cross.shape[2])
        for start in range(0, self._cross.shape[1], step):
            some = slice(start, start + step)
            yield some, self._cross[:, some].double()

    def _blocks(self) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """Yield sources, slopes, responses (t, N) and covariates (t, m), some samples at a time."""
        linear, n = self._linear, self._windows.n_neurons
        step = max(256, _BLOCK // n)
        for start in range(0, len(linear.samples), step):
            part = slice(start, start + step)
            sources = self._windows.sources_at(linear.samples[part] - 1).float()
            yield sources, linear.slope[part].float(), linear.response[part].float(), self._covariates[part]
