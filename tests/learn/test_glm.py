"""The coupled Poisson GLM against scikit-learn, scipy and the conditions of optimality."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from population import noise_session, session

from ndx_synapsnet.errors import InputError
from ndx_synapsnet.learn.baselines.glm import GLM, GLMConfig
from ndx_synapsnet.learn.baselines.lasso_var import LassoVAR
from ndx_synapsnet.learn.forecaster import predict_series
from ndx_synapsnet.learn.preparation import prepare
from ndx_synapsnet.learn.validation import score_session
from ndx_synapsnet.learn.windows import WindowConfig, Windows
from ndx_synapsnet.metrics import recovery


def count_session(n=5, t=1500, k=1, seed=0, **settings):
    """Counts that drive each other, and are driven by the first behaviour."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(n, n)) * (rng.random((n, n)) < 0.4) * 0.5
    behavior, counts = rng.normal(size=(k, t)), np.zeros((n, t))
    for s in range(1, t):
        drive = weights @ counts[:, s - 1] + 0.4 * behavior[:1, s - 1].sum() + 0.3
        counts[:, s] = rng.poisson(np.minimum(np.logaddexp(0, drive), 8))
    return session(counts, behavior, **settings)


@pytest.fixture(scope="module")
def windows() -> list[Windows]:
    """Two sessions of counts with gaps, different sizes and behaviours, in float64."""
    segment = np.repeat([0, 1, 2], [500, 300, 700])
    return prepare([count_session(segment=segment), count_session(4, 900, 2, seed=1)], dtype=torch.float64)


def solved(windows, **settings):
    model = GLM(windows, GLMConfig(**{"tolerance": 1e-12, "steps": 1000, **settings}))
    model.solve(windows)
    return model


def table(w: Windows, part: str, i: int, history: str = "window") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All others and behaviours (n, N - 1 + K), own history (n, own lags) and the counts (n,) of neuron i."""
    activity, behavior, t = w.activity.numpy(), w.behavior.numpy(), w.targets[part].numpy()
    lags = range(1, w.window + 1) if history == "window" else [1]
    own = np.column_stack([activity[t - lag, i] for lag in lags])
    counts = np.round(activity[t, i] * w.normalization.activity_std[i] + w.normalization.activity_mean[i])
    return np.c_[np.delete(activity[t - 1], i, axis=1), behavior[t - 1]], own, counts


def coefficients(model: GLM, w: Windows, i: int) -> tuple[np.ndarray, np.ndarray, float]:
    """The same order as `table`'s."""
    shared = model.linear.get_buffer(f"shared_{w.session}").numpy()[:, i]
    older = model.linear.get_buffer(f"own_{w.session}").numpy()[i]
    own = np.r_[shared[i], older[::-1]]  # the latest first
    return np.delete(shared, i), own, float(model.linear.get_buffer(f"intercept_{w.session}")[i])


def to_counts(model: GLM, w: Windows, part: str) -> np.ndarray:
    """Forecast counts (n, N)."""
    scale = w.normalization
    return predict_series(model, w, w.targets[part]) * scale.activity_std + scale.activity_mean


@pytest.mark.parametrize("history", ["last", "window"])
def test_exp_without_penalty_equals_scikit_learn(windows, history):
    regressor = pytest.importorskip("sklearn.linear_model").PoissonRegressor
    model = solved(windows, nonlinearity="exp", penalty="l2", strengths=(0.0,), history=history)
    for w in windows:
        forecast = to_counts(model, w, "train")
        for i in range(w.n_neurons):
            x, own, y = table(w, "train", i, history)
            fit = regressor(alpha=0, solver="newton-cholesky", tol=1e-10, max_iter=1000).fit(np.c_[x, own], y)
            a, o, c = coefficients(model, w, i)
            np.testing.assert_allclose(np.r_[a, o], fit.coef_, atol=1e-4)
            # the drive is relative to the mean count
            assert c + np.log(w.normalization.activity_mean[i]) == pytest.approx(fit.intercept_, abs=1e-4)
            np.testing.assert_allclose(forecast[:, i], fit.predict(np.c_[x, own]), rtol=1e-3)


