"""CURBD: recursive least squares against closed forms, and a three-region network whose currents are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from population import noise_session, session

from ndx_synapsnet.errors import InputError
from ndx_synapsnet.learn.baselines.curbd import CURBD, CURBDConfig, region_currents, target_drives, train_network
from ndx_synapsnet.learn.forecaster import predict_series
from ndx_synapsnet.learn.preparation import prepare
from ndx_synapsnet.learn.train import train
from ndx_synapsnet.metrics import recovery

REGIONS = np.repeat(["A", "B", "C"], 8)


def three_regions(trials=50, samples=25, seed=0):
    """Return rates (trials, samples, N) of three coupled random networks (Perich et al. 2020), and their weights.

    Each trial starts from another state: along one trajectory alone, many weights make the same currents.
    """
    rng = np.random.default_rng(seed)
    n = len(REGIONS)
    within = REGIONS[:, None] == REGIONS
    sparse = (rng.random((n, n)) < 0.3) / np.sqrt(0.3)
    weights = np.where(within, 1.6, 0.5 * sparse) * rng.normal(size=(n, n)) / np.sqrt(n / 3)
    state, rates = rng.uniform(-1, 1, (trials, n)), []
    for _ in range(samples):
        rates.append(np.tanh(state))
        state = state + 0.1 * (-state + rates[-1] @ weights.T)
    return np.stack(rates, 1), weights


@pytest.fixture(scope="module")
def regions():
    return three_regions()


def as_windows(rates):
    trials, samples, n = rates.shape
    made = session(rates.reshape(-1, n).T, segment=np.repeat(np.arange(trials), samples))
    return prepare([replace(made, neurons=replace(made.neurons, region=REGIONS))])


def correlation(a, b):
    return np.corrcoef(a.ravel(), b.ravel())[0, 1]


def naive_run(states, weights, config):
    """One training run without noise, as the equations read; with what the least squares saw."""
    p, j, seen = config.learning_rate * np.eye(len(weights)), weights.copy(), []
    dt = 1 / config.steps_per_sample
    for stretch in states:
        h = stretch[0].copy()
        for k in range(len(stretch) - 1):
            remains = (1 - dt / config.tau) ** config.steps_per_sample
            target = (stretch[k + 1] - remains * stretch[k]) / (1 - remains)
            for step in range(config.steps_per_sample):
                r = np.tanh(h)
                drive = j @ r
                if step == config.steps_per_sample // 2:
                    gained = p @ r
                    c = 1 / (1 + r @ gained)
                    p = p - c * np.outer(gained, gained)
                    j = j - c * np.outer(drive - target, gained)
                    seen.append((r, target))
                h = h + dt * (-h + drive) / config.tau
    r, target = (np.array(each) for each in zip(*seen, strict=True))
    return j, r, target


def test_a_run_is_the_equations_and_its_end_is_ridge_regression(regions):
    rates = 0.9 * regions[0][:4]
    config = CURBDConfig(runs=1, free_runs=1, noise=0.0, learning_rate=0.5)
    start = torch.randn(24, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(3)).numpy()
    start *= config.gain / np.sqrt(24)
    naive, r, target = naive_run(np.arctanh(rates), start, config)
    found, _ = train_network([torch.from_numpy(trial) for trial in rates], config, torch.Generator().manual_seed(3))
    np.testing.assert_allclose(found.numpy(), naive, atol=1e-9)
    # min over J of |J r - target|² + |J - J0|² / P0
    gram = r.T @ r + np.eye(24) / config.learning_rate
    closed = np.linalg.solve(gram, (target.T @ r + start / config.learning_rate).T).T
    np.testing.assert_allclose(found.numpy(), closed, atol=1e-9)


def test_the_target_is_the_drive_that_leads_to_the_next_sample():
    config = CURBDConfig(tau=3.0, steps_per_sample=4)
    states = torch.randn(5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    drive = target_drives(states, config)
    state = states[:-1].clone()
    for _ in range(4):
        state = state + (-state + drive) / 4 / 3.0
    torch.testing.assert_close(state, states[1:])
    torch.testing.assert_close(target_drives(states, replace(config, target="drive")), states[1:])


def test_three_regions_are_reproduced_in_free_runs_and_their_currents_are_true(regions):
    rates, weights = regions
    scaled = rates / np.abs(rates).max()
    config = CURBDConfig(runs=10, free_runs=2)
    stretches = [torch.from_numpy(trial) for trial in scaled]
    found, explained = train_network(stretches, config, torch.Generator().manual_seed(0))
    assert explained[-2:].min() > 0.99
    flat = rates.reshape(-1, 24).T
    true, guessed = region_currents(weights, flat, REGIONS), region_currents(found.numpy(), flat, REGIONS)
    assert min(correlation(true[pair], guessed[pair]) for pair in true) > 0.95
    shuffled = found.numpy()[np.random.default_rng(0).permutation(24)]
    wrong = region_currents(shuffled, flat, REGIONS)
    assert max(correlation(true[pair], wrong[pair]) for pair in true) < 0.5


def test_the_published_target_lags_behind(regions):
    rates = regions[0] / np.abs(regions[0]).max()
    config = CURBDConfig(runs=10, free_runs=1, target="drive")
    _, explained = train_network([torch.from_numpy(trial) for trial in rates], config, torch.Generator().manual_seed(0))
    assert 0 < explained[-1] < 0.9


@pytest.fixture(scope="module")
def solved(regions):
    windows = as_windows(regions[0])
    model = CURBD(windows, CURBDConfig(runs=10, free_runs=2))
    train(model, windows)
    return model, windows[0]


def test_from_a_session_it_finds_the_wiring_the_currents_and_forecasts(solved, regions):
    model, w = solved
    learning, free = model.explained_variance(0)
    assert (len(learning), len(free)) == (10, 2)
    assert free.min() > 0.95
    deviation = w.normalization.activity_std
    weights = regions[1] * deviation / deviation[:, None]  # between z-scored neurons
    # z-scoring rescales each neuron inside its tanh, which no J can undo in full
    assert recovery(model.connectivity(0), weights)["r"] > 0.8
    samples, rates = model.free_run(0)
    np.testing.assert_array_equal(samples, w.targets["train"].numpy())
    measured = w.activity[samples].numpy()
    assert correlation(rates.T, measured) > 0.97
    currents = model.currents(0)
    true = region_currents(weights, measured.T, REGIONS)
    assert list(currents) == [(a, b) for a in "ABC" for b in "ABC"]
    assert np.mean([correlation(true[pair], currents[pair]) for pair in true]) > 0.85
    forecast = predict_series(model, w, w.targets["test"])
    error = np.mean((forecast - w.truth(w.targets["test"])) ** 2)
    last = w.activity[w.targets["test"] - 1].numpy()
    assert error < 0.2 * np.mean((last - w.truth(w.targets["test"])) ** 2)  # five times better than the last sample


def test_a_forecast_is_one_sample_of_the_network(solved):
    model, w = solved
    batch = w.batch(w.targets["test"][:3])
    weights, scale = model.get_buffer("weights_0").numpy(), float(model.get_buffer("scale_0"))
    assert scale == pytest.approx(float(w.activity[w.targets["train"]].abs().max()))
    h = np.arctanh(np.clip(batch.activity[:, :, -1].numpy() / scale, -0.999, 0.999))
    for _ in range(5):
        h = h + (-h + np.tanh(h) @ weights.T) / 50
    np.testing.assert_allclose(model.predict(batch).numpy(), np.tanh(h) * scale, atol=1e-5)


def test_currents_add_up_to_the_drive():
    rng = np.random.default_rng(0)
    weights, rates, names = rng.normal(size=(5, 5)), rng.normal(size=(5, 7)), np.array(["b", "a", "b", "", "a"])
    currents = region_currents(weights, rates, names)
    assert {pair: each.shape for pair, each in currents.items()} == {
        (t, s): ({"": 1, "a": 2, "b": 2}[t], 7) for t in ("", "a", "b") for s in ("", "a", "b")
    }
    np.testing.assert_allclose(
        sum(currents["b", source] for source in ("", "a", "b")), (weights @ rates)[[0, 2]], atol=1e-5
    )
    np.testing.assert_allclose(currents["a", "b"], weights[np.ix_([1, 4], [0, 2])] @ rates[[0, 2]], atol=1e-5)
    with pytest.raises(ValueError, match="do not belong together"):
        region_currents(weights, rates, names[:3])


def test_without_regions_there_is_an_error():
    windows = prepare([noise_session()])
    with pytest.raises(InputError, match="no regions are known"):
        CURBD(windows, CURBDConfig(runs=1)).currents(0)


def test_with_resets_it_learns_a_noisy_network():
    windows = prepare([noise_session(6, 2000, 0)])
    r = {}
    for every in (None, 1):
        model = CURBD(windows, CURBDConfig(runs=2, free_runs=1, tau=1.0, reset_every=every, max_samples=None))
        r[every] = train(model, windows).curve["validation_mse"][0]
    assert r[1] < 1 < r[None] + 0.05


def test_the_samples_used_and_where_it_starts_anew():
    rng = np.random.default_rng(0)
    made = session(rng.normal(size=(4, 300)), segment=np.repeat([0, 1, 2], 100))
    windows = prepare([made])
    model = CURBD(windows, CURBDConfig(runs=1, free_runs=1, max_samples=120, noise=0.0))
    train(model, windows)
    samples, rates = model.free_run(0)
    np.testing.assert_array_equal(samples, windows[0].targets["train"][-120:].numpy())
    # right after a gap, the run has only gone on for one sample from the recorded state
    first = np.flatnonzero(np.diff(samples) != 1) + 1
    assert len(first)
    forecast = predict_series(model, windows[0], torch.from_numpy(samples[first]))
    np.testing.assert_allclose(rates[:, first].T * float(model.get_buffer("scale_0")), forecast, atol=1e-5)


def test_the_seed_decides():
    windows = prepare([noise_session(5, 300, 0)])
    weights = []
    for seed in (0, 0, 1):
        model = CURBD(windows, CURBDConfig(runs=1, free_runs=1), seed=seed)
        train(model, windows)
        weights.append(model.connectivity(0))
    np.testing.assert_array_equal(weights[0], weights[1])
    assert np.abs(weights[0] - weights[2]).max() > 0.01


@pytest.mark.parametrize(
    "bad",
    [
        {"gain": 0.0},
        {"learning_rate": float("nan")},
        {"tau": 0.5},
        {"noise_tau": 0.0},
        {"noise": -1.0},
        {"steps_per_sample": 0},
        {"runs": 0},
        {"free_runs": 0},
        {"max_samples": 0},
        {"reset_every": 0},
        {"target": "rates"},
    ],
)
def test_bad_settings_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        CURBDConfig(**bad)
