"""Tests of connections: uniform p-values where there is nothing, nulls that confounding widens, q-values by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ndx_synapsnet.learn.estimates import Estimate
from ndx_synapsnet.learn.inference import assess, two_sided
from ndx_synapsnet.metrics import benjamini_hochberg

N = 60
OFF = ~np.eye(N, dtype=bool)


def matrix(rng, *, confounding=0.0, edges=0.0, size=8.0, center=0.0):
    """Estimates in standard errors (N, N), and which pairs are connected."""
    z = center + rng.normal(size=(N, N)) + confounding * rng.laplace(scale=1 / np.sqrt(2), size=(N, N))
    connected = (rng.random((N, N)) < edges) & OFF
    return z + size * connected * rng.choice([-1, 1], (N, N)), connected


def test_without_connections_p_values_are_uniform():
    z, _ = matrix(np.random.default_rng(0))
    error = np.random.default_rng(1).uniform(0.5, 2, (N, N))
    found = assess(z * error, error)
    np.testing.assert_allclose(found.z[OFF], z[OFF])
    for level in (0.01, 0.05, 0.25, 0.5, 0.9):
        deviation = np.sqrt(level * (1 - level) / OFF.sum())
        assert np.mean(found.p[OFF] <= level) == pytest.approx(level, abs=4 * deviation)
    assert not (found.q[OFF] <= 0.1).any()
    assert found.diagnostics.trustworthy
    assert found.diagnostics.null_width == pytest.approx(1, abs=0.05)


def test_the_diagonal_is_never_a_connection():
    z, _ = matrix(np.random.default_rng(0))
    np.fill_diagonal(z, 100)
    found = assess(z, np.ones((N, N)))
    for values, expected in ((found.p, 1), (found.q, 1), (found.z, 0)):
        np.testing.assert_array_equal(np.diagonal(values), expected)
    np.fill_diagonal(z, np.nan)
    assert np.isfinite(assess(z, np.ones((N, N))).p).all()


@pytest.mark.parametrize("confounding", [0.7, 1.5, 4.0])
def test_dense_confounding_widens_the_null_and_is_not_taken_for_connections(confounding):
    naive, level, false, power = [], [], [], []
    for seed in range(8):
        z, connected = matrix(np.random.default_rng(seed), confounding=confounding, edges=0.04, size=8 * confounding)
        found = assess(z, np.ones((N, N)))
        none = OFF & ~connected
        assert found.diagnostics.null_width == pytest.approx(np.hypot(1, confounding), rel=0.15)
        naive.append(np.mean(two_sided(z[none]) <= 0.05))
        level.append(np.mean(found.p[none] <= 0.05))
        chosen = OFF & (found.q <= 0.1)
        false.append(np.mean(none[chosen]) if chosen.any() else 0)
        power.append(np.mean(chosen[connected]))
    assert np.mean(naive) > 0.08
    assert 0.03 < np.mean(level) < 0.06
    assert np.mean(false) < 0.12
    assert np.mean(power) > 0.6


def test_a_shifted_middle_is_no_finding():
    z, _ = matrix(np.random.default_rng(0), center=1.5)
    found = assess(z, np.ones((N, N)))
    assert found.null.middle == pytest.approx(1.5, abs=0.1)
    assert np.mean(found.p[OFF] <= 0.05) == pytest.approx(0.05, abs=0.015)


def test_targets_and_sources_have_nulls_of_their_own():
    rng = np.random.default_rng(0)
    target, source = rng.choice([0.5, 1, 2.0], (2, N))
    spread = 1.5 * target[:, None] * source[None]
    shift = 2 * rng.normal(size=N)
    z = rng.normal(size=(N, N)) + spread * rng.laplace(scale=1 / np.sqrt(2), size=(N, N)) + shift[None]
    found = assess(z, np.ones((N, N)))
    assert np.corrcoef(np.log(found.null.confounding[OFF]), np.log(spread[OFF]))[0, 1] > 0.9
    assert np.corrcoef(found.null.center[0], shift)[0, 1] > 0.95
    quiet, wild = OFF & (spread < 1), OFF & (spread > 2)
    for pairs in (quiet, wild):
        assert 0.01 < np.mean(found.p[pairs] <= 0.05) < 0.1
    common = two_sided(z - np.median(z), found.null.spread)
    assert np.mean(common[wild] <= 0.05) > 0.2
    assert np.mean(found.q[OFF] <= 0.1) < 0.005
    # and where targets and sources are alike, none is made up
    alike = assess(matrix(rng, confounding=1.5)[0], np.ones((N, N))).null
    assert np.std(np.log(alike.confounding)) < 0.15
    assert np.std(alike.center) < 0.2


def test_the_standard_error_counts_confounding_too():
    z, _ = matrix(np.random.default_rng(0), confounding=2.0)
    found = assess(0.1 * z, np.full((N, N), 0.1))
    np.testing.assert_allclose(found.standard_error, 0.1 * found.null.width)
    assert np.std(0.1 * z[OFF]) == pytest.approx(np.median(found.standard_error[OFF]), rel=0.1)


def test_the_tail_of_the_null_is_that_of_its_sum():
    rng = np.random.default_rng(0)
    for s in (0.3, 1.0, 5.0):
        drawn = np.abs(rng.normal(size=400_000) + s * rng.laplace(scale=1 / np.sqrt(2), size=400_000))
        for z in (0.5, 2.0, 4.0):
            expected = np.mean(drawn > z)
            deviation = np.sqrt(expected * (1 - expected) / len(drawn))
            assert float(two_sided(z, s)) == pytest.approx(expected, abs=5 * deviation)


def test_the_null_without_confounding_is_normal_and_the_two_join():
    z = np.array([0.0, 1.0, 1.959964, -3.0, 6.0])
    normal = two_sided(z)
    np.testing.assert_allclose(normal[:4], [1, 0.317311, 0.05, 0.0026998], rtol=2e-5)
    np.testing.assert_allclose(two_sided(z, 0.011), normal, rtol=5e-3)
    far = two_sided([50.0, 1e6], 3.0)
    assert 0 < far[1] <= far[0] < 1e-6


def test_q_values_by_hand():
    p = [0.01, 0.04, 0.03, 0.5, 0.005]
    # sorted .005 .01 .03 .04 .5, times 5 / rank: .025 .025 .05 .05 .5
    np.testing.assert_allclose(benjamini_hochberg(p), [0.025, 0.05, 0.05, 0.5, 0.025])
    # the third is 0.9 x 3 / 3, the second min(0.8 x 3 / 2, 0.9), the first min(0.7 x 3, 0.9)
    np.testing.assert_allclose(benjamini_hochberg([0.8, 0.9, 0.7]), [0.9, 0.9, 0.9])
    assert benjamini_hochberg([]).shape == (0,)
    for bad in ([0.1, np.nan], [-0.1], [1.1], [[0.1]]):
        with pytest.raises(ValueError, match="from 0 to 1"):
            benjamini_hochberg(bad)


def test_says_when_confounding_is_most_of_the_spread():
    z, _ = matrix(np.random.default_rng(0), confounding=1.2)
    assert assess(z, np.ones((N, N))).diagnostics.trustworthy
    z, _ = matrix(np.random.default_rng(0), confounding=2.5)
    told = assess(z, np.ones((N, N))).diagnostics
    assert not told.trustworthy
    assert told.confounded == pytest.approx(2.5**2 / (1 + 2.5**2), abs=0.05)
    assert f"{told.confounded:.0%}" in told.why


def test_says_when_the_errors_are_not_of_these_weights():
    z, _ = matrix(np.random.default_rng(0))
    told = assess(0.3 * z, np.ones((N, N))).diagnostics
    assert not told.trustworthy
    assert "do not belong together" in told.why


def test_says_when_the_recording_does_not_determine_the_estimates():
    z, _ = matrix(np.random.default_rng(0))
    z[0, 1] = np.inf  # they may be anything
    found = assess(z, np.ones((N, N)), settled=False)
    assert not found.diagnostics.trustworthy
    assert "too short" in found.diagnostics.why
    assert (found.p == 1).all()
    assert (found.q == 1).all()
    assert np.isnan(found.standard_error[~np.eye(N, dtype=bool)]).all()


def test_few_neurons_are_tested_without_a_null_of_their_own():
    found = assess([[0, 3.0], [1.0, 0]], np.ones((2, 2)))
    np.testing.assert_allclose(found.p, [[1, 0.0027], [0.317311, 1]], rtol=1e-3)
    np.testing.assert_array_equal(found.null.width, 1)
    assert not found.diagnostics.trustworthy
    assert found.diagnostics.why.startswith("2 pairs")
    for alone in (assess(np.ones((1, 1)), np.ones((1, 1))), assess(np.ones((0, 0)), np.ones((0, 0)))):
        assert (alone.p == 1).all()
        assert not alone.diagnostics.trustworthy


def test_a_silent_neuron_is_left_out():
    z, _ = matrix(np.random.default_rng(0))
    error = np.ones((N, N))
    z[:, 3], error[:, 3] = 0, 0
    found = assess(z, error)
    np.testing.assert_array_equal(found.p[:, 3], 1)
    np.testing.assert_array_equal(found.q[:, 3], 1)
    assert np.isnan(np.delete(found.standard_error[:, 3], 3)).all()  # unknown, which is not 0
    assert np.isnan(found.standard_error).sum() == N - 1
    assert found.diagnostics.pairs == (N - 1) ** 2
    assert not assess(np.zeros((N, N)), np.zeros((N, N))).diagnostics.trustworthy


def test_refuses_what_cannot_be_tested():
    z, one = matrix(np.random.default_rng(0))[0], np.ones((N, N))
    for weights, error, words in (
        (np.where(OFF, np.nan, z), one, "not finite"),
        (z, np.where(OFF, np.inf, 1), "not finite"),
        (z, -one, "negative"),
        (z[:3], one[:3], "square"),
        (z, one[:3], "square"),
        (np.where(np.abs(z) > 1, z, 0), one, "shrunk"),
    ):
        with pytest.raises(ValueError, match=words):
            assess(weights, error)


def test_halves_tell_noise_that_the_errors_miss_from_confounding():
    rng = np.random.default_rng(0)
    one = np.ones((N, N))

    def halves(same, each):
        shared = same * rng.laplace(scale=1 / np.sqrt(2), size=(N, N))
        pair = [shared + each * rng.normal(size=(N, N)) for _ in range(2)]
        whole = assess(sum(pair) / 2, one / np.sqrt(2), halves=tuple(Estimate(half, one, 1) for half in pair))
        return whole.diagnostics, whole.null.spread

    told, s = halves(1.0, 1.0)  # confounding: the same in both halves
    assert told.sampling == pytest.approx(1, abs=0.06)
    assert s / told.half_confounding == pytest.approx(np.sqrt(2), rel=0.15)
    told, s = halves(0.0, 1.5)  # noise half as large again as the errors say
    assert told.sampling == pytest.approx(1.5, abs=0.08)
    assert s / told.half_confounding == pytest.approx(1, rel=0.15)
    assert np.isnan(assess(np.asarray(rng.normal(size=(N, N))), one).diagnostics.sampling)
