"""Paths around the decoder: the linear part of a forecast, and currents beside A X.

Letters: B batch, N neurons, W window, S samples of a batch's rows, L targets of a row, K behaviours, k latent drives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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


class LinearCurrent(CurrentSource):
    """The latent shared drive f, behaviour b and a constant as currents: C f + D b + c, with weights a session.

    Parameters
    ----------
    windows : sequence of Windows
        The sessions, with their drive. All weights start at 0.
    """

    def __init__(self, windows: Sequence[Windows]) -> None:
        super().__init__()
        self.loadings = nn.ParameterList(_zeros(w, w.drive.shape[1]) for w in windows)
        self.behavior = nn.ParameterList(_zeros(w, w.n_behaviors) for w in windows)
        self.intercept = nn.ParameterList(_zeros(w, 1) for w in windows)

    def forward(self, batch: Batch) -> Tensor:
        """See `CurrentSource.forward`."""
        inputs = torch.cat([batch.drive, batch.behavior, torch.ones_like(batch.activity[:, :1])], dim=1)
        weights = torch.cat([*self.arrays(batch.session).values()], dim=1)  # (N, k + K + 1)
        current: Tensor = weights @ inputs
        return current

    def session_parameters(self, session: int) -> list[nn.Parameter]:
        """Return C (N, k), D (N, K) and c (N, 1) of a session."""
        return [each[session] for each in (self.loadings, self.behavior, self.intercept)]

    def arrays(self, session: int) -> dict[str, Tensor]:
        """Return the session's weights by name: ``loadings``, ``behavior``, ``intercept``."""
        names = ("loadings", "behavior", "intercept")
        return {name: own for name, own in zip(names, self.session_parameters(session), strict=True)}  # noqa: C416

    def set(self, session: int, values: Mapping[str, Tensor]) -> None:
        """Give a session the weights that `arrays` names.

        Raises
        ------
        ValueError
            If one is missing or has another shape.
        """
        for name, own in self.arrays(session).items():
            found = values.get(name)
            if found is None or found.shape != own.shape:
                raise ValueError(f"{name} is {None if found is None else tuple(found.shape)}, not {tuple(own.shape)}")
            with torch.no_grad():
                own.copy_(found)


def _zeros(windows: Windows, columns: int) -> nn.Parameter:
    return nn.Parameter(torch.zeros(windows.n_neurons, columns))


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
