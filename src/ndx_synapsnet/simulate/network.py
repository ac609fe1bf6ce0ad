"""What all simulated networks share: sizes, slow shared variables, and how arrays are dressed as a session."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime, timezone
from importlib.metadata import version
from numbers import Real
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ..session import ActivityKind, Modality, Neurons, Session
from .placement import PLACEMENTS, Placement

_E = TypeVar("_E")

_TABLES: dict[str, str] = {
    "ecephys": "/units",
    "ophys": "/processing/ophys/ImageSegmentation/PlaneSegmentation",
}


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes and inputs that every kind of network has."""

    n_neurons: int = 300
    """Neurons in the network, M."""
    n_recorded: int = 100
    """Neurons that are recorded, chosen at random; the others drive them unseen."""
    n_samples: int = 20_000
    """Samples kept, after `burn_in`."""
    density: float = 0.05
    """Fraction of ordered pairs that are connected."""
    placement: Placement = "random"
    """Where the connections are: denser along the Mandelbrot set's outline, or anywhere alike."""
    n_behavior: int = 2
    """Behavioural variables, slow inputs shared by all neurons, which the model is shown."""
    n_task: int = 2
    """Task variables, likewise, which it is not."""
    period: float = 1 / 30
    """Seconds a sample."""
    burn_in: int = 100
    """Samples dropped at the start."""
    seed: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type == "float" and not _finite(value):
                raise ValueError(f"{field.name} is {value!r}, expected a finite number")
            if field.type == "tuple[float, float]" and not (len(value) == 2 and all(map(_finite, value))):
                raise ValueError(f"{field.name} is {value!r}, expected two finite numbers")
        if not 2 <= self.n_recorded <= self.n_neurons:
            raise ValueError(f"n_recorded is {self.n_recorded}, expected 2 to n_neurons ({self.n_neurons})")
        if self.n_samples < 1 or self.burn_in < 1:
            raise ValueError("n_samples and burn_in must be at least 1")
        if not 0 < self.density < 1:
            raise ValueError(f"density is {self.density}, expected a fraction between 0 and 1")
        if self.placement not in PLACEMENTS:
            raise ValueError(f"placement is {self.placement!r}, expected 'mandelbrot' or 'random'")
        if self.n_behavior < 0 or self.n_task < 0:
            raise ValueError(f"n_behavior is {self.n_behavior} and n_task {self.n_task}, expected 0 or more")
        if not self.period > 0:
            raise ValueError(f"period is {self.period}, expected a positive number of seconds")
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}, expected 0 or more")


def _finite(value: Any) -> bool:
    return isinstance(value, Real) and math.isfinite(value)


def refuse_unless(config: object, condition: str, **fits: bool) -> None:
    """Raise ValueError naming the first of the fields of `config` that does not fit; `condition` says what would."""
    for name, good in fits.items():
        if not good:
            raise ValueError(f"{name} is {getattr(config, name)!r}, expected {condition}")


def slow_variables(total: int, k: int, persistence: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return (total, k) independent unit-variance first-order autoregressive series.

    Parameters
    ----------
    total : int
        Samples.
    k : int
        Series.
    persistence : float
        Autocorrelation from one sample to the next, 0 to below 1.
    rng : numpy.random.Generator
        Source of the draw.
    """
    steps = rng.normal(size=(total, k))
    series = np.empty((total, k))
    series[0] = steps[0]
    innovation = np.sqrt(1 - persistence**2)
    for t in range(1, total):
        series[t] = persistence * series[t - 1] + innovation * steps[t]
    return series


def steps_of(steps: Iterable[_E], *, progress: bool, total: int | None = None) -> Iterable[_E]:
    """Return `steps` to loop over, with a bar on a terminal if there is to be `progress`."""
    return tqdm(steps, total=total, disable=None if progress else True, unit="sample", desc="simulating", leave=False)


def network_neurons(n: int, modality: Modality, cell_type: NDArray[np.str_] | None = None) -> Neurons:
    """Return all neurons of a network; their ids are their numbers in it."""
    return Neurons(
        id=np.arange(n).astype(np.str_),
        source_path=np.full(n, _TABLES[modality]),
        source_object_id=np.full(n, ""),
        source_row=np.arange(n),
        cell_type=cell_type,
    )


def dressed(
    config: NetworkConfig,
    activity: NDArray[np.float32],
    behavior: NDArray[np.floating],
    neurons: Neurons,
    recorded: NDArray[np.int64],
    *,
    name: str,
    description: str,
    activity_kind: ActivityKind = "spike_counts",
    unit: str = "spikes",
    modality: Modality = "ecephys",
) -> Session:
    """Return arrays as a session, with what made it in the provenance.

    Parameters
    ----------
    config : NetworkConfig
        What was simulated.
    activity : (N, T) array
        Activity of the recorded neurons.
    behavior : (K, T) array
        Behavioural variables.
    neurons : Neurons
        All M neurons.
    recorded : (N,) array
        Rows of the recorded ones.
    name : str
        The simulator's name.
    description : str
        One sentence on the recording.
    activity_kind, unit, modality : str
        As in `Session`.
    """
    t = activity.shape[1]
    names = tuple(f"behavior_{k}" for k in range(config.n_behavior))
    # the paper's was the first, and goes by the plain name
    label = "simulation" if name == "paper" else f"simulation-{name}"
    return Session(
        activity=activity,
        times=np.arange(t, dtype=np.float64) * config.period,
        period=config.period,
        segment=np.zeros(t, np.int32),
        valid=np.ones(t, bool),
        behavior=behavior.astype(np.float32),
        behavior_names=names,
        neurons=replace(neurons.select(recorded), source_row=np.arange(len(recorded))),
        activity_kind=activity_kind,
        unit=unit,
        modality=modality,
        provenance={
            "uri": f"simulation:{name}?seed={config.seed}",
            "format": "simulation",
            "reader": "simulation",
            "read_config": asdict(config),
            "identifier": f"ndx-synapsnet-{version('ndx-synapsnet')}-{label}-{config.seed}",
            "session_id": f"{label}-{config.seed}",
            "session_description": description,
            "session_start_time": datetime(1970, 1, 1, tzinfo=timezone.utc).isoformat(),
            "subject": None,
            "series": [],
            "behavior": [{"name": name, "path": "", "object_id": "", "missing": 0.0} for name in names],
            "notes": [f"{config.n_recorded} of {config.n_neurons} simulated neurons are recorded"],
        },
    )


def random_session(neurons: int, samples: int, behaviors: int = 2) -> Session:
    """Return a session of random numbers, for timing only."""
    rng = np.random.default_rng(0)
    names = np.arange(neurons).astype(str)
    return Session(
        activity=rng.standard_normal((neurons, samples), dtype=np.float32),
        times=np.arange(samples, dtype=np.float64),
        period=1.0,
        segment=np.zeros(samples, np.int32),
        valid=np.ones(samples, bool),
        behavior=rng.standard_normal((behaviors, samples), dtype=np.float32),
        behavior_names=tuple(f"b{k}" for k in range(behaviors)),
        neurons=Neurons(names, names, names, np.arange(neurons)),
        activity_kind="other",
        unit="",
        modality="ophys",
    )
