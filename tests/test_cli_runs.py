"""The verbs about runs: list, remove, predict, and fit --replace."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import pytest
from click.testing import CliRunner, Result

from ndx_synapsnet import PaperNetworkConfig, read_result, simulate_paper_network, write_recording
from ndx_synapsnet.cli import fitting, main, remove
from ndx_synapsnet.experiment import load_config, run_digests
from ndx_synapsnet.nwb.readers import read_session
from ndx_synapsnet.nwb.results import list_runs
from ndx_synapsnet.nwb.sources import open_source

QUICK = ("--epochs", "1", "--device", "cpu")


def run(*arguments: str | Path, typed: str | None = None) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], input=typed, catch_exceptions=False)


def told(result: Result) -> str:
    return " ".join(result.output.split())


def runs_of(path: Path) -> list[str]:
    with open_source(path) as opened:
        return list_runs(opened.nwbfile)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording with a run in it."""
    path = tmp_path_factory.mktemp("original") / "mouse.nwb"
    made = simulate_paper_network(PaperNetworkConfig(n_neurons=30, n_recorded=10, n_samples=1000))
    write_recording(made.session, path, truth=made.truth)
    assert run("fit", path, "--in-place", *QUICK).exit_code == 0
    return path


@pytest.fixture
def fitted(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(original, tmp_path / "mouse.nwb"))


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may be fitted."""

    def never(*_: object, **__: object) -> None:
        raise AssertionError("a fit was begun")

    monkeypatch.setattr(fitting, "fit_held", never)


# --- fit --replace ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("untrained")
def test_the_same_fit_is_refused_before_it_is_begun(fitted: Path) -> None:
    before = fitted.read_bytes()
    for extra in ((), ("--each",), ("--name", "other"), ("--device", "cpu", "--adapter", "spikes")):
        refused = run("fit", fitted, "--in-place", *QUICK, *extra)
        assert refused.exit_code == 2
        assert "holds this run already: 'synapsnet'" in told(refused)
        assert "--replace" in told(refused)
    taken = run("fit", fitted, "--in-place", *QUICK, "--seed", "3", "--name", "synapsnet")
    assert taken.exit_code == 2
    assert "replace that run by --replace" in told(taken)
    assert fitted.read_bytes() == before


def test_replace_fits_again_and_takes_the_place(fitted: Path) -> None:
    before = read_result(fitted)
    again = run("fit", fitted, "--in-place", *QUICK, "--replace")
    assert again.exit_code == 0, again.output
    assert "run synapsnet, in the place of an earlier one" in told(again)
    assert runs_of(fitted) == ["synapsnet"]
    after = read_result(fitted)
    assert after.run_id != before.run_id
    assert (after.forecast, after.connectivity) == (before.forecast, before.connectivity)  # the same seed


def test_a_file_beside_is_replaced_in(fitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    beside = tmp_path / "result.nwb"
    assert run("fit", fitted, "-o", beside, *QUICK, "--replace").exit_code == 0
    first = read_result(beside).run_id
    replaced = run("fit", fitted, "-o", beside, *QUICK, "--replace")
    assert replaced.exit_code == 0, replaced.output
    assert read_result(beside).run_id != first
    monkeypatch.setattr(fitting, "fit_held", None)  # nothing may be fitted
    other = run("fit", fitted, "-o", beside, *QUICK, "--replace", "--seed", "9")
    assert other.exit_code == 2
    assert "holds no run to be replaced" in told(other)


def test_the_digest_before_a_fit_is_that_of_the_run(original: Path) -> None:
    listed = json.loads(run("list", original, "--json").output)
    (record,) = listed["files"][0]["runs"]
    training = {"epochs": 1, "min_steps": 0, "max_steps": None, "patience": None}
    config = load_config(overrides={"train": training})
    assert run_digests([read_session(original)], config) == [record["digest"]]


# --- list ------------------------------------------------------------------------------------------------------------


def test_list_tells_what_files_hold(fitted: Path, tmp_path: Path) -> None:
    empty = tmp_path / "nothing.nwb"
    write_recording(simulate_paper_network(PaperNetworkConfig(n_neurons=9, n_recorded=3, n_samples=50)).session, empty)
    text = run("list", fitted, empty)
    assert text.exit_code == 0
    result = read_result(fitted)
    for words in ("synapsnet", result.provenance["finished"][:10], result.verdict, "KiB", f"{empty}: no run"):
        assert words in told(text)
    listed = json.loads(run("list", tmp_path / "*.nwb", "--json").output)["files"]
    assert [(Path(each["file"]).name, len(each["runs"])) for each in listed] == [("mouse.nwb", 1), ("nothing.nwb", 0)]
    (record,) = listed[0]["runs"]
    assert record["digest"][:12] in told(text)
    assert record["mse"] == pytest.approx(float(result.scores["synapsnet"].mse.mean()), rel=1e-5)
    assert record["neurons"] == len(result.neurons)


# --- remove ----------------------------------------------------------------------------------------------------------


def test_remove_takes_a_run_out_and_says_what_became_of_the_file(fitted: Path) -> None:
    removed = run("remove", fitted, "synapsnet", "--yes")
    assert removed.exit_code == 0, removed.output
    assert "processing/ecephys/synapsnet" in told(removed)  # known wiring is in the same module, which stays
    assert ("smaller" in told(removed)) or ("keeps its size" in told(removed))
    assert runs_of(fitted) == []
    assert read_session(fitted).n_neurons == 10
    assert run("show", fitted).exit_code == 2


def test_remove_asks_and_where_nobody_is_refuses(fitted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = fitted.read_bytes()
    refused = run("remove", fitted, "synapsnet")
    assert (refused.exit_code, "Add --yes" in told(refused)) == (2, True)
    monkeypatch.setattr(remove, "_is_terminal", lambda: True)
    kept = run("remove", fitted, "synapsnet", typed="n\n")
    assert (kept.exit_code, "Remove run synapsnet (" in told(kept)) == (1, True)
    assert fitted.read_bytes() == before
    assert run("remove", fitted, "synapsnet", typed="y\n").exit_code == 0
    assert runs_of(fitted) == []


def test_remove_knows_what_is_no_run(fitted: Path) -> None:
    unknown = run("remove", fitted, "other", "--yes")
    assert (unknown.exit_code, "Its runs: synapsnet" in told(unknown)) == (2, True)
    with open_source(fitted) as opened:
        (wiring,) = set(opened.nwbfile.processing["ecephys"].data_interfaces) - {"synapsnet"}
    known = run("remove", fitted, wiring, "--yes")
    assert (known.exit_code, "is known wiring, and no run" in told(known)) == (2, True)


# --- predict ---------------------------------------------------------------------------------------------------------


def test_predict_reproduces_and_writes_all_samples(fitted: Path, tmp_path: Path) -> None:
    new = tmp_path / "all.nwb"
    result = run("predict", fitted, "--device", "cpu", "-o", new, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert found["reproduced"]
    assert found["difference"] <= 1e-5
    stored, everything = read_result(fitted), read_result(new)
    assert len(everything.forecast.index) > 5 * len(stored.forecast.index)
    assert everything.forecast.currents is not None
    both = [list(everything.forecast.index).index(place) for place in stored.forecast.index]
    difference = (everything.forecast.values[both] - stored.forecast.values) / stored.normalization.activity_std
    assert abs(difference).max() <= 1e-5
    assert everything.connectivity == stored.connectivity
    again = run("predict", new, "--source", fitted, "--device", "cpu")
    assert (again.exit_code, "Largest difference" in told(again)) == (0, True)
    taken = run("predict", fitted, "-o", new)
    assert (taken.exit_code, "is there already" in told(taken)) == (2, True)


def test_predict_says_when_it_does_not_reproduce(fitted: Path) -> None:
    with h5py.File(fitted, "r+") as file:
        file["processing/ecephys/synapsnet/forecast/data"][0, 0] += 1
    result = run("predict", fitted, "--device", "cpu")
    assert (result.exit_code, "it does not reproduce" in told(result)) == (1, True)


def test_predict_refuses_weights_that_were_changed(fitted: Path) -> None:
    with h5py.File(fitted, "r+") as file:
        file["processing/ecephys/synapsnet/provenance/decoder_weights"][-1] ^= 1
    result = run("predict", fitted, "--device", "cpu")
    assert result.exit_code == 2
    for words in (str(fitted), "/processing/ecephys/synapsnet/provenance", "do not match their SHA-256", "good copy"):
        assert words in told(result)


def test_predict_needs_the_recording(fitted: Path, tmp_path: Path) -> None:
    beside = tmp_path / "beside.nwb"
    assert run("predict", fitted, "--device", "cpu", "-o", beside).exit_code == 0
    with h5py.File(beside, "r+") as file:
        record = file["processing/ecephys/synapsnet/provenance/record"]
        record[()] = record[()].decode().replace(json.loads(record[()])["source"]["uri"], "/nowhere/lost.nwb")
    refused = run("predict", beside)
    assert (refused.exit_code, "/nowhere/lost.nwb: there is no such file" in told(refused)) == (2, True)
    assert run("predict", beside, "--source", fitted, "--device", "cpu").exit_code == 0


@pytest.mark.parametrize("verb", ["list", "remove", "predict"])
def test_every_verb_has_help_with_an_example(verb: str) -> None:
    text = run(verb, "--help").output
    assert "Example" in text
    assert f"ndx-synapsnet {verb}" in text
