"""SynapsNet with latent drive: it starts as the linear model, sees no future, and comes back from a file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from population import noise_session, session

from ndx_synapsnet.errors import InputError
from ndx_synapsnet.learn.checkpoint import identify
from ndx_synapsnet.learn.distributed import World, shard
from ndx_synapsnet.learn.drive import DriveConfig, with_drive
from ndx_synapsnet.learn.forecaster import predict_series
from ndx_synapsnet.learn.linear_start import kept_filter, start_linear
from ndx_synapsnet.learn.preparation import prepare
from ndx_synapsnet.learn.synapsnet import SynapsNet
from ndx_synapsnet.learn.synapsnet_config import SynapsNetConfig
from ndx_synapsnet.learn.train import TrainConfig, train
from ndx_synapsnet.learn.windows import WindowConfig, with_history

DRIVEN = {"drive": True, "connectivity": "fixed", "skip_history": True, "skip_current": True}
SMALL = {"hidden": 6, "embedding": 3, "dropout": 0.1, **DRIVEN}
STREAM = {"context": "stream", "stretch": 7}


def driven_session(n=7, t=900, seed=0, **settings):
    """Coupled noise under one slow drive that nobody recorded."""
    rng = np.random.default_rng(seed)
    activity, slow = noise_session(n, t, 2, seed=seed).activity, np.zeros(t)
    for s in range(1, t):
        slow[s] = 0.95 * slow[s - 1] + 0.3 * rng.normal()
    return session(activity + rng.normal(size=(n, 1)) * slow, rng.normal(size=(2, t)), **settings)


@pytest.fixture(scope="module")
def plain():
    """Two sessions, one with a gap."""
    sessions = [driven_session(segment=np.arange(900) // 500), driven_session(5, 600, seed=1)]
    return prepare(sessions, WindowConfig(window=4), dtype=torch.float64)


@pytest.fixture(scope="module")
def started(plain):
    """The sessions with one hidden component each, and their linear models."""
    return start_linear(plain, DriveConfig(components=1, deconvolve=False))


@pytest.fixture(scope="module")
def deconvolved(plain):
    """The same, the neurons sending what is new in their activity."""
    return start_linear(plain, DriveConfig(components=1, deconvolve=True))


def model_of(started, **settings):
    windows, fits = started
    return SynapsNet(windows, SynapsNetConfig(**{**SMALL, **STREAM, **settings}), fits=fits)


def trained(started, **settings):
    model = model_of(started, **settings)
    train(model, model.windows, TrainConfig(epochs=1, batch_size=8, learning_rate=0.01))
    return model


@pytest.mark.parametrize(
    "settings", [STREAM, {"context": "window"}, {"context": "window", "decoder": "transformer", "hidden": 8}]
)
@pytest.mark.parametrize("stage", ["started", "deconvolved"])
def test_it_starts_as_the_linear_model(request, stage, settings):
    made = request.getfixturevalue(stage)
    model = model_of(made, **settings)
    for w, fit in zip(*made, strict=True):
        assert fit.components == 1
        assert bool(fit.decay.any()) == (stage == "deconvolved")
        for part, indices in w.targets.items():
            linear = fit.forecast(w, indices).numpy()
            np.testing.assert_allclose(predict_series(model, w, indices), linear, atol=1e-6, err_msg=part)


def test_batches_hold_the_drive_at_the_windows_own_samples(started):
    w = started[0][0]
    w = replace(w, drive=torch.arange(len(w.activity), dtype=w.dtype)[:, None])
    indices = w.targets["train"][[3, 50, 51]]
    expected = indices[:, None] + torch.arange(-4, 0)  # the target's own is not among them
    torch.testing.assert_close(w.batch(indices).drive[:, 0], expected.to(w.dtype))
    torch.testing.assert_close(with_history(w, 6).batch(indices[1:]).drive[:, 0, 2:], expected[1:].to(w.dtype))
    rows = w.rows(w.targets["train"], 7).batch(slice(2))
    first = int(w.targets["train"][0])
    torch.testing.assert_close(rows.drive[0, 0], torch.arange(first - 4, first + 6).to(w.dtype))


def test_without_drive_it_is_empty(plain):
    w = plain[0]
    assert w.drive.shape == (900, 0)
    assert w.batch(w.targets["test"][:3]).drive.shape == (3, 0, 4)


@pytest.mark.parametrize("stage", ["started", "deconvolved"])
def test_no_forecast_depends_on_the_future(request, stage, plain):
    made = request.getfixturevalue(stage)
    model = trained(made)
    w, base = made[0][1], plain[1]
    indices = w.targets["test"]
    cut = int(indices[20])
    forecast = predict_series(model, w, indices)
    behavior, activity = base.behavior.clone(), base.activity.clone()
    activity[cut:] += 3.0
    behavior[cut:] -= 2.0
    changed = with_drive(replace(base, activity=activity, behavior=behavior), kept_filter(made[1][1]))
    after = predict_series(model, changed, indices)
    np.testing.assert_array_equal(after[:21], forecast[:21])  # the sample at the cut is forecast from those before it
    assert np.abs(after[21:24] - forecast[21:24]).min(0).max() > 1e-3


def test_what_is_fixed_stays_and_all_else_learns(started):
    model = model_of(started)
    batches = [w.rows(w.targets["train"], 7).batch(slice(3)) for w in model.windows]
    sum(model.loss(rows) for rows in batches).backward()
    for name, value in model.named_parameters():
        assert (value.grad is None) == name.startswith(("weights.", "sources.")), name
    w, rows = model.windows[0], batches[0]
    model.eval()
    forecast = model.predict(rows)
    error = ((forecast - rows.target) ** 2 * rows.weight[:, None]).sum() / rows.weight.sum() / w.n_neurons
    torch.testing.assert_close(model.loss(rows), error)  # no penalty


def test_learned_weights_start_from_the_linear_model_too(started):
    model = model_of(started, connectivity="learned", penalty_weight=0.1)
    off = ~np.eye(7, dtype=bool)
    np.testing.assert_allclose(model.raw_connectivity(0)[off], started[1][0].weights[off], atol=1e-6)
    w = model.windows[0]
    loss = model.loss(w.rows(w.targets["train"], 7).batch(slice(3)))
    loss.backward()
    assert model.weights[0].grad.abs().sum() > 0


@pytest.mark.parametrize("deconvolve", [False, True])
def test_it_comes_back_from_what_a_file_keeps(plain, deconvolve):
    alone = [replace(plain[1], session=0)]
    model = trained(start_linear(alone, DriveConfig(components=1, deconvolve=deconvolve)))
    config, weights = model.config, model.named_weights(0)
    kept = {"embeddings": model.embeddings(0), "raw_connectivity": model.raw_connectivity(0)}
    names = model.behavior_names
    again = SynapsNet.restore(alone[0], config, behavior_names=names, weights=weights, **kept)
    w, indices = again.windows[0], alone[0].targets["test"]
    assert torch.equal(w.drive, model.windows[0].drive)
    assert torch.equal(w.sources_at(indices), model.windows[0].sources_at(indices))
    np.testing.assert_allclose(
        predict_series(again, w, indices), predict_series(model, model.windows[0], indices), atol=1e-6
    )
    np.testing.assert_allclose(
        again.current_series(w, indices), model.current_series(model.windows[0], indices), atol=1e-5
    )
    assert {name for name in weights if "." in name and name.split(".")[0] in ("drive", "current", "skip")} >= {
        "drive.recursion", "drive.gain", "current.loadings", "current.behavior", "current.intercept", "skip.history",
    }  # fmt: skip
    for lost in ("drive.gain", "current.loadings"):
        less = {name: value for name, value in weights.items() if name != lost}
        with pytest.raises(InputError, match=r"do(es)? not fit"):
            SynapsNet.restore(alone[0], config, behavior_names=names, weights=less, **kept)


def test_slopes_are_the_derivatives(started):
    model = trained(started)
    w = model.windows[0]
    batch = w.batch(w.targets["train"][:40])
    forecast, slope, current = model.slopes(batch)
    whole = model.currents(batch).detach().requires_grad_()
    plainly = model._decode(batch, whole)
    (exact,) = torch.autograd.grad(plainly.sum(), whole)
    torch.testing.assert_close(current, whole[:, :, -1].detach())
    torch.testing.assert_close(forecast, plainly.detach(), atol=1e-4, rtol=0)
    torch.testing.assert_close(slope, exact[:, :, -1], atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    "settings",
    [
        {"drive": True},
        {**DRIVEN, "skip_history": False},
        {**DRIVEN, "skip_current": False},
        {**DRIVEN, "use_behavior": False},
        {**DRIVEN, "diagonal": "keep"},
        {"connectivity": "fixed"},
        {"connectivity": "free"},
    ],
    ids=str,
)
def test_settings_that_make_no_sense(settings):
    with pytest.raises(ValueError, match=r"drive|connectivity"):
        SynapsNetConfig(**settings)


def test_drive_and_linear_models_go_together(plain, started):
    with pytest.raises(ValueError, match="fits"):
        SynapsNet(plain, SynapsNetConfig(**SMALL))
    with pytest.raises(ValueError, match="fits"):
        SynapsNet(plain, SynapsNetConfig(), fits=started[1])
    assert SynapsNet.started(plain[1:2] and [replace(plain[1], session=0)]).windows[0].drive.shape[1] == 0


def test_sharding_and_identity_see_the_drive(started, plain):
    windows, _ = started
    for w in shard(windows, 2, World(rank=0, size=2)):
        assert w.drive.shape == windows[w.session].drive.shape
    with_foreign, made = start_linear(plain, DriveConfig(components=1), held=[1])
    assert made[0] is None
    model = SynapsNet(with_foreign, SynapsNetConfig(**SMALL), fits=made)
    torch.testing.assert_close(model.weights[1], model_of(started).weights[1])
    same, other = (identify(model_of(started), x, {}, held=[True, True])["data"] for x in (windows, plain))
    assert same != other


def test_training_that_only_harms_leaves_the_start(started):
    model = model_of(started)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    harmed = train(model, model.windows, TrainConfig(epochs=2, batch_size=8, learning_rate=0.5))
    assert harmed.best_epoch == 0
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
