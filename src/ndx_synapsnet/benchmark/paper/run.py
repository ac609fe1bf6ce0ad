"""A study from beginning to end: sessions, cells, means, and the files that are left."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ...config import ExperimentConfig
from ...errors import InputError
from ...metrics import compare_models
from ...provenance import software_versions
from ...show.plots import require_matplotlib, save_figures
from ..record import write_json
from . import figures, layout, results
from .cells import Cell, finished
from .jobs import run_cells
from .layout import Layout
from .models import plan, recipe_config
from .results import Group, Outcome
from .studies import STUDIES, Study
from .tasks import Facts, Task, examine

#: Extras that are wanted of a group's first session only.
_OF_ONE = frozenset({"traces", "matrix"})

Say = Callable[[str], None]
#: Modality and task.
Key = tuple[str, str]


@dataclass(frozen=True)
class Training:
    """How all models of a study are trained."""

    recipe: str = "default"
    """Of `config.RECIPES`; see `models`."""
    epochs: int | None = None
    """Train for exactly so many, whatever the recipe says."""
    seed: int = 0
    """Of initial parameters and batches."""


def run(
    name: str,
    tasks: Sequence[Task],
    folder: Path,
    *,
    training: Training | None = None,
    models: Sequence[str] = (),
    jobs: int = 1,
    say: Say = lambda text: None,
) -> tuple[dict[str, Any], list[Layout]]:
    """Run a study, and leave its JSON, its tables in Markdown and its pictures in `folder`.

    Parameters
    ----------
    name : str
        Of `studies.STUDIES`.
    tasks : sequence of Task
        See `tasks.simulated_tasks` and `tasks.recorded_tasks`.
    folder : Path
        Where to. Cells lie in ``folder/cells``; those that are there already are not run again.
    training : Training, optional
        How the models are trained.
    models : sequence of str
        Only these; all by default.
    jobs : int
        Processes.
    say : callable
        Told of each session and cell.

    Returns
    -------
    dict
        What is in the JSON.
    list of Layout
        The tables.

    Raises
    ------
    InputError
        If a model or the recipe is unknown, no session can be modelled, or an optional package is missing.
    """
    require_matplotlib()
    compare_models({"a": [0.0, 1.0], "b": [0.0, 2.0]})  # says what to install, before anything long is begun
    training = training or Training()
    study, base = _study(name, models, training.recipe)
    longest = max(model.window or base.windows.window for model in study.models)
    groups = _examined(tasks, base, longest, say)
    cells = {key: _cells(study, key[1], sessions, training, longest) for key, sessions in groups.items()}
    records = _run_all([cell for some in cells.values() for cell in some], folder / "cells", jobs, say)
    grouped = [
        Group(*key, tuple(sessions), _outcomes(study, sessions, cells[key], records))
        for key, sessions in groups.items()
    ]
    tables = results.tabulate(study, grouped)
    found = {
        "study": name,
        "title": study.title,
        "recipe": training.recipe,
        "epochs": training.epochs,
        "seed": training.seed,
        "notes": _notes(study, base, training, tables["tests"]),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "jobs": jobs,
            "devices": sorted({record["device"] for record in records.values() if "device" in record}),
        },
        "software": software_versions(),
        "sessions": [_described(each, modality) for (modality, _), some in groups.items() for each in some],
        **tables,
    }
    return found, _leave(found, study, grouped, folder)


def _study(name: str, models: Sequence[str], recipe: str) -> tuple[Study, ExperimentConfig]:
    """Return the study with the models asked for, and the settings that all start from."""
    study = STUDIES[name]()
    base = recipe_config(recipe, streams=study.streams)
    if base.model.context == "window":  # then no model has a long history
        study = replace(study, models=tuple(model for model in study.models if model.name != "ar_long"))
    return study.choose(models), base


def _examined(tasks: Sequence[Task], base: ExperimentConfig, longest: int, say: Say) -> dict[Key, list[Facts]]:
    """Read all sessions and return what is known of them, by modality and task.

    One that cannot be read has the modality of the first that can, of its own task if there is one. One that is there
    already, under whatever name, is left out: means and tests would take it for another animal's.
    """
    windows = replace(base.windows, window=longest)
    found: list[Facts] = []
    for task in tasks:
        held: dict[str, str] = {}
        for source in task.sources:
            facts = examine(task.name, source, windows)
            if facts.digest in held:
                say(f"{task.name}, {source.name} left out: it holds the same as {held[facts.digest]}")
                continue
            if facts.digest:
                held[facts.digest] = source.name
            found.append(facts)
            size = f"{facts.neurons} neurons x {facts.samples} samples of {facts.kind}"
            say(f"{task.name}, {source.name}: " + (f"FAILED: {facts.failed}" if facts.failed else size))
    known = [facts for facts in found if facts.modality]
    groups: dict[Key, list[Facts]] = {}
    for facts in found:
        like = [facts, *(each for each in known if each.task == facts.task), *known]
        modality = next((each.modality for each in like if each.modality), "")
        groups.setdefault((modality, facts.task), []).append(facts)
    failures = [facts.failed for facts in found]
    if all(failures):
        raise InputError(f"no session can be modelled: {next(filter(None, failures), 'none was given')}")
    return groups


def _cells(study: Study, task: str, sessions: Sequence[Facts], training: Training, longest: int) -> list[Cell]:
    """Return the cells of a group, session after session and then those of all sessions together."""
    usable = [facts for facts in sessions if not facts.failed]
    single = [(model, [facts]) for facts in usable for model in study.models if not model.together]
    joint = [(model, usable) for model in study.models if model.together and len(usable) > int(model.several)]
    cells = []
    for model, some in [*single, *joint]:
        if not (some and all(model.takes(facts.kind) for facts in some)):
            continue
        cells.append(
            Cell(
                model=model.key,
                title=model.title,
                task=task,
                plan=plan(
                    model,
                    training.recipe,
                    seed=training.seed,
                    sessions=len(some),
                    streams=study.streams,
                    epochs=training.epochs,
                ),
                sources=tuple(facts.source for facts in some),
                digests=tuple(facts.digest for facts in some),
                longest=longest,
                extras=study.extras if some[0] is usable[0] else study.extras - _OF_ONE,
            )
        )
    return cells


def _run_all(cells: Sequence[Cell], folder: Path, jobs: int, say: Say) -> dict[Path, Mapping[str, Any]]:
    """Return the record of each cell by its file; those that are there already are not run."""
    records: dict[Path, Mapping[str, Any]] = {}
    waiting: dict[Path, Cell] = {}
    for cell in cells:
        path = cell.path(folder)
        record = finished(cell, folder)
        if record is not None:
            records[path] = record
        else:  # two rows can be the same model
            extras = cell.extras | (waiting[path].extras if path in waiting else frozenset())
            waiting[path] = replace(cell, extras=extras)
    if records:
        say(f"{len(records)} of {len(records) + len(waiting)} cells are there already, in {folder}")
    with closing(run_cells(list(waiting.values()), folder, jobs=jobs)) as running:
        for number, (cell, record) in enumerate(running, start=1):
            records[cell.path(folder)] = record
            outcome = f"FAILED: {record['failed']}" if "failed" in record else f"{record['seconds']:.1f} s"
            say(f"[{number}/{len(waiting)}] {cell.name}: {outcome}")
    return records


def _outcomes(
    study: Study, sessions: Sequence[Facts], cells: Sequence[Cell], records: Mapping[Path, Mapping[str, Any]]
) -> dict[str, list[Outcome]]:
    """Return what became of each session, for each model that can be fitted to such a group."""
    by_name = {path.name: record for path, record in records.items()}
    usable = any(not facts.failed for facts in sessions)
    outcomes: dict[str, list[Outcome]] = {}
    for model in study.models:
        own = [cell for cell in cells if cell.model == model.key]
        if usable and not own:
            continue
        found: dict[int, Outcome] = {}
        for cell in own:
            record = by_name[cell.path(Path()).name]
            for j, source in enumerate(cell.sources):
                place = next(i for i, facts in enumerate(sessions) if facts.source == source)
                found[place] = str(record["failed"]) if "failed" in record else (record, record["sessions"][j])
        outcomes[model.key] = [
            found.get(i, facts.failed or f"{model.title} does not take {facts.kind}")
            for i, facts in enumerate(sessions)
        ]
    return outcomes


def _notes(study: Study, base: ExperimentConfig, training: Training, tests: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the sentences below a study's tables."""
    window, stretch = base.windows.window, base.model.stretch
    notes = [
        "Means over neurons, then sessions, ± their standard error over sessions; one step ahead, z-scored, on the "
        "same test samples for all."
    ]
    if tests:
        first = study.models[0].title
        bold, other = ("the best", "the next best")
        if study.mark == "drop":
            bold, other = (f"the largest drop below {first}", first)
        sign = (
            f"; {layout.SIGNIFICANT} significantly different from {other} (paired t-test over sessions, Holm-corrected "
        )
        sign += f"p ≤ {results.SIGNIFICANT})"
        tested = any(test["p"] is not None for test in tests)  # not so of one session
        notes.append(f"In bold {bold}{sign if tested else ''}.")
    if training.recipe == "paper":
        notes.append("All are trained as in the papers.")
    elif base.model.context == "stream":
        names = {model.name for model in study.models}
        last = window + stretch - 1
        who = "SynapsNet and NeuPRINT run" if "neuprint_gru" in names else "SynapsNet runs"
        text = f"{who} on along stretches (recipe {training.recipe}): forecasts from {window} to {last} samples"
        text += f"; of AR (long history) from {last}" if "ar_long" in names else ""
        others = any(model.kind != "synapsnet" and model.name != "neuprint_gru" for model in study.models)
        notes.append(
            text + (f"; of the others from {window}" if others else "") + f". With --recipe paper all from {window}."
        )
    else:
        notes.append(f"All see exactly their W samples; the other settings are those of recipe {training.recipe}.")
    if len({model.together for model in study.models}) > 1:
        notes.append("Rows trained on several sessions together are compared with each other only.")
    if training.epochs is not None:
        notes.append(f"All were trained for {training.epochs} epochs only.")
    return [*notes, *study.notes]


def _described(facts: Facts, modality: str) -> dict[str, Any]:
    return {
        "task": facts.task,
        "name": facts.source.name,
        "modality": modality,
        "activity": facts.kind,
        "neurons": facts.neurons,
        "samples": facts.samples,
        "digest": facts.digest,
        "failed": facts.failed,
    }


def _leave(found: dict[str, Any], study: Study, groups: Sequence[Group], folder: Path) -> list[Layout]:
    """Add what a figure shows to the results, write JSON, Markdown and pictures, and return the tables."""
    tables = layout.forecast_tables(found)
    if "components" in study.extras:
        found["components"] = results.components(study, groups)
        tables += layout.component_tables(found["components"])
    if "currents" in study.extras:
        found["currents"] = results.currents(study, groups)
        tables += layout.current_tables(found["currents"])
    if "recovery" in study.extras:
        found["recovery"] = results.recoveries(study, groups)
        tables = layout.recovery_table(found["recovery"]) + tables
    write_json(folder / f"{study.name}.json", found, finite=True)
    text = "\n".join([f"## {study.name}: {study.title}", "", *(table.markdown() for table in tables)])
    (folder / f"{study.name}.md").write_text(text, encoding="utf-8")
    save_figures(figures.draw(found), folder)
    return tables
