"""The lasso VAR against scikit-learn and against the conditions of optimality."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from population import noise_session, session

from ndx_synapsnet.learn import coordinate_descent
from ndx_synapsnet.learn.baselines.lasso_var import LassoVAR, LassoVARConfig
from ndx_synapsnet.learn.forecaster import predict_series
from ndx_synapsnet.learn.linear import ARVAR
from ndx_synapsnet.learn.preparation import prepare
from ndx_synapsnet.learn.windows import PARTS, WindowConfig, Windows


@pytest.fixture(scope="module")
def windows() -> list[Windows]:
    """Two sessions with gaps, different sizes and behaviours, in float64."""
    segment = np.repeat([0, 1, 2], [150, 100, 150])
    return prepare([noise_session(6, 400, 2, segment=segment), noise_session(4, 300, 1, seed=1)], dtype=torch.float64)


def solved(windows, **settings):
    model = LassoVAR(windows, LassoVARConfig(**{"tolerance": 1e-9, **settings}))
    model.solve(windows)
    return model


def predictors(w: Windows, part: str, i: int, history: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What is penalised (n, N - 1 + K), what is free (n, own lags + 1) and the target (n,) of neuron i."""
    activity, behavior, t = w.activity.numpy(), w.behavior.numpy(), w.targets[part].numpy()
    lags = range(1, w.window + 1) if history == "window" else [1]
    free = np.column_stack([activity[t - lag, i] for lag in lags] + [np.ones(len(t))])
    return np.c_[np.delete(activity[t - 1], i, axis=1), behavior[t - 1]], free, activity[t, i]


@pytest.mark.parametrize("history", ["last", "window"])
@pytest.mark.parametrize("share", [0.5, 0.1, 0.01])
def test_equals_scikit_learn_with_own_history_regressed_out(windows, history, share):
    lasso = pytest.importorskip("sklearn.linear_model").Lasso
    model = solved(windows, history=history, strengths=(share,))
    for w in windows:
        forecast, weights = predict_series(model, w, w.targets["test"]), model.connectivity(w.session)
        for i in range(w.n_neurons):
            x, free, y = predictors(w, "train", i, history)
            xr, yr = (each - free @ np.linalg.lstsq(free, each, rcond=None)[0] for each in (x, y))
            fit = lasso(alpha=model.strength(w.session), fit_intercept=False, tol=1e-13, max_iter=100_000).fit(xr, yr)
            own = np.linalg.lstsq(free, y - x @ fit.coef_, rcond=None)[0]
            tx, tfree, _ = predictors(w, "test", i, history)
            np.testing.assert_allclose(np.delete(weights[i], i), fit.coef_[: w.n_neurons - 1], atol=1e-6)
            np.testing.assert_allclose(forecast[:, i], tx @ fit.coef_ + tfree @ own, atol=1e-6)
        np.testing.assert_array_equal(np.diag(weights), 0)


def test_the_strength_with_the_lowest_validation_error_is_kept(windows):
    shares = tuple(10 ** (-k / 3) for k in range(9))
    model = solved(windows, strengths=shares, patience=9)
    for w in windows:
        losses, strengths = [], []
        for share in shares:
            one = solved(windows, strengths=(share,))
            batch = w.batch(w.targets["validation"])
            losses.append(float((one.predict(batch) - batch.target).square().mean()))
            strengths.append(one.strength(w.session))
        assert 0 < np.argmin(losses) < len(shares) - 1
        assert model.strength(w.session) == pytest.approx(strengths[int(np.argmin(losses))])


def test_the_path_begins_where_coupling_begins(windows):
    model = solved(windows, strengths=(1.0,))
    shared = model.linear.get_buffer("shared_0").clone()
    np.testing.assert_allclose(shared[: windows[0].n_neurons].fill_diagonal_(0), 0, atol=1e-12)
    np.testing.assert_allclose(shared[windows[0].n_neurons :], 0, atol=1e-12)
    just_below = solved(windows, strengths=(0.999,)).linear.get_buffer("shared_0").fill_diagonal_(0)
    assert int((just_below != 0).sum()) == 1


