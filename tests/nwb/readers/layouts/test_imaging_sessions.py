"""Allen Visual Coding - optical physiology (000728) and MICrONS (000402)."""

from __future__ import annotations

import numpy as np
import pytest
from imaging import microns, visual_coding

from ndx_synapsnet.errors import InputError
from ndx_synapsnet.nwb.readers import PRESETS, read_session

RNG = np.random.default_rng(0)
TRACES = RNG.normal(size=(90, 3))
FIELDS = [RNG.normal(size=(40, n)) for n in (4, 3, 5, 2, 2, 3, 2, 3)]


@pytest.fixture(scope="module")
def coding(tmp_path_factory):
    return visual_coding(tmp_path_factory.mktemp("coding") / "a_behavior+image+ophys.nwb", TRACES)


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    return microns(tmp_path_factory.mktemp("microns") / "scan.nwb", FIELDS)


@pytest.mark.parametrize("settings", [{}, PRESETS["allen-visual-coding"]], ids=["default", "preset"])
def test_dff_is_read_on_the_timestamps_of_corrected(coding, settings):
    session = read_session(coding, **settings)
    assert session.activity_kind == "dff"
    np.testing.assert_array_equal(session.activity, TRACES.T.astype(np.float32))
    np.testing.assert_allclose(session.times, 10 + np.arange(90) / 30)
    assert session.behavior_names == ("running_speed", "pupil_size")
    np.testing.assert_allclose(session.behavior[0], 2 * session.times, rtol=1e-6)
    np.testing.assert_allclose(session.behavior[1], 3 * session.times, rtol=1e-6)


def test_other_traces_are_read_by_name(coding):
    events = read_session(coding, series="DfOverFEvents")
    assert events.activity_kind == "events"
    np.testing.assert_array_equal(events.activity, (TRACES > 0).T)
    corrected = read_session(coding, series="Fluorescence/Corrected", extra_columns="global_roi_id")
    np.testing.assert_array_equal(corrected.activity, (100 + TRACES).T.astype(np.float32))
    assert corrected.neurons.extra["global_roi_id"].tolist() == [5000, 5001, 5002]


def test_stimulus_epochs_are_chosen(coding):
    session = read_session(coding, epoch_query="stimulus_name == 'spontaneous'")
    assert session.times[-1] <= 10 + 45 / 30


def test_fields_are_joined_in_the_order_of_scanning(scan):
    session = read_session(scan)
    assert session.activity.shape == (24, 40)
    assert session.activity_kind == "fluorescence"
    np.testing.assert_array_equal(session.activity, np.concatenate(FIELDS, axis=1).T.astype(np.float32))
    np.testing.assert_allclose(session.times, 8 * 0.02 + np.arange(40) / 6.3009)
    assert session.neurons.id[[0, 4, 23]].tolist() == [
        "RoiResponseSeries1:0",
        "RoiResponseSeries2:0",
        "RoiResponseSeries8:2",
    ]
    np.testing.assert_array_equal(session.neurons.position[:5, :2], [[0, 2], [1, 2], [2, 2], [3, 2], [0, 3]])
    assert "up to 0.14 s old" in str(session.provenance["notes"])


def test_a_scan_whose_fields_lag_by_more_than_a_frame_is_still_not_early(tmp_path):
    path = microns(tmp_path / "slow.nwb", FIELDS[:2], delay=0.2)  # more than a period of 0.159 s
    session = read_session(path, behavior="none")
    assert session.times[0] == pytest.approx(0.4)
    own = 0.2 + np.arange(40) / 6.3009
    at = np.searchsorted(own, session.times, side="right") - 1
    valid = session.valid
    np.testing.assert_array_equal(session.activity[0, valid], FIELDS[0][at[valid], 0].astype(np.float32))
    assert at[0] == 1


def test_treadmill_and_pupil_are_found(scan):
    session = read_session(scan)
    assert session.behavior_names == ("pupil_major_radius", "pupil_minor_radius", "treadmill_velocity")
    sample = 20
    seconds = np.arange(0, 60, 1 / 80)
    seen = (seconds > session.times[sample - 1]) & (seconds <= session.times[sample])
    assert session.behavior[2, sample] == pytest.approx(np.sin(seconds[seen]).mean(), rel=1e-5)


def test_the_preset_leaves_artifacts_out(scan):
    session = read_session(scan, behavior="none", **PRESETS["microns"])
    assert session.n_neurons == sum(field.shape[1] - 1 for field in FIELDS)
    assert "RoiResponseSeries8:2" not in session.neurons.id


def test_fields_are_named_one_by_one(scan):
    session = read_session(scan, series=("RoiResponseSeries2", "RoiResponseSeries5"), behavior="none")
    np.testing.assert_array_equal(session.activity, np.concatenate([FIELDS[1], FIELDS[4]], axis=1).T.astype(np.float32))
    with pytest.raises(InputError, match="no ROI series called 'RoiResponseSeries9'"):
        read_session(scan, series="RoiResponseSeries9")
