"""The pictures of a study, drawn from its results alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...show.compute import MatrixView
from ...show.plots import BLUE, GREEN, GREY, ORANGE, draw_matrices, new_figure
from .layout import CURVES, MODALITIES, RECOVERY

_MEASURES = {"correlation": "r over the test part", "mse": "mean squared error"}
_MOST_SAMPLES = 200  # of a course that is drawn
_STARS = ((1e-4, "****"), (1e-3, "***"), (1e-2, "**"), (0.05, "*"))


def draw(results: Mapping[str, Any]) -> dict[str, Any]:
    """Return the pictures of a study by the name of their files.

    Parameters
    ----------
    results : mapping
        What `run.run` returns. Where no model could be fitted to any session there is nothing to draw.
    """
    study = results["study"]
    if study == "figure2":
        return {study: _components(results)} if any(group["models"] for group in results["components"]) else {}
    if study == "figure4":
        return {study: _currents(results["currents"])} if results["currents"] else {}
    if study == "figure5":
        recovery = results["recovery"]
        matrices = {f"{study}_matrices": _matrices(recovery["matrices"])} if recovery["matrices"] else {}
        return {**matrices, study: _recovery(recovery["models"])} if recovery["models"] else {}
    if not _panels(results):
        return {}
    return {study: _sweep(results) if study in ("figure6", "figure7") else _dots(results)}


def _dots(results: Mapping[str, Any]) -> Any:
    """Draw each model's scores: a bar for the error of the mean, a dot for each session."""
    panels = _panels(results)
    most = max(len(table["rows"]) for table, _ in panels)
    figure = new_figure(11, max(2.4, 0.3 * most + 1.1) * len(panels))
    axes = figure.subplots(len(panels), 2, squeeze=False)
    for (table, task), pair in zip(panels, axes, strict=True):
        rows = [row for row in table["rows"] if "mse" in row["tasks"].get(task, {})]
        for ax, (measure, label) in zip(pair, _MEASURES.items(), strict=True):
            worst = _end([row["tasks"][task][measure] for row in rows]) if measure == "mse" else None
            for place, row in enumerate(rows):
                entry = row["tasks"][task][measure]
                ours = row["title"].startswith("SynapsNet") or results["study"] in ("table2", "table3")
                _dot(ax, place, entry, BLUE if ours else GREY, worst)
            if measure == "mse":
                ax.axvline(1, color=GREEN, lw=1, ls=":")
                ax.set_xlim(right=worst)
            ax.set_yticks(range(len(rows)), [row["title"] for row in rows] if measure == "correlation" else [])
            ax.set_ylim(len(rows) - 0.4, -0.6)
            ax.grid(axis="y", color=GREY, alpha=0.15)
            ax.set(xlabel=label)
            ax.spines[["top", "right"]].set_visible(False)
        pair[0].set_title(_where(table["modality"], task), fontsize=10, loc="left")
    bold = "the largest drop" if results["study"] == "table2" else "the best"
    figure.supxlabel(
        f"small dots: sessions; bars: standard error of their mean; large dot: {bold}; dotted: the training part's "
        "variance",
        fontsize=8,
    )
    return figure


def _panels(results: Mapping[str, Any]) -> list[tuple[Mapping[str, Any], str]]:
    """Return the tables and tasks of which there is anything to draw."""
    return [(table, task) for table in results["tables"] for task in table["tasks"]
            if any("mse" in row["tasks"].get(task, {}) for row in table["rows"])]  # fmt: skip


