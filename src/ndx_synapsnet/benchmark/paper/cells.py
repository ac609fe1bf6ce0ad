"""One cell: a model is trained on a session, or on a group of them, and scored on the test samples of each.

A cell that was run is a file, named by a digest of all that decides its numbers; it is written whole or not at all.
Letters: N neurons of a session, n its test samples.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ...errors import InputError
from ...learn.forecaster import Forecaster, Solver, predict_series
from ...learn.preparation import prepare, target_samples
from ...learn.readout import read_out
from ...learn.synapsnet import SynapsNet
from ...learn.train import Training, resolve_device, train
from ...learn.windows import Windows, with_history
from ...metrics import correlate_three_currents, principal_components, recovery, score_neurons
from ...provenance import software_versions
from ...session import SPLITS, Session
from ..record import write_json
from .models import Plan
from .tasks import Source

_FORMAT = 1
_COMPONENTS = 3
_DIGITS = 6  # of numbers in files

#: What a cell can hold beside the scores: correlations of principal components and their course over time, input
#: currents against activity, recovery of a true connectivity, the matrix itself.
EXTRAS = ("components", "traces", "currents", "recovery", "matrix")


@dataclass(frozen=True)
class Cell:
    """One training, and what is wanted of it."""

    model: str
    """Key of the row."""
    title: str
    """For people."""
    task: str
    plan: Plan
    sources: tuple[Source, ...]
    digests: tuple[str, ...]
    """Of the sessions; see `tasks.digest`."""
    longest: int
    """The longest W among the models compared: only test samples that all can forecast are scored."""
    extras: frozenset[str] = frozenset()
    """Of `EXTRAS`."""

    @property
    def name(self) -> str:
        """For people."""
        only = self.sources[0].name
        return f"{self.title}, {self.task}, {only if len(self.sources) == 1 else f'{len(self.sources)} sessions'}"

    def identity(self) -> dict[str, Any]:
        """Return all that decides the scores, JSON-able."""
        versions = software_versions()
        return {
            "format": _FORMAT,
            "plan": self.plan.identity(),
            "sessions": list(self.digests),
            "longest": self.longest,
            "software": {name: versions[name] for name in ("ndx-synapsnet", "torch", "numpy")},
        }

    def path(self, folder: Path) -> Path:
        """Return the cell's file."""
        text = json.dumps(self.identity(), sort_keys=True)
        return folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"


def finished(cell: Cell, folder: Path) -> dict[str, Any] | None:
    """Return what an earlier run left of a cell, if that has all that is wanted."""
    record = _read(cell.path(folder))
    return record if record is not None and cell.extras <= set(record["extras"]) else None


def run_cell(cell: Cell, folder: Path, *, progress: bool | None = False) -> dict[str, Any]:
    """Train, score, and write the cell's file.

    Parameters
    ----------
    cell : Cell
        What to run.
    folder : Path
        Of the cells' files.
    progress : bool, optional
        As `learn.train.train` takes it.

    Returns
    -------
    dict
        As in the file: ``sessions`` (one record each, with the neurons' ``correlation`` and ``mse`` and the extras),
        ``parameters``, ``seconds``, ``validation_mse``, ``best_epoch``, ``device``, ``extras``. If the model cannot be
        fitted to these sessions only ``failed``, a sentence; then no file is written, and a later run tries again.

    Raises
    ------
    KeyboardInterrupt
        If interrupted; nothing is written.
    """
    earlier = _read(cell.path(folder))
    extras = set(cell.extras) | set(earlier["extras"] if earlier else ())
    try:
        loaded = [_load(source) for source in cell.sources]
        record = _fit_and_score(
            cell, [session for session, _ in loaded], [truth for _, truth in loaded], extras, progress
        )
    except InputError as error:
        return {"failed": str(error)}
    except (RuntimeError, ValueError, ArithmeticError, MemoryError) as error:  # one model's fault is not the others'
        return {"failed": f"{type(error).__name__}: {error}"}
    write_json(cell.path(folder), {"identity": cell.identity(), **record}, finite=True)
    return record


def count_numbers(model: Forecaster) -> int:
    """Return how many numbers a model has learned: its parameters, or those in a solver's buffers."""
    values: Iterable[Tensor] = model.buffers() if isinstance(model, Solver) else model.parameters()
    return sum(value.numel() for value in values)


@lru_cache(maxsize=2)
def _load(source: Source) -> tuple[Session, NDArray[np.float32] | None]:
    """Load a session; cells that follow each other share it."""
    return source.load()


