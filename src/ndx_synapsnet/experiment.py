"""Joins the rooms: sessions in, fitted results out. Learning meets plain sessions here, and nothing else does."""

from __future__ import annotations

import platform
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from .errors import InputError
from .learn.forecaster import predict_series
from .learn.linear import REFERENCES
from .learn.synapsnet import SynapsNet, SynapsNetConfig
from .learn.train import TrainConfig, Training, resolve_device, train
from .learn.windows import WindowConfig, Windows, prepare
from .metrics import score_neurons
from .session import Connectivity, FitResult, Forecast, Scores, Session, from_mapping
from .simulate import random_session

RECIPES = ("default", "paper")

_TRIED_NEURONS = 200  # at most, when a fit's cost is estimated; it grows in proportion beyond
_LIBRARY_BYTES = 500 * 2**20  # what Python, torch and pynwb take before there are data


@dataclass(frozen=True)
class ExperimentConfig:
    """Everything that decides a fit, apart from how the recording is read."""

    recipe: str = "default"
    """The recipe that the settings started from."""
    windows: WindowConfig = field(default_factory=WindowConfig)
    """How recordings are cut and normalised."""
    model: SynapsNetConfig = field(default_factory=SynapsNetConfig)
    """The model."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """The training."""
    penalty_grid: tuple[float, ...] = ()
    """Weights of the connectivity penalty to try, judged by validation MSE; empty: only the model's own."""
    keep: Literal["test", "all"] = "test"
    """Which part's forecast the result holds; ``all`` adds the input currents too."""

    def __post_init__(self) -> None:
        if self.keep not in ("test", "all"):
            raise ValueError(f"keep is {self.keep!r}, expected 'test' or 'all'")
        object.__setattr__(self, "penalty_grid", tuple(float(weight) for weight in self.penalty_grid))


_SECTIONS: dict[str, type] = {"windows": WindowConfig, "model": SynapsNetConfig, "train": TrainConfig}


def load_config(
    recipe: str = "default", *, file: Path | None = None, overrides: Mapping[str, Any] | None = None
) -> ExperimentConfig:
    """Return a recipe's settings, changed first by a file and then by `overrides`.

    Parameters
    ----------
    recipe : str
        ``default`` or ``paper``.
    file : Path, optional
        A YAML file with the sections of a recipe; what it leaves out stays as the recipe has it.
    overrides : mapping, optional
        The same as nested mappings, such as ``{"train": {"epochs": 3}}``.

    Raises
    ------
    InputError
        If the recipe or a setting is unknown, or a value is refused.
    """
    if recipe not in RECIPES:
        raise InputError(f"unknown recipe {recipe!r}", remedy=f"Known recipes: {', '.join(RECIPES)}")
    text = (files("ndx_synapsnet") / "recipes" / f"{recipe}.yaml").read_text(encoding="utf-8")
    layers = [(f"recipe {recipe}", _parse_yaml(text, recipe))]
    if file is not None:
        try:
            layers.append((str(file), _parse_yaml(Path(file).read_text(encoding="utf-8"), str(file))))
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"cannot be read ({error})", where=str(file)) from error
    layers.append(("settings", dict(overrides or {})))
    return _merge(recipe, layers)


def config_from_mapping(values: Mapping[str, Any]) -> ExperimentConfig:
    """Return the configuration that a result's ``config`` describes."""
    return _merge(str(values.get("recipe", "default")), [("the result's configuration", values)])


def _parse_yaml(text: str, where: str) -> dict[str, Any]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        values = YAML(typ="safe", pure=True).load(text) or {}
    except YAMLError as error:
        raise InputError(f"is not YAML ({error})", where=where) from error
    if not isinstance(values, dict):
        raise InputError("does not hold sections", where=where, remedy=f"Write sections {', '.join(_SECTIONS)}.")
    return values


def _merge(recipe: str, layers: Sequence[tuple[str, Mapping[str, Any]]]) -> ExperimentConfig:
    top: dict[str, Any] = {}
    sections: dict[str, dict[str, Any]] = {name: {} for name in _SECTIONS}
    where = ""
    for where, values in layers:
        for key, value in values.items():
            if key not in _SECTIONS:
                top[key] = value
            elif isinstance(value, Mapping):
                sections[key].update(value)
            else:
                raise InputError(f"section {key} does not hold settings", where=where)
        # validated layer by layer, so that a message names the file that holds the mistake
        parts: dict[str, Any] = {
            name: from_mapping(cls, sections[name], where=f"{where}, {name}") for name, cls in _SECTIONS.items()
        }
    return from_mapping(ExperimentConfig, {**top, **parts, "recipe": recipe}, where=where)


