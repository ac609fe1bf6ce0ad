"""The time of one training step, ours against the plain way, and what the machine allows."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ..config import ExperimentConfig
from ..learn.synapsnet import SynapsNet
from ..learn.windows import Batch, Windows
from .twin import Twin

ROWS = 32
"""Windows, or stretches, in the step that is timed: the paper's batch."""
STRETCH = 32
"""Targets in a stretch."""


def step_flops(neurons: int, config: ExperimentConfig, steps: int, rows: int = ROWS) -> float:
    """Return the floating-point operations that a training step needs, without any that repeat constants.

    Forward, and twice that backward, for the GRU's recurrent product (all steps but the first, which has no state) and
    its products with the two series; A X and the gradient of A. Gate arithmetic and the optimiser are left out.

    Parameters
    ----------
    neurons : int
        N.
    config : ExperimentConfig
        The model's sizes.
    steps : int
        Samples in a row: W of a window, W + L - 1 of a stretch.
    rows : int
        B.
    """
    hidden = config.model.hidden
    columns = rows * neurons
    decoder = 3 * 2 * 3 * hidden * columns * (hidden * (steps - 1) + 2 * steps)
    return float(decoder + 2 * 2 * neurons**2 * rows * steps)


def machine_flops(size: int = 3000, repeats: int = 5, device: torch.device | str = "cpu") -> float:
    """Return the float32 operations per second of a large matrix product, best of `repeats`."""
    a, b = (torch.randn(size, size, device=device) for _ in range(2))
    seconds = []
    for _ in range(repeats + 1):
        begin = time.perf_counter()
        float((a @ b)[0, 0])  # the number waits for the device
        seconds.append(time.perf_counter() - begin)
    return 2 * size**3 / min(seconds)


@dataclass(frozen=True)
class _Racer:
    model: torch.nn.Module
    batch: Callable[[], Batch]
    loss: Callable[[Batch], torch.Tensor]


def time_steps(windows: Windows, config: ExperimentConfig, repeats: int) -> dict[str, Any]:
    """Time a training step of the twin and of ours with windows and with stretches, in alternation.

    Gathering the batch, forward, backward and Adam; in float32, on as many threads as torch has.

    Parameters
    ----------
    windows : Windows
        A session.
    config : ExperimentConfig
        The model's settings.
    repeats : int
        Timed steps of each.

    Returns
    -------
    dict
        ``twin``, ``window`` and ``stream``: medians in seconds; ``window_ratio``: how many times faster the step is
        than the twin's; ``stream_ratio``: the same for each target; FLOPs of both.
    """
    sizes = config.model
    # the twin has no drive
    ours = replace(sizes, decoder="gru", context="window", drive=False, connectivity="learned")
    along = replace(ours, context="stream", stretch=STRETCH)
    twin = Twin(windows.n_neurons, windows.n_behaviors, sizes.embedding, sizes.hidden, sizes.dropout)
    alone = [replace(windows, session=0)]
    rows = {length: windows.rows(windows.targets["train"], length) for length in (1, STRETCH)}
    chosen = {length: torch.randperm(len(each))[:ROWS] for length, each in rows.items()}
    window, stream = SynapsNet(alone, ours), SynapsNet(alone, along)
    racers = {
        "twin": _Racer(twin, lambda: rows[1].batch(chosen[1]), lambda b: twin.loss(b.activity, b.behavior, b.target)),
        "window": _Racer(window, lambda: rows[1].batch(chosen[1]), window.loss),
        "stream": _Racer(stream, lambda: rows[STRETCH].batch(chosen[STRETCH]), stream.loss),
    }
    seconds = _alternate(list(racers.values()), repeats)
    medians = {name: float(np.median(values)) for name, values in zip(racers, seconds, strict=True)}
    targets = {name: float(batch.weight.sum()) if batch.weight is not None else float(len(batch.target))
               for name, batch in ((name, racer.batch()) for name, racer in racers.items())}  # fmt: skip
    per_target = {name: medians[name] / targets[name] for name in medians}
    steps = {"window": windows.window, "stream": windows.window + STRETCH - 1}
    return {
        "neurons": windows.n_neurons,
        **medians,
        "window_ratio": medians["twin"] / medians["window"],
        "stream_ratio": per_target["twin"] / per_target["stream"],
        **{f"{name}_flops": step_flops(windows.n_neurons, config, count) for name, count in steps.items()},
    }


def _alternate(racers: Sequence[_Racer], repeats: int) -> list[list[float]]:
    """Return seconds of `repeats` training steps of each, taken in turn; one more before them warms up."""
    optimizers = [torch.optim.Adam(racer.model.parameters(), lr=1e-3, fused=True) for racer in racers]
    seconds: list[list[float]] = [[] for _ in racers]
    for turn in range(repeats + 1):
        for racer, optimizer, taken in zip(racers, optimizers, seconds, strict=True):
            racer.model.train()
            begin = time.perf_counter()
            optimizer.zero_grad(set_to_none=True)
            racer.loss(racer.batch()).backward()
            optimizer.step()
            if turn:
                taken.append(time.perf_counter() - begin)
    return seconds
