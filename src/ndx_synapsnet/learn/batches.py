"""Which windows make up a gradient step: seeded, the same whichever process draws them, and resumable."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..errors import InputError
from .windows import Windows


class BatchOrder:
    """Batches of some sessions, without end: a session by its number of windows, then windows of it in shuffled order.

    A session's windows come once each before any comes again; those left over, fewer than a batch, are shuffled in
    again. A session of fewer windows than a batch gives them all at once.

    Parameters
    ----------
    windows : sequence of Windows
        The sessions.
    batch_size : int
        B, windows in a batch.
    seed : int
        Decides all that follows.
    """

    def __init__(self, windows: Sequence[Windows], batch_size: int, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self._windows = tuple(windows)
        self._targets = [w.targets["train"] for w in windows]
        self._counts = torch.tensor([len(targets) for targets in self._targets], dtype=torch.float64)
        self._sizes = [min(batch_size, len(targets)) for targets in self._targets]
        self._orders = [targets[:0] for targets in self._targets]  # shuffled when first drawn
        self._positions = [0] * len(self._targets)

    def draw(self) -> tuple[Windows, Tensor]:
        """Return the next batch: its session and the samples to forecast (B,)."""
        chosen = int(torch.multinomial(self._counts, 1, generator=self._generator))
        targets, size, start = self._targets[chosen], self._sizes[chosen], self._positions[chosen]
        if start + size > len(self._orders[chosen]):
            self._orders[chosen] = torch.randperm(len(targets), generator=self._generator).to(targets.device)
            start = 0
        self._positions[chosen] = start + size
        return self._windows[chosen], targets[self._orders[chosen][start : start + size]]

    def state(self) -> dict[str, Tensor]:
        """Return what decides the batches to come."""
        return {
            "generator": self._generator.get_state(),
            "positions": torch.tensor(self._positions),
            **{f"order_{j}": order for j, order in enumerate(self._orders)},
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on where `state` was taken.

        Raises
        ------
        KeyError, RuntimeError, ValueError
            If it is not a state of such an order.
        """
        positions = state["positions"].tolist()
        orders = [state[f"order_{j}"].to(targets.device) for j, targets in enumerate(self._targets)]
        if len(positions) != len(orders):
            raise ValueError("the batch order is of another number of sessions")
        for position, order, targets in zip(positions, orders, self._targets, strict=True):
            known = torch.arange(len(targets) if len(order) else 0, device=order.device)
            if not torch.equal(order.sort().values, known) or not 0 <= position <= len(order):
                raise ValueError("the batch order is not one of the session's windows")
        self._generator.set_state(state["generator"])
        self._positions, self._orders = positions, orders


def seed_of(seed: int, *place: int) -> int:
    """Return a seed for one place of a run, such as a step and a group, unrelated to that of any other."""
    return int.from_bytes(hashlib.sha256(repr((seed, *place)).encode()).digest()[:8], "little") >> 1


def group_sessions(windows: Sequence[Windows], count: int) -> list[list[int]]:
    """Return the sessions' indices in `count` groups of as equal numbers of training windows as is easily had.

    Each gradient step takes one batch of each group, and a group is always computed by the same process.

    Raises
    ------
    InputError
        If there are fewer sessions than groups.
    """
    if count > len(windows):
        raise InputError(
            f"{count} sessions a step of {len(windows)} in all",
            remedy="Set sessions_per_step (and the number of processes) to at most the number of sessions.",
        )
    sizes = [len(w.targets["train"]) for w in windows]
    groups: list[list[int]] = [[] for _ in range(count)]
    for j in sorted(range(len(windows)), key=lambda j: -sizes[j]):  # the largest first, each to the smallest group
        min(groups, key=lambda group: sum(sizes[i] for i in group)).append(j)
    return [sorted(group) for group in groups]
