"""The benchmark of connectivity recovery, at toy sizes."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the benchmark draws, which needs the extra [plot]")
pytest.importorskip("scipy", reason="the benchmark tests differences, which needs the extra [benchmark]")

from click.testing import CliRunner, Result

from ndx_synapsnet.benchmark.connectivity import cells
from ndx_synapsnet.benchmark.connectivity.cases import FRACTIONS, RUNGS, Material, Sizes, simulated_cases
from ndx_synapsnet.benchmark.connectivity.cells import Job, run_job, score
from ndx_synapsnet.benchmark.connectivity.methods import COMPARED, METHODS, Estimate, Method, Prepared
from ndx_synapsnet.benchmark.connectivity.references import reference_cases
from ndx_synapsnet.benchmark.connectivity.results import tabulate
from ndx_synapsnet.benchmark.connectivity.run import run
from ndx_synapsnet.cli import main
from ndx_synapsnet.errors import InputError
from ndx_synapsnet.metrics import recovery
from ndx_synapsnet.nwb.recording import write_recording
from ndx_synapsnet.session import Scores
from ndx_synapsnet.simulate import SIMULATORS

SIZES = Sizes(networks=2, neurons=8, samples=400, seed=5)
CHEAP = ["lagged_1", "ridge_var"]


def rows(found: dict[str, Any]) -> dict[str, Any]:
    (group,) = found["groups"]
    return {row["title"]: row for row in group["rows"]}


def test_every_kind_is_simulated_as_its_simulator_does() -> None:
    cases = simulated_cases("recovery", ["paper", "glm"], SIZES)
    assert [(case.kind, case.unit) for case in cases] == [
        ("paper", "network 5"), ("glm", "network 5"), ("paper", "network 6"), ("glm", "network 6"),
    ]  # fmt: skip
    material = cases[1].load()
    expected = SIMULATORS["glm"](n_neurons=24, n_recorded=8, n_samples=400, seed=5)
    assert np.array_equal(material.session.activity, expected.session.activity)
    assert np.array_equal(material.truth, expected.truth.weights)
    assert material.scored.all()
    with pytest.raises(InputError, match="'rings'"):
        simulated_cases("recovery", ["rings"], SIZES)


def test_shorter_recordings_are_the_beginning_of_longer_ones() -> None:
    cases = simulated_cases("length", ["paper"], replace(SIZES, networks=1))
    assert [case.value for case in cases] == [50, 100, 200, 400, 800, 1600]
    short, long = cases[1].load(), cases[-1].load()
    assert np.array_equal(short.session.activity, long.session.activity[:, :100])
    assert np.array_equal(short.session.behavior, long.session.behavior[:, :100])
    assert np.array_equal(short.truth, long.truth)


def test_fewer_neurons_are_among_the_more() -> None:
    cases = simulated_cases("fraction", ["glm"], replace(SIZES, networks=1))
    materials = [case.load() for case in cases]
    assert [m.session.n_neurons for m in materials] == [2, 4, 8, 16, 24]
    assert [case.value for case in cases] == list(FRACTIONS)
    ids = [list(m.session.neurons.id) for m in materials]
    assert all(set(few) < set(more) for few, more in pairwise(ids))
    whole = materials[-1]
    places = [ids[-1].index(each) for each in ids[2]]
    assert np.array_equal(materials[2].truth, whole.truth[np.ix_(places, places)])
    assert np.array_equal(materials[2].session.activity, whole.session.activity[places])


def test_on_every_rung_the_same_neurons_are_scored() -> None:
    cases = simulated_cases("ladder", ["paper"], replace(SIZES, networks=1))
    assert [case.variant for case in cases] == list(RUNGS)
    foot, inputs, neurons, both = (case.load() for case in cases)
    assert [len(m.session.behavior_names) for m in (foot, inputs, neurons, both)] == [2, 4, 2, 4]
    assert [m.session.n_neurons for m in (foot, inputs, neurons, both)] == [8, 8, 24, 24]
    assert np.array_equal(neurons.session.activity[neurons.scored], foot.session.activity)
    assert np.array_equal(neurons.truth[np.ix_(neurons.scored, neurons.scored)], foot.truth)


def test_counts_are_scored_by_spike_and_fluorescence_z_scored() -> None:
    case = simulated_cases("recovery", ["glm"], replace(SIZES, networks=1))[0]
    material = case.load()
    prepared = Prepared(material)
    std = prepared.windows.normalization.activity_std.astype(float)
    truth = material.truth * ~np.eye(8, dtype=bool)
    nothing = Scores(np.zeros(8, np.float32), np.ones(8, np.float32))
    found = score(Estimate(truth * std / std[:, None], nothing), prepared)  # what is z-scored of the truth itself
    assert found["recovery"]["r"] == pytest.approx(1, abs=1e-5)
    assert found["source_units"] == found["recovery"]
    assert found["z_scored"]["r"] < 0.999
    assert found["precision_at"][-1]["precision"] == 1
    session = replace(material.session, activity_kind="dff", unit="dF/F")
    found = score(Estimate(truth, nothing), Prepared(Material(session, material.truth, material.scored)))
    assert found["recovery"] == found["z_scored"]
    assert found["recovery"]["r"] == pytest.approx(1, abs=1e-5)


def test_hidden_neurons_and_those_set_aside_are_not_scored() -> None:
    case = simulated_cases("ladder", ["paper"], replace(SIZES, networks=1))[2]
    material = case.load()
    activity = material.session.activity.copy()
    silent = int(np.flatnonzero(material.scored)[2])
    activity[silent] = 0
    prepared = Prepared(replace(material, session=replace(material.session, activity=activity)))
    kept = material.scored.copy()
    kept[silent] = False
    assert np.array_equal(prepared.truth, material.truth[np.ix_(kept, kept)])
    assert prepared.scored.sum() == len(prepared.truth) == 7
    estimate = METHODS["ridge_var"].run(prepared)
    assert estimate.weights.shape == (23, 23)
    assert score(estimate, prepared)["mse"] == pytest.approx(estimate.scores.mse[prepared.scored].mean(), rel=1e-5)


def test_a_second_run_estimates_nothing_and_a_lost_cell_is_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []
    measure = cells._measure
    monkeypatch.setattr(cells, "_measure", lambda method, prepared: (ran.append(method), measure(method, prepared))[1])
    first, _ = run("recovery", tmp_path, kinds=["paper"], sizes=SIZES, models=CHEAP)
    assert ran == CHEAP * 2
    second, _ = run("recovery", tmp_path, kinds=["paper"], sizes=SIZES, models=CHEAP)
    assert ran == CHEAP * 2
    assert second["groups"] == first["groups"]
    next((tmp_path / "cells").glob("ridge_var-*")).unlink()
    run("recovery", tmp_path, kinds=["paper"], sizes=SIZES, models=CHEAP)
    assert ran == [*CHEAP * 2, "ridge_var"]


def test_an_interruption_keeps_what_is_done_and_what_it_adds_up_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure, calls = cells._measure, []

    def interrupted(method: str, prepared: Prepared) -> dict[str, Any]:
        calls.append(method)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return measure(method, prepared)

    monkeypatch.setattr(cells, "_measure", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run("recovery", tmp_path, kinds=["paper"], sizes=SIZES, models=CHEAP)
    assert len(list((tmp_path / "cells").iterdir())) == 3
    left = json.loads((tmp_path / "recovery.json").read_text())
    assert rows(left)["Ridge VAR"]["r"]["sem"] is None  # of one network


def test_two_processes_give_the_same_numbers(tmp_path: Path) -> None:
    found = [run("recovery", tmp_path / str(jobs), kinds=["paper"], sizes=SIZES, models=CHEAP, jobs=jobs)[0]
             for jobs in (1, 2)]  # fmt: skip
    one, two = ({title: row["r"]["by_unit"] for title, row in rows(each).items()} for each in found)
    assert one["Ridge VAR"] == pytest.approx(two["Ridge VAR"], abs=1e-5)


def test_a_method_that_fails_does_not_stop_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(prepared: Prepared) -> Estimate:
        raise RuntimeError("no memory")

    monkeypatch.setitem(METHODS, "lagged_1", Method("Broken", broken))
    found, (table,) = run("recovery", tmp_path, kinds=["paper"], sizes=SIZES, models=CHEAP)
    assert rows(found)["Broken"]["failed"] == {f"network {k}": "RuntimeError: no memory" for k in (5, 6)}
    assert rows(found)["Ridge VAR"]["r"]["mean"] is not None
    assert any("no memory" in note for note in table.notes)
    assert not list((tmp_path / "cells").glob("lagged_1-*"))


def test_cells_are_named_by_what_decides_them() -> None:
    case = simulated_cases("recovery", ["paper"], SIZES)[0]
    paths = {cells.cell_path(each, method, Path())
             for each in (case, replace(case, samples=300), replace(case, config=replace(case.config, seed=6)))
             for method in CHEAP}  # fmt: skip
    assert len(paths) == 6
    assert cells.cell_path(replace(case), "ridge_var", Path()) in paths


def test_means_and_tests_against_synapsnet() -> None:
    cases = simulated_cases("recovery", ["paper"], replace(SIZES, networks=4))
    ours, theirs = [0.9, 0.92, 0.91, 0.93], [0.8, 0.83, 0.8, None]

    def record(r: float | None) -> dict[str, Any]:
        if r is None:
            return {"failed": "no"}
        figures = dict.fromkeys(("r", "average_precision", "auroc", "precision", "sign_accuracy"), r)
        each = {**figures, "chance": 0.05}
        return {"recovery": each, "source_units": each, "z_scored": each, "correlation": 0.1, "mse": 0.9, "seconds": 1}

    (group,) = tabulate([
        (Job(case, ("ridge_var", "synapsnet")), {"ridge_var": record(b), "synapsnet": record(a)})
        for case, a, b in zip(cases, ours, theirs, strict=True)
    ])  # fmt: skip
    ridge, net = group["rows"]
    assert [row["title"] for row in (ridge, net)] == ["Ridge VAR", "SynapsNet"]
    assert net["r"]["mean"] == pytest.approx(0.915)
    assert net["r"]["sem"] == pytest.approx(np.std(ours, ddof=1) / 2)
    assert ridge["failed"] == {"network 8": "no"}
    test = ridge["tests"]["r"]
    assert (test["units"], test["difference"]) == (3, pytest.approx(0.1))
    assert test["p_corrected"] == test["p"] < 0.01
    assert net["tests"] == {}


def test_what_is_for_counts_is_left_out_of_fluorescence(tmp_path: Path) -> None:
    found, _ = run("recovery", tmp_path, kinds=["calcium"], sizes=replace(SIZES, networks=1), models=["glm", *CHEAP])
    assert list(rows(found)) == ["Correlation, D = 1", "Ridge VAR"]


@pytest.fixture
def references(tmp_path: Path) -> Path:
    """A recording of spikes with a reference beside it, and one of fluorescence."""
    folder = tmp_path / "data"
    folder.mkdir()
    spikes = SIMULATORS["paper"](n_neurons=8, n_recorded=6, n_samples=400, density=0.3, seed=1)
    write_recording(spikes.session, folder / "cells.nwb")
    post, pre = np.nonzero(~np.eye(6, dtype=bool))
    np.savez(folder / "cells.true_connectivity.npz", post_row=post, pre_row=pre, weight=spikes.truth.weights[post, pre])
    slow = SIMULATORS["calcium"](n_neurons=8, n_recorded=6, n_samples=300, density=0.3, seed=1)
    write_recording(slow.session, folder / "zebrafish-regions-1.nwb")
    np.save(folder / "SC.npy", slow.truth.weights)
    np.save(tmp_path / "spikes.npy", spikes.truth.weights)
    return folder


def test_references_are_read_target_by_source(references: Path) -> None:
    zebrafish, fine, coarse = reference_cases(references)
    expected = np.load(references.parent / "spikes.npy") * ~np.eye(6, dtype=bool)
    for case, width in ((fine, 0.005), (coarse, 0.01)):
        material = case.load()
        assert material.session.period == width
        assert material.truth == pytest.approx(expected)
        assert case.counts
    material = zebrafish.load()
    assert np.array_equal(material.truth, np.load(references / "SC.npy"))
    assert material.session.activity_kind == "dff"
    with pytest.raises(InputError, match="no recording with a reference"):
        reference_cases(references.parent / "nothing")


def test_the_last_neurons_of_a_reference_may_have_no_connection(references: Path) -> None:
    np.savez(references / "cells.true_connectivity.npz", post_row=[1], pre_row=[0], weight=[2.0])
    assert np.array_equal(np.argwhere(reference_cases(references)[1].load().truth), [[1, 0]])
    np.save(references / "SC.npy", np.zeros((5, 5)))
    with pytest.raises(InputError, match="expected square and of 6"):
        reference_cases(references)[0].load()


def invoke(*arguments: Any) -> Result:
    return CliRunner().invoke(main, ["benchmark", "connectivity", *map(str, arguments)])


@pytest.mark.parametrize("part", ["recovery", "length", "fraction", "ladder", "references"])
def test_every_part_leaves_numbers_tables_and_a_picture(part: str, tmp_path: Path, references: Path) -> None:
    sizes = ["--networks", 1, "--neurons", 10, "--samples", 240, "--kinds", "glm", "--data", references]
    models = [
        "--models",
        "ridge_var,eb_drive" if part != "recovery" else ",".join(COMPARED[part]).replace("curbd,", ""),
    ]
    result = invoke("--part", part, *sizes, *models, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "out" / f"{part}.json").read_text())
    assert found["groups"]
    text = (tmp_path / "out" / f"{part}.md").read_text()
    assert "EB VAR + drive" in text
    assert (tmp_path / "out" / f"{part}.png").stat().st_size > 5_000
    if part == "recovery":
        (group,) = found["groups"]
        assert {row["method"] for row in group["rows"]} == set(COMPARED[part]) - {"curbd"}
        assert not any(row["failed"] for row in group["rows"])
        assert all(row["r"]["mean"] is not None for row in group["rows"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--models", "magic"], "no model 'magic'"),
        (["--kinds", "rings"], "no networks of kind 'rings'"),
        (["--part", "references"], "--data"),
    ],
)
def test_bad_input_ends_with_2_and_a_sentence(arguments: list[str], words: str, tmp_path: Path) -> None:
    result = invoke(*arguments, "-o", tmp_path)
    assert result.exit_code == 2
    assert words in result.output


def test_an_estimate_of_nothing_has_no_picture_but_a_reason(tmp_path: Path) -> None:
    found, _ = run("recovery", tmp_path, kinds=["paper"], sizes=replace(SIZES, samples=10), models=CHEAP)
    assert all("too short" in reason for row in rows(found).values() for reason in row["failed"].values())
    assert not list(tmp_path.glob("*.png"))


def test_a_record_has_the_figures_of_the_metrics(tmp_path: Path) -> None:
    case = simulated_cases("recovery", ["paper"], SIZES)[0]
    record = run_job(Job(case, ("ridge_var",)), tmp_path)["ridge_var"]
    prepared = Prepared(case.load())
    std = prepared.windows.normalization.activity_std
    weights = METHODS["ridge_var"].run(prepared).weights * std[:, None] / std
    assert record["recovery"] == pytest.approx(recovery(weights, case.load().truth), rel=1e-4)
