"""A network of leaky integrate-and-fire neurons, counted in bins.

Letters as in the package: M neurons of the network, N recorded, T samples, K behaviours, V task variables; P parts
that a sample's spikes are counted in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .network import NetworkConfig, dressed, network_neurons, refuse_unless, slow_variables, steps_of
from .placement import connected_pairs
from .simulation import Hidden, Simulation, population_diagnostics, wiring


@dataclass(frozen=True)
class SpikingNetworkConfig(NetworkConfig):
    """A balanced network with slow shared inputs. Voltages run from 0 (reset) to 1 (threshold).

    What a neuron does to another comes after conduction delay, synapse and membrane, some 40 ms later on average, so
    much of it falls into the next bin of 33 ms. With these constants (300 neurons, 20,000 bins, seed 0) rates are 1.7
    to 13.9 Hz (2nd to 98th percentile, mean 6.2), intervals vary with a CV of 1.37, pairs correlate with 0.010 on
    average. Of the wiring among 100 the lag-1 correlation recovers r of 0.29, ridge VAR 0.66, and 0.77 if it is shown
    all neurons and inputs.
    """

    burn_in: int = 900
    """Samples dropped at the start, in which each neuron's constant input settles until it fires at its own rate."""
    inhibitory: float = 0.2
    """Fraction of the neurons that inhibit all their targets; the others excite all theirs (Dale's law). Far below 0.2
    nothing holds the others back, and the network seizes: see `Simulation.diagnostics`."""
    coupling: float = 0.8
    """Mean excitatory weight times the root of the number of a neuron's inputs. A weight is the charge of one spike, as
    the voltage that it would add at once."""
    weight_spread: float = 0.5
    """Standard deviation of the logarithm of the weights (log-normal, as measured in cortex)."""
    inhibition: float = 4.0
    """Mean inhibitory weight, in excitatory ones."""
    delay: tuple[float, float] = (0.003, 0.010)
    """Range of the conduction delays in seconds, uniform."""
    synaptic_time: float = 0.015
    """Seconds in which a synaptic current decays to 1/e."""
    membrane_time: float = 0.02
    """Seconds in which the voltage forgets to 1/e."""
    refractory: float = 0.003
    """Seconds of silence after a spike."""
    noise: float = 0.4
    """Standard deviation of a voltage that only this neuron's own noise moves."""
    behavior_gain: float = 0.12
    """Standard deviation over neurons of a behaviour's effect on the voltage."""
    task_gain: float = 0.12
    """Likewise of a task variable's."""
    drive_time: float = 0.65
    """Seconds in which behaviours and task variables forget to 1/e."""
    rate: tuple[float, float] = (2.0, 12.0)
    """Range of the mean rates in Hz that the neurons settle at, uniform in the logarithm."""
    resolution: float = 0.002
    """Seconds a step of integration, at most."""

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_unless(self, "a fraction from 0 to below 1", inhibitory=0 <= self.inhibitory < 1)
        positive = ("synaptic_time", "membrane_time", "drive_time", "resolution")
        refuse_unless(self, "a positive number", **{name: getattr(self, name) > 0 for name in positive})
        others = ("coupling", "weight_spread", "inhibition", "refractory", "noise", "behavior_gain", "task_gain")
        refuse_unless(self, "0 or more", **{name: getattr(self, name) >= 0 for name in others})
        refuse_unless(self, "two numbers from 0 up, in order", delay=0 <= self.delay[0] <= self.delay[1])
        refuse_unless(self, "two positive numbers, in order", rate=0 < self.rate[0] <= self.rate[1])
        refuse_unless(self, "no more than the sample", resolution=self.resolution <= self.period)


@dataclass(frozen=True)
class SpikingNetwork:
    """The wiring of one network."""

    weights: NDArray[np.float64]
    """(M, M) [target, source]; 0 where there is no connection."""
    delays: NDArray[np.float64]
    """(M, M) seconds."""
    inhibitory: NDArray[np.bool_]
    """(M,)."""


@dataclass(frozen=True)
class SpikeRaster:
    """What all neurons did, and what drove them."""

    counts: NDArray[np.uint8]
    """(T * P, M) spikes in each part of each sample; before these, the parts of the lead."""
    behavior: NDArray[np.float64]
    """(T, K)."""
    task: NDArray[np.float64]
    """(T, V)."""
    cv_isi: float
    """Coefficient of variation of the intervals between a neuron's spikes, mean over neurons."""


