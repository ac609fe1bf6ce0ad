"""Behaviour: reading it onto the session's clock (`behavior_series` finds it, `resample` moves it).

Directions in radians or degrees become a cosine and a sine, for an angle has a jump that no average survives. Series
of two or three columns become as many behaviours.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ..sources import bulk
from .behavior_series import MAX_COLUMNS, Candidate, angle_unit, candidates
from .catalog import Entry, called
from .clock import Clock, series_times
from .config import ReadConfig
from .resample import resample
from .scale import scale_of

#: More rows than this are not read by default: a file with so many keeps something else under behaviour.
MAX_DEFAULT_ROWS = 16
#: A behaviour missing in more than this part of the samples is left out.
MAX_MISSING = 0.95
#: A behaviour missing in less than this part of the samples is not worth a note.
NOTED_MISSING = 0.0005
#: How a series' description says that its filter looked ahead, and where it says so.
_LOOKED_AHEAD = re.compile(r"zero[- ]?phase|filtfilt|acausal|non-?causal", re.I)
_DESCRIBED = ("description", "comments", "reference_frame")


@dataclass(frozen=True)
class Covariates:
    """Behaviours or stimuli on the session's clock."""

    values: NDArray[np.float32]
    """(K, T)."""
    names: tuple[str, ...]
    """K names, each once."""
    records: tuple[dict[str, Any], ...]
    """K entries for the provenance: name, path, object_id, missing."""
    notes: tuple[str, ...]
    """What was done on reading."""


def read_behavior(entries: list[Entry], clock: Clock, config: ReadConfig) -> Covariates:
    """Read the behaviours that `config` asks for.

    Behaviours that never change, or are missing in more than 95 % of the samples, are left out and noted.

    Parameters
    ----------
    entries : list of Entry
        The file's objects.
    clock : Clock
        The session's.
    config : ReadConfig
        What to read.

    Raises
    ------
    InputError
        If a name fits no series or several, or a series' shape or timestamps do not fit.
    """
    notes: list[str] = []
    rows: list[NDArray[np.float32]] = []
    records: list[dict[str, Any]] = []
    useless: dict[str, list[str]] = {}
    for candidate in _chosen(candidates(entries), config, notes):
        names, columns = _read(candidate, clock, config.max_hold, notes)
        for name, values in zip(names, columns, strict=True):
            reason = _useless(values, config.max_hold)
            if reason:
                useless.setdefault(reason, []).append(name)
                continue
            rows.append(values)
            source = candidate.entry.source
            missing = round(float(np.isnan(values).mean()), 6)
            records.append({"name": name, "path": source["path"], "object_id": source["object_id"], "missing": missing})
    notes += [f"behaviour {', '.join(names)} left out: {reason}" for reason, names in useless.items()]
    _make_unique(records)
    gappy = [f"{r['name']} in {100 * r['missing']:.1f} %" for r in records if r["missing"] >= NOTED_MISSING]
    if gappy:
        notes.append(f"behaviour is missing in part of the samples, where a fit takes its mean: {', '.join(gappy)}")
    values = np.stack(rows) if rows else np.zeros((0, len(clock)), dtype=np.float32)
    return Covariates(values, tuple(r["name"] for r in records), tuple(records), tuple(notes))


def _chosen(found: list[Candidate], config: ReadConfig, notes: list[str]) -> list[Candidate]:
    chosen: list[Candidate] = []
    for wanted in config.behavior:
        if wanted == "auto":
            chosen += _defaults(found, notes)
        else:
            chosen += _named(found, wanted)
    return list({candidate.entry.path: candidate for candidate in chosen}.values())


def _defaults(found: list[Candidate], notes: list[str]) -> list[Candidate]:
    chosen, rows = [], 0
    for candidate in (c for c in found if c.default):
        rows += candidate.n_columns
        if rows > MAX_DEFAULT_ROWS:
            notes.append(f"behaviour {candidate.entry.path} is not read by default: there are many; name those wanted")
            continue
        chosen.append(candidate)
    return chosen


