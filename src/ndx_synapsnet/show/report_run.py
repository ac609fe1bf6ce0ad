"""A run as a report takes it, and what its sections share: figures as pictures in the page, numbers in tables."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..session import Connectivity, FitResult, Session
from . import page as bricks
from .page import Html

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DPI = 170  # sharp in print, at the width of a page

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


def figure(drawn: Figure, caption: str, *, note: str = "", narrow: bool = False) -> Html:
    """Return a matplotlib figure as a picture in the page; see `page.picture`."""
    file = io.BytesIO()
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
