"""The circumstances of a fit ↔ `FitProvenance`: configuration, source, scaling, split, training curve, weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import safetensors.numpy
from hdmf.common import DynamicTable, VectorData
from numpy.typing import NDArray
from safetensors import SafetensorError

from ..errors import InputError
from ..session import FitResult, Normalization
from .checks import as_text, read_number, read_numbers, read_texts, require_kinds
from .layout import Layout
from .types import FitProvenance

#: Longest session that a file may claim to describe: three days at 1 kHz, a quarter of a gigabyte of split codes.
MAX_SAMPLES = 2**28
#: Most runs of equal code in a split, most epochs, most behavioural inputs.
_MAX_RUNS, _MAX_EPOCHS, _MAX_BEHAVIORS = 2**22, 2**20, 2**14

#: Of what kind parts of the record are; the others are for people to read.
_RECORD: dict[tuple[str, ...], type | tuple[type, ...]] = {
    ("source",): dict,
    ("source", "subject"): dict,
    ("source", "remote"): dict,
    ("source", "remote", "digest"): dict,
    ("source", "remote", "digests"): dict,
    ("source", "series"): list,
    ("source", "series", "*"): dict,
    ("source", "files"): list,
    ("source", "files", "*"): dict,
    ("source", "notes"): list,
    ("source", "read_config"): dict,
    ("software",): dict,
    ("set_aside",): list,
    ("set_aside", "*"): dict,
    ("notes",): list,
    ("significance",): dict,
    ("best_epoch",): int,
}

#: Where a provenance's attributes are taken from in the session's own record.
_SOURCE = {"source_uri": "uri", "source_identifier": "identifier", "source_file_object_id": "file_object_id"}
#: The same in the record of a remote one, where an archive has it (see `sources.dandi`).
_DANDI = {
    "dandiset_id": "dandiset",
    "dandiset_version": "version",
    "dandi_asset_id": "asset_id",
    "dandi_asset_path": "path",
}
#: Digests that an archive may state of a file: its own names, and those in `Located`; the strongest first.
_DIGESTS = {
    "dandi:sha2-256": "sha256",
    "dandi:dandi-etag": "dandi-etag",
    "dandi:dandi-zarr-checksum": "dandi-zarr-checksum",
}


@dataclass(frozen=True)
class Circumstances:
    """What a `FitProvenance` holds, as the fields of `FitResult` of the same names."""

    config: Mapping[str, Any]
    provenance: Mapping[str, Any]
    activity_kind: str
    unit: str
    period: float
    behavior_names: tuple[str, ...]
    normalization: Normalization
    split: NDArray[np.uint8]
    training: Mapping[str, NDArray[np.float64]]
    weights: Mapping[str, NDArray[Any]]


def to_json(value: Any) -> str:
    """Return `value` as JSON; numpy scalars and arrays, paths and dates are converted.

    Not-a-number is written as ``NaN``, which Python reads back; strict readers of JSON may refuse it.
    """

    def convert(item: Any) -> Any:
        if isinstance(item, (np.generic, np.ndarray)):
            return item.tolist()
        if isinstance(item, date):
            return item.isoformat()
        if isinstance(item, Mapping):
            return dict(item)
        if isinstance(item, (set, frozenset)):
            return sorted(item)
        return str(item)

    return json.dumps(value if not isinstance(value, Mapping) else dict(value), default=convert)


def run_lengths(codes: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the runs of equal values in `codes` (T,), as the value and the length of each."""
    starts = np.flatnonzero(np.r_[True, codes[1:] != codes[:-1]]) if len(codes) else np.zeros(0, dtype=np.int64)
    return codes[starts], np.diff(np.r_[starts, len(codes)]).astype(np.int64)


def weight_bytes(weights: Mapping[str, NDArray[Any]]) -> bytes:
    """Return named arrays in the safetensors format."""
    # safetensors writes an array's memory as it lies, so it must lie in C order and native byte order
    plain = {name: np.array(w, order="C", dtype=np.asarray(w).dtype.newbyteorder("=")) for name, w in weights.items()}
    return bytes(safetensors.numpy.save(plain))


