"""Unshrunk estimates: against plain least squares, errors against repeated samples, own history taken out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from population import noise_session

from ndx_synapsnet.errors import InputError
from ndx_synapsnet.learn.drive import DriveConfig, fit_drive
from ndx_synapsnet.learn.estimates import estimate_connectivity, innovations, regress
from ndx_synapsnet.learn.inference import assess
from ndx_synapsnet.learn.preparation import prepare
from ndx_synapsnet.learn.windows import WindowConfig


def test_is_least_squares_with_an_intercept():
    rng = np.random.default_rng(0)
    x, y = rng.normal(2, 1, (9_000, 4)), rng.normal(-1, 1, (9_000, 3))  # three blocks
    y += x @ rng.normal(size=(4, 3))
    found = regress(x, y)
    design = np.c_[x, np.ones(len(x))]
    inverse = np.linalg.inv(design.T @ design)
    weights = inverse @ design.T @ y
    np.testing.assert_allclose(found.weights, weights[:4].T, rtol=1e-8)
    leverage = np.einsum("ti,ij,tj->t", design, inverse, design)
    for g in range(3):
        residual = y[:, g] - design @ weights[:, g]
        meat = design.T @ (design * (residual**2 / (1 - leverage))[:, None])
        np.testing.assert_allclose(
            found.standard_error[g], np.sqrt(np.diagonal(inverse @ meat @ inverse))[:4], rtol=1e-6
        )


def test_errors_hold_where_noise_grows_with_the_predictor():
    rng = np.random.default_rng(0)
    x = np.abs(rng.normal(size=(2_000, 400, 1)))
    found = [regress(each, each * rng.normal(size=(400, 1))) for each in x]
    spread = np.std([each.weights[0, 0] for each in found])
    assert np.mean([each.standard_error[0, 0] for each in found]) == pytest.approx(spread, rel=0.05)


def test_doubt_about_a_predictor_keeps_its_coefficient():
    # y = x + v, v known with an error: E[v v'] is that of the estimate and its doubt
    rng = np.random.default_rng(0)
    v = rng.normal(size=(100_000, 1))
    x = 0.5 * v + rng.normal(size=v.shape)
    precision = 1 + 4.0
    estimate = (4.0 * (v + 0.5 * rng.normal(size=v.shape))) / precision  # posterior mean, doubt 1 / 5
    found = regress(np.hstack([np.zeros_like(x), estimate]), v, np.array([[1 / precision]]))
    assert found.weights[0, 1] == pytest.approx(1 / (1 + 1 / 4), abs=0.02)
    assert (found.weights[0, 0], found.standard_error[0, 0]) == (0, 0)  # never varies


def test_innovations_have_no_past():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(8_000, 40))
    series = np.zeros_like(noise)
    for t in range(2, len(series)):
        series[t] = 1.2 * series[t - 1] - 0.3 * series[t - 2] + noise[t]
    rows = np.arange(10, 8_000)
    left = innovations(series, rows, 5)
    assert np.corrcoef(left.ravel(), noise[rows].ravel())[0, 1] > 0.999
    constant = innovations(np.ones((50, 2)), np.arange(5, 50), 5)
    np.testing.assert_allclose(constant, 0, atol=1e-6)
    np.testing.assert_allclose(innovations(series, rows, 0), series[rows] - series[rows].mean(0), rtol=1e-4, atol=1e-5)


def test_refuses_too_few_rows_and_what_is_not_a_number():
    with pytest.raises(InputError, match="too few to tell 20 sources apart"):
        regress(np.ones((40, 20)), np.ones((40, 2)))
    with pytest.raises(ValueError, match="rows"):
        regress(np.ones((40, 2)), np.ones((41, 2)))
    with pytest.raises(ValueError, match="finite"):
        regress(np.full((40, 2), np.nan), np.ones((40, 2)))


def test_the_drive_of_a_sample_is_what_acted_on_it():
    # the source tells of the drive that reaches the target a sample later, but does nothing itself
    rng = np.random.default_rng(0)
    activity = rng.normal(size=(3, 4_000))
    drive = np.r_[0, activity[0, :-1]] + rng.normal(size=4_000)
    activity[1] += drive
    session = replace(noise_session(3, 4_000, 0), activity=activity.astype(np.float32))
    (windows,) = prepare([session], WindowConfig(window=5))

    class Known:
        def smoothed(self, windows):
            return drive[:, None], np.zeros((1, 1))

    estimate, _ = estimate_connectivity(windows, Known())
    assert abs(estimate.weights[1, 0]) < 4 * estimate.standard_error[1, 0]
    assert estimate.standard_error[1, 0] < 0.03


def test_finds_connections_and_only_those_in_slow_signals():
    n, t = 30, 8_000
    rng = np.random.default_rng(0)
    wiring = np.where(rng.random((n, n)) < 0.06, rng.choice([-0.3, 0.3], (n, n)), 0)
    np.fill_diagonal(wiring, 0)
    loadings = 0.5 * rng.normal(size=n)
    events, slow, drive = np.zeros((t, n)), np.zeros((t, n)), 0.0
    for k in range(1, t):
        events[k] = wiring @ events[k - 1] + loadings * drive + rng.normal(size=n)
        slow[k] = 0.9 * slow[k - 1] + events[k]
        drive = 0.95 * drive + np.sqrt(1 - 0.95**2) * rng.normal()
    session = replace(noise_session(n, t, 0), activity=slow.T.astype(np.float32))
    (windows,) = prepare([session], WindowConfig(window=5))
    estimate, halves = estimate_connectivity(windows, fit_drive(windows, DriveConfig(components=1)))
    found = assess(estimate.weights, estimate.standard_error, halves=halves)
    off = ~np.eye(n, dtype=bool)
    connected, chosen = wiring[off] != 0, found.q[off] <= 0.1
    assert np.mean(chosen[connected]) > 0.95
    assert np.mean(~connected[chosen]) < 0.15
    assert 0.02 < np.mean(found.p[off][~connected] <= 0.05) < 0.08
    assert found.diagnostics.trustworthy
    assert found.diagnostics.sampling == pytest.approx(1, abs=0.1)
    assert np.corrcoef(estimate.weights[off], wiring[off])[0, 1] > 0.95
    assert halves[0].count + halves[1].count == estimate.count
