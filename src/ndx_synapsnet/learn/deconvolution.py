"""What neurons send: their activity, or what is new in it where the indicator is slow.

Calcium fluorescence rises with each spike and takes many frames to decay: most of it is memory of spikes that did their
work long ago. With z(t) the fluorescence and δ its decay from frame to frame, u(t) = z(t) - δ z(t-1) is the part that
new spikes have caused, beside noise. In a simulated network seen through an indicator, coupling to u is recovered with
twice the correlation of coupling to z. Letters: N neurons, T samples.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from .windows import Deconvolution, Windows

_SLOWEST = 0.99
_BLOCK = 2**20  # numbers of a series summed at once


def estimate_decay(windows: Windows) -> NDArray[np.float64]:
    """Return each neuron's decay δ from sample to sample, (N,), from its training part.

    It is the ratio of the autocovariances at two samples and at one, which noise independent from sample to sample does
    not change; at least 0 and at most 0.99.
    """
    samples = windows.targets["train"]
    sums = torch.zeros(2, windows.n_neurons, dtype=torch.float64, device=windows.device)
    for chosen in samples.split(max(1, _BLOCK // windows.n_neurons)):
        now = windows.activity.index_select(0, chosen)
        for lag in (1, 2):
            past = windows.activity.index_select(0, (chosen - lag).clamp(min=0))
            sums[lag - 1] += (now * past).sum(0).double()
    one, two = sums.cpu().numpy()
    ratio = np.divide(two, one, out=np.zeros_like(one), where=one > 0)
    return np.asarray(np.clip(ratio, 0, _SLOWEST))


def with_sources(windows: Windows, decay: NDArray[np.floating]) -> Windows:
    """Return the session with what its neurons send, u, by their decay (N,); the activity itself if all are 0.

    Where the recording goes on from nothing that a window holds, u is 0.
    """
    if not decay.any():
        return windows if windows.deconvolution is None else replace(windows, deconvolution=None)
    follows = torch.zeros(len(windows.activity), dtype=torch.bool, device=windows.device)
    for samples in windows.targets.values():
        for lag in range(windows.window):
            follows[samples - lag] = True
    factor = torch.from_numpy(np.asarray(decay)).to(windows.device, windows.dtype)
    return replace(windows, deconvolution=Deconvolution(factor, follows))