def _fit_and_score(
    cell: Cell,
    sessions: Sequence[Session],
    truths: Sequence[NDArray[np.float32] | None],
    extras: set[str],
    progress: bool | None,
) -> dict[str, Any]:
    plan = cell.plan
    prepared = prepare(sessions, plan.windows, device=resolve_device(plan.train.device))
    # the reference with a longer history is told of it by windows that reach further back for the same targets
    seen = prepared if plan.history is None else [with_history(w, plan.history) for w in prepared]
    begin = time.perf_counter()
    model, training = _fit(plan, seen, progress)
    if isinstance(model, SynapsNet):
        seen = list(model.windows)  # with what its linear stage found
    seconds = time.perf_counter() - begin
    return {
        "extras": sorted(extras),
        "parameters": count_numbers(model),
        "seconds": seconds,
        "validation_mse": float(np.nanmin(training.curve["validation_mse"])),
        "best_epoch": training.best_epoch,
        "device": str(prepared[0].device),
        "sessions": [
            _score(model, w, session, cell.longest, truth, extras)
            for w, session, truth in zip(seen, sessions, truths, strict=True)
        ],
    }


def _fit(plan: Plan, windows: Sequence[Windows], progress: bool | None) -> tuple[Forecaster, Training]:
    """Train with each of the plan's settings, and keep what has the lowest validation MSE."""
    best: tuple[float, Forecaster, Training] | None = None
    for choice in range(len(plan.settings)):
        model = plan.build(windows, choice)
        its = model.windows if isinstance(model, SynapsNet) else windows
        training = train(model, its, plan.train, progress=progress)
        if training.interrupted:
            raise KeyboardInterrupt
        loss = float(np.nanmin(training.curve["validation_mse"]))
        if best is None or loss < best[0]:
            best = (loss, model, training)
    assert best is not None
    return best[1], best[2]


def _score(
    model: Forecaster,
    windows: Windows,
    session: Session,
    longest: int,
    truth: NDArray[np.float32] | None,
    extras: set[str],
) -> dict[str, Any]:
    """Score one session on the test samples that all models compared can forecast."""
    test = torch.from_numpy(target_samples(windows.split, session.segment, longest)["test"]).to(windows.device)
    forecast, measured = predict_series(model, windows, test), windows.truth(test)
    scores = score_neurons(forecast, measured)
    found: dict[str, Any] = {
        "label": session.label,
        "samples": len(test),
        "correlation": plain(scores.correlation),
        "mse": plain(scores.mse),
    }
    if extras & {"components", "traces"}:
        if min(measured.shape) < _COMPONENTS:
            sizes = f"{measured.shape[1]} neurons and {len(measured)} test samples"
            raise InputError(f"{sizes} have no {_COMPONENTS} principal components", where=session.label)
        components = principal_components(forecast, measured, _COMPONENTS)
        found["components"] = plain(components.correlation)
        if "traces" in extras:
            found["traces"] = {"truth": plain(components.truth.T), "forecast": plain(components.prediction.T),
                               "explained": plain(components.explained), "period": session.period}  # fmt: skip
    matrix = model.connectivity(windows.session) if extras & {"currents", "recovery", "matrix"} else None
    if matrix is None:
        return found
    if "currents" in extras:
        found["currents"] = _currents(matrix, windows, session)
    if truth is None and "matrix" not in extras:
        return found
    matrix = _estimate(model, windows, matrix, session)
    if truth is not None:
        true = truth[np.ix_(windows.kept, windows.kept)]
        found["recovery"] = {name: plain(value) for name, value in recovery(matrix, true).items()}
        if "matrix" in extras:
            found["true_matrix"] = plain(true)
    if "matrix" in extras:
        found["matrix"] = plain(matrix)
    return found


def _estimate(
    model: Forecaster, windows: Windows, matrix: NDArray[np.float32], session: Session
) -> NDArray[np.floating]:
    """Return what a model has to say of the wiring, of counts in spikes of the target per spike of the source."""
    found: NDArray[np.floating] = matrix
    if isinstance(model, SynapsNet) and model.fits:
        fit = model.fits[windows.session]
        assert fit is not None  # one process holds all
        found = read_out(model, windows.session, fit).weights
    return found * windows.normalization.effect_scale if session.activity_kind == "spike_counts" else found


def _currents(matrix: NDArray[np.float32], windows: Windows, session: Session) -> dict[str, Any]:
    """Correlate input currents with activity over the test part; mean and deviation over neurons, by delay."""
    curves = correlate_three_currents(
        windows.activity.T.cpu().numpy(),
        matrix,
        segment=session.segment,
        valid=windows.split == SPLITS["test"],
        fitted=windows.split == SPLITS["train"],
    )
    delays = next(iter(curves.values())).delays
    return {
        "delays": delays.tolist(),
        **{name: {"mean": plain(curve.mean), "deviation": plain(curve.deviation)} for name, curve in curves.items()},
    }


def _read(path: Path) -> dict[str, Any] | None:
    """Return a cell's record; None if there is none that can be read."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and {"sessions", "extras", "seconds"} <= record.keys() else None


def plain(values: ArrayLike) -> Any:
    """Return numbers as JSON has them, with some digits, and None for what is not finite."""
    array = np.asarray(values, np.float64)
    if array.ndim:
        return [plain(value) for value in array]
    number = float(array)
    return float(f"{number:.{_DIGITS}g}") if math.isfinite(number) else None