def _dot(ax: Any, place: int, entry: Mapping[str, Any], color: str, worst: float | None) -> None:
    if entry["mean"] is None:
        ax.text(0.02, place, "constant forecast", va="center", fontsize=8, color=GREY,
                transform=ax.get_yaxis_transform())  # fmt: skip
        return
    if worst is not None and entry["mean"] > worst:
        ax.text(worst, place, f"{entry['mean']:.3g} →", va="center", ha="right", fontsize=8, color=color)
        return
    values = [value for value in entry["by_session"] if value is not None]
    ax.plot(values, np.full(len(values), place), "o", color=color, ms=3, alpha=0.35, mew=0)
    ax.errorbar(entry["mean"], place, xerr=entry["sem"], fmt="o", color=color, ms=5 + 2 * entry["best"], capsize=2)


def _end(entries: Sequence[Mapping[str, Any]]) -> float | None:
    """Return where an axis of errors ends, if some are so large that the others could not be told apart."""
    means = np.array([entry["mean"] for entry in entries])
    usual = means <= np.median(means) + 4 * max(np.median(means) - means.min(), 0.02)
    kept = [entry for entry, fits in zip(entries, usual, strict=True) if fits]
    values = [value for entry in kept for value in entry["by_session"] if value is not None]
    values += [entry["mean"] + (entry["sem"] or 0) for entry in kept]
    end = max(values) + 0.05 * (max(values) - min(values))
    return float(end) if means.max() > end else None


def _components(results: Mapping[str, Any]) -> Any:
    """Draw the course of three components, truth against forecast, and both models against each other (figure 2)."""
    groups = [group for group in results["components"] if group["models"]]
    figure = new_figure(15, 6.2 * len(groups))
    for part, group in zip(figure.subfigures(len(groups), 1, squeeze=False)[:, 0], groups, strict=True):
        part.suptitle(_where(group["modality"], group["task"]), fontsize=11)
        left, middle, right = part.subfigures(1, 3, width_ratios=[1.6, 0.8, 1])
        _courses(left, group)
        _clouds(middle, group)
        _against(right, group, results)
    return figure


def _courses(part: Any, group: Mapping[str, Any]) -> None:
    axes = part.subplots(3, 1, sharex=True)
    for color, model in zip((BLUE, ORANGE), group["models"].values(), strict=False):
        example = model["example"]
        if example is None:
            continue
        times = example["period"] * np.arange(min(len(example["truth"][0]), _MOST_SAMPLES))
        for k, ax in enumerate(axes):
            if color == BLUE:
                ax.plot(times, example["truth"][k][: len(times)], color=GREY, lw=1, label="recorded")
            ax.plot(times, example["forecast"][k][: len(times)], color=color, lw=1.2, label=model["title"])
            ax.set_ylabel(f"PC {k + 1} ({100 * example['explained'][k]:.0f}%)")
            ax.spines[["top", "right"]].set_visible(False)
    part.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=3, frameon=False, fontsize=8)
    axes[-1].set_xlabel("seconds of the test part, an example session (in brackets: variance explained)")


def _clouds(part: Any, group: Mapping[str, Any]) -> None:
    """Draw every test sample's true component against the first model's forecast of it."""
    model = next(iter(group["models"].values()))
    axes = part.subplots(3, 1)
    if model["example"] is None:
        return
    for k, ax in enumerate(axes):
        ax.plot(model["example"]["truth"][k], model["example"]["forecast"][k], ".", color=BLUE, ms=2, alpha=0.4)
        r = model["by_session"][model["example"]["session"]][k]
        ax.set_title(f"PC {k + 1}: r = {r:.2f}" if r is not None else f"PC {k + 1}", fontsize=9)
        ax.set_ylabel("forecast")
        ax.spines[["top", "right"]].set_visible(False)
    axes[-1].set_xlabel(f"recorded (all test samples, {model['title']})")


