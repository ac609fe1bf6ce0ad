"""The reference predictors against scikit-learn and numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from population import noise_session, session

from ndx_synapsnet.learn import linear, moments
from ndx_synapsnet.learn.forecaster import predict_series
from ndx_synapsnet.learn.linear import AR, ARVAR, REFERENCES, STRENGTHS, Mean, Persistence, RidgeVAR
from ndx_synapsnet.learn.preparation import prepare
from ndx_synapsnet.learn.windows import PARTS, WindowConfig, Windows


@pytest.fixture
def windows() -> list[Windows]:
    """Two sessions with gaps, different sizes and behaviours, in float64."""
    segment = np.repeat([0, 1, 2], [150, 100, 150])
    return prepare([noise_session(6, 400, 2, segment=segment), noise_session(4, 300, 1, seed=1)], dtype=torch.float64)


def table(w: Windows, part: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Last samples and behaviours (n, N + K), windows (n, N, W) and targets (n, N), sample by sample."""
    activity, behavior = w.activity.numpy(), w.behavior.numpy()
    targets = w.targets[part].tolist()
    return (
        np.array([np.r_[activity[t - 1], behavior[t - 1]] for t in targets]),
        np.array([activity[t - w.window : t].T for t in targets]),
        activity[targets],
    )


def solved(model, windows):
    model.solve(windows)
    return model


def test_mean_and_persistence(windows):
    mean, persistence = solved(Mean(windows), windows), solved(Persistence(windows), windows)
    for w in windows:
        indices = w.targets["test"]
        expected = np.tile(w.activity[w.targets["train"]].mean(0), (len(indices), 1))
        np.testing.assert_allclose(predict_series(mean, w, indices), expected, atol=1e-7)
        np.testing.assert_allclose(predict_series(persistence, w, indices), w.activity[indices - 1], rtol=1e-6)
    assert mean.connectivity(0) is None


def test_ar_equals_least_squares_a_neuron(windows):
    model = solved(AR(windows), windows)
    for w in windows:
        _, train, y = table(w, "train")
        _, test, _ = table(w, "test")
        prediction = predict_series(model, w, w.targets["test"])
        for i in range(w.n_neurons):
            design = np.c_[train[:, i], np.ones(len(train))]
            coefficients = np.linalg.lstsq(design, y[:, i], rcond=None)[0]
            np.testing.assert_allclose(prediction[:, i], test[:, i] @ coefficients[:-1] + coefficients[-1], atol=1e-6)


def test_ridge_var_equals_scikit_learn(windows):
    ridge = pytest.importorskip("sklearn.linear_model").Ridge
    model = solved(RidgeVAR(windows), windows)
    for w in windows:
        (x, _, y), (vx, _, vy), (tx, _, _) = (table(w, part) for part in PARTS)
        fits = [ridge(alpha=strength * len(x), tol=1e-12).fit(x, y) for strength in STRENGTHS]
        best = int(np.argmin([np.mean((fit.predict(vx) - vy) ** 2) for fit in fits]))
        assert 0 < best < len(STRENGTHS) - 1
        assert model.strength(w.session) == pytest.approx(STRENGTHS[best])
        np.testing.assert_allclose(predict_series(model, w, w.targets["test"]), fits[best].predict(tx), atol=1e-6)
        expected = fits[best].coef_[:, : w.n_neurons].copy()  # (N, N + K), [target, source]
        np.fill_diagonal(expected, 0)
        np.testing.assert_allclose(model.connectivity(w.session), expected, atol=1e-6)


def test_ar_var_equals_scikit_learn_target_by_target(windows):
    ridge = pytest.importorskip("sklearn.linear_model").Ridge
    model = solved(ARVAR(windows), windows)
    for w in windows:
        losses, tests, weights = [], [], []
        for strength in STRENGTHS:
            errors, test, rows = [], [], []
            for i in range(w.n_neurons):
                x, vx, tx = (np.c_[shared, lags[:, i, :-1]] for shared, lags, _ in (table(w, part) for part in PARTS))
                y, vy = (table(w, part)[2][:, i] for part in PARTS[:2])
                fit = ridge(alpha=strength * len(x), tol=1e-12).fit(x, y)
                errors.append(np.mean((fit.predict(vx) - vy) ** 2))
                test.append(fit.predict(tx))
                rows.append(fit.coef_[: w.n_neurons])
            losses.append(np.mean(errors))
            tests.append(np.array(test).T)
            weights.append(np.array(rows))
        best = int(np.argmin(losses))
        assert model.strength(w.session) == pytest.approx(STRENGTHS[best])
        np.testing.assert_allclose(predict_series(model, w, w.targets["test"]), tests[best], atol=1e-6)
        np.fill_diagonal(weights[best], 0)
        np.testing.assert_allclose(model.connectivity(w.session), weights[best], atol=1e-6)


