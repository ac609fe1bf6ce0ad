"""Hidden drive that many neurons share, estimated together with who drives whom: the linear stage of the model.

    z(t+1) = A u(t) + O h(t) + D b(t) + c + C v(t) + e        v(t) = Φ v(t-1) + w        u(t) = z(t) - δ z(t-1)

Neurons that nobody recorded, arousal and task variables move many neurons at once. A regression takes what they cause
for coupling among the recorded ones, the more surely the longer the recording is; in simulated networks this, and not
noise, is most of the error of a connectivity matrix. Here v is estimated like the rest, by expectation maximisation
(Shumway and Stoffer 1982; Ghahramani and Hinton 1996): given A, v by Kalman smoothing; given v and how sure one is of
it, A by empirical-Bayes shrinkage (`shrinkage`) and all else by least squares. Components are added one at a time while
they improve the forecast of the validation windows. Behaviour is shrunk as coupling is, hidden drive is not. What
neurons send is their activity (δ = 0) or, where that forecasts better, what is new in it (`deconvolution`).

Letters: N neurons, K behaviours, k components, W window, T samples; z and b z-scored; h own samples W to 2 back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .coordinate_descent import CoupledDesign, to_array
from .deconvolution import estimate_decay, with_sources
from .kalman import Array, Stationary, filter_series, run_recursion, smooth_series, stationary
from .moments import Moments, gather_covariates, gather_moments
from .shrinkage import Prior, shrink_coupled
from .windows import Windows

_BLOCK = 2**20  # numbers of a series gathered at a time
_SWEEPS = 16
_ROWS = 512  # samples averaged at a time
_SMOOTHING = 5.0  # samples: over how many past ones a residual is averaged to find what persists in it
_PERSISTENCE = 0.9  # of a new component, to start from
_SETTLING = ("weights", "loadings")
_STABLE = 0.999  # largest eigenvalue of Φ
_LEAST_NOISE = 1e-6


@dataclass(frozen=True)
class DriveConfig:
    """How the linear stage is fitted."""

    deconvolve: bool | None = None
    """Whether neurons send what is new in their activity, not the activity; None: whichever has the lower validation
    MSE. With windows of one sample always the activity."""
    components: int | None = None
    """k, hidden series, but fewer than neurons; None: as many as improve the validation MSE, up to `most`."""
    most: int = 6
    """Components tried at most."""
    gain: float = 3e-4
    """A component is kept if it lowers the validation MSE by more than this share."""
    deflations: tuple[float, ...] = (1, 3, 10, 30, 100)
    """What the number of samples is divided by before the shrinkage, as neighbouring samples and parts of a recording
    do not tell as much as independent ones would. Without hidden drive, the first one is kept whose successor does not
    lower the validation MSE."""
    iterations: int = 16
    """Of expectation and maximisation after each component that is added, at most."""
    tolerance: float = 1e-2
    """They end when no weight and no loading moves by more."""
    sweeps: int = 3
    """Passes of the shrinkage within an iteration; the first and the last make up to 16."""

    def __post_init__(self) -> None:
        if self.components is not None and self.components < 0:
            raise ValueError(f"components is {self.components}, expected 0 or more, or None")
        for name in ("most", "iterations", "sweeps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")
        for name in ("gain", "tolerance"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 0 or more")
        deflations = tuple(float(each) for each in self.deflations)
        if not deflations or not 1 <= min(deflations) <= max(deflations) < float("inf"):
            raise ValueError(f"deflations is {deflations}, expected numbers from 1 on")
        object.__setattr__(self, "deflations", deflations)


@dataclass(frozen=True, eq=False)
class DriveFilter:
    """The hidden drive as a recursion of the data alone, so that it can be kept and run on any recording.

    s(t) = M s(t-1) + K z(t) - L_1 u(t-1) - Σ_l L_l z(t-l) - B b(t-1) - a,  f(t) = Φ s(t): what all samples up to t say
    of v(t), which acts on z(t+1).
    """

    transition: Array
    """(k, k) Φ."""
    recursion: Array
    """(k, k) M."""
    gain: Array
    """(k, N) K."""
    history: Array
    """(W, k, N) L, lag 1 first: what the neurons' past makes expected."""
    behavior: Array
    """(k, K) B."""
    offset: Array
    """(k,) a."""
    decay: Array
    """(N,) δ: what neurons send is u(t) = z(t) - δ z(t-1)."""

    @property
    def components(self) -> int:
        """Hidden series, k."""
        return len(self.transition)

    def series(self, windows: Windows) -> Tensor:
        """Return f (T, k), causal: each value from that sample and earlier ones.

        A sample is taken note of if the W before it are valid and of its own part and segment; elsewhere, as after a
        gap, the series is carried on by Φ.
        """
        windows = with_sources(windows, self.decay)
        added, observed = _gathered(windows, self.added, self.components)
        states = run_recursion(self.transition, self.recursion, added, observed)
        return torch.from_numpy(states @ self.transition.T).to(windows.device, windows.dtype)

    def as_arrays(self) -> dict[str, NDArray[np.float32]]:
        """Return the filter as named arrays."""
        return {name: np.asarray(value, np.float32) for name, value in vars(self).items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.floating]]) -> DriveFilter:
        """Return the filter of named arrays, as `as_arrays` gave them.

        Raises
        ------
        ValueError
            If an array is missing or their shapes do not fit together.
        """
        names = tuple(cls.__dataclass_fields__)
        if missing := [name for name in names if name not in arrays]:
            raise ValueError(f"the hidden drive lacks {', '.join(missing)}")
        found = cls(**{name: np.asarray(arrays[name], np.float64) for name in names})
        k, n = (*found.gain.shape, 0)[:2]
        shapes = {"transition": (k, k), "recursion": (k, k), "gain": (k, n), "offset": (k,), "decay": (n,)}
        fits = all(getattr(found, name).shape == shape for name, shape in shapes.items())
        fits &= found.history.ndim == 3 and found.history.shape[1:] == (k, n) and found.behavior.shape[:1] == (k,)
        if not (fits and found.behavior.ndim == 2):
            raise ValueError("the arrays of the hidden drive do not fit together")
        return found

    def added(self, windows: Windows, samples: Tensor) -> Array:
        """Return what `samples` (n,) add to s, (n, k); `windows` with its sources."""
        last = samples - 1
        added = windows.activity.index_select(0, samples).double() @ torch.from_numpy(self.gain.T).to(windows.device)
        for lag, weights in enumerate(self.history, start=1):
            past = windows.sources_at(last) if lag == 1 else windows.activity.index_select(0, samples - lag)
            added -= past.double() @ torch.from_numpy(weights.T.copy()).to(windows.device)
        behavior = windows.behavior.index_select(0, last).double()
        added -= behavior @ torch.from_numpy(self.behavior.T.copy()).to(windows.device)
        return np.asarray(added.cpu().numpy() - self.offset)


