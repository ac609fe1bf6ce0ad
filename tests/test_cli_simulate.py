"""The verb that simulates recordings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from pynwb import NWBHDF5IO

from ndx_synapsnet import read_session
from ndx_synapsnet.cli import main
from ndx_synapsnet.cli.simulate import KINDS
from ndx_synapsnet.simulate import SIMULATORS, CoupledGLMConfig, Simulator


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["simulate", *map(str, arguments)], catch_exceptions=False)


def test_the_kinds_are_those_there_are() -> None:
    assert tuple(SIMULATORS) == KINDS
    text = run("--help").output
    assert all(kind in text for kind in KINDS)
    assert "Example" in text
    assert "ndx-synapsnet simulate" in text


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_with_its_wiring(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "new" / f"{kind}.nwb"
    sizes = ("--neurons", "18", "--samples", "120", "--seed", "5", "--set", "burn_in=20", "--set", "density=0.3")
    result = run(kind, "-o", path, *sizes)
    assert result.exit_code == 0, result.output
    for words in ("18 neurons, 6 recorded", "true connections", "mean rates", str(path)):
        assert words in result.output.replace("\n", "")
    found = read_session(path)
    expected = SIMULATORS[kind](n_neurons=18, n_recorded=6, n_samples=120, seed=5, burn_in=20, density=0.3)
    assert np.array_equal(found.activity, expected.session.activity)
    with NWBHDF5IO(path, "r") as io:
        fit = io.read().processing[found.modality]["ground_truth"]
        assert np.array_equal(fit.functional_connectivitys["ground_truth"].weights[:], expected.truth.weights)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--neurons", "10", "--recorded", "11"), "n_recorded is 11"),
        (("--set", "weather=3"), "unknown setting weather"),
        (("--set", "density"), "not NAME=VALUE"),
        (("--set", "density=thick"), "expected a number"),
        (("--samples", "10", "--set", "n_samples=20"), "given twice"),
        (("--seed", "1", "--set", "seed=2"), "seed is given twice"),
        (("--set", "delay=[0.01, 0.002]"), "delay"),
        (("--set", "delay=[0.01]"), "expected two finite numbers"),
        (("--set", "rate=[1, 2, 3]"), "expected two finite numbers"),
        (("--set", 'rate=["a", "b"]'), "expected two finite numbers"),
        (("--set", "noise=NaN"), "expected a finite number"),
        (("--set", "period=Infinity"), "expected a finite number"),
    ],
)
def test_bad_settings_are_refused(arguments: tuple[str, ...], words: str, tmp_path: Path) -> None:
    result = run("spiking", "-o", tmp_path / "a.nwb", *arguments)
    assert result.exit_code == 2
    assert words in result.output
    assert not (tmp_path / "a.nwb").exists()


def test_a_name_without_format_is_refused_before_the_simulation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SIMULATORS, "glm", Simulator(CoupledGLMConfig, pytest.fail))
    result = run("glm", "-o", tmp_path / "a.h5")
    assert result.exit_code == 2
    assert ".nwb or .zarr" in result.output


@pytest.mark.parametrize(
    ("sizes", "recorded"),
    [
        (("--neurons", "4"), 2),
        (("--neurons", "9", "--set", "n_recorded=5"), 5),
        (("--set", "n_neurons=9"), 3),
    ],
)
def test_how_many_are_recorded(sizes: tuple[str, ...], recorded: int, tmp_path: Path) -> None:
    result = run("glm", "-o", tmp_path / "a.nwb", "--samples", "60", *sizes)
    assert result.exit_code == 0, result.output
    assert f"neurons, {recorded} recorded" in result.output


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.nwb"
    path.write_text("mine")
    result = run("paper", "-o", path)
    assert result.exit_code == 2
    assert "is there already" in result.output
    assert path.read_text() == "mine"
