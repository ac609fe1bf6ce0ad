"""A session of Bugeon et al. 2022 in memory, between the arrays that were published and NWB.

Letters: N neurons, F frames, M other samples, P presentations.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrays import Folder

#: Folder of a stimulus -> task, as `archives.ARCHIVES` names it.
STIMULI = {"Blank": "spontaneous", "Drifting Gratings": "drifting-gratings", "Natural Scenes": "natural-scenes"}


@dataclass(frozen=True)
class Population:
    """The neurons of a session."""

    cell_type: list[str]
    """N transcriptomic types; ``EC`` excitatory, ``IN`` an interneuron of unknown type."""
    unique_id: list[str]
    """N numbers that recognise a neuron in other sessions, empty where it has none."""
    position: NDArray[np.float64]
    """(N, 3); z is the depth where the published position is flat, NaN without it."""
    columns: dict[str, NDArray[Any]]
    """Further columns (N,)."""
    gene_count: NDArray[Any] | None
    """(N, genes)."""
    type_probability: NDArray[np.float64] | None
    """(N,) of the likeliest type."""


@dataclass(frozen=True)
class Experiment:
    """A stretch of a session with one stimulus, on its own clock."""

    stimulus: str
    """The folder's name."""
    number: int
    """Of the folder inside it."""
    times: NDArray[np.float64]
    """(F,) s."""
    activity: NDArray[Any]
    """(F, N)."""
    states: NDArray[np.float64] | None
    """(F,) labels, NaN where there is none."""
    series: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]
    """Name of a behaviour -> times and values (M,)."""
    presentations: tuple[NDArray[np.float64], dict[str, NDArray[Any]]] | None
    """Start and stop (P, 2), and columns (P,)."""

    @property
    def task(self) -> str:
        """The paper's task."""
        return STIMULI[self.stimulus]

    @property
    def stop(self) -> float:
        """Where the last frame ends, by its own clock."""
        return float(self.times[-1] + np.median(np.diff(self.times)))

    @property
    def span(self) -> tuple[float, float]:
        """The first and the last moment of anything in it, by its own clock."""
        held = [self.times, *(times for times, _ in self.series.values())]
        if self.presentations is not None and len(self.presentations[0]):
            held.append(self.presentations[0].ravel())
        return float(min(times.min() for times in held)), float(max(self.stop, *(times.max() for times in held)))


@dataclass(frozen=True)
class PublishedSession:
    """A session as it was published."""

    subject: str
    day: date
    population: Population
    experiments: list[Experiment]
    offsets: list[float]
    """Seconds to add to each experiment's clock."""
    states: tuple[str, ...]
    """What the labels of states mean, from 0 up."""
    genes: tuple[str, ...]
    """Names of the genes; empty if they are not known."""
    files: Folder
    """What was read."""
    notes: list[str] = field(default_factory=list)
    """What was left out, and what was assumed."""
