"""Linear reference predictors in closed form: what a fit must beat before its connectivity is read.

They see the same windows as any other model; of one that sees more, with ``context="stream"``, AR(W) is fitted with
a longer history too (`windows.with_history`). Their normal equations are sums over training windows, gathered in
blocks and in float64, so memory does not grow with the recording. Letters: B batch, N neurons, W window, K behaviours,
p = N + K predictors that all targets share, L lags that each target has of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .forecaster import Solver
from .moments import Moments, gather_moments
from .windows import Batch, Windows

#: Ridge strengths tried, in units of a predictor's variance: added to the Gram matrix's mean over samples.
STRENGTHS: tuple[float, ...] = tuple(10 ** (k / 4) for k in range(-16, 9))

_ELEMENTS = 2**20  # numbers of a block of targets in float64


class Mean(Solver):
    """Always the training mean: an MSE of about 1."""

    def __init__(self, windows: Sequence[Windows]) -> None:
        super().__init__()
        for w in windows:
            self.register_buffer(f"mean_{w.session}", w.activity.new_zeros(w.n_neurons))

    def solve(self, windows: Sequence[Windows]) -> None:
        """Average the training targets."""
        for w in windows:
            indices = w.targets["train"]
            blocks = indices.split(max(1, _ELEMENTS // w.n_neurons))
            total = torch.stack([w.activity.index_select(0, block).double().sum(0) for block in blocks]).sum(0)
            self.get_buffer(f"mean_{w.session}").copy_(total / len(indices))

    def predict(self, batch: Batch) -> Tensor:
        """See `Forecaster.predict`."""
        return self.get_buffer(f"mean_{batch.session}").expand_as(batch.target)


class Persistence(Solver):
    """The last sample again."""

    def __init__(self, windows: Sequence[Windows]) -> None:
        super().__init__()

    def solve(self, windows: Sequence[Windows]) -> None:
        """Nothing to fit."""

    def predict(self, batch: Batch) -> Tensor:
        """See `Forecaster.predict`."""
        return batch.activity[:, :, -1]


class Linear(Solver):
    """Linear regression of the next sample, for each target with an intercept and a ridge of one common strength.

    Predictors are z-scored, all are penalised alike, the intercept is not. The strength, one a session, is that of
    `STRENGTHS` with the lowest MSE on the validation windows. For a target i the equations are

        [S + λ   Z_i    ] [c_i]   [u_i]      S shared with shared, Z_i shared with own lags,
        [Z_iᵀ    O_i + λ] [o_i] = [v_i]      O_i own with own, u_i and v_i with the target;

    S is diagonalised once for all targets and strengths, and what remains is L x L a target (Schur complement).
    """

    population: ClassVar[bool]
    """Whether all neurons' last sample and the last behaviour are predictors."""
    own_from: ClassVar[int | None]
    """The first of each neuron's own lags (1: the last sample) up to W that are predictors, or None."""
    strengths: ClassVar[tuple[float, ...]] = STRENGTHS

    def __init__(self, windows: Sequence[Windows]) -> None:
        super().__init__()
        for w in windows:
            p = (w.n_neurons + w.n_behaviors) if self.population else 0
            lags = 0 if self.own_from is None else max(w.window + 1 - self.own_from, 0)
            shapes = {"shared": (p, w.n_neurons), "own": (w.n_neurons, lags), "intercept": (w.n_neurons,)}
            for name, shape in shapes.items():
                self.register_buffer(f"{name}_{w.session}", w.activity.new_zeros(shape))
            self.register_buffer(f"strength_{w.session}", w.activity.new_zeros(()))

    def solve(self, windows: Sequence[Windows]) -> None:
        """Solve the normal equations of every session."""
        for w in windows:
            train, validation = (self.moments(w, part) for part in ("train", "validation"))
            shared_mean, own_mean, target_mean = train.shared_mean, train.own_mean, train.target_mean
            # one after the other takes the place of what it is made from: each is N² W numbers
            validation = validation.centred(train)
            train = train.centred(train)
            values, vectors = _diagonalised(train.shared)
            train = _rotated(train, vectors)
            validation = _rotated(validation, vectors)
            strength, shared, own = _ridge(train, validation, values, self.strengths)
            shared = vectors @ shared
            # the intercept undoes the centring
            intercept = target_mean - shared_mean @ shared - (own * own_mean).sum(1)
            for name, value in (("shared", shared), ("own", own), ("intercept", intercept), ("strength", strength)):
                self.get_buffer(f"{name}_{w.session}").copy_(value)

    def moments(self, windows: Windows, part: str) -> Moments:
        """Return the moments of this model's predictors and targets over a part's windows.

        What the population shares is what its neurons send (`Windows.sources_at`): the activity, or what is new in it.
        """
        return gather_moments(windows, part, population=self.population, first=self.own_from)

    def predict(self, batch: Batch) -> Tensor:
        """See `Forecaster.predict`."""
        shared, own = self._predictors(batch)
        coefficients, own_coefficients, intercept = (
            self.get_buffer(f"{name}_{batch.session}") for name in ("shared", "own", "intercept")
        )
        return shared @ coefficients + (own * own_coefficients).sum(-1) + intercept

    def strength(self, session: int) -> float:
        """Return the ridge strength chosen for a session."""
        return float(self.get_buffer(f"strength_{session}"))

    def connectivity(self, session: int) -> NDArray[np.float32] | None:
        """Return the coefficients on the other neurons' last sample, (N, N) [target, source], diagonal zero."""
        if not self.population:
            return None
        shared = self.get_buffer(f"shared_{session}")
        weights = shared[: shared.shape[1]].T.clone().fill_diagonal_(0)
        return weights.float().cpu().numpy()

    def _predictors(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the shared (B, p) and the own predictors (B, N, L), the latest lag last."""
        activity = batch.activity
        shared = torch.cat([batch.sources[:, :, -1], batch.behavior[:, :, -1]], dim=1)
        lags = 0 if self.own_from is None else max(activity.shape[2] + 1 - self.own_from, 0)
        return shared if self.population else shared[:, :0], activity[:, :, :lags]


class AR(Linear):
    """AR(W): each neuron from its own W samples, by least squares."""

    population = False
    own_from = 1
    strengths = (0.0,)


class RidgeVAR(Linear):
    """VAR(1) and behaviour: each neuron from all neurons' last sample and the last behaviour."""

    population = True
    own_from = None


class ARVAR(Linear):
    """AR(W) of the neuron itself, VAR(1) of the others, and the last behaviour."""

    population = True
    own_from = 2


#: Reference predictors by name; each is printed beside every fit.
REFERENCES: dict[str, Callable[[Sequence[Windows]], Solver]] = {
    "mean": Mean,
    "persistence": Persistence,
    "ar": AR,
    "ridge_var": RidgeVAR,
    "ar_var": ARVAR,
}


def _diagonalised(shared: Tensor) -> tuple[Tensor, Tensor]:
    """Return the eigenvalues (p,) and eigenvectors (p, p) of S."""
    if not len(shared):
        return shared.diagonal(), shared
    values, vectors = torch.linalg.eigh(shared)
    return values, vectors


def _ridge(
    train: Moments, validation: Moments, values: Tensor, strengths: Sequence[float]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the strength with the lowest validation MSE, and its coefficients (p, N) and (N, L).

    The moments are centred, and in the basis where S is diagonal: `values` (p,).
    """
    inverses = 1 / (values.clamp(min=0) + torch.tensor(strengths).to(values)[:, None])  # (strengths, p)
    # without own lags the coefficients are a diagonal times what follows, and all strengths share one product
    squares = validation.shared * (train.shared_target @ train.shared_target.T) if not len(train.cross) else None
    best: tuple[float, float, Tensor, Tensor] | None = None
    for strength, inverse, own in zip(strengths, inverses, _own(train, inverses, strengths), strict=True):
        shared = inverse[:, None] * (train.shared_target - _times_own(train.cross, own))
        square = (shared * (validation.shared @ shared)).sum() if squares is None else inverse @ squares @ inverse
        loss = float(_mse(validation, shared, own, square))
        if best is None or loss < best[0]:
            best = (loss, strength, shared, own)
    assert best is not None
    return torch.tensor(best[1]), best[2], best[3]


def _rotated(moments: Moments, vectors: Tensor) -> Moments:
    """Return the moments of the shared predictors' components along `vectors` (p, p)."""
    return replace(
        moments,
        shared=vectors.T @ moments.shared @ vectors,
        cross=vectors.T @ moments.cross,
        shared_target=vectors.T @ moments.shared_target,
    )


def _own(train: Moments, inverses: Tensor, strengths: Sequence[float]) -> Tensor:
    """Return the coefficients on the own lags (strengths, N, L), the shared ones eliminated."""
    n, count = train.own_target.shape
    schur = train.own + torch.tensor(strengths).to(train.own)[:, None, None, None] * torch.eye(count).to(train.own)
    target = train.own_target.expand(len(strengths), n, count).clone()
    for j in range(count):
        target[..., j] -= inverses @ (train.cross[j] * train.shared_target)
        for k in range(j + 1):
            schur[..., j, k] -= inverses @ (train.cross[j] * train.cross[k])
            schur[..., k, j] = schur[..., j, k]
    # lags of a trace that moves in steps can coincide: the pseudoinverse then takes the smallest solution
    pseudoinverse: Tensor = torch.linalg.pinv(schur, hermitian=True)
    return (pseudoinverse @ target[..., None])[..., 0]


def _times_own(cross: Tensor, own: Tensor) -> Tensor:
    """Sum the products with own lags (L, p, N) over them by their coefficients (N, L), to (p, N)."""
    total = cross.new_zeros(cross.shape[1:])
    for product, coefficients in zip(cross, own.T, strict=True):
        total.addcmul_(product, coefficients)
    return total


def _mse(moments: Moments, shared: Tensor, own: Tensor, square: Tensor | None = None) -> Tensor:
    """Mean squared error of centred coefficients, over windows and targets, from the moments alone."""
    if square is None:
        square = (shared * (moments.shared @ shared)).sum()
    fitted = (
        square
        + 2 * (shared * _times_own(moments.cross, own)).sum()
        + torch.einsum("nk,nkl,nl->", own, moments.own, own)
    )
    explained = (shared * moments.shared_target).sum() + (own * moments.own_target).sum()
    return (moments.target.sum() + fitted - 2 * explained) / len(moments.target)
