"""The paper's recordings by name: which archive, which of its files, and how each is read for a task.

A name is ``ARCHIVE/TASK``, such as ``allen-neuropixels/natural-scenes``, with ``=FOLDER`` behind it for files on this
machine. Nothing here lists files: what there is, is looked up when a name is resolved.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..errors import InputError
from .readers.catalog import walk
from .readers.config import ReadConfig
from .readers.epochs import interval_tables
from .readers.neurons.selection import chosen_units
from .readers.neurons.units import UNITS
from .readers.presets import PRESETS
from .readers.provenance import with_settings
from .readers.table import matching
from .sources import OpenedFile, expand, open_source
from .sources.remote.options import current_options, use_options


@dataclass(frozen=True)
class Task:
    """What an archive has for one of the paper's tasks."""

    settings: Mapping[str, Any]
    """Fields of `ReadConfig` that choose the task's stretches of a recording."""
    paper: int
    """How many sessions the paper has for it."""
    dandiset: str | None = None
    """Where they are; None: in no archive of NWB files, so a folder has to be named."""


@dataclass(frozen=True)
class Archive:
    """Recordings that are read alike."""

    title: str
    """Whose they are."""
    pattern: str
    """Glob of the session files below the dandiset."""
    settings: Mapping[str, Any]
    """Fields of `ReadConfig` for every task."""
    tasks: Mapping[str, Task]
    """Name -> task."""
    positioned: float = 0.0
    """A recording is left out if no larger part of its neurons has a position; of 0, if none has."""
    remedy: str = "Download them, and name their folder: NAME=FOLDER"
    """Where the files are to be had, if they are in no archive of NWB files."""


def _allen(dandiset: str, presentations: str, paper: int) -> Task:
    return Task({"epoch": f"{presentations}_presentations"}, paper, f"DANDI:{dandiset}")


def _bugeon(task: str) -> Task:
    # a second recording of a stimulus is there now and then; NeuPRINT's authors, whom the paper follows, read the first
    return Task({"epoch_query": f"task == '{task}' and number == 1"}, 17)


#: Name -> archive. Sessions and preprocessing are those of the paper's section 3.1.
ARCHIVES: dict[str, Archive] = {
    # Siegle et al. 2021: "brain observatory" sessions are dandiset 000021, "functional connectivity" ones 000022
    "allen-neuropixels": Archive(
        title="Allen Institute, Visual Coding - Neuropixels",
        # session files end in the session's number, those of a probe's LFP in _ecephys
        pattern="sub-*/sub-*_ses-*[0-9].nwb",
        settings={**PRESETS["allen-neuropixels"], "bin_width": 1 / 30, "behavior": ("running_speed",)},
        tasks={
            "natural-scenes": _allen("000021", "natural_scenes", 22),
            "drifting-gratings": _allen("000021", "drifting_gratings", 22),
            "spontaneous": _allen("000022", "spontaneous", 24),
        },
        positioned=0.5,
    ),
    # Bugeon et al. 2022: arrays on figshare (19448531), made NWB by `convert.bugeon`
    "bugeon": Archive(
        title="Bugeon et al. 2022, two-photon imaging of V1",
        pattern="sub-*_ses-*.nwb",
        settings={
            "adapter": "calcium",
            "series": ("NeuralActivity",),
            "behavior": ("running_speed", "pupil_size"),
            "identity_column": "unique_id",
            "epoch": "experiments",
        },
        tasks={name: _bugeon(name) for name in ("natural-scenes", "drifting-gratings", "spontaneous")},
        remedy="Convert the published arrays (ndx-synapsnet convert bugeon ARRAYS -o FOLDER), and name the folder: "
        "bugeon/TASK=FOLDER",
    ),
}


@dataclass(frozen=True)
class Recording:
    """One recording of an archive, and how it is read."""

    uri: str
    """Its address; see `sources.open_source`."""
    settings: Mapping[str, Any] = field(hash=False)
    """Fields of `ReadConfig`: ``read_session(recording.uri, **recording.settings)``."""
    archive: str
    """Of `ARCHIVES`."""
    task: str
    """Of the archive's tasks."""


def is_named(text: str) -> bool:
    """Return whether `text` names an archive's recordings rather than a file; what exists under this name is a path."""
    return text.partition("=")[0].partition("/")[0] in ARCHIVES and not os.path.lexists(text)


def settings_of(name: str, task: str | None = None) -> dict[str, dict[str, Any]]:
    """Return how recordings are read: ``ARCHIVE/TASK`` -> fields of `ReadConfig`, for each task that a name means.

    Nothing is looked up.

    Parameters
    ----------
    name, task
        As for `resolve`.

    Raises
    ------
    InputError
        If there is no such archive or task.
    """
    archive, tasks = _meant(name.partition("=")[0], task)
    recipe = ARCHIVES[archive]
    return {f"{archive}/{one}": {**recipe.settings, **recipe.tasks[one].settings} for one in tasks}


