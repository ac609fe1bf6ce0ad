"""Networks with known wiring: the paper's simulator (section 3.2), as a `Session` beside its true connectivity."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .session import Connectivity, Neurons, Session


@dataclass(frozen=True)
class PaperNetworkConfig:
    """The paper's network. Its text gives the equation and the sizes; the constants are ours, written down here.

    With these constants and 20,000 samples the lag-1 correlation recovers the wiring with r of about 0.3, as the
    paper reports for its own (section 3.2).
    """

    n_neurons: int = 600
    """Neurons in the network."""
    n_recorded: int = 200
    """Neurons that are recorded, chosen at random; the others drive them unseen."""
    n_samples: int = 20_000
    """Samples kept, after `burn_in`."""
    density: float = 0.05
    """Fraction of ordered pairs that are connected."""
    placement: Literal["mandelbrot", "random"] = "mandelbrot"
    """Where the connections are: denser along the Mandelbrot set's outline, or anywhere alike."""
    n_behavior: int = 2
    """Behavioural variables B, which the model is shown."""
    n_task: int = 2
    """Task variables V, which it is not."""
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
    period: float = 1 / 30
    """Seconds a sample."""
    burn_in: int = 100
    """Samples dropped at the start."""
    seed: int = 0

    def __post_init__(self) -> None:
        if not 2 <= self.n_recorded <= self.n_neurons:
            raise ValueError(f"n_recorded is {self.n_recorded}, expected 2 to n_neurons ({self.n_neurons})")
        if self.n_samples < 1 or self.burn_in < 1:
            raise ValueError("n_samples and burn_in must be at least 1")
        if not 0 < self.density < 1:
            raise ValueError(f"density is {self.density}, expected a fraction between 0 and 1")
        if self.placement not in ("mandelbrot", "random"):
            raise ValueError(f"placement is {self.placement!r}, expected 'mandelbrot' or 'random'")
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}, expected 0 or more")
        if not 0 <= self.persistence < 1:
            raise ValueError(f"persistence is {self.persistence}, expected 0 to below 1")


@dataclass(frozen=True)
class Simulation:
    """A simulated recording and the wiring behind it."""

    session: Session
    truth: Connectivity
    """Weights w1 A among the recorded neurons, [target, source]."""
    clipped: float
    """Fraction of the rates that were below 0 and set to 0."""


def simulate_paper_network(config: PaperNetworkConfig | None = None) -> Simulation:
    """Simulate R = tanh(R_mean + w1 A X + w2 B + w3 V - w4 X + n), X ~ Poisson(max(R, 0)) (paper, section 3.2).

    Parameters
    ----------
    config : PaperNetworkConfig, optional
        Sizes and constants; the paper's sizes by default.

    Returns
    -------
    Simulation
        Spike counts of the recorded neurons with B as behaviour, and their true connectivity.
    """
    config = config or PaperNetworkConfig()
    rng = np.random.default_rng(config.seed)
    n, total = config.n_neurons, config.n_samples + config.burn_in

    connected = _placement(config, rng)
    weights = rng.normal(size=(n, n)) * connected / np.sqrt(config.density * n)
    coupling = config.current_gain * rng.uniform(0.5, 1.5, n)[:, None] * weights  # w1 A
    inhibition = config.self_inhibition * rng.uniform(0.5, 1.5, n)
    behavior = _slow_variables(total, config.n_behavior, config.persistence, rng)
    task = _slow_variables(total, config.n_task, config.persistence, rng)
    drive = np.tile(rng.uniform(*config.mean_rate, n), (total, 1))
    drive[1:] += config.behavior_gain * behavior[:-1] @ rng.normal(size=(config.n_behavior, n))
    drive[1:] += config.task_gain * task[:-1] @ rng.normal(size=(config.n_task, n))
    drive += config.noise * rng.normal(size=(total, n))

    recurrent = coupling - np.diag(inhibition)
    counts = np.zeros((total, n), np.float32)
    clipped = 0
    x = np.zeros(n)
    for t in range(1, total):
        rate = np.tanh(drive[t] + recurrent @ x)
        clipped += int((rate < 0).sum())
        x = rng.poisson(np.maximum(rate, 0.0)).astype(float)
        counts[t] = x

    recorded = np.sort(rng.choice(n, config.n_recorded, replace=False))
    session = _as_session(counts[config.burn_in :, recorded].T, behavior[config.burn_in :].T, recorded, config)
    truth = Connectivity(
        weights=coupling[np.ix_(recorded, recorded)].astype(np.float32),
        method="ground_truth",
        description="True weight w1 A of the simulated network: change of the target's drive per spike of the source",
        lag=1,
        lag_seconds=config.period,
    )
    return Simulation(session, truth, clipped / ((total - 1) * n))