@dataclass(frozen=True, eq=False)
class DriveFit:
    """The linear stage of one session. All in z-scored units."""

    decay: Array
    """(N,) δ, 0 where the activity itself is sent."""
    weights: Array
    """(N, N) A [target, source], on the diagonal of the neuron's own u."""
    own: Array
    """(N, W - 1) O, on a neuron's own older samples, oldest first."""
    behavior: Array
    """(N, K) D."""
    intercept: Array
    """(N,) c."""
    loadings: Array
    """(N, k) C."""
    noise: Array
    """(N,) R."""
    transition: Array
    """(k, k) Φ."""
    innovation: Array
    """(k, k) Q."""
    prior: Prior | None
    """Of A off the diagonal and of D, as learned; None before any of them is."""
    deflation: float
    """Samples that count as one."""
    validation_mse: tuple[float, ...]
    """Of the forecast with 0, 1, ... components, as far as tried."""

    @property
    def components(self) -> int:
        """Hidden series, k."""
        return int(self.loadings.shape[1])

    def filter(self) -> DriveFilter:
        """Return the causal filter of the hidden drive."""
        steps, gain = self.steps()
        return DriveFilter(
            transition=self.transition,
            recursion=steps.recursion,
            gain=gain,
            history=np.stack([gain @ self.weights, *(gain * column for column in self.own.T[::-1])]),
            behavior=gain @ self.behavior,
            offset=gain @ self.intercept,
            decay=self.decay,
        )

    def steps(self) -> tuple[Stationary, Array]:
        """Return the stationary filter, and its gain (k, N) on the residuals."""
        information = (self.loadings / self.noise[:, None]).T  # CᵀR⁻¹
        steps = stationary(self.transition, self.innovation, information @ self.loadings)
        return steps, steps.filtered @ information

    def smoothed(self, windows: Windows) -> tuple[Array, Array]:
        """Return the hidden drive as all samples together show it, for estimation and never for forecasts.

        Returns
        -------
        series : array (T, k)
            In row u the drive that acted on sample u.
        covariance : array (k, k)
            How unsure each value is.
        """
        steps, _ = self.steps()
        windows = with_sources(windows, self.decay)
        added, observed = _gathered(windows, self.filter().added, self.components)
        return smooth_series(steps, filter_series(steps, added, observed)), steps.smoothed

    def forecast(self, windows: Windows, samples: Tensor) -> Tensor:
        """Forecast `samples` (n,) from the samples before them, (n, N); `windows` as `with_drive` returns it."""
        series = windows.drive
        return _expected(self, windows, samples) + series.index_select(0, samples - 1).to(windows.dtype) @ _tensor(
            self.loadings.T, windows
        )


