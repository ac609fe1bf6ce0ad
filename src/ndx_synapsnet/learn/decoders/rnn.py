"""The plain recurrent network (paper, Table 3)."""

from __future__ import annotations

import torch
from torch import Tensor

from .recurrent import Recurrent, State


class RNN(Recurrent):
    """One layer as `torch.nn.RNN` with tanh."""

    gates = 1

    def step(self, inputs: Tensor, recurrent: Tensor, state: State) -> State:
        """See `Recurrent.step`."""
        return (torch.tanh(inputs + recurrent),)
