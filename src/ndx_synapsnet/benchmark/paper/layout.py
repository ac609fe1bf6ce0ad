"""Tables as text: Markdown for a file, rich for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.table import Table
from rich.text import Text

#: What modalities are called in tables.
MODALITIES = {"ecephys": "Spikes", "ophys": "Calcium imaging"}
#: Put after a value that differs significantly.
SIGNIFICANT = "†"
_NOTHING = "-"


@dataclass(frozen=True)
class Layout:
    """A table: a title, a line of headings, rows of texts of which some are bold, and sentences below."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    bold: frozenset[tuple[int, int]] = frozenset()
    """Row and column of what is bold."""
    notes: Sequence[str] = field(default_factory=tuple)

    def markdown(self) -> str:
        """Return the table for a file."""
        lines = [f"### {self.title}", "", _line(self.columns)]
        lines.append(_line([":--", *["--:"] * (len(self.columns) - 1)]))
        for i, row in enumerate(self.rows):
            lines.append(_line([f"**{text}**" if (i, j) in self.bold else text for j, text in enumerate(row)]))
        lines += [""] + [f"- {note}" for note in self.notes] + ([""] if self.notes else [])
        return "\n".join(lines)

    def rich(self) -> Table:
        """Return the table for the terminal; the notes are its caption."""
        table = Table(title=self.title, title_justify="left", caption="\n".join(self.notes) or None,
                      caption_justify="left")  # fmt: skip
        for j, column in enumerate(self.columns):
            table.add_column(Text(column), justify="right" if j else "left", overflow="fold")
        for i, row in enumerate(self.rows):
            table.add_row(*(Text(text, "bold" if (i, j) in self.bold else "") for j, text in enumerate(row)))
        return table


def forecast_tables(results: Mapping[str, Any]) -> list[Layout]:
    """Return a layout for each modality of a study's results, as `results.tabulate` makes them."""
    return [_forecast_table(table, results) for table in results["tables"]]


def _forecast_table(table: Mapping[str, Any], results: Mapping[str, Any]) -> Layout:
    tasks = table["tasks"]
    lone = len(tasks) == 1
    # how far the error is below that of the last sample again, where that is among the models
    gains = any(e.get("improvement") is not None for row in table["rows"] for e in row["tasks"].values())
    measures = ("r (%)", "MSE", "below persistence (%), median")[: 3 if gains else 2]
    columns = ["model"]
    for task in tasks:
        columns += [name if lone else f"{task}: {name}" for name in measures]
    columns += ["seconds a fit", "parameters", "neurons without r"]
    rows, bold, reasons = [], set(), []
    for i, row in enumerate(table["rows"]):
        texts, constant = [row["title"]], 0
        for task in tasks:
            entry = row["tasks"].get(task)
            if entry is None:
                texts += [_NOTHING] * len(measures)
                continue
            mark = ""
            for reason in entry["failed"].values():
                if reason not in reasons:
                    reasons.append(reason)
                mark += f" [{reasons.index(reason) + 1}]"
            if "mse" not in entry:
                texts += [f"failed{mark}", *[_NOTHING] * (len(measures) - 1)]
                continue
            for measure, factor, digits in (("correlation", 100, 2), ("mse", 1, 3)):
                value = entry[measure]
                if value["best"]:
                    bold.add((i, len(texts)))
                sign = SIGNIFICANT if value["significant"] else ""
                texts.append(spread(value["mean"], value["sem"], factor, digits) + sign + mark)
                mark = ""
            gain = entry["improvement"]
            texts += [_NOTHING if gain is None else f"{100 * gain:.1f}"] if gains else []
            constant += entry["constant"]
        seconds, parameters = row["seconds"], row["parameters"]
        texts.append(_NOTHING if seconds is None else f"{seconds:.1f}" if seconds >= 0.05 else "< 0.1")
        texts += [_NOTHING if parameters is None else f"{parameters:,.0f}", str(constant or "")]
        rows.append(texts)
    modality = MODALITIES.get(table["modality"], table["modality"])
    sessions = _sessions(results["sessions"], table)
    notes = [*results["notes"], *(f"[{n}] {reason}" for n, reason in enumerate(reasons, start=1))]
    return Layout(f"{results['title']}: {modality}, {sessions}", columns, rows, frozenset(bold), notes)


