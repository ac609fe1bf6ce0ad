"""Pictures of the strongest connections in space (paper, figure 3b)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .canvas import DOT_COLORS, OTHER, bare, caption, in_house_style, natural, new_figure, short, short_all
from .network_view import NetworkView

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: The ends of the map of signed weights, so that colours mean the same in all pictures.
POSITIVE, NEGATIVE = "#B2182B", "#2166AC"
_PIECES = (8, 4)  # of a line that fades: of few lines, and of many
_MANY = 400
_FLAT = 2
_LINE, _AROUND, _BESIDE = 0.19, 0.5, 0.75  # inches: a line of text, and what labels take around the box
_TICK = 0.35  # inches between numbers along an axis in three dimensions


@in_house_style
def draw_network(view: NetworkView, *, elevation: float = 28.0, azimuth: float = -60.0) -> Figure:
    """Draw neurons as dots and edges as lines, red for positive and blue for negative, thicker the stronger.

    A line is pale at the neuron that drives and full at the one that is driven. Places in a plane are drawn flat, with
    bent lines, so that the two directions between two neurons do not cover each other.

    Parameters
    ----------
    view : NetworkView
        What to draw.
    elevation, azimuth : float
        Degrees from which a picture in three dimensions is seen.
    """
    figure = new_figure(8.2, 6.2)
    if view.places.shape[1] == _FLAT:
        ax: Any = figure.add_subplot()
        ax.set_aspect("equal" if view.spatial or not any(view.axes) else "auto")
        ax.set(xlabel=view.axes[0], ylabel=view.axes[1])
        bare(ax)
        if not any(view.axes):
            ax.set_axis_off()
    else:
        from mpl_toolkits.mplot3d import Axes3D  # noqa: F401  (makes matplotlib know the projection)

        figure.set_layout_engine("none")  # which would leave most of the figure empty
        ax = figure.add_axes((0.0, 0.0, 1.0, 1.0), projection="3d", computed_zorder=False)
        sides = _space(ax, view, elevation, azimuth)
    _edges(ax, view)
    _neurons(ax, view)
    rows = _legend(ax, view)
    lines = caption(figure, view.note)
    if view.places.shape[1] != _FLAT:
        _fill(ax, sides, below=0.15 + _LINE * lines, above=0.2 + _LINE * (rows + 1))
    return figure


def _edges(ax: Any, view: NetworkView) -> None:
    """Draw each edge as short lines of growing opacity, all of them as one collection."""
    from matplotlib.collections import LineCollection
    from matplotlib.colors import to_rgb
    from mpl_toolkits.mplot3d.art3d import Line3DCollection

    if not len(view.weight):
        return
    pieces_each = _PIECES[len(view.weight) > _MANY]
    begin, end = view.places[view.source], view.places[view.target]
    at = np.linspace(0, 1, pieces_each + 1)[:, None]
    course = begin[:, None] * (1 - at) + end[:, None] * at  # (E, pieces + 1, axes)
    if view.places.shape[1] == _FLAT:
        along = end - begin
        bend = 0.12 * np.stack([-along[:, 1], along[:, 0]], axis=1)
        course = course + (4 * at * (1 - at)) * bend[:, None]
    strength = np.abs(view.weight) / np.abs(view.weight).max()
    pieces: Any = np.stack([course[:, :-1], course[:, 1:]], axis=2).reshape(-1, 2, view.places.shape[1])
    hue = np.where(view.weight[:, None] > 0, to_rgb(POSITIVE), to_rgb(NEGATIVE))
    alpha = (0.25 + 0.65 * strength)[:, None] * np.linspace(0.15, 1, pieces_each)
    rgba = np.concatenate([np.repeat(hue[:, None], pieces_each, 1), alpha[..., None]], axis=2).reshape(-1, 4)
    thick = 2.0 * min(1.0, np.sqrt(150 / len(strength)))
    widths = np.repeat(0.4 + thick * strength**1.5, pieces_each)
    collection = LineCollection if view.places.shape[1] == _FLAT else Line3DCollection
    ax.add_collection(collection(pieces, colors=rgba, linewidths=widths, capstyle="butt", zorder=1, clip_on=False))


def _neurons(ax: Any, view: NetworkView) -> None:
    used = np.zeros(len(view.places), bool)
    used[view.source] = used[view.target] = True
    known = np.isfinite(view.places).all(axis=1)
    size = max(9.0, min(28.0, 4000 / max(int(used.sum()), 1)))
    keywords: dict[str, Any] = {} if view.places.shape[1] == _FLAT else {"depthshade": False}
    colors = _colors(view)
    for mask, alpha, scale, zorder in ((known & ~used, 0.3, 0.3, 0), (known & used, 1.0, 1.0, 2)):
        if mask.any():
            ax.scatter(*view.places[mask].T, s=scale * size, c=colors[mask].tolist(), alpha=alpha, linewidths=0,
                       zorder=zorder, clip_on=False, **keywords)  # fmt: skip


def _colors(view: NetworkView) -> NDArray[np.str_]:
    """Return each neuron's colour (N,): grey without labels, for the unknown, and beyond the colours there are."""
    colors = np.full(len(view.places), "#4D4D4D" if view.labels is None else OTHER)
    if view.labels is not None:
        for color, label in zip(DOT_COLORS, _shown(view), strict=False):
            colors[view.labels == label] = color
    return colors


