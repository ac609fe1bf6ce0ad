"""The paper's tables and figures, at toy sizes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the benchmark draws, which needs the extra [plot]")
pytest.importorskip("scipy", reason="the benchmark tests differences, which needs the extra [benchmark]")

from click.testing import CliRunner, Result

from ndx_synapsnet.benchmark.paper import cells, jobs
from ndx_synapsnet.benchmark.paper.cells import Cell, finished, run_cell
from ndx_synapsnet.benchmark.paper.figures import stars
from ndx_synapsnet.benchmark.paper.layout import Layout, spread
from ndx_synapsnet.benchmark.paper.models import Model, plan
from ndx_synapsnet.benchmark.paper.results import Group, components, tabulate
from ndx_synapsnet.benchmark.paper.run import Training, run
from ndx_synapsnet.benchmark.paper.studies import STUDIES, SYNAPSNET, Study, rival, together
from ndx_synapsnet.benchmark.paper.tasks import (
    Facts,
    Recorded,
    Simulated,
    Task,
    digest,
    parse_task,
    recorded_tasks,
    simulated_tasks,
)
from ndx_synapsnet.cli import main
from ndx_synapsnet.errors import InputError
from ndx_synapsnet.learn.baselines import BASELINES
from ndx_synapsnet.learn.forecaster import predict_series
from ndx_synapsnet.learn.linear import RidgeVAR
from ndx_synapsnet.learn.preparation import prepare
from ndx_synapsnet.learn.schedule import TrainConfig
from ndx_synapsnet.learn.train import Training as Trained
from ndx_synapsnet.metrics import score_neurons
from ndx_synapsnet.nwb.archives import Recording
from ndx_synapsnet.nwb.readers import ReadConfig
from ndx_synapsnet.nwb.recording import write_recording
from ndx_synapsnet.simulate import PaperNetworkConfig

NETWORK = PaperNetworkConfig(n_neurons=24, n_recorded=8, n_samples=900, seed=1)
CHEAP = ["persistence", "ar", "ridge_var"]


def tasks(count: int = 2, **changes: Any) -> list[Task]:
    return [Task("made", tuple(Simulated(replace(NETWORK, seed=k, **changes)) for k in range(1, count + 1)))]


def rows_of(found: dict[str, Any], task: str = "made") -> dict[str, Any]:
    (table,) = found["tables"]
    return {row["key"]: row["tasks"][task] for row in table["rows"]}


@pytest.fixture
def count_cells(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the cells that were run."""
    run_for: list[str] = []

    def counted(cell: Cell, folder: Path, **settings: Any) -> dict[str, Any]:
        run_for.append(cell.name)
        return run_cell(cell, folder, **settings)

    monkeypatch.setattr(jobs, "run_cell", counted)
    return run_for


def test_scores_are_those_of_the_model_and_are_averaged_as_the_paper_says(tmp_path: Path) -> None:
    found, _ = run("table1", tasks(), tmp_path, models=CHEAP)
    expected = []
    for source in tasks()[0].sources:
        windows = prepare([source.load()[0]])
        model = RidgeVAR(windows)
        model.solve(windows)
        test = windows[0].targets["test"]
        expected.append(score_neurons(predict_series(model, windows[0], test), windows[0].truth(test)))
    entry = rows_of(found)["ridge_var"]
    mse = np.array([scores.mse.mean() for scores in expected])
    r = np.array([scores.correlation.mean() for scores in expected])
    assert entry["mse"]["by_session"] == pytest.approx(mse, rel=1e-4)
    assert entry["correlation"]["mean"] == pytest.approx(r.mean(), rel=1e-4)
    assert entry["correlation"]["sem"] == pytest.approx(abs(r[0] - r[1]) / 2, rel=1e-3)
    assert rows_of(found)["persistence"]["improvement"] == 0
    gains = [1 - m / p for m, p in zip(mse, rows_of(found)["persistence"]["mse"]["by_session"], strict=True)]
    assert entry["improvement"] == pytest.approx(np.median(gains), rel=1e-4)
    assert found == json.loads((tmp_path / "table1.json").read_text())
    assert (tmp_path / "table1.png").read_bytes().startswith(b"\x89PNG")
    assert "| Ridge VAR |" in (tmp_path / "table1.md").read_text()


