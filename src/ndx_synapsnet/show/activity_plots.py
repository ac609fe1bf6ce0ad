"""Pictures of activity over time: traces, rasters, principal components, input currents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .activity_view import ComponentsView, CurrentsView, RasterView, longest_stretch
from .canvas import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    bare,
    caption,
    caption_lines,
    in_house_style,
    new_figure,
    short,
    short_all,
)
from .compute import TraceView

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_DOTS = 4000
_MOST_NAMES, _NAME = 12, 22  # groups of neurons along a raster, and letters of their names
_ENOUGH = 50_000  # values of a raster that tell how dark it is to be
_WIDTH, _LINE = 10.0, 0.16  # inches of a raster, and of a line below it


@in_house_style
def draw_traces(view: TraceView, *, unit: str = "z-scored") -> Figure:
    """Draw predicted over true activity, one neuron below the other on one scale."""
    k = len(view.names)
    figure = new_figure(10, 1.0 * k + 1.4)
    ax = figure.subplots()
    shown = view.predicted if view.true is None else np.concatenate([view.predicted, view.true], axis=1)
    low, high = _reach(shown)
    step = 1.08 * max(high - low, 1e-9)
    for row in range(k):
        base = -row * step
        ax.axhline(base, color=GREY, lw=0.4, alpha=0.6)
        if view.true is not None:
            label = "recorded" if row == 0 else None
            ax.plot(view.times, base + view.true[row], color=GREY, lw=1.0, label=label)
        label = "predicted one step ahead" if row == 0 else None
        ax.plot(view.times, base + view.predicted[row], color=ORANGE, lw=1.2, label=label)
    names = [
        f"{name}\nr = {r:.2f}" if np.isfinite(r) else name
        for name, r in zip(short_all(view.names), view.correlation, strict=True)
    ]
    centres = np.nanmedian(np.nan_to_num(view.predicted), axis=1) if len(view.times) else np.zeros(k)
    ax.set_yticks([-row * step + centres[row] for row in range(k)], names, fontsize=8)
    ax.set_ylim(-(k - 1) * step + min(low, 0) - 0.04 * step, max(high, 0) + 0.04 * step)
    ax.tick_params(axis="y", length=0)
    ax.margins(x=0.01)
    _scale_bar(ax, view, step, unit)
    defined = "; r over the whole test part" if np.isfinite(view.correlation).any() else ""
    ax.set(xlabel="time (s)", ylabel="neuron")
    ax.legend(loc="lower right", bbox_to_anchor=(0.98, 1), fontsize=8, frameon=False, ncols=2)
    ax.set_title(f"activity ({short(unit)}){defined}", fontsize=9, loc="left")
    ax.spines[["top", "right", "left"]].set_visible(False)
    return figure


def _reach(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return how far traces go down and up, but for single peaks, which may reach into the one above."""
    known = values[np.isfinite(values)]
    return (float(np.quantile(known, 0.002)), float(np.quantile(known, 0.998))) if len(known) else (0.0, 1.0)


def _scale_bar(ax: Any, view: TraceView, step: float, unit: str) -> None:
    """Draw how long a round number of units is, at the right of the first trace."""
    if not len(view.times):
        return
    length = 10 ** np.floor(np.log10(step / 2))
    length *= next(factor for factor in (5, 2, 1) if factor * length <= step / 2)
    place = view.times[-1] + 0.008 * (view.times[-1] - view.times[0])
    ax.plot([place, place], [0, length], color="black", lw=2, solid_capstyle="butt", clip_on=False)
    ax.annotate(f"{length:g}" + (" s.d." if unit == "z-scored" else ""), (place, length / 2), xytext=(4, 0),
                textcoords="offset points", va="center", fontsize=7, annotation_clip=False)  # fmt: skip


