"""The command line as a person uses it, each verb on a small simulated recording."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from pynwb import NWBHDF5IO

from ndx_synapsnet import PaperNetworkConfig, read_result, read_session, simulate_paper_network, write_recording
from ndx_synapsnet.cli import main

QUICK = ["--epochs", "1", "--config"]
#: What a result of the recording is called: by the subject and session that it names.
RESULT = "sub-simulated_ses-simulation-0_desc-synapsnet.nwb"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("settings") / "quick.yaml"
    path.write_text("train: {min_steps: 0, epochs: 1}\n")
    return path


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("original") / "mouse.nwb"
    simulation = simulate_paper_network(PaperNetworkConfig(n_neurons=36, n_recorded=12, n_samples=1500))
    write_recording(simulation.session, path, truth=simulation.truth)
    return path


@pytest.fixture
def recording(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(original, tmp_path / "mouse.nwb"))


@pytest.mark.parametrize("verb", ["demo", "inspect", "fit", "show", "plot"])
def test_every_verb_has_help_with_an_example(verb: str) -> None:
    text = run(verb, "--help").output
    assert "Example" in text
    assert f"ndx-synapsnet {verb}" in text


def test_demo_does_it_all(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    result = run("demo", folder, "--neurons", "30", "--samples", "1200", "--epochs", "1")
    assert result.exit_code == 0, result.output
    assert {path.name for path in folder.iterdir()} == {
        "demo.nwb", "connectivity.png", "traces.png", "scores.png", "training.png", "wiring.png", "recovery.png",
    }  # fmt: skip
    for word in ("SynapsNet", "ridge VAR", "lag-1 correlation", "persistence", "AUROC"):
        assert word in result.output
    assert len(read_result(folder / "demo.nwb").neurons) <= 10
    again = run("demo", folder)
    assert again.exit_code == 2
    assert "is there already" in again.output


def test_inspect_names_what_is_there_and_what_a_fit_costs(recording: Path) -> None:
    text = run("inspect", recording).output
    for word in ("spikes: 12 neurons", "behavior_0", "/units", "A fit with the default recipe would take about"):
        assert word in text
    offered = json.loads(run("inspect", recording, "--json").output)
    assert offered["n_neurons"] == 12
    assert offered["estimate"]["seconds"] > 0


def test_fit_writes_beside_the_recording_and_leaves_it_alone(recording: Path, settings: Path) -> None:
    before = digest(recording)
    result = run("fit", recording, "--config", settings)
    assert result.exit_code == 0, result.output
    assert digest(recording) == before
    beside = recording.with_name(RESULT)
    assert str(beside) in result.output.replace("\n", "")
    assert len(read_result(beside).split) == 1500
    refused = run("fit", recording, "--config", settings)
    assert refused.exit_code == 2
    assert "is there already" in refused.output


def test_fit_in_place_twice_gives_two_runs_and_show_prints_both(recording: Path, settings: Path) -> None:
    for seed in (0, 1):
        result = run("fit", recording, "--in-place", "--config", settings, "--seed", seed)
        assert result.exit_code == 0, result.output
    text = run("show", recording).output
    assert "Run synapsnet" in text
    assert "Run synapsnet_2" in text
    assert "Strongest connections" in text
    assert "persistence" in text
    listed = json.loads(run("show", recording, "--json").output)
    assert [item["run"] for item in listed["runs"]] == ["synapsnet", "synapsnet_2"]
    assert np.isfinite(listed["runs"][0]["scores"]["synapsnet"]["mse"])
    assert read_session(recording).n_neurons == 12  # the recording in it is still read as before


def test_fit_several_into_a_folder(recording: Path, settings: Path, tmp_path: Path) -> None:
    second = Path(shutil.copy(recording, tmp_path / "mouse2.nwb"))
    result = run("fit", recording, second, "-o", tmp_path / "out", "--config", settings, "--json")
    assert result.exit_code == 0, result.output
    runs = json.loads(result.output)["runs"]
    assert [Path(item["file"]).name for item in runs] == ["mouse_desc-synapsnet.nwb", "mouse2_desc-synapsnet.nwb"]
    first, other = (read_result(item["file"]) for item in runs)
    assert first.run_id == other.run_id


def test_plot_with_and_without_the_recording(recording: Path, settings: Path, tmp_path: Path) -> None:
    run("fit", recording, "-o", tmp_path / "result.nwb", "--config", settings)
    result = run("plot", tmp_path / "result.nwb", "-o", tmp_path / "pictures")
    assert result.exit_code == 0, result.output
    assert {"network.png", "raster.png", "traces.png"} <= {path.name for path in (tmp_path / "pictures").iterdir()}
    recording.rename(tmp_path / "elsewhere.nwb")
    result = run("plot", tmp_path / "result.nwb", "-o", tmp_path / "more")
    assert result.exit_code == 0
    assert "without the recording" in result.output
    result = run("plot", tmp_path / "result.nwb", "-o", tmp_path / "again", "--source", tmp_path / "elsewhere.nwb")
    assert "without the recording" not in result.output


def test_an_in_place_result_is_drawn_after_the_file_moved(recording: Path, settings: Path, tmp_path: Path) -> None:
    run("fit", recording, "--in-place", "--config", settings)
    moved = recording.rename(tmp_path / "moved.nwb")
    result = run("plot", moved)
    assert result.exit_code == 0, result.output
    assert "without the recording" not in result.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fit", "nothing.nwb"], "nothing.nwb"),
        (["inspect", "nothing.nwb"], "nothing.nwb"),
        (["show", "nothing.nwb"], "nothing.nwb"),
        (["plot", "nothing.nwb"], "nothing.nwb"),
        (["fit", "{recording}", "--recipe", "best"], "Known recipes"),
        (["fit", "{recording}", "--decoder", "mamba"], "gru"),
        (["fit", "{recording}", "--bin-width", "-1"], "bin_width"),
        (["fit", "{recording}", "--behavior", "tail"], "tail"),
        (["fit", "{recording}", "--epoch", "blinks"], "blinks"),
        (["fit", "{recording}", "--device", "abacus"], "abacus"),
        (["fit", "{recording}", "--seed", "99999999999999999999"], "--seed"),
        (["demo", "{recording}", "--seed", "-1"], "--seed"),
        (["show", "{recording}"], "no fit"),
        (["show", "{recording}", "--run", "mine"], "no fit"),
    ],
)
def test_bad_input_ends_with_2_and_a_sentence(recording: Path, arguments: list[str], words: str) -> None:
    result = run(*(argument.format(recording=recording) for argument in arguments))
    assert result.exit_code == 2
    assert words in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("option", "setting"),
    [("--bin-width", "bin_width"), ("--rate", "rate")],
)
def test_a_zero_is_taken_as_given(recording: Path, option: str, setting: str) -> None:
    result = run("fit", recording, option, "0")
    assert result.exit_code == 2
    assert f"{setting} is 0.0, expected more than 0" in result.output


def test_a_start_and_a_hold_of_zero_are_kept(recording: Path, settings: Path) -> None:
    result = run("fit", recording, "--config", settings, "--start", "0", "--max-hold", "0", "--json")
    assert result.exit_code == 0, result.output
    read = json.loads(result.output)["runs"][0]["provenance"]["source"]["read_config"]
    assert (read["start"], read["max_hold"]) == (0, 0)


def test_epochs_are_kept_to_whatever_the_recipe_says_of_steps(recording: Path) -> None:
    result = run("fit", recording, "--epochs", "2", "--json")
    assert result.exit_code == 0, result.output
    (fitted,) = json.loads(result.output)["runs"]
    assert fitted["config"]["train"] | {"epochs": 2, "min_steps": 0, "max_steps": None} == fitted["config"]["train"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-o", "{folder}/result.txt"], "End it in .nwb or .zarr"),
        (["-o", "{folder}/result.nwb", "--name", "a/b"], "cannot be called"),
        (["--in-place", "--name", "ground_truth"], "mouse.nwb: the file has something called 'ground_truth'"),
        (["--pictures", "{recording}"], "cannot be made"),
    ],
)
def test_what_would_keep_a_result_from_being_written_is_told_before_the_fit(
    recording: Path, arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ndx_synapsnet.experiment.fit", lambda *_: pytest.fail("fitted first"))
    result = run("fit", recording, *(each.format(folder=recording.parent, recording=recording) for each in arguments))
    assert result.exit_code == 2
    assert words in result.output


@pytest.mark.parametrize("place", [["--in-place"], []])
def test_a_folder_that_cannot_be_written_to_is_told_before_the_fit(
    recording: Path, place: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ndx_synapsnet.experiment.fit", lambda *_: pytest.fail("fitted first"))
    # permissions do not bind the superuser, whom tests may run as
    allowed = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != recording.parent and allowed(path, mode))
    result = run("fit", recording, *place)
    assert result.exit_code == 2
    assert "cannot be written to" in result.output


def test_a_write_protected_recording_is_refused_before_the_fit(
    recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ndx_synapsnet.experiment.fit", lambda *_: pytest.fail("fitted first"))
    recording.chmod(0o444)
    result = run("fit", recording, "--in-place")
    assert result.exit_code == 2
    assert "write-protected" in result.output


def test_a_recording_given_as_an_address_is_written_to_as_well(
    recording: Path, settings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for place in ([], ["--in-place"]):
        result = run("fit", recording.as_uri(), "--config", settings, *place)
        assert result.exit_code == 0, result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mouse.nwb", RESULT]


def test_the_ablation_without_connectivity_is_drawn_and_shown(recording: Path, settings: Path, tmp_path: Path) -> None:
    out = tmp_path / "result.nwb"
    result = run("fit", recording, "-o", out, "--config", settings, "--without", "connectivity", "--pictures", tmp_path)
    assert result.exit_code == 0, result.output
    assert "NOT TO BE READ" not in run("show", out).output


def test_ctrl_c_while_training_leaves_the_recording_alone(recording: Path, tmp_path: Path) -> None:
    """A real process, a real signal: the best epoch so far goes into a file beside the recording."""
    before = digest(recording)
    settings = tmp_path / "long.yaml"
    settings.write_text("train: {min_steps: 0, epochs: 100000, max_steps: null, schedule: constant}\n")
    command = [
        sys.executable,
        "-m",
        "ndx_synapsnet.cli",
        "fit",
        str(recording),
        "--in-place",
        "--config",
        str(settings),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        assert "mouse.nwb" in process.stdout.readline()  # reading is done
        checkpoint, patience = tmp_path / "mouse_desc-synapsnet.checkpoint", time.monotonic() + 120
        while not list(checkpoint.glob("*/*.json")) and time.monotonic() < patience:  # an epoch is done
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "run the same command again with --resume" in errors
    assert digest(recording) == before
    kept = read_result(recording.with_name("mouse_desc-synapsnet-interrupted.nwb"))
    assert kept.provenance["interrupted"] is True
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "long.yaml",
        "mouse.nwb",
        "mouse_desc-synapsnet-interrupted.nwb",
        "mouse_desc-synapsnet.checkpoint",
    ]
    refused = run("fit", recording, "--in-place", "--config", settings)
    assert refused.exit_code == 2
    assert "--resume" in refused.output


def test_a_killed_fit_goes_on_to_the_identical_result(recording: Path, tmp_path: Path) -> None:
    settings = tmp_path / "long.yaml"
    settings.write_text("train: {min_steps: 0, epochs: 60, max_steps: null}\n")
    command = [sys.executable, "-m", "ndx_synapsnet.cli", "fit", str(recording), "--config", str(settings), "-o"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    checkpoint = tmp_path / "killed.checkpoint"
    with subprocess.Popen([*command, str(tmp_path / "killed.nwb")], env=environment) as process:
        while not list(checkpoint.rglob("*.json")):
            assert process.poll() is None
            time.sleep(0.02)
        process.kill()
    assert not (tmp_path / "killed.nwb").exists()
    for arguments in (["killed.nwb", "--resume"], ["whole.nwb"]):
        subprocess.run([*command, *arguments], env=environment, check=True, capture_output=True, cwd=tmp_path)
    resumed, whole = (read_result(tmp_path / f"{name}.nwb") for name in ("killed", "whole"))
    np.testing.assert_array_equal(resumed.forecast.values, whole.forecast.values)
    np.testing.assert_array_equal(resumed.connectivity["raw"].weights, whole.connectivity["raw"].weights)
    assert not checkpoint.exists()


@pytest.mark.parametrize("option", [[], ["--spill"], ["--no-spill"]])
def test_series_that_would_fill_half_of_the_memory_are_kept_in_files(
    recording: Path, settings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: list[str]
) -> None:
    """A recording takes 12 x 1500 x 8 bytes; with room for one and a half the second begins it."""
    from ndx_synapsnet import memory

    monkeypatch.setattr(memory, "available_memory", lambda: 3 * 12 * 1500 * 8)
    kept, spilled = [], memory.spilled

    def watched(session: object, folder: Path) -> object:
        kept.append(folder)
        return spilled(session, folder)

    monkeypatch.setattr(memory, "spilled", watched)
    second = Path(shutil.copy(recording, tmp_path / "mouse2.nwb"))
    result = run("fit", recording, second, "-o", tmp_path / "out", "--config", settings, *option)
    assert result.exit_code == 0, result.output
    assert len(kept) == (0 if option == ["--no-spill"] else 2)
    assert result.output.count("would fill half of the memory") == (not option)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "mouse2_desc-synapsnet.nwb",
        "mouse_desc-synapsnet.nwb",
    ]


def test_a_file_open_for_writing_elsewhere_is_refused(recording: Path, settings: Path) -> None:
    with NWBHDF5IO(recording, "r+"):
        result = run("fit", recording, "--in-place", "--config", settings)
    assert result.exit_code == 2
    assert "mouse.nwb" in result.output


@pytest.mark.parametrize("recipe", ["default", "fast", "paper"])
def test_every_recipe_takes_every_decoder(recording: Path, settings: Path, tmp_path: Path, recipe: str) -> None:
    """A transformer has no state to run on along stretches."""
    path = tmp_path / "result.nwb"
    result = run(
        "fit", recording, "-o", path, "--recipe", recipe, "--decoder", "transformer", "--epochs", "1",
        "--config", settings,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    config = read_result(path).config
    assert (config["model"]["decoder"], config["model"]["context"]) == ("transformer", "window")
