"""Activity over time made ready to be drawn: rasters, principal components, input currents.

Letters: n samples, N neurons, C components.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..metrics import (
    Components,
    CurrentCorrelation,
    correlate_currents,
    lagged_correlation,
    principal_components,
    shuffle_connectivity,
)
from ..metrics.currents import DELAYS
from ..metrics.pearson import correlate_columns
from ..metrics.scores import is_constant
from ..session import SPLITS, FitResult, Session
from .ordering import Groups, Order

#: Columns and rows of a raster beyond which neighbours are averaged: what a picture has dots for.
MOST_COLUMNS = 1000
MOST_ROWS = 300
_LONGEST = 600  # samples of a course that is drawn


@dataclass(frozen=True, eq=False)
class RasterView:
    """A stretch of activity of many neurons, predicted and recorded."""

    times: tuple[float, float]
    """Seconds of the first and the last sample."""
    predicted: NDArray[np.float32]
    """(rows, columns)."""
    recorded: NDArray[np.float32] | None
    """The same, or None where the source is out of reach."""
    n_neurons: int
    groups: Groups
    unit: str
    note: str


@dataclass(frozen=True, eq=False)
class ComponentsView:
    """The leading components of true and predicted activity over a stretch (paper, figure 2)."""

    times: NDArray[np.float64]
    """(n,) seconds; gaps are where they jump."""
    components: Components
    note: str = ""


@dataclass(frozen=True, eq=False)
class CurrentsView:
    """How input currents go with activity, by delay (paper, figure 4b)."""

    curves: Mapping[str, CurrentCorrelation]
    """By what the current is calculated from."""
    period: float
    """Seconds of a sample; NaN if not known."""
    activity: str = "activity"
    """What the currents are correlated with, in words."""
    note: str = ""


def raster_view(
    predicted: NDArray[np.floating],
    times: NDArray[np.float64],
    order: Order,
    *,
    recorded: NDArray[np.floating] | None = None,
    unit: str = "z-scored",
    most_columns: int = MOST_COLUMNS,
    most_rows: int = MOST_ROWS,
) -> RasterView:
    """Return a raster of a stretch of activity, no larger than can be seen.

    Parameters
    ----------
    predicted : array
        (n, N).
    times : array
        (n,) seconds.
    order : Order
        Of the N neurons.
    recorded : array, optional
        (n, N) on the same scale.
    unit : str
        Of both.
    most_columns, most_rows : int
        Samples and neurons beyond which neighbours are averaged; the note says so.
    """
    step, block = max(1, -(-len(predicted) // most_columns)), max(1, -(-predicted.shape[1] // most_rows))

    def shown(values: NDArray[np.floating]) -> NDArray[np.float32]:
        averaged = _means(np.asarray(values, np.float32), step, axis=0)
        return _means(averaged[:, order.rows], block, axis=1).T

    notes = [order.said]
    if step > 1:
        notes.append(f"each column is the mean of {step} samples")
    if block > 1:
        notes.append(f"each row is the mean of {block} neurons")
    return RasterView(
        times=(float(times[0]), float(times[-1])) if len(times) else (0.0, 0.0),
        predicted=shown(predicted),
        recorded=None if recorded is None else shown(recorded),
        n_neurons=predicted.shape[1],
        groups=order.groups,
        unit=unit,
        note="; ".join(note for note in notes if note),
    )


def _means(values: NDArray[np.float32], step: int, axis: int) -> NDArray[np.float32]:
    """Return the means of `step` neighbours along an axis; the last may be of fewer."""
    if step == 1:
        return values
    starts = np.arange(0, values.shape[axis], step)
    counts = np.diff(np.r_[starts, values.shape[axis]]).astype(np.float32)
    sums = np.add.reduceat(values, starts, axis=axis)
    return np.asarray(sums / (counts[:, None] if axis == 0 else counts))


def components_view(result: FitResult, session: Session, count: int = 3) -> ComponentsView:
    """Return the first components of the true and the predicted activity of the test part.

    Parameters
    ----------
    result : FitResult
        The fit.
    session : Session
        The recording it was learned from, restricted to its neurons.
    count : int
        C.

    Raises
    ------
    InputError
        If the forecast has fewer test samples than components.
    """
    test = np.flatnonzero(result.forecast.split == SPLITS["test"])
    predicted, true = _scaled(result, session, test)
    if min(predicted.shape) < count or len(test) < 2:
        raise InputError(f"there are {len(test)} test samples of {predicted.shape[1]} neurons: too few for components")
    return ComponentsView(result.forecast.times[test], principal_components(predicted, true, count))


def _scaled(
    result: FitResult, session: Session, rows: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return predicted and true activity (n, N), z-scored, of some rows of the forecast."""
    mean, std = result.normalization.activity_mean, result.normalization.activity_std
    predicted = (result.forecast.values[rows] - mean) / std
    true = (session.activity[:, result.forecast.index[rows]].T - mean) / std
    return predicted, np.asarray(true, np.float32)


