"""A session as windows: what is forecast from what, gathered in batches by index. `preparation` makes them.

Letters: B batch, N neurons kept, W window, K behaviours, k latent drives, T samples. In memory on the device the series
lie as (T, N), (T, K) and (T, k), so that a window is W neighbouring rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ..session import Neurons, Normalization

#: The parts that hold windows, in time order.
PARTS = ("train", "validation", "test")

_NO_DRIVE = torch.empty(0)  # stands for a drive of as many samples as there are, and no components


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
    """B windows of one session, all on one device. The target lies one sample after each window.

    Or B stretches, for a model with ``context="stream"``: S = W + L - 1 samples, and L neighbouring targets, each one
    sample after one of the last L.
    """

    activity: Tensor
    """(B, N, W) z-scored activity, oldest sample first; of stretches (B, N, S)."""
    behavior: Tensor
    """(B, K, W) z-scored behaviour at the same samples, never at the target's; of stretches (B, K, S)."""
    target: Tensor
    """(B, N) z-scored activity to forecast; of stretches (B, N, L)."""
    session: int
    """Index of the session among those prepared together."""
    weight: Tensor | None = None
    """(B, L) of stretches: 1 where there is a target, 0 where a stretch ends early. None for windows."""
    drive: Tensor = _NO_DRIVE
    """(B, k, W) or (B, k, S) latent shared drive as known at each of these samples; by default k is 0."""
    deconvolved: Tensor | None = None
    """What neurons send at each of these samples, where it is not the activity."""

    def __post_init__(self) -> None:
        if self.drive is _NO_DRIVE:
            object.__setattr__(self, "drive", self.activity[:, :0])

    @property
    def sources(self) -> Tensor:
        """What neurons send, of the activity's shape."""
        return self.activity if self.deconvolved is None else self.deconvolved


@dataclass(frozen=True, eq=False)
class Deconvolution:
    """What neurons send where it is not their activity: u(t) = z(t) - δ z(t-1), worked out where it is asked for.

    As a series of its own it would take as much memory as the recording.
    """

    decay: Tensor
    """(N,) δ."""
    follows: Tensor
    """(T,) whether a window holds the sample and the one before it; u is 0 elsewhere."""

    def at(self, activity: Tensor, samples: Tensor) -> Tensor:
        """Return u (n, N) at `samples` (n,) of the activity (T, N)."""
        before = activity.index_select(0, (samples - 1).clamp(min=0)).mul_(self.decay)
        sent = activity.index_select(0, samples).sub_(before)
        return sent.mul_(self.follows.index_select(0, samples)[:, None])


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
    drive: Tensor = _NO_DRIVE
    """(T, k) latent shared drive, estimated at each sample from that and earlier ones; by default k is 0."""
    deconvolution: Deconvolution | None = None
    """What neurons send (see `deconvolution`), where it is not the activity."""

    def __post_init__(self) -> None:
        if self.drive is _NO_DRIVE:
            object.__setattr__(self, "drive", self.activity[:, :0])

    def sources_at(self, samples: Tensor) -> Tensor:
        """Return what neurons send at `samples` (n,), (n, N)."""
        if self.deconvolution is None:
            return self.activity.index_select(0, samples)
        return self.deconvolution.at(self.activity, samples)

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
        first = indices - self.window
        return Batch(
            activity=_gather(self.activity, first, self.window),
            behavior=_gather(self.behavior, first, self.window),
            target=self.activity.index_select(0, indices),
            session=self.session,
            drive=_gather(self.drive, first, self.window),
            deconvolved=_gather_sources(self, first, self.window),
        )

    def rows(self, indices: Tensor, length: int = 1) -> Rows:
        """Return the samples `indices` (n,), ascending, as rows of batches; see `Rows`."""
        if length == 1:
            return Rows(self, indices, None)
        return Rows(self, *cut_stretches(indices, length))

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


@dataclass(frozen=True, eq=False)
class Rows:
    """Samples to forecast as the rows that batches are made of: one a window, or stretches of L neighbours."""

    windows: Windows
    first: Tensor
    """(M,) the first target of each row."""
    weight: Tensor | None
    """(M, L) 1 where a stretch has a target, 0 after its end. None for windows."""

    def __len__(self) -> int:
        return len(self.first)

    @property
    def n_targets(self) -> int:
        """Samples to forecast in all rows."""
        return len(self.first) if self.weight is None else int(self.weight.sum())

    def batch(self, chosen: Tensor | slice) -> Batch:
        """Gather some of the rows."""
        w, first = self.windows, self.first[chosen]
        if self.weight is None:
            return w.batch(first)
        length = self.weight.shape[1]
        steps = w.window + length - 1
        return Batch(
            activity=_gather(w.activity, first - w.window, steps),
            behavior=_gather(w.behavior, first - w.window, steps),
            target=_gather(w.activity, first, length),
            session=w.session,
            weight=self.weight[chosen],
            drive=_gather(w.drive, first - w.window, steps),
            deconvolved=_gather_sources(w, first - w.window, steps),
        )


def with_history(windows: Windows, length: int) -> Windows:
    """Return the session with windows of `length` samples, longer than W, that forecast the same samples.

    Only the targets that have so many samples before them in the recording stay. Their windows may reach into the part
    or the segment before: it is all past, and what is not valid is 0.
    """
    targets = {part: indices[indices >= length] for part, indices in windows.targets.items()}
    return replace(windows, window=length, targets=targets)


def cut_stretches(targets: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Cut targets into stretches of neighbouring samples.

    Parameters
    ----------
    targets : torch.Tensor
        (n,) ascending samples to forecast, as in ``windows.targets["train"]``.
    length : int
        L, targets in a stretch.

    Returns
    -------
    first : torch.Tensor
        (M,) first target of each stretch.
    weight : torch.Tensor
        (M, L) 1 where the stretch has a target, 0 after its end, where targets are not neighbours or there are none.
    """
    place = torch.arange(len(targets), device=targets.device)
    jump = torch.ones_like(targets, dtype=torch.bool)
    jump[1:] = targets.diff() != 1
    since = place - torch.where(jump, place, 0).cummax(0).values
    starts = place[since % length == 0]
    sizes = torch.cat([starts, starts.new_tensor([len(targets)])]).diff()
    return targets[starts], (torch.arange(length, device=targets.device) < sizes[:, None]).float()


def _gather(values: Tensor, first: Tensor, count: int) -> Tensor:
    """Gather from (T, F) the `count` rows from each of `first` (B,) on, as (B, F, count).

    Rows beyond the last repeat it: only stretches that are cut short reach there.
    """
    steps = _steps(first, count, len(values))
    return values.index_select(0, steps).view(len(first), count, values.shape[1]).transpose(1, 2)


def _gather_sources(windows: Windows, first: Tensor, count: int) -> Tensor | None:
    """Gather what neurons send like `_gather`; None where it is their activity."""
    if windows.deconvolution is None:
        return None
    steps = _steps(first, count, len(windows.activity))
    return windows.sources_at(steps).view(len(first), count, windows.n_neurons).transpose(1, 2)


def _steps(first: Tensor, count: int, total: int) -> Tensor:
    steps = first[:, None] + torch.arange(count, device=first.device)
    return steps.clamp(max=total - 1).flatten()
