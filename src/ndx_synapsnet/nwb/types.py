"""The neurodata types, as pynwb classes.

The classes are generated from the namespace's YAML, which alone says what they hold; written here is only what YAML
cannot say: checks when an object is made, and a few ways to look at it. Importing this module registers the types
with pynwb, so that files holding them are read as these classes. A file that breaks a rule checked here can still be
opened; it is `nwb.results` that refuses to make a result of it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from hdmf.common import DynamicTable
from hdmf.spec.namespace import YAMLSpecReader
from hdmf.utils import docval, get_data_shape, get_docval, popargs
from numpy.typing import NDArray
from pynwb import get_class, get_type_map, register_class

NAMESPACE = "ndx-synapsnet"


def namespace_path() -> Path:
    """Path of the namespace's YAML: inside the installed package, else beside a checkout's ``src``."""
    places = [parent / "spec" / f"{NAMESPACE}.namespace.yaml" for parent in Path(__file__).resolve().parents]
    for place in places[1:4:2]:
        if place.is_file():
            return place
    raise FileNotFoundError(f"the YAML of {NAMESPACE} is missing from the installation: looked for it at {places[1]}")


class _QuickReader(YAMLSpecReader):
    """Reads the types from the JSON beside the YAML, which holds the same: ten times as fast."""

    def read_spec(self, spec_path: str) -> Any:
        """Return the content of a YAML file with types."""
        twin = (Path(self.source) / spec_path).with_suffix(".json")
        return json.loads(twin.read_text(encoding="utf-8")) if twin.is_file() else super().read_spec(spec_path)


def _load_namespace() -> None:
    """Make the namespace known to pynwb."""
    path = namespace_path()
    get_type_map(copy=False).load_namespaces(str(path), reader=_QuickReader(indir=str(path.parent)))


_load_namespace()

# One name each for the generated base classes: type checkers know nothing about them.
_GeneratedConnectivity: Any = get_class("FunctionalConnectivity", NAMESPACE)
_GeneratedForecast: Any = get_class("ActivityForecast", NAMESPACE)
_GeneratedCurrents: Any = get_class("InputCurrents", NAMESPACE)


def _columns(neurodata_type: str) -> tuple[dict[str, str], ...]:
    """Predefined columns of a table type, as its spec lists them."""
    spec = get_type_map(copy=False).namespace_catalog.get_spec(NAMESPACE, neurodata_type)
    return tuple(
        {"name": column.name, "description": column.doc}
        for column in spec.datasets
        if column.name is not None and column.data_type_inc == "VectorData"
    )


def _check_region(owner: Any, region: Any) -> int:
    """Return how many neurons `region` of `owner` names, after checking that it has a table (hdmf checks its rows)."""
    if region.table is None:
        raise ValueError(
            f"{type(owner).__name__} '{owner.name}': the region '{region.name}' has no table. "
            "Make it with neurons.create_region(...), where neurons is the NeuronEmbeddings that it names rows of"
        )
    return len(region.data)


def _check_shape(owner: Any, field: str, expected: tuple[int | None, ...], meaning: str) -> None:
    """Raise unless dataset `field` of `owner` is absent or has the expected shape (None: any length)."""
    value = getattr(owner, field)
    shape = None if value is None else get_data_shape(value)
    if shape is None:
        return
    if len(shape) != len(expected) or any(e not in (None, s) for s, e in zip(shape, expected, strict=True)):
        raise ValueError(
            f"{type(owner).__name__} '{owner.name}': {field} has shape {tuple(shape)}, expected {expected} ({meaning})"
        )


@register_class("NeuronEmbeddings", NAMESPACE)
class NeuronEmbeddings(DynamicTable):
    """The neurons of one fit: where each comes from, its embedding and its scores, one row a neuron.

    Columns that the namespace defines are added with `add_column` by name; all of them are optional. Further columns
    may have any other name.

    Parameters
    ----------
    description : str
        What these neurons are.
    name : str, optional
        ``neurons`` unless given; the only name that a `SynapsNetFit` accepts.
    predictors : sequence of str, optional
        The predictors whose scores are columns: first the fitted model (columns ``correlation`` and ``mse``), then
        each reference P (columns ``P_correlation`` and ``P_mse``).
    id, columns, colnames, target_tables, meanings_tables : optional
        As for `hdmf.common.DynamicTable`.
    """

    __fields__ = ({"name": "predictors", "doc": "predictors whose scores are columns, the fitted model first"},)
    __columns__ = _columns("NeuronEmbeddings")

    @docval(
        {"name": "description", "type": str, "doc": "what these neurons are"},
        {"name": "name", "type": str, "doc": "name of this table", "default": "neurons"},
        *get_docval(DynamicTable.__init__, "id", "columns", "colnames", "target_tables", "meanings_tables"),
        {
            "name": "predictors",
            "type": ("array_data", "data"),
            "doc": "predictors whose scores are columns, the fitted model first",
            "default": None,
        },
    )
    def __init__(self, **kwargs: Any) -> None:
        predictors = popargs("predictors", kwargs)
        super().__init__(**kwargs)
        self.predictors = predictors


@register_class("FunctionalConnectivity", NAMESPACE)
class FunctionalConnectivity(_GeneratedConnectivity):
    """Directed connectivity between neurons, axis order [target, source].

    Give either `weights`, or the three of `edge_target`, `edge_source` and `edge_weight`.

    Parameters
    ----------
    method : str
        How the weights were obtained; ``ground_truth`` for a simulation's known wiring.
    targets, sources : DynamicTableRegion
        The neurons along each axis, as regions named ``targets`` and ``sources`` into a `NeuronEmbeddings`.
    name : str, optional
        ``effective`` unless given.
    weights : (n_targets, n_sources) array, optional
        Dense form.
    standard_error, p_value, q_value : (n_targets, n_sources) array, optional
        Uncertainty of each weight.
    edge_target, edge_source : (n_edges,) array of int, optional
        Sparse form: places along `targets` and `sources`, counted from 0.
    edge_weight : (n_edges,) array, optional
        Sparse form: the weights; every pair that is not listed has weight 0.
    description, sign_convention, diagonal : str, optional
        What a weight means, what its sign means, and whether a neuron's own weight is ``zero`` or ``learned``.
    lag : int, optional
        Samples from source to target; `lag_seconds` the same in seconds.
    gain_normalized : bool, optional
        Whether the readout's gain is part of the weights, which fixes their sign and scale.

    Raises
    ------
    ValueError
        If a region has no table, or the shapes contradict each other.
    """

    def post_init_method(self, **_: Any) -> None:
        """Check the shapes against each other and against the regions (not of objects read from a file)."""
        if self._in_construct_mode:
            return
        targets, sources = _check_region(self, self.targets), _check_region(self, self.sources)
        edges = [self.edge_target, self.edge_source, self.edge_weight]
        if (self.weights is None) == all(edge is None for edge in edges) or (
            self.weights is None and any(edge is None for edge in edges)
        ):
            raise ValueError(
                f"FunctionalConnectivity '{self.name}': give either weights, or all of edge_target, edge_source and "
                "edge_weight"
            )
        for field in ("weights", "standard_error", "p_value", "q_value"):
            _check_shape(self, field, (targets, sources), "targets, sources")
        if self.weights is None:
            n_edges = len(self.edge_weight)
            for field, length in (("edge_target", targets), ("edge_source", sources)):
                _check_shape(self, field, (n_edges,), "one place for each edge weight")
                _check_places(self, field, length)

    def dense(self) -> NDArray[np.float32]:
        """Return the weights as an array (n_targets, n_sources), whichever form they are stored in.

        Raises
        ------
        ValueError
            If neither form is there, or an edge lies outside the regions.
        """
        if self.weights is not None:
            return np.asarray(self.weights[:], dtype=np.float32)
        if self.edge_target is None or self.edge_source is None or self.edge_weight is None:
            raise ValueError(f"FunctionalConnectivity '{self.name}' holds neither weights nor edges")
        shape = (len(self.targets.data), len(self.sources.data))
        target, source = _check_places(self, "edge_target", shape[0]), _check_places(self, "edge_source", shape[1])
        weights = np.zeros(shape, dtype=np.float32)
        weights[target, source] = self.edge_weight[:]
        return weights


def _check_places(owner: Any, field: str, length: int) -> NDArray[np.int64]:
    """Return the edges' places in `field`, after checking that they lie on an axis of `length`."""
    places = np.asarray(getattr(owner, field)[:], dtype=np.int64)
    if places.size and not (places.min() >= 0 and places.max() < length):
        raise ValueError(
            f"{type(owner).__name__} '{owner.name}': {field} reaches from {places.min()} to {places.max()} on an axis "
            f"of {length}"
        )
    return places


