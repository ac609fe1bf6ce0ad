"""Graph WaveNet: against the network written with convolutions, its receptive field, and that it learns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from population import noise_session, session
from torch.nn import functional as F

from ndx_synapsnet.learn.baselines.graph_wavenet import GraphWaveNet, GraphWaveNetConfig
from ndx_synapsnet.learn.forecaster import predict_series
from ndx_synapsnet.learn.preparation import prepare
from ndx_synapsnet.learn.train import TrainConfig, train
from ndx_synapsnet.learn.windows import Batch, WindowConfig

SMALL = GraphWaveNetConfig(residual=8, dilation=6, skip=10, end=12, rank=4, dropout=0.0, stretch=1)


def naive(network, activity, config):
    """The network as published, on (B, channels, N, samples) with [source, target] adjacency; evaluation mode."""
    x = activity[:, None]  # (B, 1, N, S)
    x = F.conv2d(x, network.start.weight[:, :, None, None], network.start.bias)
    adjacency = torch.softmax(torch.relu(network.sources @ network.targets), dim=1)
    skip = 0
    for layer, delay in zip(network.layers, config.delays, strict=True):

        def convolve(linear, x=x, delay=delay):
            kernel = linear.weight.view(len(linear.weight), config.kernel, -1).permute(0, 2, 1)[:, :, None]
            return F.conv2d(x, kernel, linear.bias, dilation=(1, delay))

        gated = torch.tanh(convolve(layer.filter)) * torch.sigmoid(convolve(layer.gate))
        share = F.conv2d(gated, layer.skip.weight[:, :, None, None], layer.skip.bias)
        skip = share if isinstance(skip, int) else skip[..., -share.shape[-1] :] + share
        if layer.last:
            break
        powers = [gated]
        for _ in range(config.order):
            powers.append(torch.einsum("bcvs,vw->bcws", powers[-1], adjacency))
        mixed = F.conv2d(torch.cat(powers, 1), layer.mix.weight[:, :, None, None], layer.mix.bias)
        x = mixed + x[..., -mixed.shape[-1] :]
        norm = layer.norm
        x = F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias)
    for linear in (network.end[1], network.end[3]):
        skip = F.conv2d(torch.relu(skip), linear.weight[:, :, None, None], linear.bias)
    return skip[:, 0]  # (B, N, targets)


def windows_of(n=5, t=300, window=5, **settings):
    return prepare([noise_session(n, t, 1, **settings)], WindowConfig(window=window))


def warmed(windows, config):
    """A model whose batch norm has seen data, in evaluation mode."""
    model = GraphWaveNet(windows, config)
    rows = windows[0].rows(windows[0].targets["train"], model.stretch)
    for start in range(0, len(rows), 30):
        model.loss(rows.batch(slice(start, start + 30)))
    return model.eval()


@pytest.mark.parametrize(
    "config",
    [SMALL, replace(SMALL, blocks=2, layers=2, kernel=3, order=1), replace(SMALL, blocks=1, layers=3, order=3)],
)
def test_it_is_the_published_network(config):
    windows = windows_of(window=config.receptive_field)
    model = warmed(windows, config)
    batch = windows[0].batch(windows[0].targets["test"][:7])
    expected = naive(model.networks[0], batch.activity, config)
    assert expected.shape == (7, 5, 1)
    torch.testing.assert_close(model.predict(batch), expected[..., 0])


def test_the_papers_receptive_field_is_five():
    assert GraphWaveNetConfig().receptive_field == 5
    assert replace(SMALL, blocks=2, layers=2).receptive_field == 7


@pytest.mark.parametrize("training", [False, True])
def test_the_fifth_sample_back_counts_and_the_sixth_does_not(training):
    windows = windows_of(window=9)
    model = warmed(windows, SMALL).train(training)
    batch = windows[0].batch(windows[0].targets["test"][:6])
    activity = batch.activity.clone().requires_grad_()
    model.predict(replace(batch, activity=activity)).sum().backward()
    slope = activity.grad.abs().sum((0, 1))  # by sample, oldest first
    assert (slope[:4] == 0).all()
    assert (slope[4:] > 0).all()
    with torch.no_grad():
        forecast = model.predict(batch)
        for back in range(1, 10):
            moved = batch.activity.clone()
            moved[:, :, -back] += 1
            changed = not torch.equal(model.predict(replace(batch, activity=moved)), forecast)
            assert changed == (back <= 5), back


def test_a_longer_window_gives_the_same_forecast_and_a_shorter_one_is_padded():
    model = warmed(windows_of(), SMALL)
    for window in (9, 3):
        w = windows_of(window=window)[0]
        batch = w.batch(w.targets["test"][:4])
        five = F.pad(batch.activity, (2, 0)) if window == 3 else batch.activity[:, :, -5:]
        torch.testing.assert_close(model.predict(batch), naive(model.networks[0], five, SMALL)[..., 0])


def test_along_a_stretch_each_forecast_is_that_of_its_window():
    windows = windows_of(segment=np.repeat([0, 1], [130, 170]))
    w, config = windows[0], replace(SMALL, stretch=8)
    model = warmed(windows, config)
    alone = GraphWaveNet(windows, SMALL).eval()
    alone.load_state_dict(model.state_dict())
    indices = w.targets["train"]
    assert len(indices) % 8
    np.testing.assert_allclose(predict_series(model, w, indices), predict_series(alone, w, indices), atol=1e-5)
    batch = w.batch(indices[:3])  # windows are taken as well
    torch.testing.assert_close(model.predict(batch), alone.predict(batch))
    rows = w.rows(indices, 8).batch(slice(None))
    assert (rows.weight == 0).any()
    expected = torch.stack([alone.loss(w.batch(indices[k : k + 1])) for k in range(len(indices))]).mean()
    torch.testing.assert_close(model.loss(rows), expected)


def test_connectivity_is_the_transposed_adjacency_and_points_the_way_activity_goes():
    windows = windows_of()
    model = warmed(windows, SMALL)
    network = model.networks[0]
    with torch.no_grad():  # neuron 1 drives neuron 3, and nothing else stands out
        network.sources.zero_()
        network.targets.zero_()
        network.sources[1, 0] = network.targets[0, 3] = 2.5
    found = model.connectivity(0)
    assert found.shape == (5, 5)
    assert found.dtype == np.float32
    assert np.unravel_index(found.argmax(), found.shape) == (3, 1)
    assert (np.diag(found) == 0).all()
    batch = windows[0].batch(windows[0].targets["test"][:6])
    activity = batch.activity.clone().requires_grad_()
    slope = np.zeros((5, 5))
    for i in range(5):
        (gradient,) = torch.autograd.grad(model.predict(replace(batch, activity=activity))[:, i].sum(), activity)
        slope[i] = gradient.abs().sum((0, 2)).numpy()
    np.fill_diagonal(slope, 0)
    assert np.unravel_index(slope.argmax(), slope.shape) == (3, 1)


def test_it_forecasts_groups_that_drive_each_other_better_than_the_mean():
    rng = np.random.default_rng(0)
    group = np.repeat([0, 1, 2, 3], 4)
    follows = group[:, None] == (group[None] + 1) % 4  # [target, source]: each group is driven by the one before
    activity = np.zeros((16, 3000))
    for t in range(1, 3000):
        activity[:, t] = 0.2 * follows @ activity[:, t - 1] + rng.normal(size=16)
    windows = prepare([session(activity)])
    model = GraphWaveNet(windows, replace(SMALL, stretch=8))
    settings = TrainConfig(epochs=3, batch_size=4, learning_rate=5e-3, schedule="one_cycle")
    train(model, windows, settings)
    w = windows[0]
    truth = w.truth(w.targets["test"])
    error = np.mean((predict_series(model, w, w.targets["test"]) - truth) ** 2)
    mean = np.mean((truth - w.activity[w.targets["train"]].mean(0).numpy()) ** 2)
    assert error < 0.93 * mean


def test_it_learns_a_few_windows_by_heart():
    windows = windows_of(4, 300)
    batch = windows[0].batch(windows[0].targets["train"][:16])
    model = GraphWaveNet(windows, replace(SMALL, residual=16, dilation=16, skip=32, end=32))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(200):
        optimizer.zero_grad()
        loss = model.loss(batch)
        loss.backward()
        optimizer.step()
    assert loss.item() < 1e-3


def test_a_session_has_its_own_network():
    windows = prepare([noise_session(5, 300, 1), noise_session(3, 200, 1, seed=1)])
    model = GraphWaveNet(windows, SMALL)
    own = [{id(p) for p in model.session_parameters(j)} for j in (0, 1)]
    assert not own[0] & own[1]
    assert own[0] | own[1] == {id(p) for p in model.parameters()}
    model.loss(windows[1].batch(windows[1].targets["train"][:4])).backward()
    assert all(p.grad is None for p in model.session_parameters(0))
    assert all(p.grad is not None and p.grad.any() for p in model.session_parameters(1))


def test_the_seed_decides():
    windows = windows_of()
    a, b, c = (GraphWaveNet(windows, SMALL, seed=seed).connectivity(0) for seed in (0, 0, 1))
    np.testing.assert_array_equal(a, b)
    assert np.abs(a - c).max() > 0.01


@pytest.mark.parametrize(
    "bad", [{"residual": 0}, {"blocks": 0}, {"kernel": 1}, {"rank": 0}, {"order": 0}, {"dropout": 1.0}, {"stretch": 0}]
)
def test_bad_settings_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        GraphWaveNetConfig(**bad)


def test_batches_are_read_without_their_target():
    windows = windows_of()
    model = warmed(windows, SMALL)
    batch = windows[0].batch(windows[0].targets["test"][:3])
    blind = Batch(batch.activity, batch.behavior, torch.full_like(batch.target, torch.nan), batch.session)
    assert torch.equal(model.predict(blind), model.predict(batch))
