"""How a training goes: its settings, its number of steps, and the learning rate of each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

_WARM_UP = 0.1  # share of a one-cycle's steps that climb
_START, _END = 1 / 25, 1e-3  # of the peak learning rate, at a one-cycle's first and last step


@dataclass(frozen=True)
class TrainConfig:
    """How a forecaster is fitted by gradient; the defaults are the paper's (appendix A.1)."""

    epochs: int = 100
    """Passes over the training windows (or stretches) of all sessions. An epoch is as many batches as their number
    over the batch size, each batch from one session, drawn with probability in proportion to its number of targets."""
    patience: int | None = None
    """Stop early after so many epochs without a better validation score; by default never."""
    batch_size: int = 32
    """B, windows in a batch, or stretches for a model with ``context="stream"``; each brings all neurons of its
    session."""
    sessions_per_step: int = 1
    """Batches in a gradient step, each of another session. With more than 1 the sessions lie in so many groups of
    like size, each step takes one batch of each, what sessions share gets the mean of their gradients weighted by the
    groups' targets, and an epoch has as many steps fewer. Several processes divide the groups between them."""
    learning_rate: float = 1e-3
    """Of Adam: at the start, or at the peak of a one-cycle."""
    schedule: Literal["halve", "one_cycle", "constant"] = "halve"
    """``halve``: halved every `halve_every` epochs. ``one_cycle``: up along a cosine for a tenth of the steps, then
    down to a thousandth of the peak."""
    halve_every: int = 10
    """Epochs between halvings."""
    weight_decay: float = 0.0
    """Of Adam: so many times a parameter is added to its gradient (an L2 penalty, not AdamW's decay). Parameters that
    have no part in a step's batches are left alone."""
    gradient_clip: float | None = None
    """Largest norm of a step's gradient over all parameters together; a longer one is scaled down to it."""
    min_steps: int = 0
    """A short recording gets more epochs until it has had this many gradient steps."""
    max_steps: int | None = None
    """A long recording gets no more gradient steps than this; its last epoch may then be cut short."""
    select_by: Literal["mse", "correlation"] = "mse"
    """Which validation score decides the best epoch, whose parameters are kept."""
    seed: int = 0
    """Of the batches, dropout and (as the caller passes it on) the initial parameters: the same seed on the same
    machine gives the same result."""
    device: str = "auto"
    """``auto`` (a CUDA device if there is one), ``cpu``, ``cuda``, ``cuda:1``, ..."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "halve_every", "sessions_per_step", "patience"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ValueError(f"learning_rate is {self.learning_rate}, expected a positive number")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise ValueError(f"weight_decay is {self.weight_decay}, expected 0 or a positive number")
        if self.gradient_clip is not None and not (math.isfinite(self.gradient_clip) and self.gradient_clip > 0):
            raise ValueError(f"gradient_clip is {self.gradient_clip}, expected a positive number")
        if self.schedule not in ("halve", "one_cycle", "constant"):
            raise ValueError(f"schedule is {self.schedule!r}, expected 'halve', 'one_cycle' or 'constant'")
        if self.select_by not in ("mse", "correlation"):
            raise ValueError(f"select_by is {self.select_by!r}, expected 'mse' or 'correlation'")
        if self.min_steps < 0:
            raise ValueError(f"min_steps is {self.min_steps}, expected 0 or more")
        if self.max_steps is not None and self.max_steps < max(1, self.min_steps):
            raise ValueError(f"max_steps is {self.max_steps}, expected at least 1 and min_steps")


def steps_per_epoch(rows: int, config: TrainConfig) -> int:
    """Return the number of gradient steps in an epoch over `rows` training windows or stretches, rounded up."""
    return math.ceil(rows / (config.batch_size * config.sessions_per_step))


def total_steps(rows: int, config: TrainConfig) -> int:
    """Return the number of gradient steps that `config` asks for on `rows` training windows or stretches."""
    steps = max(config.epochs * steps_per_epoch(rows, config), config.min_steps)
    return min(steps, config.max_steps or steps)


def learning_rate_at(step: int, total: int, per_epoch: int, config: TrainConfig) -> float:
    """Return the learning rate of gradient step `step`, counted from 0, of `total`."""
    if config.schedule == "constant":
        return config.learning_rate
    if config.schedule == "halve":
        return float(config.learning_rate * 0.5 ** (step // per_epoch // config.halve_every))
    climb = _WARM_UP * total
    if step < climb:
        low, share = _START, 1 - step / climb
    else:
        low, share = _END, (step - climb) / max(total - 1 - climb, 1)
    return config.learning_rate * (low + (1 - low) * (1 + math.cos(math.pi * min(share, 1))) / 2)