def fit_drive(windows: Windows, config: DriveConfig | None = None) -> DriveFit:
    """Fit connectivity, behaviour and hidden drive of one session to its training windows.

    Parameters
    ----------
    windows : Windows
        The session.
    config : DriveConfig, optional
        How.
    """
    config = config or DriveConfig()
    wanted = config.deconvolve if windows.window > 1 else False  # what is new takes two samples to see
    ways = (False, True) if wanted is None else (wanted,)
    best: tuple[DriveFit, Moments] | None = None
    for new in ways:
        decay = estimate_decay(windows) if new else np.zeros(windows.n_neurons)
        tried = _without_drive(windows, decay, config.deflations)
        if best is None or tried[0].validation_mse[0] < best[0].validation_mse[0]:
            best = tried
        del tried  # moments are N² W numbers: no more of them than need be
    assert best is not None
    fit, moments = best
    windows = with_sources(windows, fit.decay)
    losses = [*fit.validation_mse]
    most = config.most if config.components is None else config.components
    while fit.components < min(most, windows.n_neurons - 1):
        grown = _add_component(windows, fit)
        for _ in range(config.iterations):
            before, grown = grown, _iterate(windows, moments, grown, config.sweeps)
            if max(np.abs(getattr(grown, name) - getattr(before, name)).max() for name in _SETTLING) < config.tolerance:
                break
        losses.append(_validation_mse(windows, grown))
        if config.components is None and not losses[-1] < losses[-2] * (1 - config.gain):
            break
        fit = grown
    if fit.components:
        fit = _iterate(windows, moments, fit, _SWEEPS)
    return replace(fit, validation_mse=tuple(losses))


def with_drive(windows: Windows, drive: DriveFilter) -> Windows:
    """Return the session with what neurons send and the causal series of its hidden drive attached."""
    windows = with_sources(windows, drive.decay)
    return replace(windows, drive=drive.series(windows))


def drive_as_behavior(windows: Windows, fit: DriveFit) -> Windows:
    """Return the session with its hidden drive as further behaviours, and with what neurons send, for any other model.

    Over the training part the drive is as all samples show it (`DriveFit.smoothed`), elsewhere as earlier samples do,
    so that a strength chosen there and a forecast are honest.
    """
    found = with_drive(windows, fit.filter())
    drive, smoothed = found.drive.clone(), torch.from_numpy(fit.smoothed(windows)[0])
    targets = windows.targets["train"]
    drive[targets - 1] = smoothed.to(drive)[targets]  # a behaviour is known one sample before what it explains
    scale, k = windows.normalization, fit.components
    return replace(
        found,
        drive=drive[:, :0],
        behavior=torch.cat([windows.behavior, drive.to(windows.behavior)], dim=1),
        behavior_names=(*windows.behavior_names, *(f"drive_{j}" for j in range(k))),
        normalization=replace(
            scale,
            behavior_mean=np.append(scale.behavior_mean, np.zeros(k)),
            behavior_std=np.append(scale.behavior_std, np.ones(k)),
        ),
    )


