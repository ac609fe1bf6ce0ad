"""How good forecasts are, how well connectivity is recovered, and how models compare. Plain numpy.

Letters: n forecast samples, N neurons, T samples. Connectivity is [target, source]; its diagonal is never scored.
"""

from __future__ import annotations

from .agreement import (
    Agreement,
    Permutations,
    compare_matrices,
    permutation_test,
)
from .comparison import PairedTest, compare_models, holm
from .components import Components, principal_components
from .currents import CurrentCorrelation, correlate_currents, correlate_three_currents, shuffle_connectivity
from .differences import EdgeDifferences, benjamini_hochberg, compare_edges
from .edges import choose_edges, significant_edges, strongest_edges
from .ground_truth import PrecisionAt, precision_at, recovery
from .groups import (
    DistanceConnectivity,
    GroupConnectivity,
    NeuronConnectivity,
    Reciprocity,
    distance_connectivity,
    group_connectivity,
    neuron_connectivity,
    reciprocity,
)
from .lagged import lagged_correlation
from .scores import is_constant, score_neurons
from .sessions import Aggregate, Summary, aggregate, improvement, summarize

__all__ = [
    "Aggregate",
    "Agreement",
    "Components",
    "CurrentCorrelation",
    "DistanceConnectivity",
    "EdgeDifferences",
    "GroupConnectivity",
    "NeuronConnectivity",
    "PairedTest",
    "Permutations",
    "PrecisionAt",
    "Reciprocity",
    "Summary",
    "aggregate",
    "benjamini_hochberg",
    "choose_edges",
    "compare_edges",
    "compare_matrices",
    "compare_models",
    "correlate_currents",
    "correlate_three_currents",
    "distance_connectivity",
    "group_connectivity",
    "holm",
    "improvement",
    "is_constant",
    "lagged_correlation",
    "neuron_connectivity",
    "permutation_test",
    "precision_at",
    "principal_components",
    "reciprocity",
    "recovery",
    "score_neurons",
    "shuffle_connectivity",
    "significant_edges",
    "strongest_edges",
    "summarize",
]
