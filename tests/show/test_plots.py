from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="pictures need the extra [plot]")

from ndx_synapsnet.session import FitResult, Scores, Session
from ndx_synapsnet.show.canvas import png
from ndx_synapsnet.show.compute import best_epoch, connectivity_view, correlation_matrix, score_table, trace_view
from ndx_synapsnet.show.matrix_view import MatrixView
from ndx_synapsnet.show.plots import (
    draw_matrices,
    draw_network,
    draw_recovery,
    draw_scores,
    draw_training,
    figures_of,
    network_of,
    save_every_picture,
    save_pictures,
)


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
    assert "best epoch 2" in [text.get_text() for text in draw_training(kept).legends[0].get_texts()]


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


def placed(result: FitResult) -> FitResult:
    n = len(result.neurons)
    rng = np.random.default_rng(0)
    neurons = replace(
        result.neurons,
        position=rng.uniform(0, 100, (n, 3)),
        region=np.array(["b", "a"] * (n // 2)),
        cell_type=np.array(["e"] * (n - 2) + ["", ""]),
    )
    return replace(result, neurons=neurons)


def test_plot_draws_all_that_there_is(result: FitResult, session: Session, tmp_path: Path) -> None:
    names = {path.stem for path in save_every_picture(placed(result), tmp_path, session)}
    orders = {f"connectivity_by_{name}" for name in ("region", "cell_type", "embedding_cluster", "depth")}
    assert names == orders | {
        "connectivity", "network", "embedding", "raster", "components", "currents", "traces", "scores", "training",
    }  # fmt: skip


def test_what_needs_the_recording_or_the_connectivity_is_left_out(result: FitResult, session: Session) -> None:
    assert set(figures_of(result)) == {"network", "connectivity_by_embedding_cluster", "embedding", "raster"}
    assert set(figures_of(replace(result, connectivity={}), session)) == {"embedding", "raster", "components"}


def test_lines_are_red_and_blue_and_fade_to_where_they_come_from(result: FitResult) -> None:
    view = network_of(placed(result), strongest=5)
    figure = draw_network(view)
    assert figure.axes[0].name == "3d"
    (lines,) = [c for c in figure.axes[0].collections if type(c).__name__ == "Line3DCollection"]
    colors = np.asarray(lines.get_color()).reshape(5, -1, 4)
    red = colors[:, 0, 0] > colors[:, 0, 2]
    np.testing.assert_array_equal(red, view.weight > 0)
    assert np.all(np.diff(colors[:, :, 3]) > 0)
    neurons = placed(result).neurons
    flat = replace(result, neurons=replace(neurons, position=neurons.position * [1, 1, 0]))
    assert draw_network(network_of(flat)).axes[0].name == "rectilinear"


def test_a_png_has_the_size_that_was_asked_for(result: FitResult) -> None:
    content = png(draw_training(result), dpi=50)
    assert content.startswith(b"\x89PNG")
    assert [int.from_bytes(content[k : k + 4], "big") for k in (16, 20)] == [350, 200]


def test_groups_too_small_for_their_names_keep_their_lines() -> None:
    groups = (*((f"g{k}", k, k + 1) for k in range(99)), ("large", 99, 200))
    figure = draw_matrices(MatrixView(("m",), (np.eye(200),), groups))
    ax = figure.axes[0]
    labels = [text.get_text() for text in ax.get_yticklabels()]
    assert "large" in labels
    assert 5 < len(labels) < 40
    assert len(ax.lines) == 2 * 99
    assert ax.images[0].norm.vmin == -ax.images[0].norm.vmax  # zero is white
