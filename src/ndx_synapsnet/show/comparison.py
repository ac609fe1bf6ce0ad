"""Two connectivity matrices beside each other, and their weights against each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..session import Connectivity, Neurons
from .canvas import BLUE, GRADED, GREY, bare, in_house_style, new_figure, short_all
from .compute import order_neurons
from .matrix_plots import draw_matrix

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_DOTS = 20_000  # pairs that can be told apart as dots


@dataclass(frozen=True, eq=False)
class ComparisonView:
    """Two matrices [target, source] in one order of the N neurons."""

    titles: tuple[str, str]
    matrices: tuple[NDArray[np.float64], NDArray[np.float64]]
    groups: tuple[tuple[str, int, int], ...]
    """See `MatrixView`."""
    weights: NDArray[np.float64]
    """(2, N (N - 1)) the entries off the diagonal."""
    r: float
    p: float


def comparison_view(
    neurons: Neurons, first: Connectivity, second: Connectivity, titles: tuple[str, str], *, r: float, p: float
) -> ComparisonView:
    """Return two matrices over the same neurons, sorted by region (else cell type) where these are known.

    Parameters
    ----------
    neurons : Neurons
        N neurons.
    first, second : Connectivity
        N by N.
    titles : pair of str
        What to call them.
    r, p : float
        Their correlation and its p-value, as `metrics.compare_matrices` gives them.
    """
    order, groups = order_neurons(neurons)
    place = np.ix_(order, order)
    a, b = (matrix.weights.astype(np.float64)[place] for matrix in (first, second))
    off = ~np.eye(len(order), dtype=bool)
    return ComparisonView(titles, (a, b), groups, np.stack([a[off], b[off]]), r, p)


@in_house_style
def draw_comparison(view: ComparisonView) -> Figure:
    """Draw the two matrices, each on its own scale with zero in white, and the weights of one against the other's."""
    figure = new_figure(13.5, 4.4)
    axes, titles = figure.subplots(1, 3), short_all(view.titles, 30)
    for ax, title, matrix in zip(axes, titles, view.matrices, strict=False):
        draw_matrix(figure, ax, title, matrix, view.groups)
    ax, (x, y) = axes[2], view.weights
    ax.axhline(0, color=GREY, lw=0.6)
    ax.axvline(0, color=GREY, lw=0.6)
    if len(x) > _MOST_DOTS:
        image = ax.hexbin(x, y, gridsize=70, bins="log", mincnt=1, cmap=GRADED, linewidths=0)
        figure.colorbar(image, ax=ax, shrink=0.75, label="pairs")
    else:
        ax.scatter(x, y, s=5, color=BLUE, alpha=0.35, linewidths=0, rasterized=True)
    said = f"r = {view.r:.2f}, p = {view.p:.2g} by permutation" if np.isfinite(view.r) else "r is undefined"
    ax.set(title=said, xlabel=f"weight, {titles[0]}", ylabel=f"weight, {titles[1]}")
    ax.set_box_aspect(1)
    bare(ax)
    return figure
