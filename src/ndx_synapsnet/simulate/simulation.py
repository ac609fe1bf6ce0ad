"""What a simulator returns: the recording, its true wiring, and on request all that the recording does not show.

Letters as in the package: M neurons of the network, N recorded, T samples, K behaviours, V task variables, L lags.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ..session import Connectivity, Neurons, Session


@dataclass(frozen=True, eq=False)
class Hidden:
    """The whole network, recorded or not, sample by sample as in the session."""

    activity: NDArray[np.float32]
    """(M, T) activity of all neurons, of the session's kind; row `recorded[i]` is the session's row i."""
    task: NDArray[np.float32]
    """(V, T) task variables."""
    truth: Connectivity
    """Weights among all M neurons, [target, source], in the unit of the simulation's truth."""
    neurons: Neurons
    """All M neurons."""
    expected: NDArray[np.float32] | None = None
    """(M, T) mean of each sample given all that came before and the true equations: the best forecast that there is.
    None where the equations do not give it."""
    counts: NDArray[np.float32] | None = None
    """(M, T) spikes in each sample, where the activity is something else; else None."""
    filters: NDArray[np.float32] | None = None
    """(L, M, M) as `Simulation.filters`, among all."""


@dataclass(frozen=True, eq=False)
class Simulation:
    """A simulated recording and the wiring behind it."""

    session: Session
    truth: Connectivity
    """Weights among the recorded neurons, [target, source]; its description says what a weight is."""
    clipped: float = 0.0
    """Fraction of the rates that left their range and were set to its end: 0 (paper), or the limit (GLM)."""
    recorded: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    """(N,) which of the network's M neurons the session's rows are."""
    filters: NDArray[np.float32] | None = None
    """(L, N, N) effect of a source's spike 1, 2, ... L samples later, where effects last; `truth` is their sum."""
    diagnostics: Mapping[str, float] = field(default_factory=dict)
    """What tells a sensible network from an odd one: ``rate_mean``, ``rate_low`` and ``rate_high`` (Hz; 2nd and 98th
    percentile over neurons), ``pair_correlation`` (mean over pairs at lag 0) and, of spiking networks, ``cv_isi``."""
    hidden: Hidden | None = None
    """The whole network, if it was to be kept."""

    def revealed(self, *, neurons: bool = True, inputs: bool = True) -> Simulation:
        """Return the simulation as if more of it had been recorded: a rung of the oracle ladder.

        To compare an estimate from all neurons with one from the recorded ones, score the part of it that belongs to
        these: its rows and columns ``simulation.recorded``, against ``simulation.truth``.

        Parameters
        ----------
        neurons : bool
            Whether all M neurons are in the session.
        inputs : bool
            Whether the task variables are behaviours of it, after those it has.

        Raises
        ------
        ValueError
            If the simulation did not keep what it hides.
        """
        if self.hidden is None:
            raise ValueError("what the recording hides was not kept: simulate with keep_hidden=True")
        session, truth, filters, recorded = self.session, self.truth, self.filters, self.recorded
        if inputs:
            names = tuple(f"task_{k}" for k in range(len(self.hidden.task)))
            session = replace(
                session,
                behavior=np.concatenate([session.behavior, self.hidden.task]),
                behavior_names=(*session.behavior_names, *names),
            )
        if neurons:
            recorded = np.arange(len(self.hidden.activity))
            session = replace(session, activity=self.hidden.activity, neurons=self.hidden.neurons)
            truth, filters = self.hidden.truth, self.hidden.filters
        notes = [*session.provenance.get("notes", []), *(["all neurons are shown"] if neurons else [])]
        notes += ["task variables are shown as behaviours"] if inputs else []
        session = replace(session, provenance={**session.provenance, "notes": notes})
        return replace(self, session=session, truth=truth, filters=filters, recorded=recorded)


def wiring(
    weights: NDArray[np.floating], recorded: NDArray[np.int64], *, description: str, lag_seconds: float
) -> tuple[Connectivity, Connectivity]:
    """Return the true connectivity among the recorded neurons, and among all.

    Parameters
    ----------
    weights : (M, M) array
        [target, source].
    recorded : (N,) array
        Rows of the recorded neurons.
    description : str
        What a weight means, and its unit.
    lag_seconds : float
        Seconds a sample.
    """
    every = Connectivity(
        weights=weights.astype(np.float32),
        method="ground_truth",
        description=description,
        lag=1,
        lag_seconds=lag_seconds,
    )
    return replace(every, weights=every.weights[np.ix_(recorded, recorded)]), every


def population_diagnostics(counts: NDArray[np.float32], period: float) -> dict[str, float]:
    """Return rates and pairwise correlation of spike counts (M, T); see `Simulation.diagnostics`."""
    rates = counts.mean(1, dtype=np.float64) / period
    found = {
        "rate_mean": float(rates.mean()),
        "rate_low": float(np.percentile(rates, 2)),
        "rate_high": float(np.percentile(rates, 98)),
    }
    deviation = counts.std(1, dtype=np.float64)
    alive = deviation > 0
    m = int(alive.sum())
    if m > 1:
        # the mean of all pairs' correlations follows from the variance of the summed z-scores
        total = np.zeros(counts.shape[1])
        for row, sd in zip(counts[alive], deviation[alive], strict=True):
            total += row / sd
        found["pair_correlation"] = float((total.var() - m) / (m * (m - 1)))
    return found
