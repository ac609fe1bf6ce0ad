"""The plain way to train SynapsNet: concatenated inputs through `torch.nn.GRU`, window by window.

What somebody would write from the paper, and the yardstick of `speed`. Same model, same numbers, no care for cost.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Twin(nn.Module):
    """A single-session SynapsNet with a GRU (paper, section 2).

    Parameters
    ----------
    neurons, behaviors : int
        N and K.
    embedding, hidden : int
        D and H.
    dropout : float
        On the last state.
    """

    def __init__(
        self, neurons: int, behaviors: int, embedding: int = 32, hidden: int = 40, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.weights = nn.Parameter(0.1 * neurons**-0.5 * torch.randn(neurons, neurons))
        self.embedding = nn.Parameter(0.1 * torch.randn(neurons, embedding))
        self.gru = nn.GRU(2 + behaviors + embedding, hidden, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.readout = nn.Linear(hidden, 1)

    def loss(self, activity: Tensor, behavior: Tensor, target: Tensor) -> Tensor:
        """Return the mean squared error of windows (B, N, W), behaviour (B, K, W) and targets (B, N)."""
        batch, neurons, window = activity.shape
        current = torch.einsum("ij,bjw->biw", self.weights, activity)
        inputs = torch.cat(
            [
                activity[..., None],
                current[..., None],
                behavior.transpose(1, 2)[:, None].expand(-1, neurons, -1, -1),
                self.embedding[None, :, None].expand(batch, -1, window, -1),
            ],
            dim=-1,
        )  # (B, N, W, 2 + K + D)
        _, last = self.gru(inputs.flatten(0, 1))
        forecast = self.readout(self.dropout(last[0])).view(batch, neurons)
        return nn.functional.mse_loss(forecast, target)
