"""Coupled Poisson GLM: spike counts from all neurons' last one, own history and behaviour, through a rectifying link.

After Pillow et al. 2008, "Spatio-temporal correlations and visual signalling in a complete neuronal population" (the
coupled point-process GLM), on binned counts. It is a causal one-step forecaster as it stands. What is ours: coupling
reaches back one sample, as the connectivity of all models here does; own history is not penalised and may reach over
the window; one strength a session is chosen by the likelihood of the validation windows; and the forecast is the rate,
in z-scored units. Letters: N neurons, W window, K behaviours, p = N + K, L own lags.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import expm1, log
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...errors import InputError
from ..forecaster import Solver
from ..windows import Batch, Windows
from .lasso_var import HISTORIES, check_strengths, keep
from .poisson import PoissonFit

_BLOCK = 2**20  # numbers of a series gathered at a time
_LOWEST = -30.0  # of the drive over its softness: the rate stays above 0 in float32
_UNBEARABLE = 1e200  # a penalty that nothing outweighs


@dataclass(frozen=True)
class GLMConfig:
    """How the coupled GLM is fitted."""

    nonlinearity: Literal["softplus", "exp"] = "softplus"
    """From drive to expected count: softplus grows linearly, exp is the canonical link. With exp a forecast is kept
    below twice the largest count in training, as one large drive could otherwise forecast millions."""
    softness: float = 0.5
    """s of the softplus m s log(1 + exp(drive / s)), m being the neuron's mean count: the smaller, the closer to a
    straight line above 0. In units of the mean, so that its shape does not depend on the width of a bin."""
    history: Literal["last", "window"] = "window"
    """Own samples among the predictors: the last one alone, or all W of the window."""
    penalty: Literal["l1", "l2"] = "l1"
    """On coupling and behaviour: the sum of absolute values, or half the sum of squares."""
    strengths: tuple[float, ...] = tuple(10 ** (-k / 4) for k in range(17))
    """Penalties tried, from the largest on. For ``l1`` shares of the lowest that leaves nothing but own history, for
    ``l2`` of ten times each target's information, which shrinks to a tenth. The one with the highest likelihood on the
    validation windows is kept."""
    patience: int = 2
    """Penalties in a row that may fail to improve it before the rest is left out."""
    tolerance: float = 1e-5
    """A fit ends when no target's penalised likelihood improves by more in a step, in nats a sample."""
    steps: int = 50
    """Newton steps for one penalty, at most."""

    def __post_init__(self) -> None:
        if self.nonlinearity not in ("softplus", "exp"):
            raise ValueError(f"nonlinearity is {self.nonlinearity!r}, expected 'softplus' or 'exp'")
        if self.history not in HISTORIES:
            raise ValueError(f"history is {self.history!r}, expected {' or '.join(map(repr, HISTORIES))}")
        if self.penalty not in ("l1", "l2"):
            raise ValueError(f"penalty is {self.penalty!r}, expected 'l1' or 'l2'")
        object.__setattr__(self, "strengths", check_strengths(self.strengths))
        for name in ("softness", "tolerance"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected above 0")
        for name in ("patience", "steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")


class GLM(Solver):
    """count_i(t+1) ~ Poisson(f(Σ_j≠i a_ij x_j(t) + Σ_k d_ik b_k(t) + Σ_l o_il x_i(t-l) + c_i)), a and d penalised.

    Parameters
    ----------
    windows : sequence of Windows
        The sessions, of spike counts; each has a model of its own.
    config : GLMConfig, optional
        How it is fitted.
    seed : int
        Of no effect: nothing is drawn.
    """

    def __init__(self, windows: Sequence[Windows], config: GLMConfig | None = None, *, seed: int = 0) -> None:
        super().__init__()
        self.config = config = config or GLMConfig()
        self.linear = HISTORIES[config.history](windows)
        for w in windows:
            scale = w.normalization
            for name, value in (("mean", scale.activity_mean), ("std", scale.activity_std)):
                self.register_buffer(f"{name}_{w.session}", torch.from_numpy(value).to(w.device, w.dtype))
            for name in ("highest", "gain"):
                self.register_buffer(f"{name}_{w.session}", w.activity.new_zeros(w.n_neurons))

    def solve(self, windows: Sequence[Windows]) -> None:
        """Fit every session along the path of strengths, each fit starting from the one before.

        Raises
        ------
        InputError
            If a session's activity is no spike counts.
        """
        for w in windows:
            self.get_buffer(f"highest_{w.session}").copy_(2 * _largest_count(w))
            self._solve(w)

    def predict(self, batch: Batch) -> Tensor:
        """See `Forecaster.predict`."""
        mean, std, highest = (self.get_buffer(f"{name}_{batch.session}") for name in ("mean", "std", "highest"))
        return (self._rate(self.linear.predict(batch), mean, highest)[0] - mean) / std

    def strength(self, session: int) -> float:
        """Return the penalty chosen for a session."""
        return self.linear.strength(session)

    def connectivity(self, session: int) -> NDArray[np.float32] | None:
        """Return g_i a_ij, (N, N) [target, source], diagonal zero.

        g_i is the mean slope of the rate over the training windows, in deviations of the target: the product is the
        mean change of the forecast per unit of the source, both z-scored, as of the other models.
        """
        coupling, gain = self.linear.connectivity(session), self.get_buffer(f"gain_{session}")
        return None if coupling is None else coupling * gain.float().cpu().numpy()[:, None]

    def extra_repr(self) -> str:
        """The settings, for the printed form."""
        return str(self.config)

    def _solve(self, w: Windows) -> None:
        config, n = self.config, w.n_neurons
        mean, highest = (self.get_buffer(f"{name}_{w.session}") for name in ("mean", "highest"))
        fit = PoissonFit(
            w,
            self.linear,
            range(w.window, 1, -1) if config.history == "window" else range(0),
            lambda drive, targets: self._rate(drive, mean[targets], highest[targets]),
            tolerance=config.tolerance,
            steps=config.steps,
        )
        # first own history alone
        point = fit.minimise(fit.start(np.full(n, self._mean_drive())), l1=np.full(n, _UNBEARABLE), l2=np.zeros(n))
        if config.penalty == "l1":
            scale = np.sqrt(point.information)  # so that by chance alone every target's coupling is as likely
            top = fit.working_targets(point).largest_strength(scale / point.information)
        else:
            scale, top = 10 * point.information, 1.0
        lowest, since = np.inf, 0
        for strength in (top * share for share in config.strengths):
            weights = {"l1": np.zeros(n), "l2": np.zeros(n), config.penalty: strength * scale}
            point = fit.minimise(point, **weights)
            loss = fit.loss("validation", point)
            if loss < lowest:
                lowest, since = loss, 0
                shared, own, intercept, gain = (
                    torch.from_numpy(each).to(w.device)
                    for each in (point.shared, point.own, point.intercept, point.gain)
                )
                keep(self.linear, w, fit.about, intercept, shared, own, strength)
                self.get_buffer(f"gain_{w.session}").copy_(gain / self.get_buffer(f"std_{w.session}"))
            else:
                since += 1
            if since == config.patience:
                break

    def _rate(self, drive: Tensor, mean: Tensor, highest: Tensor) -> tuple[Tensor, Tensor]:
        """Return the expected counts at `drive` (B, G), and their slopes, with `mean` and `highest` count (G,)."""
        if self.config.nonlinearity == "exp":
            rate = mean * torch.minimum(drive.clamp(min=_LOWEST), (highest / mean).log()).exp()
            return rate, rate
        soft = (drive / self.config.softness).clamp(min=_LOWEST)
        return mean * self.config.softness * nn.functional.softplus(soft), mean * soft.sigmoid()

    def _mean_drive(self) -> float:
        """Return the drive at which the mean count is expected."""
        return 0.0 if self.config.nonlinearity == "exp" else self.config.softness * log(expm1(1 / self.config.softness))


def _largest_count(w: Windows) -> Tensor:
    """Return each neuron's largest training count (N,), after checking that the activity is spike counts."""
    scale = w.normalization
    mean, std = (torch.from_numpy(v).to(w.device, w.dtype) for v in (scale.activity_mean, scale.activity_std))
    largest = torch.zeros_like(mean)
    for part, indices in w.targets.items():
        for chosen in indices.split(max(1, _BLOCK // w.n_neurons)):
            counts = w.activity.index_select(0, chosen) * std + mean
            whole = counts.round()
            # z-scoring and back in float32 moves a count by some 1e-7 of the largest
            if bool((whole < 0).any()) or bool((counts - whole).abs().max() > 1e-3 + 1e-6 * counts.max()):
                raise InputError(
                    "the activity is no spike counts, which a Poisson GLM is for",
                    where=w.label,
                    remedy="Leave this model out, or take lasso_var: the same predictors with a Gaussian error.",
                )
            if part == "train":
                largest = torch.maximum(largest, whole.max(0).values)
    return largest