def test_a_second_run_trains_nothing_and_a_lost_cell_is_run_again(tmp_path: Path, count_cells: list[str]) -> None:
    first, _ = run("table1", tasks(), tmp_path, models=CHEAP)
    assert len(count_cells) == 6
    again, _ = run("table1", tasks(), tmp_path, models=CHEAP)
    assert len(count_cells) == 6
    assert again["tables"] == first["tables"]
    files = sorted((tmp_path / "cells").iterdir())
    assert len(files) == 6
    files[2].write_text(files[2].read_text()[:40])  # as a full disk might leave it
    run("table1", tasks(), tmp_path, models=CHEAP)
    assert len(count_cells) == 7
    run("table1", tasks(), tmp_path, models=CHEAP, training=Training(seed=1))  # the seed may decide a fit
    assert len(count_cells) == 13


def test_an_interruption_costs_the_cell_under_way_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count_cells: list[str]
) -> None:
    def stopped(*arguments: Any, **settings: Any) -> Trained:
        return Trained({}, 0, {}, interrupted=True, seconds=0.0)  # as after Ctrl-C

    with monkeypatch.context() as patch:
        counted = jobs.run_cell

        def third_is_stopped(cell: Cell, folder: Path, **settings: Any) -> dict[str, Any]:
            if len(count_cells) == 2:
                patch.setattr(cells, "train", stopped)
            return counted(cell, folder, **settings)

        patch.setattr(jobs, "run_cell", third_is_stopped)
        with pytest.raises(KeyboardInterrupt):
            run("table1", tasks(), tmp_path, models=CHEAP)
    assert len(list((tmp_path / "cells").iterdir())) == 2
    found, _ = run("table1", tasks(), tmp_path, models=CHEAP)
    assert len(count_cells) == 3 + 4
    assert rows_of(found)["ar"]["correlation"]["sessions"] == 2


def test_two_processes_give_the_same_numbers(tmp_path: Path) -> None:
    models, training = ["ar", "nlinear", "synapsnet", "synapsnet_multi"], Training(epochs=1)
    alone, _ = run("table1", tasks(), tmp_path / "1", models=models, training=training)
    shared, _ = run("table1", tasks(), tmp_path / "2", models=models, training=training, jobs=2)
    assert {path.name for path in (tmp_path / "1/cells").iterdir()} == {
        path.name for path in (tmp_path / "2/cells").iterdir()
    }
    for key, entry in rows_of(alone).items():
        for measure in ("correlation", "mse"):
            assert entry[measure]["by_session"] == pytest.approx(rows_of(shared)[key][measure]["by_session"], rel=1e-3)


def test_a_process_that_dies_is_told_and_what_is_done_is_kept(tmp_path: Path) -> None:
    made = [cell(source) for source in tasks()[0].sources]
    with pytest.raises(InputError, match="fewer --jobs"):
        list(jobs.run_cells([made[0], replace(made[1], sources=(Deadly(),))], tmp_path, jobs=2))


class Deadly:
    """A session that no process survives."""

    name = "deadly"

    def load(self) -> Any:
        import os

        os._exit(1)


def cell(source: Any, model: Model = SYNAPSNET, **settings: Any) -> Cell:
    model = replace(model, kind="reference", name="ar", key="ar") if model is SYNAPSNET else model
    return Cell(model.key, model.title, "made", plan(model, "default", seed=0), (source,), ("abc",), 5, **settings)