def _against(part: Any, group: Mapping[str, Any], results: Mapping[str, Any]) -> None:
    """Draw the models' component correlations, and their forecasts' correlations joined by session."""
    upper, lower = part.subplots(2, 1)
    for shift, color, model in zip((-0.1, 0.1), (BLUE, ORANGE), group["models"].values(), strict=False):
        places = np.arange(3) + shift
        mean = [np.nan if value is None else value for value in model["mean"]]
        upper.errorbar(places, mean, yerr=[value or 0 for value in model["sem"]], fmt="o", color=color, capsize=3,
                       label=model["title"])  # fmt: skip
        for row in model["by_session"]:
            upper.plot(places, [np.nan if value is None else value for value in row], "o", color=color, ms=3, alpha=0.3)
    marks = [f"\n{stars(p)}" for p in group["p"]] or [""] * 3
    upper.set_xticks(range(3), [f"PC {k + 1}{mark}" for k, mark in enumerate(marks)])
    upper.set(ylabel="r of true and forecast PC", xlim=(-0.5, 2.5))
    upper.legend(frameon=False, fontsize=8)
    titles = {model["title"]: color for color, model in zip((BLUE, ORANGE), group["models"].values(), strict=False)}
    columns = [(row["title"], row["tasks"][group["task"]]["correlation"]["by_session"]) for table in results["tables"]
               if table["modality"] == group["modality"] for row in table["rows"]
               if "mse" in row["tasks"][group["task"]]]  # fmt: skip
    values = np.array([[np.nan if value is None else value for value in column] for _, column in columns])
    lower.plot(range(len(columns)), values, color=GREY, lw=0.8, alpha=0.6)
    for place, (title, _) in enumerate(columns):
        lower.plot(np.full(values.shape[1], place), values[place], "o", color=titles[title], ms=4)
    lower.set_xticks(range(len(columns)), [title for title, _ in columns])
    lower.set(ylabel="r of the forecast, by session", xlim=(-0.5, len(columns) - 0.5))
    tests = [test for test in results["tests"] if test["measure"] == "correlation"
             and (test["modality"], test["task"]) == (group["modality"], group["task"])]  # fmt: skip
    for test in tests[:1]:
        if test["p_corrected"] is not None:
            lower.set_title(f"{stars(test['p_corrected'])} (p = {test['p_corrected']:.2g}, paired t-test, "
                            f"n = {test['units']})", fontsize=9)  # fmt: skip
    for ax in (upper, lower):
        ax.spines[["top", "right"]].set_visible(False)


def stars(p: float) -> str:
    """Return a p-value as the paper marks it: **** up to 0.0001; n.s. above 0.05."""
    return next((text for bound, text in _STARS if p <= bound), "n.s.")


