"""The rivals that SynapsNet is compared with, by name: one file each, and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..forecaster import Forecaster
from .curbd import CURBD, CURBDConfig
from .glm import GLM, GLMConfig
from .graph_wavenet import GraphWaveNet, GraphWaveNetConfig
from .lagged_correlation import LaggedCorrelation, LaggedCorrelationConfig
from .lasso_var import LassoVAR, LassoVARConfig
from .lfads import LFADS, LFADSConfig
from .multichannel import MultichannelConfig, MultichannelGRU, MultichannelLSTM, MultichannelRNN
from .neuprint import NeuPRINT, NeuPRINTConfig, NeuPRINTTransformerConfig, neuprint_transformer
from .nlinear import NLinear, NLinearConfig


@dataclass(frozen=True)
class Rival:
    """A model, and how it is trained."""

    title: str
    """As in the paper's tables."""
    build: Callable[..., Forecaster]
    """Called as ``build(windows, config, seed=seed)``; a config of None means the defaults."""
    config: type
    """The dataclass of its settings; the defaults are those of the paper that it comes from, or SynapsNet's paper."""
    paper: Mapping[str, Any] = field(default_factory=dict)
    """What its paper's training changes in `TrainConfig`, whose defaults are the SynapsNet paper's."""
    quick: Mapping[str, Any] = field(default_factory=dict)
    """Settings of `TrainConfig` that come close to its best validation error soonest. A `Solver` needs none."""
    quick_model: Mapping[str, Any] = field(default_factory=dict)
    """Settings of `config` that belong to `quick`: they change the cost far more than the forecasts."""


# One cycle, as few steps as bring a recording of 20,000 samples and 200 neurons close to its best validation error.
_MULTICHANNEL = {
    "epochs": 4,
    "batch_size": 128,
    "learning_rate": 3e-3,
    "schedule": "one_cycle",
    "min_steps": 400,
    "max_steps": 2000,
}
_SINGLE = {
    "epochs": 2,
    "batch_size": 32,
    "learning_rate": 1e-2,
    "schedule": "one_cycle",
    "min_steps": 500,
    "max_steps": 1000,
}
_LFADS = {
    "epochs": 2,
    "batch_size": 64,
    "learning_rate": 3e-3,
    "schedule": "one_cycle",
    "min_steps": 300,
    "max_steps": 500,
    "gradient_clip": 200.0,
}
# Of stretches. Before it finds the graph it stays long where AR is; small steps or weight decay keep it there.
_GRAPH_WAVENET = {
    "epochs": 4,
    "batch_size": 2,
    "learning_rate": 1e-2,
    "schedule": "one_cycle",
    "min_steps": 500,
    "max_steps": 1000,
}
# Its steps must be many: with a sixth of them, each of four times the windows, it does not get beyond AR.
_TRANSFORMER = {
    "epochs": 2,
    "batch_size": 8,
    "learning_rate": 3e-3,
    "schedule": "one_cycle",
    "min_steps": 1000,
    "max_steps": 3000,
}

#: Rivals by name. The reference predictors, which are fitted beside everything, are `linear.REFERENCES`.
BASELINES: dict[str, Rival] = {
    "rnn": Rival("RNN", MultichannelRNN, MultichannelConfig, quick=_MULTICHANNEL),
    "gru": Rival("GRU", MultichannelGRU, MultichannelConfig, quick=_MULTICHANNEL),
    "lstm": Rival("LSTM", MultichannelLSTM, MultichannelConfig, quick=_MULTICHANNEL),
    "lfads": Rival("LFADS", LFADS, LFADSConfig, paper={"gradient_clip": 200.0}, quick=_LFADS),
    "graph_wavenet": Rival(
        "GWNet",
        GraphWaveNet,
        GraphWaveNetConfig,
        paper={"weight_decay": 1e-4},
        quick=_GRAPH_WAVENET,
        quick_model={"stretch": 8},
    ),
    "neuprint_gru": Rival("NeuPRINT", NeuPRINT, NeuPRINTConfig, quick=_SINGLE),
    "neuprint_transformer": Rival(
        "NeuPRINT (transformer)", neuprint_transformer, NeuPRINTTransformerConfig, quick=_TRANSFORMER
    ),
    "nlinear": Rival("NLinear", NLinear, NLinearConfig, quick=_MULTICHANNEL | {"learning_rate": 1e-2}),
    "lasso_var": Rival("Lasso VAR", LassoVAR, LassoVARConfig),
    "glm": Rival("Poisson GLM", GLM, GLMConfig),
    "curbd": Rival("CURBD", CURBD, CURBDConfig, quick_model={"runs": 100}),
    "lagged_correlation": Rival("Lagged correlation", LaggedCorrelation, LaggedCorrelationConfig),
}