def _shown(view: NetworkView) -> list[str]:
    """Return the labels that have a colour: the most frequent."""
    if view.labels is None:
        return []
    names, counts = np.unique(view.labels[view.labels != ""], return_counts=True)
    frequent = names[np.argsort(-counts, kind="stable")][: len(DOT_COLORS)]
    return sorted((str(name) for name in frequent), key=natural)


def _legend(ax: Any, view: NetworkView) -> int:
    """Add the legend, and return how many rows it takes below its title."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=color, lw=2, label=f"{name} ({int(count)})")
        for name, color, count in (
            ("positive", POSITIVE, np.count_nonzero(view.weight > 0)),
            ("negative", NEGATIVE, np.count_nonzero(view.weight < 0)),
        )
    ]
    shown = _shown(view)
    for color, label in zip(DOT_COLORS, short_all(shown), strict=False):
        handles.append(Line2D([], [], color=color, marker="o", ms=5, lw=0, label=label))
    if view.labels is not None and not np.isin(view.labels, shown).all():
        handles.append(Line2D([], [], color=OTHER, marker="o", ms=5, lw=0, label="other or unknown"))
    flat = view.places.shape[1] == _FLAT
    widest = max(len(str(handle.get_label())) for handle in handles)
    columns = max(2, min(len(handles), 6, 110 // (widest + 6)))
    ax.figure.legend(
        handles=handles,
        title="lines go from their pale end to their full end"
        + (f"; dots: {short(view.labels_said)}" if shown else ""),
        title_fontsize=8,
        loc="outside upper center" if flat else "upper center",
        frameon=False,
        fontsize=8,
        ncols=columns,
    )
    return -(-len(handles) // columns)


def _space(ax: Any, view: NetworkView, elevation: float, azimuth: float) -> list[float]:
    """Set up axes in three dimensions, and return how long the sides of their box are to be against each other."""
    known = view.places[np.isfinite(view.places).all(axis=1)]
    low, high = known.min(axis=0), known.max(axis=0)
    spread = np.maximum(high - low, 1e-6 * (high - low).max())
    for limits, least, most in zip((ax.set_xlim, ax.set_ylim, ax.set_zlim), low, high, strict=True):
        limits(least - 0.02 * (most - least), most + 0.02 * (most - least))
    ax.set_autoscale_on(False)
    ax.set(xlabel=view.axes[0], ylabel=view.axes[1], zlabel=view.axes[2])
    ax.view_init(elev=elevation, azim=azimuth)
    for axis in (ax.xaxis, ax.yaxis, ax.zaxis):
        axis.pane.set_facecolor("0.98")
        axis._axinfo["grid"].update(color="0.88", linewidth=0.5)
    ax.tick_params(labelsize=8, pad=0)
    # one unit is as long along each axis, but no axis so short that nothing can be read off it
    return np.maximum(spread / spread.max(), 0.35).tolist() if view.spatial else [4.0, 4.0, 3.0]


def _fill(ax: Any, sides: list[float], *, below: float, above: float) -> None:
    """Make the box fill the figure but for its labels and so many inches below and above, seen from wherever it is."""
    from matplotlib.ticker import MaxNLocator

    width, height = ax.figure.get_size_inches()
    room = np.array([width - 2 * _BESIDE, height - below - above - 2 * _AROUND])
    zoom = 1.0
    for _ in range(3):  # not linear, for what is nearer looks larger
        corners = _corners(ax, sides, zoom)
        zoom *= float((room / np.ptp(corners, axis=(0, 1, 2))).min())
    corners = _corners(ax, sides, zoom)
    centre = np.array([width / 2, below + _AROUND + room[1] / 2])
    middle = (corners.min(axis=(0, 1, 2)) + corners.max(axis=(0, 1, 2))) / 2
    ax.set_position((*((centre - middle) / (width, height)), 1.0, 1.0))
    for k, axis in enumerate((ax.xaxis, ax.yaxis, ax.zaxis)):
        length = float(np.linalg.norm(np.diff(corners, axis=k), axis=-1).mean())
        axis.set_major_locator(MaxNLocator(max(1, min(6, int(length / _TICK))), steps=[1, 2, 5, 10]))
        if length < _TICK:  # seen from its end, its numbers would lie over each other
            axis.set_ticklabels([])


def _corners(ax: Any, sides: list[float], zoom: float) -> NDArray[np.float64]:
    """Set the size of the box, and return where its corners are seen (2, 2, 2, 2), in inches: x, y, z, then place."""
    from mpl_toolkits.mplot3d.proj3d import proj_transform

    ax.set_box_aspect(sides, zoom=zoom)
    ax.apply_aspect()
    corners = np.stack(np.meshgrid(ax.get_xlim(), ax.get_ylim(), ax.get_zlim(), indexing="ij")).reshape(3, -1)
    x, y, _ = proj_transform(*corners, ax.get_proj())
    seen = ax.transData.transform(np.stack([x, y], axis=1)) / ax.figure.dpi
    return np.asarray(seen.reshape(2, 2, 2, 2))
