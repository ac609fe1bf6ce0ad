"""Which windows make up a gradient step: seeded, the same whichever process draws them, and resumable."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..errors import InputError
from .windows import Rows, Windows


class BatchOrder:
    """Batches of some sessions, without end: a session by its number of targets, then rows of it in shuffled order.

    A row is a window, or a stretch (see `Rows`). A session's rows come once each before any comes again; those left
    over, fewer than a batch, are shuffled in again. A session of fewer rows than a batch gives them all at once.

    Parameters
    ----------
    rows : sequence of Rows
        Each session's.
    batch_size : int
        B, rows in a batch.
    seed : int
        Decides all that follows.
    """

    def __init__(self, rows: Sequence[Rows], batch_size: int, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self._rows = tuple(rows)
        self._counts = torch.tensor([each.n_targets for each in rows], dtype=torch.float64)
        self._sizes = [min(batch_size, len(each)) for each in rows]
        self._orders = [each.first[:0] for each in rows]  # shuffled when first drawn
        self._positions = [0] * len(rows)

    def draw(self) -> tuple[Rows, Tensor]:
        """Return the next batch: a session's rows, and which of them (B,)."""
        chosen = int(torch.multinomial(self._counts, 1, generator=self._generator))
        rows, size, start = self._rows[chosen], self._sizes[chosen], self._positions[chosen]
        if start + size > len(self._orders[chosen]):
            self._orders[chosen] = torch.randperm(len(rows), generator=self._generator).to(rows.first.device)
            start = 0
        self._positions[chosen] = start + size
        return rows, self._orders[chosen][start : start + size]

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
        orders = [state[f"order_{j}"].to(rows.first.device) for j, rows in enumerate(self._rows)]
        if len(positions) != len(orders):
            raise ValueError("the batch order is of another number of sessions")
        for position, order, rows in zip(positions, orders, self._rows, strict=True):
            known = torch.arange(len(rows) if len(order) else 0, device=order.device)
            if not torch.equal(order.sort().values, known) or not 0 <= position <= len(order):
                raise ValueError("the batch order is not one of the session's rows")
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
