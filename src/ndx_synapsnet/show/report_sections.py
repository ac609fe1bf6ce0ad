"""What a report says of one run, section by section, as HTML.

Letters: N neurons, T samples. Matrices are [target, source].
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..session import SPLITS, FitResult, Neurons
from . import page as bricks
from .activity_plots import draw_components, draw_currents, draw_raster, draw_traces
from .activity_view import components_view, currents_view
from .compute import best_epoch, score_table, trace_view
from .neuron_plots import draw_embedding
from .neuron_view import embedding_view, neuron_columns
from .page import Html
from .plots import draw_scores, draw_training, raster_of
from .report_connectivity import connectivity
from .report_run import FEW, ReportedRun, figure, figure_if_there, fixed


def sections(run: ReportedRun, edges: int) -> Iterator[tuple[str, list[Html]]]:
    """Yield heading and contents of each section that the run has something for.

    Parameters
    ----------
    run : ReportedRun
        The run.
    edges : int
        How many of the strongest connections to list.
    """
    parts: Mapping[str, list[Html]] = {
        "Forecast against the reference predictors": outcome(run),
        "What was recorded": recorded(run),
        "Connectivity": connectivity(run, edges),
        "Embedding": embedding(run),
        "Forecast": forecast(run),
        "Training": training(run),
        "Provenance": provenance(run),
        "How to cite": citation(run),
    }
    yield from ((title, part) for title, part in parts.items() if part)


def verdict(result: FitResult) -> Html:
    """Return the run's own sentence on whether its connectivity may be read."""
    words = "The connectivity may be read" if result.trustworthy else "The connectivity is not to be read"
    return bricks.element(
        "div",
        bricks.element("p", words, class_="over"),
        bricks.paragraph(result.verdict),
        class_="verdict" if result.trustworthy else "verdict no",
    )


def outcome(run: ReportedRun) -> list[Html]:
    """Return the scores of the model and of every reference predictor."""
    rows = score_table(run.result)
    undefined = any(row.undefined for row in rows)
    columns = ["predictor", "mean r", "± SEM", "MSE", *(["r undefined"] if undefined else [])]
    cells = [
        [row.name, fixed(row.correlation), fixed(row.sem), fixed(row.mse), *([row.undefined] if undefined else [])]
        for row in rows
    ]
    note = "One step ahead, on the test part; mean over neurons, in z-scored units; the lowest error in bold."
    errors = [row.mse for row in rows]
    lowest = int(np.nanargmin(errors)) if np.isfinite(errors).any() else None
    parts = [bricks.table("Scores.", columns, cells, bold=lowest, note=note)]
    if "ar" in run.result.scores:
        dots = "Left, each neuron's forecast against the one from its own history; right, all predictors."
        parts.append(figure(draw_scores(run.result), "Test correlation of every neuron.", note=dots))
    return parts


def recorded(run: ReportedRun) -> list[Html]:
    """Return what the activity is and where it comes from."""
    result = run.result
    source, made = _source(result), result.provenance
    parts = {name: int((result.split == code).sum()) for name, code in SPLITS.items()}
    aside = [item for item in made.get("set_aside") or () if isinstance(item, Mapping)]
    remote = source.get("remote") or {}
    values = {
        "recording": source.get("session_description"),
        "session": source.get("session_id"),
        **{f"subject, {key}" if key != "subject_id" else "subject": value for key, value in _subject(source).items()},
        "recorded": None if _placeholder(source) else source.get("session_start_time"),
        "lab": [source[key] for key in ("experimenter", "lab", "institution") if source.get(key)],
        "file": source.get("uri"),
        "archive": _archive(remote),
        "integrity": remote.get("integrity"),
        "activity": f"{result.activity_kind}, unit {result.unit or 'not stated'}, read from "
        + (", ".join(str(series.get("path")) for series in source.get("series") or ()) or "an unnamed series"),
        "neurons": f"{len(result.neurons)} modelled, {len(aside)} set aside",
        "samples": f"{len(result.split)} of {bricks.text(result.period)} s: "
        + ", ".join(f"{count} {name}" for name, count in parts.items() if count),
        "behaviour": list(result.behavior_names) or "none",
        "notes": "\n".join(map(str, source.get("notes") or ())),
    }
    blocks = [bricks.facts(values)]
    if labels := _label_counts(result.neurons):
        blocks.append(labels)
    if aside:
        rows = [[item.get("id"), item.get("reason")] for item in aside[:FEW]]
        more = f"The first {FEW} of {len(aside)}." if len(aside) > FEW else ""
        blocks.append(bricks.table("Neurons set aside.", ["neuron", "reason"], rows, note=more))
    return blocks


def embedding(run: ReportedRun) -> list[Html]:
    """Return the map of the embeddings."""
    result = run.result
    if min(result.embeddings.shape) < 2:
        return []
    columns = neuron_columns(result.neurons, result.embeddings, result.scores)
    column = next(iter(columns), None)
    view = embedding_view(result.neurons, result.embeddings, column=column, columns=columns)
    note = "Neurons that the shared decoder treats alike lie near each other: the first two principal components."
    return [figure(draw_embedding(view), "Map of the neurons' embeddings.", note=note, narrow=True)]