def test_a_session_that_is_too_short_fails_alone(tmp_path: Path) -> None:
    (good,) = tasks()
    short = Simulated(replace(NETWORK, n_samples=40, seed=7))
    found, layouts = run("table1", [Task("made", (*good.sources, short))], tmp_path, models=[*CHEAP, "synapsnet_multi"],
                         training=Training(epochs=1))  # fmt: skip
    for entry in rows_of(found).values():
        assert entry["correlation"]["sessions"] == 2
        assert entry["correlation"]["by_session"][2] is None
        assert "too short" in entry["failed"]["simulation 7"]
    assert all("[1]" in row[1] for row in layouts[0].rows)
    assert any(note.startswith("[1]") and "too short" in note for note in layouts[0].notes)
    with pytest.raises(InputError, match="too short"):
        run("table1", [Task("made", (short,))], tmp_path, models=CHEAP)


def test_a_model_that_fails_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count_cells: list[str]
) -> None:
    def broken(*arguments: Any, **settings: Any) -> Any:
        raise RuntimeError("out of luck")

    monkeypatch.setitem(BASELINES, "nlinear", replace(BASELINES["nlinear"], build=broken))
    found, layouts = run("table1", tasks(), tmp_path, models=["nlinear", "ar"])
    assert rows_of(found)["nlinear"]["failed"]["simulation 1"] == "RuntimeError: out of luck"
    assert [row[1] for row in layouts[0].rows if row[0] == "NLinear"] == ["failed [1] [1]"]
    assert rows_of(found)["ar"]["correlation"]["sessions"] == 2
    run("table1", tasks(), tmp_path, models=["nlinear", "ar"])
    assert len(count_cells) == 6  # what failed is tried again


@pytest.mark.parametrize("study", ["table1", "figure2", "figure4", "figure6"])
def test_where_every_fit_fails_the_reasons_are_left_and_no_picture(
    study: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failed(*arguments: Any, **settings: Any) -> Trained:
        raise RuntimeError("no memory left")

    monkeypatch.setattr(cells, "train", failed)
    found, tables = run(study, tasks(1), tmp_path, models=["synapsnet"])
    assert "no memory left" in tables[0].markdown()
    assert not list(tmp_path.glob("*.png"))
    assert found == json.loads((tmp_path / f"{study}.json").read_text())


def test_components_of_too_few_neurons_are_told(tmp_path: Path) -> None:
    _, tables = run("figure2", tasks(1, n_recorded=2), tmp_path, models=["synapsnet"], training=Training(epochs=1))
    assert "2 neurons and 85 test samples have no 3 principal components" in tables[0].markdown()


def test_a_session_that_is_named_twice_counts_once(tmp_path: Path) -> None:
    (task,) = tasks(2)
    said: list[str] = []
    again = [replace(task, sources=(*task.sources, task.sources[0]))]
    found, _ = run("table1", again, tmp_path, models=CHEAP, say=said.append)
    assert rows_of(found)["ar"]["mse"]["sessions"] == 2
    assert not rows_of(found)["ar"]["failed"]
    assert any("simulation 1 left out" in text for text in said)


def test_windows_of_any_length_are_scored_on_the_same_samples(tmp_path: Path) -> None:
    found, _ = run("figure6", tasks(1), tmp_path, models=["neuprint_gru"], training=Training(epochs=1))
    records = [json.loads(path.read_text()) for path in (tmp_path / "cells").iterdir()]
    assert sorted(record["identity"]["plan"]["windows"]["window"] for record in records) == [1, 2, 5, 10, 20]
    assert {record["sessions"][0]["samples"] for record in records} == {90 - 20}
    assert [row["value"] for row in found["tables"][0]["rows"]] == [1, 2, 5, 10, 20]


def test_a_cell_is_named_by_what_decides_it_and_by_nothing_else() -> None:
    source = tasks()[0].sources[0]
    made = cell(source)
    names = {
        other.path(Path()).name
        for other in (
            made,
            replace(made, digests=("abd",)),
            replace(made, longest=6),
            replace(made, plan=replace(made.plan, train=replace(made.plan.train, seed=1))),
        )
    }
    assert len(names) == 4
    elsewhere = replace(made.plan, train=replace(made.plan.train, device="cuda"))
    assert replace(made, plan=elsewhere, task="other", title="Other").path(Path()) == made.path(Path())


def test_extras_that_are_missing_are_added_and_none_is_lost(tmp_path: Path) -> None:
    plain = cell(tasks()[0].sources[0], extras=frozenset({"components"}))
    run_cell(plain, tmp_path)
    more = replace(plain, extras=frozenset({"currents", "recovery"}))
    assert finished(plain, tmp_path) is not None
    assert finished(more, tmp_path) is None
    run_cell(more, tmp_path)
    assert finished(more, tmp_path)["extras"] == ["components", "currents", "recovery"]  # type: ignore[index]


def test_what_a_session_is_decides_its_digest() -> None:
    session = tasks()[0].sources[0].load()[0]
    assert digest(session) == digest(Simulated(NETWORK).load()[0])
    behavior = session.behavior.copy()
    behavior[0, 3] += 1
    moved = replace(session.neurons, position=np.zeros((8, 3)))
    others = [replace(session, behavior=behavior), replace(session, neurons=moved), session.select(np.arange(7))]
    assert len({digest(other) for other in [session, *others]}) == 4


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rest", ("rest", None, None)),
        ("rest=spontaneous_presentations", ("rest", "spontaneous_presentations", None)),
        ("drifting gratings = gratings where contrast > 0.5", ("drifting gratings", "gratings", "contrast > 0.5")),
        ("scenes=where stimulus_name == 'scenes'", ("scenes", None, "stimulus_name == 'scenes'")),
    ],
)
def test_tasks_as_they_are_written(text: str, expected: tuple[str | None, ...]) -> None:
    assert parse_task(text) == expected


