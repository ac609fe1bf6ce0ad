"""Killed at any moment and resumed, a training ends as if it had never been broken off."""

from __future__ import annotations

import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from coupled import Coupled
from population import noise_session
from safetensors.torch import load_file, save_file

from ndx_synapsnet.errors import InputError
from ndx_synapsnet.learn import checkpoint as files
from ndx_synapsnet.learn import train as training
from ndx_synapsnet.learn.checkpoint import Checkpoint
from ndx_synapsnet.learn.linear import REFERENCES
from ndx_synapsnet.learn.preparation import prepare
from ndx_synapsnet.learn.train import TrainConfig, train

CONFIG = TrainConfig(epochs=3, batch_size=100, learning_rate=0.03, schedule="one_cycle", seed=5)
STEPS, PER_EPOCH = 24, 8


def sessions(t: int = 300):
    return prepare([noise_session(4, t), noise_session(3, 2 * t, seed=1)])


@pytest.fixture(scope="module")
def windows():
    return sessions()


@pytest.fixture(scope="module")
def whole(windows):
    """Parameters and curve of a training never broken off."""
    return outcome(windows)


@pytest.fixture
def always(monkeypatch):
    """A checkpoint after every step."""
    monkeypatch.setattr(training, "_CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(training, "_CHECKPOINT_SHARE", 0)


def outcome(windows, config=CONFIG, make=Coupled, **settings):
    """Train anew, and return all numbers that must be equal."""
    model = make(windows, seed=config.seed)
    result = train(model, windows, config, **settings)
    curve = np.stack([column for name, column in result.curve.items() if name != "seconds"])
    return {
        **{name: value.numpy().copy() for name, value in model.state_dict().items()},
        "curve": curve,
        "best": np.array([result.best_epoch, *result.best_by.values()]),
    }


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


class Killed(BaseException):
    """Ends a training on the spot, as a kill does."""


def killed_at(step):
    """Return a model that is killed in its step `step`, counted from 0, of what it is asked to do."""

    class Mortal(Coupled):
        done = 0

        def loss(self, batch):
            if self.done == step:
                raise Killed
            self.done += 1
            return super().loss(batch)

    Mortal.__name__ = Mortal.__qualname__ = "Coupled"
    return Mortal


def test_writing_checkpoints_changes_nothing(windows, whole, always, tmp_path):
    assert_equal(outcome(windows, checkpoint=tmp_path / "c"), whole)
    assert [path.name for path in sorted((tmp_path / "c").iterdir())] == [
        f"{STEPS:09d}-0of1.json",
        f"{STEPS:09d}-0of1.safetensors",
    ]


@pytest.mark.parametrize("step", [0, 1, 5, PER_EPOCH - 1, PER_EPOCH, PER_EPOCH + 1, STEPS - 1])
def test_broken_off_in_any_step_and_resumed(windows, whole, always, tmp_path, step):
    with pytest.raises(Killed):
        outcome(windows, make=killed_at(step), checkpoint=tmp_path)
    assert len(list(tmp_path.glob("*.json"))) == (step > 0)
    assert_equal(outcome(windows, checkpoint=tmp_path, resume=True), whole)


def test_broken_off_again_and_again(windows, whole, always, tmp_path):
    for step in (3, 4, 6):
        with pytest.raises(Killed):
            outcome(windows, make=killed_at(step), checkpoint=tmp_path, resume=True)
    assert [path.stem[:9] for path in tmp_path.glob("*.json")] == [f"{3 + 4 + 6:09d}"]
    assert_equal(outcome(windows, checkpoint=tmp_path, resume=True), whole)


def test_within_the_minute_the_last_epochs_end_serves(windows, whole, monkeypatch, tmp_path):
    monkeypatch.setattr(training, "_CHECKPOINT_SHARE", 0)
    with pytest.raises(Killed):
        outcome(windows, make=killed_at(PER_EPOCH + 3), checkpoint=tmp_path)
    assert [path.stem[:9] for path in tmp_path.glob("*.json")] == [f"{PER_EPOCH:09d}"]
    assert_equal(outcome(windows, checkpoint=tmp_path, resume=True), whole)


def test_writing_takes_a_small_share_of_the_time(windows, monkeypatch, tmp_path):
    """Slow disk, short epochs: not every epoch is worth its checkpoint, but the last is."""
    written, write = [], Checkpoint.write

    def slow(self, step, *args):
        time.sleep(0.2)
        written.append(step)
        write(self, step, *args)

    monkeypatch.setattr(Checkpoint, "write", slow)
    outcome(windows, checkpoint=tmp_path)
    assert written == [PER_EPOCH, STEPS]


@pytest.mark.parametrize("call", range(1, 9))
@pytest.mark.parametrize("function", ["replace", "fsync", "unlink"])
def test_killed_while_writing(windows, whole, always, monkeypatch, tmp_path, function, call):
    """The kill comes between any two things done to the disk; what is half done does no harm."""
    owner = Path if function == "unlink" else os
    real, calls = getattr(owner, function), []

    def counted(*args, **settings):
        calls.append(args)
        if len(calls) >= call:  # nothing is cleaned up after a kill either
            raise Killed
        return real(*args, **settings)

    monkeypatch.setattr(owner, function, counted)
    with pytest.raises(Killed):
        outcome(windows, checkpoint=tmp_path)
    monkeypatch.setattr(owner, function, real)
    assert_equal(outcome(windows, checkpoint=tmp_path, resume=True), whole)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_half_written_pair_is_noticed_and_the_one_before_serves(windows, whole, always, monkeypatch, tmp_path):
    monkeypatch.setattr(Checkpoint, "keep_only", lambda self, step: None)
    with pytest.raises(Killed):
        outcome(windows, make=killed_at(11), checkpoint=tmp_path)
    monkeypatch.undo()
    newest = max(tmp_path.glob("*.safetensors"))
    assert newest.name.startswith(f"{11:09d}")
    newest.write_bytes(newest.read_bytes()[:-8] + b"somebody")
    seen = []
    monkeypatch.setattr(
        Checkpoint, "read", lambda self, step, read=Checkpoint.read: seen.append(step) or read(self, step)
    )
    assert_equal(outcome(windows, checkpoint=tmp_path, resume=True), whole)
    assert seen == [10]


def test_without_resume_it_starts_again(windows, whole, always, tmp_path):
    with pytest.raises(Killed):
        outcome(windows, make=killed_at(20), checkpoint=tmp_path)
    with pytest.raises(Killed):
        outcome(windows, make=killed_at(2), checkpoint=tmp_path)
    assert [path.stem[:9] for path in tmp_path.glob("*.json")] == [f"{2:09d}"]
    assert_equal(outcome(windows, checkpoint=tmp_path, resume=True), whole)


def test_resuming_what_is_finished_gives_it_again(windows, whole, tmp_path):
    outcome(windows, checkpoint=tmp_path)
    assert_equal(outcome(windows, make=killed_at(0), checkpoint=tmp_path, resume=True), whole)


def test_early_stopping_is_resumed_too(windows, tmp_path, always):
    config = TrainConfig(epochs=40, batch_size=100, learning_rate=0.3, schedule="constant", patience=2)
    expected = outcome(windows, config)
    steps = PER_EPOCH * expected["curve"].shape[1]
    assert 3 * PER_EPOCH <= steps < 40 * PER_EPOCH
    for step in (steps - PER_EPOCH - 2, steps + 1):
        folder = tmp_path / str(step)
        if step < steps:
            with pytest.raises(Killed):
                outcome(windows, config, killed_at(step), checkpoint=folder)
        else:
            outcome(windows, config, checkpoint=folder)
        assert_equal(outcome(windows, config, checkpoint=folder, resume=True), expected)


def test_a_resumption_is_told(windows, always, tmp_path):
    with pytest.raises(Killed):
        outcome(windows, make=killed_at(9), checkpoint=tmp_path)
    (path,) = tmp_path.glob("*.json")
    content = json.loads(path.read_text())
    content["software"]["torch"] = "1.0"
    content["facts"]["seconds"] += 1000
    path.write_text(json.dumps(content))
    model = Coupled(windows, seed=CONFIG.seed)
    result = train(model, windows, CONFIG, checkpoint=tmp_path, resume=True)
    (note,) = result.notes
    assert note.startswith("Resumed after step 9 of 24, where torch is ")
    assert "1.0 in the checkpoint" in note
    assert result.seconds > content["facts"]["seconds"] > 1000
    assert result.curve["seconds"][-1] > 1000
    assert train(Coupled(windows), windows, CONFIG).notes == ()


def test_the_files_are_plain(windows, tmp_path):
    outcome(windows, checkpoint=tmp_path)
    content = json.loads(next(tmp_path.glob("*.json")).read_text(), parse_constant=pytest.fail)
    assert content["step"] == STEPS
    assert len(content["facts"]["rows"]) == 3
    assert content["identity"]["data"][0]["neurons"] == 4
    tensors = load_file(next(tmp_path.glob("*.safetensors")))
    assert tensors["adam.exp_avg.matrices.1"].shape == (3, 3)
    assert sorted(tensors["order.0.order_0"].tolist()) == list(range(235))


def test_numbers_that_json_does_not_have_come_back(windows, tmp_path):
    facts = {"rows": [[1.0, math.nan, math.inf]], "score": -math.inf}
    store = Checkpoint(tmp_path, {})
    store.write(3, facts, {})
    back, _, _ = store.read(3)
    assert repr([[files.number(v) for v in row] for row in back["rows"]]) == repr(facts["rows"])
    assert files.number(back["score"]) == -math.inf
    for bad in ("1", None, True, "infinity", [1]):
        with pytest.raises(ValueError, match="not a number"):
            files.number(bad)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"config": TrainConfig(epochs=3, batch_size=100, learning_rate=0.01, schedule="one_cycle", seed=5)},
         r"config.learning_rate is 0.01 here and 0.03 in the checkpoint"),
        ({"make": lambda windows, seed: Coupled(windows, seed, drop=0.25)}, r"Dropout\(p=0.25 here"),
        ({"make": lambda windows, seed: Coupled(windows, seed, penalty=2.0)}, r"penalty=2.0 here and penalty=0.0"),
        ({"windows": sessions(320)}, r"data\[0\].samples is 320 here and 300"),
        ({"windows": sessions()[:1]}, "data is .*; model|model.*data"),
    ],
)  # fmt: skip
def test_a_checkpoint_of_another_fit_is_refused(windows, tmp_path, change, named):
    outcome(windows, checkpoint=tmp_path)
    with pytest.raises(InputError, match=named) as caught:
        outcome(**{"windows": windows, **change}, checkpoint=tmp_path, resume=True)
    assert str(tmp_path) in str(caught.value)
    assert "of another fit" in str(caught.value)
    assert len(list(tmp_path.iterdir())) == 2  # and left alone


