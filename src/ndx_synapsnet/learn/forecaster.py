"""The contract that every model keeps, and forecasting a series with it.

A forecaster is made for given sessions: its constructor takes the list of `Windows` it will see, and a session is
named by its index in that list. Letters: B batch, N neurons, n forecast samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .windows import Batch, Windows


class Forecaster(nn.Module):
    """Forecasts the next sample of every neuron; fitted by gradient of `loss` unless it is a `Solver`."""

    columns: ClassVar[int] = 16_384
    """Row x neuron columns that `predict_series` forecasts at once: some MB per hidden unit and gate."""

    @property
    def stretch(self) -> int:
        """L, targets in a row of the batches that the model is trained on and forecasts with: 1, windows."""
        return 1

    @property
    def starts_fitted(self) -> bool:
        """Whether it forecasts before any training: then its initial parameters too may be the best ones."""
        return False

    def predict(self, batch: Batch) -> Tensor:
        """Return the forecast of a batch's target, z-scored: (B, N), or (B, N, L) where `stretch` is L > 1."""
        raise NotImplementedError

    def loss(self, batch: Batch) -> Tensor:
        """Return what training minimises, a scalar: the mean squared error unless overridden."""
        return nn.functional.mse_loss(self.predict(batch), batch.target)

    def connectivity(self, session: int) -> NDArray[np.float32] | None:
        """Return what the model holds to be session's connectivity, (N, N) [target, source], or None."""
        return None

    def after_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Amend the parameters after a gradient step, such as by a proximal map; nothing unless overridden."""

    def session_parameters(self, session: int) -> list[nn.Parameter]:
        """Return the parameters that no batch but this session's touches; none unless overridden.

        Of several processes only the one that holds the session keeps them.
        """
        return []

    def forward(self, batch: Batch) -> Tensor:
        """Forecast, so that the module can be called."""
        return self.predict(batch)


class Solver(Forecaster):
    """A forecaster in closed form, or with a loop of its own; keeps its answer in buffers."""

    columns = 2**18  # no hidden units: what counts is that each pass reads all coefficients

    def solve(self, windows: Sequence[Windows]) -> None:
        """Fit to the training windows of `windows`, choosing any strength on the validation windows."""
        raise NotImplementedError


def predict_series(
    forecaster: Forecaster, windows: Windows, indices: Tensor, *, batch_size: int | None = None
) -> NDArray[np.float32]:
    """Forecast the samples `indices` of one session, in evaluation mode and without gradient.

    Parameters
    ----------
    forecaster : Forecaster
        On the same device as the windows.
    windows : Windows
        The session.
    indices : torch.Tensor
        (n,) ascending samples, as in ``windows.targets["test"]``.
    batch_size : int, optional
        Rows forecast at once, windows or stretches; by default as many as keep to the model's `Forecaster.columns`.

    Returns
    -------
    numpy.ndarray
        (n, N) z-scored forecast.
    """
    size = batch_size or max(1, forecaster.columns // windows.n_neurons)
    series = np.empty((len(indices), windows.n_neurons), np.float32)
    rows, done = windows.rows(indices, forecaster.stretch), 0
    training = forecaster.training
    forecaster.eval()
    try:
        with torch.no_grad():
            for start in range(0, len(rows), size):
                batch = rows.batch(slice(start, start + size))
                forecast = forecaster.predict(batch)
                if batch.weight is not None:  # (B, N, L) → the targets that there are, in their order
                    forecast = forecast.transpose(1, 2)[batch.weight > 0]
                series[done : done + len(forecast)] = forecast.cpu().numpy()
                done += len(forecast)
    finally:
        forecaster.train(training)
    return series