@pytest.mark.parametrize("text", ["", "=table", "rest=", "rest=table where ", "rest=where"])
def test_tasks_that_are_not_understood(text: str) -> None:
    with pytest.raises(InputError, match="NAME=TABLE"):
        parse_task(text)


def test_tasks_of_recordings() -> None:
    reading = ReadConfig(bin_width=0.1, epoch="other")
    scenes, rest = recorded_tasks([("a", ("a.nwb",)), ("b", ("b.nwb",))], reading, ["scenes=t where x > 1", "rest"])
    assert scenes.sources[1] == Recorded("b", ("b.nwb",), ReadConfig(bin_width=0.1, epoch="t", epoch_query="x > 1"))
    assert rest.sources[0] == Recorded("a", ("a.nwb",), ReadConfig(bin_width=0.1))
    (whole,) = recorded_tasks([("a", ("a.nwb",))], reading)
    assert whole.sources == (Recorded("a", ("a.nwb",), reading),)
    with pytest.raises(InputError, match="one name"):
        recorded_tasks([("a", ("a.nwb",))], reading, ["rest=a", "rest=b"])


def test_simulated_sessions_differ_by_seed_and_are_not_those_that_recipes_saw() -> None:
    seeds = [source.network.seed for k in (0, 1) for source in simulated_tasks(quick=True, seed=k)[0].sources]  # type: ignore[union-attr]
    assert len(set(seeds)) == len(seeds)
    assert 0 not in seeds
    assert len(simulated_tasks(quick=True, seed=0, networks=3)[0].sources) == 3


def test_how_models_are_trained_by_recipe() -> None:
    ours, neuprint, gru = SYNAPSNET, rival("neuprint_gru"), rival("gru")
    default = {model.key: plan(model, "default", seed=3) for model in (ours, neuprint, gru)}
    assert default["synapsnet"].train == default["neuprint_gru"].train  # neither sees more than the other
    assert {default[key].settings[0]["context"] for key in ("synapsnet", "neuprint_gru")} == {"stream"}
    assert default["gru"].train == TrainConfig(**BASELINES["gru"].quick, seed=3)
    paper = {model.key: plan(model, "paper", seed=0) for model in (ours, neuprint, gru, rival("lfads"))}
    assert [settings["penalty_weight"] for settings in paper["synapsnet"].settings] == [0.001, 0.003, 0.01]
    assert paper["neuprint_gru"].settings[0]["context"] == "window"
    assert paper["gru"].train == TrainConfig()
    assert paper["lfads"].train.gradient_clip == 200
    windows, theirs = (plan(model, "default", seed=0, streams=False) for model in (ours, neuprint))
    assert windows.settings[0]["context"] == theirs.settings[0]["context"] == "window"
    assert theirs.train == windows.train  # as many steps, without stretches as with them
    assert (
        plan(Model("t", "T", "synapsnet", settings={"decoder": "transformer"}), "default", seed=0).windows.window == 5
    )
    joint = plan(together(ours), "default", seed=0, sessions=3)
    assert joint.train.min_steps == 3 * default["synapsnet"].train.min_steps
    exact = plan(ours, "default", seed=0, epochs=2).train
    assert (exact.epochs, exact.min_steps, exact.max_steps) == (2, 0, None)


