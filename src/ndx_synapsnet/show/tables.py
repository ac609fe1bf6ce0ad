"""Results and recordings as text tables for the terminal."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from ..errors import printable
from ..nwb.readers.description import Contents
from ..session import FitResult
from .compute import best_epoch, score_table

_WIDTH = 160  # where no terminal says

#: At which connections are counted.
FALSE_DISCOVERY = 0.1


def number(value: float, digits: int = 3) -> str:
    """Return a number for people; an undefined one is a dash."""
    return f"{value:.{digits}f}" if math.isfinite(value) else "-"


def scores(result: FitResult) -> Table:
    """Return the forecast scores of the model beside every reference predictor."""
    table = Table(title="Forecast, one step ahead, on the test part (mean over neurons)", title_justify="left")
    table.add_column("predictor")
    for column in ("r", "± SEM", "MSE", "r undefined"):
        table.add_column(column, justify="right")
    rows = score_table(result)
    lowest = min(row.mse for row in rows)
    for row in rows:
        error = f"{row.mse:.4g}" if math.isfinite(row.mse) else "-"
        cells = (printable(row.name), number(row.correlation), number(row.sem), error, str(row.undefined or ""))
        table.add_row(*cells, style="bold" if row.mse == lowest else None)
    return table


def pairs(title: str, values: dict[str, Any]) -> Table:
    """Return a table of two columns, leaving out what is empty."""
    table = Table(title=printable(title), title_justify="left", show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in values.items():
        if value not in (None, "", [], ()):
            table.add_row(printable(key), _printable(value))
    return table


def grid(title: str, columns: list[str], rows: list[list[Any]]) -> Table:
    """Return a table of rows; columns after the first are aligned right where they hold only numbers."""
    table = Table(title=printable(title), title_justify="left")
    for place, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[place], (int, float)) for row in rows)
        table.add_column(printable(column), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_printable(cell) for cell in row))
    return table


def result(name: str, fitted: FitResult, edges: int) -> list[Any]:
    """Return everything that `show` prints of one run.

    Parameters
    ----------
    name : str
        Name of the run in its file.
    fitted : FitResult
        The run.
    edges : int
        How many of the strongest connections to list.
    """
    made, source = fitted.provenance, fitted.provenance.get("source") or {}
    training = fitted.training
    best = best_epoch(fitted)
    facts = {
        "source": source.get("uri"),
        "archive": _archive(source.get("remote") or {}),
        "integrity": (source.get("remote") or {}).get("integrity"),
        "subject": (source.get("subject") or {}).get("subject_id"),
        "session": source.get("session_id"),
        "activity": f"{fitted.activity_kind} ({fitted.unit}), {fitted.period:.4g} s a sample",
        "neurons": f"{len(fitted.neurons)}, {len(made.get('set_aside') or ())} more set aside",
        "samples": f"{len(fitted.split)}, of which {len(fitted.forecast.times)} forecasts are stored",
        "behaviour": fitted.behavior_names,
        "connectivity": [f"{key} ({matrix.method})" for key, matrix in fitted.connectivity.items()],
        "recipe": fitted.config.get("recipe"),
        "seed": made.get("seed"),
        "best epoch": None if best is None else f"{best} of {len(training.get('epoch', ()))}",
        "made by": [f"{package} {number_}" for package, number_ in (made.get("software") or {}).items()],
        "finished": made.get("finished"),
        "interrupted": "yes: the best epoch until then" if made.get("interrupted") else None,
        "notes": list(source.get("notes") or ()),
    }
    items: list[Any] = [pairs(f"Run {name}", facts), scores(fitted)]
    if "effective" in fitted.connectivity and edges > 0:
        items.append(strongest(fitted, edges))
    return [*items, *significance(fitted), fitted.verdict]


def _archive(remote: dict[str, Any]) -> str | None:
    """Return which version of which dandiset a recording is from."""
    if not remote.get("dandiset"):
        return None
    return f"{remote.get('archive') or remote.get('api')}, {remote['dandiset']}@{remote.get('version')}"


def strongest(fitted: FitResult, edges: int) -> Table | str:
    """Return the connections of largest absolute effective weight, a neuron's own left out, or a sentence if none."""
    matrix = fitted.connectivity["effective"]
    weights = fitted.connectivity["effective"].weights.astype(np.float64)
    np.fill_diagonal(weights, 0.0)
    places = np.argsort(-np.abs(weights), axis=None, kind="stable")[:edges]
    region = fitted.neurons.region

    def label(row: int) -> str:
        where = f" ({region[row]})" if region is not None and region[row] else ""
        return f"{fitted.neurons.id[row]}{where}"

    told = {"± standard error": matrix.standard_error, "q": matrix.q_value}
    known = {title: values for title, values in told.items() if values is not None}
    rows = [
        [
            label(int(source)),
            label(int(target)),
            number(weights[target, source]),
            *(number(float(values[target, source])) for values in known.values()),
        ]
        for target, source in zip(*np.unravel_index(places, weights.shape), strict=True)
        if weights[target, source] != 0
    ]
    if not rows:  # the penalty left nothing
        return "No connection was found: every effective weight is 0."
    note = "" if fitted.trustworthy else ": NOT TO BE READ, see the verdict"
    return grid(f"Strongest connections{note}", ["source", "target", "effective weight", *known], rows)


