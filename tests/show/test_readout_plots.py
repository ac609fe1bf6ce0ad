"""Pictures of comparisons and group readouts: what they show, and that odd cases are drawn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="pictures need the extra [plot]")

from ndx_synapsnet.errors import InputError
from ndx_synapsnet.metrics import distance_connectivity, group_connectivity, neuron_connectivity
from ndx_synapsnet.session import Connectivity, FitResult
from ndx_synapsnet.show.comparison import comparison_view, draw_comparison
from ndx_synapsnet.show.group_plots import draw_distance, draw_groups, draw_neurons
from ndx_synapsnet.show.plots import save_figure


def test_two_matrices_are_in_one_order(result: FitResult) -> None:
    n = len(result.neurons)
    neurons = replace(result.neurons, region=np.array(["b", "a"] * (n // 2)))
    first, second = result.connectivity["effective"], result.connectivity["raw"]
    view = comparison_view(neurons, first, second, ("one", "two"), r=0.25, p=0.01)
    order = [*range(1, n, 2), *range(0, n, 2)]
    np.testing.assert_array_equal(view.matrices[0], first.weights[np.ix_(order, order)])
    np.testing.assert_array_equal(view.matrices[1], second.weights[np.ix_(order, order)])
    assert view.weights.shape == (2, n * (n - 1))
    places = {pair: k for k, pair in enumerate(zip(*view.weights.tolist(), strict=True))}
    assert (float(first.weights[2, 5]), float(second.weights[2, 5])) in places
    figure = draw_comparison(view)
    assert figure.axes[2].get_title() == "r = 0.25, p = 0.01 by permutation"
    image = figure.axes[0].images[0]
    assert image.norm.vmin == -image.norm.vmax  # zero is white


def test_many_pairs_are_drawn_by_their_density() -> None:
    n = 150
    weights = np.random.default_rng(0).normal(size=(n, n))
    matrix = Connectivity(weights, "x", "")
    neurons = _neurons(n)
    view = comparison_view(neurons, matrix, matrix, ("one", "two"), r=float("nan"), p=float("nan"))
    figure = draw_comparison(view)
    assert figure.axes[2].get_title() == "r is undefined"
    assert [ax.get_ylabel() for ax in figure.axes].count("pairs") == 1


def test_groups_without_pairs_and_many_groups_are_drawn(tmp_path: Path) -> None:
    weights = np.random.default_rng(0).normal(size=(13, 13))
    few = draw_groups(group_connectivity(weights, ["a"] * 12 + ["b"]), edges="edges")
    cells = [text.get_text() for text in few.axes[0].texts]
    assert len(cells) == 3  # of one neuron there is no pair within
    assert sum("±" in cell for cell in cells) == 1
    many = draw_groups(group_connectivity(weights, list("abcdefghijklm")), edges="edges")
    assert not many.axes[0].texts
    save_figure(many, tmp_path / "many.png")
    assert (tmp_path / "many.png").read_bytes().startswith(b"\x89PNG")


def test_distance_leaves_out_pairs_without_one() -> None:
    rng = np.random.default_rng(0)
    position = rng.random((10, 3))
    position[3] = np.nan
    found = distance_connectivity(rng.normal(size=(10, 10)), position, bins=4)
    figure = draw_distance(found, edges="edges")
    assert len(figure.axes[0].lines[0].get_xdata()) == 4
    low, high = figure.axes[1].get_ylim()
    assert low == 0
    assert high > np.max(found.mean_absolute[:4] + found.mean_absolute_error[:4])


def test_neurons_are_drawn_with_and_without_degrees() -> None:
    weights = np.random.default_rng(0).normal(size=(10, 10))
    assert len(draw_neurons(neuron_connectivity(weights, weights > 0), edges="edges").axes) == 3
    assert len(draw_neurons(neuron_connectivity(weights), edges="edges").axes) == 2


def test_a_format_that_nobody_knows_is_told(tmp_path: Path) -> None:
    figure = draw_neurons(neuron_connectivity(np.eye(3)), edges="edges")
    with pytest.raises(InputError, match=r"a\.xyz.*[Ss]upported formats"):
        save_figure(figure, tmp_path / "a.xyz")
    with pytest.raises(InputError, match="cannot be written"):
        save_figure(figure, tmp_path / "nowhere" / "a.png")


def _neurons(n: int):  # type: ignore[no-untyped-def]
    from ndx_synapsnet.session import Neurons

    ids = np.arange(n).astype(str)
    return Neurons(ids, ids, ids, np.arange(n))
