"""Pictures are the same whatever a user has set, show names as they are, and can be read with any colour vision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="pictures need the extra [plot]")

import matplotlib
from matplotlib.text import Text

from ndx_synapsnet.metrics import choose_edges, group_connectivity
from ndx_synapsnet.session import FitResult, Session
from ndx_synapsnet.show.canvas import DOT_COLORS, GROUP_COLORS, OTHER, png, short, short_all
from ndx_synapsnet.show.comparison import comparison_view, draw_comparison
from ndx_synapsnet.show.compute import connectivity_view, trace_view
from ndx_synapsnet.show.group_plots import draw_groups
from ndx_synapsnet.show.matrix_plots import draw_matrices
from ndx_synapsnet.show.network_plots import NEGATIVE, POSITIVE, draw_network
from ndx_synapsnet.show.neuron_plots import draw_embedding
from ndx_synapsnet.show.neuron_view import embedding_view
from ndx_synapsnet.show.plots import draw_scores, draw_traces, draw_training, network_of

ODD = r"$\frac{$ a_b^c \x{"
LONG = "the nucleus of the lateral olfactory tract, pyramidal layer 3"


def named(result: FitResult, names: tuple[str, str]) -> FitResult:
    n = len(result.neurons)
    labels = np.array(names * (n // 2))
    position = np.random.default_rng(0).uniform(0, 9000, (n, 3))
    ids = np.array([f"{name} {row}" for row, name in enumerate(labels)])
    return replace(result, neurons=replace(result.neurons, id=ids, region=labels, cell_type=labels, position=position))


def pictures(result: FitResult, session: Session, names: tuple[str, str]) -> dict[str, Callable[[], Any]]:
    shown = named(result, names)
    matrix, other = shown.connectivity["effective"], shown.connectivity["ridge_var"]
    edges = choose_edges(matrix, strongest=9)
    regions = shown.neurons.region
    assert regions is not None
    compared = comparison_view(shown.neurons, matrix, other, names, r=0.5, p=0.5)
    embedded = embedding_view(shown.neurons, shown.embeddings, column=names[0], columns={names[0]: regions})
    return {
        "matrices": lambda: draw_matrices(connectivity_view(shown, None, {names[0]: other.weights})),
        "network": lambda: draw_network(network_of(shown)),
        "embedding": lambda: draw_embedding(embedded),
        "traces": lambda: draw_traces(trace_view(shown, session), unit=names[0]),
        "scores": lambda: draw_scores(replace(shown, scores={**shown.scores, names[0]: shown.scores["ar"]})),
        "groups": lambda: draw_groups(group_connectivity(matrix.weights, regions, edges), edges="9"),
        "comparison": lambda: draw_comparison(compared),
    }


def texts(figure: Any) -> list[Text]:
    return [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]


@pytest.mark.parametrize("kind", ["matrices", "network", "embedding", "traces", "scores", "groups", "comparison"])
def test_names_are_drawn_as_they_are(result: FitResult, session: Session, kind: str) -> None:
    figure = pictures(result, session, (ODD, "日本 $"))[kind]()
    png(figure, dpi=40)  # a formula that is none would raise, a letter that the font lacks would warn
    shown = [text for text in texts(figure) if ODD[:5] in text.get_text()]
    assert shown
    assert not any(text.get_parse_math() for text in shown)


@pytest.mark.parametrize("kind", ["matrices", "network", "embedding", "traces", "scores", "groups", "comparison"])
def test_long_names_leave_room_for_the_picture(result: FitResult, session: Session, kind: str) -> None:
    figure = pictures(result, session, (f"{LONG}a", f"{LONG}b"))[kind]()
    png(figure, dpi=50)
    width, height = figure.canvas.get_width_height()
    lettered = [text for text in texts(figure) if "nucleus"[:3] in text.get_text() or "…" in text.get_text()]
    assert lettered
    for text in lettered:
        box = text.get_window_extent()
        assert box.x0 > -3
        assert box.y0 > -3
        assert box.x1 < width + 3
        assert box.y1 < height + 3
    assert max(ax.get_window_extent().width for ax in figure.axes) > 0.15 * width
    names = [text.get_text() for text in lettered if len(text.get_text()) > 8]
    assert max(map(len, names)) < 70


@pytest.mark.parametrize(("elevation", "azimuth"), [(28, -60), (0, 0), (90, -90), (-40, 130), (60, 45), (10, -5)])
def test_a_network_in_space_fills_its_picture_from_everywhere(
    result: FitResult, elevation: float, azimuth: float
) -> None:
    figure = draw_network(network_of(named(result, ("a", "b"))), elevation=elevation, azimuth=azimuth)
    png(figure, dpi=50)
    caption, legend = figure.texts[0], figure.legends[0]
    assert "strongest" in caption.get_text()
    places = [part.get_window_extent() for part in (caption, legend)]
    caption.set_visible(False)
    legend.set_visible(False)
    png(figure, dpi=50)
    ink = np.asarray(figure.canvas.buffer_rgba())[::-1, :, :3].min(axis=2) < 250  # from below
    height, width = ink.shape
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    assert rows[0] > places[0].y1
    assert rows[-1] < places[1].y0
    assert columns[0] > 0
    assert columns[-1] < width - 1
    assert max(np.ptp(columns) / width, np.ptp(rows) / height) > 0.6


def test_a_users_settings_are_neither_followed_nor_changed(
    result: FitResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = png(draw_training(result), dpi=40)
    draw_training(result).savefig(tmp_path / "usual.png")
    with matplotlib.rc_context():
        matplotlib.style.use("dark_background")
        matplotlib.rcParams.update({"font.size": 30, "text.usetex": True, "axes.grid": True})
        before = dict(matplotlib.rcParams)
        assert png(draw_training(result), dpi=40) == usual
        draw_training(result).savefig(tmp_path / "dark.png")
        assert dict(matplotlib.rcParams) == before
    assert (tmp_path / "dark.png").read_bytes() == (tmp_path / "usual.png").read_bytes()


def test_short_names_keep_their_ends_and_stay_different() -> None:
    assert short("V1") == "V1"
    assert short(LONG) == "the nucleus of th…layer 3"
    assert short("a\x1bb") == "a\N{REPLACEMENT CHARACTER}b"
    shown = short_all([f"{'a' * 40}{k}{'b' * 40}" for k in range(3)])
    assert len(set(shown)) == 3
    assert shown[1].endswith(" (2)")


#: Colours as people see them who lack one kind of cones (Machado, Oliveira and Fernandes 2009), in linear RGB.
_SIGHT = {
    "usual": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def seen(color: str, sight: Any) -> Any:
    """Return a colour in CIELAB, where distances are about as people see them."""
    level = np.array([int(color[k : k + 2], 16) for k in (1, 3, 5)]) / 255
    linear = np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)
    xyz = _XYZ @ np.clip(np.asarray(sight) @ linear, 0, 1) / [0.9505, 1, 1.089]
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("sight", _SIGHT)
@pytest.mark.parametrize("colors", [(*GROUP_COLORS, OTHER), (*DOT_COLORS, OTHER), (*DOT_COLORS, POSITIVE, NEGATIVE)])
def test_colours_are_told_apart_with_any_colour_vision(colors: tuple[str, ...], sight: str) -> None:
    apart = {
        (one, other): np.linalg.norm(seen(one, _SIGHT[sight]) - seen(other, _SIGHT[sight]))
        for one, other in combinations(colors, 2)
    }
    assert min(apart.values()) > 14, min(apart, key=apart.__getitem__)