def simulate_spiking_network(
    config: SpikingNetworkConfig | None = None, *, keep_hidden: bool = False, progress: bool = False
) -> Simulation:
    """Simulate integrate-and-fire neurons and count their spikes.

    Parameters
    ----------
    config : SpikingNetworkConfig, optional
        Sizes and constants.
    keep_hidden : bool
        Whether to keep the whole network; see `Hidden`.
    progress : bool
        Whether a terminal shows a bar.

    Returns
    -------
    Simulation
        Spike counts of the recorded neurons, whose column ``cell_type`` says which are inhibitory, and the weights
        among them. `Hidden.expected` is None: a voltage's way to a bin's count has no closed form.
    """
    config = config or SpikingNetworkConfig()
    rng = np.random.default_rng(config.seed)
    network = draw_network(config, rng)
    raster = run_network(config, network, rng, progress=progress)
    recorded = np.sort(rng.choice(config.n_neurons, config.n_recorded, replace=False))
    counts = raster.counts.T.astype(np.float32)
    truth, every = wiring(network.weights, recorded, description=WEIGHT, lag_seconds=config.period)
    neurons = network_neurons(config.n_neurons, "ecephys", cell_types(network))
    session = dressed(
        config,
        counts[recorded],
        raster.behavior.T,
        neurons,
        recorded,
        name="spiking",
        description="Simulated spike counts of integrate-and-fire neurons with known wiring",
    )
    return Simulation(
        session,
        truth,
        recorded=recorded,
        diagnostics={**population_diagnostics(counts, config.period), "cv_isi": raster.cv_isi},
        hidden=Hidden(counts, raster.task.T.astype(np.float32), every, neurons) if keep_hidden else None,
    )


#: What a weight of these networks means.
WEIGHT = (
    "True weight of the simulated network: charge that a spike of the source brings the target, in the voltage from "
    "reset to threshold; negative from inhibitory neurons"
)


def cell_types(network: SpikingNetwork) -> NDArray[np.str_]:
    """Return ``excitatory`` or ``inhibitory`` for each neuron."""
    return np.where(network.inhibitory, "inhibitory", "excitatory")


def draw_network(config: SpikingNetworkConfig, rng: np.random.Generator) -> SpikingNetwork:
    """Draw who is connected to whom, how strongly, and how far."""
    n = config.n_neurons
    connected = connected_pairs(n, config.density, config.placement, rng)
    inhibitory = np.zeros(n, bool)
    inhibitory[rng.permutation(n)[: round(config.inhibitory * n)]] = True
    spread = config.weight_spread
    mean = config.coupling / math.sqrt(config.density * n)
    size = mean * np.exp(spread * rng.normal(size=(n, n)) - spread**2 / 2)
    sign = np.where(inhibitory, -config.inhibition, 1.0)
    return SpikingNetwork(connected * size * sign, rng.uniform(*config.delay, (n, n)), inhibitory)