def test_as_in_the_papers_a_batch_has_32_targets_of_any_model() -> None:
    windows = prepare([Simulated(NETWORK).load()[0]])
    for name in BASELINES:
        made = plan(rival(name), "paper", seed=0)
        assert made.train.batch_size * made.build(windows).stretch == 32


def test_every_row_of_every_study_can_be_built() -> None:
    session = Simulated(NETWORK).load()[0]
    for make in STUDIES.values():
        study = make()
        assert len({model.key for model in study.models}) == len(study.models)
        for model in study.models:
            for recipe in ("default", "paper"):
                if model.name == "ar_long" and recipe == "paper":
                    continue
                made = plan(model, recipe, seed=0, streams=study.streams)
                assert made.build(prepare([session], made.windows)) is not None
                json.dumps(made.identity())


def group(values: dict[str, Sequence[float | None]]) -> Group:
    """Models of one neuron a session, whose r is given and whose MSE is 1 - r."""
    n = len(next(iter(values.values())))
    sessions = tuple(Facts("made", Simulated(replace(NETWORK, seed=k)), "ophys", "dff", 1, 9, str(k)) for k in range(n))
    outcomes = {
        key: ["no luck" if r is None else ({"seconds": 2.0, "parameters": 3}, {"correlation": [r], "mse": [1 - r]})
              for r in row]
        for key, row in values.items()
    }  # fmt: skip
    return Group("ophys", "made", sessions, outcomes)


def test_the_best_is_marked_and_whether_it_differs_from_the_next() -> None:
    near = {"a": [0.50, 0.61, 0.70, 0.79], "b": [0.49, 0.60, 0.71, 0.80], "c": [0.1, 0.2, 0.31, 0.4]}
    study = Study("s", "S", tuple(Model(key, key.upper(), "synapsnet") for key in "abc"))
    entries = rows_of(tabulate(study, [group(near)]))
    assert [entries[key]["correlation"]["best"] for key in "abc"] == [True, False, False]
    assert not entries["a"]["correlation"]["significant"]  # c is far, but b is the next
    found = tabulate(study, [group({**near, "b": near["c"], "c": near["b"]})])
    assert not rows_of(found)["a"]["correlation"]["significant"]
    apart = tabulate(study, [group({"a": near["a"], "c": near["c"]})])
    assert rows_of(apart)["a"]["mse"]["significant"]
    (test,) = [test for test in apart["tests"] if test["measure"] == "mse"]
    assert (test["model"], test["other"], test["units"]) == ("a", "c", 4)
    assert test["p_corrected"] < 0.001
    # one that failed somewhere is not compared
    entries = rows_of(tabulate(study, [group({**near, "a": [0.9, 0.9, 0.9, None]})]))
    assert not entries["a"]["correlation"]["best"]
    assert entries["b"]["correlation"]["best"]


def test_ablations_are_compared_with_the_whole() -> None:
    study = Study("s", "S", tuple(Model(key, key.upper(), "synapsnet") for key in "abc"), mark="drop")
    values = {"a": [0.5, 0.61, 0.7, 0.79], "b": [0.49, 0.62, 0.7, 0.8], "c": [0.1, 0.2, 0.31, 0.4]}
    entries = rows_of(tabulate(study, [group(values)]))
    assert [entries[key]["mse"]["best"] for key in "abc"] == [False, False, True]
    assert [entries[key]["mse"]["significant"] for key in "abc"] == [False, False, True]
    # without the whole on all sessions nothing can be said, and what is better is no drop
    found = tabulate(study, [group({**values, "a": [0.5, 0.61, 0.7, None]})])
    assert not found["tests"]
    assert not any(entry["mse"]["best"] for entry in rows_of(found).values())
    entries = rows_of(tabulate(study, [group({**values, "a": values["c"], "c": values["a"]})]))
    assert not any(entry["mse"]["best"] for entry in entries.values())


