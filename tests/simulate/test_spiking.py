"""The integrate-and-fire network and the indicator over it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ndx_synapsnet.simulate import (
    CalciumNetworkConfig,
    SpikingNetworkConfig,
    simulate_calcium_network,
    simulate_spiking_network,
)
from ndx_synapsnet.simulate.calcium import indicator_response
from ndx_synapsnet.simulate.spiking import SpikingNetwork, _Arrivals, draw_network, run_network

QUIET = SpikingNetworkConfig(
    n_neurons=6, n_recorded=6, n_samples=6000, burn_in=200, behavior_gain=0.0, task_gain=0.0, rate=(4.0, 8.0)
)


def one_edge(weight: float, delay: float = 0.005) -> SpikingNetwork:
    """Neuron 1 drives neuron 4, and nothing else is connected."""
    weights = np.zeros((6, 6))
    weights[4, 1] = weight
    return SpikingNetwork(weights, np.full((6, 6), delay), np.arange(6) == (1 if weight < 0 else 7))


def lagged(counts: np.ndarray, lag: int) -> np.ndarray:
    """Correlation [target, source] of counts (T, M) a lag apart."""
    z = (counts - counts.mean(0)) / counts.std(0)
    return z[lag:].T @ z[: len(z) - lag] / (len(z) - lag)


@pytest.mark.parametrize("weight", [0.8, -0.8])
def test_one_edge_shows_in_the_next_bin_at_its_place_and_with_its_sign(weight: float) -> None:
    raster = run_network(QUIET, one_edge(weight), np.random.default_rng(0))
    forward = lagged(raster.counts.astype(float), 1)
    np.fill_diagonal(forward, 0)
    target, source = np.unravel_index(np.argmax(np.abs(forward)), forward.shape)
    assert (target, source) == (4, 1)
    assert np.sign(forward[4, 1]) == np.sign(weight)
    others = np.abs(np.delete(forward.ravel(), 4 * 6 + 1)).max()
    assert abs(forward[4, 1]) > 2 * others  # the next bin carries it; about .01 is chance
    assert abs(forward[4, 1]) > 3 * abs(lagged(raster.counts.astype(float), 5)[4, 1])  # and five bins later none does


def test_a_longer_delay_moves_the_effect_to_a_later_bin() -> None:
    early, late = (
        run_network(QUIET, one_edge(0.9, delay), np.random.default_rng(1)).counts.astype(float)
        for delay in (0.002, 0.060)
    )
    assert lagged(early, 1)[4, 1] > lagged(early, 3)[4, 1] + 0.05
    assert lagged(late, 2)[4, 1] > lagged(early, 2)[4, 1] + 0.05
    assert abs(lagged(late, 0)[4, 1]) < 0.03 < lagged(early, 0)[4, 1]


def test_arrivals_come_once_at_their_step() -> None:
    weights = np.array([[0.0, 2.0], [0.5, 0.0]])
    network = SpikingNetwork(weights, np.array([[0.0, 0.003], [0.001, 0.0]]), np.zeros(2, bool))
    arrivals = _Arrivals(network, 0.001)
    found = []
    for step in range(8):
        found.append(arrivals.take(step).tolist())
        if step in (1, 2):
            arrivals.send(np.array([0, 1]), step)
    assert found == [[0, 0], [0, 0], [0, 0.5], [0, 0.5], [2, 0], [2, 0], [0, 0], [0, 0]]


def test_dale_and_weights() -> None:
    config = SpikingNetworkConfig(n_neurons=200, n_recorded=200)
    network = draw_network(config, np.random.default_rng(0))
    assert network.inhibitory.sum() == 40
    assert (network.weights[:, network.inhibitory] <= 0).all()
    assert (network.weights[:, ~network.inhibitory] >= 0).all()
    excitatory = network.weights[network.weights > 0]
    assert np.log(excitatory).std() == pytest.approx(config.weight_spread, abs=0.03)
    assert excitatory.mean() == pytest.approx(config.coupling / np.sqrt(0.05 * 200), rel=0.05)
    assert np.mean(network.weights != 0) == pytest.approx(0.05, abs=0.005)
    assert (network.delays >= 0.003).all()
    assert (network.delays <= 0.010).all()


def test_the_network_is_neither_silent_nor_epileptic() -> None:
    made = simulate_spiking_network(
        SpikingNetworkConfig(n_neurons=150, n_recorded=50, n_samples=3000), keep_hidden=True
    )
    assert made.hidden is not None
    assert 4 < made.diagnostics["rate_mean"] < 8
    assert made.diagnostics["rate_low"] > 0.7
    assert made.diagnostics["rate_high"] < 18
    assert 0.8 < made.diagnostics["cv_isi"] < 1.8
    assert 0 < made.diagnostics["pair_correlation"] < 0.05
    population = made.hidden.activity.sum(0)
    assert population.max() < 5 * population.mean()
    assert made.session.neurons.cell_type is not None
    inhibitory = made.session.neurons.cell_type == "inhibitory"
    assert 0 < inhibitory.sum() < 25
    assert (made.truth.weights[:, inhibitory] <= 0).all()


def test_the_pair_correlation_is_the_mean_over_pairs() -> None:
    made = simulate_spiking_network(SpikingNetworkConfig(n_neurons=20, n_recorded=20, n_samples=500, burn_in=50))
    r = np.corrcoef(made.session.activity)
    assert made.diagnostics["pair_correlation"] == pytest.approx(r[~np.eye(20, dtype=bool)].mean(), abs=1e-6)
    assert made.diagnostics["rate_mean"] == pytest.approx(made.session.activity.mean() * 30, rel=1e-6)


def test_indicator_rises_to_one_and_decays() -> None:
    config = CalciumNetworkConfig(period=0.01, decay_time=0.5, rise_time=0.05)
    counts = np.zeros((200, 2), np.uint8)
    counts[10, 0] = 1
    response = indicator_response(counts, config, parts=1)
    assert response.shape == (2, 200)
    assert np.all(response[1] == 0)
    assert np.all(response[0, :11] == 0)
    assert response[0].max() == pytest.approx(1)
    assert int(response[0].argmax()) == 10 + 13  # ln(decay / rise) rise decay / (decay - rise) = .128 s
    assert response[0, 150] / response[0, 100] == pytest.approx(np.exp(-1), rel=1e-3)
    instant = indicator_response(counts, replace(config, rise_time=0.0), parts=1)[0]
    assert instant[11] == pytest.approx(1)
    assert instant[61] == pytest.approx(np.exp(-1), rel=1e-5)


def test_a_frame_is_the_mean_of_its_parts() -> None:
    counts = np.random.default_rng(0).poisson(0.2, (40, 3)).astype(np.uint8)
    coarse = indicator_response(counts, CalciumNetworkConfig(period=0.04), parts=4)
    fine = indicator_response(counts, CalciumNetworkConfig(period=0.01), parts=1)
    assert np.allclose(coarse, fine.reshape(3, 10, 4).mean(2), atol=1e-6)


SIZES: dict[str, Any] = {"n_neurons": 12, "n_recorded": 12, "n_samples": 600, "burn_in": 100, "density": 0.2}


def test_fluorescence_follows_the_spikes_with_noise_of_the_given_size() -> None:
    clear, noisy = (
        simulate_calcium_network(CalciumNetworkConfig(**SIZES, shot_noise=sd), keep_hidden=True) for sd in (0.0, 0.1)
    )
    assert clear.hidden is not None
    assert clear.hidden.counts is not None
    assert (noisy.session.activity - clear.session.activity).std() == pytest.approx(0.1, rel=0.03)
    assert clear.session.activity.min() >= 0
    assert abs(np.corrcoef(noisy.session.activity - clear.session.activity)[0, 1]) < 0.15  # of each neuron its own
    jump = clear.session.activity[0, 1:] - np.exp(-1 / 7.5) * clear.session.activity[0, :-1]
    assert np.corrcoef(jump, clear.hidden.counts[0, 1:] + clear.hidden.counts[0, :-1])[0, 1] > 0.8


def test_fluorescence_is_there_from_the_first_frame() -> None:
    config = CalciumNetworkConfig(n_neurons=60, n_recorded=60, n_samples=150, burn_in=150, shot_noise=0.0)
    trace = simulate_calcium_network(config).session.activity.mean(0)
    assert trace[0] > 0.6 * trace.mean()


def test_saturation_bounds_fluorescence() -> None:
    free, bound = (
        simulate_calcium_network(CalciumNetworkConfig(**SIZES, shot_noise=0.0, saturation=limit))
        for limit in (0.0, 1.0)
    )
    assert np.allclose(bound.session.activity, free.session.activity / (1 + free.session.activity), atol=1e-5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"inhibitory": 1.0},
        {"coupling": -1.0},
        {"delay": (0.01, 0.001)},
        {"rate": (0.0, 5.0)},
        {"membrane_time": 0.0},
        {"resolution": 0.5},
        {"noise": -0.1},
        {"amplitude": 0.0},
        {"rise_time": 0.6},
        {"saturation": -1.0},
        {"shot_noise": -1.0},
    ],
)
def test_bad_constants_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        CalciumNetworkConfig(**wrong)