@pytest.mark.parametrize("l2", [0.0, 0.3])
def test_descent_meets_the_conditions_of_optimality_in_any_block_and_for_some_targets(windows, monkeypatch, l2):
    monkeypatch.setattr(coordinate_descent, "_BLOCK", 4)
    w = windows[0]
    moments = ARVAR(windows).moments(w, "train")
    moments = moments.centred(moments)
    some = np.array([4, 1, 3])
    design = coordinate_descent.CoupledDesign(moments).of(some)
    u, v = moments.shared_target.numpy().T[some], moments.own_target.numpy()[some]
    targets = design.targets(u, v)
    l1 = np.array([0.02, 0.05, 0.03])
    start = np.zeros((3, u.shape[1]))
    chosen = design.descend(targets, start, l1=l1, l2=np.full(3, l2), tolerance=1e-12)
    shared, own = design.coefficients(targets, chosen)
    with_shared, with_own = design.moments_of(shared, own)
    np.testing.assert_allclose(with_own, v, atol=1e-10)  # the older lags are at their least squares
    gradient = u - with_shared - l2 * chosen
    for row, i in enumerate(some):
        assert gradient[row, i] == pytest.approx(0, abs=1e-10)  # and so is the latest
        others = np.arange(u.shape[1]) != i
        used = others & (chosen[row] != 0)
        assert 0 < used.sum() < others.sum()
        np.testing.assert_allclose(gradient[row, used], l1[row] * np.sign(chosen[row, used]), atol=1e-9)
        assert (np.abs(gradient[row, others]) <= l1[row] + 1e-9).all()


def test_finds_the_one_driver():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(8, 2000))
    x[5, 1:] += 0.8 * x[2, :-1]
    found = solved(prepare([session(x)]), strengths=(0.3,)).connectivity(0)
    assert np.argwhere(found).tolist() == [[5, 2]]  # [target, source]
    assert found[5, 2] > 0.3


@pytest.mark.parametrize("window", [1, 5])
def test_copies_steps_and_constant_behaviors_do_no_harm(window):
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(3, 400))
    stairs = np.repeat(rng.normal(size=80), 5)
    activity = np.stack([*noise, noise[0], stairs, np.tile([1.0, -1.0], 200)])
    windows = prepare([session(activity, np.stack([noise[1], np.ones(400)]))], WindowConfig(window=window))
    model = solved(windows, tolerance=1e-4)
    for part in PARTS:
        forecast = predict_series(model, windows[0], windows[0].targets[part])
        assert np.isfinite(forecast).all()
        np.testing.assert_allclose(forecast[:, 5], windows[0].truth(windows[0].targets[part])[:, 5], atol=1e-3)
    assert np.isfinite(model.connectivity(0)).all()


def test_nothing_to_couple_leaves_own_history():
    windows = prepare([noise_session(t=400)], dtype=torch.float64)
    model = solved(windows, strengths=(1.0,))
    w = windows[0]
    for i in range(w.n_neurons):
        _, free, y = predictors(w, "train", i, "window")
        own = np.linalg.lstsq(free, y, rcond=None)[0]
        _, tfree, _ = predictors(w, "test", i, "window")
        np.testing.assert_allclose(predict_series(model, w, w.targets["test"])[:, i], tfree @ own, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"history": "all"}, "history"),
        ({"strengths": ()}, "strengths"),
        ({"strengths": (0.1, 0.2)}, "strengths"),
        ({"strengths": (2.0, 1.0)}, "strengths"),
        ({"strengths": (1.0, -1.0)}, "strengths"),
        ({"patience": 0}, "patience"),
        ({"tolerance": 0.0}, "tolerance"),
    ],
)
def test_bad_settings(settings, match):
    with pytest.raises(ValueError, match=match):
        LassoVARConfig(**settings)