def test_means_over_different_sessions_are_not_compared() -> None:
    study = Study("s", "S", tuple(Model(key, key.upper(), "synapsnet") for key in "ab"))
    found = tabulate(study, [group({"a": [0.5, 0.6, 0.7, None], "b": [None, 0.5, 0.6, 0.7]})])
    assert not found["tests"]
    assert not any(entry["mse"]["best"] for entry in rows_of(found).values())


def test_components_are_compared_session_by_session() -> None:
    study = Study("s", "S", (Model("a", "A", "synapsnet"), Model("b", "B", "synapsnet")))
    made = group({"a": [0.5, 0.6, 0.7, None], "b": [None, 0.5, 0.6, 0.7]})
    for outcomes in made.outcomes.values():
        for j, outcome in enumerate(outcomes):
            if not isinstance(outcome, str):
                outcome[1]["components"] = outcome[1]["correlation"] * 3  # type: ignore[index]
                if j:
                    outcome[1]["traces"] = {"truth": [], "forecast": []}  # type: ignore[index]
    (found,) = components(study, [made])
    assert found["models"]["b"]["by_session"] == [[None] * 3, [0.5] * 3, [0.6] * 3, [0.7] * 3]
    assert {key: model["example"]["session"] for key, model in found["models"].items()} == {"a": 1, "b": 1}
    assert found["p"] == [0.0] * 3  # the same difference on both sessions that both have


def test_a_table_as_markdown() -> None:
    table = Layout("T", ["model", "r"], [["A|B", spread(0.12345, 0.01, 100, 2)], ["C", spread(None, None, 1, 2)]],
                   frozenset({(0, 1)}), ["Said below."])  # fmt: skip
    assert table.markdown().splitlines() == [
        "### T",
        "",
        "| model | r |",
        "| :-- | --: |",
        "| A\\|B | **12.35 ± 1.00** |",
        "| C | - |",
        "",
        "- Said below.",
    ]
    assert table.rich().row_count == 2


@pytest.mark.parametrize(("p", "text"), [(1e-5, "****"), (0.001, "***"), (0.004, "**"), (0.05, "*"), (0.2, "n.s.")])
def test_stars(p: float, text: str) -> None:
    assert stars(p) == text


