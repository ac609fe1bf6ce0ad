"""What is NeuPRINT's own, and NLinear's; the contract is in test_baselines."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from population import noise_session

from ndx_synapsnet.learn.baselines.multichannel import MultichannelConfig, MultichannelGRU
from ndx_synapsnet.learn.baselines.neuprint import (
    NeuPRINT,
    NeuPRINTConfig,
    NeuPRINTTransformerConfig,
    neighbor_statistics,
    neighbors,
    neuprint_transformer,
    population_statistics,
)
from ndx_synapsnet.learn.baselines.nlinear import NLinear, NLinearConfig
from ndx_synapsnet.learn.forecaster import predict_series
from ndx_synapsnet.learn.preparation import prepare
from ndx_synapsnet.learn.train import TrainConfig, train

NAN = np.nan
PLACES = np.array([[0, 0, 0], [64, 0, 0], [0, 66, 0], [0, 40, 50], [NAN, 0, 0]], float)


def sessions(k=1):
    """Five neurons with places, of which two come again in a session of four without."""
    first = noise_session(5, 300, k, identity=["a", "b", "", "c", "d"])
    second = noise_session(4, 200, 1, seed=1, names=("pupil",), identity=["", "b", "a", ""])
    return prepare([replace(first, neurons=replace(first.neurons, position=PLACES)), second])


def test_neighbors_by_hand():
    """Nearer than 65, not oneself; 0 and 3 are √4100 = 64.03 apart, 2 and 3 are √3176 = 56.4."""
    near = neighbors(PLACES, 65.0)
    half = 0.5
    expected = [[0, half, 0, half, 0], [1, 0, 0, 0, 0], [0, 0, 0, 1, 0], [half, 0, half, 0, 0], [0] * 5]
    np.testing.assert_array_equal(near, np.array(expected, np.float32))
    assert near.dtype == np.float32


def test_an_axis_that_nobody_has_does_not_count():
    flat = PLACES.copy()
    flat[:, 2] = NAN
    near = neighbors(flat, 65.0)
    assert near[0].tolist() == [0, 0.5, 0, 0.5, 0]
    assert near[4].tolist() == [0] * 5
    assert neighbors(np.full((3, 3), NAN), 65.0) is None
    assert neighbors(None, 65.0) is None
    assert neighbors(PLACES, 1.0) is None


def test_statistics_by_hand():
    activity = torch.randn(5, 2, 3, generator=torch.Generator().manual_seed(0))
    mean, std = population_statistics(activity)
    np.testing.assert_allclose(mean, activity.numpy().mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(std, activity.numpy().std(0), rtol=1e-5, atol=1e-6)
    mean, std = neighbor_statistics(activity, torch.from_numpy(neighbors(PLACES, 65.0)))
    for i, group in {0: [1, 3], 1: [0], 3: [0, 2]}.items():
        np.testing.assert_allclose(mean[i], activity.numpy()[group].mean(0), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(std[i], activity.numpy()[group].std(0), rtol=1e-4, atol=1e-3)
    assert not mean[4].any()


def test_the_decoder_sees_what_it_should():
    """The inputs, z-scored by the training part, at the window's own samples."""
    windows = sessions()
    model = NeuPRINT(windows)
    w, last = windows[0], windows[0].targets["train"] - 1
    series, behavior, embedding = model._inputs(w.batch(w.targets["train"]))
    assert [tuple(each.shape) for each in series] == [(5, 5, 235)] * 3
    assert behavior.shape == (5, 235, 1 + 1 + 2)  # the first session's, the second's, two of the population
    assert embedding.shape == (5, 32)
    torch.testing.assert_close(series[0][:, -1], w.activity[last].T)
    torch.testing.assert_close(behavior[-1, :, 0], w.behavior[last, 0])
    assert not behavior[:, :, 1].any()
    for k, statistic in enumerate((w.activity.mean(1), w.activity.std(1, correction=0))):
        found = behavior[-1, :, 2 + k]
        torch.testing.assert_close(
            found, (statistic[last] - statistic[last].mean()) / statistic[last].std(correction=0)
        )
    for each in series[1:]:
        assert not each[4].any()  # without a place it has no neighbours
        torch.testing.assert_close(each[:4, -1].mean(), torch.tensor(0.0), atol=1e-5, rtol=0)
        torch.testing.assert_close(each[:4, -1].std(correction=0), torch.tensor(1.0), atol=1e-4, rtol=0)
    series, _, _ = model._inputs(windows[1].batch(windows[1].targets["train"][:3]))
    assert series[0].any()
    assert not series[1].any()
    assert not series[2].any()


def test_without_places_or_radius_there_are_no_neighbors():
    windows = sessions()
    for model in (NeuPRINT([replace(windows[1], session=0)]), NeuPRINT(windows, NeuPRINTConfig(radius=None))):
        assert not model.has_neighbors
        assert model.decoder.shape.series == 1


def test_neurons_that_recur_share_an_embedding():
    model = NeuPRINT(sessions())
    first, second = model.embeddings(0), model.embeddings(1)
    np.testing.assert_array_equal(second[[2, 1]], first[[0, 1]])
    assert len(np.unique(np.concatenate([first, second]), axis=0)) == len(model.embedding) == 7


