"""The cost of a validation loss: the paper's recipe trained the plain way, against our recipes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from typing import Any

import numpy as np

from ..config import load_config
from ..learn.preparation import prepare
from ..learn.synapsnet import SynapsNet
from ..learn.train import steps_per_epoch, train
from ..session import Session
from ..simulate import PaperNetworkConfig, simulate_paper_network
from .step import time_steps

RECIPES = ("fast", "default")
"""Those that race against the paper's."""


def race(source: PaperNetworkConfig | str, *, paper_epochs: int = 100, repeats: int = 15) -> dict[str, Any]:
    """Compare the cost of the paper's recipe, trained the plain way, with ours to a loss no worse than its best.

    The paper's recipe (one λ, not its grid of three) is run with our step, which gives the same numbers as the twin's
    (`tests/test_benchmark.py`); its cost is its number of steps times the twin's step, timed on the same session: an
    extrapolation, and said to be one. It leaves out the twin's validation. Ours is the wall time of a new process with
    an empty cache of compiled code, from the making of the model to the end of the epoch that reached the loss, or of
    the whole run if none did: compilation and validation are in it. Both forecast the same samples, ours from up to
    W + L - 1 samples of the past (``context="stream"``): part of the gain may be that, not cheaper computation.

    Parameters
    ----------
    source : PaperNetworkConfig or str
        What to simulate, or the address of a recording.
    paper_epochs : int
        100, or fewer for a quick look.
    repeats : int
        Timed steps of the twin.
    """
    session = load(source)
    paper = load_config("paper", overrides={"train": {"epochs": paper_epochs}})
    windows = prepare([session], paper.windows)
    twin_step = time_steps(windows[0], paper, repeats)["twin"]
    theirs = SynapsNet.started(windows, paper.model, seed=paper.train.seed)
    run = train(theirs, theirs.windows, paper.train)
    losses = run.curve["validation_mse"]
    per_epoch = steps_per_epoch(len(windows[0].targets["train"]), paper.train)
    best, best_epoch = float(losses.min()), int(losses.argmin()) + 1
    full, until_best = (epochs * per_epoch * twin_step for epochs in (paper_epochs, best_epoch))
    ours = {}
    for recipe in RECIPES:
        found = _apart(source, recipe)
        reached = np.flatnonzero(np.array(found["validation_mse"]) <= best)
        seconds = found["seconds"][reached[0] if len(reached) else -1]
        ours[recipe] = {
            **found,
            "best": min(found["validation_mse"]),
            "reached": bool(len(reached)),
            "cost": seconds,
            "times_cheaper_than_full": full / seconds if len(reached) else None,
            "times_cheaper_than_to_best": until_best / seconds if len(reached) else None,
        }
    return {
        "source": asdict(source) if isinstance(source, PaperNetworkConfig) else source.rsplit("/", 1)[-1],
        "neurons": windows[0].n_neurons,
        "samples": session.n_samples,
        "twin_step": twin_step,
        "paper": {
            "epochs": paper_epochs,
            "steps_per_epoch": per_epoch,
            "validation_mse": losses.tolist(),
            "best": best,
            "best_epoch": best_epoch,
            "twin_seconds_full": full,
            "twin_seconds_to_best": until_best,
            "seconds_with_our_step": run.seconds,
        },
        "ours": ours,
    }


def load(source: PaperNetworkConfig | str) -> Session:
    """Return the session that `source` names: simulated, or read."""
    if isinstance(source, PaperNetworkConfig):
        return simulate_paper_network(source).session
    from ..nwb.readers import read_session

    return read_session(source)


def _apart(source: PaperNetworkConfig | str, recipe: str) -> dict[str, Any]:
    """Train a recipe in a new process with an empty cache, and return its seconds and losses by epoch."""
    made = asdict(source) if isinstance(source, PaperNetworkConfig) else source
    code = "import sys; from ndx_synapsnet.benchmark import race; race.child(*sys.argv[1:])"
    with tempfile.TemporaryDirectory() as cache:
        done = subprocess.run(
            [sys.executable, "-c", code, json.dumps(made), recipe],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "XDG_CACHE_HOME": cache},
        )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def child(made: str, recipe: str) -> None:
    """Train a recipe and print its seconds and losses by epoch as JSON (see `race`)."""
    values = json.loads(made)
    session = load(values if isinstance(values, str) else PaperNetworkConfig(**values))
    config = load_config(recipe)
    windows = prepare([session], config.windows)
    begin = time.perf_counter()
    model = SynapsNet.started(windows, config.model, seed=config.train.seed)
    before = time.perf_counter() - begin
    curve = train(model, model.windows, config.train).curve
    seconds = (curve["seconds"] + before).tolist()
    print(json.dumps({"seconds": seconds, "validation_mse": curve["validation_mse"].tolist()}))
