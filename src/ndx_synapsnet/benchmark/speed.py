"""What training costs: a step against the plain way, an epoch by length, memory, and the time to a loss."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..config import load_config
from ..learn.preparation import prepare
from ..learn.synapsnet import SynapsNet
from ..learn.train import train
from ..provenance import software_versions
from ..show.plots import BLUE, GREEN, GREY, ORANGE, new_figure, save_figures
from ..simulate import PaperNetworkConfig, random_session
from .memory import peak_memory
from .race import race
from .record import write_json
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
        model = SynapsNet.started(windows, config.model)
        seconds = train(model, model.windows, config.train, progress=False).seconds
        rows.append({"neurons": neurons, "samples": samples, "seconds": seconds})
    return rows


#: What can be measured by itself, in this order.
PARTS = ("steps", "epochs", "memory", "races")


def run(
    folder: Path, *, quick: bool = False, recording: str | None = None, parts: Sequence[str] = PARTS
) -> dict[str, Any]:
    """Measure, and leave ``speed.json`` and ``speed.png`` in `folder`, written anew after each part.

    Parameters
    ----------
    folder : Path
        Where to; made if missing. Parts that its ``speed.json`` has from an earlier run, and that are not measured
        now, stay, each with its own date and machine.
    quick : bool
        Smaller sizes, about a minute.
    recording : str, optional
        A recording on which the recipes race too.
    parts : sequence of str
        Those of `PARTS` to measure.
    """
    folder.mkdir(parents=True, exist_ok=True)
    limit = machine_flops()
    measure: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "steps": lambda: _steps(quick, limit),
        "epochs": lambda: _epochs(quick),
        "memory": lambda: [peak_memory(n, t, steps=20) for n, t in _held(quick)],
        "races": lambda: _races(quick, recording),
    }
    results = _earlier(folder, quick)
    for part in (part for part in PARTS if part in parts):
        results[part] = measure[part]()
        results["measured"][part] = {
            **_machine(limit),
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }
        write_json(folder / "speed.json", results)
        save_figures({"speed": draw(results)}, folder)
    return results


def _earlier(folder: Path, quick: bool) -> dict[str, Any]:
    """Return what an earlier run of the same kind left, or the frame of it."""
    frame: dict[str, Any] = {"quick": quick, "measured": {}, **{part: [] for part in PARTS}}
    try:
        found = json.loads((folder / "speed.json").read_text())
    except (OSError, ValueError):
        return frame
    same = isinstance(found, dict) and found.get("quick") == quick and frame.keys() == found.keys()
    return found if same else frame


def _machine(limit: float) -> dict[str, Any]:
    return {
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "wait_policy": os.environ.get("OMP_WAIT_POLICY", ""),
        "cores": os.cpu_count(),
        "matrix_product_gflops": limit / 1e9,
        "software": software_versions(),
    }


def _steps(quick: bool, limit: float) -> list[dict[str, Any]]:
    config = load_config("paper")
    sizes, repeats = ((60, 200), 7) if quick else ((60, 100, 200, 500, 1000, 2000), 15)
    rows = [time_steps(prepare([random_session(n, 2_000)], config.windows)[0], config, repeats) for n in sizes]
    for row in rows:
        for name in ("window", "stream"):
            row[f"{name}_fraction_of_limit"] = row[f"{name}_flops"] / row[name] / limit
    return rows


def _epochs(quick: bool) -> list[dict[str, float]]:
    return (
        time_epochs(60, (2_000, 4_000, 8_000)) if quick else time_epochs(200, (5_000, 10_000, 20_000, 40_000, 80_000))
    )


def _held(quick: bool) -> list[tuple[int, int]]:
    return [(200, 10_000)] if quick else [(n, t) for n in (100, 500, 1000, 2000) for t in (10_000, 30_000, 100_000)]


def _races(quick: bool, recording: str | None) -> list[dict[str, Any]]:
    network = PaperNetworkConfig(n_neurons=600, n_recorded=200, n_samples=20_000, seed=1)  # the recipes saw 0
    if quick:
        network = PaperNetworkConfig(n_neurons=180, n_recorded=60, n_samples=4_000)
    sources: list[PaperNetworkConfig | str] = [network, *([recording] if recording else [])]
    return [race(source, paper_epochs=40 if quick else 100, repeats=7 if quick else 15) for source in sources]


def draw(results: dict[str, Any]) -> Any:
    """Draw the results of `run` that there are: seconds a target by neurons, an epoch by length, memory, the races."""
    panels: list[Callable[[Any], None]] = []
    if results["steps"]:
        panels.append(lambda ax: _draw_steps(ax, results))
    if results["epochs"]:
        panels.append(lambda ax: _draw_epochs(ax, results["epochs"]))
    if results["memory"]:
        panels.append(lambda ax: _draw_memory(ax, results["memory"]))
    panels += [partial(_draw_race, found=found) for found in results["races"]]
    figure = new_figure(5.2 * max(1, len(panels)), 4.4)
    for ax, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0] if panels else [], panels, strict=True):
        panel(ax)
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(frameon=False, fontsize=8)
    return figure


def _draw_steps(ax: Any, results: dict[str, Any]) -> None:
    steps, limit = results["steps"], results["measured"]["steps"]["matrix_product_gflops"] * 1e9
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


def _draw_memory(ax: Any, rows: list[dict[str, Any]]) -> None:
    for samples, color in zip(sorted({row["samples"] for row in rows}), (BLUE, GREEN, ORANGE), strict=False):
        line = [row for row in rows if row["samples"] == samples]
        ax.plot(
            [row["neurons"] for row in line],
            [row["peak"] / 2**30 for row in line],
            color=color,
            marker="o",
            label=f"{samples:,} samples",
        )
    title = "peak memory of a whole fit, libraries included"
    ax.set(xscale="log", yscale="log", xlabel="neurons", ylabel="GiB", title=title)


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
