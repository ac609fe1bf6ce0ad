"""Scoring a forecaster on a part of its sessions, and keeping the best epoch's parameters."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import numpy as np
from torch import Tensor

from ..metrics import score_neurons
from .forecaster import Forecaster, predict_series
from .windows import Windows

_BLOCK = 2**19  # numbers of a forecast held at a time


def validate(forecaster: Forecaster, windows: Sequence[Windows], part: str = "validation") -> tuple[float, float]:
    """Return the MSE and the correlation on a part, each a mean over neurons, then over sessions.

    Neurons whose trace or forecast is constant have no correlation and do not count in that mean.
    """
    return mean_scores([score_session(forecaster, session, part) for session in windows])


def score_session(forecaster: Forecaster, session: Windows, part: str) -> tuple[float, float]:
    """Return the MSE and the correlation of one session, means over neurons; NaN where a forecast is not finite."""
    indices = session.targets[part]
    prediction = predict_series(forecaster, session, indices)
    if not np.isfinite(prediction).all():
        return math.nan, math.nan
    scores = score_neurons(prediction, session.truth(indices))
    defined = scores.correlation[~np.isnan(scores.correlation)]
    return float(scores.mse.mean()), float(defined.mean()) if len(defined) else math.nan


def mean_squared_error(forecaster: Forecaster, session: Windows, part: str) -> float:
    """Return the MSE of one session on a part, which may be long: neither it nor its forecast is held as a whole."""
    indices, total = session.targets[part], 0.0
    for chosen in indices.split(max(1, _BLOCK // session.n_neurons)):
        error = predict_series(forecaster, session, chosen) - session.truth(chosen)
        total += float(np.sum(error**2, dtype=np.float64))
    return total / (len(indices) * session.n_neurons)


def mean_scores(scores: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the means over sessions; both are NaN if one session has no MSE."""
    mse, correlation = ([pair[k] for pair in scores] for k in (0, 1))
    if any(math.isnan(value) for value in mse):
        return math.nan, math.nan
    defined = [value for value in correlation if not math.isnan(value)]
    return float(np.mean(mse)), float(np.mean(defined)) if defined else math.nan


class Best:
    """The best epochs by either score, and a copy of the parameters of the one that counts.

    Parameters
    ----------
    select_by : str
        ``mse`` or ``correlation``: the score that counts.
    leave_out : collection of str
        Names of parameters that are not copied, as another process holds them.
    """

    def __init__(self, select_by: str, leave_out: Collection[str] = ()) -> None:
        self._select_by, self._leave_out = select_by, leave_out
        self.score = {"mse": math.inf, "correlation": math.inf}
        """The lowest MSE and the lowest negative correlation."""
        self.epoch = {"mse": 0, "correlation": 0}
        """The epochs of these; 0 for the start, or for none."""
        self.state: dict[str, Tensor] = {}
        """The parameters kept; none before an epoch has a score that counts."""

    @property
    def kept(self) -> int:
        """The epoch whose parameters are kept; 0 for the start, or for none."""
        return self.epoch[self._select_by]

    def offer(self, forecaster: Forecaster, epoch: int, mse: float, correlation: float) -> None:
        """Take note of an epoch; scores that are NaN are never best."""
        for name, score in (("mse", mse), ("correlation", -correlation)):
            if score < self.score[name]:
                self.score[name], self.epoch[name] = score, epoch
                if name == self._select_by:
                    state = forecaster.state_dict().items()
                    self.state = {key: value.detach().clone() for key, value in state if key not in self._leave_out}
