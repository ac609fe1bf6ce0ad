"""Connectivity as a graph, in every format."""

from __future__ import annotations

import csv
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ndx_synapsnet import to_networkx
from ndx_synapsnet.errors import InputError
from ndx_synapsnet.session import Connectivity, FitResult, Neurons
from ndx_synapsnet.show.graphs import WRITERS, Graph, write_graph

WEIGHTS = np.array([[9, 0.5, 0], [-0.25, 9, 0], [0, 2, 9]])  # 1>0, 0>1, 1>2
EDGES = (WEIGHTS != 0) & ~np.eye(3, dtype=bool)


@pytest.fixture
def graph() -> Graph:
    neurons = Neurons(
        id=np.array(["a", "b", "c,\x01d"]),
        source_path=np.full(3, "/units"),
        source_object_id=np.full(3, "table"),
        source_row=np.arange(3),
        region=np.array(["CA1", "", "V\x021"]),
        position=np.array([[1, 2, np.nan], [np.nan] * 3, [3, 4, np.nan]]),
    )
    error = np.full((3, 3), 0.125)
    error[0, 1] = np.nan
    matrix = Connectivity(WEIGHTS, "synapsnet", "what it means", lag_seconds=0.5, standard_error=error)
    return Graph(neurons, matrix, EDGES, {"run": "synapsnet", "trustworthy": True})


def test_graphml_is_read_by_networkx(graph: Graph, tmp_path: Path) -> None:
    networkx = pytest.importorskip("networkx")
    write_graph(graph, tmp_path / "g.graphml")
    read = networkx.read_graphml(tmp_path / "g.graphml")
    assert read.is_directed()
    assert list(read.nodes) == ["a", "b", "c,�d"]  # XML has no control characters
    assert set(read.edges) == {("b", "a"), ("a", "b"), ("b", "c,�d")}
    assert read.edges["b", "a"] == {"weight": 0.5}
    assert read.edges["a", "b"] == {"weight": -0.25, "standard_error": 0.125}
    assert read.nodes["a"] == {"region": "CA1", "x": 1.0, "y": 2.0}
    assert read.nodes["b"] == {}
    assert read.nodes["c,�d"] == {"region": "V�1", "x": 3.0, "y": 4.0}
    assert read.graph["run"] == "synapsnet"


@pytest.mark.parametrize(("ending", "delimiter"), [("csv", ","), ("TSV", "\t")])
def test_an_edge_list_has_a_row_an_edge(graph: Graph, tmp_path: Path, ending: str, delimiter: str) -> None:
    path = tmp_path / f"g.{ending}"
    write_graph(graph, path)
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter=delimiter))
    assert [(row["source"], row["target"]) for row in rows] == [("a", "b"), ("b", "a"), ("b", "c,\x01d")]
    assert [row["weight"] for row in rows] == ["-0.25", "0.5", "2"]
    assert [row["standard_error"] for row in rows] == ["0.125", "", "0.125"]
    assert [row["source_region"] for row in rows] == ["CA1", "", ""]
    assert [row["target_x"] for row in rows] == ["", "1.0", "3.0"]
    assert "source_z" not in rows[0]
    assert "p_value" not in rows[0]


def test_node_link_json_is_read_by_networkx(graph: Graph, tmp_path: Path) -> None:
    networkx = pytest.importorskip("networkx")
    write_graph(graph, tmp_path / "g.json")
    data = json.loads((tmp_path / "g.json").read_text())
    read = networkx.node_link_graph(data, edges="edges")
    assert read.edges["b", "c,\x01d"] == {"weight": 2.0, "standard_error": 0.125}
    assert read.nodes["a"] == {"region": "CA1", "x": 1.0, "y": 2.0}
    assert read.graph == {"run": "synapsnet", "trustworthy": True}


def test_arrays_are_as_they_were(graph: Graph, tmp_path: Path) -> None:
    write_graph(graph, tmp_path / "g.npz")
    with np.load(tmp_path / "g.npz") as read:
        np.testing.assert_array_equal(read["weights"], WEIGHTS)
        np.testing.assert_array_equal(read["edges"], EDGES)
        np.testing.assert_array_equal(read["standard_error"], graph.connectivity.standard_error)
        assert read["id"].tolist() == graph.neurons.id.tolist()
        assert read["position"].shape == (3, 3)
        assert "p_value" not in read
        assert json.loads(str(read["about"])) == graph.about


def test_a_result_becomes_a_networkx_graph(result: FitResult) -> None:
    pytest.importorskip("networkx")
    made = to_networkx(result, strongest=7)
    n = len(result.neurons)
    assert list(made.nodes) == result.neurons.id.tolist()
    weights = result.connectivity["effective"].weights
    assert made.number_of_edges() == 7
    off = np.sort(np.abs(weights[~np.eye(n, dtype=bool)]))
    for source, target, weight in made.edges(data="weight"):
        place = [result.neurons.id.tolist().index(each) for each in (target, source)]
        assert weight == weights[tuple(place)]
        assert abs(weight) >= off[-7]
    assert made.graph["run_id"] == result.run_id
    assert made.graph["method"] == "effective"
    assert to_networkx(result, "raw").number_of_edges() == n * (n - 1)


def test_matrices_that_cannot_be_had(result: FitResult) -> None:
    with pytest.raises(InputError, match=r"there is no matrix 'mine'. The result has effective, raw, ridge_var"):
        to_networkx(result, "mine")
    with pytest.raises(InputError, match="no q-values"):
        to_networkx(result, significant=0.1)


def test_significant_edges_only(result: FitResult) -> None:
    pytest.importorskip("networkx")
    n = len(result.neurons)
    q = np.ones((n, n))
    q[3, 1] = 0.04
    matrix = replace(result.connectivity["effective"], q_value=q)
    made = to_networkx(replace(result, connectivity={"effective": matrix}), significant=0.05)
    ((source, target, held),) = made.edges(data=True)
    assert (source, target) == (result.neurons.id[1], result.neurons.id[3])
    assert held["q_value"] == pytest.approx(0.04)


def test_without_networkx_the_extra_is_named(graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "networkx", None)
    with pytest.raises(InputError, match=r"pip install 'ndx-synapsnet\[graph\]'"):
        write_graph(graph, tmp_path / "g.graphml")
    for ending in set(WRITERS) - {".graphml"}:
        write_graph(graph, tmp_path / f"g{ending}")
    assert sorted(path.suffix for path in tmp_path.iterdir()) == sorted(set(WRITERS) - {".graphml"})


def test_an_ending_that_names_no_format(graph: Graph, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"End it in .graphml, .csv, .tsv, .json, .npz"):
        write_graph(graph, tmp_path / "g.gexf")


def test_a_file_is_whole_or_not_there(graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "g.csv").write_text("before")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ndx_synapsnet.show.graphs.os.replace", full)
    with pytest.raises(InputError, match=r"g.csv: cannot be written \(No space left on device\)"):
        write_graph(graph, tmp_path / "g.csv")
    assert (tmp_path / "g.csv").read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["g.csv"]
