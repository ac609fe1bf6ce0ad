"""Means and products of a session's samples with their past: all that a least-squares forecaster needs of it.

Gathered once, in blocks and in float64, so memory does not grow with the recording. Letters: N neurons, K behaviours,
p = N + K predictors that all targets share (the last sample and the last behaviour), L lags that each target has of
its own, from `first` to W samples back, M windows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .windows import Windows

_ELEMENTS = 2**20  # numbers of a block in float64, but at least
_FEWEST = 512  # windows, that adding a block's products up does not cost more than the products


@dataclass(frozen=True)
class Moments:
    """Means over windows: of shared predictors s, own predictors o and targets y, and of their products."""

    shared_mean: Tensor
    """(p,)."""
    own_mean: Tensor
    """(N, L)."""
    target_mean: Tensor
    """(N,)."""
    shared: Tensor
    """(p, p) s s'."""
    cross: Tensor
    """(L, p, N) s with each target's own."""
    own: Tensor
    """(N, L, L) o o'."""
    shared_target: Tensor
    """(p, N) s y."""
    own_target: Tensor
    """(N, L) o y."""
    target: Tensor
    """(N,) y squared."""

    def centred(self, about: Moments) -> Moments:
        """Return the moments of deviations from the means of `about`: those of the training windows, as a rule."""
        s, o, y = about.shared_mean, about.own_mean, about.target_mean
        ds, do, dy = self.shared_mean - s, self.own_mean - o, self.target_mean - y
        # of a and b from their own means: E ab - Ea Eb; the means' own deviations come on top
        return Moments(
            shared_mean=ds,
            own_mean=do,
            target_mean=dy,
            shared=self.shared - _outer(self.shared_mean, self.shared_mean) + _outer(ds, ds),
            # the largest by far: without intermediates of its size
            cross=self.cross.addcmul(self.shared_mean[:, None], self.own_mean.T[:, None], value=-1).addcmul_(
                ds[:, None], do.T[:, None]
            ),
            own=self.own - self.own_mean[:, :, None] * self.own_mean[:, None] + do[:, :, None] * do[:, None],
            shared_target=self.shared_target - _outer(self.shared_mean, self.target_mean) + _outer(ds, dy),
            own_target=self.own_target - self.own_mean * self.target_mean[:, None] + do * dy[:, None],
            target=self.target - self.target_mean**2 + dy**2,
        )

    def freed_of(self, covariates: Covariates) -> Moments:
        """Return the moments of what a regression on covariates leaves of all else; of centred moments."""
        if not len(covariates.mean):
            return self
        by_shared, by_own, by_target = covariates.shared, covariates.own, covariates.target
        inverse = torch.linalg.pinv(covariates.products, hermitian=True)
        on_own, on_target = inverse @ by_own, inverse @ by_target
        return replace(
            self,
            shared=self.shared - by_shared.T @ inverse @ by_shared,
            cross=torch.baddbmm(self.cross, by_shared.T.expand(len(by_own), -1, -1), on_own, alpha=-1),
            own=self.own - torch.einsum("jfn,kfn->njk", by_own, on_own),
            shared_target=self.shared_target - by_shared.T @ on_target,
            own_target=self.own_target - torch.einsum("jfn,fn->nj", by_own, on_target),
            target=self.target - (by_target * on_target).sum(0),
        )


@dataclass(frozen=True)
class Covariates:
    """Series that all targets share beside the predictors: their means, and their products with all else, centred."""

    mean: Tensor
    """(f,)."""
    products: Tensor
    """(f, f) with each other."""
    shared: Tensor
    """(f, p) with the shared predictors."""
    own: Tensor
    """(L, f, N) with each target's own."""
    target: Tensor
    """(f, N) with the targets."""


