"""The coupled Poisson GLM: its filters, its link, and that spikes obey them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ndx_synapsnet.simulate import CoupledGLMConfig, coupled_glm, simulate_coupled_glm
from ndx_synapsnet.simulate.coupled_glm import draw_filters, drive_of, rate_of

ALONE: dict[str, Any] = {"n_neurons": 5, "n_recorded": 5, "behavior_gain": 0.0, "task_gain": 0.0, "density": 0.3}


def lagged(x: np.ndarray, lag: int) -> np.ndarray:
    """Correlation [target, source] of activity (M, T) a lag apart."""
    z = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
    return z[:, lag:] @ z[:, : x.shape[1] - lag].T / (x.shape[1] - lag)


@pytest.mark.parametrize(("weight", "lag"), [(0.8, 1), (-0.8, 1), (0.8, 3)])
def test_one_edge_shows_at_its_place_lag_and_sign(monkeypatch: pytest.MonkeyPatch, weight: float, lag: int) -> None:
    def one_edge(config: CoupledGLMConfig, rng: np.random.Generator) -> np.ndarray:
        filters = np.zeros((3, 5, 5))
        filters[lag - 1, 3, 1] = weight
        return filters

    monkeypatch.setattr(coupled_glm, "draw_filters", one_edge)
    made = simulate_coupled_glm(CoupledGLMConfig(**ALONE, n_samples=10_000, rate=(0.2, 0.3)))
    assert made.truth.weights[3, 1] == pytest.approx(weight)
    assert made.filters is not None
    assert np.argwhere(made.filters).tolist() == [[lag - 1, 3, 1]]
    found = np.stack([lagged(made.session.activity, each) for each in (1, 2, 3)])
    found[:, np.arange(5), np.arange(5)] = 0
    assert np.unravel_index(np.argmax(np.abs(found)), found.shape) == (lag - 1, 3, 1)
    assert np.sign(found[lag - 1, 3, 1]) == np.sign(weight)
    assert abs(found[lag - 1, 3, 1]) > 0.1


@pytest.mark.parametrize("link", ["softplus", "exp"])
def test_rates_are_those_of_the_equations(link: Any) -> None:
    """The rates that were kept, computed again from the spikes by sums over lags, one sample at a time."""
    config = CoupledGLMConfig(**{**ALONE, "n_recorded": 5}, n_samples=200, link=link, burn_in=5)
    made = simulate_coupled_glm(config, keep_hidden=True)
    assert made.hidden is not None
    assert made.hidden.expected is not None
    assert made.filters is not None
    x = made.session.activity.astype(float)
    effect = made.filters.astype(float)
    for k in range(3):
        effect[k] -= np.eye(5) * config.history * np.exp(-k / config.history_time)
    drive = np.stack([sum(effect[k] @ x[:, t - 1 - k] for k in range(3)) for t in range(3, 200)], axis=1)
    implied = drive_of(made.hidden.expected[:, 3:].astype(float), config)
    constant = implied - drive
    assert np.allclose(constant, constant[:, :1], atol=2e-4)  # what is left is each neuron's own constant


def test_spikes_are_poisson_around_the_rate() -> None:
    made = simulate_coupled_glm(CoupledGLMConfig(n_neurons=30, n_recorded=30, n_samples=4000), keep_hidden=True)
    assert made.hidden is not None
    assert made.hidden.expected is not None
    residual = (made.session.activity - made.hidden.expected) / np.sqrt(made.hidden.expected)
    assert abs(residual.mean()) < 0.01
    assert residual.var() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("link", ["softplus", "exp"])
def test_drive_and_rate_are_each_others_inverse(link: Any) -> None:
    config = CoupledGLMConfig(link=link)
    rates = np.array([0.02, 0.3, 2.0])
    assert np.allclose(rate_of(drive_of(rates, config), config), rates)


def test_filters_have_one_sign_and_decay() -> None:
    config = CoupledGLMConfig(n_neurons=60, n_recorded=60, density=0.1)
    filters = draw_filters(config, np.random.default_rng(0))
    assert filters.shape == (3, 60, 60)
    edges = filters[:, filters[0] != 0]
    assert np.all(np.sign(edges) == np.sign(edges[0]))
    assert np.all(np.abs(edges[0]) > np.abs(edges[1]))
    assert np.all(np.abs(edges[1]) > np.abs(edges[2]))
    assert edges.sum(0).std() == pytest.approx(0.9 / np.sqrt(6), rel=0.1)


def test_a_neuron_is_less_likely_to_fire_after_a_spike() -> None:
    made = simulate_coupled_glm(CoupledGLMConfig(**{**ALONE, "density": 0.01}, coupling=0.0, n_samples=8000))
    assert np.all(np.diag(lagged(made.session.activity, 1)) < -0.03)


@pytest.mark.parametrize("link", ["softplus", "exp"])
def test_rates_stay_in_bounds(link: Any) -> None:
    coupling = 1.5 if link == "exp" else 0.9
    config = CoupledGLMConfig(n_neurons=150, n_recorded=150, n_samples=1500, link=link, coupling=coupling)
    made = simulate_coupled_glm(config)
    assert made.clipped < 0.02
    assert 2 < made.diagnostics["rate_mean"] < 15


@pytest.mark.parametrize(
    "wrong",
    [
        {"link": "tanh"},
        {"n_lags": 0},
        {"persistence": 1.0},
        {"sharpness": 0.0},
        {"coupling": -0.1},
        {"filter_time": (2.0, 1.0)},
        {"rate": (0.1, 5.0)},
    ],
)
def test_bad_constants_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        CoupledGLMConfig(**wrong)
