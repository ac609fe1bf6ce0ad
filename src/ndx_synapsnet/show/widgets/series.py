"""Views of series over neurons: forecasts and input currents.

Letters: n samples, N neurons.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ...metrics import principal_components
from ...session import Session
from ..activity_plots import draw_components, draw_currents, draw_raster, draw_traces
from ..activity_view import ComponentsView, CurrentsView, correlate_series, raster_view
from ..compute import TraceView
from .nodes import Matrix, Series, fit_of
from .panel import advice, dropdown, panel, require_ipywidgets, slider, tabs
from .recorded import Recorded, recorded_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WINDOWS = (100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000)
_COMPONENT_WINDOWS = (100, 200, 400, 600)
_CURRENT_WINDOWS = (200, 400, 600, 1000)
_MOST_NEURONS = 200  # whose currents are correlated
_NOT_THERE = (
    "This file does not hold the recorded activity as it was fitted (spikes, for one, are counted in bins first)."
)


def view_forecast(node: Any, neurodata_vis_spec: Any = None, *, recording: Session | None = None, **_: Any) -> Any:
    """Return views of an `ActivityForecast`: a raster, traces, and principal components.

    Parameters
    ----------
    node, neurodata_vis_spec, recording
        As of `view_fit`.

    Returns
    -------
    ipywidgets.Tab
    """
    series = Series(node)
    recorded = recorded_of(series, recording)
    return tabs(
        {
            "Raster": lambda: raster_panel(series, recorded),
            "Traces": lambda: trace_panel(series, recorded),
            "Components": lambda: component_panel(series, recorded),
        }
    )


def view_currents(node: Any, neurodata_vis_spec: Any = None, *, recording: Session | None = None, **_: Any) -> Any:
    """Return views of `InputCurrents`: a raster, and how they go with activity by delay.

    Parameters
    ----------
    node, neurodata_vis_spec, recording
        As of `view_forecast`. Without the recording, currents are compared with the forecast.

    Returns
    -------
    ipywidgets.Tab
    """
    series = Series(node)
    return tabs(
        {
            "Against activity": lambda: stored_current_panel(series, recording),
            "Raster": lambda: raster_panel(series, None, name="input current"),
        }
    )


def raster_panel(series: Series, recorded: Recorded | None, *, name: str = "predicted") -> Any:
    """Return a raster of a window of a series, with what was recorded above it."""
    population = series.population

    scaled = name == "predicted" and series.scale is not None

    @lru_cache(maxsize=1)  # another order of the same window reads nothing
    def read(first: int, last: int) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        values = series.z_scored(first, last) if scaled else series.read(first, last)
        return values, None if recorded is None else recorded(first, last, None)

    def draw(start: int, window: int, order: str) -> Figure:
        first, last = _bounds(series, start, window)
        values, true = read(first, last)
        view = raster_view(
            values,
            series.times[first:last],
            population.orders[order],
            recorded=true,
            unit="z-scored" if scaled else str(series.node.unit),
        )
        return draw_raster(view, name=name)

    known = list(population.orders)
    controls = {**_window(series, _WINDOWS, 1000), "order": dropdown("order by", known, known[0])}
    return panel(controls, draw, above=_to_compare(series, recorded) if name == "predicted" else "")


def trace_panel(series: Series, recorded: Recorded | None) -> Any:
    """Return traces of a few neurons over a window: one chosen, and those that are forecast next best."""
    population, scores = series.population, next(iter(series.population.scores.values()), None)
    n = len(population.neurons)
    r = np.full(n, np.nan) if scores is None else scores.correlation.astype(np.float64)
    ranked = np.argsort(-np.nan_to_num(r, nan=-2.0), kind="stable")
    place = {int(neuron): rank for rank, neuron in enumerate(ranked)}

    def draw(start: int, window: int, neuron: int, count: int) -> Figure:
        first, last = _bounds(series, start, window)
        chosen = np.asarray(ranked[place[neuron] : place[neuron] + count])
        return draw_traces(
            TraceView(
                times=series.times[first:last],
                names=tuple(str(population.neurons.id[k]) for k in chosen),
                predicted=np.asarray(series.z_scored(first, last, chosen).T, np.float64),
                true=None if recorded is None else np.asarray(recorded(first, last, chosen).T, np.float64),
                correlation=r[chosen],
            ),
            unit="z-scored" if series.scale is not None else str(series.node.unit),
        )

    names = [
        (f"{population.neurons.id[k]}" + (f" (r = {r[k]:.2f})" if np.isfinite(r[k]) else ""), int(k)) for k in ranked
    ]
    counts = [count for count in (1, 3, 5, 8) if count <= max(1, n)]
    return panel(
        {
            **_window(series, _WINDOWS[:6], 500),
            "neuron": dropdown("neuron", names, int(ranked[0])),
            "count": dropdown("and the next best, in all", counts, counts[min(2, len(counts) - 1)]),
        },
        draw,
        above=_to_compare(series, recorded),
    )


def component_panel(series: Series, recorded: Recorded | None) -> Any:
    """Return the principal components of a window of recorded activity, and what the forecast makes of them."""
    if recorded is None:
        return require_ipywidgets().HTML(_to_compare(series, recorded))

    def draw(start: int, window: int) -> Figure:
        first, last = _bounds(series, start, window)
        true, predicted = recorded(first, last, None), series.z_scored(first, last)
        count = min(3, *true.shape)
        found = principal_components(predicted, true, count)
        return draw_components(
            ComponentsView(series.times[first:last], found, f"components of this window of {last - first} samples")
        )

    return panel(_window(series, _COMPONENT_WINDOWS, 600), draw)


def current_panel(series: Series, recorded: Recorded | None, matrices: Mapping[str, Matrix]) -> Any:
    """Return how input currents, calculated from recorded activity, go with it by delay (paper, figure 4)."""
    square = {title: matrix for title, matrix in matrices.items() if matrix.same}
    if recorded is None:
        return require_ipywidgets().HTML(_to_compare(series, recorded))
    rows: dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]] = {}  # of the neurons shown, and shuffled
    period = float(np.median(np.diff(series.times[:1000]))) if series.n_samples > 1 else float("nan")

    def draw(start: int, window: int, matrix: str) -> Figure:
        first, last = _bounds(series, start, window)
        activity = recorded(first, last, None).T  # (N, n)
        times = series.times[first:last]
        segment = np.cumsum(np.r_[0, np.diff(times) > 1.5 * period])
        shown = _spread(len(square[matrix].weights))
        if matrix not in rows:
            own = np.array(square[matrix].weights[shown], np.float32)
            own[np.arange(len(shown)), shown] = 0  # or a neuron would be correlated with itself
            rows[matrix] = own, np.random.default_rng(0).permutation(own.ravel()).reshape(own.shape)
        own, shuffled = rows[matrix]
        target = activity[shown].T
        curves = {
            matrix: correlate_series((own @ activity).T, target, segment=segment, lead=0),
            "the same, shuffled": correlate_series((shuffled @ activity).T, target, segment=segment, lead=0),
        }
        note = f"{last - first} samples, {len(shown)} of {activity.shape[0]} neurons"
        return draw_currents(CurrentsView(curves, period, "recorded activity", note))

    return panel({**_window(series, _CURRENT_WINDOWS, 600), "matrix": dropdown("matrix", list(square))}, draw)


def stored_current_panel(series: Series, recording: Session | None = None) -> Any:
    """Return how stored input currents go with activity by delay: recorded if it is at hand, else forecast."""
    fit = fit_of(series.node)
    forecasts = [] if fit is None else list(fit.activity_forecasts.values())
    forecast = next((Series(of) for of in forecasts if of.data.shape == series.node.data.shape), None)
    if forecast is None:
        raise InputError("there is no forecast of the same samples and neurons to compare the currents with")
    recorded = recorded_of(forecast, recording)
    period = float(np.median(np.diff(series.times[:1000]))) if series.n_samples > 1 else float("nan")
    shown = _spread(len(series.population.neurons))

    def draw(start: int, window: int) -> Figure:
        first, last = _bounds(series, start, window)
        activity = forecast.z_scored(first, last, shown) if recorded is None else recorded(first, last, shown)
        segment = np.cumsum(np.r_[0, np.diff(series.times[first:last]) > 1.5 * period])
        curve = correlate_series(series.read(first, last, shown), activity, segment=segment)
        note = f"{last - first} samples, {len(shown)} of {len(series.population.neurons)} neurons"
        said = "forecast activity" if recorded is None else "recorded activity"
        return draw_currents(CurrentsView({"stored input currents": curve}, period, said, note))

    return panel(_window(series, _CURRENT_WINDOWS, 600), draw)


def _to_compare(series: Series, recorded: Recorded | None) -> str:
    """Return how to see the recorded activity beside the forecast, as HTML; nothing where it is there."""
    if recorded is not None:
        return ""
    file = str(getattr(series.node, "container_source", None) or "FILE")
    lines = "from ndx_synapsnet.show.widgets import view", f"view({file!r}, recording=True)"
    return advice(f"{_NOT_THERE} To see it beside the forecast, let the view read the recording:", *lines)


def _spread(n: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, n - 1, min(n, _MOST_NEURONS)).astype(np.int64))


def _bounds(series: Series, start: int, window: int) -> tuple[int, int]:
    """Return first and last-plus-one row of a window, moved to where it fits."""
    first = max(0, min(start, series.n_samples - window))
    return first, min(series.n_samples, first + window)


def _window(series: Series, lengths: tuple[int, ...], usual: int) -> dict[str, Any]:
    """Return the selectors of a window: where it starts, and how long it is; no more than may be read for one picture.

    All are counted in samples of the series; the pictures' axes tell the seconds.
    """
    if not series.n_samples:
        raise InputError("the series is empty")
    most = min(series.n_samples, series.most_rows)
    known = [length for length in lengths if length < most] + ([most] if most <= max(lengths) else [])
    default = min(known, key=lambda length: abs(length - usual))
    period = float(np.median(np.diff(series.times[:1000]))) if series.n_samples > 1 else 0.0
    names = [(f"{length} samples ({_seconds(length * period)})", length) for length in known]
    start = slider("from sample", 0, series.n_samples - default, 0, max(1, series.n_samples // 500))
    window = dropdown("window", names, default)
    # first, so that it is done when the picture is drawn; what lies beyond the new end moves to it
    window.observe(lambda change: setattr(start, "max", series.n_samples - change["new"]), names="value")
    return {"start": start, "window": window}


def _seconds(value: float) -> str:
    return f"{value:.3g} s" if value < 120 else f"{value / 60:.3g} min"
