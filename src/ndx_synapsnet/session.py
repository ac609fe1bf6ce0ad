"""What crosses the wall between NWB and learning: plain numpy in frozen dataclasses.

Letters used throughout the project: N neurons, T samples, K behaviours, D embedding size, W window, B batch,
H hidden units. Connectivity is always ``[target, source]``; activity is (N, T) in memory and (T, N) in NWB.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, field, fields, replace
from numbers import Integral, Real
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import InputError

ActivityKind = Literal["spike_counts", "dff", "fluorescence", "events", "other"]
Modality = Literal["ecephys", "ophys"]

#: Codes of the parts of a recording, as stored in a forecast's ``control``.
SPLITS: dict[str, int] = {"unused": 0, "train": 1, "validation": 2, "test": 3}

#: What the record of a remote source (``remote`` in a session's provenance) says of one reading, not of the data.
TRANSFER = frozenset({"bytes_transferred", "requests", "absent_files"})

_D = TypeVar("_D")

# What a setting may be, by its annotation, and what that is called.
_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "bool": ((bool,), "true or false"),
    "int": ((Integral,), "a whole number"),
    "float": ((Real,), "a number"),
    "str": ((str,), "a text"),
    "tuple": ((list, tuple, str), "a list"),  # where a list is wanted, one text may stand for a list of one
}


def _same(a: Any, b: Any) -> bool:
    """Whether two values are equal, arrays by shape, dtype and content, with NaN equal to NaN."""
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        if not (isinstance(a, np.ndarray) and isinstance(b, np.ndarray)):
            return False
        if a.shape != b.shape or a.dtype.kind != b.dtype.kind:
            return False
        return bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(_same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, float) and isinstance(b, float) and np.isnan(a):
        return bool(np.isnan(b))
    return bool(a == b)


class _Comparable:
    """Equality field by field, arrays included."""

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(_same(getattr(self, f.name), getattr(other, f.name)) for f in fields(self))  # type: ignore[arg-type]

    __hash__ = None  # type: ignore[assignment]


def _set(obj: object, **values: Any) -> None:
    """Set fields of a frozen dataclass from its ``__post_init__``."""
    for name, value in values.items():
        object.__setattr__(obj, name, value)


def _array(name: str, value: ArrayLike, dtype: Any, shape: Sequence[int | None]) -> NDArray[Any]:
    """Return `value` as an array of `dtype`, after checking its shape (None: any length)."""
    array = np.asarray(value, dtype=dtype)
    fits = array.ndim == len(shape) and all(
        want in (None, have) for want, have in zip(shape, array.shape, strict=False)
    )
    if not fits:
        wanted = tuple("any" if length is None else length for length in shape)
        raise ValueError(f"{name} has shape {array.shape}, expected {wanted}")
    return array


def from_mapping(cls: type[_D], values: Mapping[str, Any], *, where: str) -> _D:
    """Make the dataclass `cls` from `values`, refusing keys that it does not have.

    Parameters
    ----------
    cls : type
        A dataclass.
    values : mapping
        Field names and values; fields left out keep their defaults.
    where : str
        The file or section that `values` come from, for the message.

    Raises
    ------
    InputError
        If a key is no field of `cls`, or a value is of another kind than the field, or refused by `cls`.
    """
    known = {f.name: f for f in fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise InputError(
            f"unknown setting {', '.join(unknown)}", where=where, remedy=f"Known settings: {', '.join(sorted(known))}"
        )
    for name, value in values.items():
        if (expected := _other_kind(known[name], value)) is not None:
            raise InputError(f"{name} is {value!r}, expected {expected}", where=where)
    try:
        return cls(**values)
    except (TypeError, ValueError) as error:
        raise InputError(str(error), where=where) from error


def _other_kind(setting: Field[Any], value: Any) -> str | None:
    """Return what `setting` is annotated to be in words, if `value` is something else; None if it fits."""
    annotation = str(setting.type)
    if value is None and annotation.endswith("| None"):
        return None
    kinds, words = _KINDS.get(annotation.removesuffix("| None").partition("[")[0].strip(), ((object,), ""))
    fits = isinstance(value, kinds) and (not isinstance(value, bool) or bool in kinds or object in kinds)
    return None if fits else words


@dataclass(frozen=True, eq=False)
class Neurons(_Comparable):
    """The recorded neurons (units or ROIs) of one session, as columns of equal length N."""

    id: NDArray[np.str_]
    """Text, unique in the session."""
    source_path: NDArray[np.str_]
    """Path of the table in the NWB file that each neuron is a row of, such as ``/units``."""
    source_object_id: NDArray[np.str_]
    """Object id of that table."""
    source_row: NDArray[np.int64]
    """Row in that table, counted from 0."""
    identity: NDArray[np.str_] | None = None
    """Recognises the same neuron in other sessions (``subject:column:value``); an empty text matches nothing."""
    position: NDArray[np.float64] | None = None
    """(N, 3) x, y, z in the source's unit; NaN where unknown."""
    region: NDArray[np.str_] | None = None
    """Brain region; an empty text where unknown."""
    cell_type: NDArray[np.str_] | None = None
    """Cell type; an empty text where unknown."""
    extra: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """Further columns of numbers or text, by name."""

    def __post_init__(self) -> None:
        ids = _array("id", self.id, np.str_, (None,))
        n = len(ids)
        if len(np.unique(ids)) != n:
            raise ValueError("neuron ids are not unique")

        def text(name: str) -> NDArray[np.str_] | None:
            value = getattr(self, name)
            return None if value is None else _array(name, value, np.str_, (n,))

        _set(
            self,
            id=ids,
            source_path=text("source_path"),
            source_object_id=text("source_object_id"),
            source_row=_array("source_row", self.source_row, np.int64, (n,)),
            identity=text("identity"),
            position=None if self.position is None else _array("position", self.position, np.float64, (n, 3)),
            region=text("region"),
            cell_type=text("cell_type"),
            extra={name: _array(name, column, None, (n,)) for name, column in self.extra.items()},
        )

    def __len__(self) -> int:
        return len(self.id)

    def select(self, keep: ArrayLike) -> Neurons:
        """Return the neurons chosen by `keep`, a mask (N,) or row numbers."""

        def pick(value: Any) -> Any:
            if isinstance(value, Mapping):
                return {name: column[np.asarray(keep)] for name, column in value.items()}
            return None if value is None else value[np.asarray(keep)]

        return Neurons(**{f.name: pick(getattr(self, f.name)) for f in fields(self)})


