"""What a fit would cost, from a few timed steps on this machine."""

from __future__ import annotations

import math
import time
from typing import NamedTuple

from .config import ExperimentConfig, load_config
from .learn.moments import gather_moments
from .learn.preparation import prepare
from .learn.schedule import total_steps
from .learn.synapsnet import SynapsNet
from .learn.train import resolve_device
from .learn.windows import Windows
from .simulate import random_session

_TRIED_NEURONS = 200  # at most; the cost grows in proportion beyond
_LINEAR_PASSES = 20  # of the linear stage with latent drive over the recording, each about what its moments take
_LIBRARY_BYTES = 500 * 2**20  # what Python, torch and pynwb take before there are data


class Cost(NamedTuple):
    """What a fit takes."""

    seconds: float
    bytes: int


def estimate_cost(n_neurons: int, n_samples: int, config: ExperimentConfig | None = None) -> Cost:
    """Estimate the time and peak memory of a fit, from a few timed steps on random numbers.

    Reading and the reference predictors are not in it; with ``drive``, the stages before and after training are.

    Parameters
    ----------
    n_neurons, n_samples : int
        Size of the recording.
    config : ExperimentConfig, optional
        The settings; recipe ``default`` if left out.
    """
    config = config or load_config()
    tried = max(2, min(n_neurons, _TRIED_NEURONS))
    size = config.train.batch_size
    context = config.windows.window + config.model.stretch
    windows = _random_windows(tried, 20 * (size * config.model.stretch + context), config)
    model = SynapsNet(windows, config.model, fits=[None] if config.model.drive else None)
    batch = windows[0].rows(windows[0].targets["train"], model.stretch).batch(slice(size))
    seconds = []
    for _ in range(4):
        begin = time.perf_counter()
        loss = model.loss(batch)
        loss.backward()
        float(loss.detach())  # waits for a GPU
        seconds.append(time.perf_counter() - begin)
    together = config.train.sessions_per_step
    trained = n_samples * config.windows.split[0]
    steps = total_steps(math.ceil(trained / model.stretch), config.train) * (len(config.penalty_grid) or 1)
    share = n_neurons / tried
    total = min(seconds) * together * steps * share
    series, matrix = 4 * n_neurons * n_samples, 4 * n_neurons**2
    stage = series  # what one of them takes beside the recording and its z-scored copy
    if config.model.drive:
        linear, slopes = _stages(model, windows[0])
        total += trained * share * (linear * share + slopes)
        shared = len(windows[0].behavior_names) + 4
        stage = max(
            (3 * config.windows.window + 14) * 2 * matrix,  # the linear stage: products of all lags, and copies
            series * 3 // 2 + (3 * shared + 12) * matrix,  # the readout: three series in half precision, and products
        )
    columns = config.train.batch_size * n_neurons * (config.windows.window + model.stretch - 1)
    arrays = 2 * series + 6 * matrix + stage
    return Cost(total, arrays + 4 * columns * 8 * config.model.hidden + _LIBRARY_BYTES)


def _stages(model: SynapsNet, windows: Windows) -> tuple[float, float]:
    """Return the seconds a training sample that the linear stage and the readout take at these neurons."""
    training = windows.targets["train"]
    begin = time.perf_counter()
    gather_moments(windows, "train", population=True, first=2)
    linear = _LINEAR_PASSES * (time.perf_counter() - begin) / len(training)
    some = training[:64]
    model.slopes(windows.batch(some))
    begin = time.perf_counter()
    model.slopes(windows.batch(some))
    return linear, (time.perf_counter() - begin) / len(some)


def _random_windows(neurons: int, samples: int, config: ExperimentConfig) -> list[Windows]:
    session = random_session(neurons, samples)
    return prepare([session], config.windows, device=resolve_device(config.train.device))