def fit(
    sessions: Session | Sequence[Session],
    config: ExperimentConfig | None = None,
    *,
    progress: bool | None = None,
    checkpoint: Path | None = None,
    resume: bool = False,
) -> list[FitResult]:
    """Fit SynapsNet to one or several sessions together and judge it beside the reference predictors.

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

    Returns
    -------
    list of FitResult
        One a session, in order.

    Raises
    ------
    InputError
        If a session is too short, or has too few neurons that are active.
    KeyboardInterrupt
        If interrupted before training began or after it ended. An interruption of the training itself keeps the best
        epoch so far (before the first one's end, the parameters as they are) and is told in
        ``provenance["interrupted"]``.
    """
    sessions = [sessions] if isinstance(sessions, Session) else list(sessions)
    if not sessions:
        raise InputError("there is no session to fit", remedy="Give at least one.")
    config = config or load_config()
    started = datetime.now(timezone.utc)
    windows = prepare(sessions, config.windows, device=resolve_device(config.train.device))
    model, training, config = _train(windows, config, progress, checkpoint, resume)
    run = {
        "seed": config.train.seed,
        "device": str(windows[0].device),
        "software": software_versions(),
        "interrupted": training.interrupted,
        "best_epoch": training.best_epoch,
        "train_seconds": training.seconds,
        "sessions_in_run": [session.label for session in sessions],
        "behavior_inputs": list(model.behavior_names),
    }
    run_id = uuid.uuid4().hex
    results = []
    for j, (session, prepared) in enumerate(zip(sessions, windows, strict=True)):
        forecast, scores, references = _forecast_and_score(model, prepared, session, config)
        trustworthy, verdict = judge(scores)
        results.append(
            FitResult(
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
                connectivity=_connectivities(model, j, prepared, session, config, references),
                forecast=forecast,
                scores=scores,
                training=training.curve,
                weights=model.decoder_weights(),
                verdict=verdict,
                trustworthy=trustworthy,
                provenance={
                    **run,
                    "source": _plain(dict(session.provenance)),
                    "notes": [*prepared.notes, *training.notes],
                    "set_aside": [
                        {"id": str(identity), "reason": str(reason)}
                        for identity, reason in zip(session.neurons.id, prepared.reasons, strict=True)
                        if reason
                    ],
                    "started": started.isoformat(),
                    "finished": datetime.now(timezone.utc).isoformat(),
                },
            )
        )
    return results


def _train(
    windows: list[Windows], config: ExperimentConfig, progress: bool | None, checkpoint: Path | None, resume: bool
) -> tuple[SynapsNet, Training, ExperimentConfig]:
    """Train once for each weight of the penalty grid and keep the one with the lowest validation MSE."""
    best: tuple[SynapsNet, Training, ExperimentConfig] | None = None
    for weight in config.penalty_grid or (config.model.penalty_weight,):
        tried = replace(config, model=replace(config.model, penalty_weight=weight))
        model = SynapsNet(windows, tried.model, seed=tried.train.seed)
        try:
            folder = None if checkpoint is None else checkpoint / f"penalty-{weight:g}"
            training = train(model, windows, tried.train, progress=progress, checkpoint=folder, resume=resume)
        except KeyboardInterrupt:
            if best is None:
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
    alone = replace(windows, session=0)  # a reference is made for this session only
    for name, make in REFERENCES.items():
        reference = references[name] = make([alone])
        train(reference, [alone], config.train)
        scores[name] = score_neurons(predict_series(reference, alone, test), truth)
    return _forecast(model, windows, session, config.keep), scores, references


