"""The settings of an experiment: recipes, files and options, layer upon layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from .errors import InputError
from .learn.schedule import TrainConfig
from .learn.synapsnet_config import SynapsNetConfig
from .learn.windows import WindowConfig
from .session import from_mapping

RECIPES = ("default", "fast", "paper")

#: Settings of a model that learns its connectivity from nothing, as the paper's does, in the training of our recipes.
WITHOUT_LINEAR_STAGE: dict[str, Any] = {
    "drive": False,
    "connectivity": "learned",
    "skip_history": False,
    "skip_current": False,
    "penalty": "l1",
    "penalty_weight": 0.004,
}
_INPUTS = ("use_activity", "use_connectivity", "use_behavior")


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
        if self.penalty_grid and self.model.connectivity == "fixed":
            raise ValueError("penalty_grid tries weights of a penalty that a fixed connectivity does not have")


_SECTIONS: dict[str, type] = {"windows": WindowConfig, "model": SynapsNetConfig, "train": TrainConfig}


def load_config(
    recipe: str = "default", *, file: Path | None = None, overrides: Mapping[str, Any] | None = None
) -> ExperimentConfig:
    """Return a recipe's settings, changed first by a file and then by `overrides`.

    Parameters
    ----------
    recipe : str
        ``default``, ``fast`` or ``paper``.
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


def _ablated(layers: Sequence[tuple[str, Mapping[str, Any]]]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the layers with one more behind the recipe's, if a later one leaves out an input of the model.

    The linear stage takes all inputs: without one, connectivity is learned from nothing unless settings say otherwise.
    """
    asked = [values.get("model") for _, values in layers]
    models = [each if isinstance(each, Mapping) else {} for each in asked]
    ablation = any(model.get(name) is False for model in models[1:] for name in _INPUTS)
    if not (ablation and models[0].get("drive")):
        return list(layers)
    return [layers[0], (layers[0][0], {"model": WITHOUT_LINEAR_STAGE}), *layers[1:]]


def _merge(recipe: str, layers: Sequence[tuple[str, Mapping[str, Any]]]) -> ExperimentConfig:
    layers = _ablated(layers)
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