def test_the_fast_loss_and_forecast_are_the_plain_ones():
    windows = sessions()
    model = NeuPRINT(windows, NeuPRINTConfig(dropout=0.0))
    w = windows[0]
    batch = w.batch(w.targets["train"][:9])
    plain = model.predict(batch)  # with gradients: by the decoder's own form
    fast = model.loss(batch)
    torch.testing.assert_close(fast, torch.nn.functional.mse_loss(plain, batch.target))
    expected = torch.autograd.grad(torch.nn.functional.mse_loss(plain, batch.target), list(model.parameters()))
    for a, b in zip(torch.autograd.grad(fast, list(model.parameters())), expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    with torch.no_grad():
        torch.testing.assert_close(model.eval().predict(batch), plain)


def test_stretches_see_the_past_alone_and_begin_as_windows():
    windows = sessions()
    model = NeuPRINT(windows, NeuPRINTConfig(context="stream", stretch=4))
    train(model, windows, TrainConfig(epochs=1, batch_size=4, max_steps=5), progress=False)
    w = windows[0]
    indices = w.targets["test"]
    series = predict_series(model, w, indices)
    changed = replace(w, activity=w.activity.clone())
    changed.activity[int(indices[6]) :] += 1
    after = predict_series(model, changed, indices)
    np.testing.assert_allclose(after[:7], series[:7], rtol=1e-5, atol=1e-6)
    assert (after[7] != series[7]).all()
    plain = NeuPRINT(windows, NeuPRINTConfig())
    plain.load_state_dict(model.state_dict())
    np.testing.assert_allclose(predict_series(plain, w, indices)[::4], series[::4], rtol=1e-4, atol=1e-5)


def test_the_transformer_is_the_default_of_its_own():
    windows = sessions()
    model = neuprint_transformer(windows)
    assert model.config == NeuPRINTTransformerConfig()
    assert model.config.decoder == "transformer"
    assert model.decoder.layers[0].self_attn.num_heads == 2
    assert not isinstance(NeuPRINT(windows).config, NeuPRINTTransformerConfig)


def test_population_statistics_alone_carry_a_common_drive():
    """A neuron that follows the population's last mean, and nothing of its own."""
    rng = np.random.default_rng(0)
    drive = rng.normal(size=1501)
    activity = 0.5 * rng.normal(size=(30, 1500))
    activity[:15] += drive[1:]
    activity[15:] += drive[:-1]
    windows = prepare([replace(noise_session(30, 1500, 0), activity=activity)])
    model = NeuPRINT(windows)
    train(model, windows, TrainConfig(epochs=4, learning_rate=1e-2, schedule="one_cycle"), progress=False)
    w = windows[0]
    error = ((predict_series(model, w, w.targets["test"]) - w.truth(w.targets["test"])) ** 2).mean(0)
    assert error[15:].mean() < 0.4
    assert error[:15].mean() > 0.8


def test_nlinear_finds_the_least_squares_solution():
    (w,) = prepare([noise_session(5, 300, 0)])
    model = NLinear([w], NLinearConfig(individual=True))
    train(model, [w], TrainConfig(epochs=150, batch_size=1000, learning_rate=0.02, schedule="one_cycle"))
    batch = w.batch(w.targets["train"])
    with torch.no_grad():
        error = (model.predict(batch) - batch.target).square().mean(0)
    for i in range(w.n_neurons):
        x = batch.activity[:, i].numpy()
        design = np.c_[x[:, :-1] - x[:, -1:], np.ones(len(x))]
        y = batch.target[:, i].numpy() - x[:, -1]
        best = np.mean((design @ np.linalg.lstsq(design, y, rcond=None)[0] - y) ** 2)
        assert 0.999 * best <= float(error[i]) < 1.05 * best


@pytest.mark.parametrize("individual", [False, True])
def test_nlinear_follows_the_level(individual):
    windows = sessions()
    model = NLinear(windows, NLinearConfig(individual=individual))
    assert len(model.weights) == (2 if individual else 1)
    batch = windows[0].batch(windows[0].targets["test"])
    moved = replace(batch, activity=batch.activity + 3)
    torch.testing.assert_close(model.predict(moved), model.predict(batch) + 3)


def test_multichannel_behavior_is_an_option():
    windows = sessions(2)
    model = MultichannelGRU(windows, MultichannelConfig(use_behavior=True, layers=1, hidden=7))
    assert [net.input_size for net in model.networks] == [7, 5]
    w = windows[0]
    batch = w.batch(w.targets["train"][:3])
    assert not torch.equal(model.predict(batch), model.predict(replace(batch, behavior=batch.behavior + 1)))
    assert [net.input_size for net in MultichannelGRU(windows).networks] == [5, 4]


@pytest.mark.parametrize(
    ("config", "settings"),
    [
        (NeuPRINTConfig, {"decoder": "cnn"}),
        (NeuPRINTConfig, {"hidden": 0}),
        (NeuPRINTConfig, {"layers": 2}),
        (NeuPRINTConfig, {"dropout": 1.0}),
        (NeuPRINTConfig, {"radius": 0.0}),
        (NeuPRINTConfig, {"context": "all"}),
        (NeuPRINTTransformerConfig, {"heads": 3}),
        (NeuPRINTTransformerConfig, {"context": "stream"}),
        (MultichannelConfig, {"hidden": 0}),
        (MultichannelConfig, {"layers": 0}),
        (MultichannelConfig, {"dropout": -0.1}),
    ],
)
def test_bad_settings(config, settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        config(**settings)
