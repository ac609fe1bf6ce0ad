"""The verbs that read connectivity: compare, groups, export."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from pynwb import NWBHDF5IO

from ndx_synapsnet import recovery
from ndx_synapsnet.cli import main
from ndx_synapsnet.metrics import compare_matrices
from ndx_synapsnet.nwb.metadata import new_nwbfile
from ndx_synapsnet.nwb.results import add_result, add_true_connectivity
from ndx_synapsnet.session import Connectivity, FitResult

N = 12
OFF = ~np.eye(N, dtype=bool)
Write = Callable[..., Path]


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)


def loaded(*arguments: str | Path) -> Any:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


@pytest.fixture
def truth() -> Connectivity:
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(N, N)) * (rng.random((N, N)) < 0.3) * OFF
    return Connectivity(weights, "simulated", "")


@pytest.fixture
def fitted(result: FitResult, truth: Connectivity) -> FitResult:
    """Neurons with regions and places; an estimate near the truth with its uncertainty, and a worse one without."""
    rng = np.random.default_rng(1)
    neurons = replace(
        result.neurons,
        source_object_id=np.full(N, "table"),
        region=np.array(["CA1", "V1", "", "V1"] * (N // 4)),
        position=rng.random((N, 3)),
    )
    error = np.full((N, N), 0.1)
    estimate = (truth.weights + rng.normal(0, 0.1, (N, N))) * OFF
    q = np.where(np.abs(estimate) > 0.3, 0.01, 0.5)
    effective = Connectivity(estimate, "synapsnet", "", standard_error=error, p_value=q / 2, q_value=q)
    ridge = Connectivity(truth.weights + rng.normal(size=(N, N)) * OFF, "ridge_var", "")
    return replace(
        result, neurons=neurons, connectivity={"effective": effective, "raw": ridge, "ridge_var": ridge}, provenance={}
    )


@pytest.fixture
def write(tmp_path: Path) -> Write:
    return _writer(tmp_path)


def _writer(folder: Path) -> Write:
    def write(name: str, *runs: FitResult, truth: Connectivity | None = None) -> Path:
        nwbfile = new_nwbfile({}, description="")
        for day, each in enumerate(runs, start=1):
            add_result(
                nwbfile, replace(each, provenance={**each.provenance, "finished": f"2026-01-0{day}T00:00:00+00:00"})
            )
        if truth is not None:
            add_true_connectivity(nwbfile, runs[0].neurons, truth, modality=runs[0].modality)
        with NWBHDF5IO(folder / name, "w") as io:
            io.write(nwbfile)
        return folder / name

    return write


_FILES: dict[str, Path] = {}


@pytest.fixture
def files(fitted: FitResult, truth: Connectivity, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files that no test changes, written once."""
    if not _FILES:
        write = _writer(tmp_path_factory.mktemp("files"))
        plain = replace(fitted, neurons=replace(fitted.neurons, region=np.full(N, " "), position=None))
        _FILES["file"] = write("a.nwb", fitted)
        _FILES["changed"] = write("b.nwb", changed(fitted, 2))
        _FILES["plain"] = write("plain.nwb", plain)
        _FILES["empty"] = write("empty.nwb")
        _FILES["runs"] = write("runs.nwb", fitted, fitted, fitted, truth=truth)
        _FILES["truth"] = write("truth.nwb", fitted, truth=truth)
    return _FILES


def changed(fitted: FitResult, seed: int) -> FitResult:
    """The result of another seed: each effective weight differs by its standard error, one by much more."""
    effective = fitted.connectivity["effective"]
    weights = effective.weights + np.random.default_rng(seed).normal(0, 0.1, (N, N)) * OFF
    weights[3, 1] += 3.0
    return replace(fitted, connectivity={**fitted.connectivity, "effective": replace(effective, weights=weights)})


def taken(fitted: FitResult, rows: list[int]) -> FitResult:
    """The same result of fewer neurons, in another order."""

    def part(matrix: Connectivity) -> Connectivity:
        place = np.ix_(rows, rows)
        held = {f: getattr(matrix, f) for f in ("weights", "standard_error", "p_value", "q_value")}
        return replace(matrix, **{name: value[place] for name, value in held.items() if value is not None})

    scores = {
        name: replace(each, correlation=each.correlation[rows], mse=each.mse[rows])
        for name, each in fitted.scores.items()
    }
    forecast = replace(fitted.forecast, values=fitted.forecast.values[:, rows])
    means = {name: getattr(fitted.normalization, name)[rows] for name in ("activity_mean", "activity_std")}
    return replace(
        fitted,
        neurons=fitted.neurons.select(rows),
        embeddings=fitted.embeddings[rows],
        connectivity={name: part(matrix) for name, matrix in fitted.connectivity.items()},
        scores=scores,
        forecast=forecast,
        normalization=replace(fitted.normalization, **means),
    )


