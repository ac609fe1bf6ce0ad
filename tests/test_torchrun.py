"""A fit under torchrun: two processes share the recordings, and give what one process gives."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from ndx_synapsnet import PaperNetworkConfig, read_result, simulate_paper_network, write_recording
from ndx_synapsnet.errors import InputError
from ndx_synapsnet.experiment import ExperimentConfig, fit, load_config, sessions_held
from ndx_synapsnet.learn.distributed import World
from ndx_synapsnet.session import Session
from torchrun import COMMAND, ENVIRONMENT, needs_gloo, run_ranks

NAMES = ("a", "b", "c")
#: What begins the name of each one's result: the subject and session in it.
RESULTS = {name: f"sub-simulated_ses-simulation-{seed}" for seed, name in enumerate(NAMES)}
SIZES = ((12, 700), (9, 1000), (15, 600))
QUICK = "train: {min_steps: 0, max_steps: null, epochs: 2, device: cpu}\n"
LONG = "train: {min_steps: 0, max_steps: null, epochs: 100000, device: cpu, schedule: constant}\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three recordings, two settings, and one recording that is too short."""
    place = tmp_path_factory.mktemp("recordings")
    for seed, (name, (n, t)) in enumerate(zip((*NAMES, "short"), (*SIZES, (8, 12)), strict=True)):
        network = PaperNetworkConfig(n_neurons=3 * n, n_recorded=n, n_samples=t, seed=seed)
        write_recording(simulate_paper_network(network).session, place / f"{name}.nwb")
    (place / "quick.yaml").write_text(QUICK)
    (place / "long.yaml").write_text(LONG)
    return place


def arguments(folder: Path, out: str, *more: str, names: Sequence[str] = NAMES, settings: str = "quick") -> list[str]:
    uris = [str(folder / f"{name}.nwb") for name in names]
    return ["fit", *uris, "-o", str(folder / out), "--config", str(folder / f"{settings}.yaml"), *more]


def together(*words: str) -> subprocess.CompletedProcess[str]:
    return run_ranks("-m", "ndx_synapsnet.cli", *words)


def result(folder: Path, out: str, name: str, ending: str = ""):
    return read_result(folder / out / f"{RESULTS[name]}_desc-synapsnet{ending}.nwb")


