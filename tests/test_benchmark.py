from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

pytest.importorskip("matplotlib", reason="the benchmark draws, which needs the extra [plot]")

from ndx_synapsnet.benchmark import speed
from ndx_synapsnet.benchmark.twin import Twin
from ndx_synapsnet.experiment import load_config
from ndx_synapsnet.learn.synapsnet import SynapsNet
from ndx_synapsnet.learn.windows import prepare
from ndx_synapsnet.simulate import PaperNetworkConfig


def test_the_twin_is_the_same_model() -> None:
    """With the same parameters it has the same loss and the same gradient of A: the comparison is a fair one."""
    config = load_config("paper", overrides={"model": {"dropout": 0.0, "penalty_weight": 0.0, "diagonal": "keep"}})
    windows = prepare([speed.random_session(9, 300)], config.windows, dtype=torch.float64)
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
    assert speed.step_flops(10, config) == 3 * 2 * 120 * 170 * 320 + 2 * 2 * 100 * 160


def test_the_whole_leaves_numbers_and_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real thing at toy sizes."""
    monkeypatch.setattr(speed, "machine_flops", lambda: 1e11)
    network = PaperNetworkConfig(n_neurons=24, n_recorded=8, n_samples=600)
    found = {
        "machine": {"matrix_product_gflops": 100.0},
        "steps": [{**speed.time_steps(n, load_config("paper"), 2), "fraction_of_limit": 0.1} for n in (5, 8)],
        "time_to_loss": speed.time_to_loss(network, twin_step=0.01, paper_epochs=2),
    }
    assert all(row["ratio"] > 0 for row in found["steps"])
    assert found["time_to_loss"]["twin_seconds_full"] == pytest.approx(2 * 15 * 0.01)
    assert speed.draw(found) is not None
    json.dumps(found)
    memory = speed.peak_memory(5, 500, 2)
    assert memory["peak"] >= memory["libraries"] > 50 * 2**20
