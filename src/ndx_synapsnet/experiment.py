"""Joins the rooms: sessions in, fitted results out. Learning meets plain sessions here, and nothing else does."""

from __future__ import annotations

import math
import platform
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .config import ExperimentConfig, config_from_mapping, load_config
from .cost import Cost, estimate_cost
from .errors import InputError
from .learn.decoders.sweep import engine_of
from .learn.distributed import World, prepare_shard, processes, session_owners
from .learn.drive import DriveFit
from .learn.forecaster import predict_series
from .learn.inference import Significance, assess
from .learn.linear import AR, REFERENCES
from .learn.linear_start import start_linear
from .learn.preparation import prepare
from .learn.readout import Readout, read_out, take_if_better
from .learn.synapsnet import SynapsNet
from .learn.train import Training, resolve_device, train
from .learn.windows import Windows, with_history
from .metrics import score_neurons
from .nwb.run_digest import run_digest, session_digest
from .session import TRANSFER, Connectivity, FitResult, Forecast, Scores, Session

__all__ = [
    "Cost",
    "ExperimentConfig",
    "config_from_mapping",
    "estimate_cost",
    "fit",
    "fit_held",
    "judge",
    "load_config",
    "predict",
    "run_digests",
    "sessions_held",
    "software_versions",
]


def fit(
    sessions: Session | Sequence[Session],
    config: ExperimentConfig | None = None,
    *,
    progress: bool | None = None,
    checkpoint: Path | None = None,
    resume: bool = False,
    spill: Path | None = None,
) -> list[FitResult]:
    """Fit SynapsNet to one or several sessions together and judge it beside the reference predictors.

    Started by ``torchrun``, the processes share the work: each prepares, holds and scores some of the sessions. The
    results are those of one process, up to rounding, with ``train.sessions_per_step`` at least the number of
    processes; where it is less it is raised to that, and a note says so.

    Parameters
    ----------
    sessions : Session or sequence of Session
        The recordings; several share one decoder, and neurons of equal identity share an embedding.
    config : ExperimentConfig, optional
        The settings; recipe ``default`` if left out.
    progress : bool, optional
        Whether to show a progress bar; by default only on a terminal.
    checkpoint : Path, optional
        A folder for checkpoints. It is left for the caller to remove once the results are safe.
    resume : bool
        Whether to go on from the checkpoint in that folder, if there is one: to the same result as without a break.
    spill : Path, optional
        A folder for the z-scored series, for sessions that together take more memory than there is; the same result.
        The sessions themselves may be mapped too (`memory.spilled`).

    Returns
    -------
    list of FitResult
        One a session, in order; of several processes those of the sessions that this one holds. All have one run id.

    Raises
    ------
    InputError
        If a session is too short, or has too few neurons that are active. If there are more processes than sessions.
    KeyboardInterrupt
        If interrupted before training began or after it ended. An interruption of the training itself keeps the best
        epoch so far (before the first one's end, the parameters as they are) and is told in
        ``provenance["interrupted"]``.
    """
    sessions = [sessions] if isinstance(sessions, Session) else list(sessions)
    config = config or load_config()
    with processes(resolve_device(config.train.device)) as world:
        results = fit_held(
            sessions, config, world, progress=progress, checkpoint=checkpoint, resume=resume, spill=spill
        )
        return [result for _, result in results]


