"""Figures that look the same whatever a user has set for their own: a dark style, LaTeX, other sizes.

Needs matplotlib, so it is imported where a figure is made.
"""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager
from typing import Any

import matplotlib
from matplotlib.figure import Figure

_SET = ("axes", "axes3d", "boxplot", "errorbar", "figure", "font", "grid", "image", "legend", "lines", "mathtext",
        "patch", "path", "savefig", "scatter", "text", "xtick", "ytick")  # fmt: skip
#: Left to the user, whose labels may be in a script that matplotlib's own font lacks.
_FREE = {"font.family", "font.serif", "font.sans-serif", "font.cursive", "font.fantasy", "font.monospace"}
_STYLE = {
    name: value
    for name, value in matplotlib.rcParamsDefault.items()
    if name.partition(".")[0] in _SET and name not in _FREE
}


def house_style(*, literal: bool = False) -> AbstractContextManager[None]:
    """Return a context in which matplotlib draws as by default; if `literal`, no text is taken for a formula."""
    context: AbstractContextManager[None] = matplotlib.rc_context({**_STYLE, "text.parse_math": not literal})
    return context


class HouseFigure(Figure):
    """A figure that is drawn and saved in the house style, whenever that is."""

    def draw(self, renderer: Any) -> None:
        """Draw it; matplotlib finishes the ticks only now."""
        with house_style(), warnings.catch_warnings():
            # a script that the font lacks, labels that leave little room: nothing that a user could mend here
            warnings.filterwarnings("ignore", r"Glyph|.*constrained_layout", UserWarning)
            super().draw(renderer)

    def savefig(self, *arguments: Any, **settings: Any) -> None:
        """Save it."""
        with house_style():
            super().savefig(*arguments, **settings)