def _named(found: list[Candidate], wanted: str) -> list[Candidate]:
    """Return the series called `wanted`, or all series in the container or module called so."""
    by_path = {candidate.entry.path: candidate for candidate in found}
    matches = [by_path[entry.path] for entry in called((c.entry for c in found), wanted)]
    if not matches:
        tail = "/" + wanted.strip("/")
        matches = [c for c in found if c.entry.path.rsplit("/", 1)[0].endswith(tail)]
        if len({c.entry.path.rsplit("/", 1)[0] for c in matches}) > 1:
            raise _several(wanted, matches)
    elif len(matches) > 1:
        raise _several(wanted, matches)
    if not matches:
        listing = ", ".join(c.entry.path for c in found) or "none"
        raise InputError(f"there is no behaviour called {wanted!r}", remedy=f"The file has: {listing}")
    for candidate in matches:
        if candidate.n_columns > MAX_COLUMNS:
            raise InputError(
                f"a series of {candidate.n_columns} columns is no behaviour",
                where=candidate.entry.path,
                remedy=f"Only series of up to {MAX_COLUMNS} columns can be read",
            )
    return matches


def _several(wanted: str, matches: list[Candidate]) -> InputError:
    return InputError(
        f"several behaviours are called {wanted!r}: {', '.join(c.entry.path for c in matches)}",
        remedy="Give the path of the one you mean",
    )


def _read(
    candidate: Candidate, clock: Clock, max_hold: float, notes: list[str]
) -> tuple[list[str], list[NDArray[np.float32]]]:
    """Return names and values (T,) of a series' columns."""
    series, path, name = candidate.entry.object, candidate.entry.path, candidate.name
    stored = bulk.values(series.data).astype(np.float64, copy=False)
    times, time_notes = series_times(series, len(stored), where=path)
    notes.extend(time_notes)
    if candidate.ends is not None:
        ends, _ = series_times(candidate.ends, len(stored), where=candidate.ends.name)
        times = times.copy()
        times[: len(ends)] = np.fmax(times[: len(ends)], ends[: len(times)])
        notes.append(f"each value of {path} counts from when its measurement was over ({candidate.ends.name})")
    if _LOOKED_AHEAD.search(" ".join(str(getattr(series, field, "") or "") for field in _DESCRIBED)):
        notes.append(f"{path} was filtered forward and backward by its maker, so it holds something of the near future")
    unknown = int((~np.isfinite(times)).sum())
    if unknown:
        notes.append(f"{unknown} samples of {path} have no timestamp, and are not used")
    if (np.diff(times) < 0).any():
        notes.append(f"the timestamps of {path} are not in order; each value is taken at its own")
    factor, offset = scale_of(series)
    columns = list((stored[: len(times)] * factor + offset).reshape(len(times), -1).T)
    names = [name] if len(columns) == 1 else [f"{name}_{axis}" for axis in candidate.axes]
    if len(columns) == 1 and candidate.direction:
        unit = angle_unit(series, columns[0])
        if unit is not None:
            angle = np.deg2rad(columns[0]) if unit == "degrees" else columns[0]
            names, columns = [f"{name}_cos", f"{name}_sin"], [np.cos(angle), np.sin(angle)]
            notes.append(f"direction {path}, in {unit}, is read as its cosine and sine")
    return names, [resample(clock, times, column, max_hold=max_hold) for column in columns]


def _useless(values: NDArray[np.float32], max_hold: float) -> str:
    missing = np.isnan(values)
    if missing.mean() > MAX_MISSING:
        return f"missing in {100 * missing.mean():.1f} % of the samples (values are held for up to {max_hold:g} s)"
    known = values[~missing]
    return "it never changes" if known.min() == known.max() else ""


def _make_unique(records: list[dict[str, Any]]) -> None:
    """Put the container's name before names that occur more than once, and if that is not enough the whole path."""
    own = [record["name"] for record in records]
    for depth in (1, 99):
        names = [record["name"] for record in records]
        for record, name, short in zip(records, names, own, strict=True):
            if names.count(name) > 1:
                record["name"] = "_".join([*record["path"].split("/")[1:-1][-depth:], short])
