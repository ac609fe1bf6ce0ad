"""Session → NWB, and what a reader finds there."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nwbinspector import Importance, inspect_nwbfile, load_config
from pynwb import NWBHDF5IO
from pynwb.ophys import DfOverF, Fluorescence

from ndx_synapsnet.errors import InputError
from ndx_synapsnet.nwb.readers import read_session
from ndx_synapsnet.nwb.recording import observed_intervals, spike_times, to_nwbfile, write_recording
from ndx_synapsnet.nwb.results import read_true_connectivity
from ndx_synapsnet.session import Connectivity, Neurons, Session

PROVENANCE: dict[str, Any] = {
    "session_description": "Made up for a test.",
    "session_start_time": "2024-05-01T10:00:00+00:00",
    "experimenter": ["Doe, Jane"],
    "institution": "An institute",
    "keywords": ["test"],
}


def session(kind: str = "spike_counts", n: int = 4, t: int = 300, **changes: Any) -> Session:
    rng = np.random.default_rng(0)
    counts = kind == "spike_counts"
    fields: dict[str, Any] = {
        "activity": rng.poisson(2, (n, t)) if counts else rng.standard_normal((n, t)),
        "times": 1.7 + np.arange(t) / 30,
        "period": 1 / 30,
        "segment": np.zeros(t),
        "valid": np.ones(t, bool),
        "behavior": rng.standard_normal((2, t)),
        "behavior_names": ("pupil_size", "speed"),
        "neurons": Neurons(
            id=[str(10 * i) for i in range(n)],
            source_path=["/elsewhere"] * n,
            source_object_id=["elsewhere"] * n,
            source_row=np.arange(n) + 7,
            identity=[f"mouse:cell_specimen_id:{i + 100}" for i in range(n)],
            position=rng.random((n, 3)) * 100,
            region=["CA1"] * (n - 1) + ["CA3"],
            cell_type=["pyramidal"] * n,
            extra={"snr": rng.random(n), "group": np.array(["a"] * n)},
        ),
        "activity_kind": kind,
        "unit": "n.a.",
        "modality": "ecephys" if counts else "ophys",
        "provenance": PROVENANCE,
    }
    return Session(**(fields | changes))


# --- spikes inside bins ----------------------------------------------------------------------------------------------


def test_spikes_lie_evenly_inside_their_bins() -> None:
    made = session(n=1, t=4, times=[10.0, 11.0, 12.0, 15.0], period=1.0)
    times = spike_times(made, np.array([2, 0, 1, 4]))
    np.testing.assert_allclose(times, [10.25, 10.75, 12.5, 15.125, 15.375, 15.625, 15.875], rtol=0, atol=1e-12)
    assert spike_times(made, np.zeros(4, int)).shape == (0,)


@pytest.mark.parametrize("period", [1 / 30, 0.1, 1 / 3, 1e-3, 0.7])
@pytest.mark.parametrize("start", [0.0, 1.7, -12.3, 86400.1, 1.7e9])
def test_counting_again_gives_the_same_counts(period: float, start: float) -> None:
    counts = np.random.default_rng(1).integers(0, 40, 5000)
    times = start + np.arange(5000) * period
    made = session(n=1, t=5000, times=times, period=period)
    spikes = spike_times(made, counts)
    assert (np.diff(spikes) > 0).all()
    inside = np.searchsorted(times, spikes, side="right") - 1
    np.testing.assert_array_equal(np.bincount(inside, minlength=5000), counts)
    # clear of both edges, by a good part of the distance between two spikes
    clear = period / 80 / 2
    assert (spikes - times[inside] > clear).all()
    assert (times[inside] + period - spikes > clear).all()
    following = np.append(times, np.inf)[inside + 1]
    assert (following - spikes > clear).all()
    # the same edges, reckoned in another way
    edges = start + np.arange(5001) / (1 / period)
    np.testing.assert_array_equal(np.histogram(spikes, edges)[0], counts)


def test_observed_intervals_are_the_valid_stretches() -> None:
    made = session(
        n=1,
        t=7,
        times=[0.0, 1.0, 2.0, 3.0, 10.0, 11.0, 12.0],
        period=1.0,
        segment=[0, 0, 0, 0, 1, 1, 2],
        valid=[True, True, False, True, True, True, True],
    )
    expected = [[0.0, 2.0], [3.0, 4.0], [10.0, 12.0], [12.0, 13.0]]
    np.testing.assert_array_equal(observed_intervals(made), expected)
    assert observed_intervals(replace(made, valid=np.zeros(7, bool))).shape == (0, 2)


# --- what a reader finds ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["spike_counts", "dff", "fluorescence", "events", "other"])
def test_reader_finds_the_same_session(tmp_path: Path, suffix: str, kind: str) -> None:
    made = session(kind, valid=np.arange(300) != 10)
    path = tmp_path / f"recording.{suffix}"
    assert write_recording(made, path) == path
    found = read_session(path, identity_column="cell_specimen_id", extra_columns=("snr", "group"))
    np.testing.assert_array_equal(found.valid, made.valid)
    np.testing.assert_array_equal(found.activity[:, made.valid], made.activity[:, made.valid])
    np.testing.assert_allclose(found.times, made.times, rtol=0, atol=1e-9)
    assert (found.activity_kind, found.modality) == (made.activity_kind, made.modality)
    assert found.behavior_names == made.behavior_names
    np.testing.assert_array_equal(found.behavior, made.behavior)
    assert found.neurons.id.tolist() == ["0", "10", "20", "30"]
    np.testing.assert_array_equal(found.neurons.position, made.neurons.position)
    assert found.neurons.region is not None
    assert found.neurons.region.tolist() == ["CA1", "CA1", "CA1", "CA3"]
    assert found.neurons.cell_type is not None
    assert found.neurons.cell_type.tolist() == ["pyramidal"] * 4
    assert found.neurons.identity is not None
    assert found.neurons.identity[2] == "simulated:cell_specimen_id:102"
    np.testing.assert_array_equal(found.neurons.extra["snr"], made.neurons.extra["snr"])
    assert found.neurons.extra["group"].tolist() == ["a"] * 4


@pytest.mark.parametrize("kind", ["spike_counts", "dff"])
def test_gaps_are_kept(tmp_path: Path, kind: str) -> None:
    times = 1.7 + np.r_[np.arange(150), np.arange(210, 360)] / 30
    made = session(kind, times=times, segment=np.repeat([0, 1], 150))
    write_recording(made, tmp_path / "gap.nwb")
    found = read_session(tmp_path / "gap.nwb")
    at = np.searchsorted(found.times, times - 1e-6)
    np.testing.assert_allclose(found.times[at], times, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(found.activity[:, at], made.activity)
    assert found.valid[at].all()
    assert not np.delete(found.valid, at).any()


def test_little_is_known_of_the_neurons(tmp_path: Path) -> None:
    plain = Neurons(["a", "b", "c", "d"], [""] * 4, [""] * 4, np.arange(4))
    for kind in ("spike_counts", "dff"):
        path = tmp_path / f"{kind}.nwb"
        write_recording(session(kind, neurons=plain, behavior=np.zeros((0, 300)), behavior_names=()), path)
        found = read_session(path, extra_columns=("unit_name" if kind == "spike_counts" else "roi_name",))
        assert found.neurons.position is None
        assert found.neurons.region is None
        assert found.behavior_names == ()
        assert next(iter(found.neurons.extra.values())).tolist() == ["a", "b", "c", "d"]


def test_series_lie_where_nwb_has_them(tmp_path: Path) -> None:
    for kind, container, name in (
        ("dff", "DfOverF", "RoiResponseSeries"),
        ("fluorescence", "Fluorescence", "RoiResponseSeries"),
        ("events", "Fluorescence", "Deconvolved"),
    ):
        module = to_nwbfile(session(kind)).processing["ophys"]
        assert type(module[container]) in (DfOverF, Fluorescence)
        series = module[container][name]
        assert series.data.shape == (300, 4)
        assert (series.rate, series.starting_time) == (30.0, 1.7)
        assert series.rois.table is module["ImageSegmentation"]["PlaneSegmentation"]
    behavior = to_nwbfile(session()).processing["behavior"]["speed"]
    assert (behavior.rate, behavior.starting_time) == (30.0, pytest.approx(1.7 + 1 / 60))


def test_irregular_times_are_written_out() -> None:
    times = np.cumsum(np.random.default_rng(0).random(300) + 0.1)
    made = session("dff", times=times, period=float(np.median(np.diff(times))))
    series = to_nwbfile(made).processing["ophys"]["DfOverF"]["RoiResponseSeries"]
    np.testing.assert_array_equal(series.timestamps, times)


def test_true_wiring_names_rows_of_the_recording(tmp_path: Path) -> None:
    for kind, place in (("spike_counts", "/units"), ("dff", "/processing/ophys/ImageSegmentation/PlaneSegmentation")):
        path = tmp_path / f"{kind}.nwb"
        truth = Connectivity(np.diag([1.0, 2, 3, 4]), "w1 A", "Synaptic weights")
        write_recording(session(kind), path, truth=truth)
        found = read_true_connectivity(path)
        assert found is not None
        assert found[0].tolist() == ["0", "10", "20", "30"]
        assert found[1] == replace(truth, method="ground_truth")
        with NWBHDF5IO(str(path), "r") as io:
            nwbfile = io.read()
            neurons = nwbfile.processing["ecephys" if place == "/units" else "ophys"]["ground_truth"].neurons
            table = nwbfile.units if place == "/units" else nwbfile.objects[neurons["source_object_id"][0]]
            assert set(neurons["source_path"].data[:]) == {place}
            assert set(neurons["source_object_id"].data[:]) == {table.object_id}
            assert neurons["source_row"].data[:].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("config", [None, "dandi"])
@pytest.mark.parametrize("kind", ["spike_counts", "dff"])
def test_nwbinspector_finds_nothing(tmp_path: Path, kind: str, config: str | None) -> None:
    path = tmp_path / "recording.nwb"
    write_recording(session(kind), path, truth=Connectivity(np.eye(4), "m", "Synaptic weights"))
    found = list(inspect_nwbfile(nwbfile_path=path, config=load_config(config) if config else None))
    assert [m for m in found if m.importance is not Importance.BEST_PRACTICE_SUGGESTION] == []


# --- file and subject ------------------------------------------------------------------------------------------------


def test_file_says_what_the_provenance_says() -> None:
    subject = {"subject_id": "m2", "species": "Rattus norvegicus", "sex": "M", "age": "P60D"}
    nwbfile = to_nwbfile(session(provenance={**PROVENANCE, "identifier": "simulation-3", "subject": subject}))
    assert nwbfile.identifier == "simulation-3"
    assert nwbfile.session_description == "Made up for a test."
    assert nwbfile.session_start_time == datetime.fromisoformat("2024-05-01T10:00:00+00:00")
    assert (nwbfile.subject.subject_id, nwbfile.subject.species) == ("m2", "Rattus norvegicus")


def test_copy_of_a_file_gets_an_identifier_of_its_own() -> None:
    read = {**PROVENANCE, "identifier": "the source's", "file_object_id": "f0"}
    first, second = to_nwbfile(session(provenance=read)), to_nwbfile(session(provenance=read))
    assert len({first.identifier, second.identifier, "the source's"}) == 3


def test_simulation_has_a_formal_subject() -> None:
    subject = to_nwbfile(session()).subject
    assert (subject.subject_id, subject.sex, subject.age) == ("simulated", "U", "P0D")
    assert "No animal" in subject.description


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [-1.0, 0.5])
def test_counts_must_be_counts(wrong: float) -> None:
    activity = np.ones((4, 300))
    activity[2, 5] = wrong
    with pytest.raises(InputError, match="holds other numbers than whole ones from 0 up"):
        to_nwbfile(session(activity=activity))
    to_nwbfile(session(activity=activity, valid=np.arange(300) != 5))  # not to be used, so it does not matter


def test_electrophysiology_that_is_no_counts_is_refused() -> None:
    with pytest.raises(InputError, match="of kind 'other' has no place in NWB"):
        to_nwbfile(session(activity_kind="other"))


def test_existing_files_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "there.nwb").write_text("mine")
    with pytest.raises(InputError, match="this path is taken"):
        write_recording(session(), tmp_path / "there.nwb")
