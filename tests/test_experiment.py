from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ndx_synapsnet.assembly import judge
from ndx_synapsnet.errors import InputError
from ndx_synapsnet.experiment import (
    ExperimentConfig,
    config_from_mapping,
    estimate_cost,
    fit,
    load_config,
)
from ndx_synapsnet.reproduction import predict
from ndx_synapsnet.session import SPLITS, FitResult, Normalization, Scores, Session
from ndx_synapsnet.simulate import PaperNetworkConfig, random_session, simulate_paper_network

QUICK = {"train": {"epochs": 2, "min_steps": 0, "max_steps": None}}


@pytest.fixture(scope="module")
def recording() -> Session:
    return simulate_paper_network(PaperNetworkConfig(n_neurons=36, n_recorded=12, n_samples=2000)).session


@pytest.fixture(scope="module")
def fitted(recording: Session) -> FitResult:
    (result,) = fit(recording, load_config(overrides={**QUICK, "keep": "all"}), progress=False)
    return result


def test_result_is_complete(fitted: FitResult, recording: Session) -> None:
    assert list(fitted.scores) == ["synapsnet", "mean", "persistence", "ar", "ridge_var", "ar_var", "ar_long"]
    assert set(fitted.connectivity) == {"effective", "raw", "ridge_var"}
    assert np.all(np.diag(fitted.connectivity["effective"].weights) == 0)
    assert np.isnan(fitted.scores["mean"].correlation).all()
    assert fitted.scores["mean"].mse.mean() == pytest.approx(1.0, abs=0.1)
    assert set(np.unique(fitted.split)) == {SPLITS[part] for part in ("train", "validation", "test")}
    assert fitted.forecast.currents is not None
    assert fitted.provenance["source"]["uri"] == recording.provenance["uri"]
    assert fitted.provenance["software"]["ndx-synapsnet"]
    assert config_from_mapping(fitted.config) == load_config(overrides={**QUICK, "keep": "all"})


def test_connectivity_is_in_spikes_and_says_how_sure_it_is(fitted: FitResult, recording: Session) -> None:
    effective, raw = fitted.connectivity["effective"], fitted.connectivity["raw"]
    assert "in spikes" in effective.description
    assert effective.standard_error is not None
    off = ~np.eye(12, dtype=bool)
    assert (effective.standard_error[off] > 0).all()
    std = fitted.normalization.activity_std
    per_deviation = effective.weights * std / std[:, None]
    # the network took them, or kept the linear model's, which are much like them
    assert np.corrcoef(per_deviation[off], raw.weights[off])[0, 1] > 0.8
    assert any("hidden series" in note for note in fitted.provenance["notes"])
    calcium = replace(recording, activity_kind="fluorescence", unit="dF/F", modality="ophys")
    (other,) = fit(calcium, load_config("fast", overrides=QUICK), progress=False)
    assert "both z-scored" in other.connectivity["effective"].description


def test_an_effect_grows_with_the_target_s_deviation_and_falls_with_the_source_s() -> None:
    scale = Normalization(np.zeros(2), np.array([1.0, 4.0]), np.zeros(0), np.zeros(0)).effect_scale
    np.testing.assert_array_equal(scale, [[1, 0.25], [4, 1]])  # [target, source]


def test_forecast_is_in_source_units_and_scores_are_its(fitted: FitResult, recording: Session) -> None:
    test = fitted.forecast.split == SPLITS["test"]
    values, index = fitted.forecast.values[test], fitted.forecast.index[test]
    truth = recording.activity[:, index].T
    r = [np.corrcoef(values[:, i], truth[:, i])[0, 1] for i in range(len(fitted.neurons))]
    np.testing.assert_allclose(fitted.scores["synapsnet"].correlation, r, atol=1e-5)
    mse = (((values - truth) / fitted.normalization.activity_std) ** 2).mean(0)
    np.testing.assert_allclose(fitted.scores["synapsnet"].mse, mse, rtol=1e-4)
    np.testing.assert_array_equal(fitted.forecast.times, recording.times[fitted.forecast.index])


