"""What training costs: a step against the plain way, an epoch by length, memory, and the time to a loss."""

from __future__ import annotations

import json
import os
import platform
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..config import load_config
from ..experiment import software_versions
from ..learn.preparation import prepare
from ..learn.synapsnet import SynapsNet
from ..learn.train import train
from ..show.plots import BLUE, GREEN, GREY, ORANGE, new_figure, save_figures
from ..simulate import PaperNetworkConfig, random_session
from .memory import peak_memory
from .race import race
from .step import machine_flops, time_steps

_NAMES = {"twin": "plain nn.GRU", "window": "ours, windows", "stream": "ours, stretches"}


def time_epochs(neurons: int, lengths: tuple[int, ...], recipe: str = "fast") -> list[dict[str, float]]:
    """Time one epoch of a recipe, validation included, on recordings of several lengths.

    Parameters
    ----------
    neurons : int
        N.
    lengths : tuple of int
        Samples of each recording.
    recipe : str
        Its batch and context.
    """
    rows = []
    for samples in lengths:
        config = load_config(recipe, overrides={"train": {"epochs": 1, "min_steps": 0, "max_steps": None}})
        windows = prepare([random_session(neurons, samples)], config.windows)
        seconds = train(SynapsNet(windows, config.model), windows, config.train, progress=False).seconds
        rows.append({"neurons": neurons, "samples": samples, "seconds": seconds})
    return rows


def run(folder: Path, *, quick: bool = False, recording: str | None = None) -> dict[str, Any]:
    """Run everything, and leave ``speed.json`` and ``speed.png`` in `folder`.

    Parameters
    ----------
    folder : Path
        Where to; made if missing.
    quick : bool
        Smaller sizes, about a minute.
    recording : str, optional
        A recording on which the recipes race too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = load_config("paper")
    sizes, repeats = ((60, 200), 7) if quick else ((60, 100, 200, 500, 1000, 2000), 15)
    lengths = (2_000, 4_000, 8_000) if quick else (5_000, 10_000, 20_000, 40_000, 80_000)
    held = [(200, 10_000)] if quick else [(n, t) for n in (100, 500, 1000, 2000) for t in (10_000, 30_000, 100_000)]
    network = PaperNetworkConfig(n_neurons=600, n_recorded=200, n_samples=20_000, seed=1)  # the recipes saw 0
    if quick:
        network = PaperNetworkConfig(n_neurons=180, n_recorded=60, n_samples=4_000)
    limit = machine_flops()
    steps = [time_steps(prepare([random_session(n, 2_000)], config.windows)[0], config, repeats) for n in sizes]
    for row in steps:
        for name in ("window", "stream"):
            row[f"{name}_fraction_of_limit"] = row[f"{name}_flops"] / row[name] / limit
    sources: list[PaperNetworkConfig | str] = [network, *([recording] if recording else [])]
    results = {
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "threads": torch.get_num_threads(),
            "wait_policy": os.environ.get("OMP_WAIT_POLICY", ""),
            "cores": os.cpu_count(),
            "matrix_product_gflops": limit / 1e9,
        },
        "software": software_versions(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "quick": quick,
        "steps": steps,
        "epochs": time_epochs(60 if quick else 200, lengths),
        "memory": [peak_memory(n, t, steps=20) for n, t in held],
        "races": [race(source, paper_epochs=40 if quick else 100, repeats=repeats) for source in sources],
    }
    (folder / "speed.json").write_text(json.dumps(results, indent=1) + "\n")
    save_figures({"speed": draw(results)}, folder)
    return results


def draw(results: dict[str, Any]) -> Any:
    """Draw the results of `run`: seconds a target by neurons, seconds an epoch by length, and the races."""
    races = results["races"]
    figure = new_figure(5.2 * (2 + len(races)), 4.4)
    axes = figure.subplots(1, 2 + len(races))
    _draw_steps(axes[0], results)
    _draw_epochs(axes[1], results["epochs"])
    for ax, found in zip(axes[2:], races, strict=True):
        _draw_race(ax, found)
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(frameon=False, fontsize=8)
    return figure


def _draw_steps(ax: Any, results: dict[str, Any]) -> None:
    steps, limit = results["steps"], results["machine"]["matrix_product_gflops"] * 1e9
    neurons = np.array([row["neurons"] for row in steps])
    for name, color in zip(_NAMES, (ORANGE, BLUE, GREEN), strict=True):
        speedup = 1 if name == "twin" else np.array([row[f"{name}_ratio"] for row in steps])
        # seconds of 32 targets: of the twin's step, and as many times less
        ax.plot(
            neurons, np.array([row["twin"] for row in steps]) / speedup, color=color, marker="o", label=_NAMES[name]
        )
    bound = [row["window_flops"] / limit for row in steps]
    ax.plot(neurons, bound, color=GREY, ls=":", label="windows at the rate of a matrix product")
    ax.set(xscale="log", yscale="log", xlabel="neurons", ylabel="seconds", title="32 targets: forward, backward, Adam")


def _draw_epochs(ax: Any, rows: list[dict[str, float]]) -> None:
    samples, seconds = (np.array([row[key] for row in rows]) for key in ("samples", "seconds"))
    ax.plot(samples, seconds, color=GREEN, marker="o", label="measured")
    line = seconds[-1] * samples / samples[-1]
    ax.plot(samples, line, color=GREY, ls=":", label="in proportion to the length")
    title = f"one epoch of recipe fast, {rows[0]['neurons']:.0f} neurons"
    ax.set(xscale="log", yscale="log", xlabel="samples", ylabel="seconds", title=title)


def _draw_race(ax: Any, found: dict[str, Any]) -> None:
    paper = found["paper"]
    cost = paper["twin_seconds_full"] / paper["epochs"] * np.arange(1, paper["epochs"] + 1)
    ax.plot(cost, paper["validation_mse"], color=ORANGE, label="recipe paper, plain nn.GRU (steps x step time)")
    for (name, ours), color in zip(found["ours"].items(), (GREEN, BLUE), strict=True):
        ax.plot(ours["seconds"], ours["validation_mse"], color=color, marker="o", ms=3, label=f"recipe {name}")
    ax.axhline(paper["best"], color=GREY, ls="--", lw=1, label="the paper recipe's best")
    name = "simulated" if isinstance(found["source"], dict) else found["source"]
    title = f"{name}\n{found['neurons']} neurons x {found['samples']} samples"
    ax.set(xscale="log", xlabel="seconds", ylabel="validation MSE", title=title)