@pytest.mark.parametrize("verb", ["compare", "groups", "export"])
def test_every_verb_has_help_with_examples(verb: str) -> None:
    text = run(verb, "--help").output
    assert "Examples" in text
    assert f"ndx-synapsnet {verb}" in text


# --- compare ---------------------------------------------------------------------------------------------------------


def test_two_files_are_compared_over_the_neurons_they_share(write: Write, fitted: FitResult) -> None:
    other, rows = changed(fitted, 2), [9, 3, 5, 1, 2, 0]
    first, second = write("a.nwb", fitted), write("b.nwb", taken(other, rows))
    found = loaded("compare", first, second, "--permutations", "50")
    assert found["shared_neurons"] == {"count": 6, "matched_by": {"source": 6}}
    place = np.ix_(sorted(rows), sorted(rows))
    a, b = (each.connectivity["effective"] for each in (fitted, other))
    edges = tuple(each.q_value[place] <= 0.1 for each in (a, b) if each.q_value is not None)
    expected = compare_matrices(a.weights[place], b.weights[place], edges=edges, permutations=50)  # type: ignore[arg-type]
    assert found["agreement"]["r"] == pytest.approx(expected.r)
    assert found["agreement"]["p"] == expected.p
    assert found["agreement"]["jaccard"] == pytest.approx(expected.jaccard)
    assert found["recovery"] is None
    ids = fitted.neurons.id
    (edge,) = found["differences"]["differing"]
    assert (edge["source"], edge["target"]) == (ids[1], ids[3])
    assert edge["difference"] == pytest.approx(-3, abs=0.5)
    assert found["differences"]["tested"] == 30


def test_a_comparison_is_printed(files: dict[str, Path]) -> None:
    result = run("compare", files["file"], files["changed"])
    assert result.exit_code == 0, result.output
    for words in (
        "Compared over 12 shared neurons (12 by source)", "Pearson r", "Spearman r", "equal sign", "Jaccard",
        "1000 permutations", "pairs with q ≤ 0.1", "1 of 132 pairs differ",
    ):  # fmt: skip
        assert words in result.output


def test_an_estimate_is_compared_with_the_known_wiring(
    files: dict[str, Path], fitted: FitResult, truth: Connectivity
) -> None:
    path = files["truth"]
    expected = recovery(fitted.connectivity["effective"].weights, truth.weights)
    for arguments in ([], ["--matrix", "ground_truth"], ["--matrix", "ground_truth", "--matrix", "effective"]):
        found = loaded("compare", path, *arguments)
        assert found["recovery"]["r"] == pytest.approx(expected["r"])
        assert found["recovery"]["average_precision"] == pytest.approx(expected["average_precision"])
    assert found["first"]["method"] == "ground_truth"
    counts = [k["count"] for k in found["recovery"]["precision_at"]]
    assert counts[-1] == np.count_nonzero(truth.weights)
    text = run("compare", path).output
    assert "Recovery of the known wiring" in text
    assert "(100% of the true edges)" in text
    assert "true connections" in text
    ridge = loaded("compare", path, "--run", "synapsnet", "--matrix", "ridge_var", "--matrix", "ground_truth")
    assert ridge["recovery"]["r"] == pytest.approx(recovery(fitted.connectivity["raw"].weights, truth.weights)["r"])


def test_known_wiring_of_another_file_is_the_other_side(files: dict[str, Path]) -> None:
    sides = ["--matrix", "effective", "--matrix", "ground_truth"]
    found = loaded("compare", files["file"], files["truth"], *sides)
    assert found["second"]["run"] == "ground_truth"
    assert found["recovery"] is not None


