"""Pearson correlation of many series at once, with constant series at 0."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def correlate_columns(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pearson r of each column of `a` with the same column of `b`; 0 where one is constant."""
    return np.asarray(np.clip(np.einsum("nt,nt->n", unit_rows(a.T), unit_rows(b.T)), -1, 1))


def unit_rows(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return `rows` with mean 0 and norm 1, and constant ones as zeros."""
    centred = rows - rows.mean(1, keepdims=True)
    norm = np.linalg.norm(centred, axis=1, keepdims=True)
    vanishes = norm <= 1e-12 * np.sqrt(rows.shape[1]) * np.abs(rows).max(1, keepdims=True)
    return np.asarray(np.where(vanishes, 0, centred / np.where(vanishes, 1, norm)))
