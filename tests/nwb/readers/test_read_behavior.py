"""Behaviour on the session's clock: what is found, and that nothing comes from the future."""

from __future__ import annotations

import numpy as np
import pytest
from pynwb.base import TimeSeries
from pynwb.behavior import BehavioralTimeSeries, CompassDirection, Position, SpatialSeries

from ndx_synapsnet.errors import InputError
from ndx_synapsnet.nwb.readers import ReadConfig, read_nwbfile
from ndx_synapsnet.nwb.readers.clock import bin_clock, frame_clock
from ndx_synapsnet.nwb.readers.resample import resample

NAN = np.nan


def read(nwbfile, **settings):
    return read_nwbfile(nwbfile, ReadConfig(**settings))


def notes(session):
    return " | ".join(session.provenance["notes"])


def array(*values):
    return np.array(values, dtype=float)


def recording(build):
    """Two units observed for 4 s."""
    return build.units([[0.5, 3.5], [1.5]], observed=[[(0, 4)]] * 2)


def test_a_bin_gets_the_mean_of_its_own_measurements_and_holds_the_last_before():
    clock = bin_clock(0.0, 5, 1.0)
    times, values = array(0.0, 0.5, 1.0, 2.25), array(1, 3, 10, 20)
    assert np.array_equal(resample(clock, times, values, max_hold=1.0), [2, 10, 20, 20, NAN], equal_nan=True)
    assert np.array_equal(resample(clock, times, values, max_hold=0.7), [2, 10, 20, NAN, NAN], equal_nan=True)
    assert resample(clock, times, values, max_hold=0.0).dtype == np.float32


def test_a_frame_gets_the_mean_since_the_frame_before():
    clock, _, _ = frame_clock(array(1, 2, 3, 4), where="x")
    times, values = array(0.5, 1.0, 1.5, 2.0, 2.0001, 3.5), array(1, 3, 5, 7, 100, 1000)
    assert np.array_equal(resample(clock, times, values, max_hold=0.0), [2, 6, 100, 1000], equal_nan=True)


def test_missing_values_and_disorder():
    clock = bin_clock(0.0, 3, 1.0)
    times, values = array(2.5, 0.5, NAN, 1.5, 0.6), array(7, 1, 50, NAN, 3)
    assert np.array_equal(resample(clock, times, values, max_hold=5.0), [2, 3, 7])
    assert np.isnan(resample(clock, array(), array(), max_hold=1.0)).all()


@pytest.mark.parametrize("binned", [True, False])
def test_nothing_measured_after_a_sample_s_end_enters_it(binned):
    rng = np.random.default_rng(1)
    clock = bin_clock(0.0, 50, 0.1) if binned else frame_clock(np.arange(1, 51) / 10, where="x")[0]
    times = np.sort(rng.uniform(-1, 6, 400))
    values = rng.normal(size=400)
    whole = resample(clock, times, values, max_hold=0.3)
    end = clock.spans()[1]
    for sample in range(0, 50, 7):
        future = times >= end[sample] if binned else times > end[sample]
        changed = np.where(future, 1e6, values)
        assert np.array_equal(
            resample(clock, times, changed, max_hold=0.3)[: sample + 1], whole[: sample + 1], equal_nan=True
        )


def test_speed_in_the_behavior_module_is_found(build):
    nwbfile = build.behavior(recording(build), "speed", np.arange(40))
    session = read(nwbfile, bin_width=1.0)
    assert session.behavior_names == ("speed",)
    assert session.behavior.tolist() == [[4.5, 14.5, 24.5, 34.5]]
    (record,) = session.provenance["behavior"]
    assert record["path"] == "/processing/behavior/speed"
    assert record["missing"] == 0.0
    assert read(nwbfile, behavior="none").behavior.shape == (0, 120)


def test_usual_places_and_what_is_left_alone(build):
    nwbfile = recording(build)
    values = np.arange(40.0)
    for name in ("running_speed", "running_wheel_rotation", "running_speed_end_times", "raw_speed"):
        build.behavior(nwbfile, name, values, module="running")
    build.behavior(nwbfile, "wheel_speed_signal", values, module="running", unit="V")
    build.behavior(nwbfile, "pupil_area", values, module="filtered_gaze_mapping", unit="px")
    build.behavior(nwbfile, "eye_area", values, module="filtered_gaze_mapping", unit="px")
    build.behavior(nwbfile, "pupil_area", values, module="raw_gaze_mapping", unit="px")
    nwbfile.add_acquisition(TimeSeries(name="treadmill_velocity", data=values, unit="cm/s", rate=10.0))
    nwbfile.add_acquisition(TimeSeries(name="lfp_power", data=values, unit="a.u.", rate=10.0))
    session = read(nwbfile, bin_width=1.0)
    assert session.behavior_names == ("treadmill_velocity", "running_speed", "pupil_area")
    # what is left alone by default can be named, by path where the name is not enough
    assert read(nwbfile, bin_width=1.0, behavior=("lfp_power", "eye_area")).behavior_names == ("lfp_power", "eye_area")
    both = read(nwbfile, bin_width=1.0, behavior=("auto", "lfp_power"))
    assert both.behavior_names == (*session.behavior_names, "lfp_power")
    with pytest.raises(InputError, match=r"several behaviours are called 'pupil_area'.*raw_gaze_mapping/pupil_area"):
        read(nwbfile, behavior="pupil_area")
    raw = read(nwbfile, behavior="raw_gaze_mapping/pupil_area")
    assert raw.provenance["behavior"][0]["path"] == "/processing/raw_gaze_mapping/pupil_area"


