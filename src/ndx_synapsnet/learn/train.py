"""The training loop. It knows no model: anything that keeps the contract of `forecaster` is fitted the same way."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from ..errors import InputError
from ..metrics import score_neurons
from .forecaster import Forecaster, Solver, predict_series
from .windows import Windows

#: Columns of a training curve, one row an epoch.
CURVE = ("epoch", "train_loss", "validation_mse", "validation_correlation", "learning_rate", "seconds")

_WARM_UP = 0.1  # share of a one-cycle's steps that climb
_START, _END = 1 / 25, 1e-3  # of the peak learning rate, at a one-cycle's first and last step


@dataclass(frozen=True)
class TrainConfig:
    """How a forecaster is fitted by gradient; the defaults are the paper's (appendix A.1)."""

    epochs: int = 100
    """Passes over the training windows of all sessions. An epoch is as many batches as their number over the batch
    size, each batch from one session, drawn with probability in proportion to its number of windows."""
    batch_size: int = 32
    """B, windows in a batch; each brings all neurons of its session."""
    learning_rate: float = 1e-3
    """Of Adam: at the start, or at the peak of a one-cycle."""
    schedule: Literal["halve", "one_cycle", "constant"] = "halve"
    """``halve``: halved every `halve_every` epochs. ``one_cycle``: up along a cosine for a tenth of the steps, then
    down to a thousandth of the peak."""
    halve_every: int = 10
    """Epochs between halvings."""
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
        for name in ("epochs", "batch_size", "halve_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ValueError(f"learning_rate is {self.learning_rate}, expected a positive number")
        if self.schedule not in ("halve", "one_cycle", "constant"):
            raise ValueError(f"schedule is {self.schedule!r}, expected 'halve', 'one_cycle' or 'constant'")
        if self.select_by not in ("mse", "correlation"):
            raise ValueError(f"select_by is {self.select_by!r}, expected 'mse' or 'correlation'")
        if self.min_steps < 0:
            raise ValueError(f"min_steps is {self.min_steps}, expected 0 or more")
        if self.max_steps is not None and self.max_steps < max(1, self.min_steps):
            raise ValueError(f"max_steps is {self.max_steps}, expected at least 1 and min_steps")


@dataclass(frozen=True)
class Training:
    """What a training run leaves beside the fitted parameters."""

    curve: dict[str, NDArray[np.float64]]
    """The columns `CURVE`, one row an epoch; a `Solver` has one row, epoch 0, with a learning rate of 0.
    ``train_loss`` is the mean over the epoch's batches, with penalty and dropout; validation is without."""
    best_epoch: int
    """The epoch whose parameters were kept."""
    best_by: dict[str, int]
    """The best epoch by validation ``mse`` and by ``correlation`` (0 if that was never finite)."""
    interrupted: bool
    """Whether the user stopped it (Ctrl-C)."""
    seconds: float


def resolve_device(name: str) -> torch.device:
    """Return the device that `name` (see `TrainConfig.device`) stands for.

    Raises
    ------
    InputError
        If there is no such device on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"no device {name!r} here", remedy="Use auto, cpu, or cuda where there is one.") from error
    return device


def steps_per_epoch(windows: Sequence[Windows], config: TrainConfig) -> int:
    """Return the number of batches in an epoch, rounded up."""
    return math.ceil(sum(len(w.targets["train"]) for w in windows) / config.batch_size)


def total_steps(windows: Sequence[Windows], config: TrainConfig) -> int:
    """Return the number of gradient steps that `config` asks for on these sessions."""
    steps = max(config.epochs * steps_per_epoch(windows, config), config.min_steps)
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


def train(
    forecaster: Forecaster,
    windows: Sequence[Windows],
    config: TrainConfig | None = None,
    *,
    progress: bool | None = None,
) -> Training:
    """Fit `forecaster` in place and leave it in evaluation mode with its best parameters.

    A `Solver` solves; any other model runs the gradient loop with Adam, and after each epoch is scored on the
    validation windows. Ctrl-C ends the loop and keeps the best epoch so far; before the first epoch's end, the
    parameters as they are. The global random state is left as it was.

    Parameters
    ----------
    forecaster : Forecaster
        Made for `windows`; moved to their device.
    windows : sequence of Windows
        All sessions, on one device.
    config : TrainConfig, optional
        The paper's by default.
    progress : bool, optional
        Whether to show a progress bar; by default if standard error is a terminal.

    Raises
    ------
    InputError
        If no epoch has a finite validation score: training diverged.
    """
    config = config or TrainConfig()
    forecaster.to(windows[0].device)
    if isinstance(forecaster, Solver):
        return _solve(forecaster, windows)
    device = windows[0].device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(config.seed)
        return _descend(forecaster, windows, config, disable=None if progress is None else not progress)


def validate(forecaster: Forecaster, windows: Sequence[Windows], part: str = "validation") -> tuple[float, float]:
    """Return the MSE and the correlation on a part, each a mean over neurons, then over sessions.

    Neurons whose trace or forecast is constant have no correlation and do not count in that mean.
    """
    mse, correlation = [], []
    for session in windows:
        indices = session.targets[part]
        prediction = predict_series(forecaster, session, indices)
        if not np.isfinite(prediction).all():
            return float("nan"), float("nan")
        scores = score_neurons(prediction, session.truth(indices))
        mse.append(float(scores.mse.mean()))
        defined = scores.correlation[~np.isnan(scores.correlation)]
        if len(defined):
            correlation.append(float(defined.mean()))
    return float(np.mean(mse)), float(np.mean(correlation)) if correlation else float("nan")


class _Best:
    """The best epochs by either score, and a copy of the parameters of the one that counts."""

    def __init__(self, select_by: str) -> None:
        self._select_by = select_by
        self._score = {"mse": math.inf, "correlation": math.inf}
        self.epoch = {"mse": 0, "correlation": 0}
        self.state: dict[str, Tensor] | None = None

    def offer(self, forecaster: Forecaster, epoch: int, mse: float, correlation: float) -> None:
        """Take note of an epoch; scores that are NaN are never best."""
        for name, score in (("mse", mse), ("correlation", -correlation)):
            if score < self._score[name]:
                self._score[name], self.epoch[name] = score, epoch
                if name == self._select_by:
                    self.state = {key: value.detach().clone() for key, value in forecaster.state_dict().items()}


def _solve(solver: Solver, windows: Sequence[Windows]) -> Training:
    start = time.perf_counter()
    solver.eval()
    solver.solve(windows)
    loss, (mse, correlation) = validate(solver, windows, "train")[0], validate(solver, windows)
    seconds = time.perf_counter() - start
    row = (0.0, loss, mse, correlation, 0.0, seconds)
    curve = {name: np.array([value]) for name, value in zip(CURVE, row, strict=True)}
    return Training(curve, best_epoch=0, best_by={"mse": 0, "correlation": 0}, interrupted=False, seconds=seconds)


def _descend(
    forecaster: Forecaster, windows: Sequence[Windows], config: TrainConfig, *, disable: bool | None
) -> Training:
    start = time.perf_counter()
    optimizer = torch.optim.Adam(forecaster.parameters(), lr=config.learning_rate)
    batches = _batches(windows, config)
    per_epoch, total = steps_per_epoch(windows, config), total_steps(windows, config)
    best = _Best(config.select_by)
    rows: list[tuple[float, ...]] = []
    losses: list[Tensor] = []
    rate = config.learning_rate

    def end_epoch(bar: tqdm) -> None:  # type: ignore[type-arg]
        epoch = len(rows) + 1
        loss = float(torch.stack(losses).double().mean()) if losses else math.nan
        mse, correlation = validate(forecaster, windows)
        best.offer(forecaster, epoch, mse, correlation)
        rows.append((float(epoch), loss, mse, correlation, rate, time.perf_counter() - start))
        losses.clear()
        bar.set_description(f"epoch {epoch}")
        bar.set_postfix_str(f"train {loss:.4f}, validation MSE {mse:.4f}, r {correlation:.3f}")

    interrupted = False
    with tqdm(total=total, disable=disable, unit="step", desc="epoch 0") as bar:
        try:
            for step in range(total):
                rate = learning_rate_at(step, total, per_epoch, config)
                for group in optimizer.param_groups:
                    group["lr"] = rate
                forecaster.train()
                # parameters that have no part in the batch (other sessions' matrices) must keep no gradient: Adam
                # then leaves them, and its memory of them, alone
                optimizer.zero_grad(set_to_none=True)
                session, indices = next(batches)
                loss = forecaster.loss(session.batch(indices))
                loss.backward()
                optimizer.step()
                forecaster.after_step(optimizer)
                losses.append(loss.detach())
                bar.update()
                if (step + 1) % per_epoch == 0 or step + 1 == total:
                    end_epoch(bar)
        except KeyboardInterrupt:
            interrupted = True
            if best.state is None:
                end_epoch(bar)
    if best.state is None:
        raise InputError("training diverged: no epoch has a finite validation score", remedy="Lower the learning rate.")
    optimizer.zero_grad(set_to_none=True)
    forecaster.load_state_dict(best.state)
    forecaster.eval()
    curve = {name: np.array(column) for name, column in zip(CURVE, zip(*rows, strict=True), strict=True)}
    return Training(curve, best.epoch[config.select_by], best.epoch, interrupted, time.perf_counter() - start)


def _batches(windows: Sequence[Windows], config: TrainConfig) -> Iterator[tuple[Windows, Tensor]]:
    """Yield batches without end: a session by its number of windows, then windows of it in shuffled order."""
    generator = torch.Generator().manual_seed(config.seed)
    counts = torch.tensor([len(w.targets["train"]) for w in windows], dtype=torch.float64)
    draws = [_shuffled(w.targets["train"], config.batch_size, generator) for w in windows]
    while True:
        chosen = int(torch.multinomial(counts, 1, generator=generator))
        yield windows[chosen], next(draws[chosen])


def _shuffled(indices: Tensor, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield `size` of `indices` at a time in shuffled order, without end; what is left over is shuffled in again.

    Fewer than `size` indices are yielded all at once.
    """
    size = min(size, len(indices))
    while True:
        order = torch.randperm(len(indices), generator=generator).to(indices.device)
        for start in range(0, len(indices) - size + 1, size):
            yield indices[order[start : start + size]]
