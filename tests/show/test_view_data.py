"""What pictures show, computed before anything is drawn."""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest

from ndx_synapsnet.errors import InputError
from ndx_synapsnet.session import FitResult, Neurons, Session
from ndx_synapsnet.show.activity_view import (
    components_view,
    correlate_series,
    currents_view,
    longest_stretch,
    raster_view,
)
from ndx_synapsnet.show.matrix_view import block_means, color_limit, matrix_view, strongest_edges
from ndx_synapsnet.show.network_view import available_layouts, network_view
from ndx_synapsnet.show.neuron_view import embedding_view, neuron_columns, score_view
from ndx_synapsnet.show.ordering import Order


def neurons(n: int, **columns: object) -> Neurons:
    ids = np.arange(n).astype(str)
    return Neurons(ids, ids, ids, np.arange(n), **columns)  # type: ignore[arg-type]


def test_blocks_are_averaged_the_last_of_what_is_left() -> None:
    matrix = np.array([[1.0, 3, 5], [5, 7, 9], [1, 2, 8]], np.float32)
    means, block = block_means(matrix, 2)
    assert block == 2
    np.testing.assert_array_equal(means, [[4, 7], [1.5, 8]])
    same, block = block_means(matrix, 3)
    assert block == 1
    np.testing.assert_array_equal(same, matrix)
    tall, block = block_means(np.arange(8.0).reshape(4, 2), 2)
    np.testing.assert_array_equal(tall, [[1.5], [5.5]])


def test_a_matrix_is_ordered_thinned_and_says_so() -> None:
    matrix = np.arange(16, dtype=np.float32).reshape(4, 4)
    order = Order("x", np.array([3, 1, 0, 2]), (("a", 0, 2), ("b", 2, 4)), "by x")
    view = matrix_view({"m": matrix}, order, edges=matrix > 7, edges_said="the largest")
    np.testing.assert_array_equal(view.matrices[0], [[15, 13, 12, 14], [0, 0, 0, 0], [0, 0, 0, 0], [11, 9, 8, 10]])
    assert view.note == "by x; the largest"
    assert view.groups == order.groups
    few = matrix_view({"m": -matrix}, order, edges=matrix > 9, most_pixels=2)
    np.testing.assert_array_equal(few.matrices[0], [[-15, -14], [-11, -10]])
    assert few.note == "by x; each pixel is the strongest of 2 x 2 pairs"
    small = matrix_view({"m": matrix}, order, most_pixels=2)
    assert small.matrices[0].shape == (2, 2)
    assert small.shape == (4, 4)
    assert small.note == "by x; each pixel is the mean over 2 x 2 pairs"


@pytest.mark.parametrize(("targets", "sources", "most"), [(7, 9, 3), (10, 10, 20), (13, 5, 4)])
def test_blocks_show_their_strongest_edge(targets: int, sources: int, most: int) -> None:
    rng = np.random.default_rng(0)
    matrix, edges = rng.normal(size=(targets, sources)), rng.random((targets, sources)) < 0.4
    rows = rng.permutation(targets), rng.permutation(sources)
    found, block = strongest_edges(matrix, edges, rows, most)
    kept = np.where(edges, matrix, 0)[np.ix_(*rows)]
    assert max(found.shape) <= most
    for (down, across), value in np.ndenumerate(found):
        inside = kept[down * block : (down + 1) * block, across * block : (across + 1) * block].ravel()
        assert value == inside[np.abs(inside).argmax()]


def test_colours_of_few_edges_are_those_of_the_edges() -> None:
    matrix = np.zeros((50, 50))
    matrix[0, 1], matrix[2, 2] = -0.5, 100.0  # its own weight does not count
    assert color_limit(matrix) == 0.5
    assert color_limit(np.zeros((3, 3))) == 1.0


def test_edges_go_from_source_to_target_the_strongest_last() -> None:
    weights = np.array([[0.0, 0.2, 0], [-0.9, 0, 0], [0, 0.5, 0]])
    position = np.array([[0.0, 0, 0], [4, 0, 1], [0, 3, 2]])
    view = network_view(neurons(3, position=position), weights, weights != 0)
    assert list(zip(view.source.tolist(), view.target.tolist(), view.weight.tolist(), strict=True)) == [
        (1, 0, 0.2), (1, 2, 0.5), (0, 1, -0.9),
    ]  # fmt: skip
    assert view.spatial
    np.testing.assert_array_equal(view.places, position)


