"""Graph WaveNet: gated dilated convolutions over time, diffusion over a learned graph of the neurons.

Wu, Pan, Long, Jiang and Zhang, "Graph WaveNet for deep spatial-temporal graph modeling", IJCAI 2019 (arXiv:1906.00121),
with the sizes of the SynapsNet paper (appendix A.2), which called it GWNet. What was changed:

- one step ahead instead of twelve, from the neuron's activity alone; no graph is given, only the adaptive one is used;
- the last layer has no graph convolution and no batch norm: in the original nothing is computed from their output;
- only the last R samples of a window are looked at, R being the receptive field: more would only train the batch norm;
- one network a session, as neurons differ between sessions.

With 4 blocks of 1 layer and kernels of 2 samples, R is exactly 5. Along a stretch of neighbouring targets the
convolutions share their work: the forecast of each target is the one that its own window gives, at a third of the cost.

Letters: B rows of a batch, N neurons, S samples of a row, L targets of a row, C channels. Inside, tensors lie as
(S, N, B, C): mixing channels and diffusing over neurons are then plain matrix products, and a delay is a slice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ..forecaster import Forecaster
from ..windows import Batch, Windows


@dataclass(frozen=True)
class GraphWaveNetConfig:
    """The network; the defaults are the SynapsNet paper's (appendix A.2), the rest the original's."""

    residual: int = 32
    """Channels between layers."""
    dilation: int = 32
    """Channels inside a layer, behind its gate."""
    skip: int = 128
    """Channels in which the layers' outputs add up."""
    end: int = 256
    """Channels before the forecast."""
    blocks: int = 4
    """Stacks of layers; the delay of a kernel starts at 1 sample in each."""
    layers: int = 1
    """Layers of a block; the delay doubles from one to the next."""
    kernel: int = 2
    """Samples that one convolution sees."""
    rank: int = 10
    """Length of a neuron's two embeddings, whose products make the adjacency."""
    order: int = 2
    """Steps of the diffusion."""
    dropout: float = 0.3
    """On each graph convolution's output."""
    stretch: int = 1
    """L, neighbouring targets in a row of a batch; 1 for windows. It changes no forecast, only which targets a training
    batch has: of 8, neighbours cost a third of what as many windows cost, and teach as much."""

    def __post_init__(self) -> None:
        for name in ("residual", "dilation", "skip", "end", "blocks", "layers", "rank", "order", "stretch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")
        if self.kernel < 2:
            raise ValueError(f"kernel is {self.kernel}, expected at least 2 samples")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}, expected 0 or more and below 1")

    @property
    def delays(self) -> tuple[int, ...]:
        """Samples between the taps of each layer's kernel."""
        return tuple(2**layer for _ in range(self.blocks) for layer in range(self.layers))

    @property
    def receptive_field(self) -> int:
        """R, samples that a forecast depends on."""
        return 1 + (self.kernel - 1) * sum(self.delays)


class GraphWaveNet(Forecaster):
    """One network a session.

    Parameters
    ----------
    windows : sequence of Windows
        The sessions.
    config : GraphWaveNetConfig, optional
        The network.
    seed : int
        Of the initial parameters; the global random state is left as it was.
    """

    def __init__(self, windows: Sequence[Windows], config: GraphWaveNetConfig | None = None, *, seed: int = 0) -> None:
        super().__init__()
        self.config = config = config or GraphWaveNetConfig()
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            self.networks = nn.ModuleList(_Network(w.n_neurons, config) for w in windows)
        self.to(windows[0].device, windows[0].dtype)

    @property
    def stretch(self) -> int:
        """See `Forecaster.stretch`."""
        return self.config.stretch

    def predict(self, batch: Batch) -> Tensor:
        """See `Forecaster.predict`."""
        forecast: Tensor = self.networks[batch.session](batch.activity, _targets(batch))  # (L, N, B)
        return forecast[0].T if batch.weight is None else forecast.permute(2, 1, 0)

    def loss(self, batch: Batch) -> Tensor:
        """Return the mean squared error over the targets that there are."""
        if batch.weight is None:
            return super().loss(batch)
        error = (self.predict(batch) - batch.target) ** 2 * batch.weight[:, None]
        return error.sum() / (batch.weight.sum() * error.shape[1])

    def connectivity(self, session: int) -> NDArray[np.float32]:
        """Return the adaptive adjacency, (N, N) [target, source], diagonal set to zero.

        The original's is [source, target]. Its entries are above 0 and say nothing of a sign: from each source they
        sum to 1, with its own. Read it with care: forecasts also use its square, and with weights of either sign.
        """
        network: _Network = self.networks[session]  # type: ignore[assignment]
        with torch.no_grad():
            return network.adjacency().T.clone().fill_diagonal_(0).float().cpu().numpy()

    def session_parameters(self, session: int) -> list[nn.Parameter]:
        """See `Forecaster.session_parameters`: all that belong to the session's network."""
        return list(self.networks[session].parameters())

    def extra_repr(self) -> str:
        """Settings for the printed form."""
        return str(self.config)


