"""What the readers of calcium and spikes hand on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...session import ActivityKind, Modality, Neurons
from .clock import SLACK, Clock, bin_index, whole_bins


@dataclass(frozen=True)
class Activity:
    """Activity on its clock, before behaviour is added."""

    values: NDArray[np.float32]
    """(N, T) in source units."""
    clock: Clock
    """When the T samples are."""
    valid: NDArray[np.bool_]
    """(T,) whether a sample may be used."""
    neurons: Neurons
    """The N neurons."""
    kind: ActivityKind
    """What the numbers are."""
    unit: str
    """Unit of `values`."""
    modality: Modality
    """How they were recorded."""
    sources: tuple[dict[str, str], ...]
    """Path, object id and name of what was read."""
    notes: tuple[str, ...]
    """What was done on reading."""


def rebin(values: NDArray[np.float32], clock: Clock, width: float, *, total: bool) -> tuple[NDArray[np.float32], Clock]:
    """Put frames together in bins of `width` seconds, none of which crosses a gap or ends after the last frame does.

    Each segment's first bin begins at its first frame. A bin with a frame that is not finite is not finite either.

    Parameters
    ----------
    values : array (N, T)
        One column a frame.
    clock : Clock
        Of the frames.
    width : float
        Seconds; at least a period of `clock`.
    total : bool
        Whether to give the sum over the bin, for events, rather than the mean. Where `width` is no multiple of the
        period, bins hold different numbers of frames: the sum is therefore the mean times width / period.

    Returns
    -------
    values : array (N, number of bins)
        Bins without any frame are NaN.
    clock : Clock
        Of the bins.
    """
    pieces: list[NDArray[np.float32]] = []
    times: list[NDArray[np.float64]] = []
    segments: list[NDArray[np.int32]] = []
    for number in np.unique(clock.segment):
        frames = np.flatnonzero(clock.segment == number)
        start = clock.times[frames[0]]
        n = whole_bins(clock.times[frames[-1]] + clock.period - start, width)
        # half a rounding error early, so that a frame at an edge is in the bin that begins there
        at = bin_index(clock.times[frames] + SLACK * clock.period, start, width)
        frames, at = frames[at < n], at[at < n]
        if n == 0:
            continue
        filled, first, counts = np.unique(at, return_index=True, return_counts=True)
        piece = np.full((len(values), n), np.nan, dtype=np.float32)
        sums = np.add.reduceat(values[:, frames], first, axis=1, dtype=np.float64)
        piece[:, filled] = sums / counts * (width / clock.period if total else 1.0)
        pieces.append(piece)
        times.append(start + np.arange(n) * width)
        segments.append(np.full(n, len(segments), dtype=np.int32))
    if not pieces:
        return np.zeros((len(values), 0), dtype=np.float32), Clock(np.zeros(0), width, np.zeros(0, np.int32), True)
    return np.concatenate(pieces, axis=1), Clock(np.concatenate(times), width, np.concatenate(segments), True)
