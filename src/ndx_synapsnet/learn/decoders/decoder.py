"""What every decoder takes and gives, and the projection of its inputs.

A decoder sees one neuron at a time: C series of its own (past activity, input current), the K behaviours, which are
the same for all neurons, and its embedding, which is the same at all times. A plain implementation concatenates the
three to C + K + D inputs for each window, neuron and sample, and spends most of the first layer's work on repeated
numbers. Here each is projected where it varies, and the projections are added: the same linear layer.

Letters: B batch, N neurons, W window, C series a neuron, K behaviours, D embedding, H hidden.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class DecoderShape:
    """Sizes of a decoder."""

    series: int
    """C, series of each neuron's own: activity, input current."""
    behaviors: int
    """K."""
    embedding: int
    """D."""
    hidden: int = 40
    """H, hidden units; of a transformer, the model's width."""
    layers: int = 1
    heads: int = 4
    """Of a transformer's attention."""
    dropout: float = 0.1


class Decoder(nn.Module):
    """Turns each neuron's window into the forecast of its next sample, with the same weights for all neurons."""

    def __init__(self, shape: DecoderShape) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, series: Tensor, behavior: Tensor, embedding: Tensor) -> Tensor:
        """Forecast the sample after each window.

        Parameters
        ----------
        series : torch.Tensor
            (B, W, N, C) each neuron's own series, oldest sample first.
        behavior : torch.Tensor
            (B, W, K).
        embedding : torch.Tensor
            (N, D).

        Returns
        -------
        torch.Tensor
            (B, N).
        """
        raise NotImplementedError

    def extra_repr(self) -> str:
        """Sizes for the printed form."""
        s = self.shape
        return f"series={s.series}, behaviors={s.behaviors}, embedding={s.embedding}, hidden={s.hidden}"


class InputProjection(nn.Module):
    """A linear layer on (series, behaviour, embedding), whose columns are kept as three matrices.

    Parameters
    ----------
    shape : DecoderShape
        Sizes C, K and D.
    rows : int
        Outputs.
    bound : float, optional
        Parameters start uniform in ±bound; by default as `torch.nn.Linear` would on the concatenated inputs.
    """

    def __init__(self, shape: DecoderShape, rows: int, bound: float | None = None) -> None:
        super().__init__()
        bound = bound or (shape.series + shape.behaviors + shape.embedding) ** -0.5
        self.series = nn.Parameter(torch.empty(rows, shape.series).uniform_(-bound, bound))
        self.behavior = nn.Parameter(torch.empty(rows, shape.behaviors).uniform_(-bound, bound))
        self.embedding = nn.Parameter(torch.empty(rows, shape.embedding).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(rows).uniform_(-bound, bound))

    def steps(self, series: Tensor, behavior: Tensor, embedding: Tensor) -> Iterator[Tensor]:
        """Yield the projection (B, N, rows) at each of the W samples, oldest first."""
        constant = F.linear(embedding, self.embedding, self.bias)  # (N, rows)
        shared = F.linear(behavior, self.behavior)  # (B, W, rows)
        for t in range(series.shape[1]):
            # (N, rows) + (B, 1, rows) + (B, N, rows)
            yield constant + shared[:, t, None] + F.linear(series[:, t], self.series)

    def forward(self, series: Tensor, behavior: Tensor, embedding: Tensor) -> Tensor:
        """Return the projection of all samples, (B, N, W, rows), a neuron's W samples side by side."""
        return torch.stack(list(self.steps(series, behavior, embedding)), dim=2)
