"""The pass of a recurrent decoder, forward and backward at once, in plain torch operations for any device.

The backward pass is written out, so that a block of neurons is done with before the next begins: the loss is a sum
over neurons, and memory does not grow with their number. Arrays lie with the batch last and the units first, so that
a gate is a block of rows. Letters: N neurons, B batch, S steps, L targets, C series, H hidden, G gates, R = G·H rows;
n neurons of a block.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

#: Neuron x place columns of a block; on a GPU, where the number of launches counts, more.
COLUMNS = {"cpu": 2_048, "cuda": 262_144}

_MASK = 0xFFFFFFFF


@dataclass(frozen=True, eq=False)
class Pass:
    """What one pass takes: inputs projected where they vary, and the decoder's parameters; all contiguous."""

    cell: str
    """A key of `CELLS`."""
    constant: Tensor
    """(N, R) projected embedding plus the input's bias: the same at all steps and places."""
    shared: Tensor | None
    """(S, R, B) projected behaviour: the same for all neurons; None without behaviour."""
    series: tuple[Tensor, ...]
    """C times (N, S, B)."""
    series_weight: Tensor
    """(R, C)."""
    recurrent_weight: Tensor
    """(R, H)."""
    recurrent_bias: Tensor
    """(R,)."""
    readout_weight: Tensor
    """(H,)."""
    readout_bias: Tensor
    """()."""
    target: Tensor
    """(N, L, B) what the states after the last L steps are to forecast."""
    weight: Tensor
    """(L, B) of the squared errors in the loss, which is their weighted sum."""
    dropout: float = 0.0
    """Probability that a unit's readout is dropped."""
    seed: int = 0
    """Decides which, 0 to 2^32 - 1."""


@dataclass(eq=False)
class Gradients:
    """Gradients of the loss, named and shaped as in `Pass`."""

    constant: Tensor
    shared: Tensor | None
    series: list[Tensor | None]
    series_weight: Tensor
    recurrent_weight: Tensor
    recurrent_bias: Tensor
    readout_weight: Tensor
    readout_bias: Tensor
    target: Tensor | None


#: Hidden state (H, n, B), and the cell of an LSTM (elsewhere an empty tensor).
State = tuple[Tensor, Tensor]


class Cell(NamedTuple):
    """A recurrent layer's arithmetic. Gates are stacked as (G, H, n, B)."""

    gates: int
    """G."""
    forward: Callable[[Tensor, Tensor, State], tuple[State, tuple[Tensor, ...]]]
    """(inputs, recurrent, state before) -> (state, what the way back needs)."""
    backward: Callable[[tuple[Tensor, ...], State, State], tuple[Tensor, Tensor, State]]
    """(that, state before, gradient of the state) -> gradients of inputs, recurrent, and the state before, the last
    without its part through the recurrent weights."""


def _gru_forward(inputs: Tensor, recurrent: Tensor, state: State) -> tuple[State, tuple[Tensor, ...]]:
    reset, update = torch.sigmoid(inputs[:2] + recurrent[:2])
    new = torch.tanh(inputs[2] + reset * recurrent[2])
    return (torch.lerp(new, state[0], update), state[1]), (reset, update, new, recurrent[2])


def _gru_backward(kept: tuple[Tensor, ...], before: State, gradient: State) -> tuple[Tensor, Tensor, State]:
    reset, update, new, recurrent = kept
    through = gradient[0] * update
    d_new = (gradient[0] - through) * (1 - new * new)
    d_reset = d_new * recurrent * reset * (1 - reset)
    d_update = (before[0] - new) * through * (1 - update)
    inputs = torch.stack([d_reset, d_update, d_new])
    return inputs, torch.stack([d_reset, d_update, d_new * reset]), (through, gradient[1])


def _rnn_forward(inputs: Tensor, recurrent: Tensor, state: State) -> tuple[State, tuple[Tensor, ...]]:
    hidden = torch.tanh(inputs[0] + recurrent[0])
    return (hidden, state[1]), (hidden,)