def build_provenance(result: FitResult, layout: Layout) -> Any:
    """Make the `FitProvenance` of a result.

    Raises
    ------
    InputError
        If the columns of the training curve differ in length.
    """
    source = result.provenance.get("source") or {}
    remote = source.get("remote") or {}
    dandi = remote if remote.get("asset_id") else {}
    attributes = {name: source.get(key) for name, key in _SOURCE.items()}
    attributes |= {name: dandi.get(key) for name, key in _DANDI.items()}
    attributes["dandi_asset_digest"] = stated_digest(dandi)
    attributes |= {name: result.provenance.get(name) for name in ("device", "started", "finished")}
    seed, interrupted = result.provenance.get("seed"), result.provenance.get("interrupted")
    series = source.get("series") or []
    code, length = run_lengths(result.split)
    parameters = weight_bytes(result.weights)
    arrays: dict[str, NDArray[Any]] = {
        "activity_mean": result.normalization.activity_mean,
        "activity_std": result.normalization.activity_std,
        "behavior_mean": result.normalization.behavior_mean,
        "behavior_std": result.normalization.behavior_std,
        "split_code": code,
        "split_length": length,
        "decoder_weights": np.frombuffer(parameters, dtype=np.uint8),
    }
    texts = {
        "software": _versions(result.provenance.get("software")),
        "source_paths": [str(item.get("path", "")) for item in series],
        "source_object_ids": [str(item.get("object_id", "")) for item in series],
        "behavior_names": list(result.behavior_names),
    }
    return FitProvenance(
        config=to_json(result.config),
        record=to_json(result.provenance),
        seed=None if seed is None else int(seed),
        interrupted=None if interrupted is None else bool(interrupted),
        activity_kind=result.activity_kind,
        activity_unit=result.unit or None,
        sampling_period=result.period,
        training_curve=_training_table(result.training, layout),
        decoder_weights_format="safetensors",
        decoder_weights_sha256=hashlib.sha256(parameters).hexdigest(),
        # neither format can hold an empty list whose type it does not know, so what is empty is left out
        **{name: str(value) for name, value in attributes.items() if value not in (None, "")},
        **{name: layout(array) for name, array in arrays.items() if len(array)},
        **{name: values for name, values in texts.items() if values},
    )


def stated_digest(remote: Mapping[str, Any]) -> str | None:
    """Return the digest, as ``algorithm:value``, that an archive states of a file; None if it states none.

    Parameters
    ----------
    remote : mapping
        The record of a remote source.
    """
    digests = remote.get("digest")
    if not isinstance(digests, Mapping):
        return None
    return next((f"{name}:{digests[key]}" for key, name in _DIGESTS.items() if digests.get(key)), None)


def _versions(software: Any) -> list[str]:
    """Return software as ``name==version``, from a mapping or a list."""
    if isinstance(software, Mapping):
        return [f"{name}=={version}" for name, version in software.items()]
    return [str(item) for item in software or []]


def _training_table(training: Mapping[str, NDArray[np.float64]], layout: Layout) -> DynamicTable | None:
    """Return the training curve as a table, or None if there is none."""
    columns = {name: np.asarray(values) for name, values in training.items()}
    lengths = {len(values) for values in columns.values()}
    if len(lengths) > 1:
        raise InputError(f"the columns of the training curve differ in length: {sorted(lengths)}", where="FitResult")
    if not columns:
        return None
    return DynamicTable(
        name="training_curve",
        description="Course of training, one row for each epoch.",
        id=np.arange(lengths.pop()),
        columns=[
            VectorData(
                name=name, description=f"{name.replace('_', ' ').capitalize()} of each epoch.", data=layout(values)
            )
            for name, values in columns.items()
        ],
    )


