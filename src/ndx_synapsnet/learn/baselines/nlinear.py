"""NLinear (Zeng et al., 2023, "Are Transformers Effective for Time Series Forecasting?"), one step ahead.

One linear layer on a neuron's own window minus its last sample, which is added back:

    x̂(t+1) = x(t) + Σ_k w_k (x(t-k) - x(t)) + c,   k = 1..W-1

As there, one layer serves all channels, or each has its own; here those channels are the neurons of all sessions. The
weight that the original has on the last sample, always multiplied by 0, is left out. The coefficients on the window
sum to 1 whatever the weights, which follows a drifting level; where activity returns to its mean from one sample to
the next, as z-scored spike counts do, such a forecast can be worse than the mean. AR(W) has no such bond.

Letters: B batch, N neurons, W window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..forecaster import Forecaster
from ..windows import Batch, Windows


@dataclass(frozen=True)
class NLinearConfig:
    """Which neurons share a layer."""

    individual: bool = False
    """Whether each neuron of each session has its own weights; otherwise all share one set."""


class NLinear(Forecaster):
    """Forecasts each neuron from the differences between its past samples and its last.

    Parameters
    ----------
    windows : sequence of Windows
        The sessions.
    config : NLinearConfig, optional
        One layer for all neurons by default.
    seed : int
        Of the initial weights, uniform in ±1/√W; the global random state is left as it was.
    """

    def __init__(self, windows: Sequence[Windows], config: NLinearConfig | None = None, *, seed: int = 0) -> None:
        super().__init__()
        self.config = config = config or NLinearConfig()
        sizes = [w.n_neurons for w in windows] if config.individual else [1]
        window = windows[0].window
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            starts = [torch.empty(size, window).uniform_(-(window**-0.5), window**-0.5) for size in sizes]
        self.weights = nn.ParameterList(nn.Parameter(start[:, 1:].clone()) for start in starts)
        self.intercepts = nn.ParameterList(nn.Parameter(start[:, 0].clone()) for start in starts)
        self.to(windows[0].device, windows[0].dtype)

    def predict(self, batch: Batch) -> Tensor:
        """See `Forecaster.predict`."""
        place = batch.session if self.config.individual else 0
        last = batch.activity[:, :, -1:]
        change = ((batch.activity[:, :, :-1] - last) * self.weights[place]).sum(-1)  # (B, N, W-1) → (B, N)
        forecast: Tensor = last[:, :, 0] + change + self.intercepts[place]
        return forecast

    def session_parameters(self, session: int) -> list[nn.Parameter]:
        """Return the weights of the session's neurons, if they have their own."""
        return [self.weights[session], self.intercepts[session]] if self.config.individual else []

    def extra_repr(self) -> str:
        """Settings for the printed form."""
        return repr(self.config)
