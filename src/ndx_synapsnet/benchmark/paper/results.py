"""From cells to what tables and figures show: means over sessions, and which differences are significant.

All that comes out is JSON-able. Letters: S sessions of a task and a modality.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...metrics import PairedTest, aggregate, compare_models, holm, improvement, summarize
from ...session import Scores
from .cells import plain
from .models import Model
from .studies import Study
from .tasks import Facts

#: A corrected p up to which a difference is called significant (paper, Table 1).
SIGNIFICANT = 0.05
MEASURES = ("correlation", "mse")

#: What became of one model on one session: the cell's record, and the session's among those it holds; or a reason.
Outcome = tuple[Mapping[str, Any], Mapping[str, Any]] | str


@dataclass(frozen=True)
class Group:
    """The sessions of one modality and task, and what each model made of them."""

    modality: str
    task: str
    sessions: tuple[Facts, ...]
    outcomes: Mapping[str, Sequence[Outcome]]
    """By model key, one a session. A model that does not take such activity is not there."""


def tabulate(study: Study, groups: Sequence[Group]) -> dict[str, Any]:
    """Return the table of a study, one part a modality.

    Parameters
    ----------
    study : Study
        Its models are the rows.
    groups : sequence of Group
        The columns.

    Returns
    -------
    dict
        ``tables``: for each modality ``tasks`` and ``rows``. A row has ``key``, ``title``, ``together``, ``family``,
        ``value``, ``seconds`` and ``parameters`` (means over its fits), and by task: ``correlation`` and ``mse`` (each
        ``mean``, ``sem``, ``sessions``, ``by_session``, ``best`` and ``significant``), ``improvement`` over
        persistence (median over sessions), ``constant`` of ``neurons``, and ``failed``, reasons by session. ``tests``:
        all paired t-tests.
    """
    tables, tests = [], []
    for modality in dict.fromkeys(group.modality for group in groups):
        columns = [group for group in groups if group.modality == modality]
        rows = [_row(model, columns) for model in study.models if any(model.key in g.outcomes for g in columns)]
        for group in columns:
            for side in (False, True):
                alike = [row for row in rows if row["together"] == side and row["tasks"].get(group.task)]
                for measure in MEASURES:
                    made = _mark(alike, group.task, measure, study.mark)
                    tests += [
                        {"modality": modality, "task": group.task, "measure": measure, "together": side, **_test(each)}
                        for each in made
                    ]
        tables.append({"modality": modality, "tasks": [group.task for group in columns], "rows": rows})
    return {"tables": tables, "tests": tests}


def _row(model: Model, groups: Sequence[Group]) -> dict[str, Any]:
    fits: dict[int, Mapping[str, Any]] = {}  # each once, though a joint one has several sessions
    tasks = {}
    for group in groups:
        outcomes = group.outcomes.get(model.key)
        if outcomes is None:
            continue
        fits |= {id(outcome[0]): outcome[0] for outcome in outcomes if not isinstance(outcome, str)}
        tasks[group.task] = _entry(outcomes, group)
    return {
        "key": model.key,
        "title": model.title,
        "together": model.together,
        "family": model.choice,
        "value": model.value,
        "seconds": float(np.mean([fit["seconds"] for fit in fits.values()])) if fits else None,
        "parameters": float(np.mean([fit["parameters"] for fit in fits.values()])) if fits else None,
        "tasks": tasks,
    }


def _entry(outcomes: Sequence[Outcome], group: Group) -> dict[str, Any]:
    """Return a model's means over the sessions of a group."""
    names = [facts.source.name for facts in group.sessions]
    failed = {name: each for name, each in zip(names, outcomes, strict=True) if isinstance(each, str)}
    scores = [None if isinstance(each, str) else to_scores(each[1]) for each in outcomes]
    done = [each for each in scores if each is not None]
    if not done:
        return {"failed": failed}
    found = aggregate(done)
    places = [place for place, each in enumerate(scores) if each is not None]
    entry: dict[str, Any] = {}
    for measure in MEASURES:
        summary = getattr(found, measure)
        by_session: list[float | None] = [None] * len(scores)
        for place, value in zip(places, plain(getattr(found, f"{measure}_by_session")), strict=True):
            by_session[place] = value
        entry[measure] = {
            "mean": summary.mean,
            "sem": summary.sem,
            "sessions": summary.sessions,
            "by_session": by_session,
            "best": False,
            "significant": False,
        }
    others = group.outcomes.get("persistence", [""] * len(scores))
    gains = [
        improvement(own, to_scores(other[1]))
        for own, other in zip(scores, others, strict=True)
        if own is not None and not isinstance(other, str)
    ]
    known = [gain for gain in gains if gain is not None]
    # a session on which persistence is nearly perfect has a ratio without bounds, which would be all of a mean
    entry["improvement"] = float(np.median(known)) if known else None
    return entry | {"constant": found.constant, "neurons": found.neurons, "failed": failed}


