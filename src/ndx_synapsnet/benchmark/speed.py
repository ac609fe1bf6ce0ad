"""What training costs: a step against the plain way, memory, and the time to the paper recipe's best loss."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..experiment import ExperimentConfig, load_config, software_versions
from ..learn.synapsnet import SynapsNet
from ..learn.train import Training, steps_per_epoch, train
from ..learn.windows import Windows, prepare
from ..show.plots import BLUE, GREY, ORANGE, new_figure, save_figures
from ..simulate import PaperNetworkConfig, random_session, simulate_paper_network
from .twin import Twin

_BATCH = 32


def step_flops(neurons: int, config: ExperimentConfig, batch: int = _BATCH) -> float:
    """Return the floating-point operations that a training step needs, without any that repeat constants.

    Forward, and twice that backward, for the GRU's recurrent product (W - 1 steps: the first has no state) and its
    products with the two series; A X and the gradient of A. Gate arithmetic and the optimiser are left out.
    """
    window, hidden = config.windows.window, config.model.hidden
    columns = batch * neurons
    decoder = 3 * 2 * 3 * hidden * columns * (hidden * (window - 1) + 2 * window)
    return float(decoder + 2 * 2 * neurons**2 * batch * window)


def machine_flops(size: int = 3000, repeats: int = 5) -> float:
    """Return the float32 operations per second of a large matrix product, best of `repeats`."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    return 2 * size**3 / min(_timed(lambda: a @ b, repeats))


def _timed(call: Callable[[], Any], repeats: int) -> list[float]:
    call()
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begin)
    return seconds


def _step(model: torch.nn.Module, loss: Callable[[], torch.Tensor], optimizer: torch.optim.Optimizer) -> None:
    model.train()
    optimizer.zero_grad(set_to_none=True)
    loss().backward()
    optimizer.step()


def time_steps(neurons: int, config: ExperimentConfig, repeats: int) -> dict[str, Any]:
    """Time one training step of ours and of the twin, in alternation; medians in seconds.

    Parameters
    ----------
    neurons : int
        N.
    config : ExperimentConfig
        The settings of both.
    repeats : int
        Timed steps of each.
    """
    windows = prepare([random_session(neurons, 2_000)], config.windows)
    ours = SynapsNet(windows, replace(config.model, decoder="gru"))
    twin = Twin(neurons, 2, config.model.embedding, config.model.hidden, config.model.dropout)
    indices = windows[0].targets["train"][torch.randperm(1_000)[:_BATCH]]
    optimizers = [torch.optim.Adam(model.parameters(), lr=1e-3) for model in (ours, twin)]

    def ours_loss() -> torch.Tensor:
        return ours.loss(windows[0].batch(indices))

    def twin_loss() -> torch.Tensor:
        batch = windows[0].batch(indices)
        return twin.loss(batch.activity, batch.behavior, batch.target)

    seconds: dict[str, list[float]] = {"ours": [], "twin": []}
    for round_ in range(repeats + 1):
        for name, model, loss, optimizer in zip(seconds, (ours, twin), (ours_loss, twin_loss), optimizers, strict=True):
            begin = time.perf_counter()
            _step(model, loss, optimizer)
            if round_:  # the first warms up
                seconds[name].append(time.perf_counter() - begin)
    medians = {name: float(np.median(values)) for name, values in seconds.items()}
    ratio = medians["twin"] / medians["ours"]
    return {"neurons": neurons, **medians, "ratio": ratio, "flops": step_flops(neurons, config)}


