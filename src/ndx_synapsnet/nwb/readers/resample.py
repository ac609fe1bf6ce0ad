"""Behaviour on the session's clock, without looking into the future.

A sample gets the mean of the measurements that fall into what it sees (see `Clock`): of a bin, its own time; of a
frame, the time since the frame before. Where there is none, the last measurement before is held for a while; then the
value is missing. A measurement made at the end of a bin, or after a frame, never enters it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .clock import Clock


def resample(
    clock: Clock, times: NDArray[np.float64], values: NDArray[np.float64], *, max_hold: float
) -> NDArray[np.float32]:
    """Return measurements on the samples of `clock`.

    Parameters
    ----------
    clock : Clock
        The session's T samples.
    times : array (M,)
        When the measurements were made, in any order.
    values : array (M,)
        The measurements; those that are not finite are missing.
    max_hold : float
        Seconds for which a measurement is held: from it to the sample's time.

    Returns
    -------
    array (T,)
        NaN where nothing is known.
    """
    usable = np.isfinite(times) & np.isfinite(values)
    order = np.argsort(times[usable], kind="stable")
    times, values = times[usable][order], values[usable][order]
    result = np.full(len(clock), np.nan)
    if len(times) == 0 or len(clock) == 0:
        return result.astype(np.float32)
    at = clock.place(times)
    seen = at >= 0
    counts = np.bincount(at[seen], minlength=len(clock))
    sums = np.bincount(at[seen], values[seen], minlength=len(clock))
    np.divide(sums, counts, out=result, where=counts > 0)
    empty = np.flatnonzero(counts == 0)
    wanted = clock.times[empty]
    before = np.searchsorted(times, wanted, side="right") - 1
    age = wanted - times[np.maximum(before, 0)]
    held = (before >= 0) & (age <= max_hold)
    result[empty[held]] = values[before[held]]
    return result.astype(np.float32)
