"""What a trained model says of one session, put together as its result: scores, forecast, matrices, verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timezone
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .config import ExperimentConfig
from .learn.drive import DriveFit
from .learn.forecaster import predict_series
from .learn.inference import Significance, assess
from .learn.linear import AR, REFERENCES
from .learn.readout import Readout, read_out, take_if_better
from .learn.synapsnet import SynapsNet
from .learn.train import Training, train
from .learn.windows import Windows, with_history
from .metrics import score_neurons
from .provenance import finite, plain, source_record
from .session import Connectivity, FitResult, Forecast, Scores, Session


def frame(session: Session, windows: Windows) -> dict[str, Any]:
    """Return the fields of a result that are known of a session before anything is learned of it."""
    return {
        "neurons": windows.neurons,
        "modality": session.modality,
        "activity_kind": session.activity_kind,
        "unit": session.unit,
        "period": session.period,
        "behavior_names": session.behavior_names,
        "split": windows.split,
        "normalization": windows.normalization,
    }


def assemble(
    run_id: str,
    run: Mapping[str, Any],
    notes: Sequence[str],
    model: SynapsNet,
    training: Training,
    config: ExperimentConfig,
    prepared: Windows,
    session: Session,
    fit: DriveFit | None,
) -> FitResult:
    """Score a session and put together what was learned of it; `fit` is the linear model it started from, if any."""
    j = prepared.session
    found: Readout | None = None
    tested: Significance | None = None
    if fit is not None:
        found = read_out(model, j, fit)
        tested = assess(found.estimate, found.standard_error, settled=found.settled)
        notes = [
            *notes,
            f"{fit.components} hidden series that many neurons share were found",
            take_if_better(model, j, found),
            tested.diagnostics.why,
        ]
    forecast, scores, references = _forecast_and_score(model, prepared, session, config)
    trustworthy, verdict = judge(scores)
    return FitResult(
        run_id=run_id,
        model="synapsnet",
        config=plain(asdict(config)),
        **frame(session, prepared),
        embeddings=model.embeddings(j),
        connectivity=_connectivities(model, j, found, tested, prepared, session, config, references),
        forecast=forecast,
        scores=scores,
        training=training.curve,
        weights=model.named_weights(j),
        verdict=verdict,
        trustworthy=trustworthy,
        provenance={
            **run,
            "source": source_record(session.provenance),
            **({} if tested is None else {"significance": finite(asdict(tested.diagnostics))}),
            "notes": [*notes, *prepared.notes, *training.notes],
            "set_aside": [
                {"id": str(identity), "reason": str(reason)}
                for identity, reason in zip(session.neurons.id, prepared.reasons, strict=True)
                if reason
            ],
            "finished": datetime.now(timezone.utc).isoformat(),
        },
    )


def _forecast_and_score(
    model: SynapsNet, windows: Windows, session: Session, config: ExperimentConfig
) -> tuple[Forecast, dict[str, Scores], dict[str, Any]]:
    """Forecast the wanted parts, and score the model and every reference predictor on the same test samples."""
    test = windows.targets["test"]
    truth = windows.truth(test)
    scores = {"synapsnet": score_neurons(predict_series(model, windows, test), truth)}
    references = {}
    # a reference is made for this session only, and sees the activity as it is
    alone = replace(windows, session=0, deconvolution=None)
    for name, make in REFERENCES.items():
        reference = references[name] = make([alone])
        train(reference, [alone], config.train)
        scores[name] = score_neurons(predict_series(reference, alone, test), truth)
    if model.stretch > 1:  # it has seen up to so much of the past, and is to be judged beside what that alone gives
        longer = with_history(alone, windows.window + model.stretch - 1)
        reference = AR([longer])
        train(reference, [longer], config.train)
        scores["ar_long"] = score_neurons(predict_series(reference, longer, test), truth)
    return forecast_of(model, windows, session, config.keep), scores, references


def forecast_samples(windows: Windows, keep: str) -> Tensor:
    """Return the samples (n,) whose forecasts are kept: of the test part, or with ``all`` of every part."""
    return windows.targets["test"] if keep == "test" else torch.cat(list(windows.targets.values())).sort().values


def forecast_of(model: SynapsNet, windows: Windows, session: Session, keep: str) -> Forecast:
    """Return the forecast of the test part, or with the input currents of every part, in source units."""
    indices = forecast_samples(windows, keep)
    places = indices.cpu().numpy()
    return Forecast(
        values=windows.to_source_units(predict_series(model, windows, indices)),
        index=places,
        times=session.times[places],
        split=windows.split[places],
        currents=model.current_series(windows, indices) if keep == "all" else None,
    )


def _connectivities(
    model: SynapsNet,
    j: int,
    found: Readout | None,
    tested: Significance | None,
    windows: Windows,
    session: Session,
    config: ExperimentConfig,
    references: Mapping[str, Any],
) -> dict[str, Connectivity]:
    """Return the effective matrix, the raw parameter behind it and the ridge VAR's, or none without connectivity."""
    raw = model.raw_connectivity(j)
    if raw is None:
        return {}
    common: dict[str, Any] = {"lag": 1, "lag_seconds": session.period}
    diagonal: Literal["zero", "learned"] = "learned" if config.model.learns_diagonal else "zero"
    source = "the source's activity"
    unit, about = "z-scored", "the learned weight times the target's mean gain d(forecast)/d(input current)"
    about_raw = "The model's own parameter A. Its sign and scale are arbitrary: read `effective` instead"
    if found is None or tested is None:
        effective: dict[str, Any] = {"weights": model.connectivity(j)}
    else:
        scale: NDArray[np.float64] | float = 1.0
        if session.activity_kind == "spike_counts":
            unit, scale = "in spikes a sample", windows.normalization.effect_scale
        effective = {
            "weights": scale * found.weights,
            "standard_error": scale * tested.standard_error,
            "p_value": tested.p,
            "q_value": tested.q,
        }
        about = (
            "posterior mean of the weight, from the data as the trained network weighs them, times the target's mean "
            "gain d(forecast)/d(input current). Standard error, p and q are of the same effect without shrinkage, and "
            "allow for confounding by what was not recorded as well as for sampling noise"
        )
        if windows.deconvolution is not None:
            source = "what is new in the source's activity (its decay from sample to sample taken off)"
        about_raw = "The model's own parameter A: weights of the input current, both sides z-scored"
    return {
        "effective": Connectivity(
            method="synapsnet",
            description=f"Mean change of the target's forecast per unit of {source}, both {unit}: {about}",
            gain_normalized=True,
            diagonal=diagonal,
            **effective,
            **common,
        ),
        "raw": Connectivity(weights=raw, method="synapsnet", description=about_raw, diagonal=diagonal, **common),
        "ridge_var": Connectivity(
            weights=references["ridge_var"].connectivity(0),
            method="ridge_var",
            description="Coefficients of a ridge regression of the target's next sample on all neurons' last one and "
            "behaviour, all z-scored",
            **common,
        ),
    }


