"""Penalised Poisson likelihood of one session's counts, minimised by proximal Newton steps.

The Hessian of target i is the predictors' Gram matrix, weighted by the information at each sample. It is replaced by
the target's mean information times the unweighted Gram matrix, which all targets share: a step is then one pass over
the data and one lasso from moments (`coordinate_descent`). A step too long is halved, target by target, so that the
penalised likelihood never falls; the minimum is the exact one. After Lee, Sun and Saunders 2014, "Proximal Newton-type
methods for minimizing composite functions".

Letters: N neurons, K behaviours, p = N + K, L own lags, G targets still at work, B samples of a block.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..coordinate_descent import Array, CoupledDesign, Targets, to_array
from ..linear import Linear
from ..windows import Windows

#: Turns a drive (B, G) of the targets (G,) into expected counts and their slopes, both (B, G).
Link = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]

_BLOCK = 2**20  # numbers of a series gathered at a time
_HALVINGS = 10
_SMALLEST = 1e-12  # information: that of a rate which is 0 all the time


@dataclass(frozen=True)
class Point:
    """Coefficients of centred predictors, and the mean negative log likelihood there with its derivatives."""

    shared: Array
    """(G, p) on all neurons' last samples and on the behaviours."""
    own: Array
    """(G, L - 1) on the own older lags, oldest first."""
    intercept: Array
    """(G,)."""
    loss: Array
    """(G,) nats a sample, up to what the counts alone decide."""
    by_shared: Array
    by_own: Array
    by_intercept: Array
    information: Array
    """(G,) mean Fisher information of the drive."""
    gain: Array
    """(G,) mean slope of the rate."""

    def take(self, targets: NDArray[np.int64]) -> Point:
        """Return the point of some targets."""
        return Point(*(getattr(self, f.name)[targets] for f in fields(self)))

    def put(self, targets: NDArray[np.int64], part: Point) -> None:
        """Replace some targets."""
        for f in fields(self):
            getattr(self, f.name)[targets] = getattr(part, f.name)