@pytest.mark.parametrize(
    ("arguments", "sides"),
    [
        ([], [("synapsnet_2", "effective"), ("synapsnet_3", "effective")]),
        (["--run", "synapsnet", "--run", "synapsnet_3"], [("synapsnet", "effective"), ("synapsnet_3", "effective")]),
        (["--matrix", "ridge_var"], [("synapsnet_3", "effective"), ("synapsnet_3", "ridge_var")]),
        (["--matrix", "ridge_var", "--run", "synapsnet"], [("synapsnet", "effective"), ("synapsnet", "ridge_var")]),
        (
            ["--run", "synapsnet", "--run", "synapsnet_2", "--matrix", "ridge_var"],
            [("synapsnet", "ridge_var"), ("synapsnet_2", "ridge_var")],
        ),
        (["--matrix", "effective", "--matrix", "raw"], [("synapsnet_3", "effective"), ("synapsnet_3", "raw")]),
        (["--matrix", "ground_truth", "--run", "synapsnet"], [("synapsnet", "effective"), ("ground_truth",) * 2]),
        (["--run", "synapsnet"], [("synapsnet", "effective"), ("ground_truth",) * 2]),
    ],
)
def test_which_two_of_one_file(files: dict[str, Path], arguments: list[str], sides: list[tuple[str, str]]) -> None:
    found = loaded("compare", files["runs"], *arguments, "--permutations", "1")
    assert [(found[side]["run"], found[side]["matrix"]) for side in ("first", "second")] == sides


def test_what_must_be_said_is_said(write: Write, fitted: FitResult) -> None:
    worse = replace(fitted, trustworthy=False, verdict="No better than the mean.")
    path = write("a.nwb", worse)
    text = run("compare", path, "--matrix", "raw").output
    assert "synapsnet: effective: NOT TO BE READ. No better than the mean." in text
    assert "signs of its rows are arbitrary" in text
    assert "methods differ (synapsnet and ridge_var)" in text
    for arguments in (["groups", path, "--by", "region"], ["export", path, "-o", path.with_suffix(".csv")]):
        assert "NOT TO BE READ" in run(*arguments).output


def test_doubt_about_p_values_is_said_where_they_are_read(write: Write, fitted: FitResult) -> None:
    said = {"significance": {"trustworthy": False, "why": "All of it is confounding."}}
    path = write("a.nwb", replace(fitted, provenance=said))
    expected = "synapsnet: effective: its p- and q-values are NOT to be trusted: All of it is confounding."
    for arguments in (["groups", path, "--by", "region"], ["export", path, "-o", path.with_suffix(".csv")]):
        assert expected in run(*arguments).output
        assert "NOT to be trusted" not in run(*arguments, "--matrix", "ridge_var", *["--overwrite"]).output
    assert loaded("compare", path, "--matrix", "ridge_var")["cautions"][0] == expected
    fine = replace(fitted, provenance={"significance": {"trustworthy": True, "why": "5% is confounding."}})
    assert "trusted" not in run("groups", write("b.nwb", fine), "--by", "region").output


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"lag_seconds": 0.066}, "lags differ (0.033 and 0.066 s)"),
        ({"description": "z-scored"}, "Second: z-scored"),
        ({"lag_seconds": 0.0331}, ""),
        ({"lag_seconds": float("nan")}, ""),
    ],
)
def test_weights_of_other_units_are_not_subtracted(
    change: dict[str, Any], words: str, write: Write, fitted: FitResult
) -> None:
    effective = replace(fitted.connectivity["effective"], lag_seconds=0.033, description="in spikes")
    paths = [
        write(f"{name}.nwb", replace(fitted, connectivity={"effective": each}))
        for name, each in (("a", effective), ("b", replace(effective, **change)))
    ]
    found = loaded("compare", *paths)
    assert (found["differences"] is None) == bool(words)
    assert words in "".join(found["cautions"])


def test_differences_of_a_sure_and_an_unsure_matrix_come_with_a_word(write: Write, fitted: FitResult) -> None:
    effective = fitted.connectivity["effective"]
    unsure = replace(effective, standard_error=2 * effective.standard_error)
    first, alike = write("a.nwb", fitted), write("b.nwb", fitted)
    second = write("c.nwb", replace(fitted, connectivity={"effective": unsure}))
    (said,) = loaded("compare", first, second)["cautions"]
    assert "median standard errors 0.1 and 0.2" in said
    assert loaded("compare", first, alike)["cautions"] == []


