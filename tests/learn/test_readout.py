"""Connectivity read out of a network, against a regression for each target and against a planted matrix."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from population import session

from ndx_synapsnet.learn import readout
from ndx_synapsnet.learn.drive import DriveConfig
from ndx_synapsnet.learn.linear_start import start_linear
from ndx_synapsnet.learn.preparation import prepare
from ndx_synapsnet.learn.readout import read_out, take_if_better
from ndx_synapsnet.learn.synapsnet import SynapsNet
from ndx_synapsnet.learn.synapsnet_config import SynapsNetConfig
from ndx_synapsnet.learn.train import TrainConfig, train
from ndx_synapsnet.learn.windows import WindowConfig
from ndx_synapsnet.metrics import recovery

CONFIG = SynapsNetConfig(
    hidden=16, embedding=4, context="stream", stretch=8,
    drive=True, connectivity="fixed", skip_history=True, skip_current=True,
)  # fmt: skip


def softplus_network(n=16, t=6000, seed=0):
    """Counts with a soft threshold, a sparse matrix, a behaviour and a drive that nobody recorded; and the matrix."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(n, n)) * (rng.random((n, n)) < 0.2) * 0.5
    np.fill_diagonal(weights, 0)
    slow = np.zeros((t, 2))
    for s in range(1, t):
        slow[s] = 0.95 * slow[s - 1] + np.sqrt(1 - 0.95**2) * rng.normal(size=2)
    loadings, base = 0.3 * rng.normal(size=(n, 2)), rng.uniform(0.0, 0.4, n)
    counts = np.zeros((t, n))
    for s in range(1, t):
        drive = base + weights @ counts[s - 1] + loadings @ slow[s - 1]
        counts[s] = np.minimum(rng.poisson(0.1 * np.logaddexp(0, drive / 0.1)), 4)
    return session(counts.T, slow[:, :1].T), weights


@pytest.fixture(scope="module")
def trained():
    recording, truth = softplus_network()
    windows, fits = start_linear(prepare([recording]), DriveConfig(components=1))
    model = SynapsNet(windows, CONFIG, fits=fits)
    schedule = {"schedule": "one_cycle", "learning_rate": 0.02, "batch_size": 8}
    train(model, windows, TrainConfig(epochs=1, min_steps=300, **schedule))
    return model, fits[0], truth


@pytest.fixture(scope="module")
def found(trained):
    model, fit, _ = trained
    return read_out(model, 0, fit)


def in_spikes(weights, model):
    std = model.windows[0].normalization.activity_std
    return weights * std[:, None] / std


def test_it_recovers_a_planted_matrix_better_than_the_linear_stage(trained, found):
    model, fit, truth = trained
    scores = {
        name: recovery(in_spikes(weights, model), truth)
        for name, weights in (("linear", fit.weights), ("readout", found.weights))
    }
    print(scores)
    assert scores["readout"]["r"] > scores["linear"]["r"] + 0.01
    assert scores["readout"]["average_precision"] > scores["linear"]["average_precision"]
    assert not np.diagonal(found.weights).any()


def test_least_squares_are_those_of_a_regression_for_each_target(trained, found, monkeypatch):
    model, fit, _ = trained
    monkeypatch.setattr(readout, "_FREE_STEPS", 40)
    estimate = read_out(model, 0, fit).estimate
    w = model.windows[0]
    indices = w.targets["train"]
    forecast, slope, current = (each.double().numpy() for each in model.slopes(w.batch(indices)))
    x, y = (w.activity.index_select(0, at).double().numpy() for at in (indices - 1, indices))
    behavior = w.behavior.index_select(0, indices - 1).double().numpy()
    series, doubt = fit.smoothed(w)
    covariates = np.hstack([behavior, np.ones((len(x), 1)), series[indices.numpy()]])
    for i in (0, 7):
        squared = (y[:, i] - forecast[:, i]) ** 2
        line = np.polyval(np.polyfit(forecast[:, i], squared, 1), forecast[:, i])
        root = 1 / np.sqrt(np.maximum(line, readout._LEAST_VARIANCE * squared.mean()))
        u = root * slope[:, i]
        design = u[:, None] * np.hstack([x, covariates])  # own activity is among the sources
        gram = design.T @ design
        gram[-1, -1] += float(doubt[0, 0]) * (u**2).sum()
        response = root * (y[:, i] - forecast[:, i] + slope[:, i] * current[:, i])
        solved = np.linalg.solve(gram, design.T @ response)
        others = np.arange(16) != i
        expected = slope[:, i].mean() * solved[:16][others]
        np.testing.assert_allclose(estimate[i, others], expected, atol=2e-3)
        noise = np.mean((response - design @ solved) ** 2)
        errors = abs(slope[:, i].mean()) * np.sqrt(noise * np.diagonal(np.linalg.inv(gram)))[:16][others]
        np.testing.assert_allclose(found.standard_error[i, others], errors, rtol=0.25)
        assert np.corrcoef(found.standard_error[i, others], errors)[0, 1] > 0.7


def test_the_few_steps_come_to_an_end(trained, found, monkeypatch):
    model, fit, _ = trained
    monkeypatch.setattr(readout, "_STEPS", 12)
    more = read_out(model, 0, fit)
    assert np.abs(more.weights - found.weights).max() < 0.1 * np.abs(found.weights).max()
    assert np.corrcoef(more.weights.ravel(), found.weights.ravel())[0, 1] > 0.998


@pytest.mark.parametrize("samples", [70, 80])  # fewer than predictors; a few more, and the steps drift apart
def test_says_when_a_recording_is_too_short_for_its_neurons(found, samples):
    assert found.settled
    recording, _ = softplus_network(n=60, t=samples)
    windows, fits = start_linear(prepare([recording], WindowConfig(min_active=5)), DriveConfig(components=0))
    model = SynapsNet(windows, CONFIG, fits=fits)
    train(model, windows, TrainConfig(epochs=1, min_steps=100, learning_rate=0.02, batch_size=8))
    short = read_out(model, 0, fits[0])
    assert not short.settled
    assert np.isfinite(short.last_step) == (samples == 80)


def test_uncertainty_goes_with_what_is_known(found):
    off = ~np.eye(16, dtype=bool)
    assert ((found.spike[off] >= 0) & (found.spike[off] <= 1)).all()
    ratio = found.deviation[off] / found.standard_error[off]
    assert np.median(ratio) < 0.8  # the prior adds to what is known, but where it wavers between an effect and none
    assert 0 < ratio.min() < ratio.max() < 3
    np.testing.assert_allclose(found.weights, found.gain[:, None] * found.raw)


def test_the_model_takes_it_only_if_that_is_better(trained, found):
    model, _, _ = trained
    before = model.raw_connectivity(0)
    worse = type(found)(**{**vars(found), "raw": -5 * found.raw})
    assert "keeps the linear model's" in take_if_better(model, 0, worse)
    np.testing.assert_array_equal(model.raw_connectivity(0), before)
    assert "took the place" in take_if_better(model, 0, found)
    np.testing.assert_allclose(model.raw_connectivity(0), found.raw, atol=1e-6)
    with torch.no_grad():
        model.weights[0].copy_(torch.from_numpy(before))
