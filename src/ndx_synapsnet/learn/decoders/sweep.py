"""The loss of a recurrent decoder and all its gradients in one pass, for training; and its forecasts, for scoring.

The same numbers as `Recurrent.forward` and its backward by automatic differentiation, at a fraction of the time and
memory. The inputs are projected where they vary: the embedding once a neuron, behaviour once a sample, and only each
neuron's own series at both. Blocks of neurons run through all steps forward and backward at once, since the loss is a
sum over neurons; the gradients wait for `backward` to multiply them. Two engines do this: `native`, fused C++ on the
processor, and `kernels`, torch operations anywhere.

The pass covers S samples and forecasts the L last of the S that follow each. With L = 1 and S = W it is exactly the
decoder on windows. With L > 1 it runs along stretches of L targets after W - 1 samples of warm-up: one step a target
rather than W, each target but the first having a longer history than W (``context="stream"``).

Letters: N neurons, B batch (windows or stretches), S steps, L targets, C series, K behaviours, D embedding, H hidden,
R = G·H rows of the gates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeGuard

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from . import kernels, native
from .decoder import Decoder
from .gru import GRU
from .kernels import Pass
from .lstm import LSTM
from .recurrent import Recurrent
from .rnn import RNN

Engine = Literal["auto", "native", "torch"]

_CELLS: dict[type[Decoder], str] = {GRU: "gru", RNN: "rnn", LSTM: "lstm"}


def sweeps(decoder: Decoder) -> TypeGuard[Recurrent]:
    """Whether `sweep_loss` and `sweep_predict` take this decoder."""
    return type(decoder) in _CELLS


def sweep_loss(
    decoder: Recurrent,
    series: Sequence[Tensor],
    behavior: Tensor,
    embedding: Tensor,
    target: Tensor,
    *,
    weight: Tensor | None = None,
    seed: int | None = None,
    engine: Engine = "auto",
) -> Tensor:
    """Return the mean squared error of the forecasts, differentiable once in all parameters and inputs.

    In training mode the decoder's dropout applies to each state that is read out.

    Parameters
    ----------
    decoder : Recurrent
        Any for which `sweeps` holds.
    series : sequence of torch.Tensor
        C times (N, S, B) each neuron's own series, in the order of the decoder's columns: activity, current.
    behavior : torch.Tensor
        (S, B, K).
    embedding : torch.Tensor
        (N, D).
    target : torch.Tensor
        (N, L, B) what to forecast from the states after the last L steps, L at most S.
    weight : torch.Tensor, optional
        (L, B) of each squared error in the mean over samples; by default all alike. Zeros leave samples out.
    seed : int, optional
        Of dropout; by default drawn from torch's global generator.
    engine : str
        ``native``, ``torch``, or ``auto``: the first that can.

    Returns
    -------
    torch.Tensor
        A scalar.

    Raises
    ------
    ValueError
        If shapes do not agree, or the decoder is none of these.
    RuntimeError
        If the engine asked for cannot run here.
    """
    _check(decoder, series, behavior, embedding, target)
    count, targets, batch = target.shape
    if weight is None:
        weight = target.new_full((targets, batch), 1 / target.numel())
    elif weight.shape != (targets, batch):
        raise ValueError(f"weight is {tuple(weight.shape)}, expected (L, B) = {(targets, batch)}")
    else:
        weight = weight.to(target) / (weight.sum() * count)
    dropout = decoder.dropout.p if decoder.dropout.training else 0.0
    if seed is None:
        seed = int(torch.randint(2**32, ())) if dropout else 0
    constant, shared = _project(decoder, behavior, embedding)
    recurrent, readout = decoder.recurrent, decoder.readout
    loss: Tensor = _Sweep.apply(
        _Static(_CELLS[type(decoder)], weight, dropout, seed, engine),
        constant, shared, decoder.input.series, recurrent.weight, recurrent.bias, readout.weight, readout.bias,
        target, *series,
    )  # fmt: skip
    return loss


@torch.no_grad()
def sweep_predict(
    decoder: Recurrent,
    series: Sequence[Tensor],
    behavior: Tensor,
    embedding: Tensor,
    targets: int = 1,
    *,
    engine: Engine = "auto",
) -> Tensor:
    """Return the forecasts (N, L, B) of the states after the last L = `targets` steps, without dropout or gradient.

    Parameters
    ----------
    decoder, series, behavior, embedding, engine
        As in `sweep_loss`, and with its errors.
    targets : int
        L.
    """
    count, _, batch = series[0].shape
    target = series[0].new_zeros(1).expand(count, targets, batch)
    _check(decoder, series, behavior, embedding, target)
    constant, shared = _project(decoder, behavior, embedding)
    recurrent, readout = decoder.recurrent, decoder.readout
    p = _pass(
        _Static(_CELLS[type(decoder)], target[0]),
        constant, shared, decoder.input.series, recurrent.weight, recurrent.bias, readout.weight, readout.bias,
        target, *series,
    )  # fmt: skip
    return _predict(p, engine)


@torch.no_grad()
def engine_of(decoder: Decoder) -> str:
    """Return what trains this decoder where it lies: ``native``, or ``torch`` with the reason in words."""
    if not sweeps(decoder):
        return "torch (the decoder has no fused pass)"
    shape, like = decoder.shape, decoder.readout.weight
    one = like.new_zeros(1, 1, 1)
    constant, shared = _project(decoder, like.new_zeros(1, 1, shape.behaviors), like.new_zeros(1, shape.embedding))
    p = _pass(
        _Static(_CELLS[type(decoder)], like.new_zeros(1, 1)),
        constant, shared, decoder.input.series, decoder.recurrent.weight, decoder.recurrent.bias,
        decoder.readout.weight, decoder.readout.bias, one, *([one] * shape.series),
    )  # fmt: skip
    problem = native.problem(p)
    return f"torch ({problem})" if problem else "native"


def _check(decoder: Recurrent, series: Sequence[Tensor], behavior: Tensor, embedding: Tensor, target: Tensor) -> None:
    if not sweeps(decoder):
        raise ValueError(f"{type(decoder).__name__} is not among {', '.join(cell.__name__ for cell in _CELLS)}")
    count, steps, batch = series[0].shape
    expected = {
        "number of series": (len(series), decoder.shape.series),
        "series": ([tuple(x.shape) for x in series], [(count, steps, batch)] * len(series)),
        "behavior": (tuple(behavior.shape), (steps, batch, decoder.shape.behaviors)),
        "embedding": (tuple(embedding.shape), (count, decoder.shape.embedding)),
        "target": (tuple(target.shape), (count, min(max(target.shape[1], 1), steps), batch)),
    }
    for name, (found, wanted) in expected.items():
        if found != wanted:
            raise ValueError(f"{name}: {found}, expected {wanted}")


def _project(decoder: Recurrent, behavior: Tensor, embedding: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return the projections of the embedding (N, R), with the bias, and of behaviour (S, R, B)."""
    constant = F.linear(embedding, decoder.input.embedding, decoder.input.bias)
    if not decoder.shape.behaviors:
        return constant, None
    return constant, decoder.input.behavior @ behavior.transpose(1, 2)


