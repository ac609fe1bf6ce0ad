"""From sessions to windows: split by time, z-score, set aside what cannot be modelled, gather batches by index.

Letters: B batch, N neurons kept, W window, K behaviours, T samples. In memory on the device the series lie as (T, N)
and (T, K), so that a window is W neighbouring rows.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ..errors import InputError
from ..session import SPLITS, Neurons, Normalization, Session

#: The parts that hold windows, in time order.
PARTS = ("train", "validation", "test")

# Why a series may be set aside, as told to people.
_CONSTANT = "constant in the training part"
_SILENT = "nearly silent in the training part"
_QUIET = "far quieter in the training part than in the whole recording"

_BLOCK = 64  # neurons turned to float64 at a time
_ROUNDING = 1e-6  # a deviation this far below the largest value is float32 rounding, not a signal


@dataclass(frozen=True)
class WindowConfig:
    """How a session is cut into training, validation and test windows (paper, appendix A.1)."""

    window: int = 5
    """W, samples of history that a forecast sees."""
    split: tuple[float, float, float] = (0.8, 0.1, 0.1)
    """Shares of the valid samples, in time order: training, validation, test."""
    gap: int = 0
    """Samples left unused at the end of the training and of the validation part, so that slow signals (calcium decay)
    carry less from one part into the next. The test part does not depend on it."""
    statistics: Literal["train", "all"] = "train"
    """Samples whose mean and deviation z-score the session: the training part's, or all valid ones, which lets the
    test part leak into the scale and serves only for parity with published figures."""
    min_active: int = 20
    """A neuron is set aside if fewer training samples than this differ from its training median."""
    min_deviation_ratio: float = 0.25
    """A neuron is set aside if its deviation in the training part is below this share of that over all samples."""

    def __post_init__(self) -> None:
        if self.window < 1:
            raise ValueError(f"window is {self.window}, expected at least 1 sample")
        split = tuple(float(share) for share in self.split)
        if len(split) != 3 or min(split) <= 0 or not math.isclose(sum(split), 1, abs_tol=1e-6):
            raise ValueError(f"split is {split}, expected three positive shares that sum to 1")
        object.__setattr__(self, "split", split)
        if self.gap < 0:
            raise ValueError(f"gap is {self.gap}, expected 0 or more samples")
        if self.statistics not in ("train", "all"):
            raise ValueError(f"statistics is {self.statistics!r}, expected 'train' or 'all'")
        if self.min_active < 0:
            raise ValueError(f"min_active is {self.min_active}, expected 0 or more samples")
        if not 0 <= self.min_deviation_ratio <= 1:
            raise ValueError(f"min_deviation_ratio is {self.min_deviation_ratio}, expected 0 to 1")


@dataclass(frozen=True, eq=False)
class Batch:
    """B windows of one session, all on one device. The target lies one sample after each window."""

    activity: Tensor
    """(B, N, W) z-scored activity, oldest sample first."""
    behavior: Tensor
    """(B, K, W) z-scored behaviour at the same samples, never at the target's."""
    target: Tensor
    """(B, N) z-scored activity to forecast."""
    session: int
    """Index of the session among those prepared together."""


