"""CURBD: a rate network trained to reproduce the recording, and the currents between regions that it implies.

Perich et al., "Inferring brain-wide interactions using data-constrained recurrent neural network models", bioRxiv 2020.
The network has one unit a neuron,

    H += dt (-H + J tanh(H) + noise) / τ,

runs along the recording, and once a sample recursive least squares moves J (FORCE learning, Sussillo and Abbott 2009):

    r = tanh(H),  k = P r,  c = 1 / (1 + rᵀ k),  P -= c k kᵀ,  J -= c err kᵀ.

What was changed, and what makes it a one-step forecaster:

- The error is that of the drive J r, and there are two readings of its target. In the published code the drive itself
  is to equal the recording (``target="drive"``); but the state follows its drive only within τ, so a network that
  fulfils this lags behind. Here, by default, the target is the drive that leads from one recorded sample to the next
  (``target="state"``), which the very network that made the data fulfils.
- Every neuron is recorded, so the last sample of a window fixes the whole state: H = artanh of it, and the forecast is
  where the network stands one sample later, without noise. Samples before it say nothing more, and behaviour nothing.
- The recording is z-scored per neuron before it is scaled by its global maximum, as for any other model.
- It starts from the recorded state after each gap, and on wish every few samples (the original's reset points).

Explained variance is honest only on the runs after training: while it learns, J follows the recording by itself.
Times are in samples, whatever their length in seconds. Letters: N neurons, T samples, f steps a sample.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ...errors import InputError
from ..forecaster import Solver
from ..windows import Batch, Windows

_BOUND = 0.999  # of a scaled sample, as artanh is infinite at 1


@dataclass(frozen=True)
class CURBDConfig:
    """The network and its training; the defaults are the original's, but for the target and the samples used."""

    gain: float = 1.5
    """g: the entries of J start normal, with deviation g / √N."""
    learning_rate: float = 1.0
    """P0: P starts as P0 times the identity. A ridge of 1 / P0 holds J to where it started."""
    tau: float = 10.0
    """τ in samples, at least 1; the original's example has 0.1 s and 100 samples a second."""
    steps_per_sample: int = 5
    """f, steps of the network from one sample to the next; with 1 training can diverge."""
    noise: float = 0.01
    """Amplitude of the noise that each unit gets, white noise filtered with `noise_tau`."""
    noise_tau: float = 10.0
    """Time constant of the noise in samples: the original's 0.1 s."""
    runs: int = 500
    """Runs along the recording in which J is trained."""
    free_runs: int = 5
    """Runs after that in which it is not, for the explained variance."""
    max_samples: int | None = 2000
    """Only the last so many samples of the training part are used: all runs go through all of them, step by step. None
    for all."""
    reset_every: int | None = None
    """Samples after which the state is set to the recorded one again; None for never but after gaps. A chaotic network
    or a noisy recording soon loses its track. With 1 it is trained for what it forecasts with: one sample ahead."""
    target: Literal["state", "drive"] = "state"
    """What the drive is to be: what leads the state to the next sample, or that sample itself (published code)."""

    def __post_init__(self) -> None:
        for name in ("gain", "learning_rate", "noise_tau"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}, expected a positive number")
        for name in ("steps_per_sample", "runs", "free_runs", "max_samples", "reset_every"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")
        if not 1 <= self.tau < math.inf:
            raise ValueError(f"tau is {self.tau}, expected at least 1 sample")
        if not 0 <= self.noise < math.inf:
            raise ValueError(f"noise is {self.noise}, expected 0 or more")
        if self.target not in ("state", "drive"):
            raise ValueError(f"target is {self.target!r}, expected 'state' or 'drive'")

    @property
    def step(self) -> float:
        """The time step over the time constant, dt / τ."""
        return 1 / (self.steps_per_sample * self.tau)


class CURBD(Solver):
    """One rate network a session.

    Parameters
    ----------
    windows : sequence of Windows
        The sessions. They are remembered for `free_run` and `currents`.
    config : CURBDConfig, optional
        The network and its training.
    seed : int
        Of the initial J and of the noise.
    """

    def __init__(self, windows: Sequence[Windows], config: CURBDConfig | None = None, *, seed: int = 0) -> None:
        super().__init__()
        self.config, self.seed, self.windows = config or CURBDConfig(), seed, tuple(windows)
        runs = self.config.runs + self.config.free_runs
        for w in windows:
            self.register_buffer(f"weights_{w.session}", w.activity.new_zeros(w.n_neurons, w.n_neurons))
            self.register_buffer(f"scale_{w.session}", w.activity.new_ones(()))
            self.register_buffer(f"explained_{w.session}", w.activity.new_zeros(runs))

    def solve(self, windows: Sequence[Windows]) -> None:
        """Train each session's network on its training part."""
        for w in windows:
            generator = torch.Generator().manual_seed(self.seed)
            indices = _training_samples(w, self.config)
            scale = w.activity.index_select(0, indices.to(w.device)).abs().max().double().cpu()
            stretches = list(_stretches(w, indices, scale))
            weights, explained = train_network(stretches, self.config, generator)
            for name, value in (("weights", weights), ("scale", scale), ("explained", explained)):
                self.get_buffer(f"{name}_{w.session}").copy_(value)

    def predict(self, batch: Batch) -> Tensor:
        """See `Forecaster.predict`: the network's state a sample after the last one."""
        weights, scale = (self.get_buffer(f"{name}_{batch.session}") for name in ("weights", "scale"))
        state = _state(batch.activity[:, :, -1] / scale)
        for _ in range(self.config.steps_per_sample):
            state = torch.lerp(state, torch.tanh(state) @ weights.T, self.config.step)
        return torch.tanh(state) * scale

    def connectivity(self, session: int) -> NDArray[np.float32]:
        """Return J without its diagonal, (N, N) [target, source]: weights between the z-scored neurons' rates."""
        weights = self.get_buffer(f"weights_{session}").clone().fill_diagonal_(0)
        return weights.float().cpu().numpy()

    def explained_variance(self, session: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the share of the recording's variance that each training run and each free run reproduced."""
        values = self.get_buffer(f"explained_{session}").double().cpu().numpy()
        return values[: self.config.runs], values[self.config.runs :]

    def free_run(self, session: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the samples (T,) trained on but the first of each stretch, and the network's rates there (N, T).

        A run without noise; rates are between -1 and 1.
        """
        w = self.windows[session]
        indices = _training_samples(w, self.config)
        weights = self.get_buffer(f"weights_{session}").double().cpu()
        scale = self.get_buffer(f"scale_{session}").double().cpu()
        network = _Network(weights, self.config, noise=None)
        rates = [network.run(_state(stretch)) for stretch in _stretches(w, indices, scale)]
        return indices.cpu().numpy(), torch.cat(rates).T.float().numpy()

    def currents(self, session: int, regions: ArrayLike | None = None) -> dict[tuple[str, str], NDArray[np.float32]]:
        """Return the currents between a session's regions in a free run, as `region_currents`.

        Parameters
        ----------
        session : int
            Index of the session.
        regions : array_like, optional
            (N,) region of each neuron kept; by default those of the recording.

        Raises
        ------
        InputError
            If none are given and the recording names none.
        """
        w = self.windows[session]
        if regions is None:
            regions = w.neurons.region
        if regions is None:
            raise InputError("no regions are known", where=w.label, remedy="Give a region for each neuron.")
        weights = self.get_buffer(f"weights_{session}").cpu().numpy()
        return region_currents(weights, self.free_run(session)[1], regions)

    def extra_repr(self) -> str:
        """Settings for the printed form."""
        return str(self.config)


def region_currents(
    weights: ArrayLike, rates: ArrayLike, regions: ArrayLike
) -> dict[tuple[str, str], NDArray[np.float32]]:
    """Split the drive of each neuron by the region it comes from (Perich et al. 2020, current-based decomposition).

    Parameters
    ----------
    weights : array_like
        (N, N) J [target, source].
    rates : array_like
        (N, T) tanh(H).
    regions : array_like
        (N,) region of each neuron.

    Returns
    -------
    dict
        For each pair (target region, source region), in order of the names: the current (N', T) into each of the
        target region's N' neurons, in the order of `regions`. The sum over sources is J tanh(H).

    Raises
    ------
    ValueError
        If the shapes do not belong together.
    """
    j, r, names = np.asarray(weights), np.asarray(rates), np.asarray(regions)
    if r.ndim != 2 or j.shape != (len(r), len(r)) or names.shape != (len(r),):
        raise ValueError(f"weights {j.shape}, rates {r.shape} and regions {names.shape} do not belong together")
    members = {str(name): np.flatnonzero(names == name) for name in np.unique(names)}
    return {
        (target, source): (j[np.ix_(into, out)] @ r[out]).astype(np.float32)
        for target, into in members.items()
        for source, out in members.items()
    }


def train_network(
    stretches: Sequence[Tensor], config: CURBDConfig, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Train a network to run along a recording.

    Parameters
    ----------
    stretches : sequence of torch.Tensor
        (n, N) float64 each, neighbouring samples scaled to within -1 and 1; a run starts anew with each.
    config : CURBDConfig
        The network and its training.
    generator : torch.Generator
        Of the initial J and of the noise, which is another in each run.

    Returns
    -------
    weights : torch.Tensor
        (N, N) J [target, source].
    explained : torch.Tensor
        (runs + free_runs,) explained variance: 1 less the squared error over the variance about the common mean, of
        all samples but the first of each stretch, each as the network arrives there.
    """
    neurons = stretches[0].shape[1]
    start = torch.randn(neurons, neurons, dtype=torch.float64, generator=generator)
    network = _Network(config.gain * neurons**-0.5 * start, config, generator)
    states = [_state(stretch) for stretch in stretches]
    truth = torch.cat([torch.tanh(state[1:]) for state in states])
    variance = truth.var(correction=0)
    explained = []
    for run in range(config.runs + config.free_runs):
        rates = torch.cat([network.run(state, learn=run < config.runs) for state in states])
        explained.append(1 - ((rates - truth) ** 2).mean() / variance)
    return network.weights.clone(), torch.stack(explained)


class _Network:
    """A rate network that runs, and learns by recursive least squares."""

    def __init__(self, weights: Tensor, config: CURBDConfig, noise: torch.Generator | None) -> None:
        self.config, self._generator = config, noise if config.noise else None
        neurons = len(weights)
        # P above J, so that one product gives both P r and J r, and one update of rank 1 moves both
        self._both = torch.cat([config.learning_rate * torch.eye(neurons, dtype=torch.float64), weights.double()])
        self.weights = self._both[neurons:]
        """J, (N, N) [target, source]."""
        self._noise = torch.zeros(neurons, dtype=torch.float64)

    def run(self, states: Tensor, *, learn: bool = False) -> Tensor:
        """Run along recorded states (n, N) from the first on, and return the rates (n - 1, N) at the others."""
        config = self.config
        targets = target_drives(states, config)
        rates = torch.empty_like(targets)
        state = states[0].clone()
        for sample, target in enumerate(targets.unbind()):
            if config.reset_every is not None and sample % config.reset_every == 0:
                state = states[sample].clone()
            for step, white in enumerate(self._white()):
                rate = torch.tanh(state)
                # half way between two samples: the drive changes on the way, and the target is its mean
                if learn and step == config.steps_per_sample // 2:
                    drive = self._learn(rate, target, white)
                else:
                    drive = self._add_noise(self.weights.mv(rate), white)
                state.lerp_(drive, config.step)
            torch.tanh(state, out=rates[sample])
        return rates

    def _learn(self, rate: Tensor, target: Tensor, white: Tensor | None) -> Tensor:
        """Move J by one step of recursive least squares, and return the drive before it."""
        gained, drive = self._both.mv(rate).split(len(rate))  # k = P r, and J r
        drive = self._add_noise(drive, white)
        share = 1 / (1 + float(rate.dot(gained)))
        self._both.addr_(torch.cat([gained, drive - target]), gained, alpha=-share)
        return drive

    def _white(self) -> Sequence[Tensor | None]:
        """Return the white noise (N,) of each step of a sample; None for no noise."""
        config = self.config
        if self._generator is None:
            return [None] * config.steps_per_sample
        scale = config.noise * math.sqrt(config.noise_tau * config.steps_per_sample)
        shape = (config.steps_per_sample, len(self._noise))
        return (scale * torch.randn(shape, dtype=torch.float64, generator=self._generator)).unbind()

    def _add_noise(self, drive: Tensor, white: Tensor | None) -> Tensor:
        if white is None:
            return drive
        decay = math.exp(-1 / (self.config.steps_per_sample * self.config.noise_tau))
        return drive.add_(self._noise.lerp_(white, 1 - decay))


def target_drives(states: Tensor, config: CURBDConfig) -> Tensor:
    """Return what the drive is to be between recorded states (n, N), (n - 1, N).

    With ``target="state"``: the constant drive that leads from the one to the next, in the network's own steps.
    """
    if config.target == "drive":
        return states[1:]
    kept = (1 - config.step) ** config.steps_per_sample  # share of a state that is left a sample later
    return (states[1:] - kept * states[:-1]) / (1 - kept)


def _state(scaled: Tensor) -> Tensor:
    """Return H of scaled activity."""
    return torch.atanh(scaled.clamp(-_BOUND, _BOUND))


def _training_samples(w: Windows, config: CURBDConfig) -> Tensor:
    """Return the samples (n,) that the network is to reach in training."""
    indices = w.targets["train"]
    return indices if config.max_samples is None else indices[-config.max_samples :]


def _stretches(w: Windows, indices: Tensor, scale: Tensor) -> Iterator[Tensor]:
    """Cut training samples into neighbours, each with the sample before it, scaled and in float64 on the CPU.

    A few updates of P at a time gain nothing from an accelerator.
    """
    ends = torch.nonzero(indices.diff() != 1).flatten() + 1
    for run in indices.tensor_split(ends.cpu()):
        yield w.activity[int(run[0]) - 1 : int(run[-1]) + 1].double().cpu() / scale