def test_weights_of_two_kinds_are_not_subtracted(files: dict[str, Path], write: Write, fitted: FitResult) -> None:
    effective = fitted.connectivity["effective"]
    normalised = replace(fitted, connectivity={"effective": replace(effective, gain_normalized=True)})
    first, second = files["file"], write("b.nwb", normalised)
    found = loaded("compare", first, second)
    assert found["differences"] is None
    assert "gain normalisations differ" in found["cautions"][0]
    assert loaded("compare", first, write("c.nwb", fitted))["differences"]["differing"] == []


def test_permutations_within_regions(files: dict[str, Path], write: Write, fitted: FitResult) -> None:
    first, second = files["file"], files["changed"]
    assert "within each region" in run("compare", first, second, "--within", "region").output
    for name, region in (("c.nwb", None), ("d.nwb", np.full(N, " "))):
        other = replace(fitted, neurons=replace(fitted.neurons, region=region))
        refused = run("compare", write(name, other), second, "--within", "region")
        assert refused.exit_code == 2
        assert "no neuron has a region" in refused.output


def test_neurons_of_other_files_match_by_id_where_that_is_said(write: Write, fitted: FitResult) -> None:
    elsewhere = replace(fitted.neurons, source_object_id=np.full(N, "other"))
    first, second = write("a.nwb", fitted), write("b.nwb", replace(fitted, neurons=elsewhere))
    refused = run("compare", first, second)
    assert refused.exit_code == 2
    assert "0 of 12 and 12 neurons are the same" in refused.output
    assert loaded("compare", first, second, "--match", "id")["shared_neurons"]["matched_by"] == {"id": N}