def test_the_validation_error_from_moments_is_that_of_the_predictions(windows):
    """It decides the strength, so a wrong term in it may go unseen elsewhere."""
    w = windows[0]
    model = ARVAR(windows)
    generator = torch.Generator().manual_seed(0)
    for name in ("shared_0", "own_0"):
        buffer = model.get_buffer(name)
        buffer.copy_(torch.randn(buffer.shape, generator=generator, dtype=buffer.dtype))
    found = linear._mse(model.moments(w, "validation"), model.get_buffer("shared_0"), model.get_buffer("own_0"))
    batch = w.batch(w.targets["validation"])
    assert float(found) == pytest.approx(float((model.predict(batch) - batch.target).square().mean()), rel=1e-10)


@pytest.mark.parametrize("name", REFERENCES)
def test_blocks_do_not_matter(windows, name, monkeypatch):
    whole = solved(REFERENCES[name](windows), windows)
    for module in (linear, moments):
        monkeypatch.setattr(module, "_ELEMENTS", 500)
    monkeypatch.setattr(moments, "_FEWEST", 1)
    blocks = solved(REFERENCES[name](windows), windows)
    for w in windows:
        np.testing.assert_allclose(
            predict_series(blocks, w, w.targets["test"]), predict_series(whole, w, w.targets["test"]), atol=1e-6
        )


def products(s: np.ndarray, o: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    """Mean products of shared (m, p) and own predictors (m, N, L) and targets (m, N), as `Moments` names them."""
    return {
        "shared": s.T @ s / len(s), "cross": np.einsum("bp,bnl->lpn", s, o) / len(s),
        "own": np.einsum("bnk,bnl->nkl", o, o) / len(s), "shared_target": s.T @ y / len(s),
        "own_target": np.einsum("bnl,bn->nl", o, y) / len(s), "target": (y**2).mean(0),
    }  # fmt: skip


def assert_moments(found: moments.Moments, expected: dict[str, np.ndarray]) -> None:
    for name, value in expected.items():
        np.testing.assert_allclose(getattr(found, name), value, atol=1e-12, err_msg=name)


@pytest.mark.parametrize(("population", "first"), [(True, 2), (False, 1), (True, None)])
def test_moments_are_those_of_the_windows_themselves(windows, population, first):
    """Also about other means, and although most products of own lags are never formed."""
    w = windows[0]

    def predictors(part: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        shared, own, target = table(w, part)
        return (
            shared if population else shared[:, :0],
            own[:, :, : 0 if first is None else w.window + 1 - first],
            target,
        )

    train, validation = (moments.gather_moments(w, part, population=population, first=first) for part in PARTS[:2])
    for found, part in ((train.centred(train), "train"), (validation.centred(train), "validation")):
        s, o, y = (each - mean.mean(0) for each, mean in zip(predictors(part), predictors("train"), strict=True))
        means = {"shared_mean": s.mean(0), "own_mean": o.mean(0), "target_mean": y.mean(0)}
        assert_moments(found, means | products(s, o, y))


def test_moments_freed_of_covariates_are_those_of_residuals(windows):
    w = windows[0]
    s, o, y = table(w, "train")
    series = np.random.default_rng(3).normal(1, 2, (len(w.activity), 2)) + w.activity.numpy()[:, :1]
    train = moments.gather_moments(w, "train", population=True, first=2)
    covariates = moments.gather_covariates(w, "train", torch.from_numpy(series), first=2)
    found = train.centred(train).freed_of(covariates)

    c = np.column_stack([np.ones(len(s)), series[w.targets["train"].numpy()]])
    own = o[:, :, :-1]
    s, own, y = (each - np.einsum("tu,u...->t...", c @ np.linalg.pinv(c), each) for each in (s, own, y))
    assert_moments(found, products(s, own, y))


def test_lags_that_coincide_do_no_harm():
    noise = np.random.default_rng(0).normal(size=400)
    wave = np.tile([1.0, -1.0], 200)  # every lag is the same up to its sign
    windows = prepare([session(np.stack([noise, wave]))], dtype=torch.float64)
    model = solved(AR(windows), windows)
    indices = windows[0].targets["test"]
    np.testing.assert_allclose(
        predict_series(model, windows[0], indices)[:, 1], windows[0].truth(indices)[:, 1], atol=1e-6
    )


@pytest.mark.parametrize("name", ["ridge_var", "ar_var"])
def test_window_of_one(name):
    windows = prepare([noise_session()], WindowConfig(window=1))
    model = solved(REFERENCES[name](windows), windows)
    assert np.isfinite(predict_series(model, windows[0], windows[0].targets["test"])).all()
