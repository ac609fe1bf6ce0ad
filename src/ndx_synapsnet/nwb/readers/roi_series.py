"""ROI series: telling their kinds apart, choosing among them, and reading one whichever way round it is stored."""

from __future__ import annotations

import itertools
import re
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pynwb.ophys import DfOverF, Fluorescence, RoiResponseSeries

from ...errors import InputError
from ...session import ActivityKind
from ..sources.bulk import pieces, reach, runs, values
from .catalog import Entry, of_type, the_one
from .config import ReadConfig
from .scale import scale_of

#: Kinds in the order in which the reader prefers them.
PREFERENCE: tuple[ActivityKind, ...] = ("dff", "fluorescence", "events", "other")
KIND_NAMES: dict[str, str] = {
    "dff": "dF/F", "fluorescence": "fluorescence", "events": "deconvolved events", "other": "activity of unknown kind",
    "neuropil": "neuropil", "spike_counts": "spike counts",
}  # fmt: skip
_WORDS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("neuropil", re.compile(r"^(?!.*(correct|subtract|remov)).*(neuropil|fneu|background)", re.I)),
    ("events", re.compile(r"deconv|event|spk|spike|inferred|oasis|cascade", re.I)),
    ("dff", re.compile(r"d[ _]?f[ _/]*(over[ _]*)?f|delta[ _]?f|Δf", re.I)),
    ("fluorescence", re.compile(r"fluor|correct|demix|^raw|[^a-z]raw|^f$", re.I)),
)


def roi_series(entries: list[Entry]) -> list[Entry]:
    """Return all ROI series of a file."""
    return of_type(entries, RoiResponseSeries)


def trace_kind(entry: Entry) -> Literal["neuropil"] | ActivityKind:
    """Return what a ROI series holds, judged by its name, else its container's name, else the container's type."""
    for text in (entry.name, entry.container):
        for kind, pattern in _WORDS:
            if pattern.search(text):
                return kind  # type: ignore[return-value]
    parent = entry.object.parent
    if isinstance(parent, DfOverF):
        return "dff"
    return "fluorescence" if isinstance(parent, Fluorescence) else "other"


def activity_kind(entry: Entry) -> ActivityKind:
    """Return the kind of a series as `Session` names it."""
    kind = trace_kind(entry)
    return "fluorescence" if kind == "neuropil" else kind


def chosen_series(entries: list[Entry], config: ReadConfig) -> tuple[list[Entry], list[str]]:
    """Return the ROI series to read, one a plane, and notes on the choice (see `calcium`).

    Raises
    ------
    InputError
        If there is none, a name fits none or several, or several series could be meant.
    """
    found = roi_series(entries)
    if not found:
        raise InputError("the file has no ROI series", remedy="See what it has with: ndx-synapsnet inspect")
    if config.series:
        chosen = [the_one(found, name, what="ROI series", describe=_described) for name in config.series]
        kinds = {trace_kind(entry) for entry in chosen}
        if len(kinds) > 1 or any(_same_rois(a, b) for a, b in itertools.combinations(chosen, 2)):
            raise InputError(
                f"these series are not planes of one population: {', '.join(map(_described, chosen))}",
                remedy="Name series of one kind, each over ROIs of its own",
            )
        return chosen, [f"activity is {KIND_NAMES[kinds.pop()]} from {_paths(chosen)}, as asked"]
    kinds_here = [kind for kind in PREFERENCE if any(trace_kind(entry) == kind for entry in found)]
    if not kinds_here:
        raise InputError(
            f"the only ROI series are neuropil: {_paths(found)}", remedy="Name one to read it all the same"
        )
    kind = kinds_here[0]
    candidates = [entry for entry in found if trace_kind(entry) == kind]
    chosen = _one_per_plane(candidates)
    note = f"activity is {KIND_NAMES[kind]} from {_paths(chosen)}"
    others = [entry for entry in found if entry not in chosen]
    return chosen, [note + (f"; not read: {_paths(others)}" if others else "")]


def _same_rois(first: Entry, second: Entry) -> bool:
    """Return whether two series share a ROI: they are then two readings of the same cells, not two planes."""
    ours, theirs = first.object.rois, second.object.rois
    return ours.table is theirs.table and (ours is theirs or len(np.intersect1d(ours.data[:], theirs.data[:])) > 0)


