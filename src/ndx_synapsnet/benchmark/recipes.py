"""The study behind the recipes: what a validation loss costs by context, batch, learning rate and epochs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config import load_config
from ..learn.preparation import prepare
from ..learn.synapsnet import SynapsNet
from ..learn.train import train
from ..learn.validation import validate
from ..metrics import recovery
from ..provenance import software_versions
from ..session import Session
from ..show.plots import BLUE, GREEN, ORANGE, new_figure, save_figures
from ..simulate import PaperNetworkConfig, simulate_paper_network
from .race import load
from .record import write_json

#: (context, stretch, rows in a batch, peak learning rate, epochs)
GRID: tuple[tuple[str, int, int, float, int], ...] = (
    ("window", 1, 32, 3e-3, 8),
    ("window", 1, 32, 1e-2, 8),
    ("window", 1, 32, 2e-2, 8),
    ("window", 1, 32, 1e-2, 4),
    ("window", 1, 128, 2e-2, 8),
    ("stream", 8, 16, 1e-2, 8),
    ("stream", 8, 16, 1.5e-2, 8),
    ("stream", 8, 16, 2e-2, 8),
    ("stream", 8, 16, 3e-2, 8),
    ("stream", 8, 16, 1.5e-2, 4),
    ("stream", 8, 32, 1e-2, 6),
    ("stream", 8, 32, 2e-2, 6),
    ("stream", 8, 32, 3e-2, 6),
    ("stream", 16, 16, 1.5e-2, 8),
    ("stream", 32, 16, 1.5e-2, 8),
)


def run(folder: Path, *, quick: bool = False, recordings: Sequence[str] = ()) -> dict[str, Any]:
    """Train every setting of the grid on some sessions, and leave ``recipes.json`` and ``recipes.png``.

    Everything else is as in the recipe ``default``. The seed is one: differences of .001 in MSE mean nothing.

    Parameters
    ----------
    folder : Path
        Where to; made if missing.
    quick : bool
        A small simulated session.
    recordings : sequence of str
        Recordings to train on beside the simulated session.
    """
    folder.mkdir(parents=True, exist_ok=True)
    network = PaperNetworkConfig(n_neurons=600, n_recorded=200, n_samples=20_000)
    if quick:
        network = PaperNetworkConfig(n_neurons=60, n_recorded=20, n_samples=2_000)
    simulation = simulate_paper_network(network)
    sessions = [_study("simulated", simulation.session, simulation.truth.weights)]
    sessions += [_study(name.rsplit("/", 1)[-1], load(name), None) for name in recordings]
    results = {
        "software": software_versions(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "sessions": sessions,
    }
    write_json(folder / "recipes.json", results)
    save_figures({"recipes": draw(results)}, folder)
    return results


def _study(name: str, session: Session, truth: NDArray[np.float32] | None) -> dict[str, Any]:
    """Train every setting on one session."""
    windows = prepare([session])
    kept = windows[0].kept
    rows = []
    for context, stretch, batch, rate, epochs in GRID:
        model = {"context": context, "stretch": stretch}
        schedule = {"batch_size": batch, "learning_rate": rate, "epochs": epochs, "min_steps": 0, "max_steps": None}
        config = load_config("default", overrides={"model": model, "train": schedule})
        fitted = SynapsNet.started(windows, config.model, seed=config.train.seed)
        begin = time.process_time()
        curve = train(fitted, fitted.windows, config.train).curve
        found = {
            **model,
            **schedule,
            "processor_seconds": time.process_time() - begin,
            "seconds": curve["seconds"].tolist(),
            "validation_mse": curve["validation_mse"].tolist(),
            "best": float(curve["validation_mse"].min()),
            "test_mse": validate(fitted, fitted.windows, "test")[0],
        }
        weights = fitted.connectivity(0)
        if truth is not None and weights is not None:
            found["recovery_r"] = recovery(weights, truth[kept][:, kept])["r"]
        rows.append(found)
    return {"name": name, "neurons": windows[0].n_neurons, "samples": session.n_samples, "rows": rows}


def draw(results: dict[str, Any]) -> Any:
    """Draw the best validation MSE of each setting, a line each, with the processor time it took."""
    sessions = results["sessions"]
    figure = new_figure(4.5 + 4.5 * len(sessions), 5)
    colors = {("window", 1): ORANGE, ("stream", 8): GREEN}
    axes = figure.subplots(1, len(sessions), squeeze=False, sharey=True)[0]
    for ax, session in zip(axes, sessions, strict=True):
        rows = session["rows"]
        for place, row in enumerate(rows):
            ax.plot(row["best"], place, "o", color=colors.get((row["context"], row["stretch"]), BLUE))
            text = f"{row['processor_seconds']:.0f} s"
            ax.annotate(text, (row["best"], place), (7, 0), textcoords="offset points", fontsize=8, va="center")
        ax.set_yticks(range(len(rows)), [_describe(row) for row in rows], fontsize=8)
        ax.margins(x=0.15)
        ax.grid(axis="y", lw=0.4)
        title = f"{session['name']}: {session['neurons']} neurons x {session['samples']} samples"
        ax.set(xlabel="best validation MSE (beside it, processor seconds)")
        ax.set_title(title, fontsize=10)
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].invert_yaxis()
    return figure


def _describe(row: dict[str, Any]) -> str:
    stretch = f"stretches of {row['stretch']}" if row["context"] == "stream" else "windows"
    return f"{row['batch_size']} {stretch}, rate {row['learning_rate']:g}, {row['epochs']} epochs"
