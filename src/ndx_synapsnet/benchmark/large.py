"""A session of Neuropixels size on one device: the paper's recipe in full, and ours to the same loss.

For a GPU above all; it runs anywhere, and is tested small.
"""

from __future__ import annotations

import platform
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..config import ExperimentConfig, load_config
from ..learn.preparation import prepare
from ..learn.synapsnet import SynapsNet
from ..learn.train import resolve_device, train
from ..learn.windows import Windows
from ..provenance import software_versions
from ..simulate import PaperNetworkConfig, simulate_paper_network
from .record import write_json
from .step import ROWS, machine_flops, step_flops


def run(
    folder: Path, *, device: str = "auto", neurons: int = 680, samples: int = 54_000, epochs: int = 100
) -> dict[str, Any]:
    """Train both recipes on a simulated session, and leave ``large.json`` in `folder`.

    Parameters
    ----------
    folder : Path
        Where to; made if missing.
    device : str
        As in `TrainConfig.device`.
    neurons, samples : int
        Size of the session; three times as many neurons are simulated.
    epochs : int
        Of the paper's recipe.
    """
    folder.mkdir(parents=True, exist_ok=True)
    where = resolve_device(device)
    network = PaperNetworkConfig(n_neurons=3 * neurons, n_recorded=neurons, n_samples=samples)
    session = simulate_paper_network(network).session
    windows = prepare([session], device=where)
    curves = {}
    configs = {
        "paper": load_config("paper", overrides={"train": {"epochs": epochs}}),
        "fast": load_config("fast"),
    }
    for name, config in configs.items():
        model = SynapsNet.started(windows, config.model)
        training = train(model, model.windows, config.train)
        peak = torch.cuda.max_memory_allocated(where) if where.type == "cuda" else None
        curves[name] = {key: training.curve[key].tolist() for key in ("seconds", "validation_mse")}
    best = min(curves["paper"]["validation_mse"])
    reached = np.flatnonzero(np.array(curves["fast"]["validation_mse"]) <= best)
    limit = machine_flops(device=where)
    found = {
        "device": torch.cuda.get_device_name(where) if where.type == "cuda" else platform.processor() or "cpu",
        "software": software_versions(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "neurons": neurons,
        "samples": samples,
        "curves": curves,
        "paper_seconds": curves["paper"]["seconds"][-1],
        "paper_best": best,
        "fast_seconds_to_it": curves["fast"]["seconds"][reached[0]] if len(reached) else None,
        "matrix_product_gflops": limit / 1e9,
        "steps": {name: _step(windows[0], config, limit) for name, config in configs.items()},
        "precision": precision(windows[0], configs["paper"]),
        "peak_bytes": peak,
    }
    write_json(folder / "large.json", found)
    return found


def _step(windows: Windows, config: ExperimentConfig, limit: float, repeats: int = 20) -> dict[str, float]:
    """Time a training step (without Adam), and compare its work with the device's limit."""
    model = SynapsNet.started([windows], config.model)
    windows = model.windows[0]
    rows = windows.rows(windows.targets["train"], model.stretch)
    count = min(config.train.batch_size, len(rows))
    seconds = []
    for _ in range(repeats):
        _wait(windows.device)
        begin = time.perf_counter()
        model.loss(rows.batch(slice(0, count))).backward()
        _wait(windows.device)
        seconds.append(time.perf_counter() - begin)
    flops = step_flops(windows.n_neurons, config, windows.window + model.stretch - 1, count)
    median = float(np.median(seconds))
    return {"seconds": median, "flops": flops, "fraction_of_limit": flops / median / limit}


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def precision(windows: Windows, config: ExperimentConfig) -> dict[str, float]:
    """Return the error of the gradient of A against float64, relative to its largest entry, by kind of product.

    ``float32`` as trained; ``tf32`` with the products a GPU may round further, which are off by default.
    """
    model = SynapsNet([windows], config.model).eval()  # without dropout, whose numbers differ by type
    indices = windows.targets["train"][:ROWS]

    def gradient(dtype: torch.dtype) -> Tensor:
        model.to(dtype)
        batch = windows.batch(indices)
        cast = type(batch)(batch.activity.to(dtype), batch.behavior.to(dtype), batch.target.to(dtype), batch.session)
        (found,) = torch.autograd.grad(model.loss(cast), [model.weights[0]])
        return found.double()

    exact = gradient(torch.float64)
    before = torch.get_float32_matmul_precision()
    errors = {}
    try:
        kinds = {"float32": "highest"} | ({"tf32": "high"} if windows.device.type == "cuda" else {})
        for name, setting in kinds.items():
            torch.set_float32_matmul_precision(setting)
            errors[name] = float((gradient(torch.float32) - exact).abs().max() / exact.abs().max())
    finally:
        torch.set_float32_matmul_precision(before)
    return errors