def _without_drive(windows: Windows, decay: Array, deflations: Sequence[float]) -> tuple[DriveFit, Moments]:
    """Return the best fit without hidden drive, and the moments behind it: products centred, beside the means."""
    windows = with_sources(windows, decay)
    raw = gather_moments(windows, "train", population=True, first=2)
    means = {name: getattr(raw, name) for name in ("shared_mean", "own_mean", "target_mean")}
    moments = replace(raw.centred(raw), **means)
    del raw
    n, k = windows.n_neurons, 0
    best: DriveFit | None = None
    for deflation in deflations:
        start = DriveFit(
            decay=decay, weights=np.zeros((n, n)), own=np.zeros((n, windows.window - 1)),
            behavior=np.zeros((n, windows.n_behaviors)), intercept=np.zeros(n), loadings=np.zeros((n, k)),
            noise=np.ones(n), transition=np.zeros((k, k)), innovation=np.zeros((k, k)), deflation=deflation,
            validation_mse=(), prior=None,
        )  # fmt: skip
        fit = _maximise(windows, moments, start, np.zeros((len(windows.activity), k)), np.zeros((k, k)), _SWEEPS)
        fit = replace(fit, validation_mse=(_validation_mse(windows, fit),))
        if best is not None and not fit.validation_mse < best.validation_mse:
            break
        best = fit
    assert best is not None
    return best, moments


def _iterate(windows: Windows, moments: Moments, fit: DriveFit, sweeps: int) -> DriveFit:
    """One expectation and one maximisation."""
    series, covariance = fit.smoothed(windows)
    steps, _ = fit.steps()
    chosen = windows.targets["train"].cpu().numpy()
    inside = chosen[1:][np.diff(chosen) == 1]
    now, before = series[inside], series[inside - 1]
    cross, past = now.T @ before + len(inside) * steps.lagged, before.T @ before + len(inside) * covariance
    transition = _stabilised(np.linalg.solve(past, cross.T).T)
    square = now.T @ now + len(inside) * covariance
    innovation = square - transition @ cross.T - cross @ transition.T + transition @ past @ transition.T
    innovation = (innovation + innovation.T) / (2 * len(inside))
    # a component's scale is arbitrary: it is put into its loadings
    scale = np.sqrt(np.diagonal(square) / len(inside))
    fit = replace(
        fit,
        transition=transition * scale[None] / scale[:, None],
        innovation=innovation / np.outer(scale, scale),
    )
    return _maximise(windows, moments, fit, series / scale, covariance / np.outer(scale, scale), sweeps)


def _maximise(
    windows: Windows, moments: Moments, fit: DriveFit, series: Array, covariance: Array, sweeps: int
) -> DriveFit:
    """Return the regression of the training samples on all predictors and the hidden drive (T, k)."""
    n = windows.n_neurons
    drive = gather_covariates(windows, "train", torch.from_numpy(series).to(windows.device), first=2)
    drive = replace(drive, products=drive.products + torch.from_numpy(covariance).to(windows.device))
    freed = moments.freed_of(drive)
    design = CoupledDesign(freed)
    targets = design.targets(to_array(freed.shared_target.T), to_array(freed.own_target))
    left = to_array(freed.target)
    del freed  # with the design there are two sets of N² W products, and need not be three
    posterior = shrink_coupled(
        design, targets, left, len(windows.targets["train"]) / fit.deflation,
        start=design.without_own(np.hstack([fit.weights, fit.behavior])), prior=fit.prior, sweeps=sweeps,
        noise=None if fit.prior is None else fit.noise,
    )  # fmt: skip
    shared, own = design.coefficients(targets, posterior.mean)
    explained = to_array(drive.shared) @ shared.T + np.einsum("lfn,nl->fn", to_array(drive.own), own)
    inverse = np.linalg.pinv(to_array(drive.products), hermitian=True)
    loadings = (inverse @ (to_array(drive.target) - explained)).T  # (N, k)
    intercept = to_array(moments.target_mean) - shared @ to_array(moments.shared_mean)
    intercept -= loadings @ to_array(drive.mean) + (own * to_array(moments.own_mean)).sum(1)
    return replace(
        fit, weights=shared[:, :n], own=own, behavior=shared[:, n:], loadings=loadings, intercept=intercept,
        noise=np.maximum(posterior.noise, _LEAST_NOISE), prior=posterior.prior,
    )  # fmt: skip


