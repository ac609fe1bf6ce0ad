"""Empirical-Bayes shrinkage: against exact posteriors where there are any, and what it is for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from population import noise_session

from ndx_synapsnet.learn import coordinate_descent
from ndx_synapsnet.learn.coordinate_descent import CoupledDesign, to_array
from ndx_synapsnet.learn.moments import gather_moments
from ndx_synapsnet.learn.preparation import prepare
from ndx_synapsnet.learn.shrinkage import Prior, shrink, shrink_coupled


def _sums(x, y):
    return x.T @ x, y.T @ x, (y**2).sum(0)


def test_one_predictor_and_one_normal_is_ridge_regression():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 1))
    y = 0.3 * x + 0.5 * rng.normal(size=(400, 1))
    prior = Prior(np.array([0.0, 0.2]), np.array([0.0, 1.0]))
    found = shrink(*_sums(x, y), 400, prior=prior, noise=np.array([0.25]), sweeps=1)
    expected = (x.T @ y)[0, 0] / ((x.T @ x)[0, 0] + 0.25 / 0.04)
    assert found.mean[0, 0] == pytest.approx(expected)
    assert found.variance[0, 0] == pytest.approx(1 / ((x.T @ x)[0, 0] / 0.25 + 1 / 0.04))
    assert found.spike[0, 0] == pytest.approx(0)


def test_one_predictor_weighs_the_spike_by_its_evidence():
    x, y = np.ones((100, 1)), np.full((100, 1), 0.1)
    prior = Prior(np.array([0.0, 0.3]), np.array([0.7, 0.3]))
    found = shrink(*_sums(x, y), 100, prior=prior, noise=np.array([1.0]), sweeps=1)

    def density(variance):  # of the estimate 0.1, whose own variance is 0.01
        return np.exp(-0.5 * 0.1**2 / variance) / np.sqrt(variance)

    null, other = 0.7 * density(0.01), 0.3 * density(0.01 + 0.09)
    assert found.spike[0, 0] == pytest.approx(null / (null + other))
    assert found.mean[0, 0] == pytest.approx(other / (null + other) * 0.09 / 0.1 * 0.1)
    assert found.prior.weights == pytest.approx([null / (null + other), other / (null + other)])


def test_learns_how_many_are_null_and_how_noisy_each_target_is():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(3_000, 60))
    true = np.where(rng.random((40, 60)) < 0.1, 0.2 * rng.normal(size=(40, 60)), 0)
    noise = rng.uniform(0.5, 1.5, 40)
    y = x @ true.T + np.sqrt(noise) * rng.normal(size=(3_000, 40))
    found = shrink(*_sums(x, y), 3_000)
    least_squares = np.linalg.lstsq(x, y, rcond=None)[0].T
    assert found.prior.weights[0] == pytest.approx(0.9, abs=0.1)
    assert found.noise == pytest.approx(noise, rel=0.12)
    assert np.mean((found.mean - true) ** 2) < 0.35 * np.mean((least_squares - true) ** 2)
    inside = np.abs(found.mean - true) < 3 * np.sqrt(found.variance) + 0.01
    assert inside.mean() > 0.97


@pytest.mark.parametrize("block", [1, 7])
def test_blocks_make_no_difference_and_each_target_may_have_its_own_products(monkeypatch, block):
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(500, 12)) @ rng.normal(size=(12, 12)), rng.normal(size=(500, 3))
    gram, cross, square = _sums(x, y)
    absent = np.zeros((3, 12), bool)
    absent[1, 4] = True
    whole = shrink(gram, cross, square, 500, absent=absent)
    monkeypatch.setattr(coordinate_descent, "_BLOCK", block)
    apart = shrink(np.stack([gram] * 3), cross, square, 500, absent=absent)
    assert apart.mean == pytest.approx(whole.mean, abs=1e-9)
    assert apart.noise == pytest.approx(whole.noise)
    assert whole.mean[1, 4] == whole.variance[1, 4] == 0


def test_copies_and_constants_do_no_harm():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(300, 4))
    x[:, 2], x[:, 3] = x[:, 1], 0
    y = x[:, 1:2] + 0.1 * rng.normal(size=(300, 1))
    found = shrink(*_sums(x, y), 300)
    assert np.isfinite(found.mean).all()
    assert found.mean[0, 1] + found.mean[0, 2] == pytest.approx(1, abs=0.05)
    assert found.mean[0, 3] == 0


def test_coupled_leaves_own_history_free():
    """Equals the plain shrinkage of what regressions on own history leave."""
    (windows,) = prepare([noise_session(6, 400, 2)], dtype=torch.float64)
    moments = gather_moments(windows, "train", population=True, first=2)
    centred = moments.centred(moments)
    design = CoupledDesign(centred)
    targets = design.targets(to_array(centred.shared_target.T), to_array(centred.own_target))
    count = len(windows.targets["train"])
    found = shrink_coupled(design, targets, to_array(centred.target), count)

    indices, n = windows.targets["train"], windows.n_neurons
    z, b = windows.activity.double().numpy(), windows.behavior.double().numpy()
    places = indices.numpy()
    grams, crosses, squares = [], [], []
    for i in range(n):
        history = np.stack([z[places - lag, i] for lag in range(1, windows.window + 1)] + [np.ones(len(places))], 1)
        x = np.hstack([np.delete(z[places - 1], i, 1), b[places - 1]])
        x, y = (each - history @ np.linalg.lstsq(history, each, rcond=None)[0] for each in (x, z[places, i : i + 1]))
        gram, cross, square = _sums(x, y)
        for kept, new in zip((grams, crosses, squares), (gram, cross[0], square[0]), strict=True):
            kept.append(new)
    plain = shrink(np.stack(grams), np.stack(crosses), np.array(squares), count)
    off = ~np.eye(n, n + windows.n_behaviors, dtype=bool)
    assert found.mean[off].reshape(n, -1) == pytest.approx(plain.mean, abs=2e-4)
    assert found.noise == pytest.approx(plain.noise, rel=1e-3)
