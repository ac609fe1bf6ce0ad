"""SynapsNet the slow way: inputs concatenated, window by window and neuron by neuron, with torch's own layers.

Only to compare with: outputs and gradients of the real one must equal these in float64.
"""

from __future__ import annotations

import math

import torch
from torch import nn

LAYERS = {"gru": nn.GRU, "rnn": nn.RNN, "lstm": nn.LSTM}


def concatenated(weights: dict[str, torch.Tensor], prefix: str) -> torch.Tensor:
    """The input weights as one matrix on (activity, current, behaviour, embedding)."""
    return torch.cat(
        [weights[f"{prefix}.series"], weights[f"{prefix}.behavior"], weights[f"{prefix}.embedding"]], dim=1
    )


class NaiveSynapsNet(nn.Module):
    """One session, recurrent decoder, no dropout; loss = MSE + λ‖A‖."""

    def __init__(self, model, session: int, behavior_names: tuple[str, ...]):
        super().__init__()
        config, weights = model.config, {k: v.detach().clone() for k, v in model.decoder.state_dict().items()}
        self.config, self.all_names, self.names = config, model.behavior_names, behavior_names
        # in the ablation without connectivity there is no matrix, and this one is not used
        self.A = nn.Parameter(model.weights[session].detach().clone() if len(model.weights) else torch.zeros(1, 1))
        self.E = nn.Parameter(model._embedding(session).detach().clone())
        table = concatenated(weights, "input")
        self.layer = LAYERS[config.decoder](table.shape[1], config.hidden, batch_first=True).to(table)
        self.readout = nn.Linear(config.hidden, 1).to(table)
        with torch.no_grad():
            self.layer.weight_ih_l0.copy_(table)
            self.layer.bias_ih_l0.copy_(weights["input.bias"])
            self.layer.weight_hh_l0.copy_(weights["recurrent.weight"])
            self.layer.bias_hh_l0.copy_(weights["recurrent.bias"])
            self.readout.weight.copy_(weights["readout.weight"])
            self.readout.bias.copy_(weights["readout.bias"])

    @property
    def keeps_diagonal(self):
        return self.config.diagonal == "keep" and self.config.use_activity

    def inputs(self, x, b, i):
        """(W, C + K + D) inputs of neuron `i` for one window x (N, W), b (K, W)."""
        rows = []
        for t in range(x.shape[1]):
            sources = [k for k in range(x.shape[0]) if k != i or self.keeps_diagonal]
            current = [sum(self.A[i, k] * x[k, t] for k in sources)] if self.config.use_connectivity else []
            behavior = [
                b[self.names.index(name), t] if name in self.names else torch.zeros_like(x[0, 0])
                for name in self.all_names
            ]
            own = [x[i, t]] if self.config.use_activity else []
            rows.append(torch.cat([torch.stack(own + current + behavior), self.E[i]]))
        return torch.stack(rows)

    def one(self, inputs):
        _, state = self.layer(inputs[None])
        hidden = state[0] if isinstance(state, tuple) else state
        return self.readout(hidden[0, 0])[0]

    def forward(self, activity, behavior):
        """(B, N) forecasts of activity (B, N, W) and behaviour (B, K, W)."""
        return torch.stack(
            [
                torch.stack([self.one(self.inputs(x, b, i)) for i in range(x.shape[0])])
                for x, b in zip(activity, behavior, strict=True)
            ]
        )

    def loss(self, activity, behavior, target):
        error = ((self(activity, behavior) - target) ** 2).mean()
        if not self.config.use_connectivity:
            return error
        penalised = self.A if self.keeps_diagonal else self.A - torch.diag(self.A.diag())
        return error + self.config.penalty_weight * (penalised**2).sum().sqrt()

    def split_gradients(self, sizes: tuple[int, int, int]) -> dict[str, torch.Tensor]:
        """Gradients under the names of the real decoder's parameters."""
        series, behavior, embedding = self.layer.weight_ih_l0.grad.split(sizes, dim=1)
        return {
            "input.series": series,
            "input.behavior": behavior,
            "input.embedding": embedding,
            "input.bias": self.layer.bias_ih_l0.grad,
            "recurrent.weight": self.layer.weight_hh_l0.grad,
            "recurrent.bias": self.layer.bias_hh_l0.grad,
            "readout.weight": self.readout.weight.grad,
            "readout.bias": self.readout.bias.grad,
        }


def naive_transformer(weights: dict[str, torch.Tensor], inputs: torch.Tensor, layers: int, heads: int) -> torch.Tensor:
    """Forecast of one window's inputs (W, C + K + D) by attention written out, head by head and sample by sample."""

    def normalise(z, name):
        centred = z - z.mean(-1, keepdim=True)
        return (
            centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * weights[f"{name}.weight"]
            + weights[f"{name}.bias"]
        )

    z = inputs @ concatenated(weights, "input").T + weights["input.bias"]
    window, width = z.shape
    place = torch.zeros_like(z)
    for t in range(window):
        for k in range(width):
            angle = t / 10_000 ** (2 * (k // 2) / width)
            place[t, k] = math.sin(angle) if k % 2 == 0 else math.cos(angle)
    z = z + place
    for n in range(layers):
        name = f"layers.{n}"
        projected = z @ weights[f"{name}.self_attn.in_proj_weight"].T + weights[f"{name}.self_attn.in_proj_bias"]
        query, key, value = projected.split(width, dim=1)
        mixed, size = torch.zeros_like(z), width // heads
        for h in range(heads):
            part = slice(h * size, (h + 1) * size)
            for t in range(window):
                attention = torch.softmax(key[:, part] @ query[t, part] / math.sqrt(size), dim=0)
                mixed[t, part] = attention @ value[:, part]
        mixed = mixed @ weights[f"{name}.self_attn.out_proj.weight"].T + weights[f"{name}.self_attn.out_proj.bias"]
        z = normalise(z + mixed, f"{name}.norm1")
        inner = torch.relu(z @ weights[f"{name}.linear1.weight"].T + weights[f"{name}.linear1.bias"])
        z = normalise(
            z + inner @ weights[f"{name}.linear2.weight"].T + weights[f"{name}.linear2.bias"], f"{name}.norm2"
        )
    return (weights["readout.weight"] @ z[-1] + weights["readout.bias"])[0]