class _Static(NamedTuple):
    """What a pass takes beside the tensors that have gradients."""

    cell: str
    weight: Tensor
    dropout: float = 0.0
    seed: int = 0
    engine: Engine = "auto"


def _pass(
    static: _Static,
    constant: Tensor,
    shared: Tensor | None,
    series_weight: Tensor,
    recurrent_weight: Tensor,
    recurrent_bias: Tensor,
    readout_weight: Tensor,
    readout_bias: Tensor,
    target: Tensor,
    *series: Tensor,
) -> Pass:
    return Pass(
        cell=static.cell,
        constant=constant.contiguous(),
        shared=None if shared is None else shared.contiguous(),
        series=tuple(x.contiguous() for x in series),
        series_weight=series_weight.contiguous(),
        recurrent_weight=recurrent_weight.contiguous(),
        recurrent_bias=recurrent_bias.contiguous(),
        readout_weight=readout_weight[0].contiguous(),
        readout_bias=readout_bias[0],
        target=target.contiguous(),
        weight=static.weight.contiguous(),
        dropout=static.dropout,
        seed=static.seed,
    )


class _Sweep(torch.autograd.Function):
    """The loss, whose gradients are computed with it and handed out, scaled, by `backward`."""

    @staticmethod
    def forward(ctx: Any, static: _Static, *inputs: Tensor) -> Tensor:
        """Run the pass; `inputs` are those of `_pass`."""
        p = _pass(static, *inputs)
        if not (any(ctx.needs_input_grad) or p.dropout):
            return (p.weight * (_predict(p, static.engine) - p.target) ** 2).sum()
        learn = native.learn if _native(p, static.engine) else kernels.learn
        target, *series = ctx.needs_input_grad[8:]  # whether these want their gradients
        loss, g = learn(p, tuple(series), target)
        ctx.save_for_backward(
            g.constant, g.shared, g.series_weight, g.recurrent_weight, g.recurrent_bias,
            g.readout_weight[None], g.readout_bias[None], g.target, *g.series,
        )  # fmt: skip
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Hand the gradients out."""
        return (None, *(None if each is None else each * gradient for each in ctx.saved_tensors))


def _predict(p: Pass, engine: Engine) -> Tensor:
    return native.predict(p) if _native(p, engine) else kernels.predict(p)


def _native(p: Pass, engine: Engine) -> bool:
    """Whether the native engine runs this pass."""
    if engine == "torch":
        return False
    problem = native.problem(p)
    if problem and engine == "native":
        raise RuntimeError(f"the native engine cannot run: {problem}")
    return not problem
