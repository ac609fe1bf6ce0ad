"""The training loop on a model that has nothing to do with SynapsNet."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from population import noise_session
from torch import nn

from ndx_synapsnet.errors import InputError
from ndx_synapsnet.learn.batches import BatchOrder
from ndx_synapsnet.learn.forecaster import Forecaster, predict_series
from ndx_synapsnet.learn.linear import REFERENCES
from ndx_synapsnet.learn.preparation import prepare
from ndx_synapsnet.learn.train import (
    CURVE,
    TrainConfig,
    learning_rate_at,
    resolve_device,
    steps_per_epoch,
    total_steps,
    train,
    validate,
)
from ndx_synapsnet.learn.validation import Best


class Scaled(Forecaster):
    """The last sample times a number a session; counts what it is asked for."""

    def __init__(self, windows, start=0.0):
        super().__init__()
        self.scale = nn.ParameterList(nn.Parameter(torch.tensor(start)) for _ in windows)
        self.drop = nn.Dropout(0.1)
        self.seen: list[tuple[int, int]] = []

    def predict(self, batch):
        if self.training:
            self.seen.append((batch.session, len(batch.target)))
        return self.scale[batch.session] * self.drop(batch.activity[:, :, -1])


@pytest.fixture
def windows():
    return prepare([noise_session(4, 300), noise_session(3, 600, seed=1)])


def test_halving_by_hand():
    config = TrainConfig(schedule="halve", halve_every=2, learning_rate=8.0)
    assert [learning_rate_at(s, 18, 3, config) for s in range(18)] == [8.0] * 6 + [4.0] * 6 + [2.0] * 6


def test_one_cycle_by_hand():
    config = TrainConfig(schedule="one_cycle", learning_rate=1.0)
    rates = [learning_rate_at(s, 101, 10, config) for s in range(101)]
    assert rates[0] == pytest.approx(1 / 25)
    assert rates[10] == pytest.approx(1, abs=1e-3)
    assert max(rates) <= 1
    assert rates[-1] == pytest.approx(1e-3)
    assert rates[55] == pytest.approx((1 + 1e-3) / 2, abs=0.01)
    assert np.all(np.diff(rates[:11]) > 0)
    assert np.all(np.diff(rates[11:]) < 0)
    assert learning_rate_at(0, 1, 1, config) <= 1


def test_constant_rate():
    assert {learning_rate_at(s, 9, 3, TrainConfig(schedule="constant", learning_rate=0.5)) for s in range(9)} == {0.5}


def test_steps(windows):
    assert [len(w.targets["train"]) for w in windows] == [235, 475]
    assert steps_per_epoch(710, TrainConfig()) == math.ceil(710 / 32) == 23
    assert total_steps(710, TrainConfig(epochs=3)) == 69
    assert total_steps(710, TrainConfig(epochs=3, min_steps=100)) == 100
    assert total_steps(710, TrainConfig(epochs=3, max_steps=10)) == 10


def rows(windows):
    return [w.rows(w.targets["train"]) for w in windows]


def test_batches_are_one_session_each_drawn_by_its_windows(windows):
    batches = BatchOrder(rows(windows), 10, seed=0)
    drawn = [batches.draw() for _ in range(1000)]
    share = np.mean([row.windows is windows[1] for row, _ in drawn])
    assert share == pytest.approx(475 / 710, abs=0.05)
    of_one = torch.cat([row.first[chosen] for row, chosen in drawn if row.windows is windows[0]][:23])
    assert len(of_one) == len(set(of_one.tolist())) == 230  # no window twice before (nearly) all were seen
    assert set(of_one.tolist()) <= set(windows[0].targets["train"].tolist())


def test_a_session_in_trials_counts_by_its_targets(windows):
    """Short stretches are more rows of the same number of samples."""
    whole = windows[0].rows(torch.arange(100, 180), 8)
    trials = windows[0].rows(torch.arange(60, 220, 2), 8)
    assert (len(whole), len(trials)) == (10, 80)
    order = BatchOrder([whole, trials], 1, seed=0)
    share = np.mean([order.draw()[0] is trials for _ in range(1000)])
    assert share == pytest.approx(0.5, abs=0.05)


def test_a_batch_larger_than_the_session(windows):
    batches = BatchOrder(rows(windows[:1]), 1000, seed=0)
    row, chosen = batches.draw()
    assert sorted(row.first[chosen].tolist()) == windows[0].targets["train"].tolist()


def test_the_order_of_batches_can_be_taken_up_anywhere(windows):
    one, other = BatchOrder(rows(windows), 100, seed=3), BatchOrder(rows(windows), 100, seed=4)
    for _ in range(20):
        other.restore(one.state())
        for order in (one, other):
            order.last = order.draw()
        assert one.last[0].windows is other.last[0].windows
        assert torch.equal(one.last[1], other.last[1])


def test_random_numbers_are_drawn_as_ever(windows):
    """What a seed gives is not to change from one version to the next."""
    order = BatchOrder(rows(windows), 3, seed=7)
    generator = torch.Generator().manual_seed(7)
    chosen = int(torch.multinomial(torch.tensor([235.0, 475.0], dtype=torch.float64), 1, generator=generator))
    shuffled = torch.randperm([235, 475][chosen], generator=generator)
    row, picked = order.draw()
    assert row.windows is windows[chosen]
    assert torch.equal(row.first[picked], windows[chosen].targets["train"][shuffled[:3]])


def test_it_learns_and_keeps_the_best_epoch(windows):
    model = Scaled(windows, start=2.0)
    result = train(model, windows, TrainConfig(epochs=6, learning_rate=0.1, schedule="constant"))
    assert tuple(result.curve) == CURVE
    assert all(len(column) == 6 for column in result.curve.values())
    np.testing.assert_array_equal(result.curve["epoch"], [1, 2, 3, 4, 5, 6])
    assert result.best_epoch == result.curve["validation_mse"].argmin() + 1 == result.best_by["mse"]
    assert result.best_by["correlation"] == result.curve["validation_correlation"].argmax() + 1
    assert validate(model, windows)[0] == pytest.approx(result.curve["validation_mse"].min(), rel=1e-6)
    assert result.curve["validation_mse"][-1] < result.curve["validation_mse"][0]
    assert not result.interrupted
    assert not model.training
    assert len(model.seen) == 6 * 23


@pytest.mark.parametrize(("select_by", "kept"), [("mse", 2.0), ("correlation", 3.0)])
def test_the_best_epoch_is_by_the_chosen_score_and_never_one_without(windows, select_by, kept):
    model, best = Scaled(windows), Best(select_by)
    for epoch, (mse, correlation) in enumerate([(0.9, math.nan), (0.7, 0.1), (0.8, 0.3), (math.nan, math.nan)], 1):
        with torch.no_grad():
            model.scale[0].fill_(epoch)
        best.offer(model, epoch, mse, correlation)
    assert best.epoch == {"mse": 2, "correlation": 3}
    assert best.state["scale.0"] == kept


def test_validation_is_a_mean_over_sessions_of_neurons_with_a_correlation(windows):
    model = Scaled(windows, start=1.0)
    model.eval()
    mse = [float(np.mean((w.truth(i - 1) - w.truth(i)) ** 2)) for w, i in ((w, w.targets["test"]) for w in windows)]
    assert validate(model, windows, "test")[0] == pytest.approx(np.mean(mse), rel=1e-5)
    flat = Scaled(windows, start=0.0)
    assert math.isnan(validate(flat, windows)[1])


def test_the_same_seed_gives_the_same_result_and_leaves_no_trace(windows):
    state = torch.get_rng_state()
    curves = []
    for seed in (1, 1, 2):
        model = Scaled(windows, start=1.0)
        result = train(model, windows, TrainConfig(epochs=2, learning_rate=0.01, seed=seed))
        curves.append(np.r_[result.curve["train_loss"], [float(s.detach()) for s in model.scale]])
        torch.rand(3)  # what happens between two runs does not matter
    np.testing.assert_array_equal(curves[0], curves[1])
    assert not np.array_equal(curves[0], curves[2])
    torch.set_rng_state(state)
    train(Scaled(windows), windows, TrainConfig(epochs=1))
    assert torch.equal(torch.get_rng_state(), state)


def test_dropout_is_on_while_training_whatever_the_mode_before(windows):
    losses = [
        train(model, windows, TrainConfig(epochs=1)).curve["train_loss"][0]
        for model in (Scaled(windows, start=1.0), Scaled(windows, start=1.0).eval())
    ]
    assert losses[0] == losses[1]


def test_other_sessions_parameters_are_left_alone(windows):
    """A session that is not in the batch has no gradient, so that Adam's momentum does not move it."""
    model, moved = Scaled(windows, start=1.0), []

    def watch(optimizer):
        now = [float(s.detach()) for s in model.scale]
        moved.append([a != b for a, b in zip(now, watch.before, strict=True)])
        watch.before = now

    watch.before = [1.0, 1.0]
    model.after_step = watch
    train(model, windows, TrainConfig(epochs=2, learning_rate=0.01))
    assert moved == [[session == j for j in (0, 1)] for session, _ in model.seen]


