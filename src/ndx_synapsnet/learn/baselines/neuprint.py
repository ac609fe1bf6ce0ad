"""NeuPRINT as a causal forecaster.

Mi et al., 2023, "Learning Time-Invariant Representations for Individual Neurons from Population Dynamics": one
decoder for all neurons of all sessions forecasts each from its own activity, its embedding, behaviour, and what the
population did, summed up so that neither the order nor the number of neurons matters: the mean and standard deviation
over all neurons and, where positions are known, over the neighbours within 65 µm.

    x̂_i(t+1) = f(x_i, mean_j x_j, std_j x_j, mean_{j near i} x_j, std_{j near i} x_j, b, all at t-W+1..t; e_i)

Changed to make it a causal forecaster: the original reconstructs masked samples and sees behaviour and the statistics
of the very sample it is to give; here all inputs end at t, the target follows at t+1, and nothing is masked. The
error is squared, as in the SynapsNet paper's comparison. The statistics are z-scored by the training part: a mean over
many neurons is otherwise a far smaller number than the other inputs. The decoders are those of SynapsNet (a GRU or a
transformer of one layer and two heads, of width 40), the better to compare; the embeddings have 32 numbers.

Letters: B batch, N neurons of a session, M unique neurons of all, S samples of a batch's rows, L targets of a row,
W window, K behaviours, D embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..decoders import DECODERS
from ..decoders.decoder import DecoderShape
from ..decoders.settings import check_decoder
from ..decoders.sweep import sweep_loss, sweep_predict, sweeps
from ..forecaster import Forecaster
from ..sharing import SharedBehavior, neuron_rows
from ..windows import Batch, Windows

_COLUMNS = 2**20  # numbers of activity whose statistics are gathered at a time


@dataclass(frozen=True)
class NeuPRINTConfig:
    """The model with a GRU."""

    decoder: str = "gru"
    """A key of `decoders.DECODERS`."""
    hidden: int = 40
    """Hidden units of the decoder; a transformer's width."""
    layers: int = 1
    """Of a transformer; the recurrent decoders have one."""
    heads: int = 2
    """Of a transformer's attention."""
    embedding: int = 32
    """D, length of a neuron's embedding."""
    dropout: float = 0.1
    """As `SynapsNetConfig.dropout`."""
    radius: float | None = 65.0
    """Neurons nearer than this, in the unit of the positions (µm in the paper), are neighbours, without the neuron
    itself. None leaves the neighbours out, as does a lack of positions."""
    use_behavior: bool = True
    """Whether behaviour is an input."""
    context: Literal["window", "stream"] = "window"
    """As `SynapsNetConfig.context`."""
    stretch: int = 32
    """L, targets in a stretch of ``context="stream"``."""

    def __post_init__(self) -> None:
        check_decoder(self)
        if self.radius is not None and not 0 < self.radius < float("inf"):
            raise ValueError(f"radius is {self.radius}, expected a positive number")


@dataclass(frozen=True)
class NeuPRINTTransformerConfig(NeuPRINTConfig):
    """The model with a transformer."""

    decoder: str = "transformer"


