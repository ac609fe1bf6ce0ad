"""How far two matrices agree: figures by hand, and tests that reject as often as they say."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from ndx_synapsnet.errors import InputError
from ndx_synapsnet.metrics import (
    benjamini_hochberg,
    choose_edges,
    compare_edges,
    compare_matrices,
    permutation_test,
    precision_at,
    significant_edges,
    strongest_edges,
)
from ndx_synapsnet.session import Connectivity

A = np.array([[9.0, 1, -2], [3, 9, 4], [-5, 6, 9]])
B = np.array([[7.0, 2, -1], [-3, 7, 6], [-4, 5, 7]])
OFF = ~np.eye(3, dtype=bool)


def mask(*places: tuple[int, int], n: int = 3) -> np.ndarray:
    chosen = np.zeros((n, n), bool)
    for place in places:
        chosen[place] = True
    return chosen


def test_strongest_edges_take_ties_and_no_zero_and_no_diagonal():
    weights = np.array([[9.0, 2, -1], [1, 9, 0], [0, -3, 9]])
    np.testing.assert_array_equal(strongest_edges(weights, 1), mask((2, 1)))
    np.testing.assert_array_equal(strongest_edges(weights, 2), mask((2, 1), (0, 1)))
    np.testing.assert_array_equal(strongest_edges(weights, 3), mask((2, 1), (0, 1), (0, 2), (1, 0)))
    np.testing.assert_array_equal(strongest_edges(weights, 100), mask((2, 1), (0, 1), (0, 2), (1, 0)))
    with pytest.raises(ValueError, match="count is 0"):
        strongest_edges(weights, 0)


def test_significant_edges_have_a_small_q_and_a_weight():
    q = np.array([[0.0, 0.1, np.nan], [0.2, 0.0, 0.01], [0.05, 0.05, 0.0]])
    weights = np.array([[1.0, 1, 1], [1, 1, 1], [0, -1, 1]])
    np.testing.assert_array_equal(significant_edges(weights, q, 0.1), mask((0, 1), (1, 2), (2, 1)))
    with pytest.raises(ValueError, match="rate is 0"):
        significant_edges(weights, q, 0)
    with pytest.raises(ValueError, match="q_value has shape"):
        significant_edges(weights, q[:2, :2], 0.1)


def test_edges_are_chosen_by_both_rules_together():
    q = np.full((3, 3), 0.5)
    q[0, 1] = q[2, 1] = 0.01
    matrix = Connectivity(A, "x", "", q_value=q)
    np.testing.assert_array_equal(choose_edges(matrix), OFF)
    np.testing.assert_array_equal(choose_edges(matrix, strongest=1), mask((2, 1)))
    np.testing.assert_array_equal(choose_edges(matrix, significant=0.1), mask((0, 1), (2, 1)))
    np.testing.assert_array_equal(choose_edges(matrix, significant=0.6, strongest=2), mask((2, 1), (2, 0)))
    np.testing.assert_array_equal(choose_edges(matrix, significant=0.1, strongest=3), mask((0, 1), (2, 1)))
    with pytest.raises(InputError, match="method ridge has no q-values"):
        choose_edges(Connectivity(A, "ridge", ""), significant=0.1)
    with pytest.raises(InputError, match="rate is 2"):
        choose_edges(matrix, significant=2)


def test_agreement_by_hand():
    found = compare_matrices(A, B, strongest=0.5, permutations=200)
    assert found.neurons == 3
    assert found.r == pytest.approx(np.corrcoef(A[OFF], B[OFF])[0, 1])
    # off the diagonal, row by row: 1 -2 3 4 -5 6 and 2 -1 -3 6 -4 5
    assert found.spearman == pytest.approx(np.corrcoef([3, 2, 4, 5, 1, 6], [4, 3, 2, 6, 1, 5])[0, 1])
    # products 2, 2, -9, 24, 20, 30: the three largest have equal signs, + + -
    assert (found.sign_pairs, found.sign_agreement) == (3, 1.0)
    assert found.sign_chance == pytest.approx((2 / 3) ** 2 + (1 / 3) ** 2)
    # strongest three: 6 -5 4 and 6 5 -4, the same places
    assert found.edges == (3, 3)
    assert (found.shared_edges, found.jaccard) == (3, 1.0)


def test_signs_that_differ_are_counted():
    found = compare_matrices(A, B, strongest=1.0, permutations=1)
    assert found.sign_pairs == 6
    assert found.sign_agreement == pytest.approx(5 / 6)
    assert found.sign_chance == pytest.approx(4 / 6 * 3 / 6 + 2 / 6 * 3 / 6)


def test_signs_are_compared_where_both_are_strong():
    a = np.array([[0, 9.0, 1], [2, 0, 3], [4, 5, 0]])
    b = np.array([[0, -0.1, -5], [3, 0, 2], [1, -1, 0]])  # products -.9 -5 6 6 4 -5
    found = compare_matrices(a, b, strongest=1 / 3, permutations=1)
    assert (found.sign_pairs, found.sign_agreement) == (2, 1.0)


def test_overlap_of_given_edges_by_hand():
    edges = (mask((0, 1), (1, 2), (0, 0)), mask((0, 1), (2, 0), (2, 1)))
    found = compare_matrices(A, B, edges=edges, permutations=2000)
    assert found.edges == (2, 3)
    assert found.jaccard == pytest.approx(1 / 4)
    shared = [np.sum(edges[0] & edges[1][np.ix_(p, p)] & OFF) for p in map(list, permutations(range(3)))]
    assert found.jaccard_chance == pytest.approx(np.mean([s / (5 - s) for s in shared]), abs=0.02)
    assert found.jaccard_p == pytest.approx(np.mean(np.array(shared) >= 1), abs=0.03)


def test_the_diagonal_and_scale_do_not_matter():
    other = 5 - 2 * B
    np.fill_diagonal(other, np.nan)
    assert compare_matrices(A, other).r == pytest.approx(-np.corrcoef(A[OFF], B[OFF])[0, 1])


@pytest.mark.parametrize("within", [None, ["a", "b", "a", "a", "b"]])
def test_permutations_equal_the_slow_definition(within: list[str] | None):
    """Every permutation there is, each correlation computed anew by numpy: shares are those of the random ones."""
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(2, 5, 5))
    b += 0.5 * a
    off = ~np.eye(5, dtype=bool)
    exact = []
    for order in map(list, permutations(range(5))):
        if within is None or all(within[i] == within[j] for i, j in enumerate(order)):
            exact.append(np.corrcoef(a[off], b[np.ix_(order, order)][off])[0, 1])
    found = permutation_test(a, b, permutations=4000, seed=1, within=within)
    np.testing.assert_allclose(np.unique(found.null.round(9)), np.unique(np.round(exact, 9)))
    expected = np.mean(np.array(exact) >= found.r - 1e-9)
    assert found.p == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / 4000) + 1e-3)


def test_p_is_never_zero_and_the_same_for_the_same_seed():
    a = np.random.default_rng(0).normal(size=(30, 30))
    found = permutation_test(a, a, permutations=99)
    assert found.r == 1
    assert found.p == 1 / 100
    np.testing.assert_array_equal(permutation_test(a, a, permutations=99).null, found.null)
    assert not np.array_equal(permutation_test(a, a, permutations=99, seed=1).null, found.null)


def test_permutations_that_give_the_same_r_count_despite_rounding():
    """A ring is the same when turned: 5 of the 120 permutations give the observed r, the others less."""
    rng = np.random.default_rng(2)
    step = (np.arange(5)[:, None] - np.arange(5)) % 5
    ring = np.array([0, *rng.normal(size=4)])[step]
    found = permutation_test(ring, ring + 0.05 * rng.normal(size=(5, 5)), permutations=4000)
    assert found.p == pytest.approx(5 / 120, abs=0.012)


def test_strong_neurons_in_common_do_not_fool_the_test():
    """Rows and columns have effects, independent in the two matrices: a t-test of r rejects in about half of them."""
    rng = np.random.default_rng(4)
    p, naive, n = [], [], 20
    for _ in range(300):
        a, b = (rng.normal(size=(n, 1)) + rng.normal(size=n) + 0.5 * rng.normal(size=(n, n)) for _ in range(2))
        found = permutation_test(a, b, permutations=99, seed=int(rng.integers(2**31)))
        p.append(found.p)
        naive.append(found.r * np.sqrt(n * (n - 1)) > 1.645)
    assert np.mean(naive) > 0.2
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.05, abs=0.035)
    assert np.mean(p) == pytest.approx(0.5, abs=0.06)


def test_within_takes_the_groups_part_away():
    rng = np.random.default_rng(5)
    group = np.repeat([0, 1], 12)
    blocks = np.where(group[:, None] == group, 1.0, 0.0)
    a, b = (blocks + rng.normal(size=(24, 24)) for _ in range(2))
    assert permutation_test(a, b, permutations=499).p < 0.01
    assert permutation_test(a, b, permutations=499, within=group).p > 0.05
    found = compare_matrices(a, b, permutations=499, within=group)
    assert found.r_chance == pytest.approx(found.r, abs=0.1)  # what the groups alone make
    assert abs(compare_matrices(a, b, permutations=499).r_chance) < 0.1 < found.r_chance


def test_what_is_undefined_is_nan():
    flat = np.full((4, 4), 0.1)
    found = compare_matrices(flat, np.random.default_rng(0).normal(size=(4, 4)), permutations=9)
    assert np.isnan([found.r, found.p, found.spearman]).all()
    nothing = compare_matrices(np.zeros((4, 4)), np.zeros((4, 4)), permutations=9)
    assert np.isnan([nothing.jaccard, nothing.jaccard_p, nothing.jaccard_chance, nothing.sign_agreement]).all()
    assert nothing.sign_pairs == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"second": np.zeros((4, 4))}, "first is of 3 neurons, second of 4"),
        ({"second": np.zeros((3, 4))}, "square"),
        ({"second": np.where(OFF, np.nan, 0)}, "not finite"),
        ({"first": np.zeros((2, 2)), "second": np.zeros((2, 2))}, "there are 2 neurons"),
        ({"strongest": 0.0}, "strongest is 0"),
        ({"permutations": 0}, "permutations is 0"),
        ({"within": ["a", "b"]}, "within has 2 labels"),
        ({"edges": (np.ones((2, 2)), OFF)}, "edges have shapes"),
    ],
)
def test_bad_comparisons(change: dict[str, object], words: str):
    with pytest.raises(ValueError, match=words):
        compare_matrices(**{"first": A, "second": B, **change})


def test_differences_by_hand():
    error = np.full((3, 3), 3.0)
    error[0, 2] = np.nan
    found = compare_edges(A, B, error, np.full((3, 3), 4.0))
    # the standard error of a difference is 5; differences -1, (-1), 6, -2, -1, 1
    assert found.z[1, 0] == pytest.approx(6 / 5)
    assert found.p[1, 0] == pytest.approx(0.230139340, abs=1e-8)
    assert found.p[1, 2] == pytest.approx(0.689156517, abs=1e-8)
    # five tested: p .230, .689, .841 three times
    assert found.q[1, 0] == pytest.approx(min(5 * 0.230139340, 0.841480581), abs=1e-8)
    assert np.isnan(found.q[[0, 1, 2, 0], [0, 1, 2, 2]]).all()
    assert np.isfinite(found.q).sum() == 5


def test_differences_reject_as_often_as_they_say():
    rng = np.random.default_rng(6)
    truth, error = rng.normal(size=(100, 100)), rng.uniform(0.1, 1, (100, 100))
    a, b = (truth + error * rng.normal(size=truth.shape) for _ in range(2))
    found = compare_edges(a, b, error, error)
    off = ~np.eye(100, dtype=bool)
    assert np.mean(found.p[off] < 0.05) == pytest.approx(0.05, abs=0.01)
    assert not np.any(found.q[off] < 0.05)
    b[0, 1:40] += 8
    assert np.sum(compare_edges(a, b, error, error).q[off] < 0.05) >= 35


def test_pairs_without_any_error_are_not_tested():
    found = compare_edges(A, B, np.zeros((3, 3)), np.zeros((3, 3)))
    assert np.isnan(found.z).all()
    with pytest.raises(ValueError, match="standard errors have shapes"):
        compare_edges(A, B, np.zeros((2, 2)), np.zeros((3, 3)))


def test_benjamini_hochberg_by_hand():
    p = [0.04, 0.01, 0.03, 0.8]
    # by size: .01 x 4/1, .03 x 4/2, .04 x 4/3, .8: stepped down from the largest .04, .0533, .0533, .8
    np.testing.assert_allclose(benjamini_hochberg(p), [0.16 / 3, 0.04, 0.16 / 3, 0.8])
    assert benjamini_hochberg([]).shape == (0,)


def test_precision_at_k_by_hand():
    truth = np.array([[0, 1, 1], [0, 0, 0], [0, -1, 0.0]])
    # strengths: 6 edge, 5 none, 4 edge, 3 none, 2 none, 1 edge
    estimate = np.array([[9, 6, -4], [5, 9, 3], [2, 1, 9.0]])
    found = precision_at(estimate, truth, fractions=(0.5, 1.0), counts=(1, 4, 100))
    assert [(k.count, k.fraction) for k in found] == [(2, 0.5), (3, 1.0), (1, None), (4, None), (6, None)]
    assert [k.precision for k in found] == pytest.approx([1 / 2, 2 / 3, 1, 2 / 4, 3 / 6])
    assert [k.recall for k in found] == pytest.approx([1 / 3, 2 / 3, 1 / 3, 2 / 3, 1])
    assert {k.chance for k in found} == {0.5}


def test_precision_at_k_shares_ties_and_tells_of_no_edge():
    truth = np.array([[0, 1, 1], [0, 0, 0], [0, 0, 0.0]])
    flat = np.ones((3, 3))
    assert [k.precision for k in precision_at(flat, truth)] == pytest.approx([2 / 6] * 4)
    (one,) = precision_at(flat, np.zeros((3, 3)), counts=[2])
    assert one.precision == 0
    assert np.isnan(one.recall)
    assert precision_at(np.zeros((1, 1)), np.zeros((1, 1)), counts=[2]) == []


@pytest.mark.parametrize("bad", [{"fractions": [0.0]}, {"counts": [0]}])
def test_bad_k(bad: dict[str, list[float]]):
    with pytest.raises(ValueError, match="not above 0"):
        precision_at(A, B, **bad)
