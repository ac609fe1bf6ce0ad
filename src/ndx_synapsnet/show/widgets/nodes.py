"""What views read of the objects of an open file: no more than they draw, and no more than once.

Letters: n samples, N neurons, D embedding dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ...nwb.checks import read_numbers, read_texts
from ...nwb.neuron_table import COLUMNS, read_embeddings, read_neurons, read_scores
from ...nwb.runs import MODULES
from ...nwb.types import SynapsNetFit
from ...session import Modality, Neurons, Scores
from ..neuron_view import neuron_columns
from ..ordering import Order, orders_of

#: Bytes that one picture may read of a series.
MOST_BYTES = 2**24
_FEWEST_ROWS = 200


@dataclass(frozen=True, eq=False)
class Population:
    """The neurons of one table, and what is known of them."""

    neurons: Neurons
    embeddings: NDArray[np.float32]
    """(N, D)."""
    scores: Mapping[str, Scores]
    """By predictor, the model first; empty if the table has none."""
    modality: Modality

    @cached_property
    def orders(self) -> dict[str, Order]:
        """The orders that they have, by name."""
        return orders_of(self.neurons, self.embeddings, modality=self.modality)

    @cached_property
    def columns(self) -> dict[str, NDArray[Any]]:
        """The columns by which they can be coloured."""
        return neuron_columns(self.neurons, self.embeddings, self.scores)

    def select(self, rows: NDArray[np.int64]) -> Population:
        """Return some of the neurons, in that order; neurons that are named twice are told apart by their place."""
        if np.array_equal(rows, np.arange(len(self.neurons))):
            return self
        neurons = self.neurons
        if len(np.unique(rows)) < len(rows):
            ids = np.array([f"{neurons.id[row]} ({place})" for place, row in enumerate(rows)])
            named = {"position": neurons.position, "region": neurons.region, "cell_type": neurons.cell_type}
            picked: dict[str, Any] = {name: of[rows] for name, of in named.items() if of is not None}
            origin = (neurons.source_path[rows], neurons.source_object_id[rows], neurons.source_row[rows])
            neurons = Neurons(ids, *origin, **picked)
        else:
            neurons = neurons.select(rows)
        scores = {name: Scores(s.correlation[rows], s.mse[rows]) for name, s in self.scores.items()}
        return Population(neurons, self.embeddings[rows], scores, self.modality)


def population_of(table: Any) -> Population:
    """Return the neurons of a `NeuronEmbeddings`, whatever columns it has."""
    where = str(getattr(table, "name", "neurons"))
    try:
        neurons = read_neurons(table, where=where)
    except InputError:  # a table made by hand, which need not have the columns that a result has
        neurons = _plain_neurons(table)
    try:
        scores = read_scores(table, where=where)
    except InputError:
        scores = {}
    return Population(neurons, read_embeddings(table), scores, modality_of(table))


def _plain_neurons(table: Any) -> Neurons:
    n = len(table)
    have: dict[str, Any] = {}
    for field, column in COLUMNS.items():
        if column in table.colnames and field in ("id", "position", "region", "cell_type"):
            raw = table[column].data
            if field == "position":
                have[field] = read_numbers(raw, column, where=str(table.name), shape=(n, 3))
            else:
                have[field] = read_texts(raw, column, where=str(table.name), shape=(n,))
    if "id" not in have or len(np.unique(have["id"])) != n:
        have["id"] = np.arange(n).astype(np.str_)
    empty = np.full(n, "")
    return Neurons(source_path=empty, source_object_id=empty, source_row=np.arange(n), **have)


def modality_of(node: Any) -> Modality:
    """Return the processing module that an object lies in; ``ophys`` if in none of the two."""
    while node is not None:
        if getattr(node, "name", None) in MODULES:
            return "ecephys" if node.name == "ecephys" else "ophys"
        node = getattr(node, "parent", None)
    return "ophys"


def fit_of(node: Any) -> SynapsNetFit | None:
    """Return the fit that an object is part of, if any."""
    parent = getattr(node, "parent", None)
    return parent if isinstance(parent, SynapsNetFit) else None


class Matrix:
    """A `FunctionalConnectivity`, each of whose arrays is read once, when it is needed."""

    def __init__(self, node: Any, population: Population | None = None) -> None:
        self._node = node
        self._all = population or population_of(node.targets.table)
        self._found: dict[tuple[float | None, int | None], NDArray[np.bool_]] = {}

    @cached_property
    def weights(self) -> NDArray[np.float32]:
        """(targets, sources)."""
        return np.asarray(self._node.dense(), np.float32)

    @cached_property
    def q_value(self) -> NDArray[np.float32] | None:
        """(targets, sources), or None."""
        return None if self._node.q_value is None else np.asarray(self._node.q_value[:], np.float32)

    @cached_property
    def targets(self) -> Population:
        """The neurons along the first axis."""
        return self._all.select(self._rows("targets"))

    @cached_property
    def sources(self) -> Population:
        """The neurons along the second axis."""
        return self.targets if self.same else self._all.select(self._rows("sources"))

    @cached_property
    def same(self) -> bool:
        """Whether both axes are the same neurons in one order."""
        return np.array_equal(self._rows("targets"), self._rows("sources"))

    @property
    def significant(self) -> bool:
        """Whether it says which weights are significant."""
        return self._node.q_value is not None

    @property
    def title(self) -> str:
        """Name, method and lag."""
        lag = "" if self._node.lag is None else f", lag {int(self._node.lag)}"
        seconds = self._node.lag_seconds
        lag += "" if not lag or seconds is None or not np.isfinite(seconds) else f" = {float(seconds):.3g} s"
        return f"{self._node.name} ({self._node.method}{lag})"

    def edges(self, *, significant: float | None = None, strongest: int | None = None) -> NDArray[np.bool_]:
        """Return the mask of the edges (see `metrics.choose_edges`), kept for the next time."""
        key = (significant, strongest)
        if key not in self._found:
            if len(self._found) > 4:  # masks of large matrices
                self._found.clear()
            self._found[key] = self._choose(significant, strongest)
        return self._found[key]

    def _choose(self, significant: float | None, strongest: int | None) -> NDArray[np.bool_]:
        # as choose_edges does it, but without copies in double precision: a person waits for it
        size = np.abs(self.weights)
        if self.same:
            np.fill_diagonal(size, 0)
        if significant is not None:
            if self.q_value is None:
                raise InputError(f"{self.title} has no q-values", remedy="Choose the strongest edges instead.")
            size[~(self.q_value <= significant)] = 0
        if strongest is not None:
            found = size[size > 0]
            if strongest < found.size:
                return np.asarray(size >= np.partition(found, found.size - strongest)[found.size - strongest])
        return np.asarray(size > 0)

    def _rows(self, axis: str) -> NDArray[np.int64]:
        return np.asarray(getattr(self._node, axis).data[:], np.int64)


class Series:
    """An `ActivityForecast` or `InputCurrents`, of which stretches are read."""

    def __init__(self, node: Any, population: Population | None = None) -> None:
        self.node = node
        everyone = population or population_of(node.neurons.table)
        self.rows = np.asarray(node.neurons.data[:], np.int64)
        """Row of the neuron table behind each column."""
        self.population = everyone.select(self.rows)

    @property
    def n_samples(self) -> int:
        """How many there are."""
        return int(self.node.data.shape[0])

    @property
    def most_rows(self) -> int:
        """How many samples one picture may read."""
        itemsize = np.dtype(self.node.data.dtype).itemsize
        return int(max(_FEWEST_ROWS, MOST_BYTES // max(1, int(self.node.data.shape[1]) * itemsize)))

    @cached_property
    def times(self) -> NDArray[np.float64]:
        """(n,) seconds."""
        if self.node.timestamps is not None:
            return np.asarray(self.node.timestamps[:], np.float64)
        rate = self.node.rate or 1.0
        return np.asarray((self.node.starting_time or 0.0) + np.arange(self.n_samples) / rate)

    @cached_property
    def scale(self) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        """Mean and deviation of each column, as the fit z-scored it; None if the file does not say."""
        fit = fit_of(self.node)
        provenance = None if fit is None else fit.provenance
        if provenance is None or provenance.activity_mean is None or provenance.activity_std is None:
            return None
        mean, std = (np.asarray(of[:], np.float32) for of in (provenance.activity_mean, provenance.activity_std))
        return (mean[self.rows], std[self.rows]) if len(mean) > self.rows.max(initial=-1) else None

    def read(self, start: int, stop: int, columns: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """Return a stretch (n, N) in the unit of the series, or some columns of it."""
        data = self.node.data
        if columns is None or len(columns) > 1:  # one slice, then columns: many reads of few bytes are slow
            block = np.array(data[start:stop], np.float32)
            return block if columns is None else block[:, columns]
        return np.array(data[start:stop, int(columns[0])], np.float32)[:, None]

    def z_scored(self, start: int, stop: int, columns: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """Return the same z-scored, where the file says how."""
        block = self.read(start, stop, columns)
        if self.scale is None:
            return block
        return z_score(block, *(self.scale if columns is None else (of[columns] for of in self.scale)))


def z_score(block: NDArray[np.float32], mean: NDArray[np.float32], std: NDArray[np.float32]) -> NDArray[np.float32]:
    """Z-score a block that nobody else holds: in its place, for a person waits for it."""
    block -= mean
    block /= np.where(std > 0, std, 1)
    return block
