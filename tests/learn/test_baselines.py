"""The contract, for every rival alike."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from population import noise_session
from safetensors.torch import load, save

from ndx_synapsnet.learn.baselines import BASELINES
from ndx_synapsnet.learn.forecaster import Forecaster, Solver, predict_series
from ndx_synapsnet.learn.preparation import prepare
from ndx_synapsnet.learn.train import TrainConfig, train, validate
from ndx_synapsnet.simulate import PaperNetworkConfig, simulate_paper_network

SHORT = {"epochs": 1, "max_steps": 3, "device": "cpu"}
# What draws random numbers, or looks at a batch as a whole, in training only.
DIFFERS_IN_TRAINING = {"graph_wavenet": "batch norm"}

# Sizes at which the slow ones are fast.
SMALL: dict[str, dict] = {
    "lfads": {
        **dict.fromkeys(("generator", "encoder", "controller"), 24),
        **{"factors": 8, "inferred_inputs": 8, "l2_weight": 50.0},
    },
    "graph_wavenet": {"residual": 8, "dilation": 8, "skip": 16, "end": 32, "stretch": 8},
    "curbd": {"runs": 5, "free_runs": 1, "max_samples": 100},
}
# Without these it has not enough parameters, or is not free to use them.
BY_HEART: dict[str, dict] = {"nlinear": {"individual": True}, "lfads": {"kl_weight": 0.0, "l2_weight": 0.0}}
# Counts go back to their mean at once; these assume that activity stays where it is, or nearly so.
NEEDS_SLOW_ACTIVITY = ("nlinear", "curbd")
# A transformer takes its time, and so small an LFADS must hurry.
HELD_OUT = {"neuprint_transformer": {"max_steps": 1000}, "lfads": {"learning_rate": 1e-2}}


def counts(*sizes, seed=0, **settings):
    """A session of counts, as some rivals want nothing else."""
    noise = noise_session(*sizes, seed=seed, **settings)
    return replace(noise, activity=np.random.default_rng(seed).poisson(np.exp(0.7 * noise.activity)))


@pytest.fixture(scope="module")
def windows():
    """Two sessions that differ in neurons, behaviours and whether positions are known."""
    placed = counts(6, 300, 2, names=("running", "pupil"))
    places = np.random.default_rng(0).uniform(0, 90, (6, 3))
    placed = replace(placed, neurons=replace(placed.neurons, position=places))
    return prepare([placed, counts(4, 200, 1, seed=1)])


@pytest.fixture(params=BASELINES)
def name(request) -> str:
    return str(request.param)


def build(name, windows, *, seed=0, **settings) -> Forecaster:
    rival = BASELINES[name]
    return rival.build(windows, rival.config(**{**SMALL.get(name, {}), **settings}), seed=seed)


def still(name) -> dict[str, float]:
    """The settings that take all dropout out."""
    return {f.name: 0.0 for f in fields(BASELINES[name].config) if "dropout" in f.name}


def some(model, w, part="train", count=8):
    """The first rows of a part as the model wants its batches, windows or stretches."""
    return w.rows(w.targets[part], model.stretch).batch(slice(count))


@pytest.fixture(scope="module")
def fitted(windows):
    """The rivals, each trained for a few steps when it is first asked for."""
    models: dict[str, Forecaster] = {}

    def get(name):
        if name not in models:
            models[name] = build(name, windows)
            train(models[name], windows, TrainConfig(**SHORT), progress=False)
        return models[name]

    return get


def test_it_says_how_it_is_trained(name):
    rival = BASELINES[name]
    assert rival.title
    for settings in (rival.paper, rival.quick):
        TrainConfig(**settings)
    rival.config(**rival.quick_model)


def test_no_configuration_means_the_defaults(name, windows):
    rival = BASELINES[name]
    model, same = (rival.build(windows, config, seed=2) for config in (None, rival.config()))
    assert repr(model) == repr(same)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), same.parameters(), strict=True))


def test_shapes(name, windows, fitted):
    model = fitted(name)
    for j, w in enumerate(windows):
        with torch.no_grad():
            batch = some(model, w, "test")
            forecast = model.predict(batch)
        assert forecast.shape == batch.target.shape
        assert forecast.dtype == batch.target.dtype
        assert torch.isfinite(forecast).all()
        series = predict_series(model, w, w.targets["test"])
        assert series.shape == (len(w.targets["test"]), w.n_neurons)
        assert np.isfinite(series).all()
        connectivity = model.connectivity(j)
        if connectivity is not None:
            assert connectivity.shape == (w.n_neurons, w.n_neurons)
            assert connectivity.dtype == np.float32
            assert np.isfinite(connectivity).all()


def test_a_finite_loss_with_a_gradient_in_every_parameter(name, windows):
    model = build(name, windows)
    if isinstance(model, Solver):
        assert not list(model.parameters())
        return
    losses = [model.loss(some(model, w)) for w in windows]
    assert all(loss.ndim == 0 and torch.isfinite(loss) for loss in losses)
    sum(losses).backward()
    missing = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert missing == []


def test_a_sessions_own_parameters_are_its_alone(name, windows):
    model = build(name, windows)
    for j in range(len(windows)):
        own = {id(p) for p in model.session_parameters(j)}
        assert own <= {id(p) for p in model.parameters()}
        assert not own & {id(p) for p in model.session_parameters(1 - j)}
        if own:
            model.zero_grad(set_to_none=True)
            model.loss(some(model, windows[1 - j])).backward()
            assert all(p.grad is None for p in model.parameters() if id(p) in own)


def test_evaluation_repeats_itself_and_windows_do_not_see_each_other(name, windows, fitted):
    model, w = fitted(name), windows[0]
    indices = w.targets["test"]
    series = predict_series(model, w, indices)
    assert np.array_equal(predict_series(model, w, indices), series)
    np.testing.assert_allclose(predict_series(model, w, indices, batch_size=3), series, rtol=1e-4, atol=1e-5)


def test_without_dropout_training_forecasts_as_evaluation_does(name, windows):
    if name in DIFFERS_IN_TRAINING:
        pytest.skip(DIFFERS_IN_TRAINING[name])
    model, w = build(name, windows, **still(name)), windows[1]
    train(model, windows, TrainConfig(**SHORT), progress=False)
    batch = some(model, w)
    with torch.no_grad():
        forecast = model.predict(batch)
        torch.testing.assert_close(model.train().predict(batch), forecast)
    torch.testing.assert_close(model.predict(batch), forecast)  # with gradients it may go another way


def test_the_future_changes_no_forecast(name, windows, fitted):
    """Not the target, nor anything after it; but what comes after does see it."""
    model, rng = fitted(name), torch.Generator().manual_seed(0)
    for w in windows:
        indices = w.targets["test"]
        before = predict_series(model, w, indices)
        for place in (0, 1, 7):
            from_here = int(indices[place])
            changed = {key: getattr(w, key).clone() for key in ("activity", "behavior")}
            for values in changed.values():
                values[from_here:] = 3 * torch.randn(values[from_here:].shape, generator=rng)
            after = predict_series(model, replace(w, **changed), indices)
            np.testing.assert_allclose(after[: place + 1], before[: place + 1], rtol=1e-5, atol=1e-6)
            assert (np.abs(after[place + 1] - before[place + 1]) > 1e-4).any()


def test_a_state_travels_through_safetensors(name, windows, fitted):
    model, other = fitted(name), build(name, windows, seed=1)
    content = save({key: value.clone().contiguous() for key, value in model.state_dict().items()})
    other.load_state_dict(load(content))
    other.eval()
    for j, w in enumerate(windows):
        indices = w.targets["validation"]
        assert np.array_equal(predict_series(other, w, indices), predict_series(model, w, indices))
        np.testing.assert_array_equal(other.connectivity(j), model.connectivity(j))


def test_repr(name, windows):
    model = build(name, windows)
    assert type(model).__name__ in repr(model)


def test_the_seed_decides_and_the_global_state_is_left_alone(name, windows):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    models = [build(name, windows, seed=seed) for seed in (3, 3, 4)]
    assert torch.equal(torch.get_rng_state(), before)
    a, b, c = (dict(model.named_parameters()) for model in models)
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert not a or not all(torch.equal(a[key], c[key]) for key in a)


def test_training_twice_gives_the_same(name, windows, fitted):
    again = build(name, windows)
    train(again, windows, TrainConfig(**SHORT), progress=False)
    for key, value in fitted(name).state_dict().items():
        assert torch.equal(again.state_dict()[key], value), key


def test_batches_larger_than_a_session_and_several_sessions_a_step(name, windows):
    model = build(name, windows)
    train(model, windows, TrainConfig(**SHORT, batch_size=512, sessions_per_step=2), progress=False)
    assert all(np.isfinite(validate(model, windows)))


def test_it_learns_a_tiny_set_by_heart(name):
    (w,) = prepare([counts(3, 160, 1)])
    model = build(name, [w], **still(name), **BY_HEART.get(name, {}))
    if isinstance(model, Solver):
        pytest.skip("it is solved, with a penalty or without a minimum to go down to")
    batch = some(model, w, count=3)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    model.train()
    for _ in range(300):
        optimizer.zero_grad()
        model.loss(batch).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10)
        optimizer.step()
    with torch.no_grad():
        error = (model.eval().predict(batch) - batch.target) ** 2
    assert float(error.mean()) < 0.01 * float(batch.target.var())


@pytest.fixture(scope="module")
def simulated():
    """Spike counts of the paper's simulator, and the same as a slow indicator shows them."""
    network = PaperNetworkConfig(n_neurons=24, n_recorded=16, n_samples=3000, density=0.2, seed=1)
    counts = simulate_paper_network(network).session
    trace = np.zeros_like(counts.activity)
    for t in range(1, counts.n_samples):
        trace[:, t] = 0.9 * trace[:, t - 1] + counts.activity[:, t]
    return {"counts": prepare([counts]), "calcium": prepare([replace(counts, activity=trace)])}


def test_it_beats_the_mean_on_what_it_has_not_seen(name, simulated):
    w = simulated["calcium" if name in NEEDS_SLOW_ACTIVITY else "counts"]
    model = build(name, w)
    settings = {**BASELINES[name].quick, "epochs": 100, "min_steps": 0, "max_steps": 300, **HELD_OUT.get(name, {})}
    train(model, w, TrainConfig(**settings), progress=False)
    truth = w[0].truth(w[0].targets["test"])
    error, _ = validate(model, w, "test")
    assert error < 0.99 * float(np.mean(truth**2))
