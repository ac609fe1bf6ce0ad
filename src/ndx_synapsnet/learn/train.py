"""The training loop. It knows no model: anything that keeps the contract of `forecaster` is fitted the same way."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from ..errors import InputError
from .checkpoint import Checkpoint, identify
from .descent import CURVE, Descent
from .distributed import World
from .forecaster import Forecaster, Solver
from .schedule import TrainConfig, learning_rate_at, steps_per_epoch, total_steps
from .validation import mean_squared_error, validate
from .windows import Windows

__all__ = [
    "CURVE",
    "TrainConfig",
    "Training",
    "learning_rate_at",
    "resolve_device",
    "steps_per_epoch",
    "total_steps",
    "train",
    "validate",
]

_CHECKPOINT_SECONDS = 60.0  # between checkpoints within an epoch
_CHECKPOINT_SHARE = 10  # and between any two at least so many times what writing one takes
_ASK = 20  # steps between asking the other processes whether it is time to write


@dataclass(frozen=True)
class Training:
    """What a training run leaves beside the fitted parameters."""

    curve: dict[str, NDArray[np.float64]]
    """The columns `CURVE`, one row an epoch; a `Solver` has one row, epoch 0, with a learning rate of 0.
    ``train_loss`` is the mean over the epoch's batches, with penalty and dropout; validation is without."""
    best_epoch: int
    """The epoch whose parameters were kept; 0: those it started with."""
    best_by: dict[str, int]
    """The best epoch by validation ``mse`` and by ``correlation`` (0: the start, or that it was never finite)."""
    interrupted: bool
    """Whether the user stopped it (Ctrl-C)."""
    seconds: float
    """Of training, with that before a resumption."""
    notes: tuple[str, ...] = ()
    """What a person should know of how it went: early stopping, resumption."""


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


