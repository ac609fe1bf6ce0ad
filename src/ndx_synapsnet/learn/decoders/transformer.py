"""The transformer encoder (paper, Table 3), of one or two layers.

Letters: B batch, N neurons, W window, H the model's width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .decoder import Decoder, DecoderShape, InputProjection


class Transformer(Decoder):
    """Projected inputs plus positional encoding, encoder layers over the W samples, the last sample read out.

    The paper gives the number of layers only. Chosen here: width H = 40 as the recurrent decoders, 4 heads, a
    feed-forward part of 4 H with ReLU, sinusoidal positions, normalisation after each part, dropout as in
    `torch.nn.TransformerEncoderLayer` (attention weights, feed-forward, before both additions) and after the
    positions are added. All W samples lie in the past, so no sample is masked.
    """

    def __init__(self, shape: DecoderShape) -> None:
        super().__init__(shape)
        if shape.hidden % shape.heads:
            raise ValueError(f"hidden is {shape.hidden}, expected a multiple of the {shape.heads} heads")
        self.input = InputProjection(shape, shape.hidden)
        self.dropout = nn.Dropout(shape.dropout)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(shape.hidden, shape.heads, 4 * shape.hidden, shape.dropout, batch_first=True)
            for _ in range(shape.layers)
        )
        self.readout = nn.Linear(shape.hidden, 1)

    def forward(self, series: Tensor, behavior: Tensor, embedding: Tensor) -> Tensor:
        """See `Decoder.forward`."""
        tokens = self.input(series, behavior, embedding)  # (B, N, W, H)
        batch, neurons, window, hidden = tokens.shape
        tokens = self.dropout(tokens + positions(window, hidden).to(tokens))
        tokens = tokens.view(batch * neurons, window, hidden)
        *layers, top = self.layers
        for layer in layers:
            tokens = layer(tokens)
        assert isinstance(top, nn.TransformerEncoderLayer)
        last = _last(top, tokens).view(batch, neurons, hidden)
        return F.linear(last, self.readout.weight, self.readout.bias).squeeze(-1)


def _last(layer: nn.TransformerEncoderLayer, tokens: Tensor) -> Tensor:
    """Return ``layer(tokens)[:, -1]``: of a layer whose other outputs nobody reads, a third of the time.

    Parameters
    ----------
    layer : torch.nn.TransformerEncoderLayer
        With ReLU and normalisation after each part.
    tokens : torch.Tensor
        (B·N, W, H).
    """
    query = tokens[:, -1:]
    attended, _ = layer.self_attn(query, tokens, tokens, need_weights=False)
    query = layer.norm1(query + layer.dropout1(attended))
    widened = layer.dropout(F.relu(layer.linear1(query)))
    out: Tensor = layer.norm2(query + layer.dropout2(layer.linear2(widened)))
    return out[:, 0]


def positions(window: int, hidden: int) -> Tensor:
    """Return the sinusoidal encoding (W, H) in float64: sines in the even columns, cosines in the odd ones."""
    rate = torch.exp(torch.arange(0, hidden, 2, dtype=torch.float64) * (-math.log(10_000.0) / hidden))
    angle = torch.arange(window, dtype=torch.float64)[:, None] * rate
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)[:, :hidden]