def _check_series(series: Any) -> None:
    """Check a series over neurons: data (time, neuron) against its region."""
    if not series._in_construct_mode:
        _check_shape(series, "data", (None, _check_region(series, series.neurons)), "time, neurons")


@register_class("ActivityForecast", NAMESPACE)
class ActivityForecast(_GeneratedForecast):
    """Forecast activity, a `TimeSeries` of data (time, neuron) in the unit of the observed activity.

    Parameters
    ----------
    data : (n_times, n_neurons) array
        Forecast activity.
    unit : str
        Unit of the observed activity.
    neurons : DynamicTableRegion
        The neurons along the second axis, as a region named ``neurons`` into a `NeuronEmbeddings`.
    name : str, optional
        ``forecast`` unless given.
    horizon : int, optional
        Samples between the last one the model saw and the predicted one.
    sample_index : (n_times,) array of int, optional
        Place of each predicted sample in the session.
    observed : TimeSeries, optional
        The observed activity, if it is a series of the same file.
    timestamps, rate, starting_time, control, control_description, ... : optional
        As for `pynwb.TimeSeries`; the times are those of the predicted samples, `control` is the split code.

    Raises
    ------
    ValueError
        If the region has no table, or the shapes contradict each other.
    """

    def post_init_method(self, **_: Any) -> None:
        """Check the shapes (not of objects read from a file)."""
        _check_series(self)
        if not self._in_construct_mode:
            _check_shape(self, "sample_index", (self.num_samples,), "one place for each predicted sample")