@dataclass(frozen=True, eq=False)
class Windows:
    """One session, prepared: z-scored on the device, with the samples that may be forecast in each part."""

    session: int
    """Index among the sessions prepared together."""
    label: str
    """The session's short name for people."""
    window: int
    """W."""
    activity: Tensor
    """(T, N) z-scored; 0 in samples that are not valid, which no window holds."""
    behavior: Tensor
    """(T, K) z-scored; 0, the training mean, where it was not measured."""
    behavior_names: tuple[str, ...]
    """K names."""
    neurons: Neurons
    """The N neurons kept."""
    kept: NDArray[np.bool_]
    """Over the session's neurons: whether each is among the N."""
    reasons: NDArray[np.str_]
    """Over the session's neurons: why each was set aside, or an empty text."""
    split: NDArray[np.uint8]
    """(T,) part of each sample, coded as in `session.SPLITS`."""
    targets: dict[str, Tensor]
    """For each of `PARTS`: ascending indices of the samples to forecast, int64 on the device. Such a sample and the W
    before it are valid and lie in one part and one segment."""
    normalization: Normalization
    """Of the N neurons and K behaviours. A deviation of 0 marks a behaviour that was (nearly) constant in the training
    part: its z-score is 0 throughout."""
    notes: tuple[str, ...]
    """What was done, one sentence each, for the report."""

    @property
    def n_neurons(self) -> int:
        """N, the number of neurons kept."""
        return self.activity.shape[1]

    @property
    def n_behaviors(self) -> int:
        """K, the number of behaviours."""
        return self.behavior.shape[1]

    @property
    def device(self) -> torch.device:
        """Where the session lies."""
        return self.activity.device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the z-scored numbers."""
        return self.activity.dtype

    def batch(self, indices: Tensor) -> Batch:
        """Gather the windows that end just before the samples `indices` (B,)."""
        steps = (indices[:, None] + torch.arange(-self.window, 0, device=indices.device)).flatten()
        size = (len(indices), self.window)
        return Batch(
            activity=self.activity.index_select(0, steps).view(*size, self.n_neurons).transpose(1, 2),
            behavior=self.behavior.index_select(0, steps).view(*size, self.n_behaviors).transpose(1, 2),
            target=self.activity.index_select(0, indices),
            session=self.session,
        )

    def truth(self, indices: Tensor) -> NDArray[np.float32]:
        """Return the z-scored activity at `indices` as an (n, N) array, as forecasts are scored against."""
        return self.activity.index_select(0, indices).cpu().numpy()

    def to_source_units(self, values: ArrayLike) -> NDArray[np.float32]:
        """Turn z-scored activity (n, N) back into the session's own unit."""
        scale = self.normalization
        return np.asarray(values, np.float32) * scale.activity_std + scale.activity_mean

    def __repr__(self) -> str:
        counts = ", ".join(f"{len(self.targets[part])} {part}" for part in PARTS)
        return f"Windows({self.label}: {self.n_neurons} neurons, {self.n_behaviors} behaviours, windows: {counts})"


