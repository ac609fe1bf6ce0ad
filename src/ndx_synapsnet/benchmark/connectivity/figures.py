"""The pictures of a part, drawn from its results alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...show.plots import BLUE, GREEN, GREY, ORANGE, new_figure
from .layout import COLUMNS, KINDS, axis_label
from .results import REFERENCE

_CHANCE = {"r": 0.0, "auroc": 0.5}
_COLORS = {"synapsnet": BLUE, "eb_drive": GREEN, "lasso_var": ORANGE, "ridge_var": GREY}
_AXES = {"length": "samples", "fraction": "share of the network that is recorded"}


def draw(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the pictures of a part by the name of their files; none where nothing could be estimated."""
    groups = [group for group in found["groups"] if any(row["r"]["mean"] is not None for row in group["rows"])]
    if not groups:
        return {}
    part = found["part"]
    return {part: _curves(found, groups) if part in _AXES else _dots(found, groups)}


def _dots(found: Mapping[str, Any], groups: list[Mapping[str, Any]]) -> Any:
    """Draw each measure by method: a dot a network, the mean with its error; a row of panels a kind."""
    measures = ("r", "average_precision", "auroc", "correlation")
    heights = [0.32 * len(group["rows"]) + 0.9 for group in groups]
    figure = new_figure(3.0 * len(measures) + 2.0, sum(heights) + 0.4)
    axes = figure.subplots(len(groups), len(measures), squeeze=False, height_ratios=heights)
    for group, line in zip(groups, axes, strict=True):
        rows = group["rows"]
        chance = next(row["chance"]["mean"] for row in rows if row["chance"]["mean"] is not None)
        for ax, measure in zip(line, measures, strict=True):
            for place, row in enumerate(rows):
                _dot(ax, place, row, measure)
            guess = {**_CHANCE, "average_precision": chance}.get(measure)
            if guess is not None:
                ax.axvline(guess, color=GREEN, lw=1, ls=":")
            first = ax is line[0]
            ax.set_yticks(range(len(rows)), [row["title"] for row in rows] if first else [])
            ax.set_ylim(len(rows) - 0.4, -0.6)
            ax.grid(axis="y", color=GREY, alpha=0.15)
            ax.set_xlabel(COLUMNS[measure][0])
            ax.spines[["top", "right"]].set_visible(False)
        line[0].set_title(KINDS.get(group["kind"], group["kind"]), fontsize=10, loc="left")
    figure.supxlabel("small dots: networks; large dots: means, with standard errors; dotted: chance", fontsize=8)
    return figure


def _dot(ax: Any, place: int, row: Mapping[str, Any], measure: str) -> None:
    color = BLUE if row["method"] == REFERENCE else GREY
    entry = row[measure]
    values = [value for value in entry["by_unit"] if value is not None]
    ax.plot(values, np.full(len(values), place + 0.28), "o", color=color, ms=3.5, alpha=0.5, mew=0)
    if entry["mean"] is not None:
        ax.errorbar(entry["mean"], place, xerr=entry["sem"], fmt="o", color=color, ms=6, capsize=2)


def _curves(found: Mapping[str, Any], groups: list[Mapping[str, Any]]) -> Any:
    """Draw r and average precision over lengths or fractions, a row of panels a kind."""
    kinds = list(dict.fromkeys(group["kind"] for group in groups))
    figure = new_figure(9.5, 3.4 * len(kinds))
    axes = figure.subplots(len(kinds), 2, squeeze=False)
    for kind, line in zip(kinds, axes, strict=True):
        own = [group for group in groups if group["kind"] == kind]
        places = [group["value"] for group in own]
        for ax, measure in zip(line, ("r", "average_precision"), strict=True):
            for method in dict.fromkeys(row["method"] for group in own for row in group["rows"]):
                points = [(group["value"], row) for group in own for row in group["rows"] if row["method"] == method]
                color = _COLORS.get(method, GREY)
                for place, row in points:
                    values = [value for value in row[measure]["by_unit"] if value is not None]
                    ax.plot(np.full(len(values), place), values, "o", color=color, ms=3, alpha=0.4, mew=0)
                known = [(place, row[measure]) for place, row in points if row[measure]["mean"] is not None]
                ax.errorbar([place for place, _ in known], [entry["mean"] for _, entry in known],
                            yerr=[entry["sem"] or 0 for _, entry in known], fmt="o-", color=color, ms=4, capsize=3,
                            label=points[0][1]["title"])  # fmt: skip
            if measure == "average_precision":
                chances = [row["chance"]["mean"] for group in own for row in group["rows"]]
                ax.axhline(np.mean([c for c in chances if c is not None]), color=GREEN, lw=1, ls=":")
            ax.set_xscale("log", base=2)
            ax.set_xticks(places, [axis_label(place) for place in places])
            ax.minorticks_off()
            ax.set(xlabel=_AXES[found["part"]], ylabel=COLUMNS[measure][0])
            ax.spines[["top", "right"]].set_visible(False)
        line[0].set_title(KINDS.get(kind, kind), fontsize=10, loc="left")
        line[0].legend(frameon=False, fontsize=8)
    figure.supxlabel("small dots: networks; bars: standard errors of their mean; dotted: chance", fontsize=8)
    return figure
