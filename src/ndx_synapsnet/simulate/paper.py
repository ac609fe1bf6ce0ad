"""The paper's simulator (section 3.2).

Letters as in the package: M neurons of the network, N recorded, T samples, K behaviours, V task variables.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .network import NetworkConfig, dressed, network_neurons, refuse_unless, slow_variables, steps_of
from .placement import Placement, connected_pairs
from .simulation import Hidden, Simulation, population_diagnostics, wiring


@dataclass(frozen=True)
class PaperNetworkConfig(NetworkConfig):
    """The paper's network. Its text gives the equation and the sizes; the constants are ours, written down here.

    They are calibrated to two figures of the paper (section 3.2). Its lag-1 correlation recovers the wiring with r of
    about 0.3; ours with 0.31 (200 of 600 neurons, 20,000 samples, seed 0). Its SynapsNet forecasts with r of 0.36 and
    an MSE of 0.83; here ridge VAR reaches 0.32 and 0.89, and 0.41 and 0.82 if it is shown all neurons and inputs; the
    true rates themselves reach 0.50 and 0.75. 40% of the rates are below 0 and set to it.
    """

    n_neurons: int = 600
    """Neurons in the network."""
    n_recorded: int = 200
    """Neurons that are recorded, chosen at random; the others drive them unseen."""
    placement: Placement = "mandelbrot"
    """Where the connections are: denser along the Mandelbrot set's outline, or anywhere alike."""
    current_gain: float = 1.2
    """w1, times a random factor of 0.5 to 1.5 a neuron."""
    behavior_gain: float = 0.35
    """w2, times a standard normal number a neuron and variable."""
    task_gain: float = 0.3
    """w3, likewise."""
    self_inhibition: float = 0.1
    """w4, times a random factor of 0.5 to 1.5 a neuron."""
    noise: float = 0.05
    """Standard deviation of n."""
    mean_rate: tuple[float, float] = (0.1, 0.5)
    """Range of the mean rates before the nonlinearity."""
    persistence: float = 0.95
    """Autocorrelation of B and V from one sample to the next."""

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_unless(self, "0 to below 1", persistence=0 <= self.persistence < 1)
        refuse_unless(self, "two numbers, in order", mean_rate=self.mean_rate[0] <= self.mean_rate[1])


def simulate_paper_network(
    config: PaperNetworkConfig | None = None, *, keep_hidden: bool = False, progress: bool = False
) -> Simulation:
    """Simulate R = tanh(R_mean + w1 A X + w2 B + w3 V - w4 X + n), X ~ Poisson(max(R, 0)) (paper, section 3.2).

    Parameters
    ----------
    config : PaperNetworkConfig, optional
        Sizes and constants; the paper's sizes by default.
    keep_hidden : bool
        Whether to keep the whole network; see `Hidden`. `Hidden.expected` is max(R, 0), the noise n included.
    progress : bool
        Whether a terminal shows a bar.

    Returns
    -------
    Simulation
        Spike counts of the recorded neurons with B as behaviour, and their true connectivity w1 A.
    """
    config = config or PaperNetworkConfig()
    rng = np.random.default_rng(config.seed)
    n, total = config.n_neurons, config.n_samples + config.burn_in

    connected = connected_pairs(n, config.density, config.placement, rng)
    weights = rng.normal(size=(n, n)) * connected / np.sqrt(config.density * n)
    coupling = config.current_gain * rng.uniform(0.5, 1.5, n)[:, None] * weights  # w1 A
    inhibition = config.self_inhibition * rng.uniform(0.5, 1.5, n)
    behavior = slow_variables(total, config.n_behavior, config.persistence, rng)
    task = slow_variables(total, config.n_task, config.persistence, rng)
    drive = np.tile(rng.uniform(*config.mean_rate, n), (total, 1))
    drive[1:] += config.behavior_gain * behavior[:-1] @ rng.normal(size=(config.n_behavior, n))
    drive[1:] += config.task_gain * task[:-1] @ rng.normal(size=(config.n_task, n))
    drive += config.noise * rng.normal(size=(total, n))

    recurrent = coupling - np.diag(inhibition)
    counts = np.zeros((total, n), np.float32)
    expected = np.zeros((total, n), np.float32) if keep_hidden else None
    clipped = 0
    x = np.zeros(n)
    for t in steps_of(range(1, total), progress=progress):
        rate = np.tanh(drive[t] + recurrent @ x)
        clipped += int((rate < 0).sum())
        mean = np.maximum(rate, 0.0)
        x = rng.poisson(mean).astype(float)
        counts[t] = x
        if expected is not None:
            expected[t] = mean

    recorded = np.sort(rng.choice(n, config.n_recorded, replace=False))
    kept = slice(config.burn_in, None)
    neurons = network_neurons(n, "ecephys")
    session = dressed(
        config,
        counts[kept, recorded].T,
        behavior[kept].T,
        neurons,
        recorded,
        name="paper",
        description="Simulated recording with known wiring (SynapsNet paper, section 3.2)",
    )
    truth, every = wiring(
        coupling,
        recorded,
        description="True weight w1 A of the simulated network: change of the target's drive per spike of the source",
        lag_seconds=config.period,
    )
    hidden = None
    if expected is not None:
        hidden = Hidden(counts[kept].T, task[kept].T.astype(np.float32), every, neurons, expected[kept].T)
    return Simulation(
        session,
        truth,
        clipped / ((total - 1) * n),
        recorded,
        diagnostics=population_diagnostics(counts[kept].T, config.period),
        hidden=hidden,
    )