def test_edges_of_neurons_without_a_place_are_left_out_and_counted() -> None:
    position = np.array([[0.0, 0, 5], [4, 0, 5], [np.nan, 3, 5]])
    view = network_view(neurons(3, position=position), np.ones((3, 3)), ~np.eye(3, dtype=bool), edges_said="all")
    assert view.places.shape == (3, 2)  # one plane, and here one line in it
    assert view.axes == ("x", "y")
    assert len(view.weight) == 2
    assert "4 edges of neurons without a position are left out" in view.note


def test_units_of_one_electrode_are_drawn_beside_each_other() -> None:
    position = np.array([[0.0, 0, 0], [0, 0, 0], [0, 100, 50]])
    view = network_view(neurons(3, position=position), np.ones((3, 3)), ~np.eye(3, dtype=bool))
    assert 0 < np.linalg.norm(view.places[0] - view.places[1]) < 20
    np.testing.assert_array_equal(view.places[2], position[2, 1:])
    assert "beside each other" in view.note


def test_without_positions_places_are_the_embeddings_and_that_is_said() -> None:
    embeddings = np.random.default_rng(0).normal(size=(12, 5))
    cells = neurons(12)
    assert available_layouts(cells, embeddings) == ["embedding", "circle"]
    view = network_view(cells, np.ones((12, 12)), ~np.eye(12, dtype=bool), embeddings)
    assert not view.spatial
    assert view.note.startswith("not positions")
    assert view.axes[0].startswith("embedding PC 1")
    circle = network_view(cells, np.ones((12, 12)), ~np.eye(12, dtype=bool), embeddings[:, :0])
    np.testing.assert_allclose(np.linalg.norm(circle.places, axis=1), 1)
    with pytest.raises(InputError, match=r"no position.*embedding, circle"):
        network_view(cells, np.ones((12, 12)), np.eye(12) > 1, embeddings, layout="position")


def test_the_map_is_the_singular_vectors_of_numpy() -> None:
    embeddings = np.random.default_rng(0).normal(size=(20, 4)) * [5, 2, 1, 0.1]
    u, s, _ = np.linalg.svd(embeddings - embeddings.mean(0), full_matrices=False)
    view = embedding_view(neurons(20), embeddings)
    np.testing.assert_allclose(np.abs(view.places), np.abs(u[:, :2] * s[:2]), atol=1e-9)
    assert f"({100 * s[0] ** 2 / np.sum(s**2):.0f} % of variance)" in view.axes[0]


