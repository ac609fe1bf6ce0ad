"""LFADS: its parts against naive twins, what its loss counts, and that it learns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from population import noise_session, session
from torch.distributions import Normal, kl_divergence

from ndx_synapsnet.learn.baselines.lfads import LFADS, LFADSConfig, normal_divergence
from ndx_synapsnet.learn.forecaster import predict_series
from ndx_synapsnet.learn.preparation import prepare
from ndx_synapsnet.learn.train import TrainConfig, train

SMALL = LFADSConfig(
    generator=12, encoder=10, controller=9, factors=7, inferred_inputs=6, initial_condition=5, dropout=0.0
)


@pytest.fixture(scope="module")
def windows():
    return prepare([noise_session(5, 300, 1), noise_session(3, 300, 1, seed=1)])


def perturbed(model):
    """The model with all parameters moved, that none is 0 or 1 by its start."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model


def naive_unit(inputs, state, layer, gates, new, clip):
    """A gated recurrent unit that resets the state before the product, for one window."""
    hidden = len(state)
    x = layer.weight @ inputs + layer.bias
    update = torch.sigmoid(x[:hidden] + state @ gates[:, :hidden])
    reset = torch.sigmoid(x[hidden : 2 * hidden] + state @ gates[:, hidden:])
    candidate = torch.tanh(x[2 * hidden :] + (reset * state) @ new)
    return torch.clamp(update * state + (1 - update) * candidate, -clip, clip)


def naive_forecast(model, window, session=0):
    """All samples of one window (N, W) and the next, by posterior means, step by step: (W + 1, N)."""
    core, clip = model.cores[session], model.config.cell_clip
    encoders, steps = core.encoders, window.shape[1]
    states = []
    for k in range(4):
        state, along = encoders.start[k, 0], {}
        for t in reversed(range(steps)) if k % 2 else range(steps):
            state = naive_unit(window[:, t], state, encoders.input[k], encoders.gates[k], encoders.new[k], clip)
            along[t] = state
        states.append(along)
    posterior = core.posterior(torch.cat([states[0][steps - 1], states[1][0]]))
    state = core.expand(posterior[: model.config.initial_condition])
    rows = core.factors / core.factors.norm(dim=1, keepdim=True)
    factors, control, out = rows @ state, core.controller_start, []
    nothing = torch.zeros(model.config.encoder)
    for t in range(steps + 1):
        before = states[2].get(t - 1, nothing) if t < steps else nothing
        after = states[3].get(t + 1, nothing)
        cell = core.controller
        control = naive_unit(torch.cat([before, after, factors]), control, cell.input, cell.gates, cell.new, clip)
        inferred = core.infer(control)[: model.config.inferred_inputs]
        cell = core.generator
        state = naive_unit(inferred, state, cell.input, cell.gates, cell.new, clip)
        factors = rows @ state
        out.append(model.read_out[session](factors))
    return torch.stack(out)


@pytest.mark.parametrize("clip", [5.0, 0.1])
def test_a_forecast_is_the_equations(windows, clip):
    model = perturbed(LFADS(windows, replace(SMALL, cell_clip=clip))).eval()
    batch = windows[0].batch(windows[0].targets["test"][:4])
    expected = torch.stack([naive_forecast(model, window)[-1] for window in batch.activity])
    torch.testing.assert_close(model.predict(batch), expected)


def test_the_loss_counts_what_was_hidden_and_the_target(windows):
    config = replace(SMALL, kl_weight=0.0, l2_weight=0.0, coordinated_dropout=0.4)
    model = perturbed(LFADS(windows, config))
    with torch.no_grad():  # posterior distributions of no width, so that nothing is left to chance but the mask
        model.cores[0].posterior.bias[5:] = -30
        model.cores[0].infer.bias[6:] = -30
        model.cores[0].infer.weight[6:] = 0
        model.cores[0].posterior.weight[5:] = 0
    batch = windows[0].batch(windows[0].targets["train"][:6])
    torch.manual_seed(2)
    loss = model.loss(batch)
    torch.manual_seed(2)
    seen = torch.rand_like(batch.activity) >= 0.4
    assert 0.2 < float((~seen).float().mean()) < 0.6
    total = 0.0
    for b in range(6):
        output = naive_forecast(model, batch.activity[b] * seen[b] / 0.6)
        total += ((output[:-1].T - batch.activity[b]) ** 2)[~seen[b]].sum() + (
            (output[-1] - batch.target[b]) ** 2
        ).sum()
    torch.testing.assert_close(loss, total / 2 / 6, atol=0.05, rtol=0)  # the least variance remains
    model.eval()  # then nothing is hidden, and all is counted
    total = sum(
        ((naive_forecast(model, x).T - torch.cat([x, y[:, None]], 1)) ** 2).sum()
        for x, y in zip(batch.activity, batch.target, strict=True)
    )
    torch.testing.assert_close(model.loss(batch), total / 2 / 6, atol=0.05, rtol=0)


