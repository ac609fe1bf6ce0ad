"""The linear stage: hidden drive found, wiring recovered in spite of it, and nothing of the future in its series."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from population import noise_session

from ndx_synapsnet.learn import drive
from ndx_synapsnet.learn.deconvolution import with_sources
from ndx_synapsnet.learn.drive import DriveConfig, DriveFilter, drive_as_behavior, fit_drive, with_drive
from ndx_synapsnet.learn.linear import ARVAR
from ndx_synapsnet.learn.preparation import prepare
from ndx_synapsnet.learn.windows import WindowConfig
from ndx_synapsnet.metrics import recovery
from ndx_synapsnet.session import Session

N, T = 30, 6_000


def driven(seed=0, strength=0.6, components=1) -> tuple[Session, np.ndarray, np.ndarray]:
    """A sparse linear network with hidden slow drive: the session, its wiring (N, N) and the drive (T, k)."""
    rng = np.random.default_rng(seed)
    wiring = np.where(rng.random((N, N)) < 0.08, rng.normal(0, 0.3, (N, N)), 0)
    np.fill_diagonal(wiring, 0)
    loadings = strength * rng.normal(size=(N, components))
    v, x = np.zeros((T, components)), np.zeros((T, N))
    for t in range(1, T):
        x[t] = wiring @ x[t - 1] + loadings @ v[t - 1] + rng.normal(size=N)
        v[t] = 0.95 * v[t - 1] + np.sqrt(1 - 0.95**2) * rng.normal(size=components)
    return replace(noise_session(N, T, 0), activity=x.T.astype(np.float32)), wiring, v


@pytest.fixture(scope="module")
def found():
    """One hidden series among thirty neurons, and what is found of it."""
    session, wiring, v = driven()
    (windows,) = prepare([session], WindowConfig(window=3), dtype=torch.float64)
    return windows, wiring, v, fit_drive(windows)


def _correlation(a, b):
    return abs(np.corrcoef(a, b)[0, 1])


def test_finds_the_hidden_series_and_its_persistence(found):
    windows, _, v, fit = found
    assert fit.components == 1
    assert fit.transition[0, 0] == pytest.approx(0.95, abs=0.02)
    causal = fit.filter().series(windows)[:, 0].numpy()
    smoothed, covariance = fit.smoothed(windows)
    inside = windows.targets["train"].numpy()
    known = _correlation(smoothed[inside, 0], v[inside - 1, 0])  # the drive that acted on a sample is a step older
    assert known > 0.9
    assert 0.7 < _correlation(causal[inside], v[inside, 0]) < known
    assert covariance[0, 0] == pytest.approx(1 - known**2, abs=0.08)  # it knows how unsure it is


def test_wiring_is_better_than_without_hidden_drive(found):
    windows, wiring, _, fit = found
    alone = fit_drive(windows, DriveConfig(components=0))
    with_it, without = (recovery(each.weights, wiring) for each in (fit, alone))
    assert with_it["r"] > 0.93
    assert with_it["r"] > without["r"] + 0.05
    assert with_it["average_precision"] > without["average_precision"] + 0.1


def test_no_drive_is_found_where_there_is_none():
    session, wiring, _ = driven(strength=0.0)
    (windows,) = prepare([session], dtype=torch.float64)
    fit = fit_drive(windows)
    assert fit.components == 0
    assert fit.filter().series(windows).shape == (T, 0)
    assert recovery(fit.weights, wiring)["r"] > 0.97


def test_each_component_is_found():
    session, wiring, _ = driven(seed=1, components=2)
    (windows,) = prepare([session], dtype=torch.float64)
    fit = fit_drive(windows)
    assert fit.components in (2, 3)  # one too many costs nothing
    assert recovery(fit.weights, wiring)["r"] > 0.92
    assert fit.validation_mse[2] < fit.validation_mse[1] < fit.validation_mse[0]


def test_nothing_to_gain_means_a_forecast_as_good_as_least_squares(found):
    """Without hidden drive and with a free prior, it is the VAR with own history."""
    windows, *_ = found
    var = ARVAR([windows])
    var.solve([windows])
    fit = fit_drive(windows, DriveConfig(components=0, deflations=(1,)))
    indices = windows.targets["test"]
    ours = fit.forecast(with_drive(windows, fit.filter()), indices).numpy()
    theirs = var.predict(windows.batch(indices)).numpy()
    truth = windows.truth(indices)
    assert np.mean((ours - truth) ** 2) < np.mean((theirs - truth) ** 2)
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.95


def test_series_never_sees_the_future(found):
    windows, _, _, fit = found
    before = fit.filter().series(windows)
    changed = windows.activity.clone()
    changed[3_000:] += 5
    after = fit.filter().series(replace(windows, activity=changed))
    assert torch.equal(before[:3_000], after[:3_000])
    assert not torch.equal(before[3_000:], after[3_000:])


def test_filter_survives_being_kept(found):
    windows, _, _, fit = found
    kept = DriveFilter.from_arrays(fit.filter().as_arrays())
    assert torch.allclose(kept.series(windows), fit.filter().series(windows), atol=1e-4)
    broken = {**fit.filter().as_arrays(), "gain": np.zeros((2, 5))}
    with pytest.raises(ValueError, match="do not fit"):
        DriveFilter.from_arrays(broken)
    with pytest.raises(ValueError, match="lacks offset"):
        DriveFilter.from_arrays({name: value for name, value in broken.items() if name != "offset"})


def test_filter_is_what_the_residuals_say(found):
    """The recursion of the data equals filtering the residuals of the forecast without drive."""
    windows, _, _, fit = found
    steps, gain = fit.steps()
    samples = torch.arange(3, 200)
    residual = windows.activity[samples].numpy() - drive._expected(fit, windows, samples).numpy()
    state = np.zeros(1)
    for row in residual:
        state = steps.recursion @ state + gain @ row
    assert fit.filter().series(windows)[199].numpy() == pytest.approx(fit.transition @ state, abs=1e-8)


def test_past_is_averaged_the_same_in_any_pieces():
    values = torch.from_numpy(np.random.default_rng(0).normal(size=(50, 2)))
    whole, last = drive._average_of_past(values, torch.ones(1, 2, dtype=torch.float64))
    expected, trace = [], np.ones(2)
    for row in values.numpy():
        expected.append(trace)
        trace = 0.8 * trace + 0.2 * row
    assert whole.numpy() == pytest.approx(np.array(expected))
    assert last[0].numpy() == pytest.approx(trace)
    pieces, trace = [], torch.ones(1, 2, dtype=torch.float64)
    for part in values.split(7):
        piece, trace = drive._average_of_past(part, trace)
        pieces.append(piece)
    assert torch.allclose(torch.cat(pieces), whole)


@pytest.mark.parametrize(
    "settings",
    [
        {"components": -1},
        {"most": 0},
        {"gain": -1},
        {"deflations": ()},
        {"deflations": (0.5,)},
        {"iterations": 0},
        {"sweeps": 0},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_bad_settings(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        DriveConfig(**settings)


def test_other_models_are_given_the_drive_as_behavior(found):
    """Over the training part as all samples show it, each value at the sample before the one it acted on."""
    windows, wiring, _, fit = found
    given = drive_as_behavior(windows, fit)
    assert given.behavior_names == (*windows.behavior_names, "drive_0")
    assert given.drive.shape == (T, 0)
    smoothed, causal = fit.smoothed(windows)[0], fit.filter().series(windows)
    train, test = windows.targets["train"], windows.targets["test"]
    assert given.behavior[train - 1, -1].numpy() == pytest.approx(smoothed[train, 0], abs=1e-6)
    assert torch.equal(given.behavior[test - 1, -1], causal[test - 1, 0])  # nothing of what is to be forecast
    alone, with_it = ARVAR([windows]), ARVAR([given])
    alone.solve([windows])
    with_it.solve([given])
    assert recovery(with_it.connectivity(0), wiring)["r"] > recovery(alone.connectivity(0), wiring)["r"] + 0.02


def test_a_regression_takes_what_neurons_send(found):
    """With u(t) = z(t) - δ z(t-1) and own lags besides, a neuron's own past is the same in other coordinates."""
    windows, *_ = found
    decay = np.zeros(N)
    decay[3] = 0.5
    sent = with_sources(windows, decay)
    plain, other = ARVAR([windows]), ARVAR([sent])
    for model, each in ((plain, windows), (other, sent)):
        model.strengths = (0.0,)
        model.solve([each])
    indices = windows.targets["test"]
    own = other.predict(sent.batch(indices)).numpy()
    ignored = other.predict(windows.batch(indices)).numpy()
    assert np.abs(own - ignored).max() > 0.01  # it forecasts from the sources
    assert own[:, 3] == pytest.approx(plain.predict(windows.batch(indices)).numpy()[:, 3], abs=1e-6)


def test_samples_that_count_for_less_shrink_more():
    (windows,) = prepare([noise_session(8, 800, 1)])
    others = ~np.eye(8, dtype=bool)
    configs = [DriveConfig(components=0, deconvolve=False, deflations=(each,)) for each in (1, 10, 100)]
    sizes = [np.abs(fit_drive(windows, config).weights[others]).sum() for config in configs]
    assert sizes[0] > 1.5 * sizes[1] > 2 * sizes[2]