def _add_component(windows: Windows, fit: DriveFit) -> DriveFit:
    """Return the fit with one hidden series more: along what persists most in the residuals of all neurons together."""
    windows = with_drive(windows, fit.filter())
    scale = torch.from_numpy(np.sqrt(fit.noise)).to(windows.device, windows.dtype)
    n = windows.n_neurons
    lagged = torch.zeros(n, n, dtype=torch.float64, device=windows.device)
    trace = torch.zeros(1, n, dtype=windows.dtype, device=windows.device)
    for samples in windows.targets["train"].split(_ROWS):
        residual = (windows.activity.index_select(0, samples) - fit.forecast(windows, samples)) / scale
        past, trace = _average_of_past(residual, trace)
        lagged += (residual.T @ past).double()
    lagged = lagged / len(windows.targets["train"])
    values, vectors = torch.linalg.eigh((lagged + lagged.T) / 2)
    column = to_array(vectors[:, -1]) * np.sqrt(max(float(values[-1]), 1e-3))
    k = fit.components
    transition, innovation = np.eye(k + 1) * _PERSISTENCE, np.eye(k + 1) * (1 - _PERSISTENCE**2)
    transition[:k, :k], innovation[:k, :k] = fit.transition, fit.innovation
    return replace(
        fit,
        loadings=np.hstack([fit.loadings, (column * to_array(scale))[:, None]]),
        transition=transition,
        innovation=innovation,
    )


def _average_of_past(values: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    """Return for each row of `values` (B, N) an average of the rows before it, later ones weighing more.

    `before` (1, N) is that of the rows before the first; that of what follows the last is returned beside it.
    """
    ages = torch.arange(len(values) + 1, device=values.device, dtype=values.dtype)
    decay = (1 - 1 / _SMOOTHING) ** ages
    weights = decay[(ages[1:, None] - ages[None, 1:]).long().abs()].tril() / _SMOOTHING
    after = torch.cat([before, weights @ values + decay[1:, None] * before])
    return after[:-1], after[-1:]


def _validation_mse(windows: Windows, fit: DriveFit) -> float:
    windows = with_drive(windows, fit.filter())
    total, indices = 0.0, windows.targets["validation"]
    for samples in indices.split(max(1, _BLOCK // windows.n_neurons)):
        error = windows.activity.index_select(0, samples) - fit.forecast(windows, samples)
        total += float((error.double() ** 2).sum())
    return total / (len(indices) * windows.n_neurons)


def _expected(fit: DriveFit, windows: Windows, samples: Tensor) -> Tensor:
    """Return the forecast (n, N) without the hidden drive."""
    last = samples - 1
    forecast = windows.sources_at(last) @ _tensor(fit.weights.T, windows)
    forecast += windows.behavior.index_select(0, last) @ _tensor(fit.behavior.T, windows)
    forecast += _tensor(fit.intercept, windows)
    for lag, column in zip(range(windows.window, 1, -1), fit.own.T, strict=True):
        forecast += windows.activity.index_select(0, samples - lag) * _tensor(column, windows)
    return forecast


def _gathered(
    windows: Windows, added: Callable[[Windows, Tensor], Array], components: int
) -> tuple[Array, NDArray[np.bool_]]:
    """Return what each sample adds (T, k), and which samples (T,) add anything: the targets of all parts."""
    series = np.zeros((len(windows.activity), components))
    observed = np.zeros(len(series), bool)
    if components:
        for samples in _all_targets(windows):
            places = samples.cpu().numpy()
            series[places], observed[places] = added(windows, samples), True
    return series, observed


def _all_targets(windows: Windows) -> Iterator[Tensor]:
    for indices in windows.targets.values():
        yield from indices.split(max(1, _BLOCK // windows.n_neurons))


def _stabilised(transition: Array) -> Array:
    """Return Φ shrunk, if need be, until no component grows."""
    largest = np.abs(np.linalg.eigvals(transition)).max(initial=0)
    return transition * (_STABLE / largest) if largest > _STABLE else transition


def _tensor(values: Array, windows: Windows) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values)).to(windows.device, windows.dtype)
