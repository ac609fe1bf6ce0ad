from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

pytest.importorskip("matplotlib", reason="the benchmark draws, which needs the extra [plot]")

from click.testing import CliRunner

from ndx_synapsnet.benchmark import memory, recipes, speed
from ndx_synapsnet.benchmark.race import race
from ndx_synapsnet.benchmark.step import step_flops, time_steps
from ndx_synapsnet.benchmark.twin import Twin
from ndx_synapsnet.cli import main
from ndx_synapsnet.config import load_config
from ndx_synapsnet.learn.preparation import prepare
from ndx_synapsnet.learn.synapsnet import SynapsNet
from ndx_synapsnet.nwb.recording import write_recording
from ndx_synapsnet.simulate import PaperNetworkConfig, random_session, simulate_paper_network


def test_the_twin_is_the_same_model() -> None:
    """With the same parameters it has the same loss and the same gradient of A: the comparison is a fair one."""
    config = load_config("paper", overrides={"model": {"dropout": 0.0, "penalty_weight": 0.0, "diagonal": "keep"}})
    windows = prepare([random_session(9, 300)], config.windows, dtype=torch.float64)
    ours, twin = SynapsNet(windows, config.model), Twin(9, 2, dropout=0.0).double()
    decoder = ours.decoder
    with torch.no_grad():
        twin.weights.copy_(ours.weights[0])
        twin.embedding.copy_(ours.embedding)
        inputs = [decoder.input.series, decoder.input.behavior, decoder.input.embedding]
        twin.gru.weight_ih_l0.copy_(torch.cat(inputs, dim=1))
        twin.gru.weight_hh_l0.copy_(decoder.recurrent.weight)
        twin.gru.bias_ih_l0.copy_(decoder.input.bias)
        twin.gru.bias_hh_l0.copy_(decoder.recurrent.bias)
        twin.readout.load_state_dict(decoder.readout.state_dict())
    batch = windows[0].batch(windows[0].targets["train"][:7])
    first, second = ours.loss(batch), twin.loss(batch.activity, batch.behavior, batch.target)
    torch.testing.assert_close(first, second, rtol=1e-10, atol=1e-12)
    first.backward()
    second.backward()
    torch.testing.assert_close(ours.weights[0].grad, twin.weights.grad, rtol=1e-9, atol=1e-12)


def test_flops_by_hand() -> None:
    config = load_config("paper")
    # 3 passes x 2 x 120 rows x (40 x 4 + 2 x 5) x 32 x 10 columns, and two products of 10 x 10 with 160 columns
    assert step_flops(10, config, 5) == 3 * 2 * 120 * 170 * 320 + 2 * 2 * 100 * 160
    # of stretches of 3 targets, 7 samples: 6 steps with a state
    assert step_flops(10, config, 7, rows=2) == 3 * 2 * 120 * (40 * 6 + 2 * 7) * 20 + 2 * 2 * 100 * 14


def test_ratios_are_of_a_step_and_of_a_target() -> None:
    row = time_steps(prepare([random_session(5, 2_000)])[0], load_config("paper"), 3)
    assert row["window_ratio"] == pytest.approx(row["twin"] / row["window"])
    assert row["stream_ratio"] == pytest.approx((row["twin"] / 32) / (row["stream"] / (32 * 32)), rel=0.1)


NETWORK = PaperNetworkConfig(n_neurons=24, n_recorded=8, n_samples=600)


def test_a_race_and_its_picture(tmp_path: Path) -> None:
    """The real thing at toy sizes, simulated and from a file."""
    path = write_recording(simulate_paper_network(NETWORK).session, tmp_path / "made.nwb")
    races = [race(source, paper_epochs=2, repeats=2) for source in (NETWORK, str(path))]
    for found in races:
        assert found["neurons"] == 8
        assert found["paper"]["twin_seconds_full"] == pytest.approx(2 * 15 * found["twin_step"])
        for ours in found["ours"].values():
            assert len(ours["seconds"]) == len(ours["validation_mse"])
            assert ours["cost"] in ours["seconds"]
            assert ours["reached"] == (ours["best"] <= found["paper"]["best"])
            assert ours["times_cheaper_than_full"] == pytest.approx(found["paper"]["twin_seconds_full"] / ours["cost"])
    steps = [{**time_steps(prepare([random_session(n, 600)])[0], load_config("paper"), 1)} for n in (5, 8)]
    results = {
        "measured": {"steps": {"matrix_product_gflops": 100.0}},
        "steps": steps,
        "epochs": speed.time_epochs(5, (300, 600)),
        "memory": [{"neurons": 5, "samples": 300, "peak": 2**30}],
        "races": races,
    }
    assert len(speed.draw(results).axes) == 5
    json.dumps(results)


def test_parts_that_are_not_measured_again_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = iter([[{"neurons": 5, "samples": 300, "seconds": s}] for s in (1.0, 2.0)])
    monkeypatch.setattr(speed, "_epochs", lambda quick: next(rows))
    monkeypatch.setattr(speed, "_held", lambda quick: [])
    first = speed.run(tmp_path, quick=True, parts=("epochs",))
    assert first["epochs"][0]["seconds"] == 1.0
    second = speed.run(tmp_path, quick=True, parts=("memory",))
    assert second["epochs"] == first["epochs"]
    assert second["measured"].keys() == {"epochs", "memory"}
    assert json.loads((tmp_path / "speed.json").read_text()) == second
    assert (tmp_path / "speed.png").exists()
    # of other sizes: not to be mixed
    assert not speed.run(tmp_path, quick=False, parts=())["epochs"]


def test_memory_is_that_of_the_process() -> None:
    found = memory.peak_memory(5, 500, 2)
    assert found["peak"] >= found["libraries"] > 50 * 2**20


def test_the_large_session_runs_on_the_processor_too(tmp_path: Path) -> None:
    sizes = ["--neurons", "8", "--samples", "500", "--epochs", "2"]
    result = CliRunner().invoke(main, ["benchmark", "large", "--device", "cpu", "-o", str(tmp_path / "out"), *sizes])
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "out" / "large.json").read_text())
    assert len(found["curves"]["paper"]["seconds"]) == 2
    assert found["precision"]["float32"] < 1e-4
    assert found["steps"]["fast"]["fraction_of_limit"] > 0


def test_the_study_of_recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes, "GRID", recipes.GRID[1:6:4])
    result = CliRunner().invoke(main, ["benchmark", "recipes", "--quick", "-o", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    (session,) = json.loads((tmp_path / "out" / "recipes.json").read_text())["sessions"]
    rows = session["rows"]
    assert [row["context"] for row in rows] == ["window", "stream"]
    assert all(row["best"] < 1.1 and row["processor_seconds"] > 0 for row in rows)
    assert (tmp_path / "out" / "recipes.png").exists()