def judge(scores: Mapping[str, Scores]) -> tuple[bool, str]:
    """Say in one plain sentence whether a forecast is good enough for its connectivity to be read.

    Parameters
    ----------
    scores : mapping
        Test scores by predictor: ``synapsnet``, ``mean``, ``ar``, and others; ``ar_long`` where the model has seen
        more of the past than W samples.

    Returns
    -------
    trustworthy : bool
        Whether the model's MSE is below that of the mean and not above that of each neuron's own history.
    verdict : str
        The sentence.
    """
    mse = {name: float(np.mean(s.mse, dtype=np.float64)) for name, s in scores.items()}
    ours = mse["synapsnet"]
    if not ours < mse["mean"]:
        return False, (
            f"SynapsNet forecasts no better than the mean (test MSE {ours:.4g} against {mse['mean']:.4g}): "
            "its connectivity is not to be read."
        )
    history = min(mse["ar"], mse.get("ar_long", math.inf))
    if ours > history:
        return False, (
            f"SynapsNet forecasts worse than each neuron's own history (test MSE {ours:.4g} against "
            f"{history:.4g} for AR): its connectivity is not to be read."
        )
    better = [name for name in mse if name != "synapsnet" and mse[name] < ours]
    sentence = (
        f"SynapsNet forecasts better than the mean (test MSE {ours:.4g} against {mse['mean']:.4g}) and than each "
        f"neuron's own history ({history:.4g})"
    )
    if better:
        lowest = min(better, key=lambda name: mse[name])
        sentence += f", but {lowest} does better still ({mse[lowest]:.4g})"
    return True, sentence + "."
