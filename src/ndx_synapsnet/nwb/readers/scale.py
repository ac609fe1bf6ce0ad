"""A series' conversion to its unit."""

from __future__ import annotations

from typing import Any

import numpy as np


def scale_of(series: Any) -> tuple[float, float]:
    """Return factor and offset such that stored * factor + offset is in the series' unit.

    A conversion that is zero or not a number, and an offset that is not a number, are taken as not set.
    """
    factor = float(series.conversion if series.conversion is not None else 1.0)
    offset = float(series.offset if series.offset is not None else 0.0)
    return (factor if np.isfinite(factor) and factor != 0.0 else 1.0), (offset if np.isfinite(offset) else 0.0)