@in_house_style
def draw_raster(view: RasterView, *, name: str = "predicted") -> Figure:
    """Draw recorded over predicted activity of many neurons, on one scale, the darker the more active."""
    panels = [(name, view.predicted)]
    if view.recorded is not None:
        panels.insert(0, ("recorded", view.recorded))
    below = 0.62 + _LINE * len(caption_lines(view.note, _WIDTH))
    height = 3.0 * len(panels) + 0.12 + below
    figure = new_figure(_WIDTH, height)
    figure.set_layout_engine("none")  # the room that this picture needs is known, and finding it out takes time
    names = short_all((group for group, _, _ in view.groups), _NAME) if len(view.groups) <= _MOST_NAMES else []
    widest = max(map(len, names), default=5)
    grid = figure.add_gridspec(
        len(panels),
        1,
        left=0.035 + 0.0062 * widest,
        right=0.885,
        bottom=below / height,
        top=1 - 0.3 / height,
        hspace=0.14,
    )
    axes = grid.subplots(sharex=True, squeeze=False)[:, 0]
    values = np.concatenate([panel.ravel()[:: max(1, panel.size // _ENOUGH)] for _, panel in panels])
    values = values[np.isfinite(values)]
    low, high = np.quantile(values, [0.02, 0.995]) if len(values) else (0.0, 1.0)
    image: Any = None
    for ax, (title, panel) in zip(axes, panels, strict=True):
        image = ax.imshow(
            panel,
            cmap="gray_r",
            vmin=low,
            vmax=max(high, low + 1e-9),
            aspect="auto",
            interpolation="nearest",
            extent=(*_wide(view.times), view.n_neurons - 0.5, -0.5),
        )
        ax.set_title(short(title, 60), fontsize=10, loc="left")
        ax.set_ylabel("neuron")
        for _, _, last in view.groups[:-1]:
            ax.axhline(last - 0.5, color=ORANGE, lw=0.6)
        if names:
            centres = [(first + last - 1) / 2 for _, first, last in view.groups]
            ax.set_yticks(centres, names, fontsize=8)
            ax.set_ylabel("")
    axes[-1].set_xlabel("time (s)")
    if image is not None:
        label = f"activity ({short(view.unit)})" if name == "predicted" else short(view.unit)
        bar = figure.add_axes((0.905, 0.22, 0.014, 0.6))
        figure.colorbar(image, cax=bar, label=label, extend="both")
    caption(figure, view.note)
    return figure


def _wide(times: tuple[float, float]) -> tuple[float, float]:
    return times if times[1] > times[0] else (times[0] - 0.5, times[0] + 0.5)


@in_house_style
def draw_components(view: ComponentsView) -> Figure:
    """Draw the course of each component, true and predicted, and all samples of one against the other (figure 2)."""
    found = view.components
    count = found.truth.shape[1]
    note = "components of the recorded activity (share of its variance); the forecast along the same directions"
    note = "; ".join(said for said in (note, view.note) if said)
    below = 0.56 + _LINE * len(caption_lines(note, 11.5))
    height = 1.75 * count + 0.08 + below
    figure = new_figure(11.5, height)
    figure.set_layout_engine("none")  # the room that this picture needs is known, and finding it out takes time
    margins = {"left": 0.065, "right": 0.985, "bottom": below / height, "top": 1 - 0.38 / height}
    grid = figure.add_gridspec(count, 2, width_ratios=[3.4, 1], wspace=0.16, hspace=0.42, **margins)
    axes = grid.subplots(squeeze=False)
    stretch = longest_stretch(view.times)
    places = np.unique(np.linspace(0, len(found.truth) - 1, min(_MOST_DOTS, len(found.truth))).astype(int))
    for k, (course, cloud) in enumerate(axes):
        course.plot(view.times[stretch], found.truth[stretch, k], color=GREY, lw=1.0, label="recorded")
        course.plot(view.times[stretch], found.prediction[stretch, k], color=BLUE, lw=1.2, label="predicted")
        course.set_ylabel(f"PC {k + 1} ({100 * found.explained[k]:.0f} %)")
        course.margins(x=0.01)
        cloud.scatter(
            found.truth[places, k], found.prediction[places, k], s=4, color=BLUE, alpha=0.35, lw=0, rasterized=True
        )
        low, high = found.truth[:, k].min(), found.truth[:, k].max()
        cloud.plot([low, high], [low, high], color=GREY, lw=1, ls="--")
        cloud.set_title(f"r = {found.correlation[k]:.2f}", fontsize=9)
        cloud.set_ylabel("predicted")
        bare(course, cloud)
        course.locator_params(axis="y", nbins=4)
        cloud.locator_params(nbins=4)
        if k < count - 1:
            course.tick_params(labelbottom=False)
    axes[0, 0].legend(loc="lower right", bbox_to_anchor=(1, 1), fontsize=8, frameon=False, ncols=2)
    axes[-1, 0].set_xlabel("time (s)")
    axes[-1, 1].set_xlabel(f"recorded (all {len(found.truth)} samples)")
    caption(figure, note)
    return figure


@in_house_style
def draw_currents(view: CurrentsView) -> Figure:
    """Draw the correlation of input current and activity over delays: mean and deviation over neurons (figure 4b)."""
    figure = new_figure(7.4, 4.6)
    ax = figure.subplots()
    delays = next(iter(view.curves.values())).delays
    ax.axvspan(delays[0] - 0.5, 0.5, color=GREY, alpha=0.12, lw=0)
    for color, marker, (name, curve) in zip((BLUE, ORANGE, GREEN), "os^", view.curves.items(), strict=False):
        mean, deviation = curve.mean, curve.deviation
        ax.fill_between(delays, mean - deviation, mean + deviation, color=color, alpha=0.15, lw=0)
        ax.plot(delays, mean, marker=marker, color=color, ms=4, lw=1.4, label=short(name, 44))
    ax.axhline(0, color=GREY, lw=0.8)
    ax.axvline(0, color=GREY, lw=0.8, ls=":")
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + 0.14 * (high - low))
    ax.text(delays[0] - 0.3, high + 0.12 * (high - low), "not known yet when forecasting", va="top", fontsize=8,
            color="0.35")  # fmt: skip
    label = "delay from current to activity (samples"
    label += f" of {view.period:.3g} s)" if np.isfinite(view.period) else ")"
    ax.set(xlabel=label, ylabel=f"r of current and {short(view.activity)}", xlim=(delays[0] - 0.5, delays[-1] + 0.5))
    ax.set_xticks(delays[:: max(1, len(delays) // 10)])
    figure.legend(
        frameon=False, fontsize=8, loc="outside upper center", ncols=3 if sum(map(len, view.curves)) < 80 else 1
    )
    bare(ax)
    caption(figure, "; ".join(said for said in ("mean and deviation over neurons", view.note) if said))
    return figure
