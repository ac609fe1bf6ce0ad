"""RNN (Elman, 1990), LSTM (Hochreiter & Schmidhuber, 1997) and GRU (Cho et al., 2014) on all channels at once.

The rivals of the SynapsNet paper (section 3.1, appendix A.2): the population as one multichannel series, two layers
of 100 hidden units, a network a session. The networks are torch's own. Chosen here, where the paper is silent: they
see the W samples before the target and the last hidden state is read out by a linear layer; dropout lies between the
layers; behaviour is no input, but can be.

Letters: B batch, N neurons, W window, K behaviours, H hidden.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..forecaster import Forecaster
from ..windows import Batch, Windows


@dataclass(frozen=True)
class MultichannelConfig:
    """Sizes of a multichannel network; the defaults are the paper's (appendix A.2)."""

    hidden: int = 100
    """H, hidden units of a layer."""
    layers: int = 2
    """Layers."""
    dropout: float = 0.1
    """Between layers; of no effect with one layer."""
    use_behavior: bool = False
    """Whether the session's behaviours are inputs beside the neurons."""

    def __post_init__(self) -> None:
        for name in ("hidden", "layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}, expected 0 or more and below 1")


class Multichannel(Forecaster):
    """Forecasts all neurons of a session from the last hidden state of a network that sees them all.

    Parameters
    ----------
    windows : sequence of Windows
        The sessions; each gets a network of its own.
    config : MultichannelConfig, optional
        Sizes, the paper's by default.
    seed : int
        Of the initial parameters, which are torch's own; the global random state is left as it was.
    """

    layer: ClassVar[type[nn.RNN] | type[nn.GRU] | type[nn.LSTM]]

    def __init__(self, windows: Sequence[Windows], config: MultichannelConfig | None = None, *, seed: int = 0) -> None:
        super().__init__()
        self.config = config = config or MultichannelConfig()
        sizes = [w.n_neurons + (w.n_behaviors if config.use_behavior else 0) for w in windows]
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            self.networks = nn.ModuleList(
                self.layer(
                    size,
                    config.hidden,
                    config.layers,
                    batch_first=True,
                    dropout=config.dropout if config.layers > 1 else 0.0,  # torch warns of it otherwise
                )
                for size in sizes
            )
            self.readouts = nn.ModuleList(nn.Linear(config.hidden, w.n_neurons) for w in windows)
        self.to(windows[0].device, windows[0].dtype)

    def predict(self, batch: Batch) -> Tensor:
        """See `Forecaster.predict`."""
        inputs = torch.cat([batch.activity, batch.behavior], 1) if self.config.use_behavior else batch.activity
        states: Tensor = self.networks[batch.session](inputs.transpose(1, 2))[0]  # (B, N [+ K], W) → (B, W, H)
        forecast: Tensor = self.readouts[batch.session](states[:, -1])
        return forecast

    def session_parameters(self, session: int) -> list[nn.Parameter]:
        """Return the session's network: nothing is shared."""
        return [*self.networks[session].parameters(), *self.readouts[session].parameters()]


class MultichannelRNN(Multichannel):
    """With `torch.nn.RNN`, whose nonlinearity is tanh."""

    layer = nn.RNN


class MultichannelGRU(Multichannel):
    """With `torch.nn.GRU`."""

    layer = nn.GRU


class MultichannelLSTM(Multichannel):
    """With `torch.nn.LSTM`."""

    layer = nn.LSTM