def read_provenance(node: Any, *, n_neurons: int, where: str) -> Circumstances:
    """Return what a `FitProvenance` holds.

    Parameters
    ----------
    node : FitProvenance
        The object, of an open file.
    n_neurons : int
        How many neurons the fit has.
    where : str
        The file and object, for messages.

    Raises
    ------
    InputError
        If a part is missing or damaged.
    """

    def numbers(name: str, dtype: Any, length: int | None = None, limit: int | None = None) -> NDArray[Any]:
        value = getattr(node, name)
        if value is None:
            return np.zeros(0, dtype=dtype)
        kinds = "iu" if np.dtype(dtype).kind in "iu" else "iuf"
        found = read_numbers(value, name, where=where, shape=(length,), kinds=kinds, limit=limit)
        with np.errstate(over="ignore"):
            return found.astype(dtype)

    mean, std = (numbers(name, np.float32, limit=_MAX_RUNS) for name in ("activity_mean", "activity_std"))
    if not len(mean) == len(std) == n_neurons:
        raise InputError(
            f"activity_mean and activity_std have {len(mean)} and {len(std)} values for {n_neurons} neurons",
            where=where,
        )
    names: Any = ()
    if node.behavior_names is not None:
        names = read_texts(node.behavior_names, "behavior_names", where=where, limit=_MAX_BEHAVIORS)
    behavior = [numbers(name, np.float32, limit=_MAX_BEHAVIORS) for name in ("behavior_mean", "behavior_std")]
    return Circumstances(
        config=_from_json(node.config, "config", where),
        provenance=read_record(node, where=where),
        activity_kind=as_text(node.activity_kind),
        unit="" if node.activity_unit is None else as_text(node.activity_unit),
        period=read_number(node.sampling_period, "sampling_period", float("nan"), where=where),
        behavior_names=tuple(map(str, names)),
        normalization=Normalization(mean, std, *behavior),
        split=_read_split(
            numbers("split_code", np.uint8, limit=_MAX_RUNS), numbers("split_length", np.int64, limit=_MAX_RUNS), where
        ),
        training=_read_training(node.training_curve, where),
        weights=_read_weights(node, where),
    )


def read_record(node: Any, *, where: str) -> dict[str, Any]:
    """Return what a fit says of itself, `FitResult.provenance`, without the rest of a `FitProvenance`.

    Parameters
    ----------
    node : FitProvenance
        The object, of an open file.
    where : str
        The file and object, for messages.

    Raises
    ------
    InputError
        If it is damaged.
    """
    record = _from_json(node.record, "record", where)
    require_kinds(record, _RECORD, "record", where)
    return record


def _from_json(text: Any, name: str, where: str) -> dict[str, Any]:
    """Return the mapping that a JSON text of the file holds; an absent one is empty."""
    if text is None:
        return {}
    try:
        value = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{name} is not JSON ({as_text(error)[:200]})", where=where) from error
    if not isinstance(value, dict):
        raise InputError(f"{name} is not a JSON object", where=where)
    require_kinds(value, {}, name, where)
    return value


def _read_split(code: NDArray[np.uint8], length: NDArray[np.int64], where: str) -> NDArray[np.uint8]:
    """Return the split code of every sample from its runs."""
    total = sum(int(n) for n in length)
    if len(code) != len(length) or (length < 0).any() or total > MAX_SAMPLES:
        raise InputError(
            f"split_code and split_length do not describe a split ({len(code)} codes, {len(length)} lengths, "
            f"{total} samples)",
            where=where,
        )
    return np.repeat(code, length)


def _read_training(table: Any, where: str) -> dict[str, NDArray[np.float64]]:
    """Return the columns of the training curve."""
    if table is None:
        return {}
    place = f"{where}/training_curve"
    if not isinstance(table, DynamicTable):
        raise InputError(f"it is a {type(table).__name__}, expected a table", where=place)
    columns: dict[str, NDArray[np.float64]] = {}
    for name in table.colnames:
        length = len(next(iter(columns.values()))) if columns else None
        data = getattr(table[name], "data", None)
        columns[name] = read_numbers(data, name, where=place, shape=(length,), kinds="iuf", limit=_MAX_EPOCHS)
    if not np.isfinite(columns.get("epoch", np.zeros(0))).all():
        raise InputError("epochs are not numbered", where=place)
    return columns


def _read_weights(node: Any, where: str) -> dict[str, NDArray[Any]]:
    """Return the decoder's parameters, after checking their format and digest."""
    if node.decoder_weights is None:
        return {}
    if node.decoder_weights_format != "safetensors":
        raise InputError(
            f"decoder_weights are in the format {node.decoder_weights_format!r}; only safetensors is read", where=where
        )
    array = read_numbers(node.decoder_weights, "decoder_weights", where=where, kinds="u")
    if array.dtype != np.uint8:
        raise InputError(f"decoder_weights hold {array.dtype}, expected bytes", where=where)
    content = array.tobytes()
    if hashlib.sha256(content).hexdigest() != node.decoder_weights_sha256:
        raise InputError(
            "decoder_weights do not match their SHA-256: they were changed or damaged after they were written",
            where=where,
            remedy="Use a good copy of the file, or run the fit again.",
        )
    try:
        return dict(safetensors.numpy.load(content))
    except (SafetensorError, KeyError, ValueError, OverflowError, TypeError) as error:
        raise InputError(f"decoder_weights are not safetensors ({as_text(error)[:200]})", where=where) from error