@register_class("InputCurrents", NAMESPACE)
class InputCurrents(_GeneratedCurrents):
    """Input of each neuron through the connectivity, a `TimeSeries` of data (time, neuron).

    Parameters
    ----------
    data : (n_times, n_neurons) array
        Weights times z-scored activity at the last sample before the predicted one.
    unit : str
        Unit of the data.
    neurons : DynamicTableRegion
        The neurons along the second axis, as a region named ``neurons`` into a `NeuronEmbeddings`.
    name : str, optional
        ``input_currents`` unless given.
    timestamps, rate, starting_time, ... : optional
        As for `pynwb.TimeSeries`; the times are those of the predicted samples.

    Raises
    ------
    ValueError
        If the region has no table, or the shapes contradict each other.
    """

    def post_init_method(self, **_: Any) -> None:
        """Check the shapes (not of objects read from a file)."""
        _check_series(self)


#: Configuration, software, source, scaling, split, training curve and decoder parameters of a fit.
FitProvenance: Any = get_class("FitProvenance", NAMESPACE)

_GeneratedFit: Any = get_class("SynapsNetFit", NAMESPACE)


@register_class("SynapsNetFit", NAMESPACE)
class SynapsNetFit(_GeneratedFit):
    """What one run learned about one recording: neurons, connectivity, forecasts and provenance.

    Parameters
    ----------
    name : str, optional
        ``synapsnet`` unless given.
    neurons : NeuronEmbeddings, optional
        The neurons; all regions of the other parts name rows of it.
    provenance : FitProvenance, optional
        Where the fit comes from.
    functional_connectivitys, activity_forecasts, input_currents : optional
        The other parts, each a list; they can be added later with ``add_functional_connectivitys`` and so on. (hdmf
        forms these plurals.)
    description, model, run_id, verdict : str, optional
        What this is, the model's name, the run's id, and whether the connectivity may be read.
    trustworthy : bool, optional
        False if the connectivity is not to be read.
    """

    @property
    def connectivity(self) -> dict[str, FunctionalConnectivity]:
        """The connectivity matrices by name."""
        return dict(self.functional_connectivitys)

    def __getitem__(self, name: str) -> Any:
        """Return the part called `name`."""
        for part in self.children:
            if part.name == name:
                return part
        raise KeyError(f"SynapsNetFit '{self.name}' holds no '{name}', only {sorted(p.name for p in self.children)}")
