"""Linear reference predictors in closed form: what a fit must beat before its connectivity is read.

They see the same windows as any other model; of one that sees more, with ``context="stream"``, AR(W) is fitted with
a longer history too (`windows.with_history`). Their normal equations are sums over training windows, gathered in
blocks and in float64, so memory does not grow with the recording. Letters: B batch, N neurons, W window, K behaviours,
p = N + K predictors that all targets share, L lags that each target has of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .forecaster import Solver
from .windows import Batch, Windows

#: Ridge strengths tried, in units of a predictor's variance: added to the Gram matrix's mean over samples.
STRENGTHS: tuple[float, ...] = tuple(10 ** (k / 4) for k in range(-16, 9))

_ELEMENTS = 2**20  # numbers of a block of windows in float64, but at least
_FEWEST = 512  # windows, that adding a block's products up does not cost more than the products


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


@dataclass
class _Moments:
    """Means over windows of products of centred predictors and targets."""

    shared: Tensor
    """(p, p)."""
    cross: Tensor
    """(N, p, L) shared predictors with each target's own lags."""
    own: Tensor
    """(N, L, L)."""
    shared_target: Tensor
    """(p, N)."""
    own_target: Tensor
    """(N, L)."""
    target: Tensor
    """(N,)."""


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
            means = self._means(w)
            train, validation = (self._moments(w, part, means) for part in ("train", "validation"))
            strength, shared, own = _ridge(train, validation, self.strengths)
            # the intercept undoes the centring
            intercept = means[2] - means[0] @ shared - (own * means[1]).sum(1)
            for name, value in (("shared", shared), ("own", own), ("intercept", intercept), ("strength", strength)):
                self.get_buffer(f"{name}_{w.session}").copy_(value)

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
        shared = torch.cat([activity[:, :, -1], batch.behavior[:, :, -1]], dim=1)
        lags = 0 if self.own_from is None else max(activity.shape[2] + 1 - self.own_from, 0)
        return shared if self.population else shared[:, :0], activity[:, :, :lags]

    def _blocks(self, w: Windows, part: str, visit: Callable[[Tensor, Tensor, Tensor], None]) -> int:
        """Call `visit` with predictors and targets in float64, block by block; return the number of windows."""
        indices = w.targets[part]
        for chosen in indices.split(max(_FEWEST, _ELEMENTS // (w.n_neurons * (w.window + 2)))):
            batch = w.batch(chosen)
            visit(*(each.double() for each in (*self._predictors(batch), batch.target)))
        return len(indices)

    def _means(self, w: Windows) -> tuple[Tensor, Tensor, Tensor]:
        """Return the training means of the shared predictors, own predictors and targets."""
        sums: list[Tensor] = []

        def visit(*block: Tensor) -> None:
            sums[:] = [each.sum(0) + (sums[i] if sums else 0) for i, each in enumerate(block)]

        count = self._blocks(w, "train", visit)
        shared, own, target = (each / count for each in sums)
        return shared, own, target

    def _moments(self, w: Windows, part: str, means: tuple[Tensor, Tensor, Tensor]) -> _Moments:
        sums: list[Tensor] = []

        def visit(*block: Tensor) -> None:
            shared, own, target = (each - mean for each, mean in zip(block, means, strict=True))
            products = (
                shared.T @ shared,
                torch.einsum("bp,bnl->npl", shared, own),
                torch.einsum("bnk,bnl->nkl", own, own),
                shared.T @ target,
                torch.einsum("bnl,bn->nl", own, target),
                (target**2).sum(0),
            )
            if sums:
                for total, product in zip(sums, products, strict=True):
                    total += product
            else:
                sums.extend(products)

        count = self._blocks(w, part, visit)
        return _Moments(*(each / count for each in sums))


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


def _ridge(train: _Moments, validation: _Moments, strengths: Sequence[float]) -> tuple[Tensor, Tensor, Tensor]:
    """Return the strength with the lowest validation MSE, and its coefficients (p, N) and (N, L)."""
    p, lags = train.shared.shape[0], train.own.shape[1]
    values, vectors = torch.linalg.eigh(train.shared) if p else (train.shared.new_zeros(0), train.shared)
    rotated = vectors.T @ train.shared_target  # (p, N)
    rotated_cross = torch.einsum("pq,npl->nql", vectors, train.cross)  # (N, p, L)
    best: tuple[float, float, Tensor, Tensor] | None = None
    for strength in strengths:
        inverse = 1 / (values.clamp(min=0) + strength)
        own = train.own_target
        if lags:
            schur = train.own + strength * torch.eye(lags).to(train.own)
            schur = schur - torch.einsum("npk,p,npl->nkl", rotated_cross, inverse, rotated_cross)
            own = own - torch.einsum("npl,p,pn->nl", rotated_cross, inverse, rotated)
            # lags of a trace that moves in steps can coincide: the pseudoinverse then takes the smallest solution
            own = (torch.linalg.pinv(schur, hermitian=True) @ own[..., None])[..., 0]
        shared = vectors @ (inverse[:, None] * (rotated - torch.einsum("npl,nl->pn", rotated_cross, own)))
        loss = float(_mse(validation, shared, own))
        if best is None or loss < best[0]:
            best = (loss, strength, shared, own)
    assert best is not None
    return torch.tensor(best[1]), best[2], best[3]


def _mse(moments: _Moments, shared: Tensor, own: Tensor) -> Tensor:
    """Mean squared error of centred coefficients, over windows and targets, from the moments alone."""
    fitted = (
        (shared * (moments.shared @ shared)).sum()
        + 2 * torch.einsum("pn,npl,nl->", shared, moments.cross, own)
        + torch.einsum("nk,nkl,nl->", own, moments.own, own)
    )
    explained = (shared * moments.shared_target).sum() + (own * moments.own_target).sum()
    return (moments.target.sum() + fitted - 2 * explained) / len(moments.target)
