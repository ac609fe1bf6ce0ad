"""From sessions to windows: split by time, z-score, set aside what cannot be modelled.

Letters: N neurons kept, K behaviours, T samples.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import InputError
from ..memory import in_file
from ..session import SPLITS, Normalization, Session
from .windows import PARTS, WindowConfig, Windows

# Why a series may be set aside, as told to people.
_CONSTANT = "constant in the training part"
_SILENT = "nearly silent in the training part"
_QUIET = "far quieter in the training part than in the whole recording"

_BLOCK = 2**18  # numbers turned to float64 at a time
_ROUNDING = 1e-6  # a deviation this far below the largest value is float32 rounding, not a signal


def prepare(
    sessions: Sequence[Session],
    config: WindowConfig | None = None,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    spill: Path | None = None,
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
    spill : Path, optional
        A folder: the z-scored activity then lies in files there, mapped (see `memory`), for sessions that together
        take more memory than there is. The numbers are the same. On a CUDA device it lies in the device's own memory.

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
    device = torch.device(device)
    return [_prepare(session, index, config, device, dtype, spill) for index, session in enumerate(sessions)]


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


def _prepare(
    session: Session, index: int, config: WindowConfig, device: torch.device, dtype: torch.dtype, spill: Path | None
) -> Windows:
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
    shape = (session.n_samples, len(mean))
    blocks = _z_scored(session, kept, mean, std, dtype)
    if spill is None or device.type != "cpu":
        activity = torch.empty(shape, dtype=dtype)
        for block, part in zip(blocks, activity.split(_samples_at_once(session)), strict=True):
            part.copy_(block)
    else:
        activity = _mapped(blocks, shape, dtype, spill)

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


def _samples_at_once(session: Session) -> int:
    return max(1, _BLOCK // session.n_neurons)


def _z_scored(
    session: Session, kept: NDArray[np.bool_], mean: NDArray[np.float64], std: NDArray[np.float64], dtype: torch.dtype
) -> Iterator[Tensor]:
    """Yield the z-scored activity of the neurons kept, some samples (t, N) at a time."""
    step = _samples_at_once(session)
    for span in (slice(start, start + step) for start in range(0, session.n_samples, step)):
        z = (session.activity[:, span][kept].astype(np.float64) - mean[:, None]) / std[:, None]
        yield torch.from_numpy(np.where(session.valid[span], z, 0)).to(dtype).T.contiguous()


def _mapped(blocks: Iterator[Tensor], shape: tuple[int, int], dtype: torch.dtype, folder: Path) -> Tensor:
    """Write blocks of a series to a file, and return the file as a tensor."""

    def write(file: IO[bytes]) -> None:
        for block in blocks:
            file.write(block.view(torch.uint8).numpy().data)

    count = shape[0] * shape[1]
    whole: Tensor = in_file(folder, write, lambda name: torch.from_file(name, shared=True, size=count, dtype=dtype))
    return whole.view(shape)


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
