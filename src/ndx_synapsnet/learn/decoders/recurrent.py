"""What the recurrent decoders share: one layer from a zero state over the window, the last state read out.

As `torch.nn.GRU`, `RNN` and `LSTM` with one layer, on concatenated inputs; the gates lie in the same order.
Letters: B batch, N neurons, W window, H hidden, G gates.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .decoder import Decoder, DecoderShape, InputProjection

#: Hidden state (B, N, H), and the cell (B, N, H) of an LSTM.
State = tuple[Tensor, ...]


class Recurrent(Decoder):
    """One recurrent layer, dropout on its last state, and a linear readout to one number."""

    gates: ClassVar[int]
    """G, blocks of H rows in the weight matrices."""

    def __init__(self, shape: DecoderShape) -> None:
        super().__init__(shape)
        if shape.layers != 1:
            raise ValueError(f"a recurrent decoder has 1 layer, not {shape.layers}")
        rows, bound = self.gates * shape.hidden, shape.hidden**-0.5  # the bound of torch's own layers
        self.input = InputProjection(shape, rows, bound)
        self.recurrent = nn.Linear(shape.hidden, rows)
        for parameter in self.recurrent.parameters():
            nn.init.uniform_(parameter, -bound, bound)
        self.dropout = nn.Dropout(shape.dropout)
        self.readout = nn.Linear(shape.hidden, 1)

    def step(self, inputs: Tensor, recurrent: Tensor, state: State) -> State:
        """Return the next state from the projected inputs and state, each (B, N, G·H), and the state."""
        raise NotImplementedError

    def start(self, inputs: Tensor) -> State:
        """Return the state before the first sample, zeros, of the size that the projected `inputs` ask for."""
        return (inputs.new_zeros(*inputs.shape[:-1], self.shape.hidden),)

    def forward(self, series: Tensor, behavior: Tensor, embedding: Tensor) -> Tensor:
        """See `Decoder.forward`."""
        state: State | None = None
        for inputs in self.input.steps(series, behavior, embedding):
            if state is None:
                # the product with a zero state is the bias alone
                state = self.step(inputs, self.recurrent.bias.expand_as(inputs), self.start(inputs))
            else:
                state = self.step(inputs, self.recurrent(state[0]), state)
        assert state is not None
        return F.linear(self.dropout(state[0]), self.readout.weight, self.readout.bias).squeeze(-1)


def split(gates: Tensor, count: int) -> tuple[Tensor, ...]:
    """Cut (B, N, count·H) into its gates (B, N, H)."""
    return torch.chunk(gates, count, dim=-1)
