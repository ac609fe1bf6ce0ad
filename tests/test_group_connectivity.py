"""Readouts by region, distance and neuron, by hand and by the slow definition."""

from __future__ import annotations

import numpy as np
import pytest

from ndx_synapsnet.metrics import (
    distance_connectivity,
    group_connectivity,
    neuron_connectivity,
    reciprocity,
    strongest_edges,
)

# [target, source]; the diagonal must not count
W = np.array(
    [
        [90.0, 1, 2, 3],
        [5, 90, -6, 0],
        [7, 8, 90, 0],
        [0, -4, 4, 90],
    ]
)
EDGES = np.abs(W) >= 4  # diagonal included, to be left out
LABELS = ["b", "a", "a", " "]


def test_groups_by_hand():
    found = group_connectivity(W, LABELS, EDGES)
    assert found.groups == ("a", "b", "unknown")
    assert found.neurons.tolist() == [2, 1, 1]
    assert found.pairs.tolist() == [[2, 2, 2], [2, 0, 1], [2, 1, 0]]
    nan = np.nan
    np.testing.assert_allclose(found.mean, [[1, 6, 0], [1.5, nan, 3], [0, 0, nan]])
    np.testing.assert_allclose(found.mean_absolute, [[7, 6, 0], [1.5, nan, 3], [4, 0, nan]])
    np.testing.assert_allclose(found.edge_share, [[1, 1, 0], [0, nan, 0], [1, 0, nan]])


def test_direction_is_from_column_to_row():
    weights = np.zeros((4, 4))
    weights[3, 0] = 1.0  # from neuron 0 (b) to neuron 3 (unknown)
    found = group_connectivity(weights, LABELS)
    assert found.mean[found.groups.index("unknown"), found.groups.index("b")] == 1
    assert np.count_nonzero(np.nan_to_num(found.mean)) == 1
    assert np.isnan(found.edge_share).all()


def jackknife(weights: np.ndarray, targets: list[int], sources: list[int]) -> float:
    """Leave out one neuron at a time, by its number; the two groups are two samples, unless they are one."""

    def mean(without: int = -1) -> float:
        pairs = [(t, s) for t in targets for s in sources if t != s and without not in (t, s)]
        return float(np.mean([weights[pair] for pair in pairs]))

    samples = [targets] if targets == sources else [targets, sources]
    return float(np.sqrt(sum((len(g) - 1) / len(g) * sum((mean(i) - mean()) ** 2 for i in g) for g in samples)))


def test_standard_errors_are_the_slow_jackknife():
    weights = np.random.default_rng(0).normal(size=(9, 9))
    groups = {"a": [0, 3, 5, 8], "b": [1, 2, 7], "c": [4, 6]}
    labels = np.array([next(name for name, rows in groups.items() if i in rows) for i in range(9)])
    found = group_connectivity(weights, labels)
    for t, target in enumerate("abc"):
        for s, source in enumerate("abc"):
            if target == source == "c":
                assert np.isnan(found.standard_error[t, s])  # without one of two there is no pair left
                continue
            expected = jackknife(weights, groups[target], groups[source])
            assert found.standard_error[t, s] == pytest.approx(expected)


def test_one_neuron_has_no_standard_error():
    found = group_connectivity(W, LABELS)
    assert np.isnan(found.standard_error).all()  # every pair of groups has one of one or both of two


