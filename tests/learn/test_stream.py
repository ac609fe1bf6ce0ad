"""SynapsNet along stretches, with linear skips and currents beside A X, against a plain loop over the samples."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from population import noise_session, session
from torch import nn

from ndx_synapsnet.learn.forecaster import predict_series
from ndx_synapsnet.learn.linear import AR
from ndx_synapsnet.learn.preparation import prepare
from ndx_synapsnet.learn.skip import CurrentSource
from ndx_synapsnet.learn.synapsnet import SynapsNet
from ndx_synapsnet.learn.synapsnet_config import SynapsNetConfig
from ndx_synapsnet.learn.train import TrainConfig, train
from ndx_synapsnet.learn.windows import WindowConfig

EXACT = {"rtol": 1e-10, "atol": 1e-10}
SMALL = {"hidden": 6, "embedding": 3, "dropout": 0.0, "penalty_weight": 0.0}
SKIPS = [{}, {"skip_history": True}, {"skip_current": True}, {"skip_history": True, "skip_current": True}]


class Constant(CurrentSource):
    """A current that does not change."""

    def __init__(self, windows):
        super().__init__()
        self.values = nn.ParameterList(nn.Parameter(torch.linspace(-1, 1, w.n_neurons).to(w.dtype)) for w in windows)

    def forward(self, batch):
        return self.values[batch.session][:, None].expand_as(batch.activity)

    def session_parameters(self, session):
        return [self.values[session]]


@pytest.fixture(scope="module")
def windows():
    """Two sessions, one with a gap."""
    sessions = [noise_session(5, 300, segment=np.arange(300) // 130), noise_session(3, 200, 1, seed=1)]
    return prepare(sessions, WindowConfig(window=4), dtype=torch.float64)


def model_of(windows, sources=False, **settings):
    config = SynapsNetConfig(**{**SMALL, "context": "stream", "stretch": 7, **settings})
    return SynapsNet(windows, config, sources=[Constant(windows)] if sources else ())


def forecast_of(model, windows, target, steps):
    """The forecast (N,) of one sample after `steps` samples from a zero state, step by step."""
    decoder, config, j = model.decoder, model.config, windows.session
    weights = model.weights[j] * (1 - torch.eye(windows.n_neurons, dtype=torch.float64))
    activity, behavior = windows.activity[target - steps : target], windows.behavior[target - steps : target]
    current = activity @ weights.T
    for source in model.sources:
        current = current + source.values[j]
    shared = torch.zeros(1, steps, len(model.behavior_names), dtype=torch.float64)
    shared[0, :, model._behavior.places[j]] = behavior
    series = torch.stack([activity, current], -1)[None]
    forecast = decoder(series, shared, model.embedding[model.get_buffer(f"embedding_rows_{j}")])[0]
    if config.skip_history:
        forecast = forecast + (model.history[j] * activity[-windows.window :].T).sum(1)
    return forecast + current[-1] if config.skip_current else forecast


def expected_forecasts(model, windows, part):
    """Every target of a part, each after its place in the stretch plus W samples."""
    targets, forecasts, place = windows.targets[part].tolist(), [], 0
    for previous, target in zip([None, *targets], targets, strict=False):
        place = place + 1 if previous == target - 1 and place + 1 < model.stretch else 0
        forecasts.append(forecast_of(model, windows, target, windows.window + place))
    return torch.stack(forecasts)


@pytest.mark.parametrize("skips", SKIPS, ids=str)
@pytest.mark.parametrize("sources", [False, True], ids=["", "sources"])
def test_the_loss_and_all_gradients_equal_a_loop(windows, skips, sources):
    for w in windows:
        model = model_of(windows, sources, **skips)
        loss = model.loss(w.rows(w.targets["train"], 7).batch(slice(None)))
        expected = ((expected_forecasts(model, w, "train") - w.activity[w.targets["train"]]) ** 2).mean()
        torch.testing.assert_close(loss, expected, **EXACT)
        named = dict(model.named_parameters())
        found, wanted = (
            torch.autograd.grad(each, named.values(), allow_unused=True, materialize_grads=True)
            for each in (loss, expected)
        )
        for name, a, b in zip(named, found, wanted, strict=True):
            torch.testing.assert_close(a, b, **EXACT, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("skips", SKIPS, ids=str)
def test_a_series_is_forecast_in_the_context_of_training(windows, skips):
    model = model_of(windows, True, **skips)
    for w in windows:
        for part in ("train", "test"):
            with torch.no_grad():
                expected = expected_forecasts(model, w, part)
            for size in (None, 2):
                forecast = predict_series(model, w, w.targets[part], batch_size=size)
                np.testing.assert_allclose(forecast, expected.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("decoder", ["gru", "rnn", "lstm", "transformer"])
@pytest.mark.parametrize("skips", SKIPS[1:], ids=str)
def test_windows_take_the_skips_too(windows, decoder, skips):
    """The fast path in training and evaluation equals the plain form, which autograd goes through."""
    model = model_of(windows, True, **skips, decoder=decoder, context="window", hidden=8)
    w = windows[0]
    batch = w.batch(w.targets["train"][:9])
    plain = model._decode(batch, model.currents(batch))
    torch.testing.assert_close(model.loss(batch), ((plain - batch.target) ** 2).mean(), **EXACT)
    with torch.no_grad():
        torch.testing.assert_close(model.eval().predict(batch), plain.detach(), **EXACT)
    bare = model_of(windows, True, decoder=decoder, context="window", hidden=8)
    bare.load_state_dict(model.state_dict(), strict=False)
    difference = plain - bare._decode(batch, bare.currents(batch))
    expected = (model.history[0] * batch.activity).sum(-1) if "skip_history" in skips else 0
    expected = expected + (model.currents(batch)[:, :, -1] if "skip_current" in skips else 0)
    torch.testing.assert_close(difference, expected, **EXACT)


def test_the_history_starts_as_the_autoregression(windows):
    model = model_of(windows, skip_history=True)
    for w in windows:
        ar = AR([w])
        ar.solve([w])
        torch.testing.assert_close(model.history[w.session].data, ar.get_buffer(f"own_{w.session}"))


def test_the_kept_current_is_all_of_it(windows):
    model = model_of(windows, True)
    w = windows[0]
    indices = w.targets["test"][:5]
    expected = model.currents(w.batch(indices))[:, :, -1]
    np.testing.assert_allclose(model.current_series(w, indices), expected.detach().numpy(), rtol=1e-6)


def test_a_unit_gain_skip_shows_in_the_gain(windows):
    with_skip, without = (model_of(windows, skip_current=skip) for skip in (True, False))
    np.testing.assert_allclose(with_skip.gain(0), without.gain(0) + 1, atol=1e-6)


def test_longer_context_helps_where_the_past_matters():
    """A slow mean of other neurons under noise: 3 samples hold a part of it, a stretch holds it all."""
    rng = np.random.default_rng(0)
    fast, slow = rng.normal(size=(3, 4000)), np.zeros((3, 4000))
    for t in range(1, 4000):
        slow[:, t] = 0.9 * slow[:, t - 1] + 0.44 * fast[:, t - 1]  # variance 1
    recording = session(np.concatenate([fast, slow + rng.normal(size=slow.shape)]))
    windows = prepare([recording], WindowConfig(window=3))
    found = {}
    for context, rows in (("window", 64), ("stream", 4)):
        model = SynapsNet(windows, SynapsNetConfig(context=context, dropout=0.0, penalty_weight=0.0))
        config = TrainConfig(epochs=16, batch_size=rows, learning_rate=1e-2, schedule="one_cycle")
        found[context] = train(model, windows, config).curve["validation_mse"].min()
    assert found["stream"] < found["window"] - 0.03


def test_the_model_comes_back_with_its_skip(windows):
    alone = prepare([noise_session(5, 300)], WindowConfig(window=4))
    config = SynapsNetConfig(**SMALL, context="stream", stretch=7, skip_history=True)
    model = SynapsNet(alone, config, seed=3)
    with torch.no_grad():
        model.history[0].add_(0.1)
    again = SynapsNet.restore(
        alone[0],
        config,
        behavior_names=model.behavior_names,
        weights=model.named_weights(0),
        embeddings=model.embeddings(0),
        raw_connectivity=model.raw_connectivity(0),
    )
    indices = alone[0].targets["test"]
    np.testing.assert_array_equal(predict_series(again, alone[0], indices), predict_series(model, alone[0], indices))


@pytest.mark.parametrize(
    "settings",
    [
        {"context": "river"},
        {"context": "stream", "decoder": "transformer"},
        {"skip_history": True, "use_activity": False},
        {"skip_current": True, "use_connectivity": False},
        {"stretch": 0},
    ],
    ids=str,
)
def test_settings_that_do_not_fit_together(settings):
    with pytest.raises(ValueError, match=r"context|skip|stretch"):
        SynapsNetConfig(**settings)


def test_sources_need_a_current(windows):
    with pytest.raises(ValueError, match="sources"):
        SynapsNet(windows, SynapsNetConfig(use_connectivity=False), sources=[Constant(windows)])