def test_a_comparison_is_drawn(files: dict[str, Path], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = files["runs"]
    picture = tmp_path / "new" / "both.png"
    result = run("compare", path, "--plot", picture)
    assert result.exit_code == 0, result.output
    assert picture.read_bytes().startswith(b"\x89PNG")
    refused = run("compare", path, "--plot", picture)
    assert refused.exit_code == 2
    assert "--overwrite" in refused.output
    assert run("compare", path, "--plot", picture, "--overwrite").exit_code == 0


# --- groups ----------------------------------------------------------------------------------------------------------


def test_groups_by_region(files: dict[str, Path], fitted: FitResult, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path, table, picture = files["file"], tmp_path / "r.csv", tmp_path / "r.png"
    found = loaded("groups", path, "--by", "region", "--csv", table, "--plot", picture)
    effective = fitted.connectivity["effective"]
    target, source = (np.flatnonzero(fitted.neurons.region == name) for name in ("CA1", "V1"))
    block = np.ix_(target, source)
    (row,) = [row for row in found["rows"] if (row["target"], row["source"]) == ("CA1", "V1")]
    assert row["mean_weight"] == pytest.approx(effective.weights[block].mean())
    assert effective.q_value is not None
    assert row["edge_share"] == pytest.approx((effective.q_value[block] <= 0.1).mean())
    assert found["edges_are"] == "pairs with q ≤ 0.1"
    assert {row["target"] for row in found["rows"]} == {"CA1", "V1", "unknown"}
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(found["rows"]) == 9
    assert float(rows[1]["mean_weight"]) == pytest.approx(found["rows"][1]["mean_weight"])
    assert picture.read_bytes().startswith(b"\x89PNG")
    refused = run("groups", path, "--by", "region", "--csv", table)
    assert refused.exit_code == 2
    assert "is there already" in refused.output
    text = run("groups", path, "--by", "region", "--strongest", "5").output
    assert "the 5 strongest pairs" in text
    assert "Reciprocity" in text


def test_groups_by_distance_and_neuron(files: dict[str, Path], fitted: FitResult, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = files["file"]
    found = loaded("groups", path, "--by", "distance", "--bins", "3", "--plot", tmp_path / "d.png")
    assert [row["pairs"] for row in found["rows"]] == [44, 44, 44]
    found = loaded("groups", path, "--by", "neuron", "--matrix", "ridge_var", "--plot", tmp_path / "n.png")
    weights = fitted.connectivity["ridge_var"].weights
    assert [row["neuron"] for row in found["rows"]] == fitted.neurons.id.tolist()
    assert [row["in_weight"] for row in found["rows"]] == pytest.approx(weights.sum(1).tolist(), abs=1e-5)
    assert found["edges_are"] == "the strongest 10% of pairs"
    assert sum(row["out_degree"] for row in found["rows"]) == found["edges"] == 13
    text = run("groups", path, "--by", "neuron").output
    assert "out strength" in text


# --- export ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["graphml", "csv", "tsv", "json", "npz"])
def test_every_format_is_written(files: dict[str, Path], fitted: FitResult, tmp_path: Path, ending: str) -> None:
    if ending == "graphml":
        pytest.importorskip("networkx")
    path, out = files["file"], tmp_path / f"edges.{ending}"
    result = run("export", path, "-o", out, "--significant", "0.1")
    assert result.exit_code == 0, result.output
    q = fitted.connectivity["effective"].q_value
    assert q is not None
    assert f"12 neurons and {np.sum(q[OFF] <= 0.1)} edges" in result.output
    assert out.stat().st_size > 0
    assert run("export", path, "-o", out).exit_code == 2
    assert run("export", path, "-o", out, "--overwrite", "--matrix", "ridge_var", "--strongest", "3").exit_code == 0


def test_edges_go_from_source_to_target(write: Write, fitted: FitResult, tmp_path: Path) -> None:
    weights = np.zeros((N, N))
    weights[4, 7] = -2.0  # to 4 from 7
    one = replace(fitted, connectivity={"effective": Connectivity(weights, "synapsnet", "")})
    out = tmp_path / "edges.csv"
    assert run("export", write("a.nwb", one), "-o", out).exit_code == 0
    with out.open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["source"], row["target"], row["weight"]) == (fitted.neurons.id[7], fitted.neurons.id[4], "-2")


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["compare", "nothing.nwb"], "nothing.nwb"),
        (["compare", "{file}"], "only one matrix is named, synapsnet: effective"),
        (["compare", "{file}", "{file}"], "only one matrix is named"),
        (["compare", "{file}", "--matrix", "effective"], "only one matrix is named"),
        (["compare", "{file}", "--run", "mine", "--matrix", "raw"], "there is no run 'mine'"),
        (["compare", "{file}", "--matrix", "ground_truth"], "there is no matrix 'ground_truth'"),
        (["compare", "{file}", *["--matrix", "raw"] * 3], "--matrix is given 3 times"),
        (["compare", "{file}", "--matrix", "raw", "--significant", "0.1"], "has no q-values"),
        (["compare", "{file}", "--matrix", "raw", "--significant", "0"], "--significant"),
        (["compare", "{file}", "--matrix", "raw", "--permutations", "0"], "--permutations"),
        (["compare", "{file}", "--matrix", "raw", "--plot", "{folder}"], "is a folder"),
        (["compare", "{file}", "--matrix", "raw", "--plot", "{folder}/a.xyz"], "a.xyz"),
        (["groups", "{file}"], "--by"),
        (["groups", "{file}", "--by", "cell_type"], "no neuron has a cell type"),
        (["groups", "{file}", "--by", "region", "--matrix", "mine"], "there is no matrix 'mine'"),
        (["groups", "{file}", "--by", "region", "--csv", "{file}"], "is there already"),
        (["groups", "{plain}", "--by", "distance"], "the neurons have no positions"),
        (["groups", "{plain}", "--by", "region"], "no neuron has a region"),
        (["export", "{file}"], "--output"),
        (["export", "{file}", "-o", "{folder}/a.gexf"], "End it in .graphml"),
        (["export", "{file}", "-o", "{file}/a.csv"], "cannot be made"),
        (["export", "{file}", "-o", "{folder}/a.csv", "--matrix", "raw", "--significant", "0.1"], "has no q-values"),
        (["export", "{empty}", "-o", "{folder}/a.csv"], "holds no connectivity"),
    ],
)
def test_bad_input_ends_with_2_and_a_sentence(
    files: dict[str, Path], tmp_path: Path, arguments: list[str], words: str
) -> None:
    result = run(*(argument.format(**files, folder=tmp_path) for argument in arguments))
    assert result.exit_code == 2
    assert words in result.output
    assert "Traceback" not in result.output


def test_without_networkx_graphml_names_the_extra(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "networkx", None)
    result = run("export", files["file"], "-o", tmp_path / "a.graphml")
    assert result.exit_code == 2
    assert "ndx-synapsnet[graph]" in result.output


def test_without_matplotlib_a_picture_names_the_extra(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    path = files["file"]
    for arguments in (["compare", path, "--matrix", "raw"], ["groups", path, "--by", "region"]):
        result = run(*arguments, "--plot", tmp_path / "a.png")
        assert result.exit_code == 2
        assert "ndx-synapsnet[plot]" in result.output