def _currents(groups: Sequence[Mapping[str, Any]]) -> Any:
    """Draw the cross-correlation of input current and activity over delays (figure 4b)."""
    figure = new_figure(6.4 * len(groups), 4.4)
    for ax, group in zip(figure.subplots(1, len(groups), squeeze=False)[0], groups, strict=True):
        delays = np.array(group["delays"])
        ax.axvspan(delays[0] - 0.5, 0.5, color=GREY, alpha=0.12, lw=0)
        for color, (name, curve) in zip((BLUE, ORANGE, GREEN), group["curves"].items(), strict=True):
            mean, deviation = np.array(curve["mean"]), np.array(curve["deviation"])
            ax.fill_between(delays, mean - deviation, mean + deviation, color=color, alpha=0.15, lw=0)
            ax.plot(delays, mean, "o-", color=color, ms=3, label=CURVES[name].format(model=group["model"]))
        ax.axhline(0, color=GREY, lw=0.8)
        ax.axvline(0, color=GREY, lw=0.8, ls=":")
        low, high = ax.get_ylim()
        ax.set_ylim(low, high + 0.12 * (high - low))
        ax.text(delays[0] - 0.3, high + 0.1 * (high - low), "current not known yet when forecasting", va="top",
                fontsize=8, color=GREY)  # fmt: skip
        ax.set(xlabel="delay from current to activity (samples)", ylabel="r (mean and deviation over neurons)",
               xlim=(delays[0] - 0.5, delays[-1] + 0.5))  # fmt: skip
        ax.set_xticks(delays[:: max(1, len(delays) // 10)])
        ax.set_title(f"{_where(group['modality'], group['task'])}, {group['sessions']} session(s)", fontsize=10)
        ax.legend(frameon=False, fontsize=8, loc="upper right")
        ax.spines[["top", "right"]].set_visible(False)
    return figure


def _matrices(matrices: Mapping[str, Any]) -> Any:
    titles = tuple(matrices)
    return draw_matrices(MatrixView(titles, tuple(np.array(matrix, np.float64) for matrix in matrices.values()), ()))


def _recovery(models: Mapping[str, Any]) -> Any:
    """Draw each figure of recovery by method, a dot a run (figure 5c)."""
    names = {key: label for key, label in RECOVERY.items() if key != "r2"}
    rows = list(models.values())
    chance = {"average_precision": rows[0]["chance"]["mean"], "precision": rows[0]["chance"]["mean"], "auroc": 0.5,
              "sign_accuracy": 0.5, "r": 0.0}  # fmt: skip
    figure = new_figure(3.1 * len(names) + 1, 0.34 * len(rows) + 1.3)
    for place, (ax, (name, label)) in enumerate(zip(figure.subplots(1, len(names)), names.items(), strict=True)):
        for row, model in enumerate(rows):
            color = BLUE if model["title"] == "SynapsNet" else GREY
            values = [value for value in model[name]["by_run"] if value is not None]
            ax.plot(values, np.full(len(values), row), "o", color=color, ms=3, alpha=0.35, mew=0)
            if model[name]["mean"] is not None:
                ax.errorbar(model[name]["mean"], row, xerr=model[name]["sem"], fmt="o", color=color, ms=5, capsize=2)
        ax.axvline(chance[name], color=GREEN, lw=1, ls=":")
        ax.set_yticks(range(len(rows)), [model["title"] for model in rows] if not place else [])
        ax.set_ylim(len(rows) - 0.4, -0.6)
        ax.grid(axis="y", color=GREY, alpha=0.15)
        ax.set_title(label, fontsize=10)
        ax.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("dots: runs; bars: standard errors; dotted: chance", fontsize=8)
    return figure


def _sweep(results: Mapping[str, Any]) -> Any:
    """Draw scores over W or D (figures 6 and 7)."""
    panels = _panels(results)
    figure = new_figure(10, 3.8 * len(panels))
    for (table, task), pair in zip(panels, figure.subplots(len(panels), 2, squeeze=False), strict=True):
        families: dict[str, list[tuple[int, Mapping[str, Any]]]] = {}
        for row in table["rows"]:
            if "mse" in row["tasks"].get(task, {}):
                families.setdefault(row["title"].partition(",")[0], []).append((row["value"], row["tasks"][task]))
        for ax, (measure, label) in zip(pair, _MEASURES.items(), strict=True):
            for color, (family, points) in zip((BLUE, ORANGE), families.items(), strict=False):
                places = [place for place, _ in points]
                found = [entry[measure] for _, entry in points]
                ax.errorbar(places, [np.nan if e["mean"] is None else e["mean"] for e in found],
                            yerr=[e["sem"] or 0 for e in found], fmt="o-", color=color, capsize=3,
                            label=family)  # fmt: skip
            places = sorted({place for points in families.values() for place, _ in points})
            ax.set_xscale("log", base=2)
            ax.set_xticks(places, [str(place) for place in places])
            ax.minorticks_off()
            ax.set(xlabel=results["title"], ylabel=label)
            ax.spines[["top", "right"]].set_visible(False)
        pair[0].set_title(_where(table["modality"], task), fontsize=10, loc="left")
        pair[0].legend(frameon=False, fontsize=8)
    figure.supxlabel("bars: standard error of the mean over sessions", fontsize=8)
    return figure


def _where(modality: str, task: str) -> str:
    return f"{MODALITIES.get(modality, modality)}, {task}"
