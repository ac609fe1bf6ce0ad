"""Neurons with their embeddings and scores ↔ `NeuronEmbeddings`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from hdmf.common import VectorData
from numpy.typing import NDArray

from ..errors import InputError
from ..session import Neurons, Scores
from .checks import MOST_NEURONS, read_numbers, read_texts
from .layout import Layout
from .types import NeuronEmbeddings

#: Columns of the table by the field of `Neurons` they hold.
COLUMNS = {
    "id": "neuron_id",
    "source_path": "source_path",
    "source_object_id": "source_object_id",
    "source_row": "source_row",
    "identity": "identity",
    "position": "position",
    "region": "location",
    "cell_type": "cell_type",
}
#: Put before the name of an extra column that the table uses otherwise.
EXTRA = "extra_"

_DOCS: dict[str, str] = {column["name"]: column["description"] for column in NeuronEmbeddings.__columns__}


def _score_columns(predictors: list[str]) -> dict[tuple[str, str], str]:
    """Names of the score columns by predictor and kind of score; the first predictor is the model."""
    return {
        (predictor, kind): kind if place == 0 else f"{predictor}_{kind}"
        for place, predictor in enumerate(predictors)
        for kind in ("correlation", "mse")
    }


def build_neuron_table(
    neurons: Neurons,
    layout: Layout,
    *,
    description: str,
    embeddings: NDArray[np.float32] | None = None,
    scores: Mapping[str, Scores] | None = None,
    model: str | None = None,
) -> NeuronEmbeddings:
    """Make the table of the neurons of one fit.

    Parameters
    ----------
    neurons : Neurons
        N neurons; their extra columns become columns of the table, prefixed with ``extra_`` where the table has
        another use for the name.
    layout : Layout
        How arrays are to lie on disk.
    description : str
        What these neurons are.
    embeddings : (N, D) array, optional
        Not written if D is 0.
    scores : mapping of str to Scores, optional
        By predictor.
    model : str, optional
        The predictor in `scores` that is the fitted model.

    Raises
    ------
    InputError
        If an extra column is neither numbers nor text, or a name cannot be a column's.
    """
    predictors = [] if scores is None else [str(model), *(name for name in scores if name != model)]
    columns: dict[str, Any] = {}
    docs = dict(_DOCS)
    for field, column in COLUMNS.items():
        if (value := getattr(neurons, field)) is not None:
            columns[column] = value
    if embeddings is not None and embeddings.shape[1]:
        columns["embedding"] = embeddings
    for (predictor, kind), column in _score_columns(predictors).items():
        if column in columns:
            raise InputError(
                f"two columns of the neuron table would be called {column!r}", where=f"scores of {predictor}"
            )
        columns[column] = getattr((scores or {})[predictor], kind)
        docs.setdefault(column, f"As `{kind}`, of the reference predictor {predictor}.")
    taken = {"id", *_DOCS, *columns}
    for name, value in neurons.extra.items():
        # hdmf makes every column an attribute of the table, so an attribute's name is taken too
        own = name not in taken and not name.startswith(EXTRA) and not hasattr(NeuronEmbeddings, name)
        column = name if own else EXTRA + name
        columns[column] = value
        docs.setdefault(column, f"Column {name!r} of the source table.")
    table: NeuronEmbeddings = NeuronEmbeddings(
        description=description,
        id=np.arange(len(neurons)),
        columns=[
            VectorData(name=_checked_name(column), description=docs[column], data=_column_data(column, value, layout))
            for column, value in columns.items()
        ],
        predictors=predictors or None,
    )
    return table


def _checked_name(column: str) -> str:
    """Return `column`, unless HDF5 cannot have it as a name."""
    if not column or "/" in column or ":" in column:
        raise InputError(
            f"a column cannot be called {column!r}", where="neuron table", remedy="Choose a name without '/' and ':'."
        )
    return column


def _column_data(column: str, value: NDArray[Any], layout: Layout) -> Any:
    """Return the data of a column as hdmf takes it: text as a list, numbers as an array."""
    if value.dtype.kind == "U":
        return value.tolist()
    if value.dtype.kind not in "biuf":
        raise InputError(
            f"column {column!r} holds {value.dtype}, expected numbers, truth values or text",
            where="neuron table",
            remedy="Leave the column out of Neurons.extra, or convert it to text.",
        )
    return layout(value)


def read_neurons(table: NeuronEmbeddings, *, where: str) -> Neurons:
    """Return the neurons of a table as they were written.

    Parameters
    ----------
    table : NeuronEmbeddings
        The table; columns that no `Neurons` can hold (ragged ones, references) are passed over.
    where : str
        The file and object, for messages.

    Raises
    ------
    InputError
        If a column is missing or does not fit.
    """
    missing = sorted({"neuron_id", "source_path", "source_object_id", "source_row"} - set(table.colnames))
    if missing:
        raise InputError(f"the neuron table has no column {', '.join(missing)}", where=where)
    known = set(COLUMNS.values()) | set(_DOCS) | set(_score_columns(read_predictors(table, where=where)).values())
    values: dict[str, Any] = {
        "id": read_texts(_data(table, "neuron_id", where), "neuron_id", where=where, limit=MOST_NEURONS)
    }
    n = len(values["id"])
    for field, column in COLUMNS.items():
        if field == "id" or column not in table.colnames:
            continue
        data = _data(table, column, where)
        if field == "source_row":
            values[field] = read_numbers(data, column, where=where, shape=(n,), kinds="iu")
        elif field == "position":
            values[field] = read_numbers(data, column, where=where, shape=(n, 3))
        else:
            values[field] = read_texts(data, column, where=where, shape=(n,))
    extra: dict[str, NDArray[Any]] = {}
    for column in table.colnames:
        vector = table[column]
        if column in known or type(vector) is not VectorData or len(vector.shape or ()) != 1:
            continue
        read = read_texts if np.dtype(getattr(vector.data, "dtype", "O")).kind in "OSU" else read_numbers
        extra[column.removeprefix(EXTRA)] = read(vector.data, column, where=where, shape=(n,))
    try:
        return Neurons(**values, extra=extra)
    except (ValueError, OverflowError) as error:
        raise InputError(str(error), where=where) from error


def read_embeddings(table: NeuronEmbeddings, *, where: str = "neuron table") -> NDArray[np.float32]:
    """Return the embeddings (N, D) of a table; D is 0 if it has none.

    Raises
    ------
    InputError
        If they do not fit.
    """
    n = len(table)
    if "embedding" not in table.colnames:
        return np.zeros((n, 0), dtype=np.float32)
    values = read_numbers(_data(table, "embedding", where), "embedding", where=where, shape=(n, None))
    return values.astype(np.float32)


def read_predictors(table: NeuronEmbeddings, *, where: str = "neuron table") -> list[str]:
    """Return the predictors whose scores are in a table, the fitted model first.

    Raises
    ------
    InputError
        If they are no texts.
    """
    names: list[str] = (
        [] if table.predictors is None else read_texts(table.predictors, "predictors", where=where).tolist()
    )
    return names


def read_scores(table: NeuronEmbeddings, *, where: str) -> dict[str, Scores]:
    """Return the scores in a table by predictor, the fitted model first.

    Raises
    ------
    InputError
        If a score column is missing or does not fit.
    """
    predictors = read_predictors(table, where=where)
    columns = _score_columns(predictors)
    missing = sorted(column for column in columns.values() if column not in table.colnames)
    if missing:
        raise InputError(f"the neuron table has no column {', '.join(missing)}", where=where)
    n = len(table)

    def score(column: str) -> NDArray[np.float32]:
        return read_numbers(_data(table, column, where), column, where=where, shape=(n,)).astype(np.float32)

    return {
        predictor: Scores(**{kind: score(columns[predictor, kind]) for kind in ("correlation", "mse")})
        for predictor in predictors
    }


def _data(table: NeuronEmbeddings, column: str, where: str) -> Any:
    """Return what a column holds, unless it is one of another kind."""
    vector = table[column]
    if not isinstance(vector, VectorData):
        raise InputError(f"{column} is a {type(vector).__name__}, expected a plain column", where=where)
    return vector.data
