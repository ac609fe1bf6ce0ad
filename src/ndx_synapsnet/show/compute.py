"""What the pictures show, as plain arrays: computed first, so that drawing needs no knowledge of results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..metrics import lagged_correlation
from ..session import SPLITS, FitResult, Neurons, Session
from .matrix_view import MatrixView, matrix_view
from .ordering import MOST_GROUPS, Groups, Order, makes_groups, order_by

__all__ = [
    "PREDICTOR_NAMES",
    "MatrixView",
    "ScoreRow",
    "TraceView",
    "TrainingView",
    "best_epoch",
    "connectivity_view",
    "correlation_matrix",
    "order_neurons",
    "score_table",
    "trace_view",
    "training_view",
    "usual_order",
]

#: Names under which predictors appear in pictures and tables.
PREDICTOR_NAMES = {
    "synapsnet": "SynapsNet",
    "mean": "mean",
    "persistence": "persistence",
    "ar": "AR (own history)",
    "ar_long": "AR (longer history)",
    "ridge_var": "ridge VAR(1) + behaviour",
    "ar_var": "AR + VAR(1)",
}


@dataclass(frozen=True)
class TraceView:
    """A stretch of true and predicted activity of a few neurons."""

    times: NDArray[np.float64]
    """(n,) seconds."""
    names: tuple[str, ...]
    predicted: NDArray[np.float64]
    """(k, n) in z-scored units."""
    true: NDArray[np.float64] | None
    """(k, n) in z-scored units, or None where the source is out of reach."""
    correlation: NDArray[np.float64]
    """(k,) over the whole test part."""


@dataclass(frozen=True)
class ScoreRow:
    """One predictor's forecast scores over the neurons of a session."""

    key: str
    name: str
    correlation: float
    """Mean over the neurons that have one; NaN if none has."""
    sem: float
    """Standard error of that mean."""
    mse: float
    undefined: int
    """Neurons whose correlation is undefined, because the trace or its forecast is constant."""


@dataclass(frozen=True, eq=False)
class TrainingView:
    """The course of training."""

    epochs: NDArray[np.float64]
    train_loss: NDArray[np.float64] | None
    validation_mse: NDArray[np.float64] | None
    best: int | None
    """The epoch whose parameters were kept, if that is known."""


def order_neurons(neurons: Neurons) -> tuple[NDArray[np.int64], Groups]:
    """Return the order of the neurons by region (else cell type), and the groups' places in it.

    Neurons keep their order within a group. Labels that make no groups one could see (one for all, or about one a
    neuron) are passed over; without any, the order is the file's.
    """
    order = usual_order(neurons)
    return order.rows, order.groups


def usual_order(neurons: Neurons) -> Order:
    """Return the order of `order_neurons` with its name."""
    for name, labels in (("region", neurons.region), ("cell type", neurons.cell_type)):
        if labels is not None and makes_groups(labels) and len(np.unique(labels)) <= MOST_GROUPS:
            return order_by(name, neurons)
    return order_by("file", neurons)


def correlation_matrix(session: Session, columns: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
    """Return the pairwise lag-0 Pearson correlation over valid samples, zero on the diagonal and for constant neurons.

    Parameters
    ----------
    session : Session
        The recording.
    columns : array, optional
        Samples to use; all valid ones by default.
    """
    use = np.flatnonzero(session.valid) if columns is None else columns[session.valid[columns]]
    return lagged_correlation(session.activity[:, use], 0)


def connectivity_view(
    result: FitResult,
    session: Session | None = None,
    others: Mapping[str, NDArray[np.floating]] | None = None,
    *,
    order: Order | None = None,
) -> MatrixView:
    """Return the effective connectivity beside the lag-0 correlation and any other matrices.

    Parameters
    ----------
    result : FitResult
        The fit.
    session : Session, optional
        The recording it was learned from, restricted to its neurons; without it there is no correlation.
    others : mapping, optional
        Further [target, source] matrices by title, such as the true wiring.
    order : Order, optional
        Of the neurons; by default by region, else cell type, where these make groups.
    """
    panels: dict[str, NDArray[np.floating]] = {"SynapsNet connectivity": result.connectivity["effective"].weights}
    if session is not None:
        # on the training part, which is what the connectivity was learned from
        train = np.flatnonzero(result.split == SPLITS["train"])
        panels["lag-0 correlation"] = correlation_matrix(session, train)
    panels.update(others or {})
    return matrix_view(panels, order or usual_order(result.neurons))


def trace_view(result: FitResult, session: Session | None = None, *, neurons: int = 5, samples: int = 300) -> TraceView:
    """Return a stretch of the test part for neurons spread from the best forecast to the median one.

    Parameters
    ----------
    result : FitResult
        The fit.
    session : Session, optional
        The recording, restricted to the fit's neurons; without it there are no true traces.
    neurons : int
        How many traces.
    samples : int
        How many samples: the test part's first stretch without a gap, or its beginning.
    """
    r = result.scores[result.model].correlation
    ranked = np.argsort(-np.nan_to_num(r, nan=-2.0), kind="stable")
    chosen = ranked[np.unique(np.linspace(0, (len(ranked) - 1) // 2, min(neurons, len(ranked))).astype(int))]
    test = np.flatnonzero(result.forecast.split == SPLITS["test"])
    breaks = np.flatnonzero(np.diff(result.forecast.index[test]) > 1) + 1
    stretch = max(np.split(test, breaks), key=len)[:samples] if len(test) else test
    mean, std = result.normalization.activity_mean[chosen], result.normalization.activity_std[chosen]

    def scaled(rows: NDArray[np.floating]) -> NDArray[np.float64]:
        return np.asarray(((rows - mean) / std).T, np.float64)

    true = None if session is None else scaled(session.activity[np.ix_(chosen, result.forecast.index[stretch])].T)
    return TraceView(
        times=result.forecast.times[stretch],
        names=tuple(str(result.neurons.id[i]) for i in chosen),
        predicted=scaled(result.forecast.values[np.ix_(stretch, chosen)]),
        true=true,
        correlation=r[chosen].astype(np.float64),
    )


def best_epoch(result: FitResult) -> int | None:
    """Return the number of the epoch whose parameters were kept; None if the result does not say."""
    if "best_epoch" in result.provenance:
        return int(result.provenance["best_epoch"])
    curve = result.training.get("validation_mse", np.zeros(0))
    return int(result.training["epoch"][np.nanargmin(curve)]) if np.isfinite(curve).any() else None


def training_view(result: FitResult) -> TrainingView:
    """Return the course of training of a fit."""
    curve = result.training
    return TrainingView(
        curve.get("epoch", np.zeros(0)), curve.get("train_loss"), curve.get("validation_mse"), best_epoch(result)
    )


def score_table(result: FitResult) -> list[ScoreRow]:
    """Return the mean scores of the model and of each reference predictor, the model first."""
    rows = []
    for key, scores in result.scores.items():
        defined = scores.correlation[np.isfinite(scores.correlation)].astype(np.float64)
        rows.append(
            ScoreRow(
                key=key,
                name=PREDICTOR_NAMES.get(key, key),
                correlation=float(defined.mean()) if len(defined) else float("nan"),
                sem=float(defined.std(ddof=1) / np.sqrt(len(defined))) if len(defined) > 1 else float("nan"),
                mse=float(scores.mse.astype(np.float64).mean()),
                undefined=int(len(scores.correlation) - len(defined)),
            )
        )
    return rows
