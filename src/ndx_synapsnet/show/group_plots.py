"""Pictures of group readouts: by region or cell type, by distance, by neuron."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..metrics import DistanceConnectivity, GroupConnectivity, NeuronConnectivity
from .canvas import BLUE, GRADED, GREY, ORANGE, SIGNED, bare, in_house_style, new_figure, short_all

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WRITTEN_GROUPS = 10  # a side up to which numbers fit into the cells
_NAME = 18  # letters of a group's name
_CELL = 0.62  # inches a side that its two numbers need


@in_house_style
def draw_groups(found: GroupConnectivity, *, edges: str) -> Figure:
    """Draw mean weight and share of edges over [target group, source group].

    Parameters
    ----------
    found : GroupConnectivity
        What to draw.
    edges : str
        Which pairs are edges, in words.
    """
    g = len(found.groups)
    side = min(max(2.4, _CELL * g), 9) if g <= _WRITTEN_GROUPS else min(0.34 * g, 9)
    names = 0.085 * max(map(len, short_all(found.groups, _NAME)))  # inches
    figure = new_figure(2 * (side + names) + 3.6, side + names + 1.2)
    left, right = figure.subplots(1, 2)
    limit = float(np.nanmax(np.abs(found.mean), initial=0.0)) or 1.0
    _cells(figure, left, found, found.mean, "mean weight", {"cmap": SIGNED, "vmin": -limit, "vmax": limit})
    _cells(figure, right, found, found.edge_share, f"share that are edges\n({edges})", {"cmap": GRADED, "vmin": 0.0})
    return figure


def _cells(
    figure: Figure, ax: Any, found: GroupConnectivity, values: NDArray[np.float64], title: str, colours: dict[str, Any]
) -> None:
    image = ax.imshow(values, interpolation="nearest", **colours)
    ax.set_facecolor("0.85")  # where there is no pair
    figure.colorbar(image, ax=ax, shrink=0.75)
    ax.tick_params(labelsize=8)
    places = range(len(found.groups))
    names = short_all(found.groups, _NAME)
    ax.set_xticks(places, names, rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(places, [f"{name} ({n})" for name, n in zip(names, found.neurons, strict=True)])
    ax.set(title=title, xlabel="source", ylabel="target (neurons)")
    if len(found.groups) > _WRITTEN_GROUPS:
        return
    for (target, source), value in np.ndenumerate(values):
        if np.isfinite(value):
            red, green, blue, _ = image.to_rgba(value)
            dark = 0.3 * red + 0.59 * green + 0.11 * blue < 0.5
            text = f"{value:.2g}"
            if values is found.mean and np.isfinite(error := found.standard_error[target, source]):
                text += f"\n± {error:.1g}"
            ax.text(source, target, text, ha="center", va="center", fontsize=7, color="white" if dark else "black")


@in_house_style
def draw_distance(found: DistanceConnectivity, *, edges: str) -> Figure:
    """Draw mean weight, mean |weight| and the share of edges against distance; bars are standard errors over neurons.

    Parameters
    ----------
    found : DistanceConnectivity
        What to draw; pairs without a distance are not.
    edges : str
        Which pairs are edges, in words.
    """
    known = np.isfinite(found.edges[:, 0]) & (found.pairs > 0)
    figure = new_figure(11, 3.6)
    axes = figure.subplots(1, 3)
    panels = (
        ("mean weight", found.mean, found.standard_error, BLUE),
        ("mean |weight|", found.mean_absolute, found.mean_absolute_error, ORANGE),
        (f"share that are edges\n({edges})", found.edge_share, None, GREY),
    )
    for ax, (title, values, error, colour) in zip(axes, panels, strict=True):
        bars = None if error is None else error[known]
        ax.errorbar(found.distance[known], values[known], yerr=bars, color=colour, marker="o", ms=4, lw=1.2, capsize=2)
        ax.set(title=title, xlabel="distance (unit of the positions)")
        bare(ax)
    axes[0].axhline(0, color=GREY, lw=0.8)
    for ax, (_, values, error, _) in zip(axes[1:], panels[1:], strict=True):
        reach = values if error is None else values + np.nan_to_num(error)
        ax.set_ylim(0, 1.08 * float(np.nanmax(reach[known], initial=0.0)) or 1.0)
    return figure


@in_house_style
def draw_neurons(found: NeuronConnectivity, *, edges: str) -> Figure:
    """Draw each neuron's out- against its in-strength, and how strengths and degrees are distributed.

    Parameters
    ----------
    found : NeuronConnectivity
        What to draw.
    edges : str
        Which pairs are edges, in words.
    """
    degrees = found.in_degree is not None
    figure = new_figure(11 if degrees else 7.4, 3.7)
    axes = figure.subplots(1, 2 + degrees)
    axes[0].scatter(found.in_strength, found.out_strength, s=12, color=BLUE, alpha=0.6, linewidths=0)
    axes[0].set(title="each dot a neuron", xlabel="in-strength (sum of |weight|)", ylabel="out-strength")
    _distributions(axes[1], found.in_strength, found.out_strength, "strength (sum of |weight|)")
    if found.in_degree is not None and found.out_degree is not None:
        _distributions(axes[2], found.in_degree, found.out_degree, f"degree ({edges})")
    bare(*axes)
    return figure


def _distributions(ax: Any, received: NDArray[Any], sent: NDArray[Any], label: str) -> None:
    """Draw two cumulative distributions: they need no choice of bins."""
    for name, values, colour in (("in", received, BLUE), ("out", sent, ORANGE)):
        ordered = np.sort(values)
        ax.step(ordered, np.arange(1, len(ordered) + 1) / len(ordered), where="post", color=colour, lw=1.5, label=name)
    ax.set(xlabel=label, ylabel="share of neurons up to it", ylim=(0, 1.02))
    ax.legend(frameon=False, fontsize=8, loc="lower right")
