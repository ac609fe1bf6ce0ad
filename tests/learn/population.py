"""A small spiking population with known wiring, and sessions made by hand, for the tests of learning."""

from __future__ import annotations

import numpy as np

from ndx_synapsnet.session import Neurons, Session


def neurons(count: int, identity: list[str] | None = None) -> Neurons:
    return Neurons(
        id=np.arange(count).astype(str),
        source_path=np.full(count, "/units"),
        source_object_id=np.full(count, "made-by-hand"),
        source_row=np.arange(count),
        identity=None if identity is None else np.array(identity),
    )


def session(
    activity: np.ndarray,
    behavior: np.ndarray | None = None,
    *,
    names: tuple[str, ...] | None = None,
    segment: np.ndarray | None = None,
    valid: np.ndarray | None = None,
    identity: list[str] | None = None,
) -> Session:
    """A session of `activity` (N, T), with whatever else a test needs."""
    n, t = activity.shape
    behavior = np.zeros((0, t)) if behavior is None else behavior
    return Session(
        activity=activity,
        times=np.arange(t) / 30,
        period=1 / 30,
        segment=np.zeros(t, int) if segment is None else segment,
        valid=np.ones(t, bool) if valid is None else valid,
        behavior=behavior,
        behavior_names=names or tuple(f"behavior_{k}" for k in range(len(behavior))),
        neurons=neurons(n, identity),
        activity_kind="spike_counts",
        unit="count",
        modality="ecephys",
        provenance={"uri": "made-by-hand.nwb"},
    )


def noise_session(n: int = 6, t: int = 400, k: int = 2, seed: int = 0, **settings) -> Session:
    """A session of coupled noise, in which there is something to learn but little."""
    rng = np.random.default_rng(seed)
    weights = 0.3 * rng.normal(size=(n, n)) / np.sqrt(n)
    activity, behavior = np.zeros((n, t)), rng.normal(size=(k, t))
    for s in range(1, t):
        drive = behavior[: min(k, 1), s - 1].sum()
        activity[:, s] = weights @ activity[:, s - 1] + 0.2 * drive + rng.normal(size=n)
    return session(activity, behavior, **settings)


def slow(rng: np.random.Generator, steps: int, count: int, persistence: float = 0.95) -> np.ndarray:
    """Stationary AR(1) noise (steps, count) of unit variance."""
    series = np.zeros((steps, count))
    for s in range(1, steps):
        series[s] = persistence * series[s - 1] + np.sqrt(1 - persistence**2) * rng.normal(size=count)
    return series


def spiking_population(
    recorded: int = 60, total: int = 180, samples: int = 10_000, seed: int = 0
) -> tuple[Session, np.ndarray]:
    """The paper's simulator with random wiring (section 3.2): counts of the recorded neurons, and A among them.

    R(t) = tanh(R̄ + A X(t-1) + w2 B(t-1) + w3 V(t-1) - w4 X(t-1) + noise), at least 0, X ~ Poisson(R). The two
    behaviours B are given, the two task variables V hidden.
    """
    rng = np.random.default_rng(seed)
    burn, density = 100, 0.05
    wiring = rng.normal(size=(total, total)) * (rng.random((total, total)) < density) / np.sqrt(density * total)
    np.fill_diagonal(wiring, 0)
    wiring *= rng.uniform(0.5, 1.5, size=(total, 1))
    behavior, task = slow(rng, samples + burn, 2), slow(rng, samples + burn, 2)
    drive = rng.uniform(0.1, 0.5, total) + 0.05 * rng.normal(size=(samples + burn, total))
    drive[1:] += 0.3 * (behavior[:-1] @ rng.normal(size=(2, total)) + task[:-1] @ rng.normal(size=(2, total)))
    step = wiring - np.diag(0.1 * rng.uniform(0.5, 1.5, total))
    counts = np.zeros((samples + burn, total))
    for s in range(1, samples + burn):
        counts[s] = rng.poisson(np.maximum(np.tanh(drive[s] + step @ counts[s - 1]), 0))
    chosen = np.sort(rng.choice(total, recorded, replace=False))
    return session(counts[burn:, chosen].T, behavior[burn:].T), wiring[np.ix_(chosen, chosen)]
