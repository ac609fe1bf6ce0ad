"""Lagged correlation: C_D[i, j] = corr(x_i(t + D), x_j(t)), the paper's simplest rival for connectivity (section 3.2).

In the paper it forecasts nothing. To have a forecast that depends on the matrix and on nothing else, it is used as the
paper uses any connectivity, as input currents I = C_D x (section 3.1, figure 4), and each neuron's current is turned
into a forecast by a gain and an offset of its own, fitted by least squares. So the forecast has no own history and no
behaviour: it says what the correlations alone are good for. Persistence or an AR model would say nothing about them.

Letters: B batch, N neurons, W window, D lag, n pairs of samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import InputError
from ..forecaster import Solver
from ..windows import Batch, Windows

_ELEMENTS = 2**20  # numbers of a block in float64


@dataclass(frozen=True)
class LaggedCorrelationConfig:
    """Which correlation."""

    lag: int = 1
    """D, samples from source to target; the paper has 0, 1 and 2. Of D = 0 the forecast takes the last sample, as the
    target's own time cannot be seen."""

    def __post_init__(self) -> None:
        if self.lag < 0:
            raise ValueError(f"lag is {self.lag}, expected 0 or more samples")


class LaggedCorrelation(Solver):
    """x̂_i(t+1) = g_i Σ_j C_ij x_j(t + 1 - max(D, 1)) + c_i, with C over the pairs of samples in training windows.

    Parameters
    ----------
    windows : sequence of Windows
        The sessions; each has a matrix of its own.
    config : LaggedCorrelationConfig, optional
        Which correlation.
    seed : int
        Of no effect: nothing is drawn.

    Raises
    ------
    InputError
        If the lag is longer than a window.
    """

    def __init__(
        self, windows: Sequence[Windows], config: LaggedCorrelationConfig | None = None, *, seed: int = 0
    ) -> None:
        super().__init__()
        self.config = config = config or LaggedCorrelationConfig()
        for w in windows:
            if config.lag > w.window:
                raise InputError(
                    f"a lag of {config.lag} samples is longer than the window of {w.window}",
                    where=w.label,
                    remedy="Take a shorter lag or a longer window.",
                )
            for name, shape in (("correlation", (w.n_neurons, w.n_neurons)), ("gain", (w.n_neurons,))):
                self.register_buffer(f"{name}_{w.session}", w.activity.new_zeros(shape))
            self.register_buffer(f"intercept_{w.session}", w.activity.new_zeros(w.n_neurons))

    def solve(self, windows: Sequence[Windows]) -> None:
        """Correlate the samples of the training windows, and fit gain and offset to the training targets."""
        for w in windows:
            self.get_buffer(f"correlation_{w.session}").copy_(_correlate(w, self.config.lag))
            gain, intercept = self._regress(w)
            self.get_buffer(f"gain_{w.session}").copy_(gain)
            self.get_buffer(f"intercept_{w.session}").copy_(intercept)

    def predict(self, batch: Batch) -> Tensor:
        """See `Forecaster.predict`."""
        gain, intercept = (self.get_buffer(f"{name}_{batch.session}") for name in ("gain", "intercept"))
        source = batch.activity[:, :, -max(self.config.lag, 1)]
        return gain * self._current(batch.session, source) + intercept

    def connectivity(self, session: int) -> NDArray[np.float32] | None:
        """Return C_D of a session, (N, N) [target, source], diagonal zero."""
        return self.get_buffer(f"correlation_{session}").float().cpu().numpy()

    def extra_repr(self) -> str:
        """The settings, for the printed form."""
        return str(self.config)

    def _current(self, session: int, source: Tensor) -> Tensor:
        return source @ self.get_buffer(f"correlation_{session}").T

    def _regress(self, w: Windows) -> tuple[Tensor, Tensor]:
        """Return gain and offset (N,) of the targets on their currents."""
        indices, sums = w.targets["train"], w.activity.new_zeros((4, w.n_neurons), dtype=torch.float64)
        for chosen in indices.split(max(1, _ELEMENTS // w.n_neurons)):
            current = self._current(w.session, w.activity.index_select(0, chosen - max(self.config.lag, 1))).double()
            target = w.activity.index_select(0, chosen).double()
            sums += torch.stack([each.sum(0) for each in (current, target, current * target, current**2)])
        current, target, product, square = sums / len(indices)
        variance = square - current**2
        # a neuron that correlates with no other has no current
        gain = torch.where(variance > 0, (product - current * target) / variance.where(variance > 0, 1), 0)
        return gain, target - gain * current


def _correlate(w: Windows, lag: int) -> Tensor:
    """Return C_D (N, N), over all pairs of samples that lie in one training window; diagonal zero."""
    later = torch.zeros(len(w.activity), dtype=torch.bool, device=w.device)
    for back in range(w.window - lag + 1):  # a window's samples, and its target, with another one D samples before
        later[w.targets["train"] - back] = True
    indices = later.nonzero()[:, 0]
    n = w.n_neurons
    product, sums = (w.activity.new_zeros(shape, dtype=torch.float64) for shape in ((n, n), (4, n)))
    for chosen in indices.split(max(1, _ELEMENTS // n)):
        target, source = (w.activity.index_select(0, each).double() for each in (chosen, chosen - lag))
        product += target.T @ source
        sums += torch.stack([each.sum(0) for each in (target, source, target**2, source**2)])
    target, source, target_square, source_square = sums / len(indices)
    deviations = torch.outer((target_square - target**2).clamp(min=0), (source_square - source**2).clamp(min=0)).sqrt()
    covariance = product / len(indices) - torch.outer(target, source)
    correlation = torch.where(deviations > 0, covariance / deviations.where(deviations > 0, 1), 0)
    return correlation.clamp(-1, 1).fill_diagonal_(0)
