"""A stored model at work again: its forecasts, and whether they are those that are stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from .assembly import forecast_of
from .config import config_from_mapping
from .errors import InputError
from .learn.preparation import prepare
from .learn.synapsnet import SynapsNet
from .learn.train import resolve_device
from .session import FitResult, Forecast, Session

#: Largest difference, in z-scored units, by which a forecast made again may differ: other processors, numbers of
#: threads and versions of torch round otherwise. Where these are the same it has been equal to the bit.
TOLERANCE = 1e-4


def predict(
    result: FitResult, session: Session, *, keep: Literal["test", "all"] = "test", device: str = "auto"
) -> Forecast:
    """Forecast a session again with a fitted model.

    Parameters
    ----------
    result : FitResult
        The fit, as made by `experiment.fit` or read from a file.
    session : Session
        The recording it was fitted to, read with the same settings.
    keep : {"test", "all"}
        Which part to forecast; ``all`` adds the input currents.
    device : str
        As in `TrainConfig.device`; the fit's own may not be here.

    Raises
    ------
    InputError
        If the session does not hold the neurons that the model was fitted to.
    """
    config = config_from_mapping(result.config)
    (windows,) = prepare([session], config.windows, device=resolve_device(device))
    ids = windows.neurons.id
    if not np.array_equal(ids, result.neurons.id):
        raise InputError(
            f"holds other neurons ({len(ids)} usable) than the fit ({len(result.neurons)})",
            where=session.label,
            remedy="Read the recording with the settings that the fit's provenance names.",
        )
    raw = result.connectivity.get("raw")
    model = SynapsNet.restore(
        windows,
        config.model,
        behavior_names=tuple(result.provenance.get("behavior_inputs", result.behavior_names)),
        weights=result.weights,
        embeddings=result.embeddings,
        raw_connectivity=None if raw is None else raw.weights,
    )
    return forecast_of(model, model.windows[0], session, keep)


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
        As for `predict`.

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
