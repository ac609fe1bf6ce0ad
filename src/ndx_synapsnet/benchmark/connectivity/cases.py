"""What estimators are given: a recording, or part of it, beside the wiring that it should show.

Letters: N neurons of the recording, M of the network, T samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ...session import Session, from_mapping
from ...simulate import SIMULATORS, NetworkConfig, Simulation

#: Shares of a network's neurons that are recorded, of 3 times as many as --neurons.
FRACTIONS = (1 / 12, 1 / 6, 1 / 3, 2 / 3, 1.0)
#: Lengths of recordings, in --samples.
LENGTHS = (1 / 8, 1 / 4, 1 / 2, 1, 2, 4)
#: What is revealed beside the recorded neurons: rungs of a ladder.
RUNGS = {
    "recorded neurons": {"neurons": False, "inputs": False},
    "with hidden inputs": {"neurons": False, "inputs": True},
    "with all neurons": {"neurons": True, "inputs": False},
    "with both": {"neurons": True, "inputs": True},
}


@dataclass(frozen=True, eq=False)
class Material:
    """A recording beside its wiring."""

    session: Session
    truth: NDArray[np.float64]
    """(N, N) [target, source]."""
    scored: NDArray[np.bool_]
    """(N,) neurons among which an estimate is scored."""


class Case(Protocol):
    """One recording and what is asked of it."""

    @property
    def kind(self) -> str:
        """What is averaged together: the kind of network, or a recording's name."""

    @property
    def unit(self) -> str:
        """What is averaged over, such as ``network 3``."""

    @property
    def value(self) -> float | None:
        """Place on the axis of a curve."""

    @property
    def variant(self) -> str:
        """What distinguishes it from others of its unit, if no number does; an empty text if nothing."""

    @property
    def counts(self) -> bool:
        """Whether the activity is spike counts."""

    def identity(self) -> dict[str, Any]:
        """Return all that decides the material, JSON-able."""

    def load(self) -> Material:
        """Return the material."""


@dataclass(frozen=True)
class SimulatedCase:
    """A simulated network, recorded in part."""

    kind: str
    """Of `simulate.SIMULATORS`."""
    config: NetworkConfig
    """The network's."""
    samples: int | None = None
    """Only the first so many."""
    neurons: int | None = None
    """Only so many of the recorded neurons, drawn at random, fewer among more."""
    rung: str | None = None
    """Of `RUNGS`."""
    value: float | None = None
    """See `Case`."""

    @property
    def unit(self) -> str:
        """See `Case`."""
        return f"network {self.config.seed}"

    @property
    def variant(self) -> str:
        """See `Case`."""
        return self.rung or ""

    @property
    def counts(self) -> bool:
        """See `Case`."""
        return self.kind != "calcium"

    def identity(self) -> dict[str, Any]:
        """See `Case`."""
        return {"kind": self.kind, "config": asdict(self.config), "samples": self.samples, "neurons": self.neurons,
                "rung": self.rung}  # fmt: skip

    def load(self) -> Material:
        """See `Case`."""
        simulation = _simulated(self.kind, self.config, self.rung is not None)
        recorded = simulation.recorded
        if self.rung is not None:
            simulation = simulation.revealed(**RUNGS[self.rung])
        session, truth = simulation.session, simulation.truth.weights.astype(np.float64)
        scored = np.isin(simulation.recorded, recorded)
        if self.samples is not None:
            session = first_samples(session, self.samples)
        if self.neurons is not None:
            order = np.random.default_rng(self.config.seed).permutation(session.n_neurons)
            chosen = np.sort(order[: self.neurons])
            session, truth, scored = session.select(chosen), truth[np.ix_(chosen, chosen)], scored[chosen]
        return Material(session, truth, scored)


@dataclass(frozen=True)
class Sizes:
    """How many networks, and how large."""

    networks: int = 10
    neurons: int = 100
    """Recorded; a third of all."""
    samples: int = 20_000
    seed: int = 0
    """Of the first network; the next have the next."""

    def __post_init__(self) -> None:
        for name, least in (("networks", 1), ("neurons", 2), ("samples", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least {least}")


def simulated_cases(part: str, kinds: Sequence[str], sizes: Sizes) -> list[SimulatedCase]:
    """Return the cases of ``recovery``, ``length``, ``fraction`` or ``ladder``, those of a network side by side.

    Raises
    ------
    InputError
        If a kind is unknown, or there can be no such network.
    """
    if unknown := [kind for kind in kinds if kind not in SIMULATORS]:
        raise InputError(
            f"there are no networks of kind {', '.join(map(repr, unknown))}", remedy=f"Kinds: {', '.join(SIMULATORS)}."
        )
    cases = []
    for seed in range(sizes.seed, sizes.seed + sizes.networks):
        for kind in kinds:
            cases += _of_network(part, kind, seed, sizes)
    return cases


def _of_network(part: str, kind: str, seed: int, sizes: Sizes) -> list[SimulatedCase]:
    total, longest = 3 * sizes.neurons, sizes.samples
    if part == "length":
        longest = round(max(LENGTHS) * sizes.samples)
    settings = {"n_neurons": total, "n_recorded": total if part == "fraction" else sizes.neurons,
                "n_samples": longest, "seed": seed}  # fmt: skip
    config = from_mapping(SIMULATORS[kind].config, settings, where=f"{kind} network")
    case = SimulatedCase(kind, config)
    if part == "length":
        lengths = [round(share * sizes.samples) for share in LENGTHS]
        return [replace(case, samples=length, value=float(length)) for length in lengths]
    if part == "fraction":
        return [replace(case, neurons=max(2, round(share * total)), value=share) for share in FRACTIONS]
    return [replace(case, rung=rung) for rung in RUNGS] if part == "ladder" else [case]


@lru_cache(maxsize=1)
def _simulated(kind: str, config: NetworkConfig, keep_hidden: bool) -> Simulation:
    """Simulate; cases that follow each other share it."""
    return SIMULATORS[kind].simulate(config, keep_hidden=keep_hidden)


def first_samples(session: Session, samples: int) -> Session:
    """Return the first `samples` of a session."""
    part = slice(samples)
    return replace(
        session,
        activity=session.activity[:, part],
        times=session.times[part],
        segment=session.segment[part],
        valid=session.valid[part],
        behavior=session.behavior[:, part],
    )