def gather_moments(windows: Windows, part: str, *, population: bool, first: int | None) -> Moments:
    """Return the moments of one part's windows.

    Parameters
    ----------
    windows : Windows
        The session.
    part : str
        One of `windows.PARTS`.
    population : bool
        Whether there are shared predictors, of what neurons send; without them p is 0.
    first : int or None
        First of each neuron's own lags (1: the last sample) up to W; None: there are none, L is 0.

    Returns
    -------
    Moments
        Not centred. Own predictors lie oldest first, as in a window.

    Notes
    -----
    The products take 2 p (p + L N + N) M operations. Those of a neuron's own lags with each other follow from the
    first lag's: going a sample further back in both shifts the sum by one sample, at either end of each run of windows.
    """
    w, indices = windows, windows.targets[part]
    lags = () if first is None else tuple(range(first, w.window + 1))
    n, p, count = w.n_neurons, (w.n_neurons + w.n_behaviors) if population else 0, len(lags)

    def zeros(*shape: int) -> Tensor:
        return torch.zeros(shape, dtype=torch.float64, device=w.device)

    sums = Moments(
        zeros(p), zeros(n, count), zeros(n), zeros(p, p), zeros(count, p, n), zeros(n, count, count), zeros(p, n),
        zeros(n, count), zeros(n),
    )  # fmt: skip
    for block in indices.split(max(_FEWEST, _ELEMENTS // (n * (count + 2)))):
        _add(sums, w, block, lags)
    if count > 1:
        _shift(sums.own, w, indices, lags)
    if count:  # so far from the latest on
        for each in (sums.own_mean, sums.own_target):
            each.copy_(each.flip(1))
        sums.cross.copy_(sums.cross.flip(0))
        sums.own.copy_(sums.own.flip(1, 2))
    for each in vars(sums).values():
        each /= len(indices)
    return sums


def gather_covariates(windows: Windows, part: str, series: Tensor, *, first: int) -> Covariates:
    """Return the products of further series with what a part's windows hold.

    Parameters
    ----------
    windows : Windows
        The session.
    part : str
        One of `windows.PARTS`.
    series : torch.Tensor
        (T, f) covariates, float64; the row of a sample acts on that sample.
    first : int
        First of each neuron's own lags, as in `gather_moments`.
    """
    w, indices = windows, windows.targets[part]
    lags = range(w.window, first - 1, -1)
    n, p, f = w.n_neurons, w.n_neurons + w.n_behaviors, series.shape[1]
    chosen = series.index_select(0, indices)
    mean = chosen.mean(0)
    products = chosen.T @ chosen / len(indices)
    shared, target = (torch.zeros(shape, dtype=torch.float64, device=w.device) for shape in ((f, p), (f, n)))
    own = torch.zeros(len(lags), f, n, dtype=torch.float64, device=w.device)
    for block in indices.split(max(_FEWEST, _ELEMENTS // n)) if f else ():
        v, last = (series.index_select(0, block) - mean).T, block - 1  # (f, m)
        shared += v @ torch.cat([w.sources_at(last), w.behavior.index_select(0, last)], dim=1).double()
        target += v @ w.activity.index_select(0, block).double()
        for j, lag in enumerate(lags):
            own[j] += v @ w.activity.index_select(0, block - lag).double()
    shared, own, target = (each / len(indices) for each in (shared, own, target))
    return Covariates(mean, products - _outer(mean, mean), shared, own, target)


def _add(sums: Moments, w: Windows, block: Tensor, lags: Iterable[int]) -> None:
    """Add a block of windows (m,), own predictors from the latest on; of their products only those with the first."""
    target = w.activity.index_select(0, block).double()  # (m, N)
    sums.target_mean.add_(target.sum(0))
    sums.target.add_((target**2).sum(0))
    shared = target[:, :0]
    if len(sums.shared):
        last = block - 1
        shared = torch.cat([w.sources_at(last), w.behavior.index_select(0, last)], dim=1).double()
        sums.shared_mean.add_(shared.sum(0))
        sums.shared.addmm_(shared.T, shared)
        sums.shared_target.addmm_(shared.T, target)
    latest: Tensor | None = None
    for j, lag in enumerate(lags):
        own = w.activity.index_select(0, block - lag).double()
        latest = own if latest is None else latest
        sums.own_mean[:, j].add_(own.sum(0))
        sums.own_target[:, j].add_((own * target).sum(0))
        sums.own[:, 0, j].add_((own * latest).sum(0))
        if len(shared.T):
            sums.cross[j].addmm_(shared.T, own)


def _shift(own: Tensor, w: Windows, indices: Tensor, lags: tuple[int, ...]) -> None:
    """Fill (N, L, L) sums of products of lags, latest first, from its first row and the ends of runs of windows."""
    breaks = indices.diff() != 1
    edge = torch.ones(1, dtype=torch.bool, device=indices.device)
    starts, ends = indices[torch.cat([edge, breaks])], indices[torch.cat([breaks, edge])]  # (R,) first and last of each
    for i, lag in enumerate(lags[:-1]):
        entering = w.activity.index_select(0, starts - 1 - lag).double()  # (R, N)
        leaving = w.activity.index_select(0, ends - lag).double()
        for j in range(i, len(lags) - 1):
            gain = (entering * w.activity.index_select(0, starts - 1 - lags[j]).double()).sum(0)
            loss = (leaving * w.activity.index_select(0, ends - lags[j]).double()).sum(0)
            own[:, i + 1, j + 1] = own[:, i, j] + gain - loss
    lower = torch.ones(own.shape[1:], dtype=torch.bool, device=own.device).tril(-1)
    own[:, lower] = own.transpose(1, 2)[:, lower]


def _outer(a: Tensor, b: Tensor) -> Tensor:
    return a[:, None] * b
