"""Sessions made by hand, for the tests of learning."""

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
