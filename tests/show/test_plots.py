from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="pictures need the extra [plot]")

from ndx_synapsnet.session import FitResult, Scores, Session
from ndx_synapsnet.show.compute import best_epoch, connectivity_view, correlation_matrix, score_table, trace_view
from ndx_synapsnet.show.plots import draw_recovery, draw_scores, draw_training, save_pictures


def test_every_picture_is_written(result: FitResult, session: Session, tmp_path: Path) -> None:
    paths = save_pictures(result, tmp_path / "pictures", session)
    assert [path.name for path in paths] == ["connectivity.png", "traces.png", "scores.png", "training.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)


def test_pictures_do_without_the_recording(result: FitResult, tmp_path: Path) -> None:
    assert len(save_pictures(result, tmp_path)) == 4


def test_pictures_do_without_connectivity(result: FitResult, session: Session, tmp_path: Path) -> None:
    paths = save_pictures(replace(result, connectivity={}), tmp_path, session)
    assert [path.name for path in paths] == ["traces.png", "scores.png", "training.png"]


def test_the_epoch_that_was_kept_is_told_even_where_it_has_not_the_lowest_mse(result: FitResult) -> None:
    assert best_epoch(result) == 1  # of an older result, by the validation MSE
    kept = replace(result, provenance={**result.provenance, "best_epoch": 2})
    assert best_epoch(kept) == 2
    assert "best epoch 2" in [text.get_text() for text in draw_training(kept).axes[0].get_legend().get_texts()]


def test_matrices_are_grouped_by_region(result: FitResult, session: Session) -> None:
    n = len(result.neurons)
    regions = np.array(["b", "a"] * (n // 2))
    grouped = replace(result, neurons=replace(result.neurons, region=regions))
    view = connectivity_view(grouped, session)
    assert view.titles == ("SynapsNet connectivity", "lag-0 correlation")
    assert view.groups == (("a", 0, n // 2), ("b", n // 2, n))
    order = [*range(1, n, 2), *range(0, n, 2)]
    expected = result.connectivity["effective"].weights[np.ix_(order, order)]
    np.testing.assert_array_equal(view.matrices[0], expected)


@pytest.mark.parametrize("regions", [["V1"] * 12, [f"region {i}" for i in range(12)]])
def test_labels_that_make_no_groups_are_passed_over(result: FitResult, regions: list[str]) -> None:
    named = replace(result, neurons=replace(result.neurons, region=np.array(regions)))
    view = connectivity_view(named)
    assert view.groups == ()
    np.testing.assert_array_equal(view.matrices[0], result.connectivity["effective"].weights)


def test_correlation_matrix_matches_numpy_and_survives_constants(session: Session) -> None:
    activity = session.activity.copy()
    activity[3] = 7.0
    matrix = correlation_matrix(replace(session, activity=activity))
    assert np.all(matrix[3] == 0)
    assert np.all(np.diag(matrix) == 0)
    assert matrix[1, 2] == pytest.approx(np.corrcoef(activity[1], activity[2])[0, 1])


def test_traces_are_on_one_scale_and_skip_gaps(result: FitResult, session: Session) -> None:
    index = result.forecast.index.copy()
    index[10:] += 1  # a gap after the tenth predicted sample
    keep = index < session.n_samples
    forecast = replace(
        result.forecast,
        **{name: getattr(result.forecast, name)[keep] for name in ("values", "times", "split")},
        index=index[keep],
    )
    view = trace_view(replace(result, forecast=forecast), session, neurons=3)
    assert len(view.times) == keep.sum() - 10  # the longer stretch
    best = int(np.argmax(result.scores["synapsnet"].correlation))
    assert view.names[0] == result.neurons.id[best]
    mean, std = result.normalization.activity_mean[best], result.normalization.activity_std[best]
    assert view.true is not None
    np.testing.assert_allclose(view.true[0], (session.activity[best, index[keep][10:]] - mean) / std, rtol=1e-6)


def test_score_table_counts_what_is_undefined(result: FitResult) -> None:
    rows = {row.key: row for row in score_table(result)}
    n = len(result.neurons)
    assert rows["mean"].undefined == n
    assert np.isnan(rows["mean"].correlation)
    assert rows["synapsnet"].undefined == 0
    assert rows["synapsnet"].correlation == pytest.approx(result.scores["synapsnet"].correlation.mean(), rel=1e-6)


def test_scores_are_drawn_when_all_are_undefined(result: FitResult) -> None:
    n = len(result.neurons)
    nothing = Scores(np.full(n, np.nan), np.ones(n))
    draw_scores(replace(result, scores=dict.fromkeys(result.scores, nothing)))


def test_recovery_names_its_correlation(result: FitResult) -> None:
    truth = result.connectivity["effective"].weights
    figure = draw_recovery(connectivity_view(result), truth)
    assert "r = 1.00" in figure.axes[0].get_title()
