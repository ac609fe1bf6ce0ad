"""Pictures of matrices between neurons."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .canvas import BLUE, GREY, SIGNED, bare, caption, in_house_style, new_figure, short
from .matrix_view import MatrixView, color_limit
from .ordering import Groups

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHARP = 400  # entries a side up to which each is a square; of more, some would fall between the dots of the picture
_LABEL = 0.028  # part of an axis that a group's name takes
_NAME, _TITLE = 16, 40  # letters of it, and of what stands above a matrix


@in_house_style
def draw_matrices(view: MatrixView) -> Figure:
    """Draw matrices side by side, zero in white, red for positive and blue for negative weights."""
    k = len(view.matrices)
    columns = min(k, 4)
    rows = -(-k // columns)
    figure = new_figure(6.6, 5.8) if k == 1 else new_figure(4.3 * columns, 4.1 * rows)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax, title, matrix in zip(axes, view.titles, view.matrices, strict=False):
        draw_matrix(figure, ax, title, matrix, view.groups, source_groups=view.source_groups, shape=view.shape)
    for ax in axes[k:]:
        ax.set_axis_off()
    caption(figure, view.note)
    return figure


@in_house_style
def draw_matrix(
    figure: Figure,
    ax: Any,
    title: str,
    matrix: NDArray[np.float64],
    groups: Groups = (),
    *,
    source_groups: Groups | None = None,
    shape: tuple[int, int] | None = None,
) -> None:
    """Draw one matrix [target, source] into `ax`, its groups of neurons marked (see `MatrixView`)."""
    limit = color_limit(matrix)
    targets, sources = shape or matrix.shape
    image = ax.imshow(
        matrix,
        cmap=SIGNED,
        vmin=-limit,
        vmax=limit,
        interpolation="nearest" if max(matrix.shape) <= _SHARP else "auto",
        extent=(-0.5, sources - 0.5, targets - 0.5, -0.5),
    )
    figure.colorbar(image, ax=ax, shrink=0.75, extend="both")
    ax.set(xlabel="source neuron", ylabel="target neuron")
    ax.set_title(short(title, _TITLE), fontsize=11)
    ax.tick_params(labelsize=8)
    across = groups if source_groups is None else source_groups
    for _, _, last in groups[:-1]:
        ax.axhline(last - 0.5, color="black", lw=0.5)
    for _, _, last in across[:-1]:
        ax.axvline(last - 0.5, color="black", lw=0.5)
    if groups:
        ax.set_yticks(*_labels(groups, targets))
    if across:
        ax.set_xticks(*_labels(across, sources), rotation=45, ha="right", rotation_mode="anchor")


def _labels(groups: Groups, length: int) -> tuple[list[float], list[str]]:
    """Return places and names of the groups; of those too small for a name, as many as do not run into each other."""
    places: list[float] = []
    names = []
    for name, first, last in sorted(groups, key=lambda group: group[1] - group[2]):  # the large ones first
        centre = (first + last - 1) / 2
        if all(abs(centre - other) >= _LABEL * length for other in places):
            places.append(centre)
            names.append(short(name, _NAME))
    return places, names


@in_house_style
def draw_recovery(view: MatrixView, truth: NDArray[np.floating]) -> Figure:
    """Draw each estimate's entries against the true weights, off the diagonal.

    Parameters
    ----------
    view : MatrixView
        The estimates, in the same order of neurons as `truth`.
    truth : array (N, N)
        True wiring [target, source].
    """
    off = ~np.eye(len(truth), dtype=bool)
    figure = new_figure(3.6 * len(view.matrices), 3.6)
    axes = np.atleast_1d(figure.subplots(1, len(view.matrices)))
    for ax, title, matrix in zip(axes, view.titles, view.matrices, strict=True):
        ax.scatter(truth[off], matrix[off], s=3, color=BLUE, alpha=0.3, linewidths=0, rasterized=True)
        r = np.corrcoef(truth[off], matrix[off])[0, 1]
        ax.set(title=f"{short(title)}: r = {r:.2f}", xlabel="true weight", ylabel="estimate")
        ax.axhline(0, color=GREY, lw=0.6)
        ax.axvline(0, color=GREY, lw=0.6)
        bare(ax)
    return figure