class _Network(nn.Module):
    """The network of one session."""

    def __init__(self, neurons: int, config: GraphWaveNetConfig) -> None:
        super().__init__()
        self.receptive_field = config.receptive_field
        self.sources = nn.Parameter(torch.randn(neurons, config.rank))
        self.targets = nn.Parameter(torch.randn(config.rank, neurons))
        self.start = nn.Linear(1, config.residual)
        last = len(config.delays) - 1
        self.layers = nn.ModuleList(_Layer(config, delay, last=k == last) for k, delay in enumerate(config.delays))
        self.end = nn.Sequential(nn.ReLU(), nn.Linear(config.skip, config.end), nn.ReLU(), nn.Linear(config.end, 1))

    def adjacency(self) -> Tensor:
        """Return softmax(ReLU(E1 E2)), (N, N) [source, target]."""
        return torch.softmax(F.relu(self.sources @ self.targets), dim=1)

    def forward(self, activity: Tensor, targets: int) -> Tensor:
        """Forecast the sample after each of the last L samples of `activity` (B, N, S), as (L, N, B)."""
        x = activity.permute(2, 1, 0)  # (S, N, B)
        needed = self.receptive_field + targets - 1
        x = x[-needed:] if len(x) >= needed else F.pad(x, (0, 0, 0, 0, needed - len(x), 0))
        x = self.start(x[..., None])  # (S, N, B, C)
        diffusion = self.adjacency().T
        skip: Tensor | None = None
        for layer in self.layers:
            x, skip = layer(x, skip, diffusion, targets)
        assert skip is not None
        forecast: Tensor = self.end(skip)
        return forecast[..., 0]


class _Layer(nn.Module):
    """A gated convolution over time, its share of the skip, and a graph convolution beside a residual path."""

    def __init__(self, config: GraphWaveNetConfig, delay: int, *, last: bool) -> None:
        super().__init__()
        self.delay, self.kernel, self.channels = delay, config.kernel, config.dilation
        self.filter = nn.Linear(config.kernel * config.residual, config.dilation)
        self.gate = nn.Linear(config.kernel * config.residual, config.dilation)
        self.skip = nn.Linear(config.dilation, config.skip)
        self.last = last
        if not last:
            self.mix = nn.Linear((config.order + 1) * config.dilation, config.residual)
            self.norm = nn.BatchNorm1d(config.residual)
            self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, skip: Tensor | None, diffusion: Tensor, targets: int) -> tuple[Tensor, Tensor]:
        """Return the layer's output (S', N, B, C), shorter by the kernel's span, and the skip (L, N, B, C)."""
        samples = len(x) - (self.kernel - 1) * self.delay
        taps = torch.cat([x[k * self.delay : k * self.delay + samples] for k in range(self.kernel)], dim=-1)
        gated = torch.tanh(self.filter(taps)) * torch.sigmoid(self.gate(taps))
        share = self.skip(gated[-targets:])
        skip = share if skip is None else skip + share
        if self.last:
            return gated, skip
        x = self.dropout(self.diffuse(gated, diffusion)) + x[-samples:]
        return self.norm(x.view(-1, x.shape[-1])).view(x.shape), skip

    def diffuse(self, x: Tensor, diffusion: Tensor) -> Tensor:
        """Return b + W0 x + W1 D x + W2 D² x + ... for `x` (S, N, B, C) and D (N, N) [target, source].

        By Horner's rule, so that what is diffused has the mixed channels and nothing is concatenated.
        """
        samples, neurons, rows, channels = x.shape
        flat, matrix = x.reshape(-1, channels), diffusion.expand(samples, neurons, neurons)
        total: Tensor | None = None
        for k, weight in reversed(list(enumerate(self.mix.weight.split(channels, dim=1)))):
            # (S·N·B, C) → (S, N, B·C)
            term = F.linear(flat, weight, None if k else self.mix.bias).view(samples, neurons, -1)
            total = term if total is None else torch.baddbmm(term, matrix, total)
        assert total is not None
        return total.view(samples, neurons, rows, -1)


def _targets(batch: Batch) -> int:
    return 1 if batch.weight is None else batch.weight.shape[1]
