"""What neurons send where the indicator is slow."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from population import noise_session

from ndx_synapsnet.learn.deconvolution import estimate_decay, with_sources
from ndx_synapsnet.learn.drive import DriveConfig, fit_drive, with_drive
from ndx_synapsnet.learn.preparation import prepare
from ndx_synapsnet.metrics import recovery

N, T = 20, 6_000


@pytest.fixture(scope="module")
def imaged():
    """A network whose events decay over many samples under noise: the session and its wiring."""
    rng = np.random.default_rng(0)
    wiring = np.where(rng.random((N, N)) < 0.15, rng.normal(0, 0.3, (N, N)), 0)
    np.fill_diagonal(wiring, 0)
    events, trace = np.zeros((T, N)), np.zeros((T, N))
    for t in range(1, T):
        events[t] = wiring @ events[t - 1] + rng.normal(size=N)
        trace[t] = 0.9 * trace[t - 1] + events[t]
    activity = (trace + 0.5 * rng.normal(size=trace.shape)).T.astype(np.float32)
    return replace(noise_session(N, T, 0), activity=activity), wiring


def test_decay_is_found_under_noise(imaged):
    (windows,) = prepare([imaged[0]], dtype=torch.float64)
    assert estimate_decay(windows) == pytest.approx(np.full(N, 0.9), abs=0.05)


def test_coupling_to_what_is_new_is_chosen_and_recovers_the_wiring_better(imaged):
    session, wiring = imaged
    (windows,) = prepare([session], dtype=torch.float64)
    chosen, plain = fit_drive(windows), fit_drive(windows, DriveConfig(deconvolve=False))
    assert chosen.decay.min() > 0.8
    assert chosen.validation_mse[0] < plain.validation_mse[0]
    assert recovery(chosen.weights, wiring)["r"] > recovery(plain.weights, wiring)["r"] + 0.1


def _sources(windows):
    return windows.sources_at(torch.arange(len(windows.activity)))


def test_activity_itself_is_sent_where_nothing_decays():
    (windows,) = prepare([noise_session(6, 800, 0)], dtype=torch.float64)
    assert with_sources(windows, np.zeros(6)) is windows
    assert fit_drive(windows, DriveConfig(deconvolve=False)).decay.max() == 0


def test_sources_start_anew_after_a_gap():
    segment = np.repeat([0, 1], [300, 300])
    (windows,) = prepare([noise_session(4, 600, 0, segment=segment)], dtype=torch.float64)
    decay = np.array([0.0, 0.5, 0.9, 0.2])
    found = _sources(with_sources(windows, decay)).numpy()
    z = windows.activity.numpy()
    assert (found[[0, 300]] == 0).all()
    assert found[10] == pytest.approx(z[10] - decay * z[9])
    assert found[301] == pytest.approx(z[301] - decay * z[300])


def test_sources_are_of_the_past_and_reach_every_batch(imaged):
    (windows,) = prepare([imaged[0]], dtype=torch.float64)
    fit = fit_drive(windows, DriveConfig(components=1))
    ready = with_drive(windows, fit.filter())
    sent = _sources(ready)
    changed = replace(windows, activity=windows.activity.clone())
    changed.activity[3_000:] += 1
    later = with_drive(changed, fit.filter())
    assert torch.equal(_sources(later)[:3_000], sent[:3_000])
    assert torch.equal(later.drive[:3_000], ready.drive[:3_000])
    indices = torch.tensor([50, 700])
    assert torch.equal(ready.batch(indices).sources[1], sent[695:700].T)
    assert torch.equal(ready.rows(windows.targets["train"], 4).batch(slice(0, 1)).sources[0], sent[:8].T)
