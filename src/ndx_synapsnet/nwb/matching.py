"""Which neurons of two results are the same ones.

Letters: N, M neurons of the first and of the second; S shared ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..session import Neurons

Way = Literal["auto", "identity", "source", "id"]

#: Fewer shared neurons than this have no connectivity to compare.
FEWEST_SHARED = 3


@dataclass(frozen=True, eq=False)
class Shared:
    """The neurons that two results share, in the first's order."""

    first: NDArray[np.int64]
    """(S,) rows of the first's neurons."""
    second: NDArray[np.int64]
    """(S,) rows of the second's."""
    ways: dict[str, int]
    """How many were recognised in each way: ``identity``, ``source`` or ``id``."""


def match_neurons(first: Neurons, second: Neurons, way: Way = "auto") -> Shared:
    """Find the neurons that two results share.

    Parameters
    ----------
    first, second : Neurons
        N and M neurons.
    way : {"auto", "identity", "source", "id"}
        What makes two the same: an equal identity; the same row of the same table, or the same id from it; or an equal
        id, whatever file it is from, which only the user can know to mean something. ``auto`` is identity and, for the
        neurons that are not recognised by it, source. Two that both have an identity, and not the same, are never the
        same by their source. What occurs twice in a result recognises nothing.

    Returns
    -------
    Shared
        At least 3 neurons.

    Raises
    ------
    InputError
        If they share fewer.
    """
    identities = _identities(first), _identities(second)
    # by name of the way, the keys of the first and of the second, tried one after the other
    tried: list[tuple[str, Sequence[Hashable | None], Sequence[Hashable | None]]] = []
    if way in ("auto", "identity"):
        tried.append(("identity", identities[0], identities[1]))
    if way in ("auto", "source"):
        for columns in (("source_object_id", "source_row"), ("source_object_id", "id")):
            tried.append(("source", _sources(first, columns), _sources(second, columns)))
    if way == "id":
        tried.append(("id", first.id.tolist(), second.id.tolist()))

    pairs: dict[int, int] = {}
    ways: Counter[str] = Counter()
    taken: set[int] = set()
    for name, keys, others in tried:
        place = _unique(others)
        for key, row in _unique(keys).items():
            other = place.get(key)
            if other is None or row in pairs or other in taken:
                continue
            a, b = identities[0][row], identities[1][other]
            if name == "source" and way == "auto" and a is not None and b is not None and a != b:
                continue
            pairs[row] = other
            taken.add(other)
            ways[name] += 1
    if len(pairs) < FEWEST_SHARED:
        raise InputError(
            f"{len(pairs)} of {len(first)} and {len(second)} neurons are the same by "
            f"{'identity or source' if way == 'auto' else way}, expected {FEWEST_SHARED} or more",
            remedy="Results of one recording share its neurons. Of different recordings, neurons are recognised by "
            "an identity column (fit --identity-column), or by their ids (compare --match id) if these mean the same.",
        )
    rows = sorted(pairs)
    return Shared(np.array(rows, np.int64), np.array([pairs[row] for row in rows], np.int64), dict(ways))


def _identities(neurons: Neurons) -> list[Hashable | None]:
    if neurons.identity is None:
        return [None] * len(neurons)
    return [text or None for text in neurons.identity.tolist()]


def _sources(neurons: Neurons, columns: tuple[str, str]) -> list[Hashable | None]:
    """Return each neuron's source by two columns; an empty object id is no source."""
    tables, others = (getattr(neurons, column).tolist() for column in columns)
    return [(table, other) if table else None for table, other in zip(tables, others, strict=True)]


def _unique(keys: Sequence[Hashable | None]) -> dict[Hashable, int]:
    """Return the row of each key that occurs once."""
    counts = Counter(keys)
    return {key: row for row, key in enumerate(keys) if key is not None and counts[key] == 1}