def fit_held(
    sessions: Sequence[Session],
    config: ExperimentConfig,
    world: World,
    *,
    progress: bool | None = None,
    checkpoint: Path | None = None,
    resume: bool = False,
    spill: Path | None = None,
) -> Iterator[tuple[int, FitResult]]:
    """Fit as `fit` does, as one of the processes of `world`, and yield results one after the other.

    All training is done, and no other process is needed any more, when the first result comes.

    Parameters
    ----------
    sessions : sequence of Session
        All of them; the activity of those that another process holds (`sessions_held`) may be empty.
    config, progress, checkpoint, resume, spill
        As for `fit`.
    world : World
        See `learn.distributed.processes`.

    Yields
    ------
    int
        Place of a session that this process holds.
    FitResult
        Its result.

    Raises
    ------
    InputError, KeyboardInterrupt
        As `fit`. `EndedElsewhereError` if another process ended the run.
    """
    if not sessions:
        raise InputError("there is no session to fit", remedy="Give at least one.")
    started = datetime.now(timezone.utc)
    config, notes = _shared_among(world, config, len(sessions))
    windows = prepare_shard(
        sessions,
        config.windows,
        sessions_per_step=config.train.sessions_per_step,
        world=world,
        device=world.device or resolve_device(config.train.device),
        spill=spill,
    )
    held = sessions_held(sessions, config, world)
    fits: list[DriveFit | None] | None = None
    if config.model.drive:
        windows, fits = start_linear(windows, held=held)
    model, training, config = _train(windows, fits, config, world, progress, checkpoint, resume)
    run_id = world.gather(uuid.uuid4().hex)[0]
    run = {
        "seed": config.train.seed,
        "device": str(windows[0].device),
        "engine": engine_of(model.decoder),
        "software": software_versions(),
        "interrupted": training.interrupted,
        "best_epoch": training.best_epoch,
        "train_seconds": training.seconds,
        "sessions_in_run": [session.label for session in sessions],
        "session_digests": [session_digest(session.provenance) for session in sessions],
        "behavior_inputs": list(model.behavior_names),
        "started": started.isoformat(),
    }
    for j in held:
        yield (
            j,
            _result(run_id, run, notes, model, training, config, windows[j], sessions[j], fits[j] if fits else None),
        )


def sessions_held(sessions: Sequence[Session], config: ExperimentConfig, world: World) -> list[int]:
    """Return the places of the sessions that this process holds in a fit; their activity has no part in it.

    Raises
    ------
    InputError
        If there are more processes than sessions.
    """
    if world.size == 1:
        return list(range(len(sessions)))
    config, _ = _shared_among(world, config, len(sessions))
    ranks = session_owners(sessions, config.windows, config.train.sessions_per_step, world)
    return [j for j, rank in enumerate(ranks) if rank == world.rank]


def run_digests(sessions: Sequence[Session], config: ExperimentConfig, world: World | None = None) -> list[str | None]:
    """Return what the runs that a fit of these sessions would give are recognised by (see `nwb.run_digest`).

    Parameters
    ----------
    sessions, config, world
        As for `fit_held`.

    Returns
    -------
    list of str or None
        One a session; None where its provenance does not say which recording it is.
    """
    if world is not None:
        config, _ = _shared_among(world, config, len(sessions))
    settings = _plain(asdict(config))
    together = [str(session_digest(session.provenance)) for session in sessions]
    return [
        run_digest(settings, session.provenance, samples=session.n_samples, sessions=together) for session in sessions
    ]


def _shared_among(world: World, config: ExperimentConfig, n_sessions: int) -> tuple[ExperimentConfig, list[str]]:
    """Return the configuration with a batch a step for every process at least, and a note if it was changed."""
    asked = config.train.sessions_per_step
    if world.size > n_sessions:
        raise InputError(
            f"{world.size} processes for {n_sessions} session(s): some would have nothing to do",
            remedy="Start at most as many processes as there are sessions.",
        )
    if asked >= world.size:
        return config, []
    note = (
        f"sessions_per_step was raised from {asked} to {world.size}, the number of processes: each step takes a batch "
        "of each. With this setting one process gives the same result, up to rounding."
    )
    return replace(config, train=replace(config.train, sessions_per_step=world.size)), [note]


def _result(
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
        config=_plain(asdict(config)),
        neurons=prepared.neurons,
        modality=session.modality,
        activity_kind=session.activity_kind,
        unit=session.unit,
        period=session.period,
        behavior_names=session.behavior_names,
        split=prepared.split,
        normalization=prepared.normalization,
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
            "source": _source(session.provenance),
            **({} if tested is None else {"significance": _finite(asdict(tested.diagnostics))}),
            "notes": [*notes, *prepared.notes, *training.notes],
            "set_aside": [
                {"id": str(identity), "reason": str(reason)}
                for identity, reason in zip(session.neurons.id, prepared.reasons, strict=True)
                if reason
            ],
            "finished": datetime.now(timezone.utc).isoformat(),
        },
    )


