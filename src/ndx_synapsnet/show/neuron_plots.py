"""Pictures in which each neuron is a dot: the map of embeddings, and scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .canvas import (
    BLUE,
    GRADED,
    GREY,
    GROUP_COLORS,
    ORANGE,
    OTHER,
    bare,
    caption,
    in_house_style,
    natural,
    new_figure,
    short,
    short_all,
)
from .neuron_view import EmbeddingView, ScoreView

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@in_house_style
def draw_embedding(view: EmbeddingView) -> Figure:
    """Draw the map of embeddings: numbers as a graded colour, texts as one colour each, the unknown in grey."""
    figure = new_figure(7.4, 5.4)
    ax: Any = figure.subplots()
    size = max(5.0, min(36.0, 9000 / max(len(view.places), 1)))
    if view.values is None:
        ax.scatter(*view.places.T, s=size, color=BLUE, alpha=0.75, linewidths=0)
    elif view.values.dtype.kind == "U":
        _categories(ax, view, size)
    else:
        values = view.values.astype(np.float64)
        known = np.isfinite(values)
        ax.scatter(*view.places[~known].T, s=size, color=OTHER, linewidths=0)
        low, high = np.quantile(values[known], [0.01, 0.99]) if known.any() else (0.0, 1.0)
        image = ax.scatter(
            *view.places[known].T, c=values[known], s=size, cmap=GRADED, vmin=low, vmax=high, alpha=0.9, linewidths=0
        )
        figure.colorbar(
            image, ax=ax, label=short(view.column, 40), shrink=0.85, extend="both" if known.sum() > 1 else "neither"
        )
    ax.set(xlabel=view.axes[0], ylabel=view.axes[1])
    ax.set_title(view.title, fontsize=10, loc="left")
    bare(ax)
    caption(figure, view.note)
    return figure


def _categories(ax: Any, view: EmbeddingView, size: float) -> None:
    assert view.values is not None
    names, counts = np.unique(view.values[view.values != ""], return_counts=True)
    shown = sorted(names[np.argsort(-counts, kind="stable")][: len(GROUP_COLORS)].tolist(), key=natural)
    rest = ~np.isin(view.values, shown)
    if rest.any():
        ax.scatter(*view.places[rest].T, s=size, color=OTHER, linewidths=0, label=f"other or unknown ({rest.sum()})")
    for color, name, said in zip(GROUP_COLORS, shown, short_all(shown), strict=False):
        mine = view.values == name
        ax.scatter(*view.places[mine].T, s=size, color=color, alpha=0.8, linewidths=0, label=f"{said} ({mine.sum()})")
    ax.legend(
        title=short(view.column), frameon=False, fontsize=8, title_fontsize=9, loc="upper left", bbox_to_anchor=(1, 1)
    )


@in_house_style
def draw_score_view(view: ScoreView) -> Figure:
    """Draw each neuron's test correlation: against a reference's, and as a distribution for every predictor."""
    figure = new_figure(11, 4.6)
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.3])
    reference, model = view.pairs
    n = len(model)
    size = max(4.0, min(12.0, 6000 / max(n, 1)))
    left.scatter(reference, model, s=size, color=BLUE, alpha=0.7, linewidths=0, rasterized=True)
    values = view.pairs[np.isfinite(view.pairs)]
    low, high = (min(0.0, values.min()), values.max()) if len(values) else (0.0, 1.0)
    left.plot([low, high], [low, high], color=GREY, lw=1, ls="--")
    both = np.isfinite(view.pairs).all(axis=0)
    above = int(np.count_nonzero(model[both] > reference[both]))
    title = f"each dot a neuron; above the line: {above} of {both.sum()}" if both.any() else "each dot a neuron"
    left.set_title(title, fontsize=10)
    left.set(xlabel=f"{short(view.reference or 'reference', 40)} test r", ylabel=f"{short(view.model, 40)} test r")
    left.set_box_aspect(1)

    if view.names:
        right.boxplot(
            view.correlations,
            orientation="horizontal",
            widths=0.6,
            showfliers=False,
            medianprops={"color": ORANGE, "lw": 1.5},
        )
    jitter = np.random.default_rng(0)
    for place, r in enumerate(view.correlations, start=1):
        right.scatter(r, place + jitter.uniform(-0.2, 0.2, len(r)), s=min(6.0, size), color=BLUE,
                      alpha=0.4 if n < 500 else 0.15, linewidths=0, rasterized=True)  # fmt: skip
    right.set_yticks(range(1, len(view.names) + 1), short_all(view.names))
    right.invert_yaxis()
    right.axvline(0, color=GREY, lw=0.8)
    right.set_title("all predictors, same test samples", fontsize=10)
    right.set(xlabel="test correlation")
    bare(left, right)
    return figure