def peak_memory(neurons: int, samples: int, steps: int) -> dict[str, Any]:
    """Train for a few steps on random numbers in a new process, and return its peak resident memory in bytes.

    The process's own libraries are in it; so is the recording, once as read and once z-scored.
    """
    code = (
        "import json, sys; from ndx_synapsnet.benchmark import speed; "
        "n, t, steps = map(int, sys.argv[1:]); base = speed.peak_resident(); "
        "speed.few_steps(n, t, steps); print(json.dumps([base, speed.peak_resident()]))"
    )
    command = [sys.executable, "-c", code, str(neurons), str(samples), str(steps)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    base, peak = json.loads(done.stdout)
    return {"neurons": neurons, "samples": samples, "libraries": base, "peak": peak}


def peak_resident() -> int:
    """Return this process's peak resident memory in bytes.

    From the kernel's own account where there is one: `getrusage` counts what the parent held when it forked.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return 1024 * int(line.split()[1])
    import resource

    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def few_steps(neurons: int, samples: int, steps: int) -> None:
    """Train the default recipe for `steps` steps on random numbers, validation included (see `peak_memory`)."""
    config = load_config(overrides={"train": {"epochs": 1, "min_steps": 0, "max_steps": steps}})
    windows = prepare([random_session(neurons, samples)], config.windows)
    train(SynapsNet(windows, config.model), windows, config.train, progress=False)


def time_to_loss(network: PaperNetworkConfig, twin_step: float, *, paper_epochs: int) -> dict[str, Any]:
    """Compare the cost of the paper's recipe, trained the plain way, with ours to a loss no worse than its best.

    The paper's recipe is run with our step, which gives the same numbers as the twin's (`tests/learn`), and its cost
    is its number of steps times the twin's measured step: an extrapolation, and said to be one. Our cost is the wall
    time from the first call to the end of the epoch that reached the loss, or of the whole run if none did.

    Parameters
    ----------
    network : PaperNetworkConfig
        The simulated recording.
    twin_step : float
        Seconds of the twin's step at this number of neurons.
    paper_epochs : int
        100, or fewer for a quick look.
    """
    session = simulate_paper_network(network).session
    paper = load_config("paper", overrides={"train": {"epochs": paper_epochs}})
    ours = load_config("default")
    runs: dict[str, Training] = {}
    windows: list[Windows] = []
    for name, config in (("ours", ours), ("paper", paper)):
        windows = prepare([session], config.windows)
        model = SynapsNet(windows, config.model, seed=config.train.seed)
        runs[name] = train(model, windows, config.train)
    per_epoch = steps_per_epoch(windows, paper.train)
    best = float(runs["paper"].curve["validation_mse"].min())
    best_epoch = int(runs["paper"].curve["validation_mse"].argmin()) + 1
    reached = np.flatnonzero(runs["ours"].curve["validation_mse"] <= best)
    ours_seconds = float(runs["ours"].curve["seconds"][reached[0] if len(reached) else -1])
    full, until_best = paper_epochs * per_epoch * twin_step, best_epoch * per_epoch * twin_step
    return {
        "neurons": network.n_recorded,
        "samples": network.n_samples,
        "paper_best": best,
        "paper_best_epoch": best_epoch,
        "paper_epochs": paper_epochs,
        "ours_best": float(runs["ours"].curve["validation_mse"].min()),
        "reached": bool(len(reached)),
        "ours_seconds": ours_seconds,
        "twin_seconds_full": full,
        "twin_seconds_to_best": until_best,
        "times_cheaper_than_full": full / ours_seconds,
        "times_cheaper_than_to_best": until_best / ours_seconds,
        "curves": {name: [run.curve[c].tolist() for c in ("seconds", "validation_mse")] for name, run in runs.items()},
    }


def run(folder: Path, *, quick: bool = False) -> dict[str, Any]:
    """Run everything, and leave ``speed.json`` and ``speed.png`` in `folder`.

    Parameters
    ----------
    folder : Path
        Where to; made if missing.
    quick : bool
        Smaller sizes, about a minute.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = load_config("paper")
    sizes, repeats = ((60, 200), 7) if quick else ((100, 500, 1000, 2000), 15)
    lengths = ((200, 10_000),) if quick else ((2000, 10_000), (2000, 30_000), (2000, 100_000), (500, 100_000))
    network = PaperNetworkConfig(n_neurons=600, n_recorded=200, n_samples=20_000)
    if quick:
        network = PaperNetworkConfig(n_neurons=180, n_recorded=60, n_samples=4_000)
    limit = machine_flops()
    steps = [time_steps(n, config, repeats) for n in sizes]
    for row in steps:
        row["fraction_of_limit"] = row["flops"] / row["ours"] / limit
    twin_step = time_steps(network.n_recorded, config, repeats)["twin"]
    results = {
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "threads": torch.get_num_threads(),
            "cores": os.cpu_count(),
            "matrix_product_gflops": limit / 1e9,
        },
        "software": software_versions(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "quick": quick,
        "steps": steps,
        "memory": [peak_memory(n, t, steps=20) for n, t in lengths],
        "time_to_loss": time_to_loss(network, twin_step, paper_epochs=40 if quick else 100),
    }
    (folder / "speed.json").write_text(json.dumps(results, indent=1) + "\n")
    save_figures({"speed": draw(results)}, folder)
    return results


def draw(results: dict[str, Any]) -> Any:
    """Draw the results of `run`: seconds a step, and validation MSE against the seconds it cost."""
    figure = new_figure(11, 4.2)
    left, right = figure.subplots(1, 2)
    neurons = [row["neurons"] for row in results["steps"]]
    for name, color, label in (("twin", ORANGE, "plain nn.GRU"), ("ours", BLUE, "ndx-synapsnet")):
        left.plot(neurons, [row[name] for row in results["steps"]], color=color, marker="o", label=label)
    limit = results["machine"]["matrix_product_gflops"] * 1e9
    bound = [row["flops"] / limit for row in results["steps"]]
    left.plot(neurons, bound, color=GREY, ls=":", label="at the rate of a large matrix product")
    left.set(xscale="log", yscale="log", xlabel="neurons", ylabel="seconds a step", title="one step of 32 windows")
    left.legend(frameon=False, fontsize=8)
    found = results["time_to_loss"]
    seconds, mse = found["curves"]["ours"]
    right.plot(seconds, mse, color=BLUE, marker="o", ms=3, label="recipe default, measured")
    epochs = len(found["curves"]["paper"][1])
    cost = found["twin_seconds_full"] / epochs * np.arange(1, epochs + 1)
    right.plot(cost, found["curves"]["paper"][1], color=ORANGE, label="recipe paper, plain nn.GRU (steps x step time)")
    right.axhline(found["paper_best"], color=GREY, ls="--", lw=1, label="the paper recipe's best")
    title = f"{found['neurons']} neurons x {found['samples']} samples"
    right.set(xscale="log", xlabel="seconds", ylabel="validation MSE", title=title)
    right.legend(frameon=False, fontsize=8)
    for ax in (left, right):
        ax.spines[["top", "right"]].set_visible(False)
    return figure
