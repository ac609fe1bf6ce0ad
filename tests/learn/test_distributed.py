"""Two processes give what one gives: the ranks run this file under torchrun, the tests compare what they leave."""

from __future__ import annotations

import contextlib
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from coupled import Coupled
from population import noise_session
from safetensors.torch import load_file, save_file
from torch import nn

from ndx_synapsnet.errors import EndedElsewhereError, InputError
from ndx_synapsnet.learn import train as training
from ndx_synapsnet.learn.batches import group_sessions, seed_of
from ndx_synapsnet.learn.checkpoint import Checkpoint
from ndx_synapsnet.learn.distributed import (
    SharedGradients,
    World,
    clip_gradients,
    owners,
    processes,
    release,
    shard,
)
from ndx_synapsnet.learn.forecaster import Forecaster
from ndx_synapsnet.learn.linear import REFERENCES
from ndx_synapsnet.learn.preparation import prepare
from ndx_synapsnet.learn.train import TrainConfig, steps_per_epoch, train
from torchrun import needs_gloo, run_ranks

CONFIG = TrainConfig(
    epochs=4, batch_size=50, learning_rate=0.02, schedule="one_cycle", seed=5, sessions_per_step=2, device="cpu"
)
PATIENT = TrainConfig(
    epochs=40, batch_size=50, learning_rate=0.3, schedule="constant", seed=1, sessions_per_step=3, patience=2
)
# so short that every step is cut, and Adam's own scale follows
CLIPPED = replace(CONFIG, epochs=2, gradient_clip=0.05, weight_decay=0.01)
SIZES = ((4, 300), (3, 600), (5, 420))


def sessions():
    return prepare([noise_session(n, t, seed=j) for j, (n, t) in enumerate(SIZES)])


def numbers(model, result):
    """Return what must be equal; the parameters of other ranks' sessions are NaN."""
    curve = torch.tensor(np.stack([column for name, column in result.curve.items() if name != "seconds"]))
    best = torch.tensor([result.best_epoch, *result.best_by.values()])
    return {"curve": curve, "best": best} | {name: value.clone() for name, value in model.state_dict().items()}


class Killed(BaseException):
    """Ends one rank on the spot."""


def _fail_in(world, failing):
    with world.agreeing():
        if failing:
            raise InputError("is no good")


def _rank(folder):
    """What each rank does; everything it leaves goes into `folder`."""
    training._CHECKPOINT_SECONDS, training._CHECKPOINT_SHARE, training._ASK = 0.0, 0, 3
    with processes(torch.device("cpu")) as world:
        assert world.size == 2
        assert world.any(world.rank == 1, False) == (True, False)
        assert world.common([3, 5] if world.rank else [5, 7], at_most=2) == [5]
        assert world.common([3] if world.rank else [5, 7], at_most=2) == []
        assert world.gather("" if world.rank else "zoë") == ["zoë", ""]
        with processes(torch.device("cpu")) as again:  # they have joined already
            assert again == world
        with world.agreeing():
            pass
        for failing, errors in (([1], [EndedElsewhereError, InputError]), ([0, 1], [InputError, EndedElsewhereError])):
            with pytest.raises(InputError) as caught:
                _fail_in(world, world.rank in failing)
            assert caught.type is errors[world.rank]
        with pytest.raises(InputError, match=f"fault of {world.rank}"), world.agreeing():
            raise InputError(f"fault of {world.rank}")
        windows = shard(sessions(), 2, world)
        held = [rank == world.rank for rank in owners(windows, 2, world)]
        assert [w.activity.untyped_storage().nbytes() > 4 for w in windows] == held

        model = Coupled(windows)
        left = numbers(model, train(model, windows, CONFIG, world=world))
        for own, matrix in zip(held, model.matrices, strict=True):
            assert own or (matrix.untyped_storage().nbytes() == 4 and bool(matrix.isnan().all()))
        save_file(left, folder / f"left-{world.rank}.safetensors")

        # both die within an epoch, one before it has written what the other has: both go on from the same step
        class Mortal(Coupled):
            done = 0

            def loss(self, batch):
                self.done += 1
                if self.done == 17:
                    raise Killed
                return super().loss(batch)

        Mortal.__name__ = Mortal.__qualname__ = "Coupled"
        keep_only, Checkpoint.keep_only = Checkpoint.keep_only, lambda self, step: None
        with contextlib.suppress(Killed):
            train(Mortal(windows), windows, CONFIG, world=world, checkpoint=folder / "c")
        Checkpoint.keep_only = keep_only
        mine = sorted(path.name for path in (folder / "c").glob(f"*-{world.rank}of2.json"))
        assert [name[:9] for name in mine[-2:]] == [f"{12:09d}", f"{15:09d}"]
        if world.rank:
            (folder / "c" / mine[-1]).unlink()
        model = Coupled(windows)
        result = train(model, windows, CONFIG, world=world, checkpoint=folder / "c", resume=True)
        assert result.notes == ("Resumed after step 12 of 44.",)
        (path,) = (folder / "c").glob(f"*-{world.rank}of2.json")
        assert path.name.startswith(f"{44:09d}")
        save_file(numbers(model, result), folder / f"resumed-{world.rank}.safetensors")

        model = Coupled(windows)
        left = numbers(model, train(model, windows, CLIPPED, world=world))
        save_file(left, folder / f"clipped-{world.rank}.safetensors")
        shared, own = (nn.Parameter(torch.zeros(2)) for _ in range(2))
        shared.grad, own.grad = torch.tensor([3.0, 0.0]), torch.tensor([[0.0, 4.0], [12.0, 0.0]][world.rank])
        clip_gradients([shared], [own], 6.5, world)
        assert torch.equal(shared.grad, torch.tensor([1.5, 0.0]))  # the norm is 13 in all
        assert torch.equal(own.grad, torch.tensor([[0.0, 2.0], [6.0, 0.0]][world.rank]))

        model = Coupled(windows)
        windows = sessions()  # not sharded, of which each rank uses its own
        result = train(model, windows, PATIENT, world=world)
        save_file(numbers(model, result), folder / f"patient-{world.rank}.safetensors")


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """The folder with what two ranks left."""
    folder = tmp_path_factory.mktemp("ranks")
    done = run_ranks(__file__, str(folder))
    assert done.returncode == 0, done.stderr
    return folder


