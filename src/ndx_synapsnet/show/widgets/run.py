"""Views of a whole run, of its provenance, and of a file with several runs."""

from __future__ import annotations

import html
import json
import os
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import numpy as np
from pynwb import NWBFile

from ...errors import InputError
from ...nwb.original import read_original
from ...nwb.results import read_result
from ...nwb.runs import fits, list_runs
from ...nwb.sources import open_source
from ...session import Session
from ..compute import PREDICTOR_NAMES, TrainingView
from .matrices import as_matrices, matrix_panel, network_panel
from .neurons import embedding_panel, neuron_table, score_panel
from .nodes import Population, Series, fit_of, population_of
from .panel import TAB_STYLE, guarded, note, panel, require_ipywidgets, table, tabs
from .recorded import recorded_of
from .series import component_panel, current_panel, raster_panel, trace_panel, view_currents

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def view_fit(node: Any, neurodata_vis_spec: Any = None, *, recording: Session | None = None, **_: Any) -> Any:
    """Return all views of a `SynapsNetFit` as tabs, each made when it is first opened.

    Parameters
    ----------
    node : SynapsNetFit
        Of an open file.
    neurodata_vis_spec : optional
        What NWB Widgets hands to every view; not used.
    recording : Session, optional
        What was recorded, restricted to the fit's neurons; needed only where the file does not hold it.

    Returns
    -------
    ipywidgets.Tab
    """
    w = require_ipywidgets()
    population = None if node.neurons is None else population_of(node.neurons)
    views: dict[str, Any] = {"Summary": lambda: w.HTML(_summary(node, population))}
    matrices = as_matrices(node.functional_connectivitys, population) if population is not None else {}
    if matrices:
        views["Connectivity"] = lambda: matrix_panel(matrices)
        views["Network"] = lambda: network_panel(matrices)
    if population is not None and min(population.embeddings.shape) > 1:
        views["Embedding"] = lambda: embedding_panel(population)
    forecast = next(iter(node.activity_forecasts.values()), None)
    if forecast is not None:
        series = Series(forecast, population)
        recorded = recorded_of(series, recording)
        views["Forecast"] = lambda: raster_panel(series, recorded)
        views["Traces"] = lambda: trace_panel(series, recorded)
        views["Components"] = lambda: component_panel(series, recorded)
        stored = next(iter(node.input_currents.values()), None)
        if stored is not None and recorded is None:
            views["Input currents"] = lambda: view_currents(stored)
        elif matrices:
            views["Input currents"] = lambda: current_panel(series, recorded, matrices)
    if population is not None and population.scores:
        views["Scores"] = lambda: score_panel(population)
    if population is not None:
        views["Neurons"] = lambda: neuron_table(population)
    if node.provenance is not None:
        views["Training"] = lambda: view_provenance(node.provenance)
    return tabs(views)


def view_provenance(node: Any, neurodata_vis_spec: Any = None, **_: Any) -> Any:
    """Return the training curve of a `FitProvenance`, and where the fit comes from.

    Parameters
    ----------
    node, neurodata_vis_spec
        As of `view_fit`.

    Returns
    -------
    ipywidgets.VBox
    """
    w = require_ipywidgets()
    about = w.HTML(table(["", ""], [(name, value) for name, value in _circumstances(node).items()]))
    return w.VBox([guarded(lambda: _training_panel(node)), about])


def view(what: Any, *, recording: Session | str | os.PathLike[str] | bool = False, run: str | None = None) -> Any:
    """Return the view of an object of this package in an open file, of all runs in a file, or of a file by its address.

    Parameters
    ----------
    what : NWBFile, path, or object of one of the types of this package
        What to show. A file given by its address stays open until the widget is closed (``close()``).
    recording : Session, path or bool
        What was recorded, restricted to the fit's neurons (`nwb.original.read_original`), or the file that holds it;
        True reads it from where the fit says. Needed where it is not in the file as it was fitted; the views say so.
    run : str, optional
        The run to show first; by default the latest.

    Returns
    -------
    ipywidgets.Widget

    Raises
    ------
    InputError
        If ipywidgets or matplotlib is not installed, the file cannot be read or holds no run, the recording is out of
        reach, or there is no view of such an object.
    """
    from . import vis_spec

    require_ipywidgets()
    if isinstance(what, (str, os.PathLike)):
        with ExitStack() as stack:
            widget = view(stack.enter_context(open_source(what)).nwbfile, recording=recording, run=run)
            held = stack.pop_all()
        closing = widget.close

        def close() -> None:
            closing()
            held.close()

        widget.close = close
        return widget
    if isinstance(what, NWBFile):
        return _view_file(what, recording, run)
    kind = next((kind for kind in type(what).__mro__ if kind in vis_spec), None)
    if kind is None:
        raise InputError(
            f"there is no view of a {type(what).__name__}",
            remedy=f"There are of an NWBFile, a path, and {', '.join(kind.__name__ for kind in vis_spec)}.",
        )
    return vis_spec[kind](what, recording=_recording(what, recording))