def test_encoders_never_see_the_target(windows):
    model = perturbed(LFADS(windows, replace(SMALL, coordinated_dropout=0.3))).train()
    batch = windows[0].batch(windows[0].targets["train"][:6])
    moved = replace(batch, target=batch.target + 1)
    losses = []
    for each in (batch, moved):
        torch.manual_seed(0)
        losses.append(model.loss(each))
    # with the same draws, only the target's own term differs: (y + 1 - x)² - (y - x)² = 1 + 2 (y - x)
    captured = []
    model.read_out[0].register_forward_hook(lambda module, inputs, output: captured.append(output[-1]))
    torch.manual_seed(0)
    model.loss(batch)
    expected = (1 + 2 * (batch.target - captured[0])).sum() / 2 / 6
    torch.testing.assert_close(losses[1] - losses[0], expected, atol=1e-3, rtol=1e-3)


def test_divergences_are_torchs():
    generator = torch.Generator().manual_seed(0)
    mean, prior_mean = (torch.randn(7, 4, generator=generator) for _ in range(2))
    variance, prior_variance = (torch.rand(7, 4, generator=generator) + 0.1 for _ in range(2))
    expected = kl_divergence(Normal(mean, variance.sqrt()), Normal(prior_mean, prior_variance.sqrt())).sum(1).mean()
    torch.testing.assert_close(normal_divergence(mean, variance, prior_mean, prior_variance), expected)


def test_the_prior_of_inferred_inputs_is_an_autoregressive_process(windows):
    prior = LFADS(windows, SMALL).cores[0].prior
    with torch.no_grad():
        prior.log_tau.copy_(torch.linspace(0, 2, 6))
        prior.log_noise.copy_(torch.linspace(-2, 0, 6))
    decay, noise = torch.exp(-1 / prior.log_tau.exp()), prior.log_noise.exp()
    generator = torch.Generator().manual_seed(0)
    mean, before = (torch.randn(3, 6, generator=generator) for _ in range(2))
    variance = torch.rand(3, 6, generator=generator) + 0.1
    posterior = Normal(mean, variance.sqrt())
    expected = kl_divergence(posterior, Normal(decay * before, noise.sqrt())).sum(1).mean()
    torch.testing.assert_close(prior(mean, variance, before), expected)
    stationary = (noise / (1 - decay**2)).sqrt().expand(3, 6)
    expected = kl_divergence(posterior, Normal(torch.zeros(3, 6), stationary)).sum(1).mean()
    torch.testing.assert_close(prior(mean, variance, None), expected)


def test_penalties_ramp_up_with_the_steps(windows):
    batch = windows[0].batch(windows[0].targets["train"][:6])

    def loss(model):
        torch.manual_seed(0)
        return model.loss(batch).item()

    plain = loss(LFADS(windows, replace(SMALL, kl_weight=0.0, l2_weight=0.0)))
    model = LFADS(windows, replace(SMALL, kl_weight=2.0, l2_weight=30.0, ramp_steps=9))
    optimizer = torch.optim.Adam(model.parameters())
    added = []
    for _ in range(12):
        added.append(loss(model) - plain)
        model.after_step(optimizer)
    full = added[-1]
    np.testing.assert_allclose(added, [full * min(1, (k + 1) / 10) for k in range(12)], rtol=1e-3)
    generator = model.cores[0].generator
    square = torch.cat([generator.gates.flatten(), generator.new.flatten()]).square().mean().item()
    kl_alone = loss(LFADS(windows, replace(SMALL, kl_weight=2.0, l2_weight=0.0, ramp_steps=0))) - plain
    assert kl_alone > 0
    assert full == pytest.approx(kl_alone + 15 * square, rel=1e-3)