@pytest.mark.parametrize("series", ["activity", "behavior", "targets"])
def test_one_other_number_in_the_data_is_noticed(windows, tmp_path, series):
    outcome(windows, checkpoint=tmp_path)
    other = sessions()
    if series == "targets":
        other[1].targets["validation"][0] += 1
    else:
        getattr(other[1], series)[100, 1] += 1e-3
    with pytest.raises(InputError, match=r"fit: data\[1\].sha256 is \w+… here and \w+… in the checkpoint\. Resume"):
        outcome(other, checkpoint=tmp_path, resume=True)


def test_which_device_was_asked_by_does_not_matter(windows, whole, tmp_path):
    outcome(windows, checkpoint=tmp_path)
    config = TrainConfig(**{**{k: getattr(CONFIG, k) for k in CONFIG.__dataclass_fields__}, "device": "cpu"})
    assert_equal(outcome(windows, config, checkpoint=tmp_path, resume=True), whole)


def test_other_numbers_of_processes_are_refused(windows, tmp_path):
    Checkpoint(tmp_path, {}, rank=1, size=2).write(3, {}, {})
    with pytest.raises(InputError, match="of 2 process"):
        outcome(windows, checkpoint=tmp_path, resume=True)


def _rewrite(folder, change_facts=None, change_tensors=None):
    """Change a checkpoint with its digest, as no accident does."""
    (path,) = folder.glob("*.json")
    content = json.loads(path.read_text())
    tensors = load_file(path.with_suffix(".safetensors"))
    if change_facts:
        change_facts(content["facts"])
    if change_tensors:
        change_tensors(tensors)
        save_file(tensors, path.with_suffix(".safetensors"))
        content["tensors"]["sha256"] = files._digest(path.with_suffix(".safetensors"))
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    "damage",
    [
        {"change_facts": lambda f: f["rows"].pop()},
        {"change_facts": lambda f: f["rows"][0].pop()},
        {"change_facts": lambda f: f["rows"][0].append("1e5")},
        {"change_facts": lambda f: f.pop("rows")},
        {"change_facts": lambda f: f.update(rows=3)},
        {"change_facts": lambda f: f["best_epoch"].update(mse=17)},
        {"change_facts": lambda f: f["best_epoch"].update(mse=None)},
        {"change_facts": lambda f: f.update(seconds="long")},
        {"change_facts": lambda f: f.update(best_score=[])},
        {"change_tensors": lambda t: t.pop("random.cpu")},
        {"change_tensors": lambda t: t.update({"random.cpu": torch.zeros(3)})},
        {"change_tensors": lambda t: t.update({"order.0.generator": torch.zeros(3, dtype=torch.uint8)})},
        {"change_tensors": lambda t: t.update({"order.0.positions": torch.tensor([-1, 0])})},
        {"change_tensors": lambda t: t.update({"order.0.positions": torch.tensor([10**9, 0])})},
        {"change_tensors": lambda t: t.update({"order.0.positions": torch.tensor([0])})},
        {"change_tensors": lambda t: t["order.0.order_1"].fill_(0)},
        {"change_tensors": lambda t: t.update({"order.0.order_1": torch.zeros(475)})},
        {"change_tensors": lambda t: t.pop("model.matrices.0")},
        {"change_tensors": lambda t: t.update({"model.matrices.0": torch.zeros(2, 2)})},
        {"change_tensors": lambda t: t.pop("best.matrices.0")},
        {"change_tensors": lambda t: t.update({"adam.exp_avg.matrices.0": torch.zeros(1)})},
        {"change_tensors": lambda t: t.pop("adam.exp_avg.matrices.0")},
        {"change_tensors": lambda t: t.update({"losses": torch.zeros(1)})},
    ],
)
def test_what_a_file_says_is_not_trusted(windows, tmp_path, damage):
    outcome(windows, checkpoint=tmp_path)
    _rewrite(tmp_path, **damage)
    with pytest.raises(InputError, match="the checkpoint cannot be read: ") as caught:
        outcome(windows, checkpoint=tmp_path, resume=True)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1}', "null", "\xff"])