class NeuPRINT(Forecaster):
    """Forecasts each neuron from its own past, its embedding, behaviour and statistics of the population.

    Neurons of several sessions share an embedding, and sessions share behaviours, as in `SynapsNet`, whose initial
    values these are too. A session or a neuron without position has no neighbours: their statistics are 0, the mean.

    Parameters
    ----------
    windows : sequence of Windows
        The sessions. Positions are those of `Windows.neurons`; an axis that is NaN for all of a session's neurons
        does not count.
    config : NeuPRINTConfig, optional
        The model, with a GRU by default.
    seed : int
        Of the initial parameters; the global random state is left as it was.
    """

    def __init__(self, windows: Sequence[Windows], config: NeuPRINTConfig | None = None, *, seed: int = 0) -> None:
        super().__init__()
        self.config = config = config or NeuPRINTConfig()
        self._behavior = SharedBehavior(windows, None if config.use_behavior else ())
        rows, count = neuron_rows(windows)
        near = [None if config.radius is None else neighbors(w.neurons.position, config.radius) for w in windows]
        self.has_neighbors = any(each is not None for each in near)
        """Whether any neuron has neighbours, whose statistics then are inputs."""
        for j, w in enumerate(windows):
            self.register_buffer(f"embedding_rows_{j}", torch.from_numpy(rows[j]))
            # follows from the positions: no part of the fit
            weights = None if near[j] is None else torch.from_numpy(near[j]).to(w.activity)
            self.register_buffer(f"near_{j}", weights, persistent=False)
            for name in ("population", "neighbors"):
                self.register_buffer(f"{name}_mean_{j}", torch.zeros(2))
                self.register_buffer(f"{name}_std_{j}", torch.ones(2))
        shape = DecoderShape(
            series=3 if self.has_neighbors else 1,
            behaviors=len(self._behavior.names) + 2,
            embedding=config.embedding,
            hidden=config.hidden,
            layers=config.layers,
            heads=config.heads,
            dropout=config.dropout,
        )
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            self.decoder = DECODERS[config.decoder](shape)
            self.embedding = nn.Parameter(0.1 * torch.randn(count, config.embedding))
        self.to(windows[0].device, windows[0].dtype)
        for w in windows:
            self._standardize(w)

    @property
    def stretch(self) -> int:
        """See `Forecaster.stretch`."""
        return self.config.stretch if self.config.context == "stream" else 1

    def predict(self, batch: Batch) -> Tensor:
        """See `Forecaster.predict`. Of stretches it has no gradient and no dropout; `loss` has."""
        series, behavior, embedding = self._inputs(batch)
        if batch.weight is not None or (sweeps(self.decoder) and not (self.training or torch.is_grad_enabled())):
            assert sweeps(self.decoder)  # the configuration has seen to it
            targets = 1 if batch.weight is None else batch.weight.shape[1]
            forecast = sweep_predict(self.decoder, series, behavior, embedding, targets).permute(2, 0, 1)  # (B, N, L)
            return forecast[..., 0] if batch.weight is None else forecast
        own = torch.stack([each.permute(2, 1, 0) for each in series], dim=-1)  # (N, W, B) each → (B, W, N, C)
        return self.decoder(own, behavior.transpose(0, 1), embedding)  # type: ignore[no-any-return]

    def loss(self, batch: Batch) -> Tensor:
        """See `Forecaster.loss`."""
        if not sweeps(self.decoder):
            return super().loss(batch)
        target = batch.target.T[:, None] if batch.weight is None else batch.target.permute(1, 2, 0)  # (N, L, B)
        weight = None if batch.weight is None else batch.weight.T
        return sweep_loss(self.decoder, *self._inputs(batch), target, weight=weight)

    def embeddings(self, session: int) -> NDArray[np.float32]:
        """Return the embeddings of a session's neurons, (N, D)."""
        return self._embedding(session).detach().float().cpu().numpy().copy()

    def extra_repr(self) -> str:
        """Sizes and settings for the printed form."""
        return f"neurons={len(self.embedding)}, behaviors={self._behavior.names}, {self.config}"

    def _embedding(self, session: int) -> Tensor:
        return self.embedding.index_select(0, self.get_buffer(f"embedding_rows_{session}"))

    def _inputs(self, batch: Batch) -> tuple[list[Tensor], Tensor, Tensor]:
        """Return the decoder's series (N, S, B), behaviours (S, B, K + 2) and embeddings, as in `sweep_loss`."""
        activity = batch.activity.permute(1, 2, 0).contiguous()
        statistics = self._scaled(population_statistics(activity), "population", batch.session)
        behavior = torch.cat([self._behavior.of(batch).transpose(0, 1), *(each[..., None] for each in statistics)], -1)
        return [activity, *self._neighbors(activity, batch.session)], behavior, self._embedding(batch.session)

    def _neighbors(self, activity: Tensor, session: int) -> list[Tensor]:
        """Return the mean and deviation of each neuron's neighbours, twice (N, S, B), or nothing if none has any."""
        near: Tensor | None = getattr(self, f"near_{session}")
        if near is None:
            return [torch.zeros_like(activity)] * 2 if self.has_neighbors else []
        alone = ~near.any(1)[:, None, None]
        statistics = self._scaled(neighbor_statistics(activity, near), "neighbors", session)
        return [each.masked_fill(alone, 0) for each in statistics]

    def _scaled(self, statistics: Sequence[Tensor], name: str, session: int) -> list[Tensor]:
        """Z-score a mean and a deviation."""
        mean, std = (self.get_buffer(f"{name}_{of}_{session}") for of in ("mean", "std"))
        return [(each - mean[k]) / std[k] for k, each in enumerate(statistics)]

    def _standardize(self, windows: Windows) -> None:
        """Find how the statistics are distributed over the last samples of the training windows."""
        near: Tensor | None = getattr(self, f"near_{windows.session}")
        gathered: dict[str, list[Tensor]] = {"population": [], "neighbors": []}
        for chosen in (windows.targets["train"] - 1).split(max(1, _COLUMNS // windows.n_neurons)):
            activity = windows.activity.index_select(0, chosen).T[:, :, None]  # (N, S, 1)
            gathered["population"].append(_moments(population_statistics(activity)))
            if near is not None:
                found = [each[near.any(1)] for each in neighbor_statistics(activity, near)]
                gathered["neighbors"].append(_moments(found))
        for name, moments in gathered.items():
            if moments:
                count, total, square = torch.stack(moments).sum(0)  # (2,) each
                mean = total / count
                std = (square / count - mean**2).clamp(min=0).sqrt()
                self.get_buffer(f"{name}_mean_{windows.session}").copy_(mean)
                # a statistic that never varies, such as the deviation over one neighbour, is 0 throughout
                self.get_buffer(f"{name}_std_{windows.session}").copy_(std.where(std > 1e-4, 1))


def neuprint_transformer(
    windows: Sequence[Windows], config: NeuPRINTTransformerConfig | None = None, *, seed: int = 0
) -> NeuPRINT:
    """Return a `NeuPRINT` with a transformer unless `config` says otherwise."""
    return NeuPRINT(windows, config or NeuPRINTTransformerConfig(), seed=seed)


def neighbors(position: NDArray[np.float64] | None, radius: float) -> NDArray[np.float32] | None:
    """Return weights (N, N) that average over each neuron's neighbours.

    Parameters
    ----------
    position : array (N, 3), optional
        NaN where unknown. An axis unknown for all does not count; a neuron that lacks another has no neighbours.
    radius : float
        In the same unit: nearer neurons are neighbours, without the neuron itself.

    Returns
    -------
    numpy.ndarray or None
        Rows that sum to 1, or to 0 for a neuron without neighbours; None if no neuron has any.
    """
    if position is None:
        return None
    known = position[:, ~np.isnan(position).all(0)]
    if not known.shape[1]:
        return None
    near = np.zeros((len(known), len(known)), np.float32)
    for i, place in enumerate(known):
        near[i] = ((known - place) ** 2).sum(1) < radius**2  # False for NaN
    np.fill_diagonal(near, 0)
    count = near.sum(1, keepdims=True)
    return np.asarray(near / np.maximum(count, 1)) if near.any() else None


def population_statistics(activity: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and the standard deviation over neurons, each (S, B), of activity (N, S, B)."""
    return activity.mean(0), activity.std(0, correction=0)


def neighbor_statistics(activity: Tensor, near: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and the standard deviation over each neuron's neighbours, each (N, S, B).

    Parameters
    ----------
    activity : torch.Tensor
        (N, S, B).
    near : torch.Tensor
        (N, N) as `neighbors` gives it.
    """
    mean, square = ((near @ each.flatten(1)).view_as(activity) for each in (activity, activity**2))
    return mean, (square - mean**2).clamp(min=0).sqrt()


def _moments(statistics: Sequence[Tensor]) -> Tensor:
    """Return how many numbers each of two statistics has, their sum and their sum of squares, as (3, 2) in float64."""
    columns = torch.stack([each.flatten() for each in statistics]).double()
    return torch.stack([torch.full_like(columns[:, 0], columns.shape[1]), columns.sum(1), (columns**2).sum(1)])
