"""Joins the rooms: sessions in, fitted results out. Learning meets plain sessions here, and nothing else does."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from .assembly import assemble
from .config import ExperimentConfig, config_from_mapping, load_config
from .cost import Cost, estimate_cost
from .errors import InputError
from .learn.decoders.sweep import engine_of
from .learn.distributed import World, prepare_shard, processes, session_owners
from .learn.drive import DriveFit
from .learn.linear_start import start_linear
from .learn.synapsnet import SynapsNet
from .learn.train import Training, resolve_device, train
from .learn.windows import Windows
from .nwb.run_digest import run_digest, session_digest
from .provenance import plain, software_versions
from .session import FitResult, Session

__all__ = [
    "Cost",
    "ExperimentConfig",
    "config_from_mapping",
    "estimate_cost",
    "fit",
    "fit_held",
    "load_config",
    "run_digests",
    "sessions_held",
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
            assemble(run_id, run, notes, model, training, config, windows[j], sessions[j], fits[j] if fits else None),
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
    settings = plain(asdict(config))
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