@pytest.mark.parametrize("group", ["within", "between"])
def test_standard_errors_follow_the_neurons_and_not_the_pairs(group: str):
    """Neurons differ in what they send and receive: pairs taken as independent would give a third of the truth."""
    rng = np.random.default_rng(1)
    n, means, errors, naive = 24, [], [], []
    labels = np.array(["a"] * n if group == "within" else ["a"] * (n // 2) + ["b"] * (n // 2))
    for _ in range(300):
        weights = rng.normal(size=(n, 1)) + rng.normal(size=n) + 0.3 * rng.normal(size=(n, n))
        found = group_connectivity(weights, labels)
        means.append(found.mean[0, -1])
        errors.append(found.standard_error[0, -1])
        naive.append(1.45 / np.sqrt(found.pairs[0, -1]))
    truth = np.std(means)
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(truth, rel=0.15)
    assert np.mean(naive) < 0.5 * truth


def test_distances_by_hand():
    position = np.array([[0, 0, np.nan], [3, 4, np.nan], [0, 5, np.nan], [np.nan, 0, np.nan]])
    # 0-1: 5, 0-2: 5, 1-2: sqrt(10); neuron 3 is nowhere
    found = distance_connectivity(W, position, bins=[0, 4, 5], edges=EDGES)
    assert found.bins == ("0 to 4", "4 to 5", "unknown")
    assert found.pairs.tolist() == [2, 4, 6]
    np.testing.assert_allclose(found.distance[:2], [np.sqrt(10), 5])
    np.testing.assert_allclose(found.mean, [(8 - 6) / 2, (1 + 5 + 2 + 7) / 4, 3 / 6])
    np.testing.assert_allclose(found.mean_absolute, [7, 15 / 4, 11 / 6])
    np.testing.assert_allclose(found.edge_share, [1, 2 / 4, 2 / 6])
    # every pair of the second bin has neuron 0
    assert np.isnan(found.standard_error[1])


def test_standard_errors_of_bins_are_the_slow_jackknife():
    rng = np.random.default_rng(2)
    weights, position = rng.normal(size=(8, 8)), rng.random((8, 3))
    found = distance_connectivity(weights, position, bins=2)
    apart = np.linalg.norm(position[:, None] - position, axis=2)
    inside = (apart < found.edges[0, 1]) & ~np.eye(8, dtype=bool)

    def mean(values: np.ndarray, without: int) -> float:
        left = inside.copy()
        if without >= 0:
            left[without] = left[:, without] = False
        return float(values[left].mean())

    for values, error in (
        (weights, found.standard_error),
        (np.abs(weights), found.mean_absolute_error),
    ):
        of = np.flatnonzero(inside.any(0))
        squares = sum((mean(values, i) - mean(values, -1)) ** 2 for i in of)
        assert error[0] == pytest.approx(np.sqrt((len(of) - 1) / len(of) * squares))


def test_bins_are_equally_full_and_hold_every_pair():
    rng = np.random.default_rng(3)
    found = distance_connectivity(rng.normal(size=(30, 30)), rng.random((30, 3)), bins=5)
    assert found.pairs.sum() == 30 * 29
    np.testing.assert_array_equal(found.pairs, 30 * 29 / 5)


def test_neurons_at_one_distance_make_one_bin():
    found = distance_connectivity(np.ones((2, 2)), [[0, 0, 0], [0, 0, 2.0]], bins=4)
    assert found.pairs.tolist() == [2]
    assert found.edges.tolist() == [[2, 2]]


@pytest.mark.parametrize(
    ("position", "bins", "words"),
    [
        (np.zeros((4, 3)), 3, "no two neurons"),
        (np.full((4, 3), np.nan), 3, "no two neurons"),
        (np.eye(3), 3, "positions of 3 neurons"),
        (np.zeros(4), 3, "shape"),
        (np.arange(12.0).reshape(4, 3), 0, "bins is 0"),
        (np.arange(12.0).reshape(4, 3), [2, 1], "increasing"),
    ],
)
def test_bad_distances(position: np.ndarray, bins: int | list[float], words: str):
    with pytest.raises(ValueError, match=words):
        distance_connectivity(W, position, bins)


def test_neurons_by_hand():
    found = neuron_connectivity(W, EDGES)
    assert found.in_strength.tolist() == [6, 11, 15, 8]
    assert found.out_strength.tolist() == [12, 13, 12, 3]
    assert found.in_weight.tolist() == [6, -1, 15, 0]
    assert found.out_weight.tolist() == [12, 5, 0, 3]
    assert found.in_degree is not None
    assert found.out_degree is not None
    assert found.in_degree.tolist() == [0, 2, 2, 2]
    assert found.out_degree.tolist() == [2, 2, 2, 0]
    assert neuron_connectivity(W).in_degree is None


def test_reciprocity_by_hand():
    found = reciprocity(W, EDGES)  # 0>1, 0>2, 1>2 and 2>1, 1>3, 2>3
    assert found.share == pytest.approx(2 / 6)
    assert found.chance == pytest.approx(6 / 12)
    off = ~np.eye(4, dtype=bool)
    assert found.r == pytest.approx(np.corrcoef(W[off], W.T[off])[0, 1])
    nothing = reciprocity(np.zeros((3, 3)), np.zeros((3, 3)))
    assert np.isnan([nothing.share, nothing.r]).all()
    assert nothing.chance == 0
    symmetric = W + W.T
    assert reciprocity(symmetric, strongest_edges(symmetric, 2)).share == 1


@pytest.mark.parametrize(
    "call",
    [
        lambda: group_connectivity(np.zeros((3, 4)), LABELS),
        lambda: group_connectivity(W, LABELS[:3]),
        lambda: group_connectivity(W, LABELS, EDGES[:3]),
        lambda: reciprocity(W, EDGES[:2]),
    ],
)
def test_shapes_that_do_not_fit(call):
    with pytest.raises(ValueError, match=r"shape|labels"):
        call()
