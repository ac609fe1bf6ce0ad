"""Lagged correlation against the definition and against least squares."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from population import noise_session, session

from ndx_synapsnet.errors import InputError
from ndx_synapsnet.learn.baselines import lagged_correlation as module
from ndx_synapsnet.learn.baselines.lagged_correlation import LaggedCorrelation, LaggedCorrelationConfig
from ndx_synapsnet.learn.forecaster import predict_series
from ndx_synapsnet.learn.preparation import prepare
from ndx_synapsnet.learn.windows import WindowConfig
from ndx_synapsnet.metrics import lagged_correlation
from ndx_synapsnet.session import SPLITS

SEGMENT, VALID = np.repeat([0, 1, 2], [150, 100, 150]), np.arange(400) != 60


@pytest.fixture
def sessions():
    """Two sessions of different sizes, with gaps and a sample that is not valid."""
    return [noise_session(6, 400, 2, segment=SEGMENT, valid=VALID), noise_session(4, 300, 1, seed=1)]


def solved(windows, lag):
    model = LaggedCorrelation(windows, LaggedCorrelationConfig(lag=lag))
    model.solve(windows)
    return model


@pytest.mark.parametrize("lag", [0, 1, 2, 5])
@pytest.mark.parametrize("blocks", [False, True])
def test_matrix_by_definition_over_training_pairs_of_one_segment(sessions, lag, blocks, monkeypatch):
    if blocks:
        monkeypatch.setattr(module, "_ELEMENTS", 100)
    windows = prepare(sessions, dtype=torch.float64)
    model = solved(windows, lag)
    for w, s in zip(windows, sessions, strict=True):
        train = w.split == SPLITS["train"]
        runs = 2 * s.segment + s.valid  # windows do not step over a sample that is not valid
        expected = lagged_correlation(s.activity, lag, segment=runs, valid=train)
        np.testing.assert_allclose(model.connectivity(w.session), expected, atol=1e-6)
        np.testing.assert_array_equal(np.diag(model.connectivity(w.session)), 0)


def test_direction_is_target_source():
    x = np.random.default_rng(0).normal(size=(3, 300))
    x[2, 1:] = x[0, :-1]  # neuron 0 drives neuron 2
    found = solved(prepare([session(x)]), 1).connectivity(0)
    assert found[2, 0] == pytest.approx(1, abs=1e-4)
    assert abs(found[0, 2]) < 0.3


@pytest.mark.parametrize(("lag", "back"), [(0, 1), (1, 1), (2, 2)])
def test_forecast_is_least_squares_of_the_target_on_its_current(sessions, lag, back):
    windows = prepare(sessions, dtype=torch.float64)
    model = solved(windows, lag)
    for w in windows:
        activity = w.activity.numpy()
        current = activity @ model.get_buffer(f"correlation_{w.session}").numpy().T
        train, test = (w.targets[part].numpy() for part in ("train", "test"))
        forecast = predict_series(model, w, w.targets["test"])
        for i in range(w.n_neurons):
            slope, offset = np.polyfit(current[train - back, i], activity[train, i], 1)
            np.testing.assert_allclose(forecast[:, i], slope * current[test - back, i] + offset, atol=1e-6)


def test_a_neuron_without_any_correlation_is_forecast_at_its_mean():
    windows = prepare([noise_session()], dtype=torch.float64)
    model = solved(windows, 1)
    model.get_buffer("correlation_0")[2] = 0
    gain, offset = model._regress(windows[0])
    assert gain[2] == 0
    torch.testing.assert_close(offset[2], windows[0].activity[windows[0].targets["train"], 2].mean())


def test_bad_lags():
    with pytest.raises(ValueError, match="lag is -1"):
        LaggedCorrelationConfig(lag=-1)
    windows = prepare([noise_session()], WindowConfig(window=2))
    solved(windows, 2)
    with pytest.raises(InputError, match="longer than the window of 2"):
        LaggedCorrelation(windows, LaggedCorrelationConfig(lag=3))