class Scripted(Scaled):
    """Has the validation MSE that a list says, one an epoch: it forecasts the truth and a bit."""

    def __init__(self, windows, errors):
        super().__init__(windows)
        self.errors = list(errors)

    def predict(self, batch):
        if self.training:
            return super().predict(batch)
        return batch.target + math.sqrt(self.errors[self.epoch])

    def after_step(self, optimizer):
        self.steps = getattr(self, "steps", 0) + 1
        self.epoch = (self.steps - 1) // 23


@pytest.mark.parametrize(
    ("patience", "errors", "epochs", "best"),
    [
        (None, [5, 4, 5, 5, 5, 5, 3], 7, 7),
        (1, [5, 4, 3, 3, 2], 4, 3),
        (2, [5, 4, 5, 3, 4, 5, 1], 6, 4),
        (2, [5, 4, 5, 3, 4, 1, 2], 7, 6),
        (3, [5, 6, 7, 8, 1], 4, 1),
        (2, [math.inf, math.inf, 1], 2, None),
    ],
)
def test_early_stopping(windows, patience, errors, epochs, best):
    model, config = Scripted(windows, errors), TrainConfig(epochs=len(errors), patience=patience)
    if best is None:
        with pytest.raises(InputError, match="diverged"):
            train(model, windows, config)
        assert model.steps == 23 * epochs
        return
    result = train(model, windows, config)
    assert result.curve["validation_mse"] == pytest.approx(errors[:epochs], rel=1e-5)
    assert (result.best_epoch, result.interrupted) == (best, False)
    stopped = [f"Stopped early: no better validation score in {patience} epochs."] if epochs < len(errors) else []
    assert list(result.notes) == stopped