def currents_view(result: FitResult, session: Session) -> CurrentsView:
    """Return how input currents of the test part go with activity before and after.

    Of the connectivity learned, of the pairwise correlation (of the training part), and of the connectivity shuffled.

    Parameters
    ----------
    result : FitResult
        The fit; it has the matrix ``effective``.
    session : Session
        The recording it was learned from, restricted to its neurons.

    Raises
    ------
    InputError
        If the fit has no such matrix, or the test part is too short.
    """
    if "effective" not in result.connectivity:
        raise InputError("the fit has no connectivity, so there are no input currents")
    test = np.flatnonzero((result.split == SPLITS["test"]) & session.valid)
    train = np.flatnonzero((result.split == SPLITS["train"]) & session.valid)
    if len(test) < 2 * (max(DELAYS) + 1):
        raise InputError(f"the test part has {len(test)} samples: too few for delays up to {max(DELAYS)}")
    weights = result.connectivity["effective"].weights
    mean, std = result.normalization.activity_mean[:, None], result.normalization.activity_std[:, None]
    activity = (session.activity[:, test] - mean) / std
    segment = np.cumsum(np.r_[0, (np.diff(test) > 1) | (np.diff(session.segment[test]) != 0)])
    matrices: dict[str, NDArray[np.floating]] = {
        "SynapsNet connectivity" if result.model == "synapsnet" else "connectivity": weights,
        "lag-0 correlation": lagged_correlation(session.activity[:, train], 0),
        "connectivity, shuffled": shuffle_connectivity(weights),
    }
    curves = {name: correlate_currents(activity, matrix, segment=segment) for name, matrix in matrices.items()}
    return CurrentsView(curves, result.period, note="currents and activity of the test part")


def correlate_series(
    currents: NDArray[np.floating],
    activity: NDArray[np.floating],
    delays: Sequence[int] = DELAYS,
    *,
    segment: NDArray[np.int64] | None = None,
    lead: int = 1,
) -> CurrentCorrelation:
    """Correlate input currents with activity before and after, of some neurons.

    Parameters
    ----------
    currents, activity : array
        (n, N).
    delays : sequence of int
        Samples from current to activity.
    segment : array, optional
        (n,) number of the stretch each row belongs to; no pair crosses a change of it.
    lead : int
        Samples by which the currents of a row are earlier than its activity: 1 of stored ones, which lie in the row of
        the sample that was predicted from them; 0 where both are of the same time.

    Returns
    -------
    CurrentCorrelation
        NaN where a delay leaves too few samples.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    if currents.shape != activity.shape:
        raise ValueError(f"currents {currents.shape} and activity {activity.shape} differ in shape")
    found = np.full((currents.shape[1], len(delays)), np.nan)
    for k, delay in enumerate(delays):
        shift = int(delay) - lead
        at = np.arange(max(0, -shift), len(currents) - max(0, shift))
        if segment is not None:
            at = at[segment[at] == segment[at + shift]]
        if len(at) > 2:
            first, second = np.asarray(currents[at], np.float64), np.asarray(activity[at + shift], np.float64)
            flat = is_constant(first) | is_constant(second)
            found[:, k] = np.where(flat, np.nan, correlate_columns(first, second))
    return CurrentCorrelation(np.asarray(delays, np.int64), found)


def longest_stretch(times: NDArray[np.float64], most: int = _LONGEST) -> slice:
    """Return the longest run of samples without a gap, and of it no more than `most`."""
    if len(times) < 3:
        return slice(0, len(times))
    steps = np.diff(times)
    breaks = np.flatnonzero(steps > 1.5 * np.median(steps)) + 1
    edges = np.r_[0, breaks, len(times)]
    place = int(np.argmax(np.diff(edges)))
    return slice(int(edges[place]), int(min(edges[place + 1], edges[place] + most)))
