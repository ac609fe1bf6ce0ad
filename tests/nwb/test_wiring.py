"""One matrix of a file, and which neurons two files share."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pynwb import NWBFile

from ndx_synapsnet.errors import InputError
from ndx_synapsnet.nwb.matching import match_neurons
from ndx_synapsnet.nwb.metadata import new_nwbfile
from ndx_synapsnet.nwb.results import add_result, add_true_connectivity, write_result
from ndx_synapsnet.nwb.wiring import find_wiring, list_wirings, read_wiring
from ndx_synapsnet.session import Connectivity, FitResult, Neurons


def neurons(rows: list[int], *, table: str = "units", identity: list[str] | None = None, ids: str = "n") -> Neurons:
    n = len(rows)
    return Neurons(
        id=np.array([f"{ids}{row}" for row in rows]),
        source_path=np.full(n, "/units"),
        source_object_id=np.full(n, table),
        source_row=np.array(rows),
        identity=None if identity is None else np.array(identity),
    )


# --- which neurons are the same --------------------------------------------------------------------------------------


def test_neurons_of_one_table_match_by_row_in_the_firsts_order() -> None:
    found = match_neurons(neurons([4, 2, 9, 7]), neurons([1, 2, 7, 4]))
    assert found.first.tolist() == [0, 1, 3]
    assert found.second.tolist() == [3, 1, 2]
    assert found.ways == {"source": 3}


def test_neurons_of_one_table_whose_rows_moved_match_by_id() -> None:
    first, second = neurons([0, 1, 2]), neurons([10, 11, 12])
    second = replace(second, id=np.array(["n2", "n0", "n1"]))
    assert match_neurons(first, second).second.tolist() == [1, 2, 0]


def test_neurons_of_two_tables_match_by_identity_only() -> None:
    first = neurons([0, 1, 2, 3], table="a", identity=["m:x", "m:y", "", "m:z"])
    second = neurons([0, 1, 2, 3], table="b", identity=["", "m:z", "m:x", "m:y"])
    found = match_neurons(first, second)
    assert found.first.tolist() == [0, 1, 3]
    assert found.second.tolist() == [2, 3, 1]
    assert found.ways == {"identity": 3}
    with pytest.raises(InputError, match="0 of 4 and 4 neurons are the same by source"):
        match_neurons(first, second, "source")


def test_those_without_identity_match_by_source_unless_identities_speak_against_it() -> None:
    first = neurons([0, 1, 2, 3, 4], identity=["m:a", "m:b", "m:c", "", ""])
    second = neurons([0, 1, 2, 3, 4], identity=["m:b", "m:a", "m:other", "", "m:e"])
    found = match_neurons(first, second)
    assert list(zip(found.first.tolist(), found.second.tolist(), strict=True)) == [(0, 1), (1, 0), (3, 3), (4, 4)]
    assert found.ways == {"identity": 2, "source": 2}


def test_what_occurs_twice_recognises_nothing() -> None:
    first = neurons([0, 1, 2, 3], table="a", identity=["m:x", "m:x", "m:y", "m:z"])
    second = neurons([0, 1, 2, 3], table="b", identity=["m:x", "m:y", "m:z", "m:w"])
    with pytest.raises(InputError, match="2 of 4 and 4 neurons are the same by identity or source, expected 3 or more"):
        match_neurons(first, second)


def test_ids_of_two_files_match_only_where_that_is_asked_for() -> None:
    first, second = neurons([0, 1, 2], table="a"), neurons([2, 1, 0], table="b")
    with pytest.raises(InputError, match="--match id"):
        match_neurons(first, second)
    assert match_neurons(first, second, "id").second.tolist() == [2, 1, 0]


def test_an_empty_object_id_is_no_source() -> None:
    with pytest.raises(InputError, match="0 of 3"):
        match_neurons(neurons([0, 1, 2], table=""), neurons([0, 1, 2], table=""))


# --- one matrix of a file --------------------------------------------------------------------------------------------


@pytest.fixture
def nwbfile(result: FitResult) -> NWBFile:
    """Two runs, the later one without an effective matrix, and known wiring."""
    made = new_nwbfile({}, description="")
    add_result(made, replace(result, provenance={**result.provenance, "finished": "2026-01-01T00:00:00+00:00"}))
    others = {"forecast": result.connectivity["raw"], "ridge_var": result.connectivity["ridge_var"]}
    later = {**result.provenance, "finished": "2026-01-02T00:00:00+00:00"}
    add_result(made, replace(result, connectivity=others, provenance=later, trustworthy=False, verdict="Worse."))
    n = len(result.neurons)
    truth = Connectivity(np.eye(n, k=1), "simulated", "")
    add_true_connectivity(made, result.neurons, truth, modality=result.modality)
    return made


def test_every_matrix_is_listed_latest_run_first(nwbfile: NWBFile) -> None:
    assert [run for run, _ in list_wirings(nwbfile)] == ["synapsnet_2"] * 2 + ["synapsnet"] * 3 + ["ground_truth"]
    assert {name for run, name in list_wirings(nwbfile) if run == "synapsnet_2"} == {"forecast", "ridge_var"}
    assert {name for run, name in list_wirings(nwbfile) if run == "synapsnet"} == {"effective", "raw", "ridge_var"}


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ((None, "effective"), ("synapsnet", "effective")),  # the latest run that has it
        ((None, "ridge_var"), ("synapsnet_2", "ridge_var")),
        (("synapsnet", None), ("synapsnet", "effective")),
        (("synapsnet", "ridge_var"), ("synapsnet", "ridge_var")),
        ((None, "ground_truth"), ("ground_truth", "ground_truth")),
        (("ground_truth", None), ("ground_truth", "ground_truth")),
    ],
)
def test_a_matrix_is_found(nwbfile: NWBFile, asked: tuple[str | None, str | None], found: tuple[str, str]) -> None:
    wiring = find_wiring(nwbfile, *asked)
    assert (wiring.run, wiring.matrix) == found
    assert wiring.known == (found[0] == "ground_truth")


def test_what_is_read_is_what_was_written(result: FitResult, tmp_path: Path) -> None:
    wiring = read_wiring(write_result(result, tmp_path / "result.nwb").path)
    assert wiring.connectivity == result.connectivity["effective"]
    assert wiring.neurons == result.neurons
    assert (wiring.trustworthy, wiring.verdict) == (True, result.verdict)
    assert wiring.label == "synapsnet: effective"


def test_a_run_that_is_not_to_be_trusted_says_so(nwbfile: NWBFile) -> None:
    wiring = find_wiring(nwbfile, "synapsnet_2", "ridge_var")
    assert (wiring.trustworthy, wiring.verdict) == (False, "Worse.")
    assert find_wiring(nwbfile, "ground_truth").trustworthy
    assert find_wiring(nwbfile, "synapsnet", "raw").arbitrary_sign
    assert not find_wiring(nwbfile, "synapsnet").arbitrary_sign


def test_neurons_are_chosen_with_rows_and_columns(result: FitResult, tmp_path: Path) -> None:
    matrix = result.connectivity["effective"]
    marked = replace(matrix, q_value=matrix.weights**2)
    path = write_result(replace(result, connectivity={"effective": marked}), tmp_path / "result.nwb").path
    part = read_wiring(path).select([5, 1])
    assert part.neurons.id.tolist() == result.neurons.id[[5, 1]].tolist()
    w = matrix.weights
    np.testing.assert_array_equal(part.connectivity.weights, [[w[5, 5], w[5, 1]], [w[1, 5], w[1, 1]]])
    np.testing.assert_array_equal(part.connectivity.q_value, part.connectivity.weights**2)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (("mine", None), "there is no run 'mine'. It holds synapsnet_2"),
        ((None, "mine"), "there is no matrix 'mine'"),
        (("ground_truth", "effective"), "there is no matrix 'effective' of run 'ground_truth'"),
    ],
)
def test_a_matrix_that_is_not_there(nwbfile: NWBFile, asked: tuple[str | None, str | None], words: str) -> None:
    with pytest.raises(InputError, match=words):
        find_wiring(nwbfile, *asked)


def test_a_file_without_connectivity() -> None:
    with pytest.raises(InputError, match="holds no connectivity"):
        find_wiring(new_nwbfile({}, description=""))
