"""Orders of neurons along matrices and rasters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ndx_synapsnet.errors import InputError
from ndx_synapsnet.session import Neurons
from ndx_synapsnet.show.ordering import available_orders, cluster_embeddings, depth_of, order_by


def neurons(n: int, **columns: Any) -> Neurons:
    ids = np.arange(n).astype(str)
    return Neurons(ids, ids, ids, np.arange(n), **columns)


def test_regions_are_sorted_and_the_unknown_come_last() -> None:
    order = order_by("region", neurons(6, region=np.array(["b", "", "a", "b", "a", "b"])))
    assert order.rows.tolist() == [2, 4, 0, 3, 5, 1]
    assert order.groups == (("a", 0, 2), ("b", 2, 5), ("unknown", 5, 6))
    assert order.said == "neurons by region"


def test_depth_is_z_of_an_imaged_volume_and_y_of_a_probe_unless_a_column_says_it() -> None:
    position = np.array([[0.0, 9, 3], [0, 8, 1], [0, np.nan, 2], [0, 7, np.nan]])
    seen = neurons(4, position=position)
    imaged, probed = order_by("depth", seen), order_by("depth", seen, modality="ecephys")
    assert imaged.rows.tolist() == [1, 2, 0, 3]
    assert probed.rows.tolist() == [3, 1, 0, 2]
    assert imaged.groups == (("1", 0, 1), ("2", 1, 2), ("3", 2, 3))  # that of unknown depth belongs to none
    named = neurons(4, position=position, extra={"probe_depth": np.array([4, 3, 2, 1])})
    assert order_by("depth", named).rows.tolist() == [3, 2, 1, 0]
    assert "column probe_depth" in order_by("depth", named).said
    assert depth_of(neurons(2, position=np.zeros((2, 3))), "ophys") is None


def test_clusters_are_found_and_numbered_along_the_first_component() -> None:
    rng = np.random.default_rng(3)
    centres = np.array([[0.0, 0, 0], [9, 0, 0], [20, 1, 0]])
    truth = np.arange(30) % 3
    labels = cluster_embeddings(centres[truth] + 0.1 * rng.normal(size=(30, 3)))
    assert labels is not None
    assert len(np.unique(labels)) == 3
    assert all(len(np.unique(labels[truth == k])) == 1 for k in range(3))
    assert [int(labels[truth == k][0]) for k in range(3)] == [0, 1, 2]  # as they lie along the first component
    order = order_by("embedding cluster", neurons(30), centres[truth])
    assert [name for name, _, _ in order.groups] == ["cluster 1", "cluster 2", "cluster 3"]


@pytest.mark.parametrize("embeddings", [np.zeros((20, 3)), np.zeros((20, 0)), np.eye(4), np.full((20, 2), np.nan)])
def test_there_are_no_clusters_where_nothing_differs(embeddings: Any) -> None:
    assert cluster_embeddings(embeddings) is None


def test_what_cannot_be_is_told_with_what_can() -> None:
    one_each = neurons(4, region=np.array(list("abcd")), cell_type=np.array(["e", "e", "i", "i"]))
    assert available_orders(one_each) == ["cell type", "file"]
    with pytest.raises(InputError, match=r"'region'.*They can by: cell type, file"):
        order_by("region", one_each)
    with pytest.raises(InputError, match="'beauty'"):
        order_by("beauty", one_each)
