"""The stationary filter and smoother against the plain forms, and against the exact posterior of a short series."""

from __future__ import annotations

import numpy as np
import pytest

from ndx_synapsnet.learn.kalman import filter_series, run_recursion, smooth_series, stationary


@pytest.fixture(scope="module")
def system():
    """Two hidden series seen by five, over 400 samples."""
    rng = np.random.default_rng(0)
    transition, innovation = np.array([[0.9, 0.1], [-0.05, 0.8]]), np.array([[0.2, 0.05], [0.05, 0.3]])
    loadings, noise = rng.normal(size=(5, 2)), rng.uniform(0.5, 2, 5)
    v, states = np.zeros(2), []
    for _ in range(400):
        v = transition @ v + np.linalg.cholesky(innovation) @ rng.normal(size=2)
        states.append(v)
    seen = np.array(states) @ loadings.T + np.sqrt(noise) * rng.normal(size=(400, 5))
    return transition, innovation, loadings, noise, seen


def _exact(system):
    """Posterior means (T, 2) and covariances (T, 2, 2) of all hidden values at once, given all observations."""
    transition, innovation, loadings, noise, seen = system
    t, k = len(seen), 2
    precision, linear = np.zeros((t, k, t, k)), np.zeros((t, k))
    back = np.linalg.inv(innovation)
    start = np.eye(k)  # of v(0): in the middle of the series it does not matter
    for j in range(t):
        precision[j, :, j] += loadings.T @ (loadings / noise[:, None])
        linear[j] = loadings.T @ (seen[j] / noise)
        if j:
            precision[j, :, j] += back
            precision[j - 1, :, j - 1] += transition.T @ back @ transition
            precision[j, :, j - 1] -= back @ transition
            precision[j - 1, :, j] -= transition.T @ back
        else:
            precision[0, :, 0] += start
    covariance = np.linalg.inv(precision.reshape(t * k, t * k))
    return (covariance @ linear.ravel()).reshape(t, k), covariance.reshape(t, k, t, k)


def _passes(system):
    transition, innovation, loadings, noise, seen = system
    information = (loadings / noise[:, None]).T
    steps = stationary(transition, innovation, information @ loadings)
    added = (seen @ information.T) @ steps.filtered
    filtered = filter_series(steps, added, np.ones(len(seen), bool))
    return steps, filtered, smooth_series(steps, filtered)


def test_smoother_is_the_exact_posterior_away_from_the_ends(system):
    means, covariances = _exact(system)
    steps, _, smoothed = _passes(system)
    middle = slice(100, 300)
    assert smoothed[middle] == pytest.approx(means[middle], abs=1e-7)
    assert steps.smoothed == pytest.approx(covariances[200, :, 200], abs=1e-7)
    assert steps.lagged == pytest.approx(covariances[201, :, 200], abs=1e-7)


def test_filter_is_the_exact_posterior_of_its_last_sample(system):
    cut = (*system[:4], system[4][:250])
    means, covariances = _exact(cut)
    steps, filtered, _ = _passes(cut)
    assert filtered[-1] == pytest.approx(means[-1], abs=1e-7)
    assert steps.filtered == pytest.approx(covariances[-1, :, -1], abs=1e-7)


def test_missing_observations_are_carried_over(system):
    steps, _, _ = _passes(system)
    added = np.ones((6, 2))
    observed = np.array([True, True, False, False, True, True])
    series = run_recursion(steps.transition, steps.recursion, added, observed)
    assert series[3] == pytest.approx(steps.transition @ steps.transition @ series[1])
    assert series[4] == pytest.approx(steps.recursion @ series[3] + 1)


def test_a_component_without_innovation_and_none_at_all():
    steps = stationary(np.array([[0.5]]), np.zeros((1, 1)), np.ones((1, 1)))
    assert steps.filtered == pytest.approx(0, abs=1e-8)
    nothing = stationary(np.zeros((0, 0)), np.zeros((0, 0)), np.zeros((0, 0)))
    assert filter_series(nothing, np.zeros((4, 0)), np.ones(4, bool)).shape == (4, 0)


@pytest.mark.parametrize("length", [1, 63, 64, 65, 400])
def test_blocks_make_no_difference(length):
    rng = np.random.default_rng(length)
    transition, recursion = np.array([[0.9, 0.1], [-0.2, 0.8]]), np.array([[0.5, -0.1], [0.3, 0.6]])
    added, observed = rng.normal(size=(length, 2)), rng.random(length) < 0.9
    expected, state = [], np.zeros(2)
    for step, seen in zip(added, observed, strict=True):
        state = recursion @ state + step if seen else transition @ state
        expected.append(state)
    assert run_recursion(transition, recursion, added, observed) == pytest.approx(np.array(expected))