def alone(config):
    """Return what one process gives."""
    windows = sessions()
    model = Coupled(windows)
    return numbers(model, train(model, windows, config))


@needs_gloo
@pytest.mark.parametrize(("run", "config"), [("left", CONFIG), ("clipped", CLIPPED)])
def test_two_ranks_give_what_one_process_gives(ranks, run, config):
    expected = alone(config)
    found = [load_file(ranks / f"{run}-{rank}.safetensors") for rank in (0, 1)]
    assert expected["curve"].shape == (5, config.epochs)
    for name, value in expected.items():
        each = [f[name] for f in found if not f[name].isnan().any()]
        assert len(each) == (1 if name.startswith("matrices") else 2)
        for one in each:
            torch.testing.assert_close(one, value, rtol=1e-4, atol=1e-6)
        assert all(torch.equal(one, each[0]) for one in each)  # what is shared is the same to the bit


@needs_gloo
def test_ranks_that_died_go_on_to_the_same_bits(ranks):
    for rank in (0, 1):
        left, resumed = (load_file(ranks / f"{name}-{rank}.safetensors") for name in ("left", "resumed"))
        for name in left:
            np.testing.assert_array_equal(resumed[name], left[name], err_msg=name)


@needs_gloo
def test_ranks_stop_early_together_and_share_groups_unevenly(ranks):
    """Three groups of two processes; the curve is one process's too."""
    expected = alone(PATIENT)
    assert expected["curve"].shape[1] < PATIENT.epochs
    for rank in (0, 1):
        found = load_file(ranks / f"patient-{rank}.safetensors")
        torch.testing.assert_close(found["curve"], expected["curve"], rtol=1e-3, atol=1e-5)
        assert torch.equal(found["best"], expected["best"])


def test_groups_are_of_like_size():
    windows = sessions()
    assert [len(w.targets["train"]) for w in windows] == [235, 475, 331]
    assert group_sessions(windows, 1) == [[0, 1, 2]]
    assert group_sessions(windows, 2) == [[1], [0, 2]]
    assert group_sessions(windows, 3) == [[1], [2], [0]]
    with pytest.raises(InputError, match="4 sessions a step of 3"):
        group_sessions(windows, 4)
    assert owners(windows, 2, World(0, 2)) == [1, 0, 1]
    assert owners(windows, 3, World(0, 2)) == [0, 0, 1]
    with pytest.raises(InputError, match="3 processes, but sessions_per_step is 2"):
        owners(windows, 2, World(0, 3))
    assert steps_per_epoch(1041, CONFIG) == 11  # windows, 100 a step


