"""Forecasts and input currents ↔ `ActivityForecast` and `InputCurrents`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pynwb import TimeSeries

from ..errors import InputError
from ..session import SPLITS, FitResult, Forecast
from .checks import read_numbers, read_whole
from .layout import Layout
from .matrices import all_rows, require_all_rows
from .provenance import MAX_SAMPLES
from .types import ActivityForecast, InputCurrents, NeuronEmbeddings, SynapsNetFit


def build_forecast(
    result: FitResult, table: NeuronEmbeddings, layout: Layout, *, observed: TimeSeries | None
) -> ActivityForecast:
    """Make the series of a result's forecast.

    The predicted samples' times are always written out: a rate would give them back rounded.

    Parameters
    ----------
    result : FitResult
        The result.
    table : NeuronEmbeddings
        Its neurons.
    layout : Layout
        How arrays are to lie on disk.
    observed : TimeSeries, optional
        The observed activity, if it is a series of the same file.
    """
    forecast = result.forecast
    names = {code: name for name, code in SPLITS.items()}
    last_code = max([*names, *np.unique(forecast.split).tolist()])
    return ActivityForecast(
        data=layout(forecast.values),
        unit=result.unit or "n.a.",
        description=f"Activity forecast {forecast.horizon} sample(s) ahead.",
        neurons=all_rows(table, "neurons"),
        timestamps=layout(forecast.times),
        control=layout(forecast.split),
        control_description=[names.get(code, f"part {code}") for code in range(last_code + 1)],
        horizon=int(forecast.horizon),
        sample_index=layout(forecast.index),
        observed=observed,
    )


def build_currents(
    currents: NDArray[np.float32], forecast: ActivityForecast, table: NeuronEmbeddings, layout: Layout
) -> InputCurrents:
    """Make the series of the input currents (n, N) behind a forecast; the two share their timestamps."""
    return InputCurrents(
        data=layout(currents),
        unit="z-score",
        description="Weights times z-scored activity at the last sample before the predicted one.",
        neurons=all_rows(table, "neurons"),
        timestamps=forecast,
    )


def read_forecast(fit: SynapsNetFit, n_neurons: int, *, where: str) -> Forecast:
    """Return the forecast of a fit, with its input currents if they are there.

    Parameters
    ----------
    fit : SynapsNetFit
        The fit, of an open file.
    n_neurons : int
        How many neurons it has.
    where : str
        The file and object, for messages.

    Raises
    ------
    InputError
        If there is no forecast, or its parts do not fit together.
    """
    node = fit.activity_forecasts.get("forecast")
    currents = fit.input_currents.get("input_currents")
    if node is None:
        raise InputError("the fit has no forecast", where=where)
    for series in (node, currents):
        if series is not None:
            require_all_rows(series, "neurons", n_neurons, where=f"{where}/{series.name}")
    place = f"{where}/forecast"
    absent = [name for name in ("timestamps", "control", "sample_index") if getattr(node, name) is None]
    if absent:
        raise InputError(f"the forecast has no {', '.join(absent)}", where=place)
    values = read_numbers(node.data, "data", where=place, shape=(None, n_neurons))
    n = len(values)

    def of_samples(name: str, kinds: str) -> NDArray[Any]:
        return read_numbers(getattr(node, name), name, where=place, shape=(n,), kinds=kinds)

    times = of_samples("timestamps", "iuf")
    index = of_samples("sample_index", "iu")
    split = of_samples("control", "iu")
    if n and not (np.isfinite(times).all() and (np.diff(times) > 0).all()):
        raise InputError("the forecast's timestamps do not increase", where=place)
    if n and not (index.min() >= 0 and index.max() < MAX_SAMPLES):
        raise InputError(f"sample_index reaches from {index.min()} to {index.max()}", where=place)
    if n and not (split.min() >= 0 and split.max() < 256):
        raise InputError(f"control reaches from {split.min()} to {split.max()}", where=place)
    return Forecast(
        values=values.astype(np.float32),
        index=index.astype(np.int64),
        times=times.astype(np.float64),
        split=split.astype(np.uint8),
        horizon=read_whole(node.horizon, "horizon", 1, where=place),
        currents=None
        if currents is None
        else read_numbers(currents.data, "data", where=f"{where}/{currents.name}", shape=(n, n_neurons)).astype(
            np.float32
        ),
    )
