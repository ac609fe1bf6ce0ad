"""The estimators that are compared, each from a prepared recording to a matrix and a forecast.

Letters: N neurons kept, n test samples.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...config import load_config
from ...experiment import fit as fit_synapsnet
from ...learn.baselines import BASELINES
from ...learn.drive import DriveConfig, DriveFit, drive_as_behavior, fit_drive, with_drive
from ...learn.forecaster import Solver, predict_series
from ...learn.linear import REFERENCES
from ...learn.preparation import prepare
from ...learn.train import resolve_device, train
from ...learn.windows import Windows
from ...metrics import score_neurons
from ...session import Scores, Session
from .cases import Material


class Prepared:
    """A recording as windows, and the linear model with hidden drive, fitted once for all who need it."""

    def __init__(self, material: Material) -> None:
        config = load_config()
        self.session: Session = material.session
        (self.windows,) = prepare([material.session], config.windows, device=resolve_device(config.train.device))
        kept = self.windows.kept
        inside = material.scored[kept]
        self.truth: NDArray[np.float64] = material.truth[np.ix_(kept, kept)][np.ix_(inside, inside)]
        self.scored = inside

    @cached_property
    def drive(self) -> tuple[DriveFit, float]:
        """The linear model, and the seconds that its fit took."""
        begin = time.perf_counter()
        return fit_drive(self.windows), time.perf_counter() - begin


@dataclass(frozen=True, eq=False)
class Estimate:
    """What an estimator made of a recording."""

    weights: NDArray[np.floating]
    """(N, N) [target, source], z-scored units."""
    scores: Scores
    """Of the forecasts of the test samples."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What else is worth a record."""


@dataclass(frozen=True)
class Method:
    """An estimator."""

    title: str
    """For people."""
    run: Callable[[Prepared], Estimate]
    settings: Callable[[], Any] = dict
    """All that decides its result beside the recording, JSON-able."""
    counts_only: bool = False
    """Whether it is for spike counts only."""
    drive: bool = False
    """Whether it takes the hidden drive of `Prepared`, whose seconds then are its own too."""


def _solved(model: Solver, windows: Windows) -> Estimate:
    train(model, [windows], load_config().train)
    test = windows.targets["test"]
    weights = model.connectivity(0)
    assert weights is not None  # of those compared here
    return Estimate(weights, score_neurons(predict_series(model, windows, test), windows.truth(test)))


def _rival(name: str, **settings: Any) -> Callable[[Prepared], Estimate]:
    rival = BASELINES[name]
    config = rival.config(**{**rival.quick_model, **settings})

    def run(prepared: Prepared) -> Estimate:
        return _solved(rival.build([prepared.windows], config), prepared.windows)  # type: ignore[arg-type]

    return run


def _with_drive(name: str) -> Callable[[Prepared], Estimate]:
    """Return a rival that is given the hidden drive, and what neurons send, as the linear model found them."""
    rival = BASELINES[name]

    def run(prepared: Prepared) -> Estimate:
        fit, _ = prepared.drive
        windows = drive_as_behavior(prepared.windows, fit)
        if name == "glm":  # it is for counts as they are
            windows = replace(windows, deconvolution=None)
        found = _solved(rival.build([windows], rival.config(**rival.quick_model)), windows)  # type: ignore[arg-type]
        return replace(found, facts=_facts(fit))

    return run


def _ridge(prepared: Prepared) -> Estimate:
    return _solved(REFERENCES["ridge_var"]([prepared.windows]), prepared.windows)


def _linear_stage(prepared: Prepared) -> Estimate:
    fit, _ = prepared.drive
    windows = with_drive(prepared.windows, fit.filter())
    test = windows.targets["test"]
    scores = score_neurons(fit.forecast(windows, test).cpu().numpy(), windows.truth(test))
    return Estimate(fit.weights, scores, _facts(fit))


def _facts(fit: DriveFit) -> dict[str, Any]:
    return {"components": fit.components, "deconvolved": bool(fit.decay.any()), "deflation": fit.deflation}


def _synapsnet(prepared: Prepared) -> Estimate:
    """The recipe as people get it, its own fit of the linear model included."""
    (result,) = fit_synapsnet(prepared.session, progress=False)
    scale = result.normalization.effect_scale if result.activity_kind == "spike_counts" else 1.0
    facts = {"trustworthy": result.trustworthy, "notes": list(result.provenance["notes"])}
    return Estimate(result.connectivity["effective"].weights / scale, result.scores["synapsnet"], facts)


def _default(name: str, **settings: Any) -> Callable[[], Any]:
    return lambda: asdict(BASELINES[name].config(**{**BASELINES[name].quick_model, **settings}))


def _given_drive(name: str) -> Callable[[], Any]:
    return lambda: {**_default(name)(), "drive": asdict(DriveConfig())}


#: By the name that --models takes.
METHODS: dict[str, Method] = {
    "lagged_0": Method("Correlation, D = 0", _rival("lagged_correlation", lag=0),
                       _default("lagged_correlation", lag=0)),
    "lagged_1": Method("Correlation, D = 1", _rival("lagged_correlation", lag=1),
                       _default("lagged_correlation", lag=1)),
    "curbd": Method("CURBD", _rival("curbd"), _default("curbd")),
    "ridge_var": Method("Ridge VAR", _ridge),
    "lasso_var": Method("Lasso VAR", _rival("lasso_var"), _default("lasso_var")),
    "glm": Method("Poisson GLM", _rival("glm"), _default("glm"), counts_only=True),
    "lasso_drive": Method("Lasso VAR + same drive", _with_drive("lasso_var"), _given_drive("lasso_var"), drive=True),
    "glm_drive": Method("Poisson GLM + same drive", _with_drive("glm"), _given_drive("glm"), counts_only=True,
                        drive=True),
    "eb_drive": Method("EB VAR + drive", _linear_stage, lambda: asdict(DriveConfig()), drive=True),
    "synapsnet": Method("SynapsNet", _synapsnet, lambda: asdict(load_config())),
}  # fmt: skip

_CURVE = ("ridge_var", "lasso_var", "eb_drive", "synapsnet")

#: What is compared, by part; CURBD, which is slow, only where it is asked for.
COMPARED: dict[str, tuple[str, ...]] = {
    "recovery": ("lagged_1", "curbd", "ridge_var", "lasso_var", "glm", "lasso_drive", "glm_drive", "eb_drive",
                 "synapsnet"),
    "length": _CURVE,
    "fraction": _CURVE,
    "ladder": ("ridge_var", "eb_drive", "synapsnet"),
    "references": ("lagged_0", "lagged_1", "curbd", "ridge_var", "lasso_var", "lasso_drive", "eb_drive", "synapsnet"),
}  # fmt: skip
SLOW = frozenset({"curbd"})