def test_training_counts_steps_and_a_checkpoint_would_keep_them(windows):
    model = LFADS(windows[:1], SMALL)
    train(model, windows[:1], TrainConfig(epochs=3, max_steps=7))
    assert 0 < int(model.state_dict()["steps"]) <= 7  # of the best epoch


def test_it_learns_a_few_windows_by_heart(windows):
    config = replace(SMALL, generator=64, encoder=64, controller=32, factors=32, kl_weight=0.0, l2_weight=0.0)
    model = LFADS(windows, replace(config, coordinated_dropout=0.0))
    batch = windows[0].batch(windows[0].targets["train"][:8])
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    torch.manual_seed(0)
    for step in range(240):
        if step == 180:
            optimizer.param_groups[0]["lr"] = 1e-3
        optimizer.zero_grad()
        loss = model.loss(batch)
        loss.backward()
        optimizer.step()
    assert 2 * loss.item() / batch.activity[0].numel() < 0.02  # mean squared error; the data's is 1
    model.eval()
    assert torch.nn.functional.mse_loss(model.predict(batch), batch.target).item() < 0.01


def test_it_forecasts_better_than_the_mean():
    rng = np.random.default_rng(0)
    angle = 0.3
    turn = 0.99 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    latent, seen = np.zeros((2, 2000)), rng.normal(size=(10, 2))
    for t in range(1, 2000):
        latent[:, t] = turn @ latent[:, t - 1] + 0.2 * rng.normal(size=2)
    windows = prepare([session(seen @ latent + 0.8 * rng.normal(size=(10, 2000)))])
    model = LFADS(windows, replace(SMALL, generator=32, encoder=32, ramp_steps=100, kl_weight=0.1))
    settings = TrainConfig(epochs=4, learning_rate=1e-2, schedule="one_cycle")
    train(model, windows, settings)
    w = windows[0]
    truth = w.truth(w.targets["test"])
    error = np.mean((predict_series(model, w, w.targets["test"]) - truth) ** 2)
    mean = np.mean((truth - w.activity[w.targets["train"]].mean(0).numpy()) ** 2)
    last = np.mean((truth - w.activity[w.targets["test"] - 1].numpy()) ** 2)
    assert error < 0.5 * mean
    assert error < 0.75 * last


def test_factor_rows_have_length_one(windows):
    model = LFADS(windows, SMALL).eval()
    batch = windows[0].batch(windows[0].targets["test"][:4])
    forecast = model.predict(batch)
    with torch.no_grad():
        model.cores[0].factors.mul_(3)
    torch.testing.assert_close(model.predict(batch), forecast)


def test_one_model_a_session_or_one_stitched_from_all(windows):
    models = {sharing: LFADS(windows, replace(SMALL, sharing=sharing)) for sharing in ("session", "stitched")}
    for sharing, model in models.items():
        own = [{id(p) for p in model.session_parameters(j)} for j in (0, 1)]
        assert not own[0] & own[1]
        model.loss(windows[1].batch(windows[1].targets["train"][:4])).backward()
        assert all(p.grad is None for p in model.session_parameters(0))
        assert all(p.grad.any() for p in model.session_parameters(1))
        shared = [p for p in model.parameters() if id(p) not in own[0] | own[1]]
        assert len(shared) == (0 if sharing == "session" else len(list(model.cores[0].parameters())))
        assert all(p.grad.any() for p in shared)
        assert model.predict(windows[0].batch(windows[0].targets["test"][:2])).shape == (2, 5)
    assert len(models["stitched"].cores) == 1


def test_the_seed_decides(windows):
    states = [LFADS(windows, SMALL, seed=seed).state_dict() for seed in (0, 0, 1)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(states[0]["read_out.0.weight"], states[2]["read_out.0.weight"])


@pytest.mark.parametrize(
    "bad",
    [
        {"generator": 0},
        {"factors": 0},
        {"initial_condition": 0},
        {"dropout": 1.0},
        {"coordinated_dropout": -0.1},
        {"cell_clip": 0.0},
        {"kl_weight": -1.0},
        {"l2_weight": float("inf")},
        {"ramp_steps": -1},
        {"sharing": "all"},
    ],
)
def test_bad_settings_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        LFADSConfig(**bad)
