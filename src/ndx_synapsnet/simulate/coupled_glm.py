"""A coupled Poisson GLM with known filters (Truccolo et al. 2005, Pillow et al. 2008), by its own equations.

Letters as in the package: M neurons of the network, N recorded, T samples, K behaviours, V task variables, L lags.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .network import NetworkConfig, dressed, network_neurons, refuse_unless, slow_variables, steps_of
from .placement import connected_pairs
from .simulation import Hidden, Simulation, population_diagnostics, wiring

Link = Literal["softplus", "exp"]


@dataclass(frozen=True)
class CoupledGLMConfig(NetworkConfig):
    """A network whose rates are a known function of all spikes in the last samples.

    With these constants (300 neurons, 20,000 samples, seed 0) rates are 2.1 to 13.2 Hz (2nd to 98th percentile, mean
    6.5). Of the wiring among 100 the lag-1 correlation recovers r of 0.54, ridge VAR 0.73, and 0.82 if it is shown all
    neurons and inputs. Ridge VAR forecasts with r of 0.25, the true rates with 0.40.
    """

    link: Link = "softplus"
    """From drive u to rate (spikes a sample): ln(1 + exp(s u)) / s with s the `sharpness`, or exp(u)."""
    sharpness: float = 4.0
    """Of softplus: how soon it is straight. The steeper, the more a small drive does at low rates."""
    coupling: float = 0.9
    """Standard deviation of the weights times the root of the number of a neuron's inputs. With softplus, whose slope
    is below 1, a network below 1 is stable; with exp, whose slope is the rate, 1.5 is, and 3 is at the limit often."""
    n_lags: int = 3
    """L, samples that a spike acts for."""
    filter_time: tuple[float, float] = (0.6, 2.0)
    """Range of the coupling filters' decay (1/e) in samples, uniform over connections."""
    history: float = 0.5
    """Refractoriness: drive that a neuron's own spike takes away one sample later."""
    history_time: float = 1.0
    """Samples in which that decays to 1/e."""
    behavior_gain: float = 0.15
    """Standard deviation over neurons of a behaviour's effect on the drive."""
    task_gain: float = 0.15
    """Likewise of a task variable's."""
    persistence: float = 0.95
    """Autocorrelation of behaviours and task variables from one sample to the next."""
    rate: tuple[float, float] = (0.05, 0.4)
    """Range of the rates (spikes a sample) that the constant drive alone would give, uniform over neurons."""
    rate_limit: float = 3.0
    """Spikes a sample that no rate exceeds; how often one would have is `Simulation.clipped`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_unless(self, "'softplus' or 'exp'", link=self.link in ("softplus", "exp"))
        refuse_unless(self, "at least 1", n_lags=self.n_lags >= 1)
        refuse_unless(self, "0 to below 1", persistence=0 <= self.persistence < 1)
        positive = ("sharpness", "history_time", "rate_limit")
        refuse_unless(self, "a positive number", **{name: getattr(self, name) > 0 for name in positive})
        others = ("coupling", "history", "behavior_gain", "task_gain")
        refuse_unless(self, "0 or more", **{name: getattr(self, name) >= 0 for name in others})
        for name in ("filter_time", "rate"):
            low, high = getattr(self, name)
            refuse_unless(self, "two positive numbers, in order", **{name: 0 < low <= high})
        refuse_unless(self, "below rate_limit", rate=self.rate[1] < self.rate_limit)


def simulate_coupled_glm(
    config: CoupledGLMConfig | None = None, *, keep_hidden: bool = False, progress: bool = False
) -> Simulation:
    """Simulate x(t) ~ Poisson(link(c + sum over lags l of F_l x(t-l) - h_l x(t-l) + b(t-1) + v(t-1))).

    Parameters
    ----------
    config : CoupledGLMConfig, optional
        Sizes and constants.
    keep_hidden : bool
        Whether to keep the whole network; see `Hidden`. `Hidden.expected` is the rate.
    progress : bool
        Whether a terminal shows a bar.

    Returns
    -------
    Simulation
        Spike counts of the recorded neurons. The truth is the sum of a connection's filter over its lags: the whole
        effect of a spike, of which lag 1 carries the most. All of a filter has one sign. `Simulation.filters` has the
        lags apart.
    """
    config = config or CoupledGLMConfig()
    rng = np.random.default_rng(config.seed)
    n, total = config.n_neurons, config.n_samples + config.burn_in
    filters = draw_filters(config, rng)
    history = config.history * np.exp(-np.arange(config.n_lags) / config.history_time)
    behavior = slow_variables(total, config.n_behavior, config.persistence, rng)
    task = slow_variables(total, config.n_task, config.persistence, rng)
    drive = np.tile(drive_of(rng.uniform(*config.rate, n), config), (total, 1))
    drive[1:] += config.behavior_gain * behavior[:-1] @ rng.normal(size=(config.n_behavior, n))
    drive[1:] += config.task_gain * task[:-1] @ rng.normal(size=(config.n_task, n))

    spread = filters.transpose(2, 0, 1).copy()  # (source, lag, target): what one source's spike adds, in one piece
    own = np.arange(n)
    spread[own, :, own] -= history
    spread = spread.reshape(n, config.n_lags * n)
    counts = np.zeros((total, n), np.float32)
    expected = np.zeros((total, n), np.float32) if keep_hidden else None
    clipped = 0
    pending = np.zeros((config.n_lags + 1, n))  # drive from earlier spikes: of this sample, the next, ...
    for t in steps_of(range(total), progress=progress):
        rate = rate_of(drive[t] + pending[0], config)
        clipped += int((rate > config.rate_limit).sum())
        rate = np.minimum(rate, config.rate_limit)
        x = rng.poisson(rate)
        counts[t] = x
        if expected is not None:
            expected[t] = rate
        pending[:-1] = pending[1:]
        pending[-1] = 0.0
        active = np.flatnonzero(x)
        pending[:-1] += (x[active] @ spread[active]).reshape(config.n_lags, n)

    recorded = np.sort(rng.choice(n, config.n_recorded, replace=False))
    kept = slice(config.burn_in, None)
    activity = counts[kept].T
    truth, every = wiring(
        filters.sum(0),
        recorded,
        description="True coupling filter of the simulated network, summed over its lags: change of the target's drive "
        "(the link's argument) per spike of the source",
        lag_seconds=config.period,
    )
    neurons = network_neurons(n, "ecephys")
    session = dressed(
        config,
        activity[recorded],
        behavior[kept].T,
        neurons,
        recorded,
        name="glm",
        description="Simulated spike counts of a coupled Poisson GLM with known filters",
    )
    hidden = None
    if expected is not None:
        hidden = Hidden(
            activity,
            task[kept].T.astype(np.float32),
            every,
            neurons,
            expected[kept].T,
            filters=filters.astype(np.float32),
        )
    return Simulation(
        session,
        truth,
        clipped / (total * n),
        recorded,
        filters=filters[:, recorded][:, :, recorded].astype(np.float32),
        diagnostics=population_diagnostics(activity, config.period),
        hidden=hidden,
    )


def draw_filters(config: CoupledGLMConfig, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw the coupling filters (L, M, M), lag 1 first: a normal weight times an exponential decay that sums to 1."""
    n = config.n_neurons
    connected = connected_pairs(n, config.density, config.placement, rng)
    weights = config.coupling * rng.normal(size=(n, n)) * connected / math.sqrt(config.density * n)
    times = rng.uniform(*config.filter_time, (n, n))
    shape = np.exp(-np.arange(config.n_lags)[:, None, None] / times)
    return np.asarray(weights * shape / shape.sum(0))


def rate_of(drive: NDArray[np.float64], config: CoupledGLMConfig) -> NDArray[np.float64]:
    """Return the link's rate (spikes a sample) at a drive, before the limit."""
    if config.link == "exp":
        # beyond the limit all is alike, and an overflow would warn
        return np.asarray(np.exp(np.minimum(drive, math.log(config.rate_limit) + 1)))
    return np.asarray(np.logaddexp(0, config.sharpness * drive) / config.sharpness)


def drive_of(rate: NDArray[np.float64], config: CoupledGLMConfig) -> NDArray[np.float64]:
    """Return the drive at which the link gives a rate."""
    if config.link == "exp":
        return np.asarray(np.log(rate))
    return np.asarray(np.log(np.expm1(config.sharpness * rate)) / config.sharpness)