def random_session(neurons: int, samples: int, behaviors: int = 2) -> Session:
    """Return a session of random numbers, for timing only."""
    rng = np.random.default_rng(0)
    names = np.arange(neurons).astype(str)
    return Session(
        activity=rng.standard_normal((neurons, samples), dtype=np.float32),
        times=np.arange(samples, dtype=np.float64),
        period=1.0,
        segment=np.zeros(samples, np.int32),
        valid=np.ones(samples, bool),
        behavior=rng.standard_normal((behaviors, samples), dtype=np.float32),
        behavior_names=tuple(f"b{k}" for k in range(behaviors)),
        neurons=Neurons(names, names, names, np.arange(neurons)),
        activity_kind="other",
        unit="",
        modality="ophys",
    )


def _slow_variables(total: int, k: int, persistence: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return (total, k) independent unit-variance first-order autoregressive series."""
    steps = rng.normal(size=(total, k))
    series = np.empty((total, k))
    series[0] = steps[0]
    innovation = np.sqrt(1 - persistence**2)
    for t in range(1, total):
        series[t] = persistence * series[t - 1] + innovation * steps[t]
    return series


def _placement(config: PaperNetworkConfig, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return which ordered pairs [target, source] are connected; never a neuron with itself."""
    n = config.n_neurons
    chance = mandelbrot_image(n) if config.placement == "mandelbrot" else np.ones((n, n))
    np.fill_diagonal(chance, 0.0)
    # scale the chances until their sum is the wanted number of connections, although none may exceed 1
    wanted = config.density * n * (n - 1)
    low, high = 0.0, wanted / chance.sum() * n
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if np.minimum(middle * chance, 1).sum() < wanted else (low, middle)
    return np.asarray(rng.random((n, n)) < high * chance)


def mandelbrot_image(size: int, iterations: int = 40) -> NDArray[np.float64]:
    """Return a (size, size) picture of the Mandelbrot set: brightest at its outline, dim but never 0 elsewhere.

    Parameters
    ----------
    size : int
        Pixels a side.
    iterations : int
        Steps after which a point counts as inside.
    """
    real, imaginary = np.meshgrid(np.linspace(-2.1, 0.6, size), np.linspace(-1.25, 1.25, size))
    c = real + 1j * imaginary
    z = np.zeros_like(c)
    escape = np.full(c.shape, float(iterations))
    for step in range(iterations):
        alive = escape == iterations
        z[alive] = z[alive] ** 2 + c[alive]
        escape[alive & (np.abs(z) > 2)] = step
    brightness: NDArray[np.float64] = (escape / iterations) ** 1.5
    brightness[escape == iterations] = 0.0  # the inside is plain: the outline carries the pattern
    return brightness + 0.02


def _as_session(
    activity: NDArray[np.float32],
    behavior: NDArray[np.float64],
    recorded: NDArray[np.int64],
    config: PaperNetworkConfig,
) -> Session:
    """Dress the arrays as a spike-count session, with what made it in the provenance."""
    n, t = activity.shape
    neurons = Neurons(
        id=np.array([str(row) for row in recorded]),
        source_path=np.full(n, "/units"),
        source_object_id=np.full(n, ""),
        source_row=np.arange(n),
    )
    names = tuple(f"behavior_{k}" for k in range(config.n_behavior))
    return Session(
        activity=activity,
        times=np.arange(t, dtype=np.float64) * config.period,
        period=config.period,
        segment=np.zeros(t, np.int32),
        valid=np.ones(t, bool),
        behavior=behavior.astype(np.float32),
        behavior_names=names,
        neurons=neurons,
        activity_kind="spike_counts",
        unit="spikes",
        modality="ecephys",
        provenance={
            "uri": f"simulation:paper?seed={config.seed}",
            "format": "simulation",
            "reader": "simulation",
            "read_config": asdict(config),
            "identifier": f"ndx-synapsnet-{version('ndx-synapsnet')}-simulation-{config.seed}",
            "session_id": f"simulation-{config.seed}",
            "session_description": "Simulated recording with known wiring (SynapsNet paper, section 3.2)",
            "session_start_time": datetime(1970, 1, 1, tzinfo=timezone.utc).isoformat(),
            "subject": None,
            "series": [],
            "behavior": [{"name": name, "path": "", "object_id": "", "missing": 0.0} for name in names],
            "notes": [f"{config.n_recorded} of {config.n_neurons} simulated neurons are recorded"],
        },
    )