@needs_gloo
def test_two_processes_give_what_one_gives(folder: Path) -> None:
    done = together(*arguments(folder, "two", "--spill", "--store", "all"))
    assert done.returncode == 0, done.stderr
    # one process speaks, and of all sessions
    assert done.stdout.count("Session(") == 3
    assert done.stdout.count("predictor") == 3
    assert [done.stdout.count(f"{name}_desc-synapsnet.nwb, run synapsnet") for name in RESULTS.values()] == [1, 1, 1]
    assert sorted(path.name for path in (folder / "two").iterdir()) == [
        f"{name}_desc-synapsnet.nwb" for name in RESULTS.values()
    ]

    (folder / "same.yaml").write_text(QUICK.replace("train: {", "train: {sessions_per_step: 2, "))
    command = [sys.executable, "-m", "ndx_synapsnet.cli", *arguments(folder, "one", "--store", "all", settings="same")]
    subprocess.run(command, env=ENVIRONMENT, capture_output=True, check=True, timeout=200)
    found, expected = ([result(folder, out, name) for name in NAMES] for out in ("two", "one"))
    assert len({each.run_id for each in found}) == 1
    for a, b in zip(found, expected, strict=True):
        assert a.config == b.config  # the weight of the penalty that was chosen too
        assert a.config["train"]["sessions_per_step"] == 2
        assert "raised from 1 to 2" in a.provenance["notes"][0]
        assert not any("raised" in note for note in b.provenance["notes"])
        assert a.provenance["sessions_in_run"] == b.provenance["sessions_in_run"]
        assert a.provenance["set_aside"] == b.provenance["set_aside"]
        assert a.normalization == b.normalization
        np.testing.assert_allclose(a.forecast.values, b.forecast.values, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(a.embeddings, b.embeddings, rtol=1e-4, atol=1e-5)
        for name in b.connectivity:
            np.testing.assert_allclose(a.connectivity[name].weights, b.connectivity[name].weights, rtol=1e-3, atol=1e-5)
        for name in set(b.training) - {"seconds"}:
            np.testing.assert_allclose(a.training[name], b.training[name], rtol=1e-4, err_msg=name)
        for name in b.weights:
            np.testing.assert_allclose(a.weights[name], b.weights[name], rtol=1e-3, atol=1e-5)
        for name in b.scores:
            np.testing.assert_allclose(a.scores[name].mse, b.scores[name].mse, rtol=1e-4)


@needs_gloo
def test_a_fault_in_one_process_ends_all_and_is_told_once(folder: Path) -> None:
    done = together(*arguments(folder, "never", names=("a", "short")))
    assert done.returncode != 0
    assert done.stderr.count("error: ") == 1
    assert "short.nwb: too short" in done.stderr
    assert done.stderr.count("exitcode  : 2 ") >= 1
    assert "RuntimeError" not in done.stderr
    assert list((folder / "never").iterdir()) == []


@needs_gloo
def test_killed_processes_go_on_to_the_identical_result_and_print_json(folder: Path) -> None:
    settings = folder / "killed.yaml"
    settings.write_text("train: {min_steps: 0, max_steps: null, epochs: 30, device: cpu}\n")
    words = arguments(folder, "killed", names=("a", "b"), settings="killed")
    command = [*COMMAND, "-m", "ndx_synapsnet.cli", *words]
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while len(list((folder / "killed").rglob("*-?of2.json"))) < 2:
            assert process.poll() is None
            time.sleep(0.02)
        for child in children(process.pid):
            os.kill(child, signal.SIGKILL)
        process.communicate(timeout=60)
    assert not list((folder / "killed").glob("*.nwb"))
    refused = together(*words)
    assert refused.returncode != 0
    assert refused.stderr.count("an earlier fit was stopped here") == 1
    resumed = together(*words, "--resume", "--json")
    assert resumed.returncode == 0, resumed.stderr
    told = json.loads(resumed.stdout)
    assert [Path(run["source"]).stem for run in told["runs"]] == ["a", "b"]
    assert told["interrupted"] is False
    assert any(note.startswith("Resumed after step") for note in told["runs"][1]["provenance"]["notes"])
    assert not list((folder / "killed").glob("*.checkpoint"))
    whole = together(*arguments(folder, "whole", names=("a", "b"), settings="killed"))
    assert whole.returncode == 0, whole.stderr
    for name in ("a", "b"):
        a, b = (result(folder, out, name) for out in ("killed", "whole"))
        np.testing.assert_array_equal(a.forecast.values, b.forecast.values)
        np.testing.assert_array_equal(a.connectivity["raw"].weights, b.connectivity["raw"].weights)


def children(parent: int) -> list[int]:
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    return [int(pid) for pid, ppid in (line.split() for line in listed.splitlines()) if int(ppid) == parent]


@needs_gloo
def test_ctrl_c_keeps_the_best_epoch_of_all_sessions(folder: Path) -> None:
    words = arguments(folder, "stopped", names=("a", "b"), settings="long")
    command = [*COMMAND, "-m", "ndx_synapsnet.cli", *words]
    with subprocess.Popen(
        command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        while len(list((folder / "stopped").rglob("*-?of2.json"))) < 2:
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)  # torchrun passes it on
        out, errors = process.communicate(timeout=100)
    assert process.returncode != 0
    assert errors.count("run the same command again with --resume") == 1, errors
    assert out.count("Written: ") == 2
    first, second = (result(folder, "stopped", name, "-interrupted") for name in ("a", "b"))
    assert first.run_id == second.run_id
    assert first.provenance["interrupted"] is True
    assert (folder / "stopped" / f"{RESULTS['a']}_desc-synapsnet.checkpoint").is_dir()


@pytest.fixture(scope="module")
def sessions() -> list[Session]:
    networks = [PaperNetworkConfig(n_neurons=3 * n, n_recorded=n, n_samples=t) for n, t in SIZES]
    return [simulate_paper_network(network).session for network in networks]


def test_sessions_are_held_by_one_process_each(sessions: list[Session]) -> None:
    config = load_config()
    assert sessions_held(sessions, config, World()) == [0, 1, 2]
    assert [sessions_held(sessions, config, World(rank, 2)) for rank in (0, 1)] == [[1], [0, 2]]
    with pytest.raises(InputError, match=r"4 processes for 3 session\(s\)"):
        sessions_held(sessions, config, World(0, 4))


def test_processes_not_started_by_torchrun_are_told(sessions: list[Session], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(InputError, match=r"do not find each other .*RANK.*torchrun"):
        fit(sessions, load_config(overrides={"train": {"device": "cpu"}}))


def _twice(folder: Path) -> None:
    """What a script of a person's own does: fit, and fit again."""
    networks = [PaperNetworkConfig(n_neurons=3 * n, n_recorded=n, n_samples=t) for n, t in SIZES]
    sessions = [simulate_paper_network(network).session for network in networks]
    train = {"epochs": 1, "min_steps": 0, "max_steps": None, "device": "cpu"}
    config: ExperimentConfig = load_config(overrides={"train": train})
    results = [fit(sessions, config, progress=False) for _ in range(2)]
    np.testing.assert_array_equal(results[0][0].forecast.values, results[1][0].forecast.values)
    facts = [[each.run_id, len(each.neurons)] for again in results for each in again]
    (folder / f"{os.environ['RANK']}.json").write_text(json.dumps(facts))


@needs_gloo
def test_fit_in_a_script_shares_the_sessions_each_time(tmp_path: Path) -> None:
    done = run_ranks(__file__, str(tmp_path))
    assert done.returncode == 0, done.stderr
    zero, one = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert [n for _, n in zero] == [9, 9]
    assert [n for _, n in one] == [12, 15, 12, 15]
    ids = [run for run, _ in (*zero[:1], *one[:2])], [run for run, _ in (*zero[1:], *one[2:])]
    assert [len(set(each)) for each in ids] == [1, 1]
    assert ids[0] != ids[1]


if __name__ == "__main__":
    _twice(Path(sys.argv[1]))
