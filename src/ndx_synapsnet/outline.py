"""Results as a fit would give them, all numbers 0: what is written of them, and how much, is known beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .assembly import forecast_samples, frame
from .config import ExperimentConfig, load_config
from .learn.descent import CURVE
from .learn.drive import DriveConfig
from .learn.linear import REFERENCES
from .learn.preparation import prepare
from .learn.synapsnet import SynapsNet
from .learn.windows import Windows
from .provenance import software_versions
from .session import Connectivity, FitResult, Forecast, Scores, Session


def outline(sessions: Session | Sequence[Session], config: ExperimentConfig | None = None) -> list[FitResult]:
    """Return results of the shapes that `experiment.fit` would give, without fitting anything.

    Decoder weights are as many as they can be; everything else has the size that it will have.

    Parameters
    ----------
    sessions : Session or sequence of Session
        The recordings that are to be fitted together.
    config : ExperimentConfig, optional
        The settings; recipe ``default`` if left out.

    Returns
    -------
    list of FitResult
        One a session, in order.

    Raises
    ------
    InputError
        If a session is too short, or has too few neurons that are active: what `fit` would say before it begins.
    """
    sessions = [sessions] if isinstance(sessions, Session) else list(sessions)
    config = config or load_config()
    windows = prepare(sessions, config.windows)
    fits = [None] * len(windows) if config.model.drive else None
    model = SynapsNet(windows, config.model, seed=config.train.seed, fits=fits)
    return [_outline(session, prepared, model, config) for session, prepared in zip(sessions, windows, strict=True)]


def _outline(session: Session, windows: Windows, model: SynapsNet, config: ExperimentConfig) -> FitResult:
    n = windows.n_neurons
    score = np.zeros(n, np.float32)
    index = forecast_samples(windows, config.keep).cpu().numpy()
    names = ["synapsnet", *REFERENCES, *(["ar_long"] if model.stretch > 1 else [])]
    with_currents = config.keep == "all" and config.model.use_connectivity
    values = np.zeros((len(index), n), np.float32)
    return FitResult(
        run_id="0" * 32,
        model="synapsnet",
        config=asdict(config),
        **frame(session, windows),
        embeddings=np.zeros(model.embeddings(windows.session).shape, np.float32),
        connectivity=_connectivity(n, session.period, config),
        forecast=Forecast(
            values=values,
            index=index,
            times=session.times[index],
            split=windows.split[index],
            currents=values if with_currents else None,
        ),
        scores={name: Scores(score, score) for name in names},
        training={name: np.zeros(config.train.epochs) for name in CURVE},
        weights=_weights(windows, model, config),
        verdict="",
        trustworthy=False,
        provenance={
            "source": dict(session.provenance),
            "software": software_versions(),
            "seed": config.train.seed,
            "notes": list(windows.notes),
        },
    )


def _connectivity(n: int, period: float, config: ExperimentConfig) -> dict[str, Connectivity]:
    """Return the matrices, with uncertainty where a linear stage gives it."""
    if not config.model.use_connectivity:
        return {}
    zeros = np.zeros((n, n), np.float32)
    common: dict[str, Any] = {"weights": zeros, "description": "", "lag_seconds": period}
    tested = dict.fromkeys(("standard_error", "p_value", "q_value"), zeros if config.model.drive else None)
    return {
        "effective": Connectivity(method="synapsnet", **{**common, **tested}),
        "raw": Connectivity(method="synapsnet", **common),
        "ridge_var": Connectivity(method="ridge_var", **common),
    }


def _weights(windows: Windows, model: SynapsNet, config: ExperimentConfig) -> dict[str, NDArray[np.float32]]:
    """Return arrays as large as the decoder's parameters, and those of the linear stage, can be."""
    weights = {name: np.zeros(tuple(value.shape), np.float32) for name, value in model.decoder.state_dict().items()}
    n, k = windows.n_neurons, DriveConfig().most
    if config.model.skip_history:
        weights["history"] = np.zeros((n, windows.window), np.float32)
    if config.model.drive:  # how many hidden series there are, only the data tell
        weights["linear"] = np.zeros((n, 2 + windows.n_behaviors + k * (windows.window + 2)), np.float32)
        weights["drive"] = np.zeros((k, 2 * k + windows.n_behaviors + 1), np.float32)
    return weights