def _sessions(sessions: Sequence[Mapping[str, Any]], table: Mapping[str, Any]) -> str:
    """Return how many sessions each task has, and of how many neurons and samples."""
    parts = []
    for task in table["tasks"]:
        found = [s for s in sessions if (s["task"], s["modality"]) == (task, table["modality"]) and not s["failed"]]
        neurons, samples = ([s[name] for s in found] for name in ("neurons", "samples"))
        count = f"{len(found)} session{'s' if len(found) != 1 else ''}"
        parts.append(f"{task}, {count} of {_range(neurons)} neurons x {_range(samples)} samples" if found else task)
    return "; ".join(parts)


def _range(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def component_tables(found: Sequence[Mapping[str, Any]]) -> list[Layout]:
    """Return the correlations of principal components, a layout a group, as `results.components` makes them."""
    return [
        Layout(
            f"Correlation of true and forecast principal components (%): {_where(group)}",
            ["model", "PC 1", "PC 2", "PC 3"],
            [
                [model["title"], *(spread(m, s, 100, 2) for m, s in zip(model["mean"], model["sem"], strict=True))]
                for model in group["models"].values()
            ],
            notes=[f"p of the paired t-tests, Holm-corrected: {', '.join(f'{p:.2g}' for p in group['p'])}."]
            if group["p"]
            else [],
        )
        for group in found
    ]


def current_tables(found: Sequence[Mapping[str, Any]]) -> list[Layout]:
    """Return where the cross-correlation of current and activity peaks, as `results.currents` makes it."""
    layouts = []
    for group in found:
        delays, rows = group["delays"], []
        for name, curve in group["curves"].items():
            means = curve["mean"]
            peak = max(range(len(means)), key=means.__getitem__)
            rows.append([CURVES[name].format(model=group["model"]), f"{delays[peak]:+d}", f"{means[peak]:.3f}",
                         *(f"{means[delays.index(d)]:.3f}" for d in (0, 1, 2))])  # fmt: skip
        columns = ["current by", "delay of the peak (samples)", "r there", "r at 0", "r at +1", "r at +2"]
        layouts.append(Layout(f"Input current against activity: {_where(group)}", columns, rows))
    return layouts


#: The matrices of figure 4.
CURVES = {"connectivity": "{model}", "correlation": "pairwise correlation", "shuffled": "{model}, shuffled"}

#: The figures of recovery, and what tables call them.
RECOVERY = {
    "r": "r",
    "r2": "r²",
    "auroc": "AUROC",
    "average_precision": "average precision",
    "precision": "precision at the true count",
    "sign_accuracy": "sign accuracy",
}


def recovery_table(found: Mapping[str, Any]) -> list[Layout]:
    """Return the figures of recovery, as `results.recoveries` makes them."""
    models = list(found["models"].values())
    if not models:
        return []
    chance, runs = models[0]["chance"]["mean"], len(models[0]["r"]["by_run"])
    rows = [
        [model["title"], *(spread(model[name]["mean"], model[name]["sem"], 1, 3) for name in RECOVERY)]
        for model in models
    ]
    bold = set()
    for j, name in enumerate(RECOVERY, start=1):
        means = [-1.0 if model[name]["mean"] is None else model[name]["mean"] for model in models]
        bold.add((means.index(max(means)), j))
    columns = ["estimate", *RECOVERY.values()]
    title = f"Recovery of the true connectivity, off the diagonal, {runs} run{'s' if runs != 1 else ''}"
    notes = [f"Average precision and precision by chance: {chance:.3f}. AUROC and sign accuracy by chance: 0.5."]
    return [Layout(title, columns, rows, frozenset(bold), notes)]


def spread(mean: float | None, sem: float | None, factor: float, digits: int) -> str:
    """Return a mean with its standard error, where there is one."""
    if mean is None:
        return _NOTHING
    text = f"{factor * mean:.{digits}f}"
    return text if sem is None else f"{text} ± {factor * sem:.{digits}f}"


def _where(group: Mapping[str, Any]) -> str:
    return f"{MODALITIES.get(group['modality'], group['modality'])}, {group['task']}"


def _line(texts: Sequence[str]) -> str:
    return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"
