"""Scores as the paper reports them: over time, then neurons, then sessions.

Letters: S sessions, N neurons of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..session import Scores


@dataclass(frozen=True)
class Summary:
    """A mean over sessions."""

    mean: float | None
    """None where no session has a value."""
    sem: float | None
    """Standard error of the mean, the sample deviation over √S; None of fewer than two sessions."""
    sessions: int
    """S, sessions that have a value."""


@dataclass(frozen=True, eq=False)
class Aggregate:
    """Scores of one model over sessions (paper, Table 1)."""

    correlation: Summary
    """Pearson r."""
    mse: Summary
    """Mean squared error, z-scored."""
    correlation_by_session: NDArray[np.float64]
    """(S,) means over the neurons that have a correlation; NaN in a session where none has."""
    mse_by_session: NDArray[np.float64]
    """(S,) means over all neurons."""
    constant_by_session: NDArray[np.int64]
    """(S,) neurons without a correlation, as their trace or forecast is constant."""
    neurons_by_session: NDArray[np.int64]
    """(S,) N."""

    @property
    def constant(self) -> int:
        """Neurons without a correlation, in all sessions."""
        return int(self.constant_by_session.sum())

    @property
    def neurons(self) -> int:
        """Neurons in all sessions."""
        return int(self.neurons_by_session.sum())


def aggregate(scores_by_session: Sequence[Scores]) -> Aggregate:
    """Average scores over neurons, then over sessions, with the standard error over sessions (paper, section 3.1).

    Parameters
    ----------
    scores_by_session : sequence of Scores
        One a session, as `score_neurons` gives them: each is already over time.

    Returns
    -------
    Aggregate
        Neurons whose trace or forecast is constant have no correlation: they do not count in its mean and are counted
        apart. They count in that of the squared error. No summary is NaN.

    Raises
    ------
    ValueError
        If there is no session, or one without neurons.
    """
    if not scores_by_session or any(not len(scores.mse) for scores in scores_by_session):
        raise ValueError("there is no session to aggregate, or one has no neurons")
    defined = [scores.correlation[~np.isnan(scores.correlation)] for scores in scores_by_session]
    correlation = np.array([np.mean(each, dtype=np.float64) if len(each) else np.nan for each in defined])
    mse = np.array([np.mean(scores.mse, dtype=np.float64) for scores in scores_by_session])
    neurons = np.array([len(scores.mse) for scores in scores_by_session])
    return Aggregate(
        correlation=summarize(correlation),
        mse=summarize(mse),
        correlation_by_session=correlation,
        mse_by_session=mse,
        constant_by_session=neurons - np.array([len(each) for each in defined]),
        neurons_by_session=neurons,
    )


def summarize(values: ArrayLike) -> Summary:
    """Return the mean of one value a session and its standard error; NaN stands for a session without a value."""
    values = np.asarray(values, np.float64)
    present = values[~np.isnan(values)]
    count = len(present)
    return Summary(
        mean=float(present.mean()) if count else None,
        sem=float(present.std(ddof=1) / np.sqrt(count)) if count > 1 else None,
        sessions=count,
    )


def improvement(scores: Scores, persistence: Scores) -> float | None:
    """Return by which share a forecast's error is below that of the last sample again: 1 - MSE / MSE of persistence.

    Parameters
    ----------
    scores, persistence : Scores
        Of the same neurons and test samples of one session.

    Returns
    -------
    float or None
        From the errors' means over neurons; 1 is a perfect forecast, 0 one as good as persistence, below 0 a worse one.
        None where persistence makes no error.

    Raises
    ------
    ValueError
        If they are not of as many neurons.
    """
    if len(scores.mse) != len(persistence.mse):
        raise ValueError(f"scores of {len(scores.mse)} neurons and of {len(persistence.mse)} cannot be compared")
    error = float(np.mean(persistence.mse, dtype=np.float64))
    return 1 - float(np.mean(scores.mse, dtype=np.float64)) / error if error > 0 else None
