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
from itertools import count
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from ..errors import EndedElsewhereError, InputError
from ..session import Normalization, Session
from .batches import group_sessions
from .forecaster import Forecaster
from .preparation import prepare, split_samples, target_samples
from .windows import WindowConfig, Windows

_JOININGS = count()


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
            with _talking():
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
        own = torch.full((at_most,), -1)
        own[: len(numbers)] = torch.tensor(list(numbers), dtype=own.dtype)
        gathered = [set(each.tolist()) for each in self._gather(own)]
        return sorted(set.intersection(*gathered) - {-1}, reverse=True)

    def gather(self, text: str) -> list[str]:
        """Return the texts of all processes, in their order."""
        own = torch.from_numpy(np.frombuffer(text.encode(), np.uint8).copy())
        sizes = [int(size) for size in self._gather(torch.tensor([len(own)]))]
        padded = torch.nn.functional.pad(own, (0, max(sizes) - len(own)))
        texts = zip(self._gather(padded), sizes, strict=True)
        return [each[:size].numpy().tobytes().decode() for each, size in texts]

    @contextmanager
    def agreeing(self) -> Iterator[None]:
        """Let no process go on from here unless none met bad input; what it does inside needs no other process.

        Raises
        ------
        InputError
            This process's own; `EndedElsewhereError` if it had none, or a lower rank says the same.
        """
        failed: InputError | None = None
        try:
            yield
        except InputError as error:
            if self.size == 1:
                raise
            failed = error
        if self.size == 1:
            return
        messages = self.gather("" if failed is None else str(failed))
        if failed is not None and str(failed) not in messages[: self.rank]:
            raise failed
        if any(messages):
            raise EndedElsewhereError from failed

    def _gather(self, values: Tensor) -> list[Tensor]:
        """Return the `values` of all processes, of one shape and type, on the CPU."""
        if self.size == 1:
            return [values]
        values = values.to(self.device)
        gathered = [torch.empty_like(values) for _ in range(self.size)]
        with _talking():
            torch.distributed.all_gather(gathered, values)
        return [each.cpu() for each in gathered]


@contextmanager
def _talking() -> Iterator[None]:
    """Tell a connection that was lost as what it is: a process that has ended."""
    try:
        yield
    except RuntimeError as error:
        raise EndedElsewhereError from error


@contextmanager
def processes(device: torch.device) -> Iterator[World]:
    """Join the processes that ``torchrun`` started, for the time of the context; without it, be alone.

    CUDA devices talk by nccl, CPUs by gloo; of several CUDA devices each process of a machine takes its own.
    Processes that have joined already, here or by torch's own functions, stay as they are.

    Parameters
    ----------
    device : torch.device
        As `train.resolve_device` gives it.

    Raises
    ------
    InputError
        If this torch cannot talk between processes, or there are fewer CUDA devices than processes.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        yield World(torch.distributed.get_rank(), torch.distributed.get_world_size(), device)
        return
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
    from torch.distributed import PrefixStore  # type: ignore[attr-defined]
    from torch.distributed.rendezvous import rendezvous

    try:
        store, rank, size = next(rendezvous("env://"))
        # a key may be used once only: what an earlier joining has left in the store is not to be found
        torch.distributed.init_process_group(
            backend,
            store=PrefixStore(f"join_{next(_JOININGS)}", store),
            rank=rank,
            world_size=size,
            device_id=device if device.type == "cuda" else None,
        )
    except (ValueError, RuntimeError) as error:
        raise InputError(f"the processes do not find each other ({error})", remedy="Start them by torchrun.") from error
    try:
        yield World(rank, size, device)
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


def session_owners(
    sessions: Sequence[Session], config: WindowConfig, sessions_per_step: int, world: World
) -> list[int]:
    """Return for each session the rank of the process that will hold it, which its activity has no part in.

    Raises
    ------
    InputError
        As `owners`.
    """
    return owners([_outline(j, session, config, None) for j, session in enumerate(sessions)], sessions_per_step, world)


def prepare_shard(
    sessions: Sequence[Session],
    config: WindowConfig,
    *,
    sessions_per_step: int,
    world: World,
    device: torch.device,
    spill: Path | None = None,
) -> list[Windows]:
    """Prepare the sessions that this process holds; the others come as `shard` leaves them.

    Of other processes' sessions the activity is not looked at, and may be empty (`memory.emptied`).

    Raises
    ------
    InputError
        As `windows.prepare` for this process's sessions, and as `owners`; `EndedElsewhereError` if another process
        met such a fault.
    """
    if world.size == 1:
        return prepare(sessions, config, device=device, spill=spill)
    held = session_owners(sessions, config, sessions_per_step, world)
    own = [j for j, rank in enumerate(held) if rank == world.rank]
    with world.agreeing():
        found = prepare([sessions[j] for j in own], config, device=device, spill=spill)
    prepared = {j: replace(w, session=j) for j, w in zip(own, found, strict=True)}
    masks = [prepared[j].kept if j in prepared else np.zeros(s.n_neurons, bool) for j, s in enumerate(sessions)]
    whole = world.sum(torch.from_numpy(np.concatenate(masks)).int().to(device)).bool().cpu()
    kept = [part.numpy() for part in whole.split([s.n_neurons for s in sessions])]
    return [
        prepared[j] if j in prepared else _outline(j, session, config, device, kept=kept[j])
        for j, session in enumerate(sessions)
    ]


def _outline(
    index: int, session: Session, config: WindowConfig, device: torch.device | None, *, kept: ArrayLike | None = None
) -> Windows:
    """Return what can be said of a session without its activity, or else knowing which neurons are `kept`."""
    keep = np.ones(session.n_neurons, bool) if kept is None else np.asarray(kept, bool)
    split = split_samples(session.valid, config)
    targets = target_samples(split, session.segment, config.window)
    nothing = torch.zeros((), device=device)
    n, names = int(keep.sum()), session.behavior_names
    sizes = (n, n, len(names), len(names))
    return Windows(
        session=index,
        label=session.label,
        window=config.window,
        activity=nothing.expand(session.n_samples, n),
        behavior=nothing.expand(session.n_samples, len(names)),
        behavior_names=names,
        neurons=session.neurons.select(keep),
        kept=keep,
        reasons=np.full(len(keep), "", "<U1"),
        split=split,
        targets={part: torch.from_numpy(samples).to(device) for part, samples in targets.items()},
        normalization=Normalization(*(np.zeros(size, np.float32) for size in sizes)),
        notes=(),
    )


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
        windows,
        activity=nothing.expand(windows.activity.shape),
        behavior=nothing.expand(windows.behavior.shape),
        drive=nothing.expand(windows.drive.shape),
        deconvolution=None,
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


def clip_gradients(shared: Sequence[Tensor], own: Sequence[Tensor], limit: float, world: World) -> None:
    """Scale the gradients of a step down, in place, so that their norm over all parameters is at most `limit`.

    Parameters
    ----------
    shared : sequence of torch.Tensor
        Parameters whose gradients are the same in all processes.
    own : sequence of torch.Tensor
        Parameters that only this process has.
    limit : float
        The largest norm.
    world : World
        The processes; all scale by the same factor.
    """
    parts = [[p.grad for p in part if p.grad is not None] for part in (shared, own)]
    gradients = [*parts[0], *parts[1]]
    common, private = (torch.nn.utils.get_total_norm(part).to(gradients[0].device) ** 2 for part in parts)
    norm = (common + world.sum(private)).sqrt()
    for gradient in gradients:
        gradient.mul_(limit / norm.clamp(min=limit))