@dataclass(frozen=True, eq=False)
class Session(_Comparable):
    """One recording on one clock: what the readers make and what learning takes."""

    activity: NDArray[np.float32]
    """(N, T) in source units; finite wherever `valid`."""
    times: NDArray[np.float64]
    """(T,) seconds on the file's clock: a frame's timestamp, or the left edge of a spike-count bin
    ``[times[t], times[t] + period)``. Strictly increasing."""
    period: float
    """Seconds between samples (the median, or the bin width)."""
    segment: NDArray[np.int32]
    """(T,) number of the stretch each sample belongs to; it changes at every gap and windows never cross it."""
    valid: NDArray[np.bool_]
    """(T,) whether a sample may be used at all."""
    behavior: NDArray[np.float32]
    """(K, T) behaviour known by the end of each sample; NaN where it was not measured."""
    behavior_names: tuple[str, ...]
    """K names."""
    neurons: Neurons
    activity_kind: ActivityKind
    """Spike counts, dF/F, raw fluorescence, deconvolved events, or other."""
    unit: str
    """Unit of `activity`, as the source says."""
    modality: Modality
    """Which processing module results belong to."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """JSON-able: where the session comes from and what was done on reading (see `nwb.readers`)."""

    def __post_init__(self) -> None:
        activity = _array("activity", self.activity, np.float32, (len(self.neurons), None))
        t = activity.shape[1]
        times = _array("times", self.times, np.float64, (t,))
        valid = _array("valid", self.valid, np.bool_, (t,))
        if t > 1 and not np.all(np.diff(times) > 0):
            raise ValueError("times do not increase")
        if not np.isfinite(self.period) or self.period <= 0:
            raise ValueError(f"period is {self.period}, expected a positive number of seconds")
        if not all(np.isfinite(row[valid]).all() for row in activity):  # row by row: no copy of it all
            raise ValueError("activity is not finite in samples marked valid")
        names = tuple(self.behavior_names)
        _set(
            self,
            activity=activity,
            times=times,
            period=float(self.period),
            segment=_array("segment", self.segment, np.int32, (t,)),
            valid=valid,
            behavior=_array("behavior", self.behavior, np.float32, (len(names), t)),
            behavior_names=names,
        )

    @property
    def n_neurons(self) -> int:
        """N, the number of neurons."""
        return len(self.neurons)

    @property
    def n_samples(self) -> int:
        """T, the number of samples."""
        return len(self.times)

    @property
    def label(self) -> str:
        """A short name for people: the file's or recording's own."""
        return str(self.provenance.get("uri") or self.provenance.get("identifier") or "session")

    def select(self, keep: ArrayLike) -> Session:
        """Return the session with only the neurons chosen by `keep`, a mask (N,) or row numbers."""
        return replace(self, activity=self.activity[np.asarray(keep)], neurons=self.neurons.select(keep))

    def __repr__(self) -> str:
        seconds = self.n_samples * self.period
        return (
            f"Session({self.n_neurons} neurons x {self.n_samples} samples of {self.period:.4g} s = {seconds:.0f} s, "
            f"{self.activity_kind}, behaviours: {', '.join(self.behavior_names) or 'none'})"
        )


@dataclass(frozen=True, eq=False)
class Connectivity(_Comparable):
    """One directed connectivity matrix, ``weights[target, source]``."""

    weights: NDArray[np.float32]
    """(N, N): effect on the target per unit of the source; NaN is not allowed."""
    method: str
    """How it was estimated, such as ``synapsnet`` or ``ridge_var``."""
    description: str
    """One sentence for people: what a weight means and in which unit."""
    lag: int = 1
    """Samples from source to target."""
    lag_seconds: float = float("nan")
    gain_normalized: bool = False
    """Whether each row was multiplied by the decoder's mean gain, which fixes its sign and scale."""
    diagonal: Literal["zero", "learned"] = "zero"
    """Whether a neuron's own weight was held at zero or learned."""
    standard_error: NDArray[np.float32] | None = None
    p_value: NDArray[np.float32] | None = None
    q_value: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        weights = _array("weights", self.weights, np.float32, (None, None))
        if weights.shape[0] != weights.shape[1]:
            raise ValueError(f"weights has shape {weights.shape}, expected a square matrix [target, source]")
        if not np.isfinite(weights).all():
            raise ValueError("weights is not finite")
        _set(self, weights=weights)
        for name in ("standard_error", "p_value", "q_value"):
            if getattr(self, name) is not None:
                _set(self, **{name: _array(name, getattr(self, name), np.float32, weights.shape)})