def _rnn_backward(kept: tuple[Tensor, ...], before: State, gradient: State) -> tuple[Tensor, Tensor, State]:
    inputs = (gradient[0] * (1 - kept[0] * kept[0]))[None]
    return inputs, inputs, (torch.zeros_like(gradient[0]), gradient[1])


def _lstm_forward(inputs: Tensor, recurrent: Tensor, state: State) -> tuple[State, tuple[Tensor, ...]]:
    gates = inputs + recurrent
    write, keep = torch.sigmoid(gates[:2])
    candidate, show = torch.tanh(gates[2]), torch.sigmoid(gates[3])
    cell = keep * state[1] + write * candidate
    shown = torch.tanh(cell)
    return (show * shown, cell), (write, keep, candidate, show, shown)


def _lstm_backward(kept: tuple[Tensor, ...], before: State, gradient: State) -> tuple[Tensor, Tensor, State]:
    write, keep, candidate, show, shown = kept
    hidden, cell = gradient
    cell = cell + hidden * show * (1 - shown * shown)
    inputs = torch.stack(
        [
            cell * candidate * write * (1 - write),
            cell * before[1] * keep * (1 - keep),
            cell * write * (1 - candidate * candidate),
            hidden * shown * show * (1 - show),
        ]
    )
    return inputs, inputs, (torch.zeros_like(hidden), cell * keep)


#: Recurrent layers by the name of their decoder.
CELLS = {
    "gru": Cell(3, _gru_forward, _gru_backward),
    "rnn": Cell(1, _rnn_forward, _rnn_backward),
    "lstm": Cell(4, _lstm_forward, _lstm_backward),
}


def dropout_mask(p: Pass, neurons: slice, target: int) -> Tensor:
    """Return dropout's factors (H, n, B), 0 or 1 / (1 - probability), of a block's states at one target.

    A hash of (seed, target, neuron, unit, place) decides: the same in any order, by any engine.
    """
    count, _, batch = p.target.shape
    hidden, device = len(p.readout_weight), p.target.device
    neuron = torch.arange(neurons.start, neurons.stop, device=device)[:, None] + target * count
    unit, place = torch.arange(hidden, device=device)[:, None, None], torch.arange(batch, device=device)
    x = _scattered(_scattered(((neuron * hidden + unit) * batch + place) & _MASK) ^ p.seed)
    return ((x >> 8) >= round(p.dropout * 2**24)).to(p.target) / (1 - p.dropout)


def _scattered(x: Tensor) -> Tensor:
    """Hash numbers from 0 to 2^32 - 1: near ones go far apart."""
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & _MASK
    x = ((x ^ (x >> 15)) * 0x846CA68B) & _MASK
    return x ^ (x >> 16)


def learn(p: Pass, series: tuple[bool, ...], target: bool) -> tuple[Tensor, Gradients]:
    """Return the loss and its gradients; of each of the series, and of the target, where asked for."""
    new = torch.zeros_like
    g = Gradients(
        constant=torch.empty_like(p.constant),
        shared=None if p.shared is None else new(p.shared),
        series=[torch.empty_like(x) if wanted else None for x, wanted in zip(p.series, series, strict=True)],
        series_weight=new(p.series_weight),
        recurrent_weight=new(p.recurrent_weight),
        recurrent_bias=new(p.recurrent_bias),
        readout_weight=new(p.readout_weight),
        readout_bias=new(p.readout_bias),
        target=torch.empty_like(p.target) if target else None,
    )
    loss = torch.zeros_like(p.readout_bias)
    for block in blocks(p):
        loss += _learn_block(p, block, g)
    return loss, g


def predict(p: Pass) -> Tensor:
    """Return the forecasts (N, L, B), without dropout."""
    steps, targets = p.series[0].shape[1], p.target.shape[1]
    prediction = torch.empty_like(p.target)
    for block in blocks(p):
        state = _start(p, block)
        for t in range(steps):
            state, _ = _forward(p, block, t, state)
            if t >= steps - targets:
                prediction[block, t - steps + targets] = _readout(p, state[0])
    return prediction