def test_neurons_have_the_columns_that_tell_them_apart(result: FitResult) -> None:
    n = len(result.neurons)
    regions = np.array(["a", "b"] * (n // 2))
    extra = {"snr": np.arange(n), "plane": np.ones(n), "label": np.arange(n).astype(str), "kind": regions}
    known = replace(result.neurons, region=regions, cell_type=np.full(n, "e"), extra=extra)
    columns = neuron_columns(known, result.embeddings, result.scores)
    assert {"region", "kind", "snr", "embedding cluster", "test r of synapsnet", "test MSE of ar"} <= set(columns)
    assert not {"cell type", "plane", "label", "test r of mean", "test MSE of mean"} & set(columns)
    with pytest.raises(InputError, match="no column 'beauty'"):
        embedding_view(known, result.embeddings, column="beauty")


@pytest.mark.skipif(find_spec("umap") is None, reason="umap-learn is not installed (extra: umap)")
def test_umap_keeps_neighbours_together_and_repeats_itself() -> None:
    rng = np.random.default_rng(0)
    group = np.repeat([0, 1, 2], 20)
    embeddings = rng.normal(size=(60, 5)) + 20 * np.eye(3, 5)[group]
    view = embedding_view(neurons(60), embeddings, method="umap")
    assert view.axes == ("UMAP 1", "UMAP 2")
    assert "distances between groups are not" in view.note
    distance = np.linalg.norm(view.places[:, None] - view.places[None], axis=2) + 1e9 * np.eye(60)
    np.testing.assert_array_equal(group[distance.argmin(axis=1)], group)
    again = embedding_view(neurons(60), embeddings, method="umap")
    np.testing.assert_array_equal(again.places, view.places)


def test_umap_of_too_few_neurons_is_refused() -> None:
    with pytest.raises(InputError, match=r"cannot map 3 neurons.*4 or more"):
        embedding_view(neurons(3), np.eye(3), method="umap")


def test_a_missing_umap_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(InputError, match=r"umap-learn.*ndx-synapsnet\[umap\]"):
        embedding_view(neurons(5), np.eye(5), method="umap")


def test_scores_are_compared_with_own_history_unless_another_is_named(result: FitResult) -> None:
    view = score_view(result.scores, "synapsnet", {"ar": "own"})
    assert view.reference == "own"
    assert view.names == ("synapsnet", "own")  # the mean has no correlation
    np.testing.assert_array_equal(view.pairs[0], result.scores["ar"].correlation)
    assert score_view(result.scores, "synapsnet", {}, reference="mean").reference == "mean"


def test_a_raster_is_averaged_in_the_order_of_its_rows() -> None:
    values = np.array([[1.0, 10, 100], [3, 30, 300], [5, 50, 500]])
    order = Order("x", np.array([2, 0, 1]), said="by x")
    view = raster_view(values, np.array([0.0, 1, 2]), order, recorded=-values, most_columns=2, most_rows=2)
    np.testing.assert_allclose(view.predicted, [[(2 + 200) / 2, (5 + 500) / 2], [20, 50]])
    assert view.recorded is not None
    np.testing.assert_allclose(view.recorded, -view.predicted)
    assert view.note == "by x; each column is the mean of 2 samples; each row is the mean of 2 neurons"
    assert view.times == (0.0, 2.0)


def test_stored_currents_are_one_sample_earlier_than_their_row() -> None:
    activity = np.random.default_rng(0).normal(size=(300, 3))
    found = correlate_series(activity, activity, (0, 1, 2))
    np.testing.assert_allclose(found.correlation[:, 1], 1)
    assert np.all(np.abs(found.correlation[:, [0, 2]]) < 0.2)
    same_time = correlate_series(activity[:-1], activity[1:], (1,), lead=0)
    expected = [np.corrcoef(activity[:-2, k], activity[2:, k])[0, 1] for k in range(3)]
    np.testing.assert_allclose(same_time.correlation[:, 0], expected)


def test_currents_of_two_stretches_are_not_paired_across_the_gap() -> None:
    activity = np.random.default_rng(0).normal(size=(20, 1))
    segment = np.repeat([0, 1], 10)
    found = correlate_series(activity, activity, (1, 2), segment=segment, lead=0)
    pairs = [(t, t + 1) for t in range(19) if t != 9]
    first, second = (activity[[pair[k] for pair in pairs], 0] for k in (0, 1))
    assert found.correlation[0, 0] == pytest.approx(np.corrcoef(first, second)[0, 1])


def test_components_and_currents_are_of_the_test_part(result: FitResult, session: Session) -> None:
    components = components_view(result, session)
    assert components.components.truth.shape == (len(result.forecast.times), 3)
    assert np.all(components.components.correlation > 0.3)  # the forecast is the truth and noise
    curves = currents_view(result, session).curves
    assert list(curves) == ["SynapsNet connectivity", "lag-0 correlation", "connectivity, shuffled"]
    assert curves["lag-0 correlation"].correlation.shape == (len(result.neurons), 21)
    with pytest.raises(InputError, match="no connectivity"):
        currents_view(replace(result, connectivity={}), session)


def test_the_longest_stretch_ends_at_gaps() -> None:
    times = np.r_[np.arange(5), 20 + np.arange(8), 90 + np.arange(3)].astype(float)
    assert longest_stretch(times) == slice(5, 13)
    assert longest_stretch(times, 4) == slice(5, 9)
