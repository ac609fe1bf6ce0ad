"""Tables of recovery, for a file and the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..paper.layout import SIGNIFICANT, Layout, spread

#: What tables call the measures, and with how many digits.
COLUMNS = {
    "r": ("r", 3),
    "average_precision": ("average precision", 3),
    "auroc": ("AUROC", 3),
    "precision": ("precision at the true count", 3),
    "sign_accuracy": ("sign accuracy", 3),
    "correlation": ("forecast r", 4),
    "mse": ("forecast MSE", 4),
    "components": ("hidden series", 1),
    "seconds": ("seconds", 1),
}
KINDS = {"paper": "the paper's network", "spiking": "spiking network", "calcium": "spiking network, calcium imaging",
         "glm": "coupled Poisson GLM"}  # fmt: skip
_ALPHA = 0.05


def tables(found: Mapping[str, Any]) -> list[Layout]:
    """Return a part's tables: by kind, one of all measures, or where there is an axis one of r and one of precision."""
    kinds = list(dict.fromkeys(group["kind"] for group in found["groups"]))
    layouts = []
    for kind in kinds:
        groups = [group for group in found["groups"] if group["kind"] == kind]
        if groups[0]["value"] is None:
            layouts += [_table(group, found) for group in groups]
        else:
            layouts += [_curve(groups, found, measure) for measure in ("r", "average_precision")]
    return layouts


def _table(group: Mapping[str, Any], found: Mapping[str, Any]) -> Layout:
    rows, bold = group["rows"], set()
    texts = []
    for row in rows:
        cells = [row["title"]]
        for measure, (_, digits) in COLUMNS.items():
            text = spread(row[measure]["mean"], row[measure]["sem"], 1, digits)
            test = row["tests"].get(measure, {})
            significant = test.get("p_corrected") is not None and test["p_corrected"] <= _ALPHA
            cells.append(text + (SIGNIFICANT if significant else ""))
        texts.append(cells)
    for j, measure in enumerate(list(COLUMNS)[:-2], start=1):
        sign = -1 if measure == "mse" else 1
        known = [(sign * row[measure]["mean"], i) for i, row in enumerate(rows) if row[measure]["mean"] is not None]
        if known:
            bold.add((max(known)[1], j))
    chances = [row["chance"]["mean"] for row in rows if row["chance"]["mean"] is not None]
    notes = [*found["notes"]]
    if chances:
        notes.append(f"Average precision and precision by chance: {chances[0]:.3f}; AUROC and sign accuracy: 0.5.")
    reasons = dict.fromkeys(f"{row['title']}: {reason}" for row in rows for reason in row["failed"].values())
    return Layout(f"{found['title']}: {_where(group)}", ["estimate", *(name for name, _ in COLUMNS.values())], texts,
                  frozenset(bold), [*notes, *reasons])  # fmt: skip


def _curve(groups: Sequence[Mapping[str, Any]], found: Mapping[str, Any], measure: str) -> Layout:
    titles = list(dict.fromkeys(row["title"] for group in groups for row in group["rows"]))
    texts, bold = [[title] for title in titles], set()
    for j, group in enumerate(groups, start=1):
        rows = {row["title"]: row for row in group["rows"]}
        best = (float("-inf"), 0)
        for i, title in enumerate(titles):
            entry = rows[title][measure] if title in rows else {"mean": None, "sem": None}
            test = rows[title]["tests"].get(measure, {}) if title in rows else {}
            significant = test.get("p_corrected") is not None and test["p_corrected"] <= _ALPHA
            texts[i].append(spread(entry["mean"], entry["sem"], 1, 3) + (SIGNIFICANT if significant else ""))
            if entry["mean"] is not None:
                best = max(best, (entry["mean"], i))
        bold.add((best[1], j))
    columns = [COLUMNS[measure][0], *(axis_label(group["value"]) for group in groups)]
    return Layout(f"{found['title']}, {COLUMNS[measure][0]}: {_where(groups[0])}", columns, texts, frozenset(bold),
                  found["notes"])  # fmt: skip


def axis_label(value: float) -> str:
    """Return a length or a fraction as people write it."""
    return f"{value:,.0f}" if value > 1 else f"{value:.3g}"


def _where(group: Mapping[str, Any]) -> str:
    n = len(group["units"])
    kind = KINDS.get(group["kind"])
    return f"{kind}, {n} network{'s' if n != 1 else ''}" if kind else str(group["kind"])