def significance(fitted: FitResult) -> list[str]:
    """Return how many connections are more than chance, and whether to believe it; nothing without q-values."""
    matrix, said = fitted.connectivity.get("effective"), fitted.provenance.get("significance") or {}
    if matrix is None or matrix.q_value is None:
        return []
    off = ~np.eye(len(matrix.q_value), dtype=bool)
    found = int((matrix.q_value[off] <= FALSE_DISCOVERY).sum())
    sentence = (
        f"{found} of {int(off.sum())} ordered pairs are connected at a false-discovery rate of {FALSE_DISCOVERY:g}."
    )
    doubt = "" if said.get("trustworthy", True) else "These p- and q-values are NOT to be trusted: "
    return [" ".join(filter(None, (sentence, doubt + str(said.get("why", "")))))]


def contents(found: Contents) -> list[Any]:
    """Return what `inspect` prints of a file: what is read by default, and everything else that it offers."""
    about = found.about
    chosen = None
    if found.adapter is not None and found.n_neurons is not None:
        samples = "" if found.n_samples is None else f" x {found.n_samples} samples"
        period = "" if found.period is None else f" of {found.period:.4g} s"
        length = "" if found.duration is None else f" = {duration(found.duration)}"
        chosen = f"{found.adapter}: {found.n_neurons} neurons{samples}{period}{length}"
    facts = {
        "format": f"NWB {found.nwb_version}, {found.format}",
        "session": about.get("session_id"),
        "subject": (about.get("subject") or {}).get("subject_id"),
        "description": about.get("session_description"),
        "read by default": chosen,
        "activity": found.activity_kind,
        "notes": list(found.notes),
    }
    items: list[Any] = [pairs(found.uri, facts)]
    if found.series:
        rows = [
            [
                s.path,
                s.kind,
                s.unit,
                _shape(s.shape),
                _several(s.n_accepted, s.n_rois),
                _hertz(s.period),
                _star(s.default),
            ]
            for s in found.series
        ]
        columns = ["ROI series", "kind", "unit", "shape", "accepted ROIs", "Hz", "default"]
        items.append(grid("Calcium imaging", columns, rows))
    if found.units is not None:
        u = found.units
        row = [
            u.path,
            _several(u.n_default, u.n_units),
            "-" if u.n_spikes is None else u.n_spikes,
            ", ".join(u.columns),
        ]
        items.append(grid("Sorted units", ["table", "kept by default", "spikes", "columns"], [row]))
    if found.behaviors:
        rows = [[b.path, b.unit, _shape(b.shape), _hertz(b.period), _star(b.default)] for b in found.behaviors]
        items.append(grid("Behaviour", ["series", "unit", "shape", "Hz", "default"], rows))
    if found.epochs:
        epochs: list[list[Any]] = [
            [e.path, e.n_rows, e.start, e.stop, e.seconds, ", ".join(e.columns)] for e in found.epochs
        ]
        items.append(grid("Epochs", ["table", "rows", "from (s)", "to (s)", "inside (s)", "columns"], epochs))
    if found.neurons is not None:
        known = {
            "regions": _counts(found.neurons.regions),
            "cell types": _counts(found.neurons.cell_types),
            "positions": "yes" if found.neurons.has_position else "no",
            "identity columns": found.neurons.identity_columns,
        }
        items.append(pairs("Neurons read by default", known))
    if found.other:
        rows = [[o.path, o.type, "" if o.shape is None else _shape(o.shape)] for o in found.other]
        items.append(grid("Also in the file", ["object", "type", "shape"], rows))
    return items + [f"Problem: {problem}" for problem in found.problems]


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _several(some: int | None, all_: int) -> str:
    return f"{all_}" if some is None else f"{some} of {all_}"


def _hertz(period: float | None) -> str:
    return "-" if not period else f"{1 / period:.4g}"


def _star(chosen: bool) -> str:
    return "yes" if chosen else ""


def _counts(counts: dict[str, int]) -> list[str]:
    return [f"{name or 'unknown'} ({count})" for name, count in counts.items()]


def duration(seconds: float) -> str:
    """Return a length of time for people."""
    for size, unit in ((3600.0, "h"), (60.0, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{max(seconds, 1):.0f} s"


def _printable(value: Any) -> str:
    """Return `value` as text without control characters: metadata must not steer the terminal."""
    if isinstance(value, (list, tuple)):
        return ", ".join(_printable(item) for item in value)
    if isinstance(value, float):
        return f"{value:.4g}"
    return printable(str(value))


def say(*items: Any) -> None:
    """Print tables and plain sentences to standard output, wide enough not to fold when it is no terminal.

    Nothing in them is markup.
    """
    console = _console()
    if not console.is_terminal:
        console = _console(width=_WIDTH)
    _print(console, items)


def text(*items: Any) -> str:
    """Return what `say` prints where there is no terminal."""
    console = _console(width=_WIDTH, file=io.StringIO())
    with console.capture() as captured:
        _print(console, items)
    return captured.get()


def _console(**settings: Any) -> Console:
    """Return a console to which brackets and colons in metadata are text, in tables too."""
    return Console(highlight=False, markup=False, emoji=False, **settings)


def _print(console: Console, items: Sequence[Any]) -> None:
    for item in items:
        if isinstance(item, str):  # a line is one line, so that a path in it can be copied
            console.print(_printable(item), soft_wrap=True)
        else:
            console.print(item)