def resolve(
    name: str,
    task: str | None = None,
    *,
    folder: str | os.PathLike[str] | None = None,
    instance: str | None = None,
    check: bool = True,
    say: Callable[[str], None] | None = None,
) -> list[Recording]:
    """Return the recordings that an archive has for a task.

    Parameters
    ----------
    name : str
        ``ARCHIVE`` or ``ARCHIVE/TASK``, of `ARCHIVES`; ``=FOLDER`` behind it is as `folder`.
    task : str, optional
        The task, where `name` does not say it; without either, all tasks in turn.
    folder : path, optional
        Where files of the archive are on this machine, at any depth: downloaded, or converted.
    instance : str, optional
        The DANDI archive, if not that of the options in force (`sources.remote.options.use_options`).
    check : bool
        Whether to open each file, of which only the tables of neurons and intervals are read, and leave out those
        without the task, or whose neurons have no position where the paper asks for one.
    say : callable, optional
        Told what is left out and why, and how many recordings the paper has if there are not as many.

    Returns
    -------
    list of Recording
        Task by task, each sorted by path; addresses of a dandiset say which version they are of.

    Raises
    ------
    InputError
        If there is no such archive or task, no file fits, or an archive or a file cannot be read.
    """
    name, _, behind = name.partition("=")
    folder = folder or behind or None
    archive, tasks = _meant(name, task)
    say = say or (lambda _: None)
    options = current_options()
    with use_options(options if instance is None else replace(options, instance=instance)):
        found = [one for each in tasks for one in _of_task(archive, each, folder, check, say)]
    return found


def named_recordings(name: str, **settings: Any) -> list[tuple[str, ReadConfig]]:
    """Return the addresses of an archive's recordings, each with how it is read; see `resolve`.

    Parameters
    ----------
    name : str
        As for `resolve`.
    **settings
        Keywords of `resolve`.

    Examples
    --------
    >>> for uri, config in named_recordings("allen-neuropixels/spontaneous"):  # doctest: +SKIP
    ...     session = read_session(uri, config)
    """
    return [(one.uri, with_settings(None, one.settings)) for one in resolve(name, **settings)]


def _meant(name: str, task: str | None) -> tuple[str, list[str]]:
    """Return the archive and the tasks that a name means."""
    archive, _, within = name.partition("/")
    if archive not in ARCHIVES:
        raise InputError(f"no archive is called {archive!r}", remedy=f"Known: {', '.join(ARCHIVES)}.")
    known = list(ARCHIVES[archive].tasks)
    if within and task is not None and within != task:
        raise InputError(f"the name says {within!r}, and the task is {task!r}", where=name, remedy="Give one of them.")
    wanted = within or task
    if wanted is None:
        return archive, known
    if wanted not in known:
        names = ", ".join(f"{archive}/{one}" for one in known)
        raise InputError(f"{archive} has no task {wanted!r}", remedy=f"Known: {names}.")
    return archive, [wanted]


def _of_task(
    archive: str, task: str, folder: str | os.PathLike[str] | None, check: bool, say: Callable[[str], None]
) -> list[Recording]:
    recipe = ARCHIVES[archive]
    chosen, name = recipe.tasks[task], f"{archive}/{task}"
    if folder is not None:
        # a name with a bracket in it is no pattern
        fixed = "".join(f"[{letter}]" if letter in "*?[" else letter for letter in os.fspath(folder))
        uris = expand(os.path.join(fixed, "**", recipe.pattern.rsplit("/", 1)[-1]))
    elif chosen.dandiset is not None:
        uris = expand(f"{chosen.dandiset}/{recipe.pattern}")
    else:
        raise InputError("these recordings are in no archive of NWB files", where=name, remedy=recipe.remedy)
    settings = settings_of(name)[name]
    kept = []
    for uri in uris:
        reason = _unsuited(uri, with_settings(None, settings), recipe.positioned) if check else None
        if reason is not None:
            say(f"{uri} left out: {reason}")
            continue
        kept.append(Recording(uri, settings, archive, task))
    if not kept:
        raise InputError(
            f"none of {len(uris)} files is a recording of this task",
            where=name,
            remedy="Name another folder or task. In Python, check=False takes all files unseen.",
        )
    if len(kept) != chosen.paper:
        found = "1 recording" if len(kept) == 1 else f"{len(kept)} recordings"
        say(f"{name}: {found}, where the paper has {chosen.paper}")
    return kept


def _unsuited(uri: str, config: ReadConfig, positioned: float) -> str | None:
    """Return why a file is no recording of the task, None if it is one; what cannot be read is an error."""
    with open_source(uri) as opened:
        reason = _without_task(opened, config)
        if reason is None and config.adapter == "spikes":
            reason = _without_positions(opened, config, positioned)
    return reason


def _without_task(opened: OpenedFile, config: ReadConfig) -> str | None:
    tables = [entry for entry in interval_tables(walk(opened.nwbfile)) if entry.name == config.epoch]
    if not tables:
        return f"it has no {config.epoch}"
    query = config.epoch_query
    if query and not any(matching(e.object, query, where=e.path, setting="epoch query").any() for e in tables):
        return f"no row of {config.epoch} fits {query}"
    return None


def _without_positions(opened: OpenedFile, config: ReadConfig, positioned: float) -> str | None:
    try:
        neurons, _ = chosen_units(opened.nwbfile, config)
    except InputError as error:
        if error.where != UNITS:  # the line or the file, not what the filter leaves
            raise
        return error.what
    n = len(neurons)
    known = 0 if neurons.position is None else int(np.isfinite(neurons.position).all(axis=1).sum())
    return None if known > positioned * n else f"{known} of its {n} units have a position"