def test_columns_of_a_position_and_containers_in_acquisition(build):
    nwbfile = recording(build)
    xy = np.column_stack([np.arange(40.0), 100 - np.arange(40.0)])
    position = SpatialSeries(name="place", data=xy, reference_frame="room", rate=10.0, unit="m")
    nwbfile.add_acquisition(Position(name="Position", spatial_series=position))
    lick = TimeSeries(name="lick_rate", data=np.arange(40.0), unit="Hz", rate=10.0)
    nwbfile.add_acquisition(BehavioralTimeSeries(name="licks", time_series=lick))
    session = read(nwbfile, bin_width=1.0)
    assert session.behavior_names == ("place_x", "place_y", "lick_rate")
    assert session.behavior[:, 0].tolist() == [4.5, 95.5, 4.5]
    assert read(nwbfile, behavior="Position").behavior_names == ("place_x", "place_y")


def test_equal_names_are_told_apart(build):
    nwbfile = recording(build)
    for container in ("left", "right"):
        series = SpatialSeries(name="x", data=np.arange(40.0), reference_frame="r", rate=10.0, unit="m")
        nwbfile.add_acquisition(Position(name=container, spatial_series=series))
    assert read(nwbfile).behavior_names == ("left_x", "right_x")


@pytest.mark.parametrize(("unit", "turn"), [("radians", 2 * np.pi), ("degrees", 360.0), ("unknown", 360.0)])
def test_a_direction_becomes_cosine_and_sine(build, unit, turn):
    nwbfile = recording(build)
    angle = np.tile([0.99, 0.01], 20) * turn  # either side of the jump
    angle[30:] = turn / 4
    series = SpatialSeries(name="head", data=angle, reference_frame="room", rate=10.0, unit=unit)
    nwbfile.add_acquisition(CompassDirection(name="CompassDirection", spatial_series=series))
    session = read(nwbfile, bin_width=1.0)
    assert session.behavior_names == ("head_cos", "head_sin")
    near = np.cos(0.02 * np.pi)
    assert np.allclose(session.behavior, [[near, near, near, 0], [0, 0, 0, 1]], atol=1e-6)
    assert "is read as its cosine and sine" in notes(session)


def test_behaviour_shorter_than_the_recording_is_missing_where_it_is_not(build):
    nwbfile = build.behavior(recording(build), "speed", np.arange(10))
    session = read(nwbfile, bin_width=0.5)
    assert np.array_equal(session.behavior, [[2, 7, 9, 9, NAN, NAN, NAN, NAN]], equal_nan=True)
    assert session.provenance["behavior"][0]["missing"] == 0.5
    assert "behaviour is missing in part of the samples, where a fit takes its mean: speed in 50.0 %" in notes(session)
    assert session.valid.all()


def test_behaviour_that_tells_nothing_is_left_out(build):
    nwbfile = build.behavior(recording(build), "speed", np.full(40, 3.0))
    build.behavior(nwbfile, "pupil_area", [1.0, 2.0])
    session = read(nwbfile, max_hold=0.0)
    assert session.behavior_names == ()
    assert session.behavior.shape == (0, 120)
    assert "behaviour speed left out: it never changes" in notes(session)
    assert "behaviour pupil_area left out: missing in 98.3 %" in notes(session)


def test_timestamps_that_do_not_fit(build):
    odd = build.behavior(recording(build), "speed", np.arange(40), timestamps=np.arange(41) / 10)
    assert "41 timestamps for 40 samples" in notes(read(odd))
    bad = build.behavior(recording(build), "speed", np.arange(40), timestamps=np.arange(20) / 10)
    with pytest.raises(InputError, match="/processing/behavior/speed: there are 20 timestamps for 40 samples"):
        read(bad)


def test_timestamps_in_disorder_or_missing(build):
    times = np.arange(40) / 10
    times[[3, 5]] = times[[5, 3]]
    times[7] = NAN
    nwbfile = build.behavior(recording(build), "speed", np.arange(40), timestamps=times)
    session = read(nwbfile, bin_width=1.0)
    assert session.behavior[0].tolist() == pytest.approx([(45 - 7) / 9, 14.5, 24.5, 34.5])
    assert "1 samples of /processing/behavior/speed have no timestamp" in notes(session)
    assert "not in order" in notes(session)


def test_names_that_nothing_has_and_series_that_are_no_behaviour(build):
    nwbfile = build.behavior(recording(build), "video_features", np.random.default_rng(0).normal(size=(40, 8)))
    assert read(nwbfile).behavior_names == ()
    with pytest.raises(InputError, match=r"no behaviour called 'speed'.*video_features"):
        read(nwbfile, behavior="speed")
    with pytest.raises(InputError, match="series of 8 columns is no behaviour"):
        read(nwbfile, behavior="video_features")


def test_a_crowd_of_series_is_cut(build):
    nwbfile = recording(build)
    for i in range(20):
        build.behavior(nwbfile, f"feature{i:02}", np.arange(40) + i)
    session = read(nwbfile)
    assert len(session.behavior_names) == 16
    assert "feature16 is not read by default" in notes(session)


def test_conversion(build):
    nwbfile = build.behavior(recording(build), "speed", np.arange(40), conversion=0.01, offset=1.0)
    assert read(nwbfile, bin_width=2.0).behavior[0].tolist() == pytest.approx([1.095, 1.295])