class Scaled(Forecaster):
    """A number a session and a number for all, by which the last sample is multiplied."""

    def __init__(self, windows, dropped=0.0):
        super().__init__()
        self.own = nn.ParameterList(nn.Parameter(torch.tensor(1.0)) for _ in windows)
        self.common = nn.Parameter(torch.tensor(0.5))
        self.idle = nn.Parameter(torch.tensor(3.0))
        self.seen, self.grads = [], []

    def predict(self, batch):
        if self.training:
            self.seen.append((batch.session, batch))
        return self.own[batch.session] * self.common * batch.activity[:, :, -1]

    def session_parameters(self, session):
        return [self.own[session]]

    def after_step(self, optimizer):
        self.grads.append([None if p.grad is None else float(p.grad) for p in (*self.own, self.common, self.idle)])


def test_one_step_by_hand():
    """A session's own parameter has its own batch's gradient, the common one their mean by the groups' windows."""
    windows = sessions()
    model = Scaled(windows)
    train(model, windows, TrainConfig(batch_size=20, sessions_per_step=2, max_steps=1))
    assert [j for j, _ in model.seen] in ([1, 0], [1, 2])
    expected, common = [None, None, None], 0.0
    for (j, batch), weight in zip(model.seen, (475 / 1041, 566 / 1041), strict=True):
        last = batch.activity[:, :, -1]
        slope = 2 * float(((0.5 * last - batch.target) * last).mean())
        expected[j], common = 0.5 * slope, common + weight * slope
    found = model.grads[0]
    assert [g is None for g in found[:3]] == [g is None for g in expected]
    assert [g for g in found[:3] if g is not None] == pytest.approx([g for g in expected if g is not None], rel=1e-5)
    assert found[3:] == [pytest.approx(common, rel=1e-5), 0.0]
    assert model.idle.item() == 3.0


def test_dropout_follows_the_step_and_the_group():
    """So that it does not matter which process, or which batch before it, drew random numbers."""
    windows, masks = sessions(), {}

    class Dropping(Coupled):
        def loss(self, batch):
            masks.setdefault(len(masks), torch.rand(2).tolist())
            return super().loss(batch)

    train(Dropping(windows), windows, TrainConfig(batch_size=100, sessions_per_step=2, max_steps=2, seed=9))
    for place, (step, group) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
        generator = torch.Generator().manual_seed(seed_of(9, step, group))
        assert masks[place] == torch.rand(2, generator=generator).tolist()


def test_parameters_of_others_are_let_go():
    windows = sessions()
    model = Coupled(windows)
    assert release(model, [0, 2]) == {"matrices.0", "matrices.2"}
    assert [matrix.untyped_storage().nbytes() for matrix in model.matrices] == [4, 36, 4]
    assert [tuple(matrix.shape) for matrix in model.matrices] == [(4, 4), (3, 3), (5, 5)]
    assert release(model, []) == set()


def test_sharded_windows_keep_what_a_model_is_made_from():
    windows = sessions()
    sharded = shard(windows, 2, World(0, 2))
    assert sharded[1] is windows[1]
    for w, s in zip(windows, sharded, strict=True):
        assert (s.n_neurons, s.n_behaviors, len(s.activity)) == (w.n_neurons, w.n_behaviors, len(w.activity))
        assert s.targets is w.targets
    assert sharded[0].activity.untyped_storage().nbytes() == 4


def test_gradients_are_cut_to_a_norm_of_all_of_them():
    shared, own, idle = (nn.Parameter(torch.zeros(2)) for _ in range(3))
    shared.grad, own.grad = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 4.0])
    clip_gradients([shared, idle], [own], 5.5, World())
    assert shared.grad.tolist() == [3, 0]
    clip_gradients([shared, idle], [own], 2.5, World())
    assert (shared.grad.tolist(), own.grad.tolist(), idle.grad) == ([1.5, 0], [0, 2], None)
    clip_gradients([shared], [], 0.75, World())
    assert shared.grad.tolist() == [0.75, 0]


def test_shared_parameters_are_of_one_type():
    with pytest.raises(ValueError, match="different types"):
        SharedGradients([torch.zeros(1), torch.zeros(1, dtype=torch.float64)], World())


def test_solvers_are_for_one_process():
    windows = sessions()
    with pytest.raises(InputError, match="closed form"):
        train(REFERENCES["mean"](windows), windows, world=World(0, 2))


def test_alone_without_torchrun(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with processes(torch.device("cpu")) as world:
        assert world == World(0, 1, torch.device("cpu"))
    assert world.any(True, False) == (True, False)
    assert world.common([1, 3], at_most=2) == [3, 1]


def test_without_a_way_to_talk(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(torch.distributed, "is_backend_available", lambda name: False)
    with pytest.raises(InputError, match="no gloo"), processes(torch.device("cpu")):
        pass


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _rank(Path(sys.argv[1]))
