"""On a simulated population the model forecasts better than the simple predictors and finds the wiring."""

from __future__ import annotations

import numpy as np
import pytest

from ndx_synapsnet.experiment import load_config
from ndx_synapsnet.learn.forecaster import predict_series
from ndx_synapsnet.learn.linear import REFERENCES
from ndx_synapsnet.learn.preparation import prepare
from ndx_synapsnet.learn.synapsnet import SynapsNet
from ndx_synapsnet.learn.train import train
from ndx_synapsnet.metrics import lagged_correlation, recovery, score_neurons
from ndx_synapsnet.simulate import PaperNetworkConfig, simulate_paper_network


def error_on_test(model, windows):
    windows = getattr(model, "windows", windows)  # which may have the drive
    indices = windows[0].targets["test"]
    return float(score_neurons(predict_series(model, windows[0], indices), windows[0].truth(indices)).mse.mean())


@pytest.fixture(scope="module")
def population():
    """Windows, the true wiring, and the raw counts of the training part."""
    simulated = simulate_paper_network(PaperNetworkConfig(n_neurons=90, n_recorded=30, n_samples=6_000))
    windows = prepare([simulated.session], load_config().windows)
    assert windows[0].kept.all()
    return windows, simulated.truth.weights, simulated.session.activity[:, windows[0].split == 1]


@pytest.fixture(scope="module")
def models(population):
    """Two seeds of the default recipe."""
    windows, *_ = population
    config = load_config()
    fitted = []
    for seed in (0, 1):
        model = SynapsNet.started(windows, config.model, seed=seed)
        train(model, model.windows, config.train)
        fitted.append(model)
    return fitted


def test_the_forecast_beats_the_reference_predictors(population, models):
    windows, *_ = population
    for name, reference in REFERENCES.items():
        other = reference(windows)
        train(other, windows)
        assert error_on_test(models[0], windows) < error_on_test(other, windows), name


def test_effective_connectivity_recovers_the_wiring(population, models):
    windows, wiring, counts = population
    ridge = REFERENCES["ridge_var"](windows)
    train(ridge, windows)
    found = {
        "synapsnet": recovery(models[0].connectivity(0), wiring),
        "ridge_var": recovery(ridge.connectivity(0), wiring),
        "lag 1": recovery(lagged_correlation(counts, 1), wiring),
    }
    for name, scores in found.items():
        print(name, {key: round(value, 3) for key, value in scores.items()})
    assert found["synapsnet"]["r"] > found["lag 1"]["r"] > 0
    assert found["synapsnet"]["r"] > found["ridge_var"]["r"]
    assert found["synapsnet"]["sign_accuracy"] > 0.85


def test_two_seeds_agree_in_sign(population, models):
    """The raw matrices need not: their sign is the gauge's."""
    _, wiring, _ = population
    first, second = (model.connectivity(0) for model in models)
    strong = np.abs(wiring) > np.quantile(np.abs(wiring[wiring != 0]), 0.5)
    assert (np.sign(first[strong]) == np.sign(second[strong])).mean() > 0.95
    assert recovery(first, second)["r"] > 0.9
