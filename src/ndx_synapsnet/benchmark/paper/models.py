"""A row of a table: a model by name, and by a recipe how it is built and trained.

Recipe ``paper``: everything as in the papers. Any other recipe is SynapsNet's own; rivals then are made and trained by
their `Rival.quick_model` and `Rival.quick`, except those that can run on along stretches as SynapsNet does (NeuPRINT,
with the same decoders): they share its context and its training, so that neither sees more of the past.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from ...config import WITHOUT_LINEAR_STAGE, ExperimentConfig, load_config
from ...learn.baselines import BASELINES
from ...learn.forecaster import Forecaster
from ...learn.linear import AR, REFERENCES
from ...learn.synapsnet import SynapsNet
from ...learn.synapsnet_config import SynapsNetConfig
from ...learn.train import TrainConfig
from ...learn.windows import WindowConfig, Windows

Kind = Literal["synapsnet", "rival", "reference"]

#: How windows are trained on where a recipe is for stretches, for which its batch and rate are.
_BY_WINDOWS: dict[str, Any] = {"batch_size": 32, "learning_rate": 0.01}
_BY_WINDOWS_TRANSFORMER: dict[str, Any] = {"batch_size": 32, "learning_rate": 0.003}


@dataclass(frozen=True)
class Model:
    """A row: a model, and what is special about it here."""

    key: str
    """Its name in the results; unique in a study."""
    title: str
    """For people."""
    kind: Kind
    name: str = ""
    """Key of `BASELINES` or `REFERENCES`; of a reference also ``ar_long``, AR over as long a history as stretches
    give."""
    family: str = ""
    """What --models calls it, if not by its key."""
    together: bool = False
    """Whether it is trained on all sessions of a task at once."""
    several: bool = False
    """Whether it is left out of a task with one session."""
    window: int | None = None
    """W, if not the recipe's."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Of its own configuration, in place of the recipe's."""
    value: int | None = None
    """Its place on the axis, where a figure varies a length."""

    @property
    def choice(self) -> str:
        """What --models calls it."""
        return self.family or self.key

    def takes(self, activity_kind: str) -> bool:
        """Whether it can be fitted to such activity: a GLM needs counts."""
        return self.name != "glm" or activity_kind == "spike_counts"


@dataclass(frozen=True)
class Plan:
    """All that decides a training but the sessions, JSON-able by `identity`."""

    kind: Kind
    name: str
    windows: WindowConfig
    settings: tuple[Mapping[str, Any], ...]
    """Of the model; of several, each is trained and the one with the lowest validation MSE is kept."""
    train: TrainConfig
    history: int | None = None
    """Samples of the past that a reference sees beyond its windows'."""

    def identity(self) -> dict[str, Any]:
        """Return all of it but the device, which only rounding depends on."""
        values = asdict(self)
        del values["train"]["device"]
        return values

    def build(self, windows: Sequence[Windows], choice: int = 0) -> Forecaster:
        """Return the model before training.

        Parameters
        ----------
        windows : sequence of Windows
            The sessions.
        choice : int
            Which of `settings`.
        """
        settings, seed = self.settings[choice], self.train.seed
        if self.kind == "synapsnet":
            return SynapsNet.started(windows, SynapsNetConfig(**settings), seed=seed)
        if self.kind == "rival":
            rival = BASELINES[self.name]
            return rival.build(windows, rival.config(**settings), seed=seed)
        return AR(windows) if self.name == "ar_long" else REFERENCES[self.name](windows)


def plan(
    model: Model, recipe: str, *, seed: int, sessions: int = 1, streams: bool = True, epochs: int | None = None
) -> Plan:
    """Return how a model is built and trained.

    Parameters
    ----------
    model : Model
        The row.
    recipe : str
        Of `config.RECIPES`.
    seed : int
        Of its parameters and its batches.
    sessions : int
        Trained on at once. Such a training gets as many steps as one for each would get.
    streams : bool
        Whether the recipe may use stretches; otherwise all see exactly W samples.
    epochs : int, optional
        Train for exactly so many, whatever the recipe says.

    Raises
    ------
    InputError
        If the recipe is unknown or a setting is refused.
    """
    base = recipe_config(recipe, streams=streams and _may_stream(model))
    windows = base.windows if model.window is None else replace(base.windows, window=model.window)
    settings: tuple[dict[str, Any], ...] = ({},)
    train, history = base.train, None
    if model.kind == "synapsnet":
        settings, train = _of_synapsnet(model, base)
    elif model.kind == "rival":
        settings, train = _of_rival(model, base)
    elif model.name == "ar_long":
        history = windows.window + base.model.stretch - 1
    train = replace(train, seed=seed, min_steps=sessions * train.min_steps)
    if train.max_steps is not None:
        train = replace(train, max_steps=sessions * train.max_steps)
    if epochs is not None:
        train = replace(train, epochs=epochs, min_steps=0, max_steps=None, patience=None)
    return Plan(model.kind, model.name, windows, settings, train, history)


def _of_synapsnet(model: Model, base: ExperimentConfig) -> tuple[tuple[dict[str, Any], ...], TrainConfig]:
    """Return SynapsNet's settings, one set for each weight of the recipe's grid, and its training."""
    weights = base.penalty_grid or (base.model.penalty_weight,)
    plain = WITHOUT_LINEAR_STAGE if base.model.drive and model.settings.get("drive") is False else {}
    settings = tuple(
        asdict(replace(base.model, **{"penalty_weight": each, **plain, **model.settings})) for each in weights
    )
    by_windows = base.recipe != "paper" and settings[0]["decoder"] == "transformer"
    return settings, replace(base.train, **_BY_WINDOWS_TRANSFORMER) if by_windows else base.train


def _of_rival(model: Model, base: ExperimentConfig) -> tuple[tuple[dict[str, Any], ...], TrainConfig]:
    """Return a rival's settings and its training."""
    rival = BASELINES[model.name]
    if base.recipe == "paper":
        return (asdict(rival.config(**model.settings)),), TrainConfig(**rival.paper)
    if _may_stream(model):  # also where the study has windows only: else it would get a sixth of SynapsNet's steps
        context = {"context": base.model.context, "stretch": base.model.stretch}
        return (asdict(rival.config(**{**context, **model.settings})),), base.train
    settings = {**rival.quick_model, **model.settings}
    return (asdict(rival.config(**settings)),), TrainConfig(**rival.quick)


def recipe_config(recipe: str, *, streams: bool = True) -> ExperimentConfig:
    """Return a recipe's settings, turned to windows if it may not use stretches."""
    base = load_config(recipe)
    if base.model.context == "window" or streams:
        return base
    return load_config(recipe, overrides={"model": {"context": "window"}, "train": _BY_WINDOWS})


def _may_stream(model: Model) -> bool:
    """Whether a model can run on along stretches."""
    if model.kind == "rival":
        config = BASELINES[model.name].config
        names = {each.name for each in fields(config)}
        decoder = model.settings.get("decoder", getattr(config(), "decoder", ""))
        return "context" in names and decoder != "transformer"
    return model.settings.get("decoder") != "transformer"