def _mark(rows: Sequence[dict[str, Any]], task: str, measure: str, mark: str) -> list[PairedTest]:
    """Mark the best of some rows, or the largest drop below the first, and what differs significantly.

    Only rows that have all sessions are compared, those that any row has.
    """
    entries = {row["key"]: row["tasks"][task][measure] for row in rows if measure in row["tasks"][task]}
    held = {key: {j for j, value in enumerate(entry["by_session"]) if value is not None}
            for key, entry in entries.items()}  # fmt: skip
    every = set().union(*held.values())
    entries = {key: entry for key, entry in entries.items() if held[key] == every and every}
    if len(entries) < 2 or (mark == "drop" and rows[0]["key"] not in entries):
        return []
    sign = 1 if measure == "correlation" else -1
    ranked = sorted(entries, key=lambda key: -sign * entries[key]["mean"])
    first = ranked[0] if mark == "best" else rows[0]["key"]
    values = {
        key: [np.nan if value is None else value for value in entry["by_session"]] for key, entry in entries.items()
    }
    tests = compare_models(values, reference=first)
    significant = {test.other for test in tests if test.p_corrected is not None and test.p_corrected <= SIGNIFICANT}
    if mark == "best":
        entries[first]["best"] = True
        entries[first]["significant"] = ranked[1] in significant
    else:
        if ranked[-1] != first:  # otherwise nothing drops below it
            entries[ranked[-1]]["best"] = True
        for key in significant:
            entries[key]["significant"] = True
    return tests


def _test(test: PairedTest) -> dict[str, Any]:
    names = ("difference", "t", "p", "p_corrected")
    return {
        "model": test.model,
        "other": test.other,
        "units": test.units,
        **{name: None if (value := getattr(test, name)) is None else plain(value) for name in names},
    }


def to_scores(record: Mapping[str, Any]) -> Scores:
    """Return the scores that a session's record holds."""
    correlation, mse = (np.array([np.nan if v is None else v for v in record[name]]) for name in MEASURES)
    return Scores(correlation, mse)


def components(study: Study, groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Return for figure 2, by group and model: correlations of components (S, 3), and an example session's course.

    All models have a row for each session, empty where one failed. ``p`` is by component, between two models; empty
    where there is no test.
    """
    found = []
    for group in groups:
        models = {}
        for model in study.models:
            outcomes = group.outcomes.get(model.key, ())
            records = {j: each[1] for j, each in enumerate(outcomes) if not isinstance(each, str)}
            if records:
                values = np.full((len(outcomes), len(next(iter(records.values()))["components"])), np.nan)
                for j, record in records.items():
                    values[j] = [np.nan if r is None else r for r in record["components"]]
                example = next((j for j, record in records.items() if "traces" in record), None)
                models[model.key] = {
                    "title": model.title,
                    "by_session": plain(values),
                    "mean": [summarize(column).mean for column in values.T],
                    "sem": [summarize(column).sem for column in values.T],
                    "example": None if example is None else {"session": example, **records[example]["traces"]},
                }
        found.append({"modality": group.modality, "task": group.task, "models": models, "p": _by_component(models)})
    return found


def _by_component(models: Mapping[str, Any]) -> list[float | None]:
    """Return for each component p of a paired t-test between two models, corrected for the components."""
    if len(models) != 2:
        return []
    own, other = (np.array(model["by_session"], float) for model in models.values())
    tests = [compare_models({"own": a, "other": b}) for a, b in zip(own.T, other.T, strict=True)]
    found = [test.p for (test,) in tests if test.p is not None]
    return holm(found).tolist() if len(found) == len(tests) else []


def currents(study: Study, groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Return for figure 4, by group: each matrix's mean and deviation by delay, both means over sessions."""
    found = []
    for group in groups:
        for model in study.models:
            records = [each[1] for each in group.outcomes.get(model.key, ()) if not isinstance(each, str)]
            curves = [record["currents"] for record in records if "currents" in record]
            if not curves:
                continue
            names = [name for name in curves[0] if name != "delays"]
            mean = {
                name: {part: plain(np.mean([curve[name][part] for curve in curves], axis=0))
                       for part in ("mean", "deviation")}
                for name in names
            }  # fmt: skip
            found.append({"modality": group.modality, "task": group.task, "model": model.title,
                          "sessions": len(curves), "delays": curves[0]["delays"], "curves": mean})  # fmt: skip
    return found


def recoveries(study: Study, groups: Sequence[Group]) -> dict[str, Any]:
    """Return for figure 5: by model, each figure of recovery, by run and as a mean; and the matrices of one run."""
    models: dict[str, Any] = {}
    matrices: dict[str, Any] = {}
    for group in groups:
        for model in study.models:
            records = [each[1] for each in group.outcomes.get(model.key, ()) if not isinstance(each, str)]
            records = [record for record in records if "recovery" in record]
            if not records:
                continue
            models[model.key] = {"title": model.title}
            for name in records[0]["recovery"]:
                values = [np.nan if (v := record["recovery"][name]) is None else v for record in records]
                summary = summarize(values)
                models[model.key][name] = {"by_run": plain(values), "mean": summary.mean, "sem": summary.sem}
            example = next((record for record in records if "matrix" in record), None)
            if example is not None:
                matrices.setdefault("true connectivity", example["true_matrix"])
                matrices[model.title] = example["matrix"]
    return {"models": models, "matrices": matrices}
