"""A run as a report takes it, and what its sections share: figures as pictures in the page, numbers in tables."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, printable
from ..session import Connectivity, FitResult, Session
from . import page as bricks
from .page import Html

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DPI = 170  # sharp in print, at the width of a page

_LONGEST = 30  # characters of a label in a figure

#: Groups, notes and neurons beyond these are not listed one by one.
FEW = 12


@dataclass(frozen=True, eq=False)
class ReportedRun:
    """A run, and what is known beside it."""

    name: str
    """Its name in the file."""
    result: FitResult
    session: Session | None = None
    """The recording it was learned from, restricted to its neurons, where that is within reach."""
    truth: tuple[NDArray[np.str_], Connectivity] | None = None
    """Known wiring with the ids of its neurons, as `nwb.results.read_true_connectivity` gives it."""


def drawable(result: FitResult) -> FitResult:
    """Return the result with labels that can be drawn: short, and without dollar signs, which would begin formulas.

    Labels that differ stay different.
    """
    neurons = result.neurons
    texts = {name: getattr(neurons, name) for name in ("id", "region", "cell_type")}
    changed = {name: _drawable_labels(labels) for name, labels in texts.items() if labels is not None}
    scores = dict(zip(_drawable_labels(np.array(list(result.scores))).tolist(), result.scores.values(), strict=True))
    if result.model not in scores:
        return replace(result, neurons=replace(neurons, **changed))  # type: ignore[arg-type]
    return replace(result, neurons=replace(neurons, **changed), scores=scores)  # type: ignore[arg-type]


def _drawable_labels(labels: NDArray[np.str_]) -> NDArray[np.str_]:
    names, inverse = np.unique(labels, return_inverse=True)
    taken: set[str] = set()
    shown = []
    for name in names.tolist():
        clean = printable(name).replace("\n", "\N{REPLACEMENT CHARACTER}")
        short = clean if len(clean) <= _LONGEST else f"{clean[: _LONGEST - 9]}\N{HORIZONTAL ELLIPSIS}{clean[-8:]}"
        number, label = 1, short
        while label in taken:
            number += 1
            label = f"{short} ({number})"
        taken.add(label)
        shown.append(label.replace("$", r"\$"))
    return np.array(shown, dtype=np.str_)[inverse]


def figure(drawn: Figure, caption: str, *, note: str = "", narrow: bool = False) -> Html:
    """Return a matplotlib figure as a picture in the page; see `page.picture`."""
    file = io.BytesIO()
    with warnings.catch_warnings():  # of labels that leave little room, or in a script that the font lacks
        warnings.simplefilter("ignore", UserWarning)
        drawn.savefig(file, format="png", dpi=_DPI, metadata={"Software": None})
    return bricks.picture(file.getvalue(), caption, note=note, narrow=narrow)


def figure_if_there(draw: Callable[[], Figure], caption: str, *, note: str = "", narrow: bool = False) -> list[Html]:
    """Return what `draw` draws as `figure` does, or nothing where the fit has too little for it (`InputError`)."""
    try:
        drawn = draw()
    except InputError:
        return []
    return [figure(drawn, caption, note=note, narrow=narrow)]


def fixed(value: float) -> Html:
    """Return a score: three digits after the point."""
    return bricks.number(value, ".3f")


def significant(value: float) -> Html:
    """Return a weight: three significant digits."""
    return bricks.number(value, "#.3g")


def probability(value: float) -> Html:
    """Return a p- or q-value."""
    return Html("&lt; 0.0001") if value < 1e-4 else bricks.number(value, ".2g")