class Stopping(Scaled):
    """Raises as Ctrl-C does, at a given step."""

    def __init__(self, windows, at):
        super().__init__(windows, start=2.0)
        self.at = at

    def loss(self, batch):
        if len(self.seen) == self.at:
            raise KeyboardInterrupt
        return super().loss(batch)


class Sloped(Forecaster):
    """Two numbers with a gradient of 3 and 4, whatever the batch; remembers what the optimiser was given."""

    def __init__(self):
        super().__init__()
        self.numbers = nn.Parameter(torch.tensor([10.0, 0.0]))
        self.seen: list[list[float]] = []

    def predict(self, batch):
        return torch.zeros_like(batch.target)

    def loss(self, batch):
        return self.numbers @ torch.tensor([3.0, 4.0])

    def after_step(self, optimizer):
        assert self.numbers.grad is not None
        # Adam's memory of the gradient, decay included, after one step from nothing
        self.seen += [self.numbers.grad.tolist(), (optimizer.state[self.numbers]["exp_avg"] / 0.1).tolist()]


@pytest.mark.parametrize(
    ("settings", "gradient", "taken"),
    [
        ({}, [3, 4], [3, 4]),
        ({"gradient_clip": 10.0}, [3, 4], [3, 4]),
        ({"gradient_clip": 2.5}, [1.5, 2], [1.5, 2]),
        ({"weight_decay": 0.5}, [3, 4], [8, 4]),
        ({"gradient_clip": 2.5, "weight_decay": 0.5}, [1.5, 2], [6.5, 2]),  # the decay is not cut
    ],
)
def test_decay_and_clip_by_hand(windows, settings, gradient, taken):
    model = Sloped()
    train(model, windows, TrainConfig(max_steps=1, **settings))
    assert model.seen == [pytest.approx(gradient), pytest.approx(taken)]


