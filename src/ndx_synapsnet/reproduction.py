"""Whether a stored model gives its stored forecast again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from .errors import InputError
from .experiment import predict
from .session import FitResult, Forecast, Session

#: Largest difference, in z-scored units, by which a forecast made again may differ: other processors, numbers of
#: threads and versions of torch round otherwise. Where these are the same it has been equal to the bit.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Reproduction:
    """A forecast made again, beside the one that a result holds."""

    forecast: Forecast
    """The new one, of the same samples."""
    difference: float
    """The largest difference of the two, in deviations of each neuron's activity (z-scored units)."""

    @property
    def reproduced(self) -> bool:
        """Whether the difference is at most `TOLERANCE`."""
        return self.difference <= TOLERANCE


def reproduce(result: FitResult, session: Session, *, device: str = "auto") -> Reproduction:
    """Forecast again what a result holds the forecast of, and compare.

    Parameters
    ----------
    result : FitResult
        The fit, as made by `experiment.fit` or read from a file.
    session : Session
        The recording it was fitted to, read with the same settings.
    device : str
        As for `experiment.predict`.

    Raises
    ------
    InputError
        If the recording does not hold the fit's neurons, or other samples come out.
    """
    keep: Literal["test", "all"] = "all" if result.config.get("keep") == "all" else "test"
    again, stored = predict(result, session, keep=keep, device=device), result.forecast
    if not np.array_equal(again.index, stored.index):
        raise InputError(
            f"forecasts of other samples come out of it ({len(again.index)}) than are stored ({len(stored.index)})",
            where=session.label,
            remedy="Name the recording that the result was learned from.",
        )
    difference = np.abs(again.values - stored.values) / result.normalization.activity_std
    return Reproduction(again, float(difference.max(initial=0.0)))