def prepare(
    sessions: Sequence[Session],
    config: WindowConfig | None = None,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> list[Windows]:
    """Split, z-score and index sessions that are to be fitted together.

    Neurons are set aside when z-scoring by the training part's deviation would be a division by almost nothing: such
    a neuron has an MSE in the thousands on the test part, whatever the model, and alone decides the session's mean
    and the gradient. Three rules, each of which the others miss:

    - *constant*: the training deviation is 0, or below 1e-6 of the largest value (rounding of float32);
    - *nearly silent*: fewer than ``min_active`` training samples differ from the training median. A unit with three
      spikes, or an ROI with one transient: a correlation over so few events means nothing. Counting samples rather
      than comparing deviations makes the rule free of units and of how large the few events are;
    - *far quieter in training*: the training deviation is below ``min_deviation_ratio`` of that over all valid
      samples. A trace with noise in every sample is never at its median, so the second rule does not see that its
      only transients come later. At 0.25, with 80% of the samples in training, those hold less than 5% of the
      trace's sum of squares. This looks at the later parts, but only to leave neurons out, for every model alike.

    On a two-photon recording whose 219 ROIs include 199 rejected ones, these leave no ROI whose test MSE around the
    training mean exceeds 15; without them it reaches 40,000. The second and third rule serve behaviours as well,
    which are then held at 0.

    Parameters
    ----------
    sessions : sequence of Session
        At least one.
    config : WindowConfig, optional
        The paper's by default.
    device : torch.device or str
        Where the z-scored series and all batches lie.
    dtype : torch.dtype
        Of the z-scored series; statistics are computed in float64 in any case.

    Returns
    -------
    list of Windows
        One a session, in the same order.

    Raises
    ------
    InputError
        If there is no session, or one is too short for two windows in each part, or fewer than two neurons remain.
    """
    config = config or WindowConfig()
    if not sessions:
        raise InputError("no session to learn from", remedy="Give at least one recording.")
    return [_prepare(session, index, config, torch.device(device), dtype) for index, session in enumerate(sessions)]


def split_samples(valid: NDArray[np.bool_], config: WindowConfig) -> NDArray[np.uint8]:
    """Return the part of each sample (T,), as codes of `session.SPLITS`: contiguous shares of the valid samples."""
    samples = np.flatnonzero(valid)
    first, second = (round(float(share) * len(samples)) for share in np.cumsum(config.split)[:2])
    split = np.full(len(valid), SPLITS["unused"], np.uint8)
    split[samples[: max(first - config.gap, 0)]] = SPLITS["train"]
    split[samples[first : max(second - config.gap, first)]] = SPLITS["validation"]
    split[samples[second:]] = SPLITS["test"]
    return split


def target_samples(split: NDArray[np.uint8], segment: NDArray[np.int32], window: int) -> dict[str, NDArray[np.int64]]:
    """Return for each part the samples that have `window` samples of the same part and segment right before them.

    Samples that are not valid belong to no part (see `split_samples`), so no window holds one.
    """
    samples = np.arange(len(split))
    starts = np.ones(len(split), bool)  # of a run of samples in one part and one segment
    starts[1:] = (split[1:] != split[:-1]) | (segment[1:] != segment[:-1])
    behind = samples - np.maximum.accumulate(np.where(starts, samples, 0))
    return {part: samples[(behind >= window) & (split == SPLITS[part])] for part in PARTS}


def _prepare(session: Session, index: int, config: WindowConfig, device: torch.device, dtype: torch.dtype) -> Windows:
    split = split_samples(session.valid, config)
    targets = target_samples(split, session.segment, config.window)
    short = [part for part in PARTS if len(targets[part]) < 2]
    if short:
        raise InputError(
            f"too short: {session.n_samples} samples ({int(session.valid.sum())} valid) leave fewer than two windows "
            f"of {config.window} + 1 samples for {' and '.join(short)}",
            where=session.label,
            remedy="Give a longer recording, or a shorter window or gap.",
        )
    train = split == SPLITS["train"]
    fitted = train if config.statistics == "train" else session.valid
    mean, std, reasons = _statistics(session.activity, train, session.valid, fitted, config)
    kept = reasons == ""
    notes = _notes("neuron", reasons)
    if kept.sum() < 2:
        found = f"only {session.n_neurons} neuron" if session.n_neurons < 2 else f"{kept.sum()} neurons can be modelled"
        raise InputError(
            "; ".join([found, *notes]),
            where=session.label,
            remedy="At least two neurons that vary over the training part are needed.",
        )
    mean, std = mean[kept], std[kept]
    activity = torch.zeros((session.n_samples, len(mean)), dtype=dtype)
    rows = np.flatnonzero(kept)
    for block in (slice(start, start + _BLOCK) for start in range(0, len(rows), _BLOCK)):
        z = (session.activity[rows[block]].astype(np.float64) - mean[block, None]) / std[block, None]
        activity[:, block] = torch.from_numpy(np.where(session.valid, z, 0)).to(dtype).T

    known = np.isfinite(session.behavior)
    b_mean, b_std, b_reasons = _statistics(
        session.behavior, train & known, session.valid & known, fitted & known, config
    )
    b_std = np.where(b_reasons == "", b_std, 0)
    z = (session.behavior - b_mean[:, None]) / np.where(b_std > 0, b_std, 1)[:, None]
    z = np.where(known & (b_std > 0)[:, None], z, 0)
    notes += [
        f"behaviour {name!r} is held at 0: {reason}"
        for name, reason in zip(session.behavior_names, b_reasons, strict=True)
        if reason
    ]
    return Windows(
        session=index,
        label=session.label,
        window=config.window,
        activity=activity.to(device),
        behavior=torch.from_numpy(z.T.copy()).to(device, dtype),
        behavior_names=session.behavior_names,
        neurons=session.neurons.select(kept),
        kept=kept,
        reasons=reasons,
        split=split,
        targets={part: torch.from_numpy(samples).to(device) for part, samples in targets.items()},
        normalization=Normalization(mean, std, b_mean, b_std),  # type: ignore[arg-type]
        notes=tuple(notes),
    )


def _statistics(
    series: NDArray[np.float32],
    train: NDArray[np.bool_],
    whole: NDArray[np.bool_],
    fitted: NDArray[np.bool_],
    config: WindowConfig,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.str_]]:
    """Mean and deviation of each of `series` (C, T) over `fitted`, and why it cannot be used, or an empty text.

    The masks are (T,), or (C, T) where they differ between series.
    """
    count = len(series)
    mean, std = np.zeros(count), np.zeros(count)
    reasons = np.full(count, "", f"<U{max(map(len, (_CONSTANT, _SILENT, _QUIET)))}")
    masks = [np.broadcast_to(mask, series.shape) for mask in (train, whole, fitted)]
    for i in range(count):
        in_train, in_whole, in_fitted = (series[i][mask[i]].astype(np.float64) for mask in masks)
        if len(in_fitted):
            mean[i], std[i] = in_fitted.mean(), in_fitted.std()
        if not len(in_train) or in_train.std() <= _ROUNDING * np.abs(in_train).max():
            reasons[i] = _CONSTANT
        elif np.count_nonzero(in_train != np.median(in_train)) < config.min_active:
            reasons[i] = _SILENT
        elif in_train.std() < config.min_deviation_ratio * in_whole.std():
            reasons[i] = _QUIET
    return mean, std, reasons


def _notes(noun: str, reasons: NDArray[np.str_]) -> list[str]:
    """One sentence a reason: how many of how many were set aside."""
    return [
        f"{count} of {len(reasons)} {noun}s set aside: {reason}"
        for reason, count in Counter(reasons[reasons != ""].tolist()).most_common()
    ]