def forecast(run: ReportedRun) -> list[Html]:
    """Return the forecast beside what was recorded: of a few neurons, of all, and of the population's components."""
    result, session = run.result, run.session
    if not (result.forecast.split == SPLITS["test"]).any():
        return []
    note = "A stretch of the test part, neurons from the best forecast to the median one; z-scored."
    if session is None:
        note += " The recording was out of reach, so only the forecast is drawn."
    parts = [
        figure(draw_traces(trace_view(result, session)), "Forecast one step ahead.", note=note),
        figure(draw_raster(raster_of(result, session)), "Forecast of all neurons."),
    ]
    if session is None:
        return parts
    parts += figure_if_there(
        lambda: draw_components(components_view(result, session)),
        "The population's principal components.",
        note="Components of the recorded activity, and the forecast along the same directions.",
    )
    parts += figure_if_there(
        lambda: draw_currents(currents_view(result, session)),
        "Input currents.",
        note="How the summed input of each neuron goes with its activity before and after.",
        narrow=True,
    )
    return parts


def training(run: ReportedRun) -> list[Html]:
    """Return the training curve."""
    curve, best = run.result.training, best_epoch(run.result)
    if not len(curve.get("epoch", ())) or not {"train_loss", "validation_mse"} <= set(curve):
        return []
    said = "" if best is None else f"The parameters are those of epoch {best}, the best on the validation part."
    if run.result.provenance.get("interrupted"):
        said += " Training was interrupted."
    return [figure(draw_training(run.result), "Training curve.", note=said, narrow=True)]


def provenance(run: ReportedRun) -> list[Html]:
    """Return what is needed to repeat the fit."""
    result = run.result
    made, source = result.provenance, _source(result)
    remote = source.get("remote") or {}
    values = {
        "model": result.model,
        "recipe": result.config.get("recipe"),
        "seed": made.get("seed"),
        "device": made.get("device"),
        "started": made.get("started"),
        "finished": made.get("finished"),
        "software": [f"{package} {version}" for package, version in (made.get("software") or {}).items()],
        "run id": result.run_id,
        "file identifier": source.get("identifier"),
        "file object id": source.get("file_object_id"),
        "digest": [f"{name} {value}" for name, value in (remote.get("digests") or {}).items()],
        "notes": "\n".join(map(str, made.get("notes") or ())),
    }
    parts = [bricks.facts(values)]
    for title, settings in (("Configuration", result.config), ("How it was read", source.get("read_config") or {})):
        if flat := dict(_flat(settings)):
            listed = bricks.facts(flat)
            parts += [bricks.element("h3", title), Html(listed.replace("<dl>", '<dl class="short">', 1))]
    return parts


def citation(run: ReportedRun) -> list[Html]:
    """Return what to cite."""
    source = _source(run.result)
    archive = _archive(source.get("remote") or {})
    version = (run.result.provenance.get("software") or {}).get("ndx-synapsnet")
    package = f"ndx-synapsnet{f' {version}' if version else ''}, as its CITATION.cff says: "
    data = f"The recording: {archive}." if archive else "The recording, as those who published it ask."
    items = [
        bricks.element("li", _PAPER, bricks.link("https://arxiv.org/abs/2411.08221"), "."),
        bricks.element("li", package, bricks.link("https://github.com/ndx-synapsnet/ndx-synapsnet"), "."),
        bricks.element("li", data),
    ]
    return [bricks.element("ul", *items)]


_PAPER = (
    "Delavari P, Oruc I, Murphy TH (2024). SynapsNet: Enhancing Neuronal Population Dynamics Modeling via Learning "
    "Functional Connectivity. "
)


def _label_counts(neurons: Neurons) -> Html:
    counted = {}
    for name, words in (("region", "regions"), ("cell_type", "cell types")):
        labels = getattr(neurons, name)
        if labels is not None and any(label.strip() for label in labels.tolist()):
            names, counts = np.unique(labels, return_counts=True)
            order = np.argsort(-counts, kind="stable")
            said = [f"{str(names[i]) or 'unknown'} ({counts[i]})" for i in order[:FEW]]
            counted[words] = said + ([f"and {len(names) - FEW} more"] if len(names) > FEW else [])
    if neurons.position is not None:
        counted["positions"] = [f"of {int(np.isfinite(neurons.position).all(1).sum())} neurons"]
    return bricks.facts(counted)


def _source(result: FitResult) -> Mapping[str, Any]:
    source = result.provenance.get("source")
    return source if isinstance(source, Mapping) else {}


def _subject(source: Mapping[str, Any]) -> dict[str, Any]:
    subject = source.get("subject")
    if not isinstance(subject, Mapping):
        return {}
    order = ("subject_id", "species", "genotype", "sex", "age", "description")
    return {key: subject[key] for key in order if subject.get(key)}


def _placeholder(source: Mapping[str, Any]) -> bool:
    return str(source.get("session_start_time") or "").startswith("1970-01-01")


def _archive(remote: Mapping[str, Any]) -> str | None:
    if not remote.get("dandiset"):
        return None
    path = f"/{remote['path']}" if remote.get("path") else ""
    return f"DANDI:{remote['dandiset']}@{remote.get('version')}{path} ({remote.get('archive') or remote.get('api')})"


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif value is not None and value != []:
            yield f"{prefix}{name}", value
