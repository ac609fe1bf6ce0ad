"""The picture of the benchmark of streaming: a bar a reader, against the bound."""

from __future__ import annotations

from typing import Any

from ..show.plots import BLUE, GREY, ORANGE, new_figure

# what is timed, where the name alone does not say it
_LABELS = {
    "ours": "ours: open, read, count",
    "ours, bulk read alone": "ours: bulk read of the open file",
}


def draw(results: dict[str, Any]) -> Any:
    """Draw the results of `streaming.run`: a panel for each recording and line.

    Bars of readings that were given up, or are much longer than the others, are cut and end in their number.
    """
    recordings, lines = list(results["recordings"]), list(results["lines"])
    figure = new_figure(4.3 * len(recordings), 3.1 * len(lines) + 0.4)
    axes = figure.subplots(len(lines), len(recordings), squeeze=False)
    for i, line in enumerate(lines):
        for j, recording in enumerate(recordings):
            rows = [r for r in results["readings"] if (r["recording"], r["line"]) == (recording, line)]
            inflate = results["recordings"][recording]["inflate_seconds"] if i else 0.0
            _panel(axes[i, j], rows, inflate, names=j == 0)
            axes[i, j].set_title(f"{recording}\n{line}", fontsize=9)
    handles = {label: handle for ax in axes.flat for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=9)
    for ax in axes[-1]:
        ax.set_xlabel("seconds")
    return figure


def _panel(ax: Any, rows: list[dict[str, Any]], inflate: float, *, names: bool) -> None:
    least = rows[0]["bound"] if rows else 1.0
    times = [row["seconds"] for row in rows if "seconds" in row]
    right = 1.25 * min(max(times, default=least), 12 * least)
    for place, row in enumerate(rows):
        seconds = row.get("seconds")
        if seconds is None:
            ax.text(0, place, f" {row['skipped']}", va="center", fontsize=7, color=GREY, zorder=3,
                    bbox={"color": "white", "pad": 0.5, "lw": 0})  # fmt: skip
            continue
        read = row["phases"].get("read") if row["reader"].endswith("alone") else None
        ours = row["reader"].startswith("ours")
        shown = seconds if read is None else read
        color = GREY if row["reader"].startswith("plain") else BLUE if ours else ORANGE
        ax.barh(place, min(shown, right), color=color, height=0.7)
        text = f"{shown:.3g}" + ("" if row["right"] else " (WRONG)")
        inside = shown > 0.85 * right
        ax.text(min(shown, right), place, f"{text} " if inside else f" {text}", va="center", fontsize=7,
                ha="right" if inside else "left", color="white" if inside else "black", zorder=3,
                bbox=None if inside else {"color": "white", "pad": 0.5, "lw": 0})  # fmt: skip
    ax.axvline(least, color="black", lw=1, label="bytes needed / bandwidth + 4 round trips")
    if inflate > least:
        ax.axvline(inflate, color="black", lw=1, ls=":", label="inflating")
    ax.axvline(1.25 * max(least, inflate), color=GREY, lw=1, ls="--", label="1.25 times that")
    ax.set(xlim=(0, right), ylim=(-0.7, len(rows) - 0.3), yticks=range(len(rows)))
    ax.set_yticklabels([_LABELS.get(row["reader"], row["reader"]) for row in rows] if names else [], fontsize=8)
    ax.invert_yaxis()
    ax.spines[["top", "right"]].set_visible(False)