def test_an_interrupt_keeps_the_best_so_far(windows):
    config = TrainConfig(epochs=50, learning_rate=0.1, schedule="constant")
    model = Stopping(windows, at=2 * 23 + 5)
    result = train(model, windows, config)
    assert result.interrupted
    assert len(result.curve["epoch"]) == 2
    other = Scaled(windows, start=2.0)
    whole = train(other, windows, TrainConfig(epochs=2, learning_rate=0.1, schedule="constant"))
    np.testing.assert_array_equal(result.curve["validation_mse"], whole.curve["validation_mse"])
    assert validate(model, windows)[0] == pytest.approx(whole.curve["validation_mse"].min(), rel=1e-6)


@pytest.mark.parametrize("at", [0, 3])
def test_an_interrupt_in_the_first_epoch_keeps_the_parameters_as_they_are(windows, at):
    model = Stopping(windows, at=at)
    result = train(model, windows, TrainConfig(epochs=50))
    assert result.interrupted
    assert len(result.curve["epoch"]) == 1
    assert math.isnan(result.curve["train_loss"][0]) == (at == 0)


def test_divergence_is_said(windows):
    with pytest.raises(InputError, match="diverged"):
        train(Scaled(windows, start=math.inf), windows, TrainConfig(epochs=1))


def test_solvers_are_solved(windows):
    result = train(REFERENCES["ridge_var"](windows), windows)
    assert result.best_epoch == 0
    assert {len(column) for column in result.curve.values()} == {1}
    assert 0 < result.curve["validation_mse"][0] < 1.2
    assert tuple(result.curve) == CURVE


def test_prediction_does_not_depend_on_the_batch_size_or_mode(windows):
    model = Scaled(windows, start=1.0)
    w = windows[0]
    model.train()
    a, b = (predict_series(model, w, w.targets["test"], batch_size=size) for size in (1, None))
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(a, w.truth(w.targets["test"] - 1))
    assert model.training
    assert a.dtype == np.float32


def test_progress_is_silent_unless_asked_for(windows, capfd):
    train(Scaled(windows), windows, TrainConfig(epochs=1))
    assert capfd.readouterr() == ("", "")
    train(Scaled(windows, start=1.0), windows, TrainConfig(epochs=1), progress=True)
    shown = capfd.readouterr().err
    assert "epoch 1" in shown
    assert "validation MSE" in shown


def test_devices():
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type in ("cpu", "cuda")
    for name in ("nonsense", "cuda:77"):
        with pytest.raises(InputError, match="no device"):
            resolve_device(name)


@pytest.mark.parametrize(
    "settings",
    [
        {"epochs": 0},
        {"patience": 0},
        {"sessions_per_step": 0},
        {"batch_size": 0},
        {"halve_every": 0},
        {"weight_decay": -1.0},
        {"weight_decay": math.inf},
        {"gradient_clip": 0.0},
        {"gradient_clip": math.inf},
        {"learning_rate": 0.0},
        {"learning_rate": math.nan},
        {"schedule": "cosine"},
        {"select_by": "loss"},
        {"min_steps": -1},
        {"max_steps": 0},
        {"max_steps": 10, "min_steps": 20},
    ],
)
def test_bad_settings(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        TrainConfig(**settings)
