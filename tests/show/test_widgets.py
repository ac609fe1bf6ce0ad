"""Views for notebooks, without a browser: what selectors do to pictures, and what is read for them."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ipywidgets", reason="views need the extra [widgets]")
pytest.importorskip("matplotlib", reason="pictures need the extra [plot]")

import ipywidgets
from click.testing import CliRunner
from pynwb import NWBHDF5IO, NWBFile

from ndx_synapsnet import FunctionalConnectivity, NeuronEmbeddings
from ndx_synapsnet.benchmark.views_file import write_file
from ndx_synapsnet.cli import main
from ndx_synapsnet.errors import InputError
from ndx_synapsnet.metrics import choose_edges
from ndx_synapsnet.nwb.readers import read_session
from ndx_synapsnet.nwb.recording import write_recording
from ndx_synapsnet.nwb.results import write_result
from ndx_synapsnet.session import Connectivity, FitResult, Session
from ndx_synapsnet.show.widgets import view, view_connectivity, view_currents, view_fit, view_forecast, vis_spec
from ndx_synapsnet.show.widgets.nodes import Matrix, Population, Series, population_of
from ndx_synapsnet.show.widgets.recorded import recorded_of

N, T = 40, 2000


@pytest.fixture(scope="module")
def nwbfile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NWBFile]:
    """A calcium recording with a result of random numbers in it."""
    path = tmp_path_factory.mktemp("views") / "small.nwb"
    write_file(path, neurons=N, samples=T)
    with NWBHDF5IO(path, "r") as io:
        yield io.read()


@pytest.fixture
def fit(nwbfile: NWBFile) -> Any:
    return nwbfile.processing["ophys"]["synapsnet"]


def titles(tab: Any) -> list[str]:
    return [tab.get_title(place) for place in range(len(tab.children))]


def opened(tab: Any, title: str) -> Any:
    tab.selected_index = titles(tab).index(title)
    return tab.children[tab.selected_index]


def test_every_selector_of_every_view_changes_its_picture(tmp_path: Path) -> None:
    sizes = ["--neurons", str(N), "--samples", str(T)]
    done = CliRunner().invoke(main, ["benchmark", "views", "-o", str(tmp_path), *sizes])
    assert done.exit_code == 0, done.output  # a picture that stays as it was is an error
    found = json.loads((tmp_path / "views.json").read_text())
    assert found["slowest"] > 0
    assert "in less than 0.5 s" in done.output
    assert {name: set(of["selectors"]) for name, of in found["views"].items() if of["selectors"]} == {
        "Connectivity": {"matrix", "order", "pairs"},
        "Network": {"matrix", "pairs", "layout", "color", "elevation", "azimuth"},
        "Embedding": {"column"},
        "Forecast": {"window", "order"},
        "Traces": {"window", "neuron", "count"},
        "Components": {"window"},
        "Input currents": {"matrix"},
        "Scores": {"reference"},
    }
    assert list(tmp_path.iterdir()) == [tmp_path / "views.json"]


def test_every_type_has_a_view(fit: Any) -> None:
    nodes = [
        fit, fit.neurons, fit.provenance, *fit.functional_connectivitys.values(), *fit.activity_forecasts.values(),
    ]  # fmt: skip
    for node in nodes:
        shown = vis_spec[type(node)](node, neurodata_vis_spec={})
        assert isinstance(shown, ipywidgets.Widget)
    assert [kind.__name__ for kind in vis_spec] == [
        "SynapsNetFit", "FunctionalConnectivity", "NeuronEmbeddings", "ActivityForecast", "InputCurrents",
        "FitProvenance",
    ]  # fmt: skip


def test_tabs_are_drawn_when_they_are_opened(fit: Any) -> None:
    tab = view_fit(fit)
    assert [hasattr(child, "picture") for child in tab.children].count(True) == 0
    shown = opened(tab, "Connectivity")
    assert bytes(shown.picture.value).startswith(b"\x89PNG")
    assert opened(tab, "Summary") is tab.children[0]
    assert opened(tab, "Connectivity") is shown


def test_the_start_of_a_window_stays_inside(fit: Any) -> None:
    shown = opened(view_forecast(next(iter(fit.activity_forecasts.values()))), "Raster")
    start, window = shown.controls["start"], shown.controls["window"]
    window.value = 100
    assert start.max == T // 10 - 100
    before = bytes(shown.picture.value)
    start.value = start.max
    assert bytes(shown.picture.value) != before
    window.value = 200
    assert (start.max, start.value) == (0, 0)


def test_what_cannot_be_shown_is_said_in_its_place(result: FitResult, session: Session, tmp_path: Path) -> None:
    write_result(result, tmp_path / "result.nwb")
    shown = view(tmp_path / "result.nwb")
    tab = shown.children[1]
    line = f"view(&#x27;{tmp_path / 'result.nwb'}&#x27;, recording=True)"
    for title in ("Components", "Input currents"):
        assert "does not hold the recorded activity" in opened(tab, title).value
        assert line in opened(tab, title).value
    for title in ("Forecast", "Traces"):  # drawn, but the forecast alone
        assert line in opened(tab, title).children[1].value
        assert opened(tab, title).picture.value
    shown.close()
    with_recording = view(tmp_path / "result.nwb", recording=session)
    for title in ("Components", "Input currents"):
        assert hasattr(opened(with_recording.children[1], title), "picture")
    assert len(opened(with_recording.children[1], "Forecast").children) == 3  # nothing to say
    with_recording.close()


def test_the_recording_is_read_from_where_the_fit_says(result: FitResult, session: Session, tmp_path: Path) -> None:
    recording = tmp_path / "recording.nwb"
    write_recording(session, recording)
    source = read_session(recording).provenance
    write_result(replace(result, provenance={**result.provenance, "source": source}), tmp_path / "result.nwb")
    shown = view(tmp_path / "result.nwb", recording=True)
    assert hasattr(opened(shown.children[1], "Components"), "picture")
    shown.close()
    moved = recording.rename(tmp_path / "moved.nwb")
    with pytest.raises(InputError, match=r"recording\.nwb"):
        view(tmp_path / "result.nwb", recording=True)
    shown = view(tmp_path / "result.nwb", recording=moved)
    assert hasattr(opened(shown.children[1], "Input currents"), "picture")
    shown.close()


def test_an_error_takes_the_place_of_the_picture_until_it_is_mended() -> None:
    from ndx_synapsnet.show.canvas import new_figure
    from ndx_synapsnet.show.widgets.panel import dropdown, panel

    def draw(which: str) -> Any:
        if which == "bad":
            raise InputError("there is <nothing> to draw")
        return new_figure(1, 1)

    shown = panel({"which": dropdown("which", ["good", "bad"])}, draw)
    shown.controls["which"].value = "bad"
    assert "there is &lt;nothing&gt; to draw" in shown.message.value
    assert shown.picture.layout.display == "none"
    shown.controls["which"].value = "good"
    assert (shown.message.value, shown.picture.layout.display) == ("", "")


def test_what_takes_its_time_is_announced_and_nothing_interrupts_a_picture() -> None:
    from ndx_synapsnet.show.canvas import new_figure
    from ndx_synapsnet.show.widgets.panel import dropdown, panel

    seen: list[tuple[str, bool]] = []

    def draw(which: str) -> Any:
        seen.append((shown.message.value if which == "slow" else "", gc.isenabled()))
        if which == "bad":
            raise InputError("nothing to draw")
        return new_figure(1, 1)

    def patience(which: str) -> str:
        return "Wait a little." if which == "slow" else ""

    shown = panel({"which": dropdown("which", ["quick", "slow", "bad"])}, draw, patience=patience)
    for which in ("slow", "bad"):
        shown.controls["which"].value = which
        assert gc.isenabled()
    assert seen[0] == ("", False)
    assert "Wait a little." in seen[1][0]
    assert "nothing to draw" in shown.message.value


def test_a_file_with_several_runs_has_a_selector(result: FitResult, tmp_path: Path) -> None:
    write_result(result, tmp_path / "result.nwb")
    other = {**result.config, "train": {**result.config["train"], "seed": 1}}
    write_result(replace(result, config=other), tmp_path / "result.nwb", in_place=True)
    shown = view(tmp_path / "result.nwb")
    selector = shown.controls["run"]
    assert [value for _, value in selector.options] == ["synapsnet_2", "synapsnet"]
    before = shown.children[1]
    selector.value = "synapsnet"
    assert shown.children[1] is not before
    assert "<h3>synapsnet</h3>" in shown.children[1].children[0].value
    shown.close()
    with pytest.raises(InputError, match="no run 'x'"):
        view(tmp_path / "result.nwb", run="x")
    with pytest.raises(InputError, match="no view of a dict"):
        view({})


def test_recorded_activity_is_that_of_the_linked_series(nwbfile: NWBFile, fit: Any) -> None:
    series = Series(next(iter(fit.activity_forecasts.values())))
    recorded = recorded_of(series)
    assert recorded is not None
    dataset = nwbfile.processing["ophys"]["DfOverF"]["RoiResponseSeries"].data
    first = int(series.node.sample_index[0])
    np.testing.assert_array_equal(recorded(10, 15, None), dataset[first + 10 : first + 15])
    np.testing.assert_array_equal(recorded(10, 15, np.array([7, 3])), dataset[first + 10 : first + 15][:, [7, 3]])


def test_recorded_activity_of_a_session_is_z_scored(result: FitResult, session: Session, tmp_path: Path) -> None:
    write_result(result, tmp_path / "result.nwb")
    with NWBHDF5IO(tmp_path / "result.nwb", "r") as io:
        (node,) = io.read().processing[result.modality]["synapsnet"].activity_forecasts.values()
        series = Series(node)
        assert recorded_of(series) is None
        recorded = recorded_of(series, session)
        assert recorded is not None
        at = result.forecast.index[3:6]
        mean, std = result.normalization.activity_mean, result.normalization.activity_std
        np.testing.assert_allclose(recorded(3, 6, None), (session.activity[:, at].T - mean) / std, rtol=1e-5)


class Spy:
    """An array that remembers what was read of it."""

    def __init__(self, array: Any) -> None:
        self.array, self.shape, self.dtype, self.read = array, array.shape, array.dtype, []

    def __getitem__(self, key: Any) -> Any:
        self.read.append(key)
        return self.array[key]


def test_only_a_window_is_read_and_no_more_than_a_picture_may(fit: Any) -> None:
    population = population_of(fit.neurons)
    spy = Spy(np.zeros((50_000, N), np.float32))
    region = SimpleNamespace(table=fit.neurons, data=np.arange(N))
    node = SimpleNamespace(data=spy, neurons=region, timestamps=None, rate=10.0, starting_time=0.0, parent=None,
                           unit="n.a.", observed=None, sample_index=None, name="forecast")  # fmt: skip
    shown = opened(view_forecast(node), "Raster")
    assert spy.read == [slice(0, 1000)]
    shown.controls["start"].value = 500
    assert spy.read[1:] == [slice(500, 1500)]
    shown.controls["order"].value = "file"
    assert len(spy.read) == 2  # another order of what is there already
    large = Series(SimpleNamespace(**{**vars(node), "data": Spy(np.zeros((2, 2000), np.float32))}), population)
    assert large.most_rows == 2**24 // 8000
    values = large.z_scored(0, 2)
    values += 1
    assert not large.node.data.array.any()  # what is in memory already is not changed


def test_matrices_over_some_of_the_neurons_are_shown_in_their_own_order(result: FitResult) -> None:
    table = NeuronEmbeddings(description="by hand")
    table.add_column(name="location", description="region")
    for region in ("a", "b", "a", "b", "a", "a"):
        table.add_row(location=region)
    weights = np.arange(8, dtype=np.float32).reshape(2, 4)
    node = FunctionalConnectivity(
        method="x",
        weights=weights,
        targets=table.create_region(name="targets", region=[5, 1], description="."),
        sources=table.create_region(name="sources", region=[3, 2, 0, 1], description="."),
    )
    matrix = Matrix(node)
    assert matrix.targets.neurons.region is not None
    assert matrix.targets.neurons.region.tolist() == ["a", "b"]
    assert matrix.sources.neurons.id.tolist() == ["3", "2", "0", "1"]
    assert not matrix.same
    np.testing.assert_array_equal(matrix.edges(strongest=2), weights >= 6)
    tab = view_connectivity(node)
    assert bytes(tab.children[0].picture.value).startswith(b"\x89PNG")
    assert "not the same neurons" in opened(tab, "Network").value


@pytest.mark.parametrize("matrix", ["effective", "ridge_var"])
def test_edges_are_those_of_the_rest_of_the_package(fit: Any, matrix: str) -> None:
    shown = Matrix(fit[matrix])
    q = shown.q_value if shown.significant else None
    held = Connectivity(shown.weights, "x", "", q_value=q)
    for rule in ({"strongest": 30}, {"strongest": 10**6}, {"significant": 0.1}, {"significant": 0.1, "strongest": 7}):
        if q is not None or "significant" not in rule:
            np.testing.assert_array_equal(shown.edges(**rule), choose_edges(held, **rule))
    if q is None:
        with pytest.raises(InputError, match="no q-values"):
            shown.edges(significant=0.1)


def test_a_region_that_names_a_neuron_twice_tells_the_places_apart(fit: Any) -> None:
    twice: Population = population_of(fit.neurons).select(np.array([2, 2, 5]))
    assert twice.neurons.id.tolist() == ["2 (0)", "2 (1)", "5 (2)"]


def test_stored_currents_are_compared_with_the_forecast_without_the_recording(
    result: FitResult, session: Session, tmp_path: Path
) -> None:
    values = np.random.default_rng(0).normal(size=result.forecast.values.shape)
    held = replace(result, forecast=replace(result.forecast, currents=values))
    write_result(held, tmp_path / "result.nwb")
    with NWBHDF5IO(tmp_path / "result.nwb", "r") as io:
        (node,) = io.read().processing[result.modality]["synapsnet"].input_currents.values()
        for recording in (None, session):
            tab = view_currents(node, recording=recording)
            assert bytes(tab.children[0].picture.value).startswith(b"\x89PNG")
        assert hasattr(opened(tab, "Raster"), "picture")


def test_without_ipywidgets_the_extra_is_named(fit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(InputError, match=r"ipywidgets.*ndx-synapsnet\[widgets\]"):
        view_fit(fit)


def test_importing_views_loads_nothing_that_draws() -> None:
    code = (
        "import sys, ndx_synapsnet.show.widgets as w; assert len(w.vis_spec) == 6; "
        "bad = {'ipywidgets', 'nwbwidgets', 'matplotlib', 'torch'} & set(sys.modules); assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