def _forecast(model: SynapsNet, windows: Windows, session: Session, keep: str) -> Forecast:
    """Return the forecast of the test part, or with the input currents of every part, in source units."""
    indices = windows.targets["test"] if keep == "test" else torch.cat(list(windows.targets.values())).sort().values
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
    windows: Windows,
    session: Session,
    config: ExperimentConfig,
    references: Mapping[str, Any],
) -> dict[str, Connectivity]:
    """Return the effective matrix, the raw parameter behind it and the ridge VAR's, or none without connectivity."""
    effective, raw = model.connectivity(j), model.raw_connectivity(j)
    if effective is None or raw is None:
        return {}
    common: dict[str, Any] = {"lag": 1, "lag_seconds": session.period}
    diagonal: Literal["zero", "learned"] = "learned" if config.model.learns_diagonal else "zero"
    return {
        "effective": Connectivity(
            weights=effective,
            method="synapsnet",
            description="Mean change of the target's forecast per unit of the source's activity, both z-scored: "
            "the learned weight times the target's mean gain d(forecast)/d(input current)",
            gain_normalized=True,
            diagonal=diagonal,
            **common,
        ),
        "raw": Connectivity(
            weights=raw,
            method="synapsnet",
            description="The model's own parameter A. Its sign and scale are arbitrary: read `effective` instead",
            diagonal=diagonal,
            **common,
        ),
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
        Test scores by predictor: ``synapsnet``, ``mean``, ``ar``, and others.

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
    if ours > mse["ar"]:
        return False, (
            f"SynapsNet forecasts worse than each neuron's own history (test MSE {ours:.4g} against "
            f"{mse['ar']:.4g} for AR): its connectivity is not to be read."
        )
    better = [name for name in mse if name != "synapsnet" and mse[name] < ours]
    sentence = (
        f"SynapsNet forecasts better than the mean (test MSE {ours:.4g} against {mse['mean']:.4g}) and than each "
        f"neuron's own history ({mse['ar']:.4g})"
    )
    if better:
        lowest = min(better, key=lambda name: mse[name])
        sentence += f", but {lowest} does better still ({mse[lowest]:.4g})"
    return True, sentence + "."


def predict(result: FitResult, session: Session, *, keep: Literal["test", "all"] = "test") -> Forecast:
    """Forecast a session again with a fitted model.

    Parameters
    ----------
    result : FitResult
        The fit, as made by `fit` or read from a file.
    session : Session
        The recording it was fitted to, read with the same settings.
    keep : {"test", "all"}
        Which part to forecast; ``all`` adds the input currents.

    Raises
    ------
    InputError
        If the session does not hold the neurons that the model was fitted to.
    """
    config = config_from_mapping(result.config)
    (windows,) = prepare([session], config.windows, device=resolve_device(config.train.device))
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
        decoder_weights=result.weights,
        embeddings=result.embeddings,
        raw_connectivity=None if raw is None else raw.weights,
    )
    return _forecast(model, windows, session, keep)


class Cost(NamedTuple):
    """What a fit takes."""

    seconds: float
    bytes: int


def estimate_cost(n_neurons: int, n_samples: int, config: ExperimentConfig | None = None) -> Cost:
    """Estimate the training time and peak memory of a fit, from a few timed steps on random numbers.

    Parameters
    ----------
    n_neurons, n_samples : int
        Size of the recording.
    config : ExperimentConfig, optional
        The settings; recipe ``default`` if left out.
    """
    config = config or load_config()
    tried = max(2, min(n_neurons, _TRIED_NEURONS))
    session = random_session(tried, 20 * config.train.batch_size)
    windows = prepare([session], config.windows, device=resolve_device(config.train.device))
    model = SynapsNet(windows, config.model)
    batch = windows[0].batch(windows[0].targets["train"][: config.train.batch_size])
    seconds = []
    for _ in range(4):
        begin = time.perf_counter()
        model.loss(batch).backward()
        seconds.append(time.perf_counter() - begin)
    together = config.train.sessions_per_step
    per_epoch = int(n_samples * config.windows.split[0]) / config.train.batch_size / together
    steps = max(config.train.epochs * per_epoch, config.train.min_steps)
    steps = min(steps, config.train.max_steps or steps)
    columns = config.train.batch_size * n_neurons * config.windows.window
    arrays = 3 * 4 * n_neurons * n_samples + 6 * 4 * n_neurons**2 + 4 * columns * 8 * config.model.hidden
    return Cost(min(seconds) * together * steps * n_neurons / tried, arrays + _LIBRARY_BYTES)


def software_versions() -> dict[str, str]:
    """Return the versions of what decides a result."""
    packages = ("ndx-synapsnet", "torch", "numpy", "pynwb", "hdmf")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def _plain(value: Any) -> Any:
    """Return `value` with tuples as lists, as JSON would give it back."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
