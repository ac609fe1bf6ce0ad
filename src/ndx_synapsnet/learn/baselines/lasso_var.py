"""Lasso VAR: the next sample of each neuron from all others' last one, own history and behaviour, with sparse coupling.

After Tibshirani 1996, "Regression shrinkage and selection via the lasso", applied to a vector autoregression of order
one (Basu and Michailidis 2015, "Regularized estimation in sparse high-dimensional time series models"). It is a causal
one-step forecaster as it stands. What is ours: own history is not penalised and may reach over the window, as the
decoders' does; one strength a session is chosen on the validation windows. Behaviours are penalised like neurons: left
free, they overfit where they move on between the parts of a recording. Letters: N neurons, W window, K behaviours,
p = N + K, L own lags.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..coordinate_descent import CoupledDesign, to_array
from ..forecaster import Solver
from ..linear import ARVAR, Linear, RidgeVAR, _mse
from ..moments import Moments
from ..windows import Batch, Windows

#: The linear models that gather the moments, and keep and apply the coefficients, by how far own history reaches.
HISTORIES: dict[str, type[Linear]] = {"last": RidgeVAR, "window": ARVAR}


@dataclass(frozen=True)
class LassoVARConfig:
    """How the lasso VAR is fitted."""

    history: Literal["last", "window"] = "window"
    """Own samples among the predictors: the last one alone, VAR(1), or all W of the window."""
    strengths: tuple[float, ...] = tuple(10 ** (-k / 8) for k in range(33))
    """Penalties tried from the largest on, as shares of the lowest that uncouples all neurons. The one with the lowest
    MSE on the validation windows is kept."""
    patience: int = 3
    """Penalties in a row that may fail to improve the validation MSE before the rest is left out; their fits take the
    longest and matter the least."""
    tolerance: float = 1e-4
    """The descent ends when no update moves a forecast by more, in root mean square and deviations of the target."""

    def __post_init__(self) -> None:
        if self.history not in HISTORIES:
            raise ValueError(f"history is {self.history!r}, expected {' or '.join(map(repr, HISTORIES))}")
        object.__setattr__(self, "strengths", check_strengths(self.strengths))
        if self.patience < 1:
            raise ValueError(f"patience is {self.patience}, expected at least 1")
        if not self.tolerance > 0:
            raise ValueError(f"tolerance is {self.tolerance}, expected above 0")


class LassoVAR(Solver):
    """x̂_i(t+1) = Σ_j≠i a_ij x_j(t) + Σ_k d_ik b_k(t) + Σ_l o_il x_i(t-l) + c_i, with an L1 penalty on a and d.

    For each target the mean of ½ (x_i - x̂_i)² plus λ (Σ|a_ij| + Σ|d_ik|) is minimised over the training windows, all in
    z-scored units, with the same λ for all targets of a session.

    Parameters
    ----------
    windows : sequence of Windows
        The sessions; each has a model of its own.
    config : LassoVARConfig, optional
        How it is fitted.
    seed : int
        Of no effect: nothing is drawn.
    """

    def __init__(self, windows: Sequence[Windows], config: LassoVARConfig | None = None, *, seed: int = 0) -> None:
        super().__init__()
        self.config = config = config or LassoVARConfig()
        self.linear = HISTORIES[config.history](windows)

    def solve(self, windows: Sequence[Windows]) -> None:
        """Descend along the path of strengths in every session, each fit starting from the one before."""
        for w in windows:
            moments = self.linear.moments(w, "train")
            train, validation = (each.centred(moments) for each in (moments, self.linear.moments(w, "validation")))
            design = CoupledDesign(train)
            targets = design.targets(to_array(train.shared_target.T), to_array(train.own_target))
            ones = np.ones(w.n_neurons)
            top = targets.largest_strength(ones)
            chosen = np.zeros(targets.shared.shape)
            lowest, since = float("inf"), 0
            for strength in (top * share for share in self.config.strengths):
                chosen = design.descend(targets, chosen, l1=strength * ones, tolerance=self.config.tolerance)
                shared, own = (torch.from_numpy(c).to(w.device) for c in design.coefficients(targets, chosen))
                loss = float(_mse(validation, shared.T, own))
                if loss < lowest:
                    lowest, since = loss, 0
                    keep(self.linear, w, moments, moments.target_mean, shared, own, strength)
                else:
                    since += 1
                if since == self.config.patience:
                    break

    def predict(self, batch: Batch) -> Tensor:
        """See `Forecaster.predict`."""
        return self.linear.predict(batch)

    def strength(self, session: int) -> float:
        """Return the λ chosen for a session."""
        return self.linear.strength(session)

    def connectivity(self, session: int) -> NDArray[np.float32] | None:
        """Return the coefficients on the other neurons' last sample, (N, N) [target, source], diagonal zero."""
        return self.linear.connectivity(session)

    def extra_repr(self) -> str:
        """The settings, for the printed form."""
        return str(self.config)


def check_strengths(strengths: Sequence[float]) -> tuple[float, ...]:
    """Return a path of penalties as a tuple of numbers, which must fall and be shares."""
    path = tuple(float(each) for each in strengths)
    falls = all(a > b for a, b in pairwise(path))
    if not path or not falls or not 0 <= path[-1] <= path[0] <= 1:
        raise ValueError(f"strengths is {path}, expected shares from 1 to 0, each below the one before")
    return path


def keep(
    linear: Linear, w: Windows, about: Moments, level: Tensor, shared: Tensor, own: Tensor, strength: float
) -> None:
    """Put coefficients of centred predictors into a linear model's buffers.

    Parameters
    ----------
    linear : Linear
        The model.
    w : Windows
        The session.
    about : Moments
        The predictors are deviations from its means.
    level : torch.Tensor
        (N,) the forecast where all of them are 0.
    shared, own : torch.Tensor
        (N, p) and (N, L), the coefficients.
    strength : float
        Of the penalty.
    """
    intercept = level - shared @ about.shared_mean - (own * about.own_mean).sum(1)
    named = {"shared": shared.T, "own": own, "intercept": intercept, "strength": torch.tensor(strength)}
    for name, value in named.items():
        linear.get_buffer(f"{name}_{w.session}").copy_(value)
