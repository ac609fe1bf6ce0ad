"""Several processes, started by ``torchrun``: each holds some of the sessions, and all hold what sessions share.

Each gradient step takes one batch of each of `TrainConfig.sessions_per_step` groups of sessions. A group is always
computed by the same process; the gradients of the shared parameters are summed over processes, those of a session's
own parameters stay where the session is. One process can compute all groups, with the same result up to rounding.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..errors import InputError
from .batches import group_sessions
from .forecaster import Forecaster
from .windows import Windows


@dataclass(frozen=True)
class World:
    """The processes that train together, seen from one of them; by default it is alone."""

    rank: int = 0
    """Number of this process, from 0."""
    size: int = 1
    """Number of processes."""
    device: torch.device | None = None
    """The device of this process; None where the caller chooses."""

    def sum(self, values: Tensor) -> Tensor:
        """Return `values` summed over processes, in place: bit-equal on all of them."""
        if self.size > 1:
            torch.distributed.all_reduce(values)
        return values

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """Return for each flag whether it is set in any process; waits for all of them."""
        if self.size == 1:
            return flags
        votes = self.sum(torch.tensor([int(flag) for flag in flags], device=self.device))
        return tuple(bool(vote) for vote in votes.tolist())

    def common(self, numbers: Sequence[int], *, at_most: int) -> list[int]:
        """Return those of up to `at_most` `numbers`, from 0, that every process has, the largest first."""
        if self.size == 1:
            return sorted(numbers, reverse=True)
        own = torch.full((at_most,), -1, device=self.device)
        own[: len(numbers)] = torch.tensor(list(numbers), dtype=own.dtype, device=own.device)
        gathered = [torch.empty_like(own) for _ in range(self.size)]
        torch.distributed.all_gather(gathered, own)
        return sorted(set.intersection(*(set(each.tolist()) for each in gathered)) - {-1}, reverse=True)


@contextmanager
def processes(device: torch.device) -> Iterator[World]:
    """Join the processes that ``torchrun`` started, for the time of the context; without it, be alone.

    CUDA devices talk by nccl, CPUs by gloo; of several CUDA devices each process of a machine takes its own.

    Parameters
    ----------
    device : torch.device
        As `train.resolve_device` gives it.

    Raises
    ------
    InputError
        If this torch cannot talk between processes, or there are fewer CUDA devices than processes.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield World(device=device)
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    if not torch.distributed.is_available() or not torch.distributed.is_backend_available(backend):
        raise InputError(f"this torch has no {backend}, by which processes talk", remedy="Start one process only.")
    if device.type == "cuda":
        local = int(os.environ.get("LOCAL_RANK", "0"))
        if local >= torch.cuda.device_count():
            raise InputError(
                f"process {local} finds only {torch.cuda.device_count()} CUDA devices",
                remedy="Start one process a device, or use the device cpu.",
            )
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    torch.distributed.init_process_group(backend, device_id=device if device.type == "cuda" else None)
    try:
        yield World(torch.distributed.get_rank(), torch.distributed.get_world_size(), device)
    finally:
        torch.distributed.destroy_process_group()


def owners(windows: Sequence[Windows], sessions_per_step: int, world: World) -> list[int]:
    """Return for each session the rank of the process that holds it.

    Raises
    ------
    InputError
        If there are fewer sessions than `sessions_per_step`, or more processes.
    """
    if world.size > sessions_per_step:
        raise InputError(
            f"{world.size} processes, but sessions_per_step is {sessions_per_step}: some would have nothing to do",
            remedy="Set sessions_per_step to the number of processes or a multiple of it.",
        )
    rank = {j: g % world.size for g, group in enumerate(group_sessions(windows, sessions_per_step)) for j in group}
    return [rank[j] for j in range(len(windows))]


def shard(windows: Sequence[Windows], sessions_per_step: int, world: World) -> list[Windows]:
    """Return all sessions, those of other processes emptied: their series become zeros that take no memory.

    What a model needs of them to be made alike everywhere stays: sizes, neurons, names, numbers of windows. Let go of
    `windows` and of the sessions behind them to free the memory.
    """
    held = owners(windows, sessions_per_step, world)
    return [w if rank == world.rank else _emptied(w) for w, rank in zip(windows, held, strict=True)]


def release(forecaster: Forecaster, sessions: Sequence[int]) -> set[str]:
    """Let go of the parameters that belong to other processes' sessions, and return their names.

    They keep their shape and are NaN throughout, so that nobody takes them for fitted.
    """
    foreign = {id(p) for j in sessions for p in forecaster.session_parameters(j)}
    for parameter in forecaster.parameters():
        if id(parameter) in foreign:
            parameter.data = parameter.data.new_full((), float("nan")).expand(parameter.shape)
    return {name for name, p in forecaster.named_parameters(remove_duplicate=False) if id(p) in foreign}


def _emptied(windows: Windows) -> Windows:
    nothing = windows.activity.new_zeros(())
    return replace(
        windows, activity=nothing.expand(windows.activity.shape), behavior=nothing.expand(windows.behavior.shape)
    )


class SharedGradients:
    """Collects the gradients of parameters that sessions share, over a step's batches and over processes.

    Parameters
    ----------
    parameters : sequence of torch.Tensor
        All of one type. Each has a gradient after every step, of zeros where no batch touched it.
    world : World
        The processes.
    """

    def __init__(self, parameters: Sequence[Tensor], world: World) -> None:
        self._parameters, self._world = list(parameters), world
        if len({p.dtype for p in self._parameters}) > 1:
            raise ValueError("the shared parameters are of different types")
        self._flat = torch.cat([p.detach().flatten() for p in self._parameters]) if self._parameters else torch.zeros(0)
        pieces = self._flat.split([p.numel() for p in self._parameters])
        self._sums = [piece.view(p.shape) for piece, p in zip(pieces, self._parameters, strict=True)]
        self._flat.zero_()

    def take(self, weight: float) -> None:
        """Add `weight` times the present gradients to the sums and clear them."""
        for parameter, total in zip(self._parameters, self._sums, strict=True):
            if parameter.grad is not None:
                total.add_(parameter.grad, alpha=weight)
                parameter.grad = None

    def give(self) -> None:
        """Set the gradients to the sums over processes; they are valid until the next `take`."""
        self._world.sum(self._flat)
        for parameter, total in zip(self._parameters, self._sums, strict=True):
            parameter.grad = total

    def clear(self) -> None:
        """Begin the next step."""
        self._flat.zero_()