@pytest.mark.parametrize("nonlinearity", ["softplus", "exp"])
def test_ridge_equals_scipy(windows, nonlinearity):
    optimize = pytest.importorskip("scipy.optimize")
    model = solved(windows, nonlinearity=nonlinearity, penalty="l2", strengths=(0.1,))
    w, i = windows[1], 2
    x, own, y = table(w, "train", i)
    design, mean, soft = np.c_[x, own, np.ones(len(y))], w.normalization.activity_mean[i], model.config.softness
    a, o, c = coefficients(model, w, i)
    strength = _ridge_of(model, windows, w, i)

    def objective(theta):
        drive = design @ theta
        rate = mean * (np.exp(drive) if nonlinearity == "exp" else soft * np.logaddexp(0, drive / soft))
        return np.mean(rate - y * np.log(rate)) + strength / 2 * np.sum(theta[: x.shape[1]] ** 2)

    best = optimize.minimize(objective, np.r_[a, o, c] + 0.05, method="BFGS", options={"gtol": 1e-7})
    np.testing.assert_allclose(np.r_[a, o, c], best.x, atol=1e-4)


def _ridge_of(model, windows, w, i):
    """The ridge on a target's coefficients: its strength times ten times its information under own history alone."""
    soft, exp = model.config.softness, model.config.nonlinearity == "exp"
    optimize = pytest.importorskip("scipy.optimize")
    _, own, y = table(w, "train", i)
    design, mean = np.c_[own, np.ones(len(y))], w.normalization.activity_mean[i]

    def rate_of(drive):
        return mean * (np.exp(drive) if exp else soft * np.logaddexp(0, drive / soft))

    theta = optimize.minimize(
        lambda theta: np.mean(rate_of(design @ theta) - y * np.log(rate_of(design @ theta))),
        np.r_[np.zeros(own.shape[1]), 0.5],
        method="BFGS",
    ).x
    drive = design @ theta
    slope = rate_of(drive) if exp else mean / (1 + np.exp(-drive / soft))
    return model.strength(w.session) * 10 * np.mean(slope**2 / rate_of(drive))


@pytest.mark.parametrize("nonlinearity", ["softplus", "exp"])
def test_lasso_meets_the_conditions_of_optimality(windows, nonlinearity):
    model = solved(windows, nonlinearity=nonlinearity, strengths=(0.2,))
    soft, some = model.config.softness, 0
    for w in windows:
        thresholds = []
        for i in range(w.n_neurons):
            x, own, y = table(w, "train", i)
            a, o, c = coefficients(model, w, i)
            drive, mean = x @ a + own @ o + c, w.normalization.activity_mean[i]
            rate = mean * (np.exp(drive) if nonlinearity == "exp" else soft * np.logaddexp(0, drive / soft))
            slope = rate if nonlinearity == "exp" else mean / (1 + np.exp(-drive / soft))
            score = slope * (y / rate - 1)
            np.testing.assert_allclose(np.r_[own.T @ score, score.sum()] / len(y), 0, atol=1e-5)  # free
            gradient, used = x.T @ score / len(y), a != 0
            some += used.sum()
            threshold = np.abs(gradient[used]).max() if used.any() else np.inf
            np.testing.assert_allclose(gradient[used], threshold * np.sign(a[used]), atol=1e-5)
            assert (np.abs(gradient[~used]) <= threshold + 1e-5).all()
            thresholds.append(threshold)
        assert np.isfinite(thresholds).any()
    assert some > 5


def test_forecast_is_the_rate_in_deviations(windows):
    model = solved(windows, tolerance=1e-5)
    w = windows[0]
    mean, soft = w.normalization.activity_mean, model.config.softness
    forecast = to_counts(model, w, "test")
    assert (forecast >= 0).all()
    for i in range(w.n_neurons):
        x, own, _ = table(w, "test", i)
        a, o, c = coefficients(model, w, i)
        expected = mean[i] * soft * np.logaddexp(0, (x @ a + own @ o + c) / soft)
        np.testing.assert_allclose(forecast[:, i], expected, atol=1e-5)


def test_connectivity_is_the_mean_change_of_the_forecast(windows):
    model = solved(windows, tolerance=1e-5)
    w, delta = windows[0], 1e-5
    batch = w.batch(w.targets["train"])
    before = model.predict(batch).numpy().copy()
    found = model.connectivity(0)
    for j in range(w.n_neurons):
        batch.activity[:, j, -1] += delta
        change = (model.predict(batch).numpy() - before).mean(0) / delta
        batch.activity[:, j, -1] -= delta
        change[j] = 0
        np.testing.assert_allclose(found[:, j], change, atol=1e-4)


