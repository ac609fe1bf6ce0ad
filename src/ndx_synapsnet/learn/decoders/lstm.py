"""The long short-term memory (paper, Table 3)."""

from __future__ import annotations

import torch
from torch import Tensor

from .recurrent import Recurrent, State, split


class LSTM(Recurrent):
    """One layer as `torch.nn.LSTM`: gates input, forget, cell, output."""

    gates = 4

    def start(self, inputs: Tensor) -> State:
        """See `Recurrent.start`; the cell is zero too."""
        return super().start(inputs) * 2

    def step(self, inputs: Tensor, recurrent: Tensor, state: State) -> State:
        """See `Recurrent.step`."""
        write, keep, candidate, show = split(inputs + recurrent, 4)
        cell = torch.sigmoid(keep) * state[1] + torch.sigmoid(write) * torch.tanh(candidate)
        return torch.sigmoid(show) * torch.tanh(cell), cell
