"""How good forecasts are, how well connectivity is recovered, and how models compare. Plain numpy.

Letters: n forecast samples, N neurons, T samples. Connectivity is [target, source]; its diagonal is never scored.
"""

from __future__ import annotations

from .comparison import PairedTest, compare_models, holm
from .components import Components, principal_components
from .currents import CurrentCorrelation, correlate_currents, correlate_three_currents, shuffle_connectivity
from .ground_truth import recovery
from .lagged import lagged_correlation
from .scores import is_constant, score_neurons
from .sessions import Aggregate, Summary, aggregate, improvement, summarize

__all__ = [
    "Aggregate",
    "Components",
    "CurrentCorrelation",
    "PairedTest",
    "Summary",
    "aggregate",
    "compare_models",
    "correlate_currents",
    "correlate_three_currents",
    "holm",
    "improvement",
    "is_constant",
    "lagged_correlation",
    "principal_components",
    "recovery",
    "score_neurons",
    "shuffle_connectivity",
    "summarize",
]