def test_a_seed_gives_the_same_result(recording: Session) -> None:
    train = {**QUICK["train"], "min_steps": 200}  # long enough to leave the linear model, which no seed decides
    config = load_config(overrides={"train": train})
    (first,), (again,) = fit(recording, config, progress=False), fit(recording, config, progress=False)
    np.testing.assert_array_equal(first.forecast.values, again.forecast.values)
    np.testing.assert_array_equal(first.connectivity["effective"].weights, again.connectivity["effective"].weights)
    other = load_config(overrides={"train": {**train, "seed": 1}})
    (different,) = fit(recording, other, progress=False)
    assert not np.array_equal(first.forecast.values, different.forecast.values)


def test_predict_reproduces_the_forecast(fitted: FitResult, recording: Session) -> None:
    again = predict(fitted, recording, keep="all")
    np.testing.assert_allclose(again.values, fitted.forecast.values, rtol=1e-4, atol=1e-5)
    assert again.currents is not None
    np.testing.assert_allclose(again.currents, fitted.forecast.currents, rtol=1e-4, atol=1e-5)


def test_predict_refuses_another_recording(fitted: FitResult, recording: Session) -> None:
    with pytest.raises(InputError, match="other neurons"):
        predict(fitted, recording.select(np.arange(5)))


def test_several_sessions_share_a_run_and_a_decoder(recording: Session) -> None:
    other = simulate_paper_network(PaperNetworkConfig(n_neurons=30, n_recorded=9, n_samples=1500, seed=5)).session
    first, second = fit([recording, other], load_config(overrides=QUICK), progress=False)
    assert first.run_id == second.run_id
    assert (len(first.neurons), len(second.neurons)) == (12, 9)
    own = ("skip.", "current.", "drive.")
    shared = [name for name in first.weights if not name.startswith(own)]
    assert len(shared) > 5
    assert all(np.array_equal(first.weights[name], second.weights[name]) for name in shared)
    again = predict(second, other)
    np.testing.assert_allclose(again.values, second.forecast.values, rtol=1e-4, atol=1e-5)


def test_the_penalty_grid_is_judged_by_validation(recording: Session) -> None:
    config = replace(load_config("paper", overrides=QUICK), penalty_grid=(1e-4, 10.0))
    (result,) = fit(recording, config, progress=False)
    assert result.config["model"]["penalty_weight"] == 1e-4  # 10 leaves nothing of the connectivity


def test_without_connectivity_there_is_none(recording: Session) -> None:
    config = load_config("paper", overrides={**QUICK, "penalty_grid": [], "model": {"use_connectivity": False}})
    (result,) = fit(recording, config, progress=False)
    assert result.connectivity == {}
    assert predict(result, recording).values.shape == result.forecast.values.shape


def _scores(**mse: float) -> dict[str, Scores]:
    return {name: Scores(np.zeros(3), np.full(3, value)) for name, value in mse.items()}


@pytest.mark.parametrize(
    ("mse", "trustworthy", "words"),
    [
        ({"synapsnet": 1.01, "mean": 1.0, "ar": 1.2}, False, "no better than the mean"),
        ({"synapsnet": 1.0, "mean": 1.0, "ar": 1.2}, False, "no better than the mean"),
        ({"synapsnet": float("nan"), "mean": 1.0, "ar": 1.2}, False, "no better than the mean"),
        ({"synapsnet": 0.9, "mean": 1.0, "ar": 0.8}, False, "worse than each neuron's own history"),
        ({"synapsnet": 0.8, "mean": 1.0, "ar": 0.9, "ridge_var": 0.7}, True, "but ridge_var does better still"),
        ({"synapsnet": 0.8, "mean": 1.0, "ar": 0.9}, True, "forecasts better than the mean"),
    ],
)
def test_the_verdict_is_plain(mse: dict[str, float], trustworthy: bool, words: str) -> None:
    decision, sentence = judge(_scores(**mse))
    assert decision is trustworthy
    assert words in sentence
    assert ("not to be read" in sentence) is not trustworthy


def test_recipes_load_and_the_paper_s_is_the_paper_s() -> None:
    paper = load_config("paper")
    assert (paper.windows.window, paper.model.embedding, paper.model.hidden, paper.model.decoder) == (5, 32, 40, "gru")
    assert (paper.train.epochs, paper.train.batch_size, paper.train.learning_rate) == (100, 32, 1e-3)
    assert (paper.train.schedule, paper.train.halve_every, paper.model.dropout) == ("halve", 10, 0.1)
    assert isinstance(load_config(), ExperimentConfig)


