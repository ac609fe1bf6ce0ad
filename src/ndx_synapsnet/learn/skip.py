"""Paths around the decoder: the linear part of a forecast, and currents beside A X.

Letters: B batch, N neurons, W window, S samples of a batch's rows, L targets of a row.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .linear import AR
from .windows import Batch, Windows


class CurrentSource(nn.Module):
    """Adds to every neuron's input current, beside A X: behaviour, shared drive, anything known by then."""

    def forward(self, batch: Batch) -> Tensor:
        """Return the source's current (B, N, S) at the batch's samples, each from that sample and earlier ones."""
        raise NotImplementedError

    def session_parameters(self, session: int) -> list[nn.Parameter]:
        """Return the parameters that no batch but this session's touches; none unless overridden."""
        return []


def fit_history(windows: Windows) -> Tensor:
    """Return each neuron's least-squares coefficients on its own last W samples, (N, W), oldest first.

    The reference predictor AR(W), without its intercept: the series are z-scored.
    """
    alone = AR([windows])
    alone.solve([windows])
    return alone.get_buffer(f"own_{windows.session}").clone()


def apply_history(coefficients: Tensor, activity: Tensor) -> Tensor:
    """Forecast from own history.

    Parameters
    ----------
    coefficients : torch.Tensor
        (N, W), as `fit_history` gives them.
    activity : torch.Tensor
        (N, S, B).

    Returns
    -------
    torch.Tensor
        (N, L, B), L = S - W + 1: for each run of W samples what follows it.
    """
    window = coefficients.shape[1]
    targets = activity.shape[1] - window + 1
    parts = [coefficients[:, lag, None, None] * activity[:, lag : lag + targets] for lag in range(window)]
    return torch.stack(parts).sum(0)