def _train(
    windows: list[Windows],
    fits: list[DriveFit | None] | None,
    config: ExperimentConfig,
    world: World,
    progress: bool | None,
    checkpoint: Path | None,
    resume: bool,
) -> tuple[SynapsNet, Training, ExperimentConfig]:
    """Train once for each weight of the penalty grid and keep the one with the lowest validation MSE.

    Of several processes all keep the same one: their curves are equal to the bit.
    """
    best: tuple[SynapsNet, Training, ExperimentConfig] | None = None
    for weight in config.penalty_grid or (config.model.penalty_weight,):
        tried = replace(config, model=replace(config.model, penalty_weight=weight))
        model = SynapsNet(windows, tried.model, seed=tried.train.seed, fits=fits)
        try:
            folder = None if checkpoint is None else checkpoint / f"penalty-{weight:g}"
            training = train(
                model, windows, tried.train, progress=progress, checkpoint=folder, resume=resume, world=world
            )
        except KeyboardInterrupt:
            if best is None or world.size > 1:  # the other processes are in the middle of a step
                raise
            return best[0], replace(best[1], interrupted=True), best[2]
        if best is None or _validation_mse(training) < _validation_mse(best[1]):
            best = (model, training, tried)
        if training.interrupted:
            return best[0], replace(best[1], interrupted=True), best[2]
    assert best is not None
    return best


def _validation_mse(training: Training) -> float:
    return float(np.nanmin(training.curve["validation_mse"]))


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
    return _forecast(model, windows, session, config.keep), scores, references


def forecast_samples(windows: Windows, keep: str) -> Tensor:
    """Return the samples (n,) whose forecasts are kept: of the test part, or with ``all`` of every part."""
    return windows.targets["test"] if keep == "test" else torch.cat(list(windows.targets.values())).sort().values


def _forecast(model: SynapsNet, windows: Windows, session: Session, keep: str) -> Forecast:
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


def predict(
    result: FitResult, session: Session, *, keep: Literal["test", "all"] = "test", device: str = "auto"
) -> Forecast:
    """Forecast a session again with a fitted model.

    Parameters
    ----------
    result : FitResult
        The fit, as made by `fit` or read from a file.
    session : Session
        The recording it was fitted to, read with the same settings.
    keep : {"test", "all"}
        Which part to forecast; ``all`` adds the input currents.
    device : str
        As in `TrainConfig.device`; the fit's own may not be here.

    Raises
    ------
    InputError
        If the session does not hold the neurons that the model was fitted to.
    """
    config = config_from_mapping(result.config)
    (windows,) = prepare([session], config.windows, device=resolve_device(device))
    ids = windows.neurons.id
    if not np.array_equal(ids, result.neurons.id):
        raise InputError(
            f"holds other neurons ({len(ids)} usable) than the fit ({len(result.neurons)})",
            where=session.label,
            remedy="Read the recording with the settings that the fit's provenance names.",
        )
    raw = result.connectivity.get("raw")
    model = SynapsNet.restore(
        windows,
        config.model,
        behavior_names=tuple(result.provenance.get("behavior_inputs", result.behavior_names)),
        weights=result.weights,
        embeddings=result.embeddings,
        raw_connectivity=None if raw is None else raw.weights,
    )
    return _forecast(model, model.windows[0], session, keep)


def software_versions() -> dict[str, str]:
    """Return the versions of what decides a result."""
    packages = ("ndx-synapsnet", "torch", "numpy", "pynwb", "hdmf")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def _source(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return where a session comes from, without what one reading of remote data took: the cache decides that."""
    source: dict[str, Any] = _plain(provenance)
    for record in (source, *source.get("files", [])):
        if "remote" in record:
            record["remote"] = {name: item for name, item in record["remote"].items() if name not in TRANSFER}
    return source


def _finite(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return `values` without the numbers that are not finite."""
    return {name: each for name, each in values.items() if not (isinstance(each, float) and not math.isfinite(each))}


def _plain(value: Any) -> Any:
    """Return `value` with tuples as lists, as JSON would give it back."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
