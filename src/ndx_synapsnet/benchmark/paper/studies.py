"""What each of the paper's tables and figures compares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ...errors import InputError
from ...learn.baselines import BASELINES
from .models import Model

SYNAPSNET = Model("synapsnet", "SynapsNet", "synapsnet")
_REFERENCES = {
    "mean": "Mean",
    "persistence": "Persistence",
    "ar": "AR",
    "ar_long": "AR (long history)",
    "ridge_var": "Ridge VAR",
    "ar_var": "AR + ridge VAR",
}
_WINDOWS = (1, 2, 5, 10, 20)
_EMBEDDINGS = (2, 4, 8, 16, 32, 64)
_TOGETHER = "trained on all sessions of a task together"


@dataclass(frozen=True)
class Study:
    """A table or a figure: the models it compares and what it needs to know of each fit."""

    name: str
    title: str
    models: tuple[Model, ...]
    extras: frozenset[str] = frozenset()
    """Of `cells.EXTRAS`."""
    streams: bool = True
    """Whether the recipe may use stretches, which see more than W samples of the past."""
    simulated: bool = False
    """Whether it needs networks with known wiring."""
    mark: Literal["best", "drop"] = "best"
    """What is bold: the best of each group, or the largest drop below the first row, as in the paper's Table 2."""
    notes: tuple[str, ...] = ()
    """Said below the table."""

    def choose(self, names: Sequence[str]) -> Study:
        """Return the study with only some of its models; all if `names` is empty.

        Raises
        ------
        InputError
            If a name is unknown.
        """
        known = list(dict.fromkeys(model.choice for model in self.models))
        unknown = [name for name in names if name not in known]
        if unknown:
            raise InputError(
                f"{self.name} has no model {', '.join(map(repr, unknown))}", remedy=f"Its models: {', '.join(known)}."
            )
        kept = tuple(model for model in self.models if not names or model.choice in names)
        return replace(self, models=kept)


def rival(name: str) -> Model:
    """Return the row of a rival by its key in `BASELINES`."""
    return Model(name, BASELINES[name].title, "rival", name)


def reference(name: str) -> Model:
    """Return the row of a reference predictor."""
    return Model(name, _REFERENCES[name], "reference", name)


def together(model: Model) -> Model:
    """Return a model's row with one training for all sessions."""
    return replace(model, key=f"{model.key}_multi", title=f"{model.title} (multi-session)", together=True, several=True)


def table1() -> Study:
    """Forecasting (paper, Table 1), and the simple models that the paper left out."""
    names = ("nlinear", "rnn", "gru", "lstm", "lfads", "graph_wavenet", "neuprint_transformer", "neuprint_gru")
    simple = ("mean", "persistence", "ar", "ar_long", "ridge_var", "ar_var")
    single = (*map(reference, simple), rival("lasso_var"), rival("glm"), *map(rival, names), SYNAPSNET)
    return Study(
        "table1",
        "Forecasting population activity one step ahead",
        (*single, together(rival("neuprint_gru")), together(SYNAPSNET)),
        notes=("Mean, persistence, AR, VAR, GLM and NLinear are not in the paper's table.",),
    )


def table2() -> Study:
    """Ablations (paper, Table 2); without behaviour is not in the paper."""
    parts = {"embedding": "neuronal embeddings", "activity": "previous activity", "connectivity": "connectivity",
             "behavior": "behaviour"}  # fmt: skip
    learned = Model("learned", "All parts, connectivity learned", "synapsnet", settings={"drive": False})
    rows = [learned] + [
        Model(f"without_{part}", f"without {name}", "synapsnet", settings={"drive": False, f"use_{part}": False})
        for part, name in parts.items()
    ]
    return Study(
        "table2",
        "SynapsNet without one of its parts",
        tuple(replace(row, together=True) for row in (*rows, SYNAPSNET)),
        mark="drop",
        notes=(
            f"All are {_TOGETHER}, as the paper's. Without behaviour is not in the paper's table. Its parts are taken "
            "from a network that learns its connectivity from nothing, as the paper's does; the last row is SynapsNet "
            "as the recipe has it.",
        ),
    )


def table3() -> Study:
    """Decoders (paper, Table 3)."""
    names = {"rnn": "RNN", "gru": "GRU", "lstm": "LSTM"}
    rows = [Model(key, title, "synapsnet", settings={"decoder": key}) for key, title in names.items()]
    for layers, word in ((1, "one-layer"), (2, "two-layer")):
        settings = {"decoder": "transformer", "layers": layers}
        rows.append(Model(f"transformer{layers}", f"Transformer ({word})", "synapsnet", settings=settings))
    return Study("table3", "SynapsNet with other decoders", tuple(rows), streams=False)


def figure2() -> Study:
    """Principal components of truth and forecast (paper, figure 2)."""
    return Study(
        "figure2",
        "Principal components of the population, and SynapsNet against NeuPRINT",
        (SYNAPSNET, rival("neuprint_gru")),
        frozenset({"components", "traces"}),
    )


def figure4() -> Study:
    """Input currents against activity, over delays (paper, figure 4)."""
    return Study("figure4", "Input current against activity, over delays", (SYNAPSNET,), frozenset({"currents"}))


def figure5() -> Study:
    """Recovery of a known connectivity (paper, figure 5), also by the linear models that the paper left out."""
    lagged = [
        replace(rival("lagged_correlation"), key=f"lagged_{d}", title=f"Correlation, D = {d}", settings={"lag": d})
        for d in (0, 1, 2)
    ]
    simple = (reference("ridge_var"), reference("ar_var"), rival("lasso_var"), rival("glm"))
    return Study(
        "figure5",
        "Recovery of a simulated network's connectivity",
        (SYNAPSNET, rival("curbd"), *lagged, *simple),
        frozenset({"recovery", "matrix"}),
        simulated=True,
        notes=("VAR and GLM are not in the paper's figure.",),
    )


def figure6() -> Study:
    """The context window's length (paper, figure 6)."""
    rows = [replace(model, key=f"{model.key}_w{w}", title=f"{model.title}, W = {w}", family=model.key,
                    window=w, value=w)
            for model in (SYNAPSNET, rival("neuprint_gru")) for w in _WINDOWS]  # fmt: skip
    return Study("figure6", "Length W of the context window", tuple(rows), streams=False)


def figure7() -> Study:
    """The embedding's length (paper, figure 7)."""
    rows = [replace(model, key=f"{model.key}_d{d}", title=f"{model.title}, D = {d}", family=model.key,
                    settings={"embedding": d}, value=d)
            for model in (SYNAPSNET, rival("neuprint_gru")) for d in _EMBEDDINGS]  # fmt: skip
    return Study("figure7", "Length D of the neurons' embeddings", tuple(rows))


#: By the name of the command.
STUDIES: dict[str, Callable[[], Study]] = {
    study.__name__: study for study in (table1, table2, table3, figure2, figure4, figure5, figure6, figure7)
}
