"""What was recorded behind a forecast: from the recording that a view was handed, or from the series it links to.

Letters: n samples, N neurons.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ...nwb.readers.scale import scale_of
from ...session import Session
from .nodes import Series, z_score

Recorded = Callable[[int, int, "NDArray[np.int64] | None"], NDArray[np.float32]]
"""First and last-plus-one row of a forecast, and columns → recorded activity (n, N), z-scored."""


def recorded_of(series: Series, recording: Session | None = None) -> Recorded | None:
    """Return what reads the recorded activity behind a forecast; None if it is not in the same file and not given.

    Parameters
    ----------
    series : Series
        Of an `ActivityForecast`.
    recording : Session, optional
        The recording, restricted to the fit's neurons (`nwb.original.read_original`).
    """
    if series.scale is None:
        return None
    mean, std = series.scale
    index = series.node.sample_index
    if recording is not None and index is not None and recording.n_neurons > series.rows.max(initial=-1):
        places = np.asarray(index[:], np.int64)

        def of_session(start: int, stop: int, columns: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
            chosen = slice(None) if columns is None else columns
            block = recording.activity[series.rows[chosen]][:, places[start:stop]].T
            return z_score(np.array(block, np.float32), mean[chosen], std[chosen])

        return of_session
    return _linked(series)


def _linked(series: Series) -> Recorded | None:
    """Return what reads the series that a forecast links to, if its frames are the forecast's samples."""
    observed = getattr(series.node, "observed", None)
    rois = getattr(observed, "rois", None)
    if observed is None or rois is None or series.scale is None or len(observed.data.shape) != 2:
        return None
    neurons, known = series.population.neurons, np.asarray(rois.data[:], np.int64)
    if observed.data.shape[1] != len(known) or not np.all(neurons.source_object_id == rois.table.object_id):
        return None
    place = {int(row): column for column, row in enumerate(known)}
    if not all(int(row) in place for row in neurons.source_row):
        return None
    columns_there = np.array([place[int(row)] for row in neurons.source_row])
    if observed.timestamps is not None:
        clock = np.asarray(observed.timestamps[:], np.float64)
    else:
        clock = (observed.starting_time or 0.0) + np.arange(observed.data.shape[0]) / (observed.rate or 1.0)
    frames = np.clip(np.searchsorted(clock, series.times), 1, len(clock) - 1)
    frames -= (series.times - clock[frames - 1]) < (clock[frames] - series.times)
    period = float(np.median(np.diff(clock))) if len(clock) > 1 else 1.0
    if not len(frames) or np.abs(clock[frames] - series.times).max() > 0.05 * period:
        return None  # the session was resampled: what was fitted is not in the file
    (mean, std), (factor, offset) = series.scale, scale_of(observed)
    in_order = np.array_equal(columns_there, np.arange(len(known)))

    def of_file(start: int, stop: int, columns: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        chosen = slice(None) if columns is None else columns
        wanted = frames[start:stop]
        if not len(wanted):
            return np.zeros((0, len(columns_there[chosen])), np.float32)
        first = int(wanted[0])
        block = np.array(observed.data[first : int(wanted[-1]) + 1], np.float32)
        if len(wanted) < len(block):
            block = block[wanted - first]
        if columns is not None or not in_order:
            block = block[:, columns_there[chosen]]
        block *= factor
        block += offset
        return z_score(block, mean[chosen], std[chosen])

    return of_file
