"""SynapsNet against its naive twin, its gauge, its penalties and its ablations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from population import noise_session, session

from ndx_synapsnet.learn.preparation import prepare
from ndx_synapsnet.learn.synapsnet import SynapsNet
from ndx_synapsnet.learn.synapsnet_config import SynapsNetConfig
from ndx_synapsnet.learn.train import TrainConfig, train
from ndx_synapsnet.learn.windows import WindowConfig
from reference.naive_synapsnet import NaiveSynapsNet, naive_transformer

SMALL = {"hidden": 8, "embedding": 5}
EXACT = {"rtol": 1e-10, "atol": 1e-10}


@pytest.fixture(scope="module")
def windows():
    """Two sessions in float64 whose behaviours overlap in one name."""
    return prepare(
        [
            noise_session(5, 300, 2, names=("running", "pupil")),
            noise_session(4, 300, 2, seed=1, names=("licking", "running")),
        ],
        dtype=torch.float64,
    )


def made(windows, **settings) -> SynapsNet:
    """A model with weights large enough that every path counts."""
    model = SynapsNet(windows, SynapsNetConfig(**{**SMALL, "dropout": 0.0, "penalty_weight": 0.1, **settings}))
    with torch.no_grad():
        for weights in model.weights:
            weights.mul_(20)
        model.embedding.mul_(10)
    return model


@pytest.mark.parametrize("session_index", [0, 1])
@pytest.mark.parametrize("decoder", ["gru", "rnn", "lstm"])
@pytest.mark.parametrize(
    "switches",
    [
        {},
        {"diagonal": "keep"},
        {"use_activity": False, "diagonal": "keep"},
        {"use_connectivity": False},
        {"use_embedding": False},
        {"use_behavior": False},
    ],
    ids=lambda switches: ",".join(switches) or "plain",
)
def test_outputs_and_gradients_equal_the_naive_twin(windows, decoder, switches, session_index):
    model = made(windows, decoder=decoder, **switches)
    w = windows[session_index]
    naive = NaiveSynapsNet(model, session_index, w.behavior_names)
    batch = w.batch(w.targets["train"][[3, 40]])
    torch.testing.assert_close(model.predict(batch), naive(batch.activity, batch.behavior), **EXACT)
    loss, expected = model.loss(batch), naive.loss(batch.activity, batch.behavior, batch.target)
    torch.testing.assert_close(loss, expected, **EXACT)
    loss.backward()
    expected.backward()
    shape = model.decoder.shape
    gradients = naive.split_gradients((shape.series, shape.behaviors, shape.embedding))
    for name, parameter in model.decoder.named_parameters():
        if parameter.numel():  # of an input that is left out there is nothing to compare
            torch.testing.assert_close(parameter.grad, gradients[name], **EXACT)
    if switches.get("use_connectivity", True):
        torch.testing.assert_close(model.weights[session_index].grad, naive.A.grad, **EXACT)
    if switches.get("use_embedding", True):
        first = 0 if session_index == 0 else 5
        torch.testing.assert_close(model.embedding.grad[first : first + w.n_neurons], naive.E.grad, **EXACT)


@pytest.mark.parametrize("layers", [1, 2])
def test_transformer_equals_attention_written_out(windows, layers):
    model = made(windows, decoder="transformer", layers=layers, heads=2)
    naive = NaiveSynapsNet.__new__(NaiveSynapsNet)
    torch.nn.Module.__init__(naive)
    naive.A, naive.E, naive.config = model.weights[0], model._embedding(0), model.config
    naive.all_names, naive.names = model.behavior_names, windows[0].behavior_names
    batch = windows[0].batch(windows[0].targets["train"][[3, 40]])
    expected = torch.stack(
        [
            torch.stack(
                [
                    naive_transformer(dict(model.decoder.named_parameters()), naive.inputs(x, b, i), layers, 2)
                    for i in range(5)
                ]
            )
            for x, b in zip(batch.activity, batch.behavior, strict=True)
        ]
    )
    torch.testing.assert_close(model.predict(batch), expected, **EXACT)
    actual = torch.autograd.grad(model.predict(batch).square().sum(), list(model.decoder.parameters()))
    wanted = torch.autograd.grad(expected.square().sum(), list(model.decoder.parameters()))
    for a, b in zip(actual, wanted, strict=True):
        torch.testing.assert_close(a, b, **EXACT)


def test_behaviours_are_the_union_by_name(windows):
    assert made(windows).behavior_names == ("running", "pupil", "licking")
    assert made(windows, use_behavior=False).behavior_names == ()
    assert made(windows, use_behavior=False).decoder.shape.behaviors == 0


def test_embeddings_are_shared_by_identity():
    rng = np.random.default_rng(0)
    sessions = [
        session(rng.normal(size=(3, 300)), identity=["mouse:cell:7", "", "mouse:cell:9"]),
        session(rng.normal(size=(4, 300)), identity=["", "mouse:cell:9", "mouse:cell:8", "mouse:cell:7"]),
        session(rng.normal(size=(2, 300))),
    ]
    model = SynapsNet(prepare(sessions), SynapsNetConfig(**SMALL))
    first, second, third = (model.embeddings(j) for j in range(3))
    assert (first.shape, second.shape, third.shape) == ((3, 5), (4, 5), (2, 5))
    assert len(model.embedding) == 3 + 2 + 2
    np.testing.assert_array_equal(first[[0, 2]], second[[3, 1]])
    assert len(np.unique(np.r_[first, second, third], axis=0)) == 7


@pytest.mark.parametrize("factor", [3.0, -0.5])
def test_the_gauge_leaves_forecasts_and_effective_connectivity_unchanged(windows, factor):
    """(A, w_I) → (cA, w_I / c), c also negative."""
    model = made(windows)
    before = [model.connectivity(j) for j in (0, 1)]
    raw = model.raw_connectivity(0)
    batch = windows[0].batch(windows[0].targets["test"][:5])
    forecast = model.predict(batch)
    with torch.no_grad():
        for weights in model.weights:
            weights.mul_(factor)
        model.decoder.input.series[:, 1].div_(factor)
    torch.testing.assert_close(model.predict(batch), forecast, **EXACT)
    for j in (0, 1):
        np.testing.assert_allclose(model.connectivity(j), before[j], rtol=1e-6)
    np.testing.assert_allclose(model.raw_connectivity(0), factor * raw, rtol=1e-6)


def test_the_gain_is_the_mean_response_to_a_small_current(windows):
    model = made(windows).eval()
    w = windows[1]
    batch = w.batch(w.targets["train"])
    current = model.currents(batch)
    step = torch.zeros_like(current)
    step[:, :, -1] = 1e-4
    slope = (model._decode(batch, current + step) - model._decode(batch, current - step)) / 2e-4
    np.testing.assert_allclose(model.gain(1), slope.mean(0).detach(), rtol=1e-4)
    model.train()
    np.testing.assert_allclose(model.connectivity(1), model.gain(1)[:, None] * model.raw_connectivity(1), rtol=1e-6)
    assert model.training


def test_the_gain_is_without_dropout_and_without_a_gradient_left_behind(windows):
    model = made(windows, dropout=0.5)
    model.train()
    np.testing.assert_array_equal(model.gain(0), model.gain(0))
    assert all(p.grad is None for p in model.parameters())


def test_currents(windows):
    model = made(windows)
    batch = windows[0].batch(windows[0].targets["test"][:3])
    expected = np.einsum("ij,bjw->biw", model.raw_connectivity(0), batch.activity.numpy())
    np.testing.assert_allclose(model.currents(batch).detach(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "zero"),
    [({}, True), ({"diagonal": "keep"}, False), ({"diagonal": "keep", "use_activity": False}, True)],
)
def test_diagonal(windows, settings, zero):
    model = made(windows, **settings)
    assert bool((np.diag(model.raw_connectivity(0)) == 0).all()) == zero
    assert model.config.learns_diagonal != zero


def test_without_previous_activity_a_neurons_own_past_does_not_reach_it(windows):
    model = made(windows, use_activity=False, diagonal="keep")
    batch = windows[0].batch(windows[0].targets["test"][:3])
    before = model.predict(batch)
    batch.activity[:, 2] += 5
    after = model.predict(batch)
    changed = (after != before).any(0)
    assert changed.tolist() == [True, True, False, True, True]


def test_without_connectivity_neurons_do_not_see_each_other(windows):
    model = made(windows, use_connectivity=False)
    batch = windows[0].batch(windows[0].targets["test"][:3])
    before = model.predict(batch)
    batch.activity[:, 2] += 5
    assert (model.predict(batch) != before).any(0).tolist() == [False, False, True, False, False]
    assert model.connectivity(0) is None
    assert model.raw_connectivity(0) is None
    assert len(model.weights) == 0
    with pytest.raises(ValueError, match="no input current"):
        model.gain(0)


def test_without_embedding_and_behaviour(windows):
    model = made(windows, use_embedding=False, use_behavior=False)
    assert model.embeddings(0).shape == (5, 0)
    assert "input.embedding" in model.named_weights(0)


@pytest.mark.parametrize(
    ("penalty", "expected"), [("frobenius", 0.1 * 5), ("frobenius_squared", 0.1 * 25), ("l1", 0.0)]
)
def test_penalty_by_hand_and_of_the_batchs_matrix_only(windows, penalty, expected):
    model = made(windows, penalty=penalty)
    batch = windows[0].batch(windows[0].targets["train"][:4])
    with torch.no_grad():
        model.weights[0].zero_()
        model.weights[0][0, 1], model.weights[0][2, 0] = 3, -4
        model.weights[0].fill_diagonal_(100)  # masked: not penalised
    error = torch.nn.functional.mse_loss(model.predict(batch), batch.target)
    loss = model.loss(batch)
    assert float((loss - error).detach()) == pytest.approx(expected)
    loss.backward()
    assert model.weights[1].grad is None


@pytest.mark.parametrize("penalty", ["frobenius", "frobenius_squared"])
def test_penalty_at_zero_has_no_infinite_gradient(windows, penalty):
    model = made(windows, penalty=penalty)
    with torch.no_grad():
        model.weights[0].zero_()
    model.loss(windows[0].batch(windows[0].targets["train"][:4])).backward()
    assert torch.isfinite(model.weights[0].grad).all()
    assert model.weights[0].grad.any()


def test_l1_is_a_proximal_step_in_adams_metric(windows):
    model = made(windows, penalty="l1", penalty_weight=0.02)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    other = model.weights[1].detach().clone()
    for step in (1, 2):
        optimizer.zero_grad()
        model.loss(windows[0].batch(windows[0].targets["train"][:8])).backward()
        optimizer.step()
        stepped = model.weights[0].detach().clone()
        mean_square = optimizer.state[model.weights[0]]["exp_avg_sq"] / (1 - 0.999**step)
        threshold = 0.01 * 0.02 / 5 / (mean_square.sqrt() + 1e-8)
        model.after_step(optimizer)
        expected = torch.where(stepped.abs() > threshold, stepped - stepped.sign() * threshold, 0)
        torch.testing.assert_close(model.weights[0].detach(), expected)
    assert torch.equal(model.weights[1].detach(), other)


def test_a_strong_l1_empties_the_matrix(windows):
    small = prepare([noise_session(5, 300)], WindowConfig())
    model = SynapsNet(small, SynapsNetConfig(**SMALL, penalty="l1", penalty_weight=10.0))
    train(model, small, TrainConfig(epochs=2))
    assert not model.raw_connectivity(0).any()


def test_the_seed_decides_the_start_and_leaves_no_trace(windows):
    state = torch.get_rng_state()
    first, again, other = (SynapsNet(windows, SynapsNetConfig(**SMALL), seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.embedding, other.embedding)


@pytest.mark.parametrize(
    "settings",
    [
        {"decoder": "mamba"},
        {"hidden": 0},
        {"layers": 2},
        {"decoder": "transformer", "heads": 3},
        {"dropout": 1.0},
        {"penalty": "l2"},
        {"penalty_weight": -1.0},
        {"diagonal": "free"},
        {"embedding": 0},
    ],
)
def test_bad_settings(settings):
    with pytest.raises(ValueError, match=r"expected|has 1"):
        SynapsNetConfig(**settings)
    with pytest.raises(ValueError, match="nothing is left"):
        SynapsNetConfig(use_activity=False, use_connectivity=False)
