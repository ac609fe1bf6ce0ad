"""What the verbs that take a connectivity matrix share: its edges, what is to be said of it, files made of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..errors import InputError
from .files import make_folder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..nwb.wiring import Wiring

F = TypeVar("F", bound=Callable[..., Any])

#: The false-discovery rate, and the share of the pairs, by which edges are chosen where nothing is said.
DEFAULT_RATE = 0.1
DEFAULT_SHARE = 0.1


def edge_options(function: F) -> F:
    """Add the options that say which pairs count as edges."""
    function = click.option("--strongest", type=click.IntRange(1), metavar="K", help="Edges: the K strongest.")(
        function
    )
    return click.option(
        "--significant",
        type=click.FloatRange(0, 1, min_open=True),
        metavar="Q",
        help="Edges: those with a q-value of at most Q, a false-discovery rate.",
    )(function)


def overwrite_option(function: F) -> F:
    """Add the option that allows files to be replaced."""
    return click.option("--overwrite", is_flag=True, help="Replace files that are there already.")(function)


def require_free(*paths: Path | None, overwrite: bool) -> None:
    """Raise now what would keep files from being written later; their folders are made.

    Raises
    ------
    InputError
        If one exists and may not be replaced, is a folder, or its folder cannot be written to.
    """
    for path in paths:
        if path is None:
            continue
        if path.is_dir():
            raise InputError("is a folder, expected the name of a file", where=str(path))
        if path.exists() and not overwrite:
            raise InputError(
                "is there already", where=str(path), remedy="Name another file, remove it, or add --overwrite."
            )
        make_folder(path.parent)


def edges_of(wiring: Wiring, significant: float | None, strongest: int | None) -> tuple[NDArray[np.bool_], str]:
    """Return the mask (N, N) of a matrix's edges, and which these are, in words.

    Where the options say nothing: of known wiring its connections, else those significant at a false-discovery rate
    of 10%, or without q-values the strongest tenth of the pairs.
    """
    from ..metrics import choose_edges

    matrix, n = wiring.connectivity, len(wiring.neurons)
    if significant is None and strongest is None:
        if wiring.known:
            return choose_edges(matrix), "true connections"
        if matrix.q_value is not None:
            significant = DEFAULT_RATE
        else:
            return choose_edges(matrix, strongest=tenth(n)), f"the strongest {DEFAULT_SHARE:.0%} of pairs"
    try:
        edges = choose_edges(matrix, significant=significant, strongest=strongest)
    except InputError as error:
        raise InputError(error.what, where=f"{wiring.file}: {wiring.label}", remedy=error.remedy) from error
    passed = None if significant is None else f"pairs with q ≤ {significant:g}"
    if strongest is None:
        return edges, str(passed)
    return edges, f"the {strongest} strongest {passed or 'pairs'}"


def tenth(n: int) -> int:
    """Return how many pairs the strongest tenth of those of `n` neurons are."""
    return max(1, round(DEFAULT_SHARE * n * (n - 1)))


def cautions(wiring: Wiring) -> list[str]:
    """Return what must be said before anyone reads a matrix."""
    said = []
    if not wiring.trustworthy:
        said.append(f"{wiring.label}: NOT TO BE READ. {wiring.verdict}".rstrip())
    if wiring.doubt:
        said.append(f"{wiring.label}: its p- and q-values are NOT to be trusted: {wiring.doubt}")
    if wiring.arbitrary_sign:
        said.append(f"{wiring.label}: the signs of its rows are arbitrary; read the effective matrix.")
    return said
