"""A training by gradient as an object: one step at a time, and all that decides how it goes on as one state."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .batches import BatchOrder, group_sessions, seed_of
from .checkpoint import number
from .distributed import SharedGradients, World, clip_gradients, owners, release
from .forecaster import Forecaster
from .schedule import TrainConfig, learning_rate_at, steps_per_epoch, total_steps
from .validation import Best, mean_scores, score_session
from .windows import Windows

#: Columns of a training curve, one row an epoch.
CURVE = ("epoch", "train_loss", "validation_mse", "validation_correlation", "learning_rate", "seconds")


_ADAM = ("step", "exp_avg", "exp_avg_sq")  # what it keeps of a parameter


class Descent:
    """Adam on a forecaster's loss.

    Parameters
    ----------
    forecaster : Forecaster
        Changed in place.
    windows : sequence of Windows
        All sessions, on one device; those of other processes may be emptied.
    config : TrainConfig
        The settings. The caller has seeded the global random state and gives it back.
    world : World
        The processes that train together.
    """

    def __init__(self, forecaster: Forecaster, windows: Sequence[Windows], config: TrainConfig, world: World) -> None:
        self.forecaster, self.windows, self.config, self.world = forecaster, windows, config, world
        held = owners(windows, config.sessions_per_step, world)
        self.held = [rank == world.rank for rank in held]
        self.foreign = release(forecaster, [j for j, own in enumerate(self.held) if not own])
        rows = [w.rows(w.targets["train"], forecaster.stretch) for w in windows]
        groups = group_sessions(windows, config.sessions_per_step)
        counts = [sum(len(windows[j].targets["train"]) for j in group) for group in groups]
        self._weights = [count / sum(counts) for count in counts]
        # alone in its step, a batch follows the seed itself, and what it leaves out keeps no gradient
        self._several = config.sessions_per_step > 1
        self._orders = {
            g: BatchOrder(
                [rows[j] for j in group],
                config.batch_size,
                seed_of(config.seed, g) if self._several else config.seed,
            )
            for g, group in enumerate(groups)
            if self.held[group[0]]
        }
        self._own = {name: parameter for name, parameter in forecaster.named_parameters() if name not in self.foreign}
        self._optimizer = torch.optim.Adam(
            self._own.values(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        private = {id(p) for j in range(len(windows)) for p in forecaster.session_parameters(j)}
        self._private = [p for p in self._own.values() if id(p) in private]
        self._common = [p for p in self._own.values() if id(p) not in private]
        self._shared = SharedGradients(self._common, world)
        count = sum(len(each) for each in rows)
        self._per_epoch, self.total = steps_per_epoch(count, config), total_steps(count, config)
        self.best = Best(config.select_by, self.foreign)
        self._rows: list[tuple[float, ...]] = []
        self._losses: list[Tensor] = []
        self._start = time.perf_counter()
        self.step = 0
        """Gradient steps done."""

    @property
    def epochs(self) -> int:
        """Epochs scored so far."""
        return len(self._rows)

    def is_over(self) -> bool:
        """Whether all steps are done, or patience is at its end."""
        patience = self.config.patience
        return self.step >= self.total or (patience is not None and self.epochs - self.best.kept >= patience)

    def is_at_epochs_end(self) -> bool:
        """Whether the step just done was an epoch's last."""
        return self.step % self._per_epoch == 0 or self.step == self.total

    def seconds(self) -> float:
        """Return the time spent so far, with that before a resumption."""
        return time.perf_counter() - self._start

    def curve(self) -> dict[str, NDArray[np.float64]]:
        """Return the columns `CURVE`, one row an epoch."""
        return {name: np.array(column) for name, column in zip(CURVE, zip(*self._rows, strict=True), strict=True)}

    def keep_best(self) -> None:
        """Give the forecaster its best parameters, in evaluation mode and without gradients."""
        self._optimizer.zero_grad(set_to_none=True)
        self.forecaster.load_state_dict(self.best.state, strict=not self.foreign)
        self.forecaster.eval()

    def _rate(self, step: int) -> float:
        return learning_rate_at(step, self.total, self._per_epoch, self.config)

    def advance(self) -> None:
        """Take one gradient step."""
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate(self.step)
        self.forecaster.train()
        # parameters that have no part in the batch (other sessions' matrices) must keep no gradient: Adam
        # then leaves them, and its memory of them, alone
        self._optimizer.zero_grad(set_to_none=True)
        total: Tensor | None = None
        if self._several:
            self._shared.clear()
        for g, order in self._orders.items():
            rows, chosen = order.draw()
            if self._several:  # dropout is the same whichever process computes the batch
                torch.manual_seed(seed_of(self.config.seed, self.step, g))
            loss = self.forecaster.loss(rows.batch(chosen))
            loss.backward()
            share = loss.detach() * self._weights[g]
            total = share if total is None else total + share
            if self._several:
                self._shared.take(self._weights[g])
        if self._several:
            self._shared.give()
        if self.config.gradient_clip is not None:
            clip_gradients(self._common, self._private, self.config.gradient_clip, self.world)
        self._optimizer.step()
        self.forecaster.after_step(self._optimizer)
        assert total is not None
        self._losses.append(total)
        self.step += 1

    def begin(self) -> None:
        """Score the initial parameters, as epoch 0, if they are already a fit."""
        if self.forecaster.starts_fitted:
            self.best.offer(self.forecaster, 0, *mean_scores(self._scores()))

    def end_epoch(self) -> str:
        """Score the parameters, add a row to the curve, and return it in words."""
        epoch = len(self._rows) + 1
        loss = math.nan
        if self._losses:
            loss = float(self.world.sum(torch.stack(self._losses).double()).mean())
        mse, correlation = mean_scores(self._scores())
        self.best.offer(self.forecaster, epoch, mse, correlation)
        rate = self._rate(max(self.step - 1, 0)) if self.step else self.config.learning_rate
        self._rows.append((float(epoch), loss, mse, correlation, rate, self.seconds()))
        self._losses.clear()
        return f"train {loss:.4f}, validation MSE {mse:.4f}, r {correlation:.3f}"

    def _scores(self) -> list[tuple[float, float]]:
        """Return the validation scores of all sessions, each from the process that holds it."""
        own = [
            score_session(self.forecaster, w, "validation") if held else (0.0, 0.0)
            for w, held in zip(self.windows, self.held, strict=True)
        ]
        scores = self.world.sum(torch.tensor(own, dtype=torch.float64, device=self.windows[0].device))
        return [(mse, correlation) for mse, correlation in scores.tolist()]

    def _parameters(self) -> dict[str, Tensor]:
        return {name: value for name, value in self.forecaster.state_dict().items() if name not in self.foreign}

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Return all that decides how the training goes on: facts for JSON, and tensors."""
        facts = {
            "rows": self._rows,
            "best_score": self.best.score,
            "best_epoch": self.best.epoch,
            "seconds": self.seconds(),
        }
        tensors = {"random.cpu": torch.get_rng_state()}
        if self.windows[0].device.type == "cuda":
            tensors["random.cuda"] = torch.cuda.get_rng_state(self.windows[0].device)
        if self._losses:
            tensors["losses"] = torch.stack(self._losses)
        tensors |= {f"model.{name}": value for name, value in self._parameters().items()}
        tensors |= {f"best.{name}": value for name, value in self.best.state.items()}
        moments = self._optimizer.state_dict()["state"]
        for place, name in enumerate(self._own):
            tensors |= {f"adam.{key}.{name}": value for key, value in moments.get(place, {}).items()}
        for g, order in self._orders.items():
            tensors |= {f"order.{g}.{name}": value for name, value in order.state().items()}
        return facts, tensors

    def restore(self, step: int, facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Go on where `state` was taken after `step` steps.

        Raises
        ------
        KeyError, RuntimeError, TypeError, ValueError
            If it is not a state of this training.
        """
        rows = [tuple(number(value) for value in row) for row in facts["rows"]]
        ended = min(len(rows) * self._per_epoch, self.total)
        losses = list(tensors["losses"].to(self.windows[0].device)) if "losses" in tensors else []
        if not 0 <= step <= self.total or step - ended != len(losses) or {len(row) for row in rows} - {len(CURVE)}:
            raise ValueError("its rows do not fit its step")
        parameters = _under("model.", tensors)
        best = _under("best.", tensors)
        for found in (parameters, best) if best else (parameters,):
            _expect_like(found, self._parameters())
        self.forecaster.load_state_dict(parameters, strict=not self.foreign)
        self.best.state = {name: value.to(self.windows[0].device) for name, value in best.items()}
        self.best.score = {name: number(facts["best_score"][name]) for name in self.best.score}
        self.best.epoch = {name: int(facts["best_epoch"][name]) for name in self.best.epoch}
        kept = self.best.kept > 0 or self.forecaster.starts_fitted
        if not all(0 <= epoch <= len(rows) for epoch in self.best.epoch.values()) or bool(best) != kept:
            raise ValueError("its best epoch does not fit its rows")
        whole = self._optimizer.state_dict()
        whole["state"] = {}
        for place, (name, parameter) in enumerate(self._own.items()):
            moments = {key: value for key in _ADAM if (value := tensors.get(f"adam.{key}.{name}")) is not None}
            if moments:
                _expect_like(moments, {"step": torch.tensor(0.0), "exp_avg": parameter, "exp_avg_sq": parameter})
                whole["state"][place] = moments
        self._optimizer.load_state_dict(whole)
        for g, order in self._orders.items():
            order.restore(_under(f"order.{g}.", tensors))
        torch.set_rng_state(tensors["random.cpu"])
        if self.windows[0].device.type == "cuda":
            torch.cuda.set_rng_state(tensors["random.cuda"], self.windows[0].device)
        self._rows, self._losses, self.step = rows, losses, step
        self._start -= number(facts["seconds"])


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _expect_like(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    kinds = [{name: (value.shape, value.dtype) for name, value in each.items()} for each in (found, expected)]
    if kinds[0] != kinds[1]:
        raise ValueError("its tensors are not those of the model")
