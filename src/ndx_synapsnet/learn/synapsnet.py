"""SynapsNet: a connectivity matrix a session, an embedding a neuron, and one decoder for all (paper, section 2).

    x̂_i(t+1) = f(x_i[t-W+1..t], I_i[t-W+1..t], b[t-W+1..t], e_i),   I = A X

Letters: B batch, N neurons of a session, M unique neurons of all sessions, W window, K behaviours, D embedding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..errors import InputError
from .decoders import DECODERS
from .decoders.decoder import DecoderShape
from .decoders.sweep import sweep_loss, sweep_predict, sweeps
from .drive import DriveFilter, DriveFit, with_drive
from .forecaster import Forecaster
from .linear_start import kept_filter, start_linear
from .sharing import SharedBehavior, neuron_rows
from .skip import CurrentSource, LinearCurrent, apply_history, fit_history
from .synapsnet_config import SynapsNetConfig
from .windows import Batch, Windows

_GAIN_WINDOWS = 2_000  # training windows over which a gain is averaged, evenly spaced
_COLUMNS = 16_384  # windows x neurons in one pass for the gain
_DIFFERENCE = 0.02  # of a current's deviation: the step over which a slope is taken
_HISTORY = "skip.history"  # the names under which a session's own are kept beside the decoder's parameters
_CURRENT = "current."
_DRIVE = "drive."


class SynapsNet(Forecaster):
    """Forecasts each neuron from its own past, its input current, behaviour and its embedding.

    Neurons of several sessions share an embedding if their `Neurons.identity` is equal and not empty. The decoder's
    behaviours are the union of the sessions' by name, in order of appearance; a session without one gives it 0, the
    mean. Initial values, on which the paper is silent: A normal with deviation 0.1/√N, embeddings normal with
    deviation 0.1 (small, so that neurons start alike), the decoder as torch's own layers.

    Parameters
    ----------
    windows : sequence of Windows
        The sessions. They are remembered for the gain, which is a mean over training windows.
    config : SynapsNetConfig, optional
        The model.
    seed : int
        Of the initial parameters; the global random state is left as it was.
    behavior_names : sequence of str, optional
        The decoder's behaviours, where they are not those of the sessions: see `restore`.
    sources : sequence of CurrentSource
        Currents that are added to A X; their parameters are fitted with the rest.
    fits : sequence of DriveFit, optional
        With ``drive``, and only then: each session's linear model, from which it starts; None for a session that
        another process holds. `windows` are to have the drive (`linear_start.start_linear` makes both).
    """

    def __init__(
        self,
        windows: Sequence[Windows],
        config: SynapsNetConfig | None = None,
        *,
        seed: int = 0,
        behavior_names: Sequence[str] | None = None,
        sources: Sequence[CurrentSource] = (),
        fits: Sequence[DriveFit | None] | None = None,
    ) -> None:
        super().__init__()
        self.config = config = config or SynapsNetConfig()
        if sources and not config.use_connectivity:
            raise ValueError("there are current sources, but use_connectivity leaves the input current out")
        if config.drive != (fits is not None):
            raise ValueError("fits go with drive, and drive with fits: see SynapsNet.started")
        linear = LinearCurrent(windows) if config.drive else None
        self.sources = nn.ModuleList([*([] if linear is None else [linear]), *sources])
        self.windows = tuple(windows)
        if behavior_names is None and not config.use_behavior:
            behavior_names = ()
        self._behavior = SharedBehavior(windows, behavior_names)
        self.behavior_names = self._behavior.names
        rows, count = neuron_rows(windows)
        for j, places in enumerate(rows):
            self.register_buffer(f"embedding_rows_{j}", torch.from_numpy(places))
        shape = DecoderShape(
            series=int(config.use_activity) + int(config.use_connectivity),
            behaviors=len(self.behavior_names),
            embedding=config.embedding if config.use_embedding else 0,
            hidden=config.hidden,
            layers=config.layers,
            heads=config.heads,
            dropout=config.dropout,
        )
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            self.decoder = DECODERS[config.decoder](shape)
            self.embedding = nn.Parameter(0.1 * torch.randn(count, shape.embedding))
            self.weights = nn.ParameterList(
                nn.Parameter(0.1 * w.n_neurons**-0.5 * torch.randn(w.n_neurons, w.n_neurons))
                for w in windows
                if config.use_connectivity
            )
        if fits is None:
            history = [fit_history(w) for w in windows if config.skip_history]
        else:
            history = [torch.zeros(w.n_neurons, w.window) for w in windows]
        self.history = nn.ParameterList(nn.Parameter(each) for each in history)
        self.fits = tuple(fits or ())
        self.filters: list[DriveFilter | None] = [None] * len(self.windows)
        if config.connectivity == "fixed":
            self.weights.requires_grad_(False)
            self._linear.requires_grad_(False)
        self.to(windows[0].device, windows[0].dtype)
        for j, fit in enumerate(fits or ()):
            self._start(j, fit)

    @torch.no_grad()
    def _start(self, session: int, fit: DriveFit | None) -> None:
        """Give a session the parameters of its linear model; none where another process holds it."""
        readout = self.decoder.readout
        assert isinstance(readout, nn.Linear)
        readout.weight.zero_()
        readout.bias.zero_()
        self.weights[session].zero_()
        if fit is None:
            return
        self.filters[session] = kept_filter(fit)
        weights = torch.as_tensor(fit.weights)
        self.weights[session].copy_(weights).fill_diagonal_(0)
        last = weights.diagonal()
        own = torch.cat([torch.as_tensor(fit.own), last[:, None]], dim=1)  # oldest first
        if own.shape[1] > 1:  # of what the neuron sends, u(t) = z(t) - δ z(t-1)
            own[:, -2] -= torch.as_tensor(fit.decay) * last
        self.history[session].copy_(own)
        parts = (fit.loadings, fit.behavior, fit.intercept[:, None])
        names = ("loadings", "behavior", "intercept")
        self._linear.set(session, {name: torch.as_tensor(part) for name, part in zip(names, parts, strict=True)})

    @property
    def _linear(self) -> LinearCurrent:
        """The current that starts as the linear model's, with ``drive``."""
        (linear,) = (source for source in self.sources if isinstance(source, LinearCurrent))
        return linear

    @classmethod
    def started(cls, windows: Sequence[Windows], config: SynapsNetConfig | None = None, *, seed: int = 0) -> SynapsNet:
        """Return a new model for sessions as they come: with ``drive``, after their linear stage.

        It is to be trained on its own `windows`, which have the drive.
        """
        if config is None or not config.drive:
            return cls(windows, config, seed=seed)
        prepared, fits = start_linear(windows)
        return cls(prepared, config, seed=seed, fits=fits)

    @classmethod
    def restore(
        cls,
        windows: Windows,
        config: SynapsNetConfig,
        *,
        behavior_names: Sequence[str],
        weights: Mapping[str, NDArray[np.floating]],
        embeddings: NDArray[np.float32],
        raw_connectivity: NDArray[np.float32] | None,
    ) -> SynapsNet:
        """Return the model of one session from what a fit keeps of it, in evaluation mode.

        With ``drive`` the model's own `windows`, not those given, hold the drive series: forecast with them.

        Parameters
        ----------
        windows : Windows
            The session, prepared as for the fit, with index 0.
        config : SynapsNetConfig
            The fit's.
        behavior_names : sequence of str
            The decoder's behaviours in the fit: those of all its sessions.
        weights : mapping
            As `named_weights` gave them.
        embeddings : array (N, D)
            As `embeddings` gave them.
        raw_connectivity : array (N, N), optional
            As `raw_connectivity` gave it.

        Raises
        ------
        InputError
            If the parameters are not those of such a model.
        """
        decoder = dict(weights)
        drive, current = (_take(prefix, decoder) for prefix in (_DRIVE, _CURRENT))
        if config.drive:
            try:
                kept = DriveFilter.from_arrays(drive)
                windows = with_drive(windows, kept)
            except (KeyError, ValueError, RuntimeError) as error:
                raise InputError(f"the drive's filter does not fit the model ({error})", where=windows.label) from error
        model = cls([windows], config, behavior_names=behavior_names, fits=[None] if config.drive else None)
        parts: list[tuple[Tensor, NDArray[np.floating] | None]] = [(model._embedding(0), embeddings)]
        if config.use_connectivity:
            parts.append((model.weights[0], raw_connectivity))
        if config.skip_history:
            parts.append((model.history[0], decoder.pop(_HISTORY, None)))
        if any(found is None or found.shape != tuple(own.shape) for own, found in parts):
            raise InputError("the embeddings, the connectivity or the skip do not fit the model", where=windows.label)
        try:
            model.decoder.load_state_dict({name: torch.as_tensor(value) for name, value in decoder.items()})
        except RuntimeError as error:
            raise InputError(f"the decoder's weights do not fit the model ({error})", where=windows.label) from error
        if config.drive:
            model.filters[0] = kept
            try:
                model._linear.set(0, {name: torch.as_tensor(value) for name, value in current.items()})
            except ValueError as error:
                raise InputError(f"the linear current does not fit the model ({error})", where=windows.label) from error
        with torch.no_grad():
            model.embedding[model.get_buffer("embedding_rows_0")] = torch.as_tensor(embeddings).to(model.embedding)
            for own, found in parts[1:]:
                own.copy_(torch.as_tensor(found))
        return model.eval()

    @property
    def stretch(self) -> int:
        """See `Forecaster.stretch`."""
        return self.config.stretch if self.config.context == "stream" else 1

    @property
    def starts_fitted(self) -> bool:
        """See `Forecaster.starts_fitted`."""
        return self.config.drive

    def predict(self, batch: Batch) -> Tensor:
        """See `Forecaster.predict`. Of stretches it has no gradient and no dropout; `loss` has."""
        if batch.weight is not None or (sweeps(self.decoder) and not (self.training or torch.is_grad_enabled())):
            assert sweeps(self.decoder)  # the configuration has seen to it
            series, behavior, embedding = self._sweep_inputs(batch)
            targets = 1 if batch.weight is None else batch.weight.shape[1]
            forecast = sweep_predict(self.decoder, series, behavior, embedding, targets)
            skip = self._skip(batch.session, series)
            forecast = (forecast if skip is None else forecast + skip).permute(2, 0, 1)  # (B, N, L)
            return forecast[..., 0] if batch.weight is None else forecast
        return self._decode(batch, self.currents(batch) if self.config.use_connectivity else None)

    def loss(self, batch: Batch) -> Tensor:
        """Return the mean squared error plus λ times the norm of the batch's own matrix (paper, section 2.2)."""
        if sweeps(self.decoder):
            series, behavior, embedding = self._sweep_inputs(batch)
            target = batch.target.T[:, None] if batch.weight is None else batch.target.permute(1, 2, 0)  # (N, L, B)
            skip = self._skip(batch.session, series)
            target = target if skip is None else target - skip
            weight = None if batch.weight is None else batch.weight.T
            error = sweep_loss(self.decoder, series, behavior, embedding, target, weight=weight)
        else:
            error = super().loss(batch)
        config = self.config
        learned = config.use_connectivity and config.connectivity == "learned"
        if not learned or config.penalty == "l1":  # for the latter, see `after_step`
            return error
        norm: Tensor = torch.linalg.vector_norm(self._matrix(batch.session))  # its gradient at 0 is 0
        return error + config.penalty_weight * (norm**2 if config.penalty == "frobenius_squared" else norm)

    def after_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Shrink the weights just stepped towards 0 by the proximal map of the L1 penalty, in the step's own metric.

        Adam divides each entry's step by the root of its mean squared gradient, so the threshold is divided by it too:
        with one common threshold the stationary point would not be that of the penalised loss.
        """
        if self.config.penalty != "l1":
            return
        for group in optimizer.param_groups:
            for weights in set(group["params"]) & {w for w in self.weights if w.grad is not None}:
                state = optimizer.state[weights]
                threshold: float | Tensor = self.config.penalty_weight / len(weights) * group["lr"]
                if "exp_avg_sq" in state:
                    mean_square = state["exp_avg_sq"] / (1 - group["betas"][1] ** float(state["step"]))
                    threshold = threshold / (mean_square.sqrt() + group["eps"])
                with torch.no_grad():
                    weights.copy_(weights.sign() * (weights.abs() - threshold).clamp(min=0))

    def session_parameters(self, session: int) -> list[nn.Parameter]:
        """Return the session's A, skip and what the sources name; embeddings and the decoder are shared."""
        own = [each[session] for each in (self.weights, self.history) if len(each)]
        return own + [p for source in self.sources for p in source.session_parameters(session)]  # type: ignore[operator]

    def currents(self, batch: Batch) -> Tensor:
        """Return the input current I = A X of each window, (B, N, W), z-scored units times raw weights.

        With `sources` their currents are in it. Its sign and scale are those of the raw weights, which mean nothing by
        themselves; times `gain` they do.
        """
        return self._current(batch).permute(2, 0, 1)

    def current_series(self, windows: Windows, indices: Tensor) -> NDArray[np.float32] | None:
        """Return the input current just before each of `indices`, (n, N), or None without connectivity."""
        if not self.config.use_connectivity:
            return None
        last = indices - 1
        activity = windows.activity.index_select(0, last)[:, :, None]  # windows of one sample
        behavior = windows.behavior.index_select(0, last)[:, :, None]
        drive = windows.drive.index_select(0, last)[:, :, None]
        sources = windows.sources_at(last)[:, :, None]
        batch = Batch(activity, behavior, activity[:, :, 0], windows.session, drive=drive, deconvolved=sources)
        with torch.no_grad():
            return _numpy(self.currents(batch)[:, :, 0])

    def raw_connectivity(self, session: int) -> NDArray[np.float32] | None:
        """Return the parameter A of a session, (N, N) [target, source], or None in the ablation without it."""
        if not self.config.use_connectivity:
            return None
        return _numpy(self._matrix(session))

    def connectivity(self, session: int) -> NDArray[np.float32] | None:
        """Return the effective connectivity g_i A[i, j], (N, N) [target, source], or None in the ablation without it.

        (A, w_I) → (cA, w_I/c), w_I being the decoder's weights on the current, leaves every forecast unchanged, with c
        negative too: the raw A has no sign of its own. The product with the gain is the forecast's mean response, in
        deviations of the target, to one deviation of the source one sample earlier, through the current.
        """
        raw = self.raw_connectivity(session)
        return None if raw is None else self.gain(session)[:, None] * raw

    def gain(self, session: int) -> NDArray[np.float32]:
        """Return g_i = mean over t of ∂x̂_i(t+1)/∂I_i(t), (N,), without dropout.

        The mean is over the session's training windows, or 2,000 of them evenly spaced if there are more; over windows
        of W samples with ``context="stream"`` too.
        """
        if not self.config.use_connectivity:
            raise ValueError("the model has no input current")
        windows = self.windows[session]
        indices = windows.targets["train"]
        if len(indices) > _GAIN_WINDOWS:
            indices = indices[torch.linspace(0, len(indices) - 1, _GAIN_WINDOWS, device=indices.device).long()]
        total = torch.zeros(windows.n_neurons, dtype=torch.float64)
        training = self.training
        self.eval()
        try:
            for chosen in indices.split(max(1, _COLUMNS // windows.n_neurons)):
                batch = windows.batch(chosen)
                current = self.currents(batch).detach().requires_grad_()
                # neuron i's forecast depends on no current but its own, so the sum's gradient holds all of them
                (slope,) = torch.autograd.grad(self._decode(batch, current).sum(), current)
                total += slope[:, :, -1].sum(0).double().cpu()
        finally:
            self.train(training)
        return _numpy(total / len(indices))

    @torch.no_grad()
    def slopes(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return of each window the forecast, its slope ∂x̂_i(t+1)/∂I_i(t), and the current I_i(t), each (B, N).

        Without dropout. Of a decoder that `sweep_predict` takes, the slope is a central difference, over a step small
        enough that the slope hardly changes, at a sixth of the time of automatic differentiation.
        """
        training = self.training
        self.eval()
        try:
            if not sweeps(self.decoder):
                current = self.currents(batch)
                with torch.enable_grad():
                    changed = current.clone().requires_grad_()
                    forecast = self._decode(batch, changed)
                    (slope,) = torch.autograd.grad(forecast.sum(), changed)
                return forecast.detach(), slope[:, :, -1], current[:, :, -1]
            series, behavior, embedding = self._sweep_inputs(batch)
            current, step = series[-1], _DIFFERENCE * series[-1].std(dim=(1, 2)).clamp(min=1e-6)[:, None]  # (N, 1)
            ends = []
            for shift in (step, -step):
                changed = current.clone()
                changed[:, -1] += shift
                inputs = [*series[:-1], changed]
                forecast = sweep_predict(self.decoder, inputs, behavior, embedding)[:, 0]  # (N, B)
                skip = self._skip(batch.session, inputs)
                ends.append(forecast if skip is None else forecast + skip[:, 0])
            return ((ends[0] + ends[1]) / 2).T, ((ends[0] - ends[1]) / (2 * step)).T, current[:, -1].T
        finally:
            self.train(training)

    def embeddings(self, session: int) -> NDArray[np.float32]:
        """Return the embeddings of a session's neurons, (N, D); D is 0 in the ablation without them."""
        return _numpy(self._embedding(session))

    def named_weights(self, session: int) -> dict[str, NDArray[np.float32]]:
        """Return the shared decoder's parameters by name, and the session's skip, linear current and drive's filter."""
        weights = {name: _numpy(value) for name, value in self.decoder.state_dict().items()}
        if self.config.skip_history:
            weights[_HISTORY] = _numpy(self.history[session])
        if self.config.drive:
            weights |= {_CURRENT + name: _numpy(value) for name, value in self._linear.arrays(session).items()}
            kept = self.filters[session]
            assert kept is not None, "another process holds this session"
            weights |= {_DRIVE + name: np.asarray(value) for name, value in kept.as_arrays().items()}
        return weights

    def extra_repr(self) -> str:
        """Sessions and switches for the printed form."""
        sizes = ", ".join(str(w.n_neurons) for w in self.windows)
        return f"neurons=({sizes}), behaviors={self.behavior_names}, {self.config}"

    def _matrix(self, session: int) -> Tensor:
        weights: Tensor = self.weights[session]
        return weights if self.config.learns_diagonal else weights.clone().fill_diagonal_(0)

    def _embedding(self, session: int) -> Tensor:
        rows: Tensor = self.get_buffer(f"embedding_rows_{session}")
        return self.embedding.index_select(0, rows)

    def _current(self, batch: Batch) -> Tensor:
        """Return the input current (N, S, B): one matrix product for all rows and samples."""
        sources = batch.sources.permute(1, 2, 0)
        current: Tensor = (self._matrix(batch.session) @ sources.flatten(1)).view(sources.shape)
        for source in self.sources:
            current = current + source(batch).permute(1, 2, 0)
        return current

    def _sweep_inputs(self, batch: Batch) -> tuple[list[Tensor], Tensor, Tensor]:
        """Return the decoder's series (N, S, B), behaviours (S, B, K) and embeddings (N, D), as `sweep` takes them."""
        activity = batch.activity.permute(1, 2, 0).contiguous()
        series = [activity] if self.config.use_activity else []
        if self.config.use_connectivity:
            series.append(self._current(batch))
        return series, self._behavior.of(batch).transpose(0, 1), self._embedding(batch.session)

    def _skip(self, session: int, series: Sequence[Tensor]) -> Tensor | None:
        """Return the linear part of the forecasts, (N, L, B), of the series that `_sweep_inputs` gives."""
        targets = series[0].shape[1] - self.windows[session].window + 1
        skip = apply_history(self.history[session], series[0]) if self.config.skip_history else None
        if not self.config.skip_current:
            return skip
        current = series[-1][:, -targets:]
        return current if skip is None else skip + current

    def _decode(self, batch: Batch, current: Tensor | None) -> Tensor:
        """Return the forecast (B, N) of windows by the decoder's plain form."""
        own = ([batch.activity] if self.config.use_activity else []) + ([] if current is None else [current])
        series = torch.stack([each.transpose(1, 2) for each in own], dim=-1)  # (B, W, N, C)
        forecast: Tensor = self.decoder(series, self._behavior.of(batch), self._embedding(batch.session))
        skip = self._skip(batch.session, [each.permute(1, 2, 0) for each in own])
        return forecast if skip is None else forecast + skip[:, 0].T


def _take(prefix: str, arrays: dict[str, NDArray[np.floating]]) -> dict[str, NDArray[np.floating]]:
    """Take the arrays whose names begin with `prefix` out of `arrays`, and return them without it."""
    return {name.removeprefix(prefix): arrays.pop(name) for name in list(arrays) if name.startswith(prefix)}


def _numpy(values: Tensor) -> NDArray[np.float32]:
    return values.detach().float().cpu().numpy().copy()
