"""Fixtures that every room shares."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ndx_synapsnet.benchmark.archive import LoopbackArchive
from ndx_synapsnet.nwb.sources.remote.options import RemoteOptions, use_options
from ndx_synapsnet.session import Connectivity, FitResult, Forecast, Normalization, Scores, Session
from ndx_synapsnet.simulate import PaperNetworkConfig, simulate_paper_network

# As the command line does: threads that spin would slow tests down several times on a busy machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# A shell's background jobs ignore Ctrl-C, and what they start inherits that: tests that interrupt would wait in vain.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real recordings kept beside the checkout, where there is one.

    ``NDX_SYNAPSNET_SHARED`` names another place for it.
    """
    beside = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    folder = Path(os.environ.get("NDX_SYNAPSNET_SHARED", beside))
    if not folder.is_dir():
        pytest.skip("the real recordings are not beside this checkout (NDX_SYNAPSNET_SHARED can name their folder)")
    return folder


def _random_session(seed: int = 0, n: int = 12, t: int = 500) -> Session:
    config = PaperNetworkConfig(n_neurons=3 * n, n_recorded=n, n_samples=t, seed=seed)
    return simulate_paper_network(config).session


def _random_result(session: Session, seed: int = 0) -> FitResult:
    """Return a result with every field filled by random numbers of the right shapes: nothing is learned."""
    rng = np.random.default_rng(seed)
    n, t = session.activity.shape
    split = np.repeat(np.array([1, 2, 3], np.uint8), [t * 8 // 10, t // 10, t - t * 8 // 10 - t // 10])
    test = np.flatnonzero(split == 3)[5:]
    mean, std = session.activity.mean(1), session.activity.std(1)
    noisy = session.activity[:, test].T + rng.normal(size=(len(test), n))

    def scores(quality: float) -> Scores:
        return Scores(correlation=rng.normal(quality, 0.1, n), mse=rng.normal(1 - quality**2, 0.05, n))

    def matrix(method: str) -> Connectivity:
        weights = rng.normal(size=(n, n)) * (1 - np.eye(n))
        return Connectivity(weights=weights, method=method, description=f"random {method}", lag_seconds=session.period)

    return FitResult(
        run_id="0123456789abcdef",
        model="synapsnet",
        config={"recipe": "default", "train": {"epochs": 2, "seed": seed}},
        neurons=session.neurons,
        modality=session.modality,
        activity_kind=session.activity_kind,
        unit=session.unit,
        period=session.period,
        behavior_names=session.behavior_names,
        split=split,
        normalization=Normalization(mean, std, session.behavior.mean(1), session.behavior.std(1)),
        embeddings=rng.normal(size=(n, 4)),
        connectivity={name: matrix(name) for name in ("effective", "raw", "ridge_var")},
        forecast=Forecast(values=noisy, index=test, times=session.times[test], split=split[test]),
        scores={"synapsnet": scores(0.4), "mean": Scores(np.full(n, np.nan), np.ones(n)), "ar": scores(0.2)},
        training={
            "epoch": np.arange(3.0),
            "train_loss": np.array([1.2, 1, 0.9]),
            "validation_mse": np.array([1.1, 0.9, 1]),
        },
        weights={"gru.weight": rng.normal(size=(3, 2)).astype(np.float32)},
        verdict="SynapsNet forecasts better than the mean.",
        trustworthy=True,
        provenance={"seed": seed, "source": dict(session.provenance), "software": {"numpy": np.__version__}},
    )


@pytest.fixture
def session() -> Session:
    """A small simulated recording."""
    return _random_session()


@pytest.fixture
def result(session: Session) -> FitResult:
    """A result of random numbers that fits `session`."""
    return _random_result(session)


@pytest.fixture
def no_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """No token, no keyring, no telemetry, no proxy."""
    monkeypatch.setenv("DANDI_NO_ET", "1")
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    for name in ("DANDI_API_KEY", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def start_archive(no_outside: None) -> Iterator[Any]:
    """Start loopback archives, each of a folder and with the settings given; they end with the test."""
    running = []

    def start(folder: Path, **settings: Any) -> LoopbackArchive:
        running.append(LoopbackArchive(folder, **settings).__enter__())
        return running[-1]

    yield start
    for archive in running:
        archive.close()


@pytest.fixture
def use_archive() -> Iterator[Any]:
    """Have ``DANDI:`` mean an archive until the test ends; further settings are of `RemoteOptions`."""
    entered = []

    def use(archive: LoopbackArchive, **settings: Any) -> None:
        settings = {"cache": None, "backoff": 0.001, "tries": 3, "timeout": 5.0, **settings}
        context = use_options(RemoteOptions(instance=archive.api_url, **settings))
        context.__enter__()
        entered.append(context)

    yield use
    for context in reversed(entered):
        context.__exit__(None, None, None)