def _recording(node: Any, wanted: Session | str | os.PathLike[str] | bool) -> Session | None:
    """Return the recording behind a fit or a part of one; see `view`."""
    if isinstance(wanted, Session) or wanted is False:
        return wanted or None
    fit = fit_of(node) or node
    result = read_result(fit.container_source, fit.name)
    if wanted is not True:
        return read_original(result, os.fspath(wanted))
    try:
        return read_original(result)
    except InputError:
        with suppress(InputError):  # the file may hold the recording and have been moved
            return read_original(result, fit.container_source)
        raise


def _view_file(nwbfile: NWBFile, recording: Session | str | os.PathLike[str] | bool, run: str | None) -> Any:
    """Return a selector of the file's fits, the latest first, above the views of the chosen one."""
    w = require_ipywidgets()
    found = {name: fit for name, (_, fit) in fits(nwbfile).items()}
    runs = list_runs(nwbfile)
    names = [*reversed(runs), *(name for name in found if name not in runs)]
    if not names:
        raise InputError("the file holds no fit", remedy="Fit it first, or name the file that the fit was written to.")
    if run is not None and run not in found:
        raise InputError(f"there is no run {run!r}", remedy=f"Its runs: {', '.join(names)}.")
    shown: dict[str, Any] = {}

    def chosen(name: str) -> Any:
        if name not in shown:
            shown[name] = view_fit(found[name], recording=_recording(found[name], recording))
        return shown[name]

    options = [(name if name in runs else f"{name} (no run: known wiring)", name) for name in names]
    selector = w.Dropdown(options=options, value=run or names[0], description="run")
    box = w.VBox([selector, chosen(selector.value)])
    selector.observe(lambda change: setattr(box, "children", (selector, chosen(change["new"]))), names="value")
    box.controls = {"run": selector}
    return box


def _training_panel(node: Any) -> Any:
    from ..plots import draw_training_view

    curve = node.training_curve
    if curve is None or "epoch" not in curve.colnames:
        raise InputError("there is no training curve: the model was not trained epoch by epoch")
    columns = {name: np.asarray(curve[name].data[:], np.float64) for name in curve.colnames}
    best = _json(node.record).get("best_epoch")
    mse = columns.get("validation_mse")
    if best is None and mse is not None and np.isfinite(mse).any():
        best = columns["epoch"][np.nanargmin(mse)]
    training = TrainingView(columns["epoch"], columns.get("train_loss"), mse, None if best is None else int(best))

    def draw() -> Figure:
        return draw_training_view(training)

    return panel({}, draw)


def _summary(node: Any, population: Population | None) -> str:
    color = "#7F7F7F" if node.trustworthy is None else "#009E73" if node.trustworthy else "#D55E00"
    parts = [f"{TAB_STYLE}<h3>{html.escape(str(node.name))}</h3>"]
    if node.description:
        parts.append(note(str(node.description)))
    if node.verdict:
        verdict = f"<b>{html.escape(str(node.verdict))}</b>"
        parts.append(f'<p style="border-left: 4px solid {color}; padding-left: .8em; max-width: 60em">{verdict}</p>')
    if population is not None:
        facts: list[tuple[str, Any]] = [
            ("neurons", len(population.neurons)),
            ("embedding dimensions", int(population.embeddings.shape[1])),
        ]
        facts += [("matrices", ", ".join(node.functional_connectivitys) or "none")]
        facts += [
            (f"series {series.name}", f"{series.data.shape[0]} samples x {series.data.shape[1]} neurons")
            for series in [*node.activity_forecasts.values(), *node.input_currents.values()]
        ]
        parts.append(table(["", ""], facts))
        if population.scores:
            rows = [
                (PREDICTOR_NAMES.get(name, name), _mean(scores.correlation), _mean(scores.mse))
                for name, scores in population.scores.items()
            ]
            parts += ["<p></p>", table(["predictor", "test r (mean)", "test MSE (mean)"], rows)]
    return "".join(parts)


def _mean(values: Any) -> float | str:
    known = np.asarray(values)[np.isfinite(values)]
    return float(known.mean()) if len(known) else "undefined"


def _circumstances(node: Any) -> dict[str, Any]:
    """Return what a provenance says in a word or a number, by what it is."""
    attributes = (
        "source_uri", "dandiset_id", "dandiset_version", "dandi_asset_path", "activity_kind", "activity_unit",
        "sampling_period", "seed", "device", "started", "finished", "interrupted",
    )  # fmt: skip
    found = {name.replace("_", " "): getattr(node, name, None) for name in attributes}
    if node.software is not None:
        found["software"] = ", ".join(str(item) for item in node.software[:])
    config = _json(node.config)
    if "recipe" in config:
        found["recipe"] = config["recipe"]
    return {name: value for name, value in found.items() if value not in (None, "")}


def _json(text: Any) -> dict[str, Any]:
    try:
        value = json.loads(text) if text else {}
    except (TypeError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