@dataclass(frozen=True, eq=False)
class Forecast(_Comparable):
    """Predicted activity in source units, and optionally the input currents behind it."""

    values: NDArray[np.float32]
    """(n, N) predicted activity."""
    index: NDArray[np.int64]
    """(n,) place of the predicted sample in the session, counted from 0."""
    times: NDArray[np.float64]
    """(n,) time of the predicted sample in seconds."""
    split: NDArray[np.uint8]
    """(n,) code of the part that the predicted sample belongs to, see `SPLITS`."""
    horizon: int = 1
    """How many samples ahead."""
    currents: NDArray[np.float32] | None = None
    """(n, N) input current I = A X at the last sample before the predicted one, in z-scored units."""

    def __post_init__(self) -> None:
        values = _array("values", self.values, np.float32, (None, None))
        n = len(values)
        _set(
            self,
            values=values,
            index=_array("index", self.index, np.int64, (n,)),
            times=_array("times", self.times, np.float64, (n,)),
            split=_array("split", self.split, np.uint8, (n,)),
        )
        if self.currents is not None:
            _set(self, currents=_array("currents", self.currents, np.float32, values.shape))


@dataclass(frozen=True, eq=False)
class Scores(_Comparable):
    """Forecast quality per neuron on the test part."""

    correlation: NDArray[np.float32]
    """(N,) Pearson r over time; NaN where the trace or its forecast is constant."""
    mse: NDArray[np.float32]
    """(N,) mean squared error in z-scored units: about 1 is what predicting the mean gives."""

    def __post_init__(self) -> None:
        correlation = _array("correlation", self.correlation, np.float32, (None,))
        _set(self, correlation=correlation, mse=_array("mse", self.mse, np.float32, correlation.shape))


