"""LFADS: a variational autoencoder whose generator is a recurrent network with inferred inputs.

Pandarinath et al., "Inferring single-trial neural population dynamics using deep auto-encoders", Nature Methods 2018,
with the sizes of the SynapsNet paper (appendix A.2). Bidirectional encoders read the context; the one gives the
generator's initial condition, the other, a sample apart, feeds a controller that infers the generator's inputs;
factors are a row-normalised product with the generator's state, and a readout turns them into activity. Also as in the
original: coordinated dropout (Keshtkaran and Pandarinath 2019), prior and posterior distributions, cells and clips,
weights on KL and L2 that ramp up. What was changed to make it a causal one-step forecaster:

- the encoders read the W samples of the window, the generator runs one sample more, and that one is the forecast;
  there, as in the original where it predicts forward, the controller sees its own state and the factors alone;
- the output is normal with unit variance, as activity is z-scored: the squared error instead of the Poisson likelihood;
- forecasts use the means of the posterior distributions, without sampling;
- the ramps count gradient steps, not epochs, which here differ in length between recordings.

Letters: B batch, N neurons, W window, S = W + 1 samples, E channels that the encoders read, H hidden units, F factors,
U inferred inputs. Inside, time comes first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..forecaster import Forecaster
from ..windows import Batch, Windows

_INITIAL_VARIANCE = 0.1  # of the initial condition's prior, which is not learned
_LEAST_VARIANCE = 1e-4  # of the initial condition's posterior
_PRIOR_TAU, _PRIOR_NOISE = 10.0, 0.1  # of the inferred inputs' autoregressive prior, where learning starts


@dataclass(frozen=True)
class LFADSConfig:
    """The model; sizes are the SynapsNet paper's (appendix A.2), the rest the original's."""

    generator: int = 256
    """Hidden units of the generator."""
    encoder: int = 256
    """Hidden units of each encoder, in each direction."""
    controller: int = 256
    """Hidden units of the controller."""
    factors: int = 128
    """F."""
    inferred_inputs: int = 128
    """U."""
    initial_condition: int = 128
    """Length of the generator's encoded initial condition; the paper does not give it."""
    dropout: float = 0.1
    """On the encoders' inputs and last states, the controller's inputs and the generator's state: the paper's rate for
    all networks."""
    coordinated_dropout: float = 0.3
    """Share of the context that is hidden from the encoders in training. Only what was hidden is to be reconstructed,
    so that the model cannot copy its input; 0 reconstructs all."""
    cell_clip: float = 5.0
    """Bound of every hidden state."""
    kl_weight: float = 1.0
    """Of the two KL divergences, at the ramp's end; 1 makes the loss a bound on the likelihood."""
    l2_weight: float = 2000.0
    """Times half the mean square of the generator's recurrent weights, at the ramp's end."""
    ramp_steps: int = 2000
    """Gradient steps until both weights are at their full."""
    sharing: Literal["session", "stitched"] = "session"
    """``session``: one model a session, as the paper trained it. ``stitched``: one for all, with a read-in to F
    channels and a readout of each session's own, as the original's multi-session models."""

    def __post_init__(self) -> None:
        for name in ("generator", "encoder", "controller", "factors", "inferred_inputs", "initial_condition"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")
        for name in ("dropout", "coordinated_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 0 or more and below 1")
        if not self.cell_clip > 0:
            raise ValueError(f"cell_clip is {self.cell_clip}, expected a positive number")
        for name in ("kl_weight", "l2_weight"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 0 or more")
        if self.ramp_steps < 0:
            raise ValueError(f"ramp_steps is {self.ramp_steps}, expected 0 or more")
        if self.sharing not in ("session", "stitched"):
            raise ValueError(f"sharing is {self.sharing!r}, expected 'session' or 'stitched'")


class LFADS(Forecaster):
    """One model a session, or one stitched from several.

    Parameters
    ----------
    windows : sequence of Windows
        The sessions.
    config : LFADSConfig, optional
        The model.
    seed : int
        Of the initial parameters; the global random state is left as it was.
    """

    steps: Tensor

    def __init__(self, windows: Sequence[Windows], config: LFADSConfig | None = None, *, seed: int = 0) -> None:
        super().__init__()
        self.config = config = config or LFADSConfig()
        stitched = config.sharing == "stitched"
        sizes = [w.n_neurons for w in windows]
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            self.cores = nn.ModuleList(
                _Core(channels, config) for channels in ([config.factors] if stitched else sizes)
            )
            self.read_in = nn.ModuleList(_linear(n, config.factors) for n in sizes if stitched)
            self.read_out = nn.ModuleList(_linear(config.factors, n) for n in sizes)
        # gradient steps done: a buffer, so that a resumed training goes on with the same weights
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.to(windows[0].device, windows[0].dtype)

    def predict(self, batch: Batch) -> Tensor:
        """See `Forecaster.predict`: the generator's sample after the window, by posterior means."""
        factors, _ = self._core(batch.session)(self._read(batch.activity, batch.session), sample=False)
        forecast: Tensor = self.read_out[batch.session](factors[-1])
        return forecast

    def loss(self, batch: Batch) -> Tensor:
        """Return the negative bound on the log likelihood of a window and its target, in nats, constants left out.

        Half the squared error, summed over neurons and samples: the target, and of the context what coordinated
        dropout hid; plus the KL divergences and the L2 penalty by their weights.
        """
        context, share = batch.activity, self.config.coordinated_dropout if self.training else 0.0
        seen = torch.rand_like(context) >= share if share else torch.ones_like(context, dtype=torch.bool)
        core = self._core(batch.session)
        factors, divergence = core(self._read(context * seen / (1 - share), batch.session), sample=True)
        output = self.read_out[batch.session](factors)  # (S, B, N)
        error = (output[:-1] - context.permute(2, 0, 1)) ** 2
        if share:
            error = error * ~seen.permute(2, 0, 1)
        squares = error.sum() + ((output[-1] - batch.target) ** 2).sum()
        ramp = ((self.steps + 1) / (self.config.ramp_steps + 1)).clamp(max=1)
        penalty = self.config.kl_weight * divergence + self.config.l2_weight / 2 * core.mean_square()
        bound: Tensor = squares / (2 * len(context)) + ramp * penalty
        return bound

    def after_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Count the step, for the ramps."""
        self.steps += 1

    def session_parameters(self, session: int) -> list[nn.Parameter]:
        """See `Forecaster.session_parameters`: all of its model, or read-in and readout of a stitched one."""
        own = self.cores if self.config.sharing == "session" else self.read_in
        return [*own[session].parameters(), *self.read_out[session].parameters()]

    def extra_repr(self) -> str:
        """Settings for the printed form."""
        return str(self.config)

    def _core(self, session: int) -> _Core:
        core: _Core = self.cores[session if len(self.cores) > 1 else 0]  # type: ignore[assignment]
        return core

    def _read(self, activity: Tensor, session: int) -> Tensor:
        """Return what the encoders read, (W, B, E), of activity (B, N, W)."""
        x: Tensor = activity.permute(2, 0, 1)
        read: Tensor = self.read_in[session](x) if len(self.read_in) else x
        return read


class _Core(nn.Module):
    """From what the encoders read to factors."""

    def __init__(self, channels: int, config: LFADSConfig) -> None:
        super().__init__()
        hidden, inputs = config.encoder, config.inferred_inputs
        self.dropout = nn.Dropout(config.dropout)
        self.encoders = _Encoders(channels, hidden, config.cell_clip)
        self.posterior = _linear(2 * hidden, 2 * config.initial_condition)
        self.prior_mean = nn.Parameter(torch.zeros(config.initial_condition))
        self.expand = _linear(config.initial_condition, config.generator)
        self.controller = _Cell(2 * hidden + config.factors, config.controller, config.cell_clip)
        self.controller_start = nn.Parameter(torch.zeros(config.controller))
        self.infer = _linear(config.controller, 2 * inputs)
        self.prior = _AutoregressivePrior(inputs)
        self.generator = _Cell(inputs, config.generator, config.cell_clip)
        self.factors = nn.Parameter(torch.randn(config.factors, config.generator))

    def mean_square(self) -> Tensor:
        """Return the mean square of the generator's recurrent weights."""
        weights = (self.generator.gates, self.generator.new)
        return torch.stack([(w**2).sum() for w in weights]).sum() / sum(w.numel() for w in weights)

    def forward(self, x: Tensor, *, sample: bool) -> tuple[Tensor, Tensor]:
        """Return factors (S, B, F) for the samples of `x` (W, B, E) and the next, and the mean KL divergence.

        Posterior distributions are sampled, or give their means and no divergence (0).
        """
        last, guide = self.encoders(self.dropout(x))
        mean, log_variance = self.posterior(self.dropout(last)).chunk(2, -1)
        variance = log_variance.exp() + _LEAST_VARIANCE
        divergence = x.new_zeros(())
        initial = mean
        if sample:
            initial = mean + variance.sqrt() * torch.randn_like(mean)
            prior_variance = torch.full_like(mean, _INITIAL_VARIANCE)
            divergence = divergence + normal_divergence(mean, variance, self.prior_mean, prior_variance)
        state = self.expand(initial)
        rows = F.normalize(self.factors, dim=1)
        factors = F.linear(self.dropout(state), rows)
        control = self.controller_start.expand(x.shape[1], -1)
        previous: Tensor | None = None
        series = []
        for step in self.dropout(guide):  # (B, 2H)
            control = self.controller(torch.cat([step, self.dropout(factors)], dim=-1), control)
            inferred, log_variance = self.infer(control).chunk(2, -1)
            if sample:
                mean, variance = inferred, log_variance.exp()
                inferred = mean + variance.sqrt() * torch.randn_like(mean)
                divergence = divergence + self.prior(mean, variance, previous)
                previous = inferred
            state = self.generator(inferred, state)
            factors = F.linear(self.dropout(state), rows)
            series.append(factors)
        return torch.stack(series), divergence


class _Cell(nn.Module):
    """A gated recurrent unit as first published (Cho et al. 2014): it resets the state before it multiplies it."""

    def __init__(self, inputs: int, hidden: int, clip: float) -> None:
        super().__init__()
        self.clip = clip
        self.input = _gate_inputs(inputs, hidden, inputs**-0.5)
        self.gates = nn.Parameter(torch.randn(hidden, 2 * hidden) * hidden**-0.5)
        self.new = nn.Parameter(torch.randn(hidden, hidden) * hidden**-0.5)

    def forward(self, x: Tensor, state: Tensor) -> Tensor:
        """Return the state (B, H) after input `x`."""
        return _advance(self.input(x), state, self.gates, self.new, self.clip)


class _Encoders(nn.Module):
    """Two bidirectional encoders, of the initial condition and of the controller, as four recurrent units abreast."""

    def __init__(self, channels: int, hidden: int, clip: float) -> None:
        super().__init__()
        self.clip, self.hidden = clip, hidden
        scale = (channels + hidden) ** -0.5
        self.input = nn.ModuleList(_gate_inputs(channels, hidden, scale) for _ in range(4))
        self.gates = nn.Parameter(torch.randn(4, hidden, 2 * hidden) * scale)
        self.new = nn.Parameter(torch.randn(4, hidden, hidden) * scale)
        self.start = nn.Parameter(torch.zeros(4, 1, hidden))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the last states of the first encoder (B, 2H), and what the second tells the controller (S, B, 2H).

        At each sample that is its forward state after the samples before and its backward state after those that
        follow in the window; for the sample after the window it is 0.
        """
        back = x.flip(0)
        # in the order: first encoder forward, backward, second encoder forward, backward
        inputs = torch.stack([read(back if k % 2 else x) for k, read in enumerate(self.input)], dim=1)
        state, states = self.start.expand(-1, x.shape[1], -1), []
        for step in inputs:  # (4, B, 3H)
            state = _advance(step, state, self.gates, self.new, self.clip)
            states.append(state)
        forward, backward = torch.stack(states)[:-1, 2:].unbind(1)  # (W - 1, B, H)
        guide = torch.cat([F.pad(forward, (0, 0, 0, 0, 1, 1)), F.pad(backward.flip(0), (0, 0, 0, 0, 0, 2))], dim=-1)
        return torch.cat([state[0], state[1]], dim=-1), guide


class _AutoregressivePrior(nn.Module):
    """Each inferred input as a first-order autoregressive process, whose time constant and noise are learned."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.log_tau = nn.Parameter(torch.full((inputs,), math.log(_PRIOR_TAU)))
        self.log_noise = nn.Parameter(torch.full((inputs,), math.log(_PRIOR_NOISE)))

    def forward(self, mean: Tensor, variance: Tensor, previous: Tensor | None) -> Tensor:
        """Return the divergence of a sample's posterior (B, U) from the prior, given the sample before, if any."""
        decay = torch.exp(-torch.exp(-self.log_tau))
        noise = self.log_noise.exp()
        if previous is None:
            return normal_divergence(mean, variance, torch.zeros_like(mean), noise / (1 - decay**2))
        return normal_divergence(mean, variance, decay * previous, noise)


def normal_divergence(mean: Tensor, variance: Tensor, prior_mean: Tensor, prior_variance: Tensor) -> Tensor:
    """Return the KL divergence between normal distributions, in nats: summed over the last axis, mean over others."""
    ratio = variance / prior_variance
    each = ratio - 1 - ratio.log() + (mean - prior_mean) ** 2 / prior_variance
    return each.sum(-1).mean() / 2


def _advance(inputs: Tensor, state: Tensor, gates: Tensor, new: Tensor, clip: float) -> Tensor:
    """Return the next state (..., B, H) from projected inputs (..., B, 3H), in the order update, reset, new."""
    hidden = state.shape[-1]
    update, reset = torch.sigmoid(inputs[..., : 2 * hidden] + state @ gates).chunk(2, -1)
    candidate = torch.tanh(inputs[..., 2 * hidden :] + (reset * state) @ new)
    return torch.lerp(candidate, state, update).clamp(-clip, clip)


def _linear(inputs: int, outputs: int) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.normal_(layer.weight, std=inputs**-0.5)
    nn.init.zeros_(layer.bias)
    return layer


def _gate_inputs(inputs: int, hidden: int, scale: float) -> nn.Linear:
    """Return the projection to the three gates; a bias of 1 keeps update and reset open at first."""
    layer = nn.Linear(inputs, 3 * hidden)
    nn.init.normal_(layer.weight, std=scale)
    with torch.no_grad():
        layer.bias[: 2 * hidden].fill_(1)
        layer.bias[2 * hidden :].fill_(0)
    return layer