def blocks(p: Pass) -> list[slice]:
    """Return the blocks of neurons, of nearly equal size, that hold `COLUMNS` columns or one neuron."""
    count, _, batch = p.target.shape
    parts = -(-count * batch // COLUMNS.get(p.target.device.type, COLUMNS["cuda"]))
    parts = min(max(parts, 1), count)
    return [slice(count * i // parts, count * (i + 1) // parts) for i in range(parts)]


def _start(p: Pass, block: slice) -> State:
    zero = p.target.new_zeros(len(p.readout_weight), block.stop - block.start, p.target.shape[2])
    return zero, zero


def _readout(p: Pass, hidden: Tensor) -> Tensor:
    return torch.einsum("h,hnb->nb", p.readout_weight, hidden) + p.readout_bias


def _forward(p: Pass, block: slice, t: int, state: State) -> tuple[State, tuple[Tensor, ...]]:
    cell, hidden = CELLS[p.cell], state[0]
    inputs = p.constant[block].T[:, :, None]  # (R, n, 1)
    if p.shared is not None:
        inputs = inputs + p.shared[t, :, None]  # (R, 1, B)
    for weight, series in zip(p.series_weight.T, p.series, strict=True):
        inputs = inputs + weight[:, None, None] * series[block, t]
    recurrent = p.recurrent_bias[:, None, None].expand_as(inputs)
    if t:  # the product with a zero state is the bias alone
        recurrent = torch.addmm(p.recurrent_bias[:, None], p.recurrent_weight, hidden.flatten(1)).view_as(inputs)
    shape = (cell.gates, *hidden.shape)
    return cell.forward(inputs.view(shape), recurrent.view(shape), state)


def _learn_block(p: Pass, block: slice, g: Gradients) -> Tensor:
    """Run a block of neurons forward and backward, add to or write its gradients, and return its loss."""
    cell, steps, targets = CELLS[p.cell], p.series[0].shape[1], p.target.shape[1]
    states, kept = [_start(p, block)], []
    for t in range(steps):
        state, keep = _forward(p, block, t, states[-1])
        states.append(state)
        kept.append(keep)
    loss = torch.zeros_like(p.readout_bias)
    constant = torch.zeros_like(p.constant[block].T)
    gradient = _start(p, block)
    for t in reversed(range(steps)):
        target = t - steps + targets
        if target >= 0:
            mask = dropout_mask(p, block, target) if p.dropout else 1.0
            hidden = states[t + 1][0] * mask
            error = _readout(p, hidden) - p.target[block, target]  # (n, B)
            loss += (p.weight[target] * error**2).sum()
            d_error = 2 * p.weight[target] * error
            if g.target is not None:
                g.target[block, target] = -d_error
            g.readout_weight += torch.einsum("nb,hnb->h", d_error, hidden)
            g.readout_bias += d_error.sum()
            gradient = (gradient[0] + p.readout_weight[:, None, None] * d_error * mask, gradient[1])
        d_inputs, d_recurrent, gradient = cell.backward(kept[t], states[t], gradient)
        d_inputs, d_recurrent = d_inputs.flatten(0, 1), d_recurrent.flatten(0, 1)  # (R, n, B)
        constant += d_inputs.sum(2)
        if g.shared is not None:
            g.shared[t] += d_inputs.sum(1)
        for c, (series, d_series) in enumerate(zip(p.series, g.series, strict=True)):
            g.series_weight[:, c] += torch.einsum("rnb,nb->r", d_inputs, series[block, t])
            if d_series is not None:
                d_series[block, t] = torch.einsum("r,rnb->nb", p.series_weight[:, c], d_inputs)
        g.recurrent_bias += d_recurrent.sum((1, 2))
        if t:
            columns = d_recurrent.flatten(1)  # (R, n·B)
            g.recurrent_weight.addmm_(columns, states[t][0].flatten(1).T)
            through = torch.mm(p.recurrent_weight.T, columns).view_as(gradient[0])
            gradient = (gradient[0] + through, gradient[1])
    g.constant[block] = constant.T
    return loss
