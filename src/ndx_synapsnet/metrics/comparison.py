"""Whether one model forecasts better than another: paired t-tests, corrected for their number.

Letters: U units, sessions or neurons, that all models have been scored on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import missing_extra


@dataclass(frozen=True)
class PairedTest:
    """One pair of models, over the units that both have a value on."""

    model: str
    other: str
    difference: float | None
    """Mean of the model's values less the other's; None without a unit."""
    units: int
    """Units that both have a value on."""
    t: float | None
    """Student's t with one degree of freedom less than units; None of fewer than two units."""
    p: float | None
    """Two-sided."""
    p_corrected: float | None
    """By Holm, for all the tests made together."""


def compare_models(values: Mapping[str, ArrayLike], reference: str | None = None) -> list[PairedTest]:
    """Compare models by paired t-tests over sessions or neurons, with Holm's correction (paper, Table 1, figure 2).

    Parameters
    ----------
    values : mapping
        By model, (U,) scores of the same sessions or neurons in the same order. A unit on which one of a pair has NaN,
        as a constant neuron's correlation is, is left out of that pair. Neurons of one session are not independent:
        over them p is too small, and a test over sessions the one to report.
    reference : str, optional
        Compare this model with each other; by default all pairs.

    Returns
    -------
    list of PairedTest
        In the order of `values`. Differences that are all equal have t = 0 and p = 1 if they are 0, else an infinite t
        and p = 0.

    Raises
    ------
    ValueError
        If the models do not have as many values, or there is no such reference.
    InputError
        If scipy is not installed.
    """
    arrays = {name: np.asarray(each, np.float64).ravel() for name, each in values.items()}
    if len({len(each) for each in arrays.values()}) > 1:
        raise ValueError(f"models have values of different units: { {name: len(a) for name, a in arrays.items()} }")
    if reference is not None and reference not in arrays:
        raise ValueError(f"no values of the reference {reference!r}, only of {', '.join(arrays)}")
    others = [name for name in arrays if name != reference]
    pairs = combinations(arrays, 2) if reference is None else ((reference, name) for name in others)
    tests = [(a, b, *_paired_t(arrays[a] - arrays[b])) for a, b in pairs]
    corrected = iter(holm([p for *_, p in tests if p is not None]).tolist())
    return [
        PairedTest(a, b, difference, units, t, p, None if p is None else next(corrected))
        for a, b, difference, units, t, p in tests
    ]


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """Return p-values (m,) corrected for their number by Holm's step-down method (1979), in their order."""
    values = np.asarray(p, np.float64)
    order = np.argsort(values, kind="stable")
    corrected = np.empty_like(values)
    stepped = values[order] * np.arange(len(values), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(stepped), 1) if len(values) else stepped
    return corrected


def _paired_t(difference: NDArray[np.float64]) -> tuple[float | None, int, float | None, float | None]:
    """Return the mean difference over the units, how many there are, t and p."""
    present = difference[~np.isnan(difference)]
    units = len(present)
    if not units:
        return None, 0, None, None
    mean = float(present.mean())
    if units < 2:
        return mean, units, None, None
    error = float(present.std(ddof=1) / np.sqrt(units))
    if error <= 1e-12 * abs(mean) or error == 0:  # equal up to rounding
        return (mean, units, 0.0, 1.0) if mean == 0 else (mean, units, float(np.copysign(np.inf, mean)), 0.0)
    return mean, units, mean / error, _two_sided(mean / error, units - 1)


def _two_sided(t: float, freedom: int) -> float:
    try:
        from scipy.stats import t as student
    except ImportError as error:
        raise missing_extra("scipy", "benchmark") from error
    return float(2 * student.sf(abs(t), freedom))
