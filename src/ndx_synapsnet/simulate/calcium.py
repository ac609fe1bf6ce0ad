"""The spiking network as a calcium indicator and a slow microscope show it.

Letters as in the package: M neurons of the network, N recorded, T samples (frames); P parts of a frame.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .network import dressed, network_neurons, refuse_unless
from .simulation import Hidden, Simulation, population_diagnostics, wiring
from .spiking import WEIGHT, SpikingNetworkConfig, cell_types, draw_network, run_network

_PART = 0.01  # seconds: spikes are placed in frames this finely


@dataclass(frozen=True)
class CalciumNetworkConfig(SpikingNetworkConfig):
    """The spiking network seen through an indicator like GCaMP6f, at 15 frames a second.

    Most of a neuron's effect on another falls into the same frame, and fluorescence is mainly its own past: with these
    constants (100 of 300 neurons, 20,000 frames, seed 0) the lag-1 correlation recovers r of 0.07 and ridge VAR 0.33;
    of deconvolved traces, F(t) - exp(-period / decay_time) F(t-1), 0.12 and 0.40; of the true spike counts of frames
    ridge VAR recovers 0.47, and 0.63 if it is shown all neurons and inputs. Ridge VAR forecasts dF/F with r of 0.95.
    """

    period: float = 1 / 15
    """Seconds a frame; it shows the mean over that time."""
    burn_in: int = 450
    """Frames dropped at the start; see `SpikingNetworkConfig.burn_in`."""
    rise_time: float = 0.05
    """Seconds of the indicator's rise (1/e); 0 for an instant one."""
    decay_time: float = 0.5
    """Seconds in which fluorescence decays to 1/e."""
    amplitude: float = 0.2
    """Mean peak dF/F of a single spike."""
    amplitude_spread: float = 0.3
    """Standard deviation of the logarithm of the neurons' amplitudes."""
    saturation: float = 0.0
    """dF/F at which the indicator is half saturated: F becomes F / (1 + F / saturation). 0 for none."""
    shot_noise: float = 0.06
    """Standard deviation of the noise in dF/F, the same for all neurons."""

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_unless(self, "a positive number", decay_time=self.decay_time > 0, amplitude=self.amplitude > 0)
        others = ("amplitude_spread", "saturation", "shot_noise")
        refuse_unless(self, "0 or more", **{name: getattr(self, name) >= 0 for name in others})
        refuse_unless(self, "from 0 to below decay_time", rise_time=0 <= self.rise_time < self.decay_time)


def simulate_calcium_network(
    config: CalciumNetworkConfig | None = None, *, keep_hidden: bool = False, progress: bool = False
) -> Simulation:
    """Simulate integrate-and-fire neurons and image them.

    Parameters
    ----------
    config : CalciumNetworkConfig, optional
        Sizes and constants.
    keep_hidden : bool
        Whether to keep the whole network; see `Hidden`. `Hidden.counts` are the spikes in each frame.
    progress : bool
        Whether a terminal shows a bar.

    Returns
    -------
    Simulation
        dF/F of the recorded neurons, and the weights among them as in the spiking network.
    """
    config = config or CalciumNetworkConfig()
    rng = np.random.default_rng(config.seed)
    network = draw_network(config, rng)
    parts = max(1, round(config.period / _PART))
    # fluorescence at the start still shows the spikes before it
    lead = min(config.burn_in, math.ceil(8 * config.decay_time / config.period))
    raster = run_network(config, network, rng, parts=parts, lead=lead, progress=progress)
    recorded = np.sort(rng.choice(config.n_neurons, config.n_recorded, replace=False))
    shown = slice(None) if keep_hidden else recorded
    # amplitudes and noise are drawn for all, so that keeping the hidden neurons does not change the recorded ones
    amplitude = config.amplitude * np.exp(config.amplitude_spread * rng.normal(size=config.n_neurons))
    noise_seeds = rng.integers(2**63, size=config.n_neurons)
    traces = indicator_response(raster.counts[:, shown], config, parts=parts)[:, lead:]
    for trace, scale, seed in zip(traces, amplitude[shown], noise_seeds[shown], strict=True):
        trace *= scale
        if config.saturation:
            trace /= 1 + trace / config.saturation
        trace += config.shot_noise * np.random.default_rng(seed).standard_normal(len(trace), np.float32)
    counts = raster.counts[lead * parts :].reshape(config.n_samples, parts, -1).sum(1).T.astype(np.float32)
    truth, every = wiring(network.weights, recorded, description=WEIGHT, lag_seconds=config.period)
    neurons = network_neurons(config.n_neurons, "ophys", cell_types(network))
    session = dressed(
        config,
        traces[recorded] if keep_hidden else traces,
        raster.behavior.T,
        neurons,
        recorded,
        name="calcium",
        description="Simulated calcium imaging of integrate-and-fire neurons with known wiring",
        activity_kind="dff",
        unit="dF/F",
        modality="ophys",
    )
    return Simulation(
        session,
        truth,
        recorded=recorded,
        diagnostics={**population_diagnostics(counts, config.period), "cv_isi": raster.cv_isi},
        hidden=Hidden(traces, raster.task.T.astype(np.float32), every, neurons, counts=counts) if keep_hidden else None,
    )


def indicator_response(counts: NDArray[np.uint8], config: CalciumNetworkConfig, *, parts: int) -> NDArray[np.float32]:
    """Return the fluorescence (N, T) of spikes counted in parts of frames (T * P, N), frame by frame the mean.

    A spike's response is exp(-s / decay) - exp(-s / rise), scaled to a peak of 1; it begins in the part after the
    spike's own.
    """
    dt = config.period / parts
    decay = math.exp(-dt / config.decay_time)
    rise = math.exp(-dt / config.rise_time) if config.rise_time else 0.0
    lags = np.arange(1, 2 + math.ceil(5 * config.decay_time / dt))
    peak = float(np.max(decay**lags - rise**lags))
    frames, n = len(counts) // parts, counts.shape[1]
    found = np.zeros((frames, n), np.float32)
    slow, fast = np.zeros(n), np.zeros(n)
    for step, spikes in enumerate(counts):
        found[step // parts] += (slow - fast) / (parts * peak)
        slow = (slow + spikes) * decay
        fast = (fast + spikes) * rise
    return np.ascontiguousarray(found.T)
