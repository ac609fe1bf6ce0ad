"""The gated recurrent unit: the paper's decoder (section 2.2)."""

from __future__ import annotations

import torch
from torch import Tensor

from .recurrent import Recurrent, State


class GRU(Recurrent):
    """One layer as `torch.nn.GRU`: gates reset, update, new."""

    gates = 3

    def step(self, inputs: Tensor, recurrent: Tensor, state: State) -> State:
        """See `Recurrent.step`."""
        gates = self.shape.hidden * 2, self.shape.hidden
        (inputs, new_input), (recurrent, new_recurrent) = inputs.split(gates, -1), recurrent.split(gates, -1)
        reset, update = torch.sigmoid(inputs + recurrent).chunk(2, -1)
        new = torch.tanh(new_input + reset * new_recurrent)
        return (torch.lerp(new, state[0], update),)