def test_a_model_without_one_of_its_inputs_learns_from_nothing() -> None:
    default = load_config().model
    assert default.drive
    for left_out in ("use_activity", "use_connectivity", "use_behavior"):
        model = load_config(overrides={"model": {left_out: False}}).model
        assert (model.drive, model.connectivity, model.skip_current) == (False, "learned", False)
    told = load_config(overrides={"model": {"use_behavior": False, "penalty_weight": 0.5}}).model
    assert (told.penalty, told.penalty_weight) == ("l1", 0.5)
    paper = load_config("paper").model
    assert load_config("paper", overrides={"model": {"use_behavior": False}}).model == replace(
        paper, use_behavior=False
    )


def test_unknown_settings_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown recipe 'papre'"):
        load_config("papre")
    with pytest.raises(InputError, match=r"epoch.*Known settings: .*epochs"):
        load_config(overrides={"train": {"epoch": 3}})
    with pytest.raises(InputError, match="unknown setting trian"):
        load_config(overrides={"trian": {"epochs": 3}})
    with pytest.raises(InputError, match="epochs is 0"):
        load_config(overrides={"train": {"epochs": 0}})
    file = tmp_path / "mine.yaml"
    file.write_text("train:\n  epochs: many\n")
    with pytest.raises(InputError, match=r"mine\.yaml"):
        load_config(file=file)
    for text, words in (
        ("train: {epochs: many}", "epochs is 'many', expected a whole number"),
        ("train: {epochs: 2.5}", "epochs is 2.5, expected a whole number"),
        ("train: {epochs: true}", "epochs is True, expected a whole number"),
        ("train: {learning_rate: fast}", "learning_rate is 'fast', expected a number"),
        ("windows: {split: 3}", "split is 3, expected a list"),
        ("model: {use_behavior: 'no'}", "use_behavior is 'no', expected true or false"),
        ("penalty_grid: 3", "penalty_grid is 3, expected a list"),
    ):
        file.write_text(text)
        with pytest.raises(InputError, match=words):
            load_config(file=file)
    file.write_text("train: {max_steps: null, learning_rate: 1}")
    assert load_config(file=file).train.max_steps is None
    file.write_text("train: [1")
    with pytest.raises(InputError, match="is not YAML"):
        load_config(file=file)
    with pytest.raises(InputError, match="cannot be read"):
        load_config(file=tmp_path / "none.yaml")


def test_a_file_changes_the_recipe_and_options_change_the_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("train:\n  epochs: 7\n  seed: 3\n")
    config = load_config(file=file, overrides={"train": {"epochs": 9}})
    assert (config.train.epochs, config.train.seed) == (9, 3)


def test_cost_grows_with_the_recording() -> None:
    config = load_config(overrides={"train": {"min_steps": 0, "max_steps": None}})
    short, long = estimate_cost(20, 5_000, config), estimate_cost(20, 500_000, config)
    assert 10 < long.seconds / short.seconds < 1000
    assert estimate_cost(2000, 5_000, config).bytes > short.bytes


def test_a_longer_history_alone_earns_no_trust() -> None:
    """Neurons that know nothing of each other: the default recipe sees more of each one's past than AR(5) does."""
    rng = np.random.default_rng(0)
    slow = np.zeros((20, 6000))
    for t in range(1, 6000):
        slow[:, t] = 0.95 * slow[:, t - 1] + np.sqrt(1 - 0.95**2) * rng.normal(size=20)
    activity = (slow + rng.normal(size=slow.shape)).astype(np.float32)
    (result,) = fit(replace(random_session(20, 6000), activity=activity))
    mse = {name: score.mse.mean() for name, score in result.scores.items()}
    assert mse["ar_long"] < mse["synapsnet"] < mse["ar"]
    assert not result.trustworthy
    assert "its connectivity is not to be read" in result.verdict


def test_a_cost_can_be_told_for_any_setting() -> None:
    for overrides in ({"windows": {"window": 40}}, {"train": {"batch_size": 2}}, {"model": {"context": "window"}}):
        assert estimate_cost(5, 2_000, load_config("default", overrides=overrides)).seconds > 0
    one, grid = (
        estimate_cost(5, 2_000, load_config("paper", overrides={"penalty_grid": weights, "train": {"epochs": 2}}))
        for weights in ([], [1e-3, 1e-2, 1e-1, 1.0])
    )
    assert grid.seconds > 1.5 * one.seconds