def invoke(*arguments: Any) -> Result:
    return CliRunner().invoke(main, ["benchmark", *map(str, arguments)])


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulated sessions of toy size."""

    def made(*, quick: bool, seed: int, networks: int | None = None, **sizes: Any) -> list[Task]:
        return tasks(networks or 2, n_samples=700)

    monkeypatch.setattr("ndx_synapsnet.benchmark.paper.tasks.simulated_tasks", made)


PICTURES = {
    "table2": ["table2.png"],
    "table3": ["table3.png"],
    "figure2": ["figure2.png"],
    "figure4": ["figure4.png"],
    "figure5": ["figure5.png", "figure5_matrices.png"],
    "figure7": ["figure7.png"],
}


@pytest.mark.parametrize("study", list(PICTURES))
def test_every_command_leaves_numbers_tables_and_pictures(study: str, tmp_path: Path, tiny: None) -> None:
    options = ["--networks", 2, "--models", "synapsnet,lagged_1,ridge_var"] if study == "figure5" else []
    result = invoke(study, "--quick", "--epochs", 1, "-o", tmp_path, *options)
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / f"{study}.json").read_text())
    assert not [entry["failed"] for table in found["tables"] for row in table["rows"] for entry in row["tasks"].values()
                if entry["failed"]]  # fmt: skip
    assert [path.name for path in sorted(tmp_path.glob("*.png"))] == PICTURES[study]
    assert (tmp_path / f"{study}.md").read_text().startswith(f"## {study}")
    assert found["tables"][0]["rows"][0]["title"] in result.output
    assert str(tmp_path / f"{study}.json") in result.output.replace("\n", "")
    for row in found["tables"][0]["rows"]:
        assert row["seconds"] > 0
        assert row["parameters"] >= 0


def test_a_true_connectivity_is_recovered_as_the_metrics_say(tmp_path: Path) -> None:
    found, layouts = run("figure5", tasks(2, n_samples=3000), tmp_path, models=["ridge_var", "lagged_0"])
    models = found["recovery"]["models"]
    assert models["ridge_var"]["r"]["mean"] > models["lagged_0"]["r"]["mean"] + 0.1
    truth = np.array(found["recovery"]["matrices"]["true connectivity"])
    np.testing.assert_allclose(truth, Simulated(replace(NETWORK, n_samples=3000)).load()[1], rtol=1e-4, atol=1e-6)
    assert layouts[0].title.endswith("2 runs")


def test_recordings_and_their_epochs(tmp_path: Path) -> None:
    paths = []
    for k in (1, 2):
        session = Simulated(replace(NETWORK, seed=k)).load()[0]
        paths.append(write_recording(session, tmp_path / f"mouse{k}.nwb"))
    result = invoke("table1", "--sessions", tmp_path / "mouse*.nwb", "--models", "ar,ridge_var", "--task", "rest",
                    "--task", "blinks=blinks", "-o", tmp_path / "out")  # fmt: skip
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "out/table1.json").read_text())
    assert [(s["task"], s["name"]) for s in found["sessions"] if not s["failed"]] == [
        ("rest", "mouse1"),
        ("rest", "mouse2"),
    ]
    assert rows_of(found, "rest")["ar"]["correlation"]["sessions"] == 2
    assert "blinks" in next(s["failed"] for s in found["sessions"] if s["task"] == "blinks")
    assert "blinks" in result.output


def test_recordings_by_name_bring_their_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(write_recording(Simulated(NETWORK).load()[0], tmp_path / "mouse.nwb"))
    asked = []

    def resolve(name: str, **settings: Any) -> list[Recording]:
        asked.append(name)
        return [Recording(path, {"stop": stop}, "bugeon", task) for task, stop in (("a", 20.0), ("b", 25.0))]

    monkeypatch.setattr("ndx_synapsnet.nwb.archives.resolve", resolve)
    result = invoke("table1", "--sessions", "bugeon=files", "--models", "ar", "--start", 2, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert asked == ["bugeon=files"]
    found = json.loads((tmp_path / "out/table1.json").read_text())
    assert [(s["task"], s["name"], s["samples"]) for s in found["sessions"]] == [
        ("a", "mouse", 540),
        ("b", "mouse", 690),
    ]
    mixed = invoke("table1", "--sessions", "bugeon=files", "--sessions", path, "-o", tmp_path / "out")
    assert mixed.exit_code == 2
    assert "bring their tasks" in mixed.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["table1", "--models", "ar,best"], "no model 'best'. Its models: mean"),
        (["figure6", "--models", "gru"], "Its models: synapsnet, neuprint_gru"),
        (["table1", "--recipe", "best"], "Known recipes"),
        (["table1", "--recipe", "paper", "--models", "ar_long"], "no model 'ar_long'"),
        (["table1", "--task", "rest=a"], "--sessions"),
        (["table1", "--sessions", "nothing.nwb"], "nothing.nwb"),
        (["table1", "--sessions", "nothing.nwb", "--samples", "9"], "of simulated sessions"),
        (["figure5", "--sessions", "nothing.nwb"], "--sessions"),
        (["table1", "--jobs", "0"], "--jobs"),
    ],
)
def test_bad_input_ends_with_2_and_a_sentence(arguments: list[str], words: str, tmp_path: Path, tiny: None) -> None:
    result = invoke(*arguments, "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert words in result.output
    assert "Traceback" not in result.output