@pytest.mark.parametrize("suffix", ["json", "safetensors"])
def test_damaged_files_are_told(windows, tmp_path, text, suffix):
    outcome(windows, checkpoint=tmp_path)
    next(tmp_path.glob(f"*.{suffix}")).write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=r"damaged.*Remove it to start again"):
        outcome(windows, checkpoint=tmp_path, resume=True)


def test_a_folder_that_cannot_be_written(windows, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        outcome(windows, checkpoint=tmp_path / "file" / "folder")


def test_a_full_disk_leaves_the_checkpoint_before(windows, whole, always, monkeypatch, tmp_path):
    calls = []

    def full(*args):
        calls.append(args)
        if len(calls) > 10:
            args[1].write_bytes(b"half")
            raise OSError(28, "No space left on device")
        return save_file(*args)

    monkeypatch.setattr(files, "save_file", full)
    with pytest.raises(InputError, match="No space left"):
        outcome(windows, checkpoint=tmp_path)
    monkeypatch.undo()
    assert len(list(tmp_path.iterdir())) == 2
    assert_equal(outcome(windows, checkpoint=tmp_path, resume=True), whole)


def test_tensors_that_share_memory_are_written(tmp_path):
    base = torch.arange(6.0)
    Checkpoint(tmp_path, {}).write(0, {}, {"a": base[:4], "b": base[2:], "c": base.view(2, 3).T, "d": base[:0]})
    _, tensors, _ = Checkpoint(tmp_path, {}).read(0)
    assert tensors["b"].tolist() == [2, 3, 4, 5]
    assert tensors["c"].tolist() == [[0, 3], [1, 4], [2, 5]]


def test_a_solver_has_no_checkpoint(windows, tmp_path):
    train(REFERENCES["mean"](windows), windows, checkpoint=tmp_path / "c", resume=True)
    assert not (tmp_path / "c").exists()


class Signalled(Coupled):
    """Gets Ctrl-C, once or twice, in a step."""

    def __init__(self, windows, seed=0, at=0, times=1):
        super().__init__(windows, seed)
        self.at, self.times, self.done = at, times, 0

    def loss(self, batch):
        for _ in range(self.times if self.done == self.at else 0):
            os.kill(os.getpid(), signal.SIGINT)
        self.done += 1
        return super().loss(batch)


Signalled.__name__ = Signalled.__qualname__ = "Coupled"


@pytest.mark.parametrize(("at", "rows"), [(2, 1), (PER_EPOCH + 2, 1), (PER_EPOCH - 1, 1), (2 * PER_EPOCH, 2)])
def test_ctrl_c_keeps_the_best_and_writes_where_it_stopped(windows, whole, tmp_path, at, rows):
    before = signal.getsignal(signal.SIGINT)
    result = train(Signalled(windows, CONFIG.seed, at=at), windows, CONFIG, checkpoint=tmp_path)
    assert signal.getsignal(signal.SIGINT) is before
    assert result.interrupted
    assert len(result.curve["epoch"]) == rows
    assert [path.stem[:9] for path in tmp_path.glob("*.json")] == [f"{at + 1:09d}"]
    assert_equal(outcome(windows, checkpoint=tmp_path, resume=True), whole)


def test_ctrl_c_in_the_last_step_is_too_late(windows, tmp_path):
    result = train(Signalled(windows, at=STEPS - 1), windows, CONFIG, checkpoint=tmp_path)
    assert not result.interrupted
    assert len(result.curve["epoch"]) == 3


def test_a_second_ctrl_c_does_not_wait(windows, whole, always, tmp_path):
    result = train(Signalled(windows, CONFIG.seed, at=11, times=2), windows, CONFIG, checkpoint=tmp_path)
    assert result.interrupted
    assert [path.stem[:9] for path in tmp_path.glob("*.json")] == [f"{11:09d}"]
    assert_equal(outcome(windows, checkpoint=tmp_path, resume=True), whole)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked here")
def test_killed_by_the_system(tmp_path):
    """`kill -9` of a real process at random moments, again and again, against one left in peace."""
    server = subprocess.Popen(
        [sys.executable, __file__],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def start(*arguments):
        print(json.dumps([str(each) for each in arguments]), file=server.stdin, flush=True)
        pid, begin = int(server.stdout.readline()), server.stdout.readline()
        assert begin == "begin\n"
        return pid

    seed = random.randrange(2**32)
    print(f"seed of the moments: {seed}")
    moments, steps = random.Random(seed), []
    with server:
        start(tmp_path / "left.safetensors")
        seconds = float(server.stdout.readline())
        assert server.stdout.readline() == "ended 0\n"
        for _ in range(4):
            pid = start(tmp_path / "killed.safetensors", tmp_path / "c")
            time.sleep(moments.uniform(0.05, 0.25) * seconds)
            os.kill(pid, signal.SIGKILL)
            assert server.stdout.readline() == f"ended {-signal.SIGKILL}\n"
            steps.append(max((int(path.stem[:9]) for path in (tmp_path / "c").glob("*.json")), default=0))
        assert not (tmp_path / "killed.safetensors").exists()
        start(tmp_path / "killed.safetensors", tmp_path / "c")
        server.stdout.readline()
        assert server.stdout.readline() == "ended 0\n"
        server.stdin.close()
    print(f"killed after steps {steps}")
    assert steps == sorted(steps)
    assert steps[-1] > 0
    found, expected = (load_file(tmp_path / f"{name}.safetensors") for name in ("killed", "left"))
    assert_equal(*({name: value.numpy() for name, value in each.items()} for each in (found, expected)))


class Telling(Coupled):
    """Says when its first step begins."""

    begin = None

    def loss(self, batch):
        if Telling.begin is None:
            Telling.begin = time.perf_counter()
            print("begin", flush=True)
        return super().loss(batch)


Telling.__name__ = Telling.__qualname__ = "Coupled"


def _be_killed(output, folder=None):
    """Train for some seconds, a third of them spent on checkpoints, and save all numbers."""
    training._CHECKPOINT_SECONDS, training._CHECKPOINT_SHARE = 0.0, 2
    config = TrainConfig(epochs=3, batch_size=8, learning_rate=0.01, seed=2)
    settings = {} if folder is None else {"checkpoint": Path(folder), "resume": True}
    found = outcome(sessions(1000), config, Telling, **settings)
    save_file({name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in found.items()}, output)
    print(time.perf_counter() - Telling.begin, flush=True)


def _serve():
    """For each line of arguments let a process of its own train, and tell how it ended."""
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            code = 1
            try:
                _be_killed(*json.loads(line))
                sys.stdout.flush()
                code = 0
            finally:
                os._exit(code)
        print(pid, flush=True)
        print("ended", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    _serve()
