"""Scores against numbers by hand, scikit-learn and scipy."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from ndx_synapsnet.errors import InputError
from ndx_synapsnet.metrics import (
    aggregate,
    compare_models,
    correlate_currents,
    correlate_three_currents,
    holm,
    improvement,
    is_constant,
    lagged_correlation,
    principal_components,
    recovery,
    score_neurons,
    shuffle_connectivity,
    summarize,
)
from ndx_synapsnet.session import Scores


def test_scores_by_hand():
    truth = np.array([[0.0, 1], [1, 1], [2, 4]])
    prediction = np.array([[0.0, 2], [2, 2], [1, 0]])
    scores = score_neurons(prediction, truth)
    np.testing.assert_allclose(scores.mse, [2 / 3, 6])
    np.testing.assert_allclose(scores.correlation, [0.5, -1], rtol=1e-6)
    assert scores.mse.dtype == scores.correlation.dtype == np.float32


@pytest.mark.parametrize("constant", ["truth", "prediction", "both"])
def test_constants_have_no_correlation_even_when_rounding_moves_them(constant):
    rng = np.random.default_rng(0)
    wave = rng.normal(size=(100, 4))
    flat = np.array([0, 1, -3, 1e-9]) + 1e-8 * wave  # the same wiggle: r = 1 if nobody looks
    prediction = wave if constant == "truth" else flat
    truth = wave if constant == "prediction" else flat
    scores = score_neurons(prediction, truth)
    assert np.isnan(scores.correlation).all()
    assert np.isfinite(scores.mse).all()
    np.testing.assert_array_equal(is_constant(flat), True)
    np.testing.assert_array_equal(is_constant(wave), False)


def test_scores_of_many_neurons_equal_numpy():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(50, 300)).astype(np.float32)
    prediction = (truth + rng.normal(size=truth.shape)).astype(np.float32)
    expected = [np.corrcoef(prediction[:, i], truth[:, i])[0, 1] for i in range(300)]
    np.testing.assert_allclose(score_neurons(prediction, truth).correlation, expected, rtol=1e-5)


@pytest.mark.parametrize("bad", [np.zeros((3, 2)), np.zeros((0, 3)), np.zeros(3), np.full((4, 3), np.nan)])
def test_bad_forecasts(bad):
    with pytest.raises(ValueError, match="not"):
        score_neurons(bad, np.zeros((4, 3)) if bad.size else bad)


def test_lagged_correlation_by_definition():
    x = np.random.default_rng(0).normal(size=(4, 60))
    x[1, 2:] = x[0, :-2]  # neuron 0 drives neuron 1, two samples later
    found = lagged_correlation(x, 2)
    for i in range(4):
        for j in range(4):
            expected = 0 if i == j else np.corrcoef(x[i, 2:], x[j, :-2])[0, 1]
            assert found[i, j] == pytest.approx(expected, abs=1e-12)
    assert found[1, 0] == pytest.approx(1)
    zero = lagged_correlation(x, 0)
    np.testing.assert_allclose(zero, zero.T, atol=1e-15)
    np.testing.assert_array_equal(np.diag(zero), 0)


def test_lagged_correlation_stays_in_segments_and_valid_samples():
    x = np.random.default_rng(0).normal(size=(3, 40))
    segment = np.repeat([0, 1, 0], [19, 1, 20])  # a number used again is another stretch
    valid = np.ones(40, bool)
    valid[5] = False
    pairs = [(t, t + 2) for t in range(38) if t not in (17, 18, 19, 3, 5)]
    source, target = (list(side) for side in zip(*pairs, strict=True))
    expected = np.corrcoef(x[:, target], x[:, source])[:3, 3:]
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(lagged_correlation(x, 2, segment=segment, valid=valid), expected, atol=1e-12)


def test_lagged_correlation_of_a_constant_is_zero():
    x = np.random.default_rng(0).normal(size=(3, 40))
    x[1] = 0.1
    found = lagged_correlation(x, 1)
    np.testing.assert_array_equal(found[1], 0)
    np.testing.assert_array_equal(found[:, 1], 0)
    assert found[0, 2] != 0


@pytest.mark.parametrize("lag", [-1, 39, 50])
def test_bad_lags(lag):
    with pytest.raises(ValueError, match="lag"):
        lagged_correlation(np.zeros((2, 40)), lag)


def test_recovery_by_hand():
    truth = np.array([[9, 1, 0], [0, 9, -2], [0, 0, 9.0]])
    estimate = np.array([[5, 0.5, 0.1], [0.2, 5, 0.3], [0.05, -0.4, 5]])
    found = recovery(estimate, truth)
    # pairs by strength: .5 edge, .4 none, .3 edge (of the wrong sign), .2, .1, .05 none
    assert found["auroc"] == pytest.approx(7 / 8)
    assert found["average_precision"] == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert found["precision"] == pytest.approx(1 / 2)
    assert found["chance"] == pytest.approx(2 / 6)
    assert found["sign_accuracy"] == pytest.approx(1 / 2)
    expected = np.corrcoef([0.5, 0.1, 0.2, 0.3, 0.05, -0.4], [1, 0, 0, -2, 0, 0])[0, 1]
    assert found["r"] == pytest.approx(expected)
    assert found["r2"] == pytest.approx(expected**2)


@pytest.mark.parametrize("ties", [False, True])
def test_recovery_equals_scikit_learn(ties):
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(3)
    truth = rng.normal(size=(30, 30)) * (rng.random((30, 30)) < 0.1)
    estimate = truth + rng.normal(size=truth.shape)
    if ties:
        estimate = np.round(estimate)
    found, off = recovery(estimate, truth), ~np.eye(30, dtype=bool)
    edge, strength = truth[off] != 0, np.abs(estimate[off])
    assert found["auroc"] == pytest.approx(metrics.roc_auc_score(edge, strength), abs=1e-12)
    assert found["average_precision"] == pytest.approx(metrics.average_precision_score(edge, strength), abs=1e-12)


def test_precision_shares_a_tie_at_the_border():
    truth = np.array([[0, 1, 1], [0, 0, 0], [0, 0, 0.0]])
    estimate = np.array([[0, 3, 1], [1, 0, 1], [1, 0, 0.0]])  # one hit, then one of four tied, one of them an edge
    assert recovery(estimate, truth)["precision"] == pytest.approx((1 + 1 / 4) / 2)


def test_undefined_recovery_is_nan():
    rng = np.random.default_rng(0)
    none = recovery(rng.normal(size=(4, 4)), np.zeros((4, 4)))
    assert all(np.isnan(none[key]) for key in ("r", "auroc", "average_precision", "precision", "sign_accuracy"))
    assert none["chance"] == 0
    full = recovery(np.zeros((4, 4)), np.ones((4, 4)))
    assert np.isnan(full["r"])
    assert np.isnan(full["auroc"])
    assert full["average_precision"] == 1


def test_recovery_wants_square_matrices():
    with pytest.raises(ValueError, match="square"):
        recovery(np.zeros((3, 4)), np.zeros((3, 4)))


def test_aggregate_by_hand():
    nan = np.nan
    found = aggregate([Scores([0.2, 0.4, nan], [1, 2, 6]), Scores([0.5], [1]), Scores([nan, 0.1], [0, 4])])
    # over neurons first, so that the session of one neuron counts as much as the others: .3, .5, .1 and 3, 1, 2
    np.testing.assert_allclose(found.correlation_by_session, [0.3, 0.5, 0.1], rtol=1e-6)
    np.testing.assert_allclose(found.mse_by_session, [3, 1, 2])
    assert found.correlation.mean == pytest.approx(0.3)
    assert found.correlation.sem == pytest.approx(0.2 / 3**0.5)  # sample deviation .2
    assert (found.mse.mean, found.mse.sem) == (2, pytest.approx(1 / 3**0.5))
    assert found.correlation.sessions == found.mse.sessions == 3
    np.testing.assert_array_equal(found.constant_by_session, [1, 0, 1])
    np.testing.assert_array_equal(found.neurons_by_session, [3, 1, 2])
    assert (found.constant, found.neurons) == (2, 6)


def test_aggregate_is_never_nan():
    none = aggregate([Scores([np.nan, np.nan], [1, 3])])
    assert (none.correlation.mean, none.correlation.sem, none.correlation.sessions) == (None, None, 0)
    assert (none.mse.mean, none.mse.sem, none.constant) == (2, None, 2)
    some = aggregate([Scores([np.nan], [1]), Scores([0.5], [3])])
    assert (some.correlation.mean, some.correlation.sem, some.correlation.sessions) == (0.5, None, 1)
    assert (some.mse.mean, some.mse.sem) == (2, 1)
    assert summarize([np.nan, 1, 3]).sem == 1
    with pytest.raises(ValueError, match="no session"):
        aggregate([])
    with pytest.raises(ValueError, match="no neurons"):
        aggregate([Scores([], [])])


def test_improvement_by_hand():
    nan = [np.nan, np.nan]
    assert improvement(Scores(nan, [0.5, 1.5]), Scores(nan, [2, 6])) == pytest.approx(1 - 1 / 4)
    assert improvement(Scores(nan, [3, 5]), Scores(nan, [1, 3])) == pytest.approx(-1)
    assert improvement(Scores(nan, [3, 5]), Scores(nan, [0, 0])) is None
    with pytest.raises(ValueError, match="2 neurons and of 1"):
        improvement(Scores(nan, [3, 5]), Scores([0.1], [0]))


def test_principal_components_by_hand():
    # along (3, 4)/5 with deviations -2, 0, 2, and across it with 1, -2, 1; the centre is (10, 20)
    along, across = np.array([-2.0, 0, 2]), np.array([1.0, -2, 1]) / 10
    directions = np.array([[3, -4], [4, 3]]) / 5
    truth = np.array([10, 20]) + np.outer(along, directions[:, 0]) + np.outer(across, directions[:, 1])
    prediction = np.array([9, 20]) + np.outer([1.0, 2, 0], directions[:, 0]) - 3 * np.outer(across, directions[:, 1])
    found = principal_components(prediction, truth, 2)
    np.testing.assert_allclose(found.directions[:, 0], [0.6, 0.8])
    np.testing.assert_allclose(found.directions[:, 1], [0.8, -0.6])  # the largest entry is positive
    np.testing.assert_allclose(found.truth, np.c_[along, -across], atol=1e-12)
    np.testing.assert_allclose(found.prediction[:, 0], [0.4, 1.4, -0.6], atol=1e-12)  # a centre .6 below
    np.testing.assert_allclose(found.correlation, [-0.5, -1])
    np.testing.assert_allclose(found.explained, [8 / 8.06, 0.06 / 8.06])


@pytest.mark.parametrize("shape", [(60, 8), (8, 60)])
def test_principal_components_are_the_truths_and_no_sign_matters(shape):
    rng = np.random.default_rng(0)
    truth = rng.normal(size=shape) @ np.diag(np.linspace(1, 3, shape[1]))
    prediction = truth + rng.normal(size=shape)
    found = principal_components(prediction, truth)
    _, singular, vectors = np.linalg.svd(truth - truth.mean(0), full_matrices=False)
    np.testing.assert_allclose(np.abs(found.directions.T @ vectors[:3].T), np.eye(3), atol=1e-9)
    np.testing.assert_allclose(found.explained, singular[:3] ** 2 / (singular**2).sum())
    expected = [np.corrcoef(prediction @ v, truth @ v)[0, 1] for v in vectors[:3]]
    np.testing.assert_allclose(found.correlation, expected)
    np.testing.assert_allclose(principal_components(-prediction, truth).correlation, -np.array(expected))
    assert (found.directions[np.abs(found.directions).argmax(0), range(3)] > 0).all()


def test_principal_components_without_movement():
    truth = np.random.default_rng(0).normal(size=(20, 4))
    assert np.isnan(principal_components(np.zeros((20, 4)), truth).correlation).all()
    still = principal_components(truth, np.ones((20, 4)))
    assert np.isnan(still.correlation).all()
    np.testing.assert_array_equal(still.explained, 0)
    for bad, match in (((20, 3), "not two equal"), ((20, 4), "count is 5")):
        with pytest.raises(ValueError, match=match):
            principal_components(np.zeros(bad), truth, 5)
    with pytest.raises(ValueError, match="not finite"):
        principal_components(np.full((20, 4), np.nan), truth)


def test_currents_by_definition():
    rng = np.random.default_rng(0)
    x, weights = rng.normal(size=(3, 30)), rng.normal(size=(3, 3))
    found = correlate_currents(x, weights, [-2, 0, 3])
    current = (weights - np.diag(np.diag(weights))) @ x
    for i in range(3):
        expected = [
            np.corrcoef(current[i, 2:], x[i, :-2])[0, 1],  # the current after the activity
            np.corrcoef(current[i], x[i])[0, 1],
            np.corrcoef(current[i, :-3], x[i, 3:])[0, 1],
        ]
        np.testing.assert_allclose(found.correlation[i], expected)
    np.testing.assert_array_equal(found.delays, [-2, 0, 3])
    np.testing.assert_allclose(found.mean, found.correlation.mean(0))
    np.testing.assert_allclose(found.deviation, found.correlation.std(0))
    np.testing.assert_array_equal(found.constant, 0)


def test_currents_peak_where_the_wiring_says():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(6, 2000))
    weights = np.roll(np.eye(6), 1, axis=1)  # each neuron is driven by the next
    x[:3, 2:] = 0.8 * (weights @ x)[:3, :-2]
    found = correlate_currents(x, 1e-9 * weights)  # the scale means nothing
    assert found.delays[np.argmax(found.mean)] == 2
    np.testing.assert_array_equal(found.constant, 0)


def test_currents_stay_in_segments_and_valid_samples():
    x = np.random.default_rng(0).normal(size=(3, 40))
    weights = np.ones((3, 3))
    segment, valid = np.repeat([0, 1], [22, 18]), np.ones(40, bool)
    valid[5] = False
    x[:, 5] = np.nan
    for delay in (-2, 2):
        pairs = [(t, t + delay) for t in range(40) if 0 <= t + delay < 40]
        pairs = [(t, u) for t, u in pairs if (t < 22) == (u < 22) and 5 not in (t, u)]
        source, later = (list(side) for side in zip(*pairs, strict=True))
        found = correlate_currents(x, weights, [delay], segment=segment, valid=valid)
        assert found.correlation[0, 0] == pytest.approx(np.corrcoef((x[1] + x[2])[source], x[0, later])[0, 1])


def test_neurons_without_current_are_counted():
    x = np.random.default_rng(0).normal(size=(3, 40))
    weights = np.array([[0, 1, 0], [0, 5, 0], [1, 1, 0.0]])  # the second has nothing but itself
    found = correlate_currents(x, weights, [0, 1])
    assert np.isnan(found.correlation[1]).all()
    np.testing.assert_array_equal(found.constant, [1, 1])
    np.testing.assert_allclose(found.mean, found.correlation[[0, 2]].mean(0))
    np.testing.assert_allclose(found.deviation, found.correlation[[0, 2]].std(0))
    silent = correlate_currents(x, np.zeros((3, 3)), [0])
    assert (silent.mean.tolist(), silent.deviation.tolist(), silent.constant.tolist()) == ([0], [0], [3])
    with pytest.raises(ValueError, match="not"):
        correlate_currents(x, np.zeros((2, 2)))
    with pytest.raises(ValueError, match="lag of -39"):
        correlate_currents(x, weights, [-39])


def test_three_currents_as_in_the_paper():
    rng = np.random.default_rng(0)
    x, weights = rng.normal(size=(12, 1500)), rng.normal(size=(12, 12)) * (rng.random((12, 12)) < 0.2)
    np.fill_diagonal(weights, 0)
    for t in range(1, 1500):
        x[:, t] += 0.3 * weights @ x[:, t - 1]
    fitted = np.arange(1500) < 1000
    found = correlate_three_currents(x, weights, fitted=fitted, valid=~fitted, seed=3)
    assert list(found) == ["connectivity", "correlation", "shuffled"]
    peak = {name: (int(each.delays[each.mean.argmax()]), each.mean.max()) for name, each in found.items()}
    assert peak["connectivity"][0] == 1
    assert peak["correlation"][0] == 0
    assert peak["connectivity"][1] > 2 * peak["shuffled"][1]
    expected = correlate_currents(x, lagged_correlation(x, 0, valid=fitted), valid=~fitted)
    np.testing.assert_array_equal(found["correlation"].correlation, expected.correlation)
    expected = correlate_currents(x, shuffle_connectivity(weights, seed=3), valid=~fitted)
    np.testing.assert_array_equal(found["shuffled"].correlation, expected.correlation)


def test_shuffling_moves_every_entry_off_the_diagonal_and_none_on_it():
    matrix = np.arange(25.0).reshape(5, 5)
    shuffled, off = shuffle_connectivity(matrix, seed=1), ~np.eye(5, dtype=bool)
    np.testing.assert_array_equal(np.diag(shuffled), np.diag(matrix))
    np.testing.assert_array_equal(np.sort(shuffled[off]), np.sort(matrix[off]))
    assert np.mean(shuffled[off] != matrix[off]) > 0.7
    np.testing.assert_array_equal(shuffle_connectivity(matrix, seed=1), shuffled)
    assert (shuffle_connectivity(matrix, seed=2) != shuffled).any()
    np.testing.assert_array_equal(matrix, np.arange(25.0).reshape(5, 5))


def test_holm_by_hand():
    # sorted .01 .02 .03 .04 times 4 3 2 1: .04 .06 .06 .04, which may not fall again
    np.testing.assert_allclose(holm([0.03, 0.01, 0.04, 0.02]), [0.06, 0.04, 0.06, 0.06])
    np.testing.assert_allclose(holm([0.5, 0.9]), [1, 1])
    np.testing.assert_allclose(holm([0.5]), [0.5])
    assert len(holm([])) == 0


def test_paired_t_tests_by_hand():
    pytest.importorskip("scipy")
    first, second = compare_models({"a": [1, 2, 3, np.nan], "b": [0, 2, 1, 5], "c": [1, 2, 3, 4]}, "a")
    # differences 1, 0, 2: mean 1, deviation 1, t = sqrt 3; of two degrees of freedom p = 1 - t / sqrt(2 + t^2)
    p = 1 - (3 / 5) ** 0.5
    assert (first.model, first.other, first.difference, first.units) == ("a", "b", 1, 3)
    assert (first.t, first.p) == (pytest.approx(3**0.5), pytest.approx(p))
    assert (second.other, second.difference, second.t, second.p) == ("c", 0, 0, 1)
    assert (first.p_corrected, second.p_corrected) == (pytest.approx(2 * p), 1)


def test_paired_t_tests_equal_scipy_for_all_pairs():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    values = {name: rng.normal(shift, 1, 17) for name, shift in (("x", 0), ("y", 0.5), ("z", 2))}
    found = compare_models(values)
    assert [(test.model, test.other) for test in found] == [("x", "y"), ("x", "z"), ("y", "z")]
    expected = [stats.ttest_rel(values[test.model], values[test.other]) for test in found]
    np.testing.assert_allclose([test.t for test in found], [each.statistic for each in expected])
    np.testing.assert_allclose([test.p for test in found], [each.pvalue for each in expected])
    np.testing.assert_allclose([test.p_corrected for test in found], holm([each.pvalue for each in expected]))


def test_paired_t_tests_of_too_few_or_equal_differences():
    pytest.importorskip("scipy")
    values = {"a": [1.0, 2], "b": [np.nan, 0], "c": [0.9, 1.9], "d": [np.nan, np.nan]}
    one, constant, none = compare_models(values, "a")
    assert (one.units, one.difference, one.t, one.p, one.p_corrected) == (1, 2, None, None, None)
    assert (constant.units, constant.t, constant.p, constant.p_corrected) == (2, np.inf, 0, 0)
    assert (none.units, none.difference, none.p) == (0, None, None)


def test_paired_t_tests_want_equal_units_and_scipy(monkeypatch):
    with pytest.raises(ValueError, match="different units"):
        compare_models({"a": [1, 2], "b": [1, 2, 3]})
    with pytest.raises(ValueError, match="reference 'c'"):
        compare_models({"a": [1, 2], "b": [1, 2]}, "c")
    monkeypatch.setitem(sys.modules, "scipy.stats", None)
    with pytest.raises(InputError, match=r"scipy.*ndx-synapsnet\[benchmark\]"):
        compare_models({"a": [1, 2, 3], "b": [1, 0, 7]})