def train(
    forecaster: Forecaster,
    windows: Sequence[Windows],
    config: TrainConfig | None = None,
    *,
    progress: bool | None = None,
    checkpoint: Path | None = None,
    resume: bool = False,
    world: World | None = None,
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
    checkpoint : Path, optional
        A folder for checkpoints, written after epochs, every minute in between, and on Ctrl-C, which then waits for
        the step's end (a second one does not). The caller removes it when the result is safe. A `Solver` has none.
    resume : bool
        Whether to go on from the checkpoint in that folder, if there is one; on the same machine and threads the
        result is that of a training never broken off, on the CPU to the bit. Otherwise what is there is replaced.
    world : World, optional
        The processes that train together (`distributed.processes`); by default this one alone. All give the same
        arguments; `windows` may be sharded (`distributed.shard`). The parameters of other processes' sessions are
        NaN afterwards. Ctrl-C ends it without a result unless there is a checkpoint.

    Raises
    ------
    InputError
        If no epoch has a finite validation score: training diverged. If the checkpoint is of another fit, or cannot
        be read or written. If `sessions_per_step` does not suit the numbers of sessions and processes.
    """
    config, world = config or TrainConfig(), world or World()
    forecaster.to(windows[0].device)
    if isinstance(forecaster, Solver):
        if world.size > 1:
            raise InputError("a model in closed form is fitted by one process", remedy="Start one process only.")
        return _solve(forecaster, windows)
    device = windows[0].device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(config.seed)
        descent = Descent(forecaster, windows, config, world)
        saver = None if checkpoint is None else _Saver(descent, Path(checkpoint), resume)
        if not descent.step:
            descent.begin()
        disable = True if world.rank else None if progress is None else not progress
        interrupted = _run(descent, saver, disable=disable)
    if not descent.best.state:
        raise InputError("training diverged: no epoch has a finite validation score", remedy="Lower the learning rate.")
    descent.keep_best()
    notes = [] if saver is None else saver.notes
    if descent.step < descent.total and not interrupted:
        notes = [*notes, f"Stopped early: no better validation score in {config.patience} epochs."]
    best = descent.best
    return Training(descent.curve(), best.kept, best.epoch, interrupted, descent.seconds(), tuple(notes))


def _solve(solver: Solver, windows: Sequence[Windows]) -> Training:
    start = time.perf_counter()
    solver.eval()
    solver.solve(windows)
    loss = float(np.mean([mean_squared_error(solver, w, "train") for w in windows]))
    mse, correlation = validate(solver, windows)
    seconds = time.perf_counter() - start
    row = (0.0, loss, mse, correlation, 0.0, seconds)
    curve = {name: np.array([value]) for name, value in zip(CURVE, row, strict=True)}
    return Training(curve, best_epoch=0, best_by={"mse": 0, "correlation": 0}, interrupted=False, seconds=seconds)


def _run(descent: Descent, saver: _Saver | None, *, disable: bool | None) -> bool:
    """Train to the end or to Ctrl-C, and return whether it was that."""
    interrupted = False
    with (
        tqdm(total=descent.total, initial=descent.step, disable=disable, unit="step", desc="epoch 0") as bar,
        _asking_to_stop(saver is not None) as asked,
    ):
        try:
            while not (descent.is_over() or interrupted):
                descent.advance()
                bar.update()
                ended = descent.is_at_epochs_end()
                if ended:
                    bar.set_postfix_str(descent.end_epoch())
                    bar.set_description(f"epoch {descent.epochs}")
                if saver is not None:
                    interrupted = saver.attend(ended=ended, stop=asked.is_set()) and not descent.is_over()
        except KeyboardInterrupt:
            if descent.world.size > 1:  # the others wait for this one in the middle of a step
                raise
            interrupted = True
        if interrupted and not descent.best.state:
            descent.end_epoch()
    return interrupted


class _Saver:
    """Writes a training's checkpoints when it is time, in step with the other processes."""

    def __init__(self, descent: Descent, folder: Path, resume: bool) -> None:
        self._descent, self._world = descent, descent.world
        # which device it was asked by does not matter; its kind is part of the identity
        config = {name: value for name, value in asdict(descent.config).items() if name != "device"}
        identity = identify(descent.forecaster, descent.windows, config, held=descent.held)
        self._checkpoint = Checkpoint(folder, identity, rank=self._world.rank, size=self._world.size)
        self._written, self._cost = time.perf_counter(), 0.0
        self.notes: list[str] = []
        common = self._world.common(self._checkpoint.steps(), at_most=2) if resume else []
        if common:
            self._resume(common[0])
        else:
            self._checkpoint.keep_only(None)

    def attend(self, *, ended: bool, stop: bool) -> bool:
        """Write a checkpoint after a step if it is time, and return whether any process was asked to stop."""
        if self._world.size > 1 and not (ended or self._descent.step % _ASK == 0):
            return False
        passed = time.perf_counter() - self._written
        pause = max(_CHECKPOINT_SHARE * self._cost, 0 if ended else _CHECKPOINT_SECONDS)
        due, stop = self._world.any(self._descent.is_over() or passed >= pause, stop)
        if due or stop:
            self._write()
        return stop

    def _write(self) -> None:
        begin = time.perf_counter()
        self._checkpoint.write(self._descent.step, *self._descent.state())
        self._world.any(False)  # only when all have written may the older ones go: all must resume from one step
        self._checkpoint.keep_only(self._descent.step)
        self._written = time.perf_counter()
        self._cost = self._written - begin

    def _resume(self, step: int) -> None:
        facts, tensors, other_software = self._checkpoint.read(step)
        try:
            self._descent.restore(step, facts, tensors)
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise self._checkpoint.refuse(str(error)) from error
        note = f"Resumed after step {step} of {self._descent.total}"
        rounding = f", where {other_software}: it may differ in rounding from a training never broken off"
        self.notes.append(note + (rounding if other_software else "") + ".")


@contextmanager
def _asking_to_stop(active: bool) -> Iterator[threading.Event]:
    """Let Ctrl-C set a flag, to be seen between two steps; a second one interrupts at once."""
    asked = threading.Event()
    ours = threading.current_thread() is threading.main_thread()
    if not (active and ours and signal.getsignal(signal.SIGINT) is signal.default_int_handler):
        yield asked
        return

    def ask(number: int, frame: Any) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    signal.signal(signal.SIGINT, ask)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
