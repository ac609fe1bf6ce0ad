"""The published arrays of Bugeon et al. 2022 (figshare 19448531), read and checked, before they become NWB.

SB025/2019-10-04/neuron.{ttype.txt, stackPosCorrected.npy, UniqueID.npy, depth.npy, plane.npy, gene_count.npy, ...}
SB025/2019-10-04/{Blank, Drifting Gratings, Natural Scenes}/01/frame.{neuralActivity, times, states}.npy
                                                              /running.{speed, times}.npy  /eye.{size, ...}.npy
                                                              /ori.{intervals, ...}.npy  /nat.{intervals, ...}.npy
states.names.txt  genes.names.txt  ttypes.names.txt           a line for each label, gene or type
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from .arrays import Folder
from .bugeon_session import STIMULI, Experiment, Population, PublishedSession

TTYPES = "neuron.ttype.txt"
#: What the labels of states mean, where states.names.txt is not there to say it.
STATES = ("Running", "Stationary Desynchronized", "Stationary Synchronized")
#: Series of an experiment: name -> file of the values, file of the times.
SERIES = {
    "running_speed": ("running.speed.npy", "running.times.npy"),
    "pupil_size": ("eye.size.npy", "eye.times.npy"),
    "eye_x": ("eye.xPos.npy", "eye.times.npy"),
    "eye_y": ("eye.yPos.npy", "eye.times.npy"),
}
#: Stimulus -> name of its table, what its files begin with, and its columns with what their files are called after it.
PRESENTATIONS: dict[str, tuple[str, str, Mapping[str, str]]] = {
    "Drifting Gratings": (
        "drifting_gratings_presentations",
        "ori",
        {
            "direction": "stimDirection",
            "size": "stimSize",
            "contrast": "contrast",
            "x_position": "stimPosition_Xvis",
            "y_position": "stimPosition_Yvis",
        },
    ),
    "Natural Scenes": ("natural_scenes_presentations", "nat", {"image": "img", "blank": "blank"}),
}
#: Further columns of the neurons: name -> file.
COLUMNS = {
    "depth": "neuron.depth.npy",
    "plane": "neuron.plane.npy",
    "rf_center_x": "neuron.rfCenter_Xvis.npy",
    "rf_center_y": "neuron.rfCenter_Yvis.npy",
}
#: Seconds at least between experiments that are put one after the other.
APART = 60.0


def session_folders(folder: Path) -> list[Path]:
    """Return the folders of sessions at or below `folder`: the archive's, a mouse's or a session's own.

    Raises
    ------
    InputError
        If there is none.
    """
    folder = folder.expanduser().resolve()
    found = [path.parent for depth in ("", "*/", "*/*/") for path in folder.glob(f"{depth}{TTYPES}")]
    if not found:
        raise InputError(
            f"there is no session here: no {TTYPES} in it, nor two folders down",
            where=str(folder),
            remedy="Name the unpacked archive, with folders such as SB025/2019-10-04",
        )
    return sorted(found)


def read_published(folder: Path) -> PublishedSession:
    """Read and check a session.

    Parameters
    ----------
    folder : Path
        The session's folder, named by its day, in that of its mouse.

    Raises
    ------
    InputError
        If a file is missing, damaged or does not fit the others; the message names it.
    """
    subject, day = _named(folder)
    files = Folder(folder.parent.parent)
    population = _population(folder, files)
    notes: list[str] = []
    experiments = _experiments(folder, files, len(population.cell_type), notes)
    states = _names(files, "states.names.txt") or STATES
    labels = {label for e in experiments if e.states is not None for label in e.states[np.isfinite(e.states)].tolist()}
    if strange := sorted(labels - set(range(len(states)))):
        notes.append(f"states {', '.join(f'{one:g}' for one in strange)} have no name: there are {', '.join(states)}")
    offsets = _offsets([experiment.span for experiment in experiments])
    if any(offsets):
        notes.append("every experiment has a clock of its own; they were put one after the other, in no known order")
    genes = _names(files, "genes.names.txt")
    counts = population.gene_count
    genes = genes if counts is not None and len(genes) == counts.shape[1] else ()
    return PublishedSession(subject, day, population, experiments, offsets, states, genes, files, notes)


def _named(folder: Path) -> tuple[str, date]:
    try:
        return folder.parent.name, date.fromisoformat(folder.name)
    except ValueError as error:
        raise InputError(
            "a session's folder is named by its day, as in SB025/2019-10-04",
            where=str(folder),
            remedy="Keep the archive's own folders",
        ) from error


def _names(files: Folder, name: str) -> tuple[str, ...]:
    path = files.root / name
    return tuple(files.lines(path)) if path.is_file() else ()


def _population(folder: Path, files: Folder) -> Population:
    types = files.lines(folder / TTYPES)
    n = len(types)
    if n == 0:
        raise InputError("there are no neurons in it", where=str(folder / TTYPES))
    numbers = files.vector_of(folder / "neuron.UniqueID.npy", n, "neurons")
    columns = {
        name: files.vector_of(folder / file, n, "neurons")
        for name, file in COLUMNS.items()
        if (folder / file).is_file()
    }
    path = folder / "neuron.stackPosCorrected.npy"
    where = files.array(path)
    if where.ndim != 2 or where.shape[0] != n or where.shape[1] not in (2, 3):
        raise InputError(f"positions of shape {where.shape} for {n} neurons", where=str(path))
    position = np.full((n, 3), np.nan)
    position[:, : where.shape[1]] = where
    if where.shape[1] == 2 and "depth" in columns:
        position[:, 2] = columns["depth"]
    counts = _rows(folder / "neuron.gene_count.npy", files, n)
    odds = _rows(folder / "neuron.prob_ttypes.npy", files, n)
    return Population(
        cell_type=types,
        unique_id=[f"{value:.15g}" if np.isfinite(value) else "" for value in numbers.tolist()],
        position=position,
        columns=columns,
        gene_count=counts,
        type_probability=None if odds is None else odds.max(axis=1).astype(np.float64),
    )


def _rows(path: Path, files: Folder, n: int) -> NDArray[Any] | None:
    """Return an array (n, ...) of two axes, None if there is no such file."""
    if not path.is_file():
        return None
    array = files.array(path)
    array = array.reshape(array.shape[0], -1) if array.ndim == 3 and 1 in array.shape[1:] else array
    if array.ndim != 2 or array.shape[0] != n or array.shape[1] == 0:
        raise InputError(f"an array of shape {array.shape} for {n} neurons", where=str(path))
    return array


def _experiments(folder: Path, files: Folder, n: int, notes: list[str]) -> list[Experiment]:
    """Return the experiments of a session; those of other neurons are left out, with a note."""
    found, others = [], []
    for path in sorted(one for one in folder.iterdir() if one.is_dir()):
        if path.name not in STIMULI:
            notes.append(f"folder {path.name} is none of {', '.join(STIMULI)}, and was left out")
            continue
        for inside in sorted(one for one in path.iterdir() if one.is_dir() and re.fullmatch(r"\d+", one.name)):
            activity = files.array(inside / "frame.neuralActivity.npy")
            if activity.ndim == 2 and activity.shape[1] != n:
                others.append(f"{path.name}/{inside.name} has {activity.shape[1]} neurons, the session {n}")
                continue
            found.append(_experiment(inside, files, activity))
    notes += [f"left out: {text}" for text in others]
    if not found:
        reason = "; ".join(others) or f"it has no {', '.join(f'{name}/01' for name in STIMULI)}"
        raise InputError(f"there is no experiment in this session: {reason}", where=str(folder))
    return found


def _experiment(folder: Path, files: Folder, activity: NDArray[Any]) -> Experiment:
    path = folder / "frame.neuralActivity.npy"
    if activity.ndim != 2 or activity.shape[0] < 2:
        raise InputError(f"activity of shape {activity.shape}, expected frames x neurons", where=str(path))
    if np.isinf(activity).any():
        raise InputError("a value is infinite", where=str(path), remedy="Download the file again")
    times = files.times(folder / "frame.times.npy")
    if len(times) != len(activity):
        raise InputError(
            f"{len(times)} times for the {len(activity)} frames of {path.name}", where=str(folder / "frame.times.npy")
        )
    states = None
    if (folder / "frame.states.npy").is_file():
        states = files.vector_of(folder / "frame.states.npy", len(times), "frames").astype(np.float64)
    series = {}
    for name, (values, clock) in SERIES.items():
        if not (folder / values).is_file():
            continue
        at = files.times(folder / clock)
        series[name] = at, files.vector_of(folder / values, len(at), f"times of {clock}").astype(np.float64)
    return Experiment(
        folder.parent.name, int(folder.name), times, activity, states, series, _presentations(folder, files)
    )


def _presentations(folder: Path, files: Folder) -> tuple[NDArray[np.float64], dict[str, NDArray[Any]]] | None:
    """Return when stimuli were there and what they were; None of a blank screen, and where that was not published."""
    if folder.parent.name not in PRESENTATIONS:
        return None
    _, prefix, columns = PRESENTATIONS[folder.parent.name]
    path = folder / f"{prefix}.intervals.npy"
    if not path.is_file():
        return None
    rows = files.array(path).astype(np.float64)
    if rows.ndim != 2 or rows.shape[1] != 2:
        raise InputError(f"an array of shape {rows.shape}, expected start and stop of presentations", where=str(path))
    if not (rows[:, 0] <= rows[:, 1]).all():
        at = int(np.argmin(rows[:, 0] <= rows[:, 1]))
        raise InputError(f"presentation {at} lasts from {rows[at, 0]} to {rows[at, 1]} s", where=str(path))
    told = {
        name: files.vector_of(file, len(rows), "presentations")
        for name, ending in columns.items()
        if (file := folder / f"{prefix}.{ending}.npy").is_file()
    }
    order = np.argsort(rows[:, 0], kind="stable")
    return rows[order], {name: values[order] for name, values in told.items()}


def _offsets(spans: list[tuple[float, float]]) -> list[float]:
    """Return what to add to each experiment's clock, in whole seconds; nothing where they have one clock already."""
    ordered = sorted(spans)
    apart = all(before[1] < after[0] for before, after in pairwise(ordered))
    if apart and ordered[0][0] >= 0:
        return [0.0] * len(spans)
    offsets, free = [], 0.0
    for low, high in spans:
        offsets.append(float(np.ceil(free - low)))
        free = high + offsets[-1] + APART
    return offsets