@dataclass(frozen=True, eq=False)
class Normalization(_Comparable):
    """Statistics with which activity and behaviour were z-scored, in source units."""

    activity_mean: NDArray[np.float32]
    activity_std: NDArray[np.float32]
    behavior_mean: NDArray[np.float32]
    behavior_std: NDArray[np.float32]

    def __post_init__(self) -> None:
        for name in ("activity_mean", "activity_std", "behavior_mean", "behavior_std"):
            _set(self, **{name: _array(name, getattr(self, name), np.float32, (None,))})

    @property
    def effect_scale(self) -> NDArray[np.float64]:
        """(N, N) [target, source]: an effect of one neuron on another in source units, over the same z-scored."""
        std = self.activity_std.astype(np.float64)
        return np.asarray(std[:, None] / std)


@dataclass(frozen=True, eq=False)
class FitResult(_Comparable):
    """Everything learned about one session in one run; what is written to NWB and read back."""

    run_id: str
    """The same for all sessions of one run."""
    model: str
    """Name of the fitted model, and its key in `scores`."""
    config: Mapping[str, Any]
    """The full configuration, JSON-able, as `experiment.ExperimentConfig` takes it."""
    neurons: Neurons
    """The N modelled neurons."""
    modality: Modality
    activity_kind: ActivityKind
    unit: str
    period: float
    """Seconds between samples."""
    behavior_names: tuple[str, ...]
    split: NDArray[np.uint8]
    """(T,) code of the part each sample of the session belongs to, see `SPLITS`."""
    normalization: Normalization
    embeddings: NDArray[np.float32]
    """(N, D)."""
    connectivity: Mapping[str, Connectivity]
    """By name; ``effective`` is the one to read, ``raw`` the model's own parameter."""
    forecast: Forecast
    """Of the test part, or of all parts if the run kept them."""
    scores: Mapping[str, Scores]
    """By predictor: the model first, then every reference predictor, on the same test samples."""
    training: Mapping[str, NDArray[np.float64]]
    """The training curve as columns of equal length: epoch, train_loss, validation_mse, validation_correlation, ..."""
    weights: Mapping[str, NDArray[Any]]
    """The shared decoder's parameters by name (embeddings and connectivity are above)."""
    verdict: str
    """One plain sentence: whether the forecast beats the reference predictors and the connectivity may be read."""
    trustworthy: bool
    """False if the model forecasts no better than the mean or worse than each neuron's own history."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """JSON-able: ``source`` (the session's provenance), software, seed, device, started, finished, interrupted."""

    def __post_init__(self) -> None:
        n = len(self.neurons)
        embeddings = _array("embeddings", self.embeddings, np.float32, (n, None))
        _set(
            self,
            embeddings=embeddings,
            split=_array("split", self.split, np.uint8, (None,)),
            behavior_names=tuple(self.behavior_names),
            period=float(self.period),
        )
        if self.forecast.values.shape[1] != n:
            raise ValueError(f"forecast has {self.forecast.values.shape[1]} neurons, expected {n}")
        for name, matrix in self.connectivity.items():
            if matrix.weights.shape != (n, n):
                raise ValueError(f"connectivity {name!r} has shape {matrix.weights.shape}, expected {(n, n)}")
        for name, scores in self.scores.items():
            if scores.mse.shape != (n,):
                raise ValueError(f"scores of {name!r} have shape {scores.mse.shape}, expected {(n,)}")
        if self.model not in self.scores:
            raise ValueError(f"no scores of the model {self.model!r} itself")
        if self.normalization.activity_mean.shape != (n,):
            raise ValueError("normalization does not match the neurons")
