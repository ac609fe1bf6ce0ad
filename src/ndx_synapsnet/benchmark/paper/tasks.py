"""What models are compared on: tasks, each with sessions that are simulated or read."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ...learn.preparation import prepare
from ...learn.windows import WindowConfig
from ...nwb.prefetch import read_recording
from ...nwb.readers import ReadConfig
from ...session import Session, from_mapping
from ...simulate import PaperNetworkConfig, simulate_paper_network

#: Of a recording that is not cut by epochs.
WHOLE = "whole recording"


@dataclass(frozen=True)
class Simulated:
    """A session of the paper's network, with its true connectivity."""

    network: PaperNetworkConfig

    @property
    def name(self) -> str:
        """For people."""
        return f"simulation {self.network.seed}"

    def load(self) -> tuple[Session, NDArray[np.float32] | None]:
        """Return the session and its true connectivity, (N, N) [target, source]."""
        simulation = simulate_paper_network(self.network)
        return simulation.session, simulation.truth.weights


@dataclass(frozen=True)
class Recorded:
    """A recording; of several files, where they are planes of one."""

    name: str
    """For people."""
    uris: tuple[str, ...]
    """Where its files are."""
    reading: ReadConfig
    """What is read of them."""

    def load(self) -> tuple[Session, NDArray[np.float32] | None]:
        """Return the session; what drives whom in it is not known."""
        return read_recording(self.uris, self.reading), None


Source = Simulated | Recorded


@dataclass(frozen=True)
class Task:
    """What animals did, and the sessions in which they did."""

    name: str
    sources: tuple[Source, ...]


@dataclass(frozen=True)
class Facts:
    """What is known of a task's session before any model is fitted to it."""

    task: str
    source: Source
    modality: str
    """``ecephys``, ``ophys``, or an empty text if the session could not be read."""
    kind: str
    """The activity's kind, such as ``spike_counts``."""
    neurons: int
    """Those that can be modelled."""
    samples: int
    digest: str
    """SHA-256 of all that models are shown of it."""
    failed: str | None = None
    """Why it cannot be modelled."""


def simulated_tasks(
    *, quick: bool, seed: int, networks: int | None = None, neurons: int | None = None, samples: int | None = None
) -> list[Task]:
    """Return the task that stands in for recordings: the paper's networks, each drawn anew.

    Parameters
    ----------
    quick : bool
        Small networks and short sessions.
    seed : int
        Another one gives other networks. No network is the one that our recipes were tuned on (number 0).
    networks, neurons, samples : int, optional
        How many networks, recorded neurons (a third of all) and samples, if not 3 of 200 and 20,000, or with `quick` 4
        of 40 and 4,000.

    Raises
    ------
    InputError
        If there can be no such network.
    """
    usual = (4, 40, 4_000) if quick else (3, 200, 20_000)
    count, recorded, length = (
        default if asked is None else asked for asked, default in zip((networks, neurons, samples), usual, strict=True)
    )
    sizes = {"n_neurons": 3 * recorded, "n_recorded": recorded, "n_samples": length}
    made = [
        from_mapping(PaperNetworkConfig, {**sizes, "seed": 1_000 * seed + k}, where="simulated network")
        for k in range(1, count + 1)
    ]
    return [Task("simulated", tuple(Simulated(network) for network in made))]


def recorded_tasks(
    recordings: Sequence[tuple[str, tuple[str, ...]]], reading: ReadConfig, epochs: Sequence[str] = ()
) -> list[Task]:
    """Return a task for each set of epochs, of all recordings.

    Parameters
    ----------
    recordings : sequence of (str, tuple of str)
        The name and the addresses of each.
    reading : ReadConfig
        What is read of each, but for the epochs.
    epochs : sequence of str
        As `parse_task` takes them; none: whole recordings, or what `reading` says.

    Raises
    ------
    InputError
        If one is not understood, or two have one name.
    """
    chosen = [parse_task(text) for text in epochs] or [(WHOLE, reading.epoch, reading.epoch_query)]
    names = [name for name, _, _ in chosen]
    if len(set(names)) < len(names):
        raise InputError(f"two tasks have one name: {', '.join(names)}", remedy="Give each --task another name.")
    return [
        Task(name, tuple(Recorded(label, uris, replace(reading, epoch=table, epoch_query=query))
                         for label, uris in recordings))
        for name, table, query in chosen
    ]  # fmt: skip


def gathered_tasks(sessions: Sequence[tuple[str, Source]]) -> list[Task]:
    """Return the tasks of sessions that come with the name of theirs, in order of appearance."""
    names = dict.fromkeys(name for name, _ in sessions)
    return [Task(name, tuple(source for task, source in sessions if task == name)) for name in names]


def parse_task(text: str) -> tuple[str, str | None, str | None]:
    """Return name, intervals table and query of ``NAME=TABLE``, ``NAME=TABLE where QUERY`` or ``NAME=where QUERY``.

    A bare ``NAME`` stands for whole recordings.

    Raises
    ------
    InputError
        If it is none of these.
    """
    name, given, epochs = (part.strip() for part in text.partition("="))
    table, asked, query = (part.strip() for part in f" {epochs} ".partition(" where "))
    if not name or (given and not (table or query)) or (asked and not query):
        raise InputError(
            f"a task is not understood: {text!r}",
            remedy="Write NAME=TABLE, NAME=TABLE where QUERY, or NAME=where QUERY, such as "
            "'drifting gratings=drifting_gratings_presentations where contrast > 0.5'.",
        )
    return name, table or None, query or None


def examine(task: str, source: Source, windows: WindowConfig) -> Facts:
    """Load a session and say what it holds, and whether it can be cut into windows; bad input is told in `failed`."""
    try:
        session, _ = source.load()
    except InputError as error:
        return Facts(task, source, "", "", 0, 0, "", failed=str(error))
    failed, neurons = None, 0
    try:
        neurons = prepare([session], windows)[0].n_neurons
    except InputError as error:
        failed = str(error)
    return Facts(
        task, source, session.modality, session.activity_kind, neurons, session.n_samples, digest(session), failed
    )


def digest(session: Session) -> str:
    """Return the SHA-256 of all of a session that a model can see, wherever the session comes from."""
    neurons = session.neurons
    found = hashlib.sha256(repr((session.activity_kind, session.modality, session.behavior_names)).encode())
    columns = [session.activity, session.behavior, session.valid, session.segment, neurons.position, neurons.identity]
    for values in columns:
        found.update(b"none" if values is None else repr((values.dtype.str, values.shape)).encode())
        found.update(b"" if values is None else np.ascontiguousarray(values).tobytes())
    return found.hexdigest()