def run_network(
    config: SpikingNetworkConfig,
    network: SpikingNetwork,
    rng: np.random.Generator,
    *,
    parts: int = 1,
    lead: int = 0,
    progress: bool = False,
) -> SpikeRaster:
    """Integrate v' = (-v + input + drive) / membrane_time + noise; a spike at 1 resets to 0.

    The linear part is exact over a step; a spike acts on its targets a delay, rounded to steps, later. Only targets of
    neurons that spike are touched. During `burn_in` each neuron's constant input moves, less and less, to where its
    mean rate is its own draw from `rate`.

    Parameters
    ----------
    config : SpikingNetworkConfig
        Constants.
    network : SpikingNetwork
        The wiring.
    rng : numpy.random.Generator
        Source of inputs and noise.
    parts : int
        P, in how many parts of a sample spikes are counted.
    lead : int
        Samples of the burn-in that the counts begin with, at most all of it.
    progress : bool
        Whether a terminal shows a bar.
    """
    n, total = config.n_neurons, config.n_samples + config.burn_in
    steps = parts * max(1, math.ceil(config.period / config.resolution / parts - 1e-9))
    dt = config.period / steps
    persistence = math.exp(-config.period / config.drive_time)
    behavior = slow_variables(total, config.n_behavior, persistence, rng)
    task = slow_variables(total, config.n_task, persistence, rng)
    drive = config.behavior_gain * behavior @ rng.normal(size=(config.n_behavior, n))
    drive += config.task_gain * task @ rng.normal(size=(config.n_task, n))
    wanted = (
        np.exp(rng.uniform(math.log(config.rate[0]), math.log(config.rate[1]), n)) * config.period
    )  # spikes a sample

    keep, synapse_keep = math.exp(-dt / config.membrane_time), math.exp(-dt / config.synaptic_time)
    noise = config.noise * math.sqrt(1 - keep**2)
    silence = max(1, round(config.refractory / dt))
    arrivals = _Arrivals(network, dt)
    voltage, current, constant = rng.random(n), np.zeros(n), np.full(n, 0.5)
    free_from = np.zeros(n, np.int64)  # the step from which a neuron may charge again
    counts = np.zeros((total * parts, n), np.uint8)
    intervals = _Intervals(n)
    per_part, step = steps // parts, 0
    for t in steps_of(range(total), progress=progress):
        pushes = noise * rng.standard_normal((steps, n)) + (1 - keep) * (constant + drive[t])
        for k in range(steps):
            current += arrivals.take(step)
            voltage *= keep
            voltage += pushes[k]
            voltage += (1 - synapse_keep) * current
            current *= synapse_keep
            voltage *= step >= free_from
            np.maximum(voltage, -1.0, out=voltage)  # no further below reset than the threshold is above
            spiking = np.flatnonzero(voltage >= 1)
            if len(spiking):
                voltage[spiking] = 0.0
                free_from[spiking] = step + 1 + silence
                counts[t * parts + k // per_part, spiking] += 1
                arrivals.send(spiking, step)
                if t >= config.burn_in:
                    intervals.add(spiking, step)
            step += 1
        if t < config.burn_in:
            found = counts[t * parts : (t + 1) * parts].sum(0)
            constant += 0.15 / (1 + t / 50) * (wanted - found)
    kept = config.burn_in
    return SpikeRaster(counts[(kept - lead) * parts :], behavior[kept:], task[kept:], intervals.variation())


class _Arrivals:
    """Spikes on their way: a ring of steps ahead, to which each spike adds its weights at its targets' delays."""

    def __init__(self, network: SpikingNetwork, dt: float) -> None:
        n = len(network.weights)
        steps = np.maximum(1, np.round(network.delays / dt).astype(np.int64))
        self._length, self._n = int(steps.max()) + 1, n
        self._ring = np.zeros((self._length, n))
        self._flat = self._ring.reshape(-1)
        targets = [np.flatnonzero(column) for column in network.weights.T]
        self._weights = [network.weights[rows, j] for j, rows in enumerate(targets)]
        # a place in the flat ring, for a spike at step 0
        self._places = [steps[rows, j] * n + rows for j, rows in enumerate(targets)]
        self._last = np.zeros(n)

    def take(self, step: int) -> NDArray[np.float64]:
        """Return what arrives at each neuron in this step; valid until the next call."""
        row = self._ring[step % self._length]
        self._last[:] = row
        row[:] = 0.0
        return self._last

    def send(self, sources: NDArray[np.int64], step: int) -> None:
        """Send a spike of each source on its way. A source has each target once, so no place is added to twice."""
        offset = step % self._length * self._n
        for j in sources:
            self._flat[(self._places[j] + offset) % len(self._flat)] += self._weights[j]


class _Intervals:
    """Running moments of the intervals between spikes, neuron by neuron."""

    def __init__(self, n: int) -> None:
        self._last = np.full(n, -1)
        self._sums = np.zeros((3, n))  # number, sum, sum of squares

    def add(self, spiking: NDArray[np.int64], step: int) -> None:
        """Note a spike of each of `spiking`."""
        before = self._last[spiking]
        interval = np.where(before >= 0, step - before, 0).astype(np.float64)
        self._sums[:, spiking] += np.stack([before >= 0, interval, interval**2])
        self._last[spiking] = step

    def variation(self) -> float:
        """Return the coefficient of variation, mean over neurons with 10 intervals or more; NaN if there is none."""
        number, total, square = self._sums[:, self._sums[0] >= 10]
        if not len(number):
            return float("nan")
        mean = total / number
        return float(np.mean(np.sqrt(np.maximum(square / number - mean**2, 0)) / mean))