def test_finds_the_wiring_and_forecasts_better_than_the_linear_twin():
    rng = np.random.default_rng(0)
    n, t = 10, 4000
    weights = rng.choice([-1.5, 0.5], size=(n, n)) * (rng.random((n, n)) < 0.2)
    np.fill_diagonal(weights, 0)
    counts = np.zeros((n, t))
    for s in range(1, t):
        counts[:, s] = rng.poisson(np.maximum(weights @ counts[:, s - 1] + 0.8, 0.02))
    windows = prepare([session(counts)])
    model, linear = GLM(windows), LassoVAR(windows)
    for each in (model, linear):
        each.solve(windows)
    assert recovery(model.connectivity(0), weights)["r"] > 0.85
    assert score_session(model, windows[0], "test")[0] < score_session(linear, windows[0], "test")[0] < 1


def test_the_strength_with_the_highest_validation_likelihood_is_kept(windows):
    shares = tuple(10 ** (-k / 2) for k in range(6))
    model = solved(windows, strengths=shares, patience=6, tolerance=1e-8)
    for w in windows:
        losses, strengths = [], []
        for share in shares:
            one = solved(windows, strengths=(share,), tolerance=1e-8)
            rate = to_counts(one, w, "validation")
            counts = np.column_stack([table(w, "validation", i)[2] for i in range(w.n_neurons)])
            losses.append(np.mean(rate - counts * np.log(rate)))
            strengths.append(one.strength(w.session))
        assert model.strength(w.session) == pytest.approx(strengths[int(np.argmin(losses))], rel=1e-3)
        assert np.argmin(losses) > 0


def test_exp_never_forecasts_more_than_twice_the_largest_count(windows):
    model = solved(windows, nonlinearity="exp", tolerance=1e-5)
    w = windows[0]
    batch = w.batch(w.targets["test"][:3])
    batch.activity.fill_(1e3)
    for sign in (1, -1):
        model.linear.get_buffer("shared_0").copy_(sign * model.linear.get_buffer("shared_0").abs() + sign)
        forecast = model.predict(batch).numpy() * w.normalization.activity_std + w.normalization.activity_mean
        largest = np.array([table(w, "train", i)[2].max() for i in range(w.n_neurons)])
        np.testing.assert_allclose(forecast, np.tile(2 * largest if sign > 0 else 0 * largest, (3, 1)), atol=1e-5)


@pytest.mark.parametrize("nonlinearity", ["softplus", "exp"])
def test_rare_counts_bursts_and_a_window_of_one(nonlinearity):
    rng = np.random.default_rng(0)
    counts = rng.poisson(0.03, size=(4, 1200)).astype(float)
    counts[1] *= 40  # bursts
    windows = prepare([session(counts, rng.normal(size=(2, 1200)))], WindowConfig(window=1))
    model = GLM(windows, GLMConfig(nonlinearity=nonlinearity))
    model.solve(windows)
    assert score_session(model, windows[0], "train")[0] < 1.05
    assert np.isfinite(score_session(model, windows[0], "test")[0])


@pytest.mark.parametrize("what", ["fractions", "negative"])
def test_activity_that_is_no_counts_is_refused(what):
    counts = np.random.default_rng(0).poisson(1.0, size=(3, 400)).astype(float)
    activity = counts * 0.37 if what == "fractions" else counts - 1
    windows = prepare([session(activity)])
    with pytest.raises(InputError, match=r"made-by-hand.nwb: the activity is no spike counts.*lasso_var"):
        GLM(windows).solve(windows)
    both = prepare([session(counts), noise_session()])
    with pytest.raises(InputError, match="no spike counts"):
        GLM(both).solve(both)


def test_large_counts_survive_float32():
    counts = np.random.default_rng(0).poisson(50_000.0, size=(3, 600)).astype(float)
    windows = prepare([session(counts)])
    model = GLM(windows)
    model.solve(windows)
    assert score_session(model, windows[0], "train")[0] < 1.01


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"nonlinearity": "relu"}, "nonlinearity"),
        ({"softness": 0.0}, "softness"),
        ({"history": "all"}, "history"),
        ({"penalty": "l0"}, "penalty"),
        ({"strengths": ()}, "strengths"),
        ({"patience": 0}, "patience"),
        ({"tolerance": -1.0}, "tolerance"),
        ({"steps": 0}, "steps"),
    ],
)
def test_bad_settings(settings, match):
    with pytest.raises(ValueError, match=match):
        GLMConfig(**settings)
