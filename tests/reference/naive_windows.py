"""Which samples may be forecast, asked of every sample in turn."""

from __future__ import annotations

import numpy as np


def naive_targets(split: np.ndarray, segment: np.ndarray, valid: np.ndarray, window: int, code: int) -> list[int]:
    """Samples of part `code` whose window and they themselves are valid and of one part and one segment."""
    return [
        t
        for t in range(window, len(split))
        if all(valid[s] and split[s] == code and segment[s] == segment[t] for s in range(t - window, t + 1))
    ]
