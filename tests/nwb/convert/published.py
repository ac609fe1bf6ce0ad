"""A small archive in the layout of Bugeon et al. 2022 (figshare 19448531): names and shapes as published.

Arrays of one number each are columns (n, 1); every experiment has a clock of its own that begins near 0.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

N = 6
PERIOD = 1 / 4.3
TYPES = ["EC", "IN", "Sst-Calb2-Pdlim5", "Vip-Arhgap36-Hmcn1", "EC", "Pvalb-Tpbg"]
STATES = ("Running", "Stationary Desynchronized", "Stationary Synchronized")


def save(path: Path, values: Any, *, column: bool = True) -> None:
    """Save an array; one of one axis as a column."""
    array = np.asarray(values)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array.reshape(-1, 1) if column and array.ndim == 1 else array)


def write_experiment(folder: Path, *, frames: int = 120, n: int = N, seed: int = 0, begin: float = 0.4) -> Path:
    """Write an experiment: activity, states, running and pupil, and for two of the stimuli what was shown."""
    rng = np.random.default_rng(seed)
    times = begin + np.arange(frames) * PERIOD
    save(folder / "frame.neuralActivity.npy", rng.gamma(2.0, 20.0, (frames, n)))
    save(folder / "frame.times.npy", times)
    save(folder / "frame.states.npy", np.repeat([0.0, 2.0, 1.0], [frames // 2, 20, frames - frames // 2 - 20]))
    fast = begin - 0.2 + np.arange(0, frames * PERIOD + 0.5, 0.05)
    save(folder / "running.times.npy", fast)
    save(folder / "running.speed.npy", np.abs(np.sin(fast / 3)))
    film = begin - 0.1 + np.arange(0, frames * PERIOD + 0.3, 1 / 15)
    size = 10 + np.cos(film / 5)
    size[10:20] = np.nan  # blinks
    save(folder / "eye.times.npy", film)
    save(folder / "eye.size.npy", size)
    save(folder / "eye.xPos.npy", np.sin(film))
    save(folder / "eye.yPos.npy", np.cos(film))
    starts = begin + 1 + np.arange(0, frames * PERIOD - 4, 1.5)
    if folder.parent.name == "Drifting Gratings":
        save(folder / "ori.intervals.npy", np.column_stack([starts, starts + 0.5]))
        save(folder / "ori.stimDirection.npy", np.arange(len(starts)) % 4 * 90.0)
        for name in ("stimSize", "stimPosition_Xvis", "stimPosition_Yvis", "contrast"):
            save(folder / f"ori.{name}.npy", np.ones(len(starts)))
    if folder.parent.name == "Natural Scenes":
        save(folder / "nat.intervals.npy", np.column_stack([starts, starts + 0.5]))
        save(folder / "nat.img.npy", np.arange(len(starts)) + 1)
        save(folder / "nat.blank.npy", np.arange(len(starts)) % 5 == 0)
    return folder


def write_session(folder: Path, *, n: int = N, seed: int = 0) -> Path:
    """Write a session of three stimuli; natural scenes were shown twice."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    (folder / "neuron.ttype.txt").write_text("\n".join(TYPES[:n]) + "\n")
    numbers = 100.0 + np.arange(n)
    numbers[[0, 4]] = np.nan  # of excitatory neurons nothing else is known
    save(folder / "neuron.UniqueID.npy", numbers)
    save(folder / "neuron.stackPosCorrected.npy", rng.uniform(0, 400, (n, 2)))
    save(folder / "neuron.depth.npy", 40.0 * (1 + np.arange(n) // 2))
    save(folder / "neuron.plane.npy", 1 + np.arange(n) // 2)
    save(folder / "neuron.rfCenter_Xvis.npy", np.zeros(n))
    save(folder / "neuron.rfCenter_Yvis.npy", np.zeros(n))
    save(folder / "neuron.rfMap.npy", np.zeros((n, 4, 5)))
    save(folder / "neuron.gene_count.npy", rng.poisson(3.0, (n, 4)))
    save(folder / "neuron.prob_ttypes.npy", np.full((n, 8), 1 / 8))
    for i, name in enumerate(("Blank/01", "Drifting Gratings/01", "Natural Scenes/01", "Natural Scenes/02")):
        write_experiment(folder / name, n=n, seed=10 * seed + i)
    return folder


def write_archive(root: Path) -> Path:
    """Write an archive of three sessions of two mice."""
    for seed, name in enumerate(("SB025/2019-10-04", "SB025/2019-10-07", "SB026/2019-10-11")):
        write_session(root / name, seed=seed)
    (root / "states.names.txt").write_text("\n".join(STATES) + "\n")
    (root / "genes.names.txt").write_text("Sst\nVip\nPvalb\nLamp5\n")
    (root / "ttypes.names.txt").write_text("\n".join(sorted(set(TYPES))) + "\n")
    save(root / "img.picture.npy", np.zeros((3, 4, 2)))
    return root
