"""Scores against numbers by hand and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest

from ndx_synapsnet.metrics import is_constant, lagged_correlation, recovery, score_neurons


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
