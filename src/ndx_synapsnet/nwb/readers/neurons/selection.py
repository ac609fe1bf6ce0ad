"""Which of a table's neurons are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from hdmf.common import DynamicTable
from numpy.typing import NDArray
from pynwb import NWBFile

from ....errors import InputError
from ....session import Neurons
from ..catalog import Entry
from ..config import ReadConfig
from ..provenance import subject_label
from ..table import as_text, column, column_named, matching
from .rois import accepted, roi_names, roi_neurons
from .units import ELECTRODE, UNITS, electrode_columns, unit_neurons

#: The Allen Institute's default limits. A unit without a value does not pass.
LIMITS: dict[str, tuple[str, float]] = {
    "isi_violations": ("<=", 0.5),
    "amplitude_cutoff": ("<=", 0.1),
    "presence_ratio": (">=", 0.95),
}


#: The IBL's score: the part of its three quality metrics that a unit passes.
SCORE = "ibl_quality_score"


def quality_mask(units: DynamicTable) -> tuple[NDArray[np.bool_], list[str]]:
    """Return which units pass the default quality limits, and notes on what was asked.

    Asked is that all of the IBL's metrics are passed, where the file has its score. Elsewhere asked are
    ``quality == "good"``, where the column says "good" of any unit, and `LIMITS`, each where its column holds
    fractions (whole numbers are counts in some other meaning) that are not all missing.
    """
    good = np.ones(len(units.id), dtype=bool)
    asked = []
    scored = _score(units)
    if scored is not None:
        good = scored[1] >= 1
        left_out = int((~good).sum())
        return good, [f"{left_out} of {len(good)} units left out: not ({scored[0]} >= 1)"] if left_out else []
    name = column_named(units, "quality")
    if name is not None:
        text = np.char.lower(as_text(column(units, name)))
        if (text == "good").any():
            good &= text == "good"
            asked.append('quality == "good"')
    for limited, (sign, limit) in LIMITS.items():
        name = column_named(units, limited)
        values = None if name is None else column(units, name)
        if values is None or values.dtype.kind != "f" or np.isnan(values).all():
            continue
        with np.errstate(invalid="ignore"):
            good &= values <= limit if sign == "<=" else values >= limit
        asked.append(f"{name} {sign} {limit:g}")
    if not asked or good.all():
        return good, []
    return good, [f"{int((~good).sum())} of {len(good)} units left out: not ({' and '.join(asked)})"]


def _score(units: DynamicTable) -> tuple[str, NDArray[np.float64]] | None:
    """Return the IBL's quality score by its column's name; None where there is none that any unit passes.

    Its own files outside NWB call it ``label``, so a column of that name is one if it holds thirds.
    """
    for wanted in (SCORE, "label"):
        name = column_named(units, wanted)
        values = None if name is None else column(units, name)
        if name is None or values is None or values.dtype.kind not in "iuf":
            continue
        thirds = np.isclose(3 * values, np.round(3 * values), atol=0.02) & (values >= 0) & (values <= 1)
        if (values >= 1).any() and (wanted == SCORE or (thirds.all() and (values % 1 > 0).any())):
            return name, values
    return None


def chosen_units(nwbfile: NWBFile, config: ReadConfig) -> tuple[Neurons, list[str]]:
    """Return the units to read (their rows are `Neurons.source_row`), and notes on those left out.

    Raises
    ------
    InputError
        If there are no units, a setting does not fit the table, or none is left.
    """
    units = nwbfile.units
    if units is None or len(units.id) == 0:
        raise InputError("the file has no units", remedy="See what it has with: ndx-synapsnet inspect")
    keep = np.ones(len(units.id), dtype=bool)
    notes: list[str] = []
    if config.quality_filter:
        keep, notes = quality_mask(units)
        if not keep.any():
            raise InputError(
                f"the default quality filter leaves none of the {len(keep)} units: {notes[0]}",
                where=UNITS,
                remedy="Turn the quality filter off, and give a units query of your own",
            )
    neurons = unit_neurons(nwbfile, config, subject_label(nwbfile))
    asks_electrodes = config.units_query is not None and ELECTRODE in config.units_query
    more = electrode_columns(nwbfile) if asks_electrodes else {}
    keep = _filtered(units, neurons, keep, config, UNITS, "units", notes, required=True, more=more)
    background = column_named(units, "is_background")
    marks = None if background is None else column(units, background)
    if marks is not None and marks.dtype.kind in "biu" and (marked := (marks != 0) & keep).any():
        notes.append(
            f"{int(marked.sum())} of the units read are background; units query 'not is_background' omits them"
        )
    return neurons.select(keep), notes


def chosen_rois(
    nwbfile: NWBFile, entries: list[Entry], entry: Entry, config: ReadConfig, *, prefix: str = "", masks: bool = True
) -> tuple[Neurons, NDArray[np.int64], list[str]]:
    """Return the ROIs to read of a series, their places in the series, and notes on those left out.

    Parameters
    ----------
    nwbfile : NWBFile
        The file.
    entries : list of Entry
        Its objects.
    entry : Entry
        The ROI series.
    config : ReadConfig
        What to read.
    prefix : str
        Put before each id; with one, the series is one plane of several and may be left without a ROI.
    masks : bool
        Whether ROI masks may be read to find positions.

    Raises
    ------
    InputError
        If the series' ROIs are not rows of its table, a setting does not fit the table, or none is left.
    """
    table: Any = entry.object.rois.table
    rows = np.asarray(entry.object.rois.data[:], dtype=np.int64)
    path = next((other.path for other in entries if other.object is table), f"{table.name}")
    if len(rows) and (rows.min() < 0 or rows.max() >= len(table.id)):
        raise InputError(f"its rois point beyond the {len(table.id)} rows of {path}", where=entry.path)
    if len(np.unique(rows)) < len(rows):
        raise InputError(f"its rois name a row of {path} more than once", where=entry.path)
    keep = np.zeros(len(table.id), dtype=bool)
    keep[rows] = True
    notes: list[str] = []
    marked, marking = accepted(table) if config.quality_filter else (None, "")
    if marked is not None:
        keep = _narrowed(keep, marked, marking, path, "ROIs", notes, required=not prefix)
    names = roi_names(entries, table, path)
    neurons = roi_neurons(table, path, config, subject_label(nwbfile), masks=masks, names=names)
    keep = _filtered(table, neurons, keep, config, path, "ROIs", notes, required=not prefix)
    places = np.flatnonzero(keep[rows])
    chosen = neurons.select(rows[places])
    if prefix:
        chosen = replace(chosen, id=np.char.add(prefix, chosen.id))
    return chosen, places, notes


def _filtered(
    table: Any,
    neurons: Neurons,
    keep: NDArray[np.bool_],
    config: ReadConfig,
    where: str,
    what: str,
    notes: list[str],
    *,
    required: bool,
    more: Mapping[str, NDArray[Any]] | None = None,
) -> NDArray[np.bool_]:
    """Return `keep` without the rows that the query and the regions of `config` leave out."""
    if config.units_query is not None:
        met = matching(table, config.units_query, where=where, setting="units query", more=more)
        reason = f"the units query {config.units_query!r} is not met"
        keep = _narrowed(keep, met, reason, where, what, notes, required=required)
    if config.regions:
        if neurons.region is None:
            raise InputError(f"the file states no region of its {what}", where=where, remedy="Do not choose regions")
        lower = np.char.lower(neurons.region)
        unknown = [region for region in config.regions if region.lower() not in lower]
        if unknown and required:
            known = ", ".join(region for region in np.unique(neurons.region) if region)
            raise InputError(f"no {what} are in {', '.join(unknown)}", where=where, remedy=f"Regions: {known}")
        inside = np.isin(lower, [region.lower() for region in config.regions])
        reason = f"not in {', '.join(config.regions)}"
        keep = _narrowed(keep, inside, reason, where, what, notes, required=required)
    return keep


def _narrowed(
    keep: NDArray[np.bool_],
    also: NDArray[np.bool_],
    reason: str,
    where: str,
    what: str,
    notes: list[str],
    *,
    required: bool,
) -> NDArray[np.bool_]:
    left = keep & also
    if required and not left.any():
        raise InputError(
            f"none of the {int(keep.sum())} {what} is left: {reason}",
            where=where,
            remedy="Choose differently, or turn the quality filter off",
        )
    if left.sum() < keep.sum():
        notes.append(f"{int(keep.sum() - left.sum())} of {int(keep.sum())} {what} of {where} left out: {reason}")
    return left