class PoissonFit:
    """The likelihood of one session.

    Parameters
    ----------
    windows : Windows
        The session, of counts.
    linear : Linear
        Decides the predictors: `linear.RidgeVAR` or `linear.ARVAR`.
    lags : sequence of int
        The own older lags among them, oldest first.
    link : Link
        From drive to expected count.
    tolerance : float
        A target is done when a step improves its penalised likelihood by less, in nats a sample.
    steps : int
        Newton steps of a minimisation, at most.
    """

    def __init__(
        self, windows: Windows, linear: Linear, lags: range, link: Link, *, tolerance: float, steps: int
    ) -> None:
        self._windows, self._lags, self._link = windows, lags, link
        self._tolerance, self._steps = tolerance, steps
        self.about = linear.moments(windows, "train")
        self._design = CoupledDesign(self.about.centred(self.about))

    def start(self, drive: Array) -> Point:
        """Return the point of the constant drives (N,)."""
        n, p = self._windows.n_neurons, self._windows.n_neurons + self._windows.n_behaviors
        return self._at(np.arange(n), np.zeros((n, p)), np.zeros((n, len(self._lags))), drive)

    def minimise(self, point: Point, *, l1: Array, l2: Array) -> Point:
        """Return the point (N targets) of the lowest loss plus λ_i |a_i|₁ + ½ κ_i |a_i|², with `l1` and `l2` (N,)."""
        point = point.take(np.arange(len(l1)))  # a copy
        going = np.arange(len(l1))
        for _ in range(self._steps):
            part, fell = self._step(going, point.take(going), l1[going], l2[going])
            point.put(going, part)
            going = going[fell >= self._tolerance]
            if not len(going):
                break
        return point

    def working_targets(self, point: Point) -> Targets:
        """Return the moments of the working response of all targets: the lasso on them is the Newton step."""
        return _working_targets(self._design, point)

    def loss(self, part: str, point: Point) -> float:
        """Return the mean loss over the targets and samples of another part."""
        every = np.arange(len(point.intercept))
        return float(self._at(every, point.shared, point.own, point.intercept, part).loss.mean())

    def _step(self, going: NDArray[np.int64], point: Point, l1: Array, l2: Array) -> tuple[Point, Array]:
        """Take one step with the targets `going`; return where to, and by how much the penalised loss fell (G,)."""
        design = self._design.of(going)

        def penalised(at: Point) -> Array:
            chosen = design.without_own(at.shared)
            return np.asarray(at.loss + l1 * np.abs(chosen).sum(1) + l2 / 2 * (chosen**2).sum(1))

        targets = _working_targets(design, point)
        chosen = design.descend(
            targets,
            design.without_own(point.shared),
            l1=l1 / point.information,
            l2=l2 / point.information,
            tolerance=np.sqrt(self._tolerance) / 10,
        )
        shared, own = design.coefficients(targets, chosen)
        intercept = point.intercept - point.by_intercept / point.information
        before, size = penalised(point), np.ones(len(going))
        for halvings in range(_HALVINGS + 1):
            now = self._at(
                going,
                point.shared + size[:, None] * (shared - point.shared),
                point.own + size[:, None] * (own - point.own),
                point.intercept + size * (intercept - point.intercept),
            )
            fell = before - penalised(now)
            rounding = torch.finfo(self._windows.dtype).eps * np.maximum(np.abs(before), 1)
            worse = ~(fell >= -rounding)  # not a number is worse too
            if not worse.any():
                break
            size = np.where(worse, 0 if halvings == _HALVINGS - 1 else size / 2, size)
        return now, fell

    def _at(self, going: NDArray[np.int64], shared: Array, own: Array, intercept: Array, part: str = "train") -> Point:
        """Return the point of the targets `going` with these coefficients, scored on a part of the session."""
        w, device = self._windows, self._windows.device
        columns = torch.from_numpy(going).to(device)
        whole = len(going) == w.n_neurons

        def pick(samples: Tensor) -> Tensor:
            rows = w.activity.index_select(0, samples)
            return rows if whole else rows.index_select(1, columns)

        a, o, c = (torch.from_numpy(each).to(device) for each in (shared, own, intercept))
        shared_mean, own_mean = self.about.shared_mean, self.about.own_mean[columns]
        c = c - a @ shared_mean - (o * own_mean).sum(1)
        a, o, c = (each.to(w.dtype) for each in (a, o, c))
        mean, std = (
            torch.from_numpy(each[going]).to(device, w.dtype)
            for each in (w.normalization.activity_mean, w.normalization.activity_std)
        )
        sums = torch.zeros(4, len(going), dtype=torch.float64, device=device)
        by_shared, by_own = torch.zeros_like(a, dtype=torch.float64), torch.zeros_like(o, dtype=torch.float64)
        indices = w.targets[part]
        for samples in indices.split(max(1, _BLOCK // w.n_neurons)):
            last = torch.cat([each.index_select(0, samples - 1) for each in (w.activity, w.behavior)], dim=1)  # (B, p)
            drive = torch.addmm(c, last, a.T)  # (B, G)
            for k, lag in enumerate(self._lags):
                drive.addcmul_(pick(samples - lag), o[:, k])
            rate, slope = self._link(drive, columns)
            counts = (pick(samples) * std + mean).round_()
            score = slope * (1 - counts / rate)
            by_shared += score.T @ last
            for k, lag in enumerate(self._lags):
                by_own[:, k] += (pick(samples - lag) * score).sum(0)
            terms = (rate - counts * rate.log(), score, slope * slope / rate, slope)
            sums += torch.stack([each.sum(0) for each in terms])
        by_shared -= sums[1][:, None] * shared_mean  # of the centred predictors
        by_own -= sums[1][:, None] * own_mean
        of_shared, of_own, (loss, of_intercept, information, gain) = (
            to_array(each) / len(indices) for each in (by_shared, by_own, sums)
        )
        information = np.maximum(information, _SMALLEST)
        return Point(shared, own, intercept, loss, of_shared, of_own, of_intercept, information, gain)


def _working_targets(design: CoupledDesign, point: Point) -> Targets:
    shared, own = design.moments_of(point.shared, point.own)
    information = point.information[:, None]
    return design.targets(shared - point.by_shared / information, own - point.by_own / information)