def _one_per_plane(candidates: list[Entry]) -> list[Entry]:
    planes: list[list[Entry]] = []
    for entry in candidates:
        for alternatives in planes:
            if any(_same_rois(entry, other) for other in alternatives):
                alternatives.append(entry)
                break
        else:
            planes.append([entry])
    chosen = []
    for alternatives in planes:
        ranks = [_rank(entry) for entry in alternatives]
        if ranks.count(min(ranks)) > 1:
            raise _ambiguous(alternatives)
        chosen.append(alternatives[ranks.index(min(ranks))])
    tables = {id(entry.object.rois.table): entry.object.rois.table for entry in chosen}
    imaged = [id(plane) for t in tables.values() if (plane := getattr(t, "imaging_plane", None)) is not None]
    if len(set(imaged)) < len(imaged):  # two segmentations of one plane hold the same cells twice
        raise _ambiguous(chosen)
    return chosen


def _ambiguous(alternatives: list[Entry]) -> InputError:
    return InputError(
        f"several ROI series could be meant: {', '.join(map(_described, alternatives))}",
        remedy="Name the one to read by its path",
    )


def _rank(entry: Entry) -> int:
    """Return a smaller number for a series that is better read."""
    name = entry.name.lower()
    if "correct" in name or "subtract" in name:
        return 0
    if name.startswith(("roiresponseseries", "traces")) or name in ("dfoverf", "df_over_f", "dff", "fluorescence"):
        return 1
    return 3 if "raw" in name else 2


def _described(entry: Entry) -> str:
    return f"{entry.path} ({KIND_NAMES[trace_kind(entry)]})"


def _paths(entries: list[Entry]) -> str:
    return ", ".join(entry.path for entry in entries)


def dimensions(entry: Entry) -> tuple[int, int, bool]:
    """Return a series' number of frames, its number of ROIs, and whether it is stored ROI x time.

    NWB wants time x ROI. It is the other way round if the ROIs fit only so; with as many frames as ROIs both ways fit,
    and the standard's is taken.

    Raises
    ------
    InputError
        If neither way fits.
    """
    series = entry.object
    shape, n_rois = np.shape(series.data), len(series.rois.data)
    if len(shape) == 1 and n_rois == 1:
        return shape[0], 1, False
    if len(shape) == 2 and min(shape) > 0 and n_rois in shape:
        by_roi = shape[1] != n_rois
        return shape[1 if by_roi else 0], n_rois, by_roi
    raise InputError(f"data of shape {shape} do not fit {n_rois} ROIs", where=entry.path, remedy="Correct the file")


def read_values(entry: Entry, columns: NDArray[np.int64], frames: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the values (len(columns), len(frames)) of a series in its unit, read in pieces to bound memory.

    Only the chunks that hold some of the values are read.

    Parameters
    ----------
    entry : Entry
        The series.
    columns : array
        Places of the ROIs wanted, in the series, in any order.
    frames : array
        Places of the frames wanted, increasing.
    """
    by_roi = dimensions(entry)[2]
    data: Any = entry.object.data
    if len(np.shape(data)) == 1:
        data = values(data).reshape(-1, 1)
    factor, offset = scale_of(entry.object)
    result = np.empty((len(columns), len(frames)), dtype=np.float32)
    order = np.argsort(columns, kind="stable")
    axes = (columns[order], frames) if by_roi else (frames, columns[order])
    wanted = list(itertools.product(*(runs(at, near) for at, near in zip(axes, reach(data), strict=True))))
    for part, piece in pieces(data, wanted):
        inside = [slice(*np.searchsorted(at, (p.start, p.stop))) for at, p in zip(axes, part, strict=True)]
        picked = piece[np.ix_(*(at[i] - p.start for at, i, p in zip(axes, inside, part, strict=True)))]
        rois, times = inside if by_roi else inside[::-1]
        result[order[rois], times] = picked if by_roi else picked.T
    if factor != 1.0:
        result *= np.float32(factor)
    if offset != 0.0:
        result += np.float32(offset)
    return result
