"""Epochs, ranges, invalid times and stimulus covariates."""

from __future__ import annotations

import numpy as np
import pytest

from ndx_synapsnet.errors import InputError
from ndx_synapsnet.nwb.readers import ReadConfig, read_nwbfile, read_session


def read(nwbfile, **settings):
    return read_nwbfile(nwbfile, ReadConfig(**({"bin_width": 1.0} | settings)))


def notes(session):
    return " | ".join(session.provenance["notes"])


def recording(build):
    """One unit, a spike in the middle of each of 12 s."""
    return build.units([np.arange(12) + 0.5], observed=[[(0, 12)]])


def scenes(build):
    nwbfile = recording(build)
    build.epochs(nwbfile, "scenes", [(1, 2), (2.5, 4), (7, 9.5)], frame=[3, 1, 3], stimulus_name=["s", "s", "s"])
    return build.epochs(nwbfile, "gratings", [(4, 6), (9.5, 12)], angle=[0.0, 90.0], stimulus_name=["g", "g"])


def test_only_whole_bins_inside_the_rows_are_read(build):
    session = read(scenes(build), epoch="gratings")
    assert session.times.tolist() == [4, 5, 10, 11]
    assert session.segment.tolist() == [0, 0, 1, 1]
    assert session.activity.tolist() == [[1, 1, 1, 1]]
    assert "2 of 2 rows of /intervals/gratings are read" in notes(session)


def test_rows_less_than_a_sample_apart_are_one_stretch(build):
    session = read(scenes(build), epoch="scenes")
    assert session.times.tolist() == [1, 2, 3, 7, 8]
    assert session.segment.tolist() == [0, 0, 0, 1, 1]
    finer = read(scenes(build), epoch="scenes", bin_width=0.5)
    assert finer.times.tolist() == [1, 1.5, 2.5, 3, 3.5, 7, 7.5, 8, 8.5, 9]
    assert finer.segment.tolist() == [0, 0, 1, 1, 1, 2, 2, 2, 2, 2]


def test_a_query_on_one_table_or_on_all_that_have_the_columns(build):
    assert read(scenes(build), epoch="scenes", epoch_query="frame == 3").times.tolist() == [1, 7, 8]
    session = read(scenes(build), epoch_query='stimulus_name == "g"')
    assert session.times.tolist() == [4, 5, 10, 11]
    assert "/intervals/scenes" not in notes(session)
    assert read(scenes(build), epoch_query="angle == 0").times.tolist() == [4, 5]


def test_a_range_of_time(build):
    assert read(recording(build), start=2.5, stop=6.0).times.tolist() == [3, 4, 5]
    assert read(recording(build), start=9).times.tolist() == [9, 10, 11]
    assert read(scenes(build), epoch="scenes", stop=7).times.tolist() == [1, 2, 3]


def test_frames_inside_an_epoch(build):
    nwbfile = build.epochs(build.rois(np.arange(40.0).reshape(20, 2)), "wake", [(0.3, 0.6), (1.0, 1.2)])
    session = read(nwbfile, epoch="wake")
    assert np.allclose(session.times, [0.3, 0.4, 0.5, 1.0, 1.1])
    assert session.segment.tolist() == [0, 0, 0, 1, 1]
    assert session.activity[0].tolist() == [6, 8, 10, 20, 22]
    coarse = read(nwbfile, epoch="wake", rate=5)
    assert coarse.activity[0].tolist() == [7, 21]
    assert coarse.segment.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (
            {"epoch": "movies"},
            r"no intervals table called 'movies'.*/intervals/scenes, /intervals/gratings|gratings.*scenes",
        ),
        ({"epoch": "scenes", "epoch_query": "frame == 8"}, "no row of /intervals/scenes is left"),
        ({"epoch": "scenes", "epoch_query": "contrast > 0"}, r"/intervals/scenes: the epoch query.*Columns: .*frame"),
        ({"epoch_query": "contrast > 0"}, "no intervals table has the columns"),
        ({"epoch": "scenes", "start": 10.0}, "no chosen epoch lies between 10 and inf"),
        ({"epoch": "scenes", "bin_width": 5.0}, "no whole bin of 5 s lies in the chosen epochs"),
        ({"start": 100.0}, "no whole bin"),
        ({"stimulus": "scenes"}, "expected table.column"),
        ({"stimulus": "scenes.contrast"}, r"/intervals/scenes: there is no column 'contrast'.*frame"),
        ({"stimulus": "movies.frame"}, "no intervals table called 'movies'"),
    ],
)
def test_choices_that_leave_nothing(build, settings, says):
    with pytest.raises(ValueError, match=says):  # an InputError is one
        read(scenes(build), **settings)


def test_rows_without_time_are_left_out(build):
    nwbfile = build.epochs(recording(build), "odd", [(1, 3), (5, 4), (np.nan, 9)])
    session = read(nwbfile, epoch="odd")
    assert session.times.tolist() == [1, 2]
    assert "2 rows of /intervals/odd have no time between start and stop" in notes(session)


def test_trials_epochs_and_tags(build):
    nwbfile = recording(build)
    nwbfile.add_epoch(0.0, 4.0, ["sleep"])
    nwbfile.add_epoch(4.0, 12.0, ["wake", "maze"])
    nwbfile.add_trial(2.0, 3.0)
    assert read(nwbfile, epoch="epochs", epoch_query='tags == "sleep"').n_samples == 4
    assert read(nwbfile, epoch="epochs", epoch_query="tags.str.contains('maze')").n_samples == 8
    assert read(nwbfile, epoch="trials").times.tolist() == [2]
    disk = read_session(build.write(nwbfile), epoch_query='tags == "sleep"', bin_width=1.0)
    assert disk.n_samples == 4


def test_invalid_times_are_not_valid(build):
    nwbfile = recording(build)
    nwbfile.add_invalid_time_interval(start_time=2.2, stop_time=4.0)
    session = read(nwbfile)
    assert np.flatnonzero(~session.valid).tolist() == [2, 3]
    assert "2 of 12 samples lie in the file's invalid_times" in notes(session)
    assert read(nwbfile, respect_invalid_times=False).valid.all()
    nwbfile.add_invalid_time_interval(start_time=0.0, stop_time=20.0)
    with pytest.raises(InputError, match="every sample lies in the file's invalid times"):
        read(nwbfile)


def test_stimulus_covariates_hold_the_part_of_the_sample_in_which_the_stimulus_lasts(build):
    session = read(scenes(build), stimulus=("scenes.frame", "gratings.angle"), stop=8.0)
    assert session.behavior_names == (
        "scenes.frame=1", "scenes.frame=3", "gratings.angle=0", "gratings.angle=90",
    )  # fmt: skip
    assert session.behavior.tolist() == [
        [0, 0, 0.5, 1, 0, 0, 0, 0],
        [0, 1, 0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 1, 1, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0],
    ]
    assert session.provenance["behavior"][0]["path"] == "/intervals/scenes"


def test_a_column_of_too_many_values_is_no_covariate(build):
    rows = [(i / 100, (i + 1) / 100) for i in range(200)]
    nwbfile = build.epochs(recording(build), "noise", rows, seed=list(range(200)))
    with pytest.raises(InputError, match="column seed has 200 different values"):
        read(nwbfile, stimulus="noise.seed")


@pytest.mark.parametrize(
    "settings",
    [
        {"adapter": "lfp"},
        {"bin_width": 0.0},
        {"bin_width": float("nan")},
        {"bin_width": "1"},
        {"rate": -1},
        {"rate": True},
        {"max_hold": -1.0},
        {"start": 2.0, "stop": 1.0},
        {"start": float("inf")},
        {"behavior": ("none", "speed")},
        {"behavior": ("",)},
        {"series": 3},
        {"units_query": " "},
        {"quality_filter": "yes"},
        {"stimulus": ".column"},
    ],
)
def test_the_configuration_rejects_bad_values(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        ReadConfig(**settings)


def test_the_configuration_takes_one_text_or_several_and_comes_back_from_its_record(build):
    config = ReadConfig(regions="CA1", behavior="none", stimulus=["scenes.frame"], rate=4, stop=9.0)
    assert config.regions == ("CA1",)
    assert config.behavior == ()
    assert config.width == 0.25
    session = read_nwbfile(scenes(build), ReadConfig(behavior="none", stimulus=["scenes.frame"], rate=4, stop=9.0))
    record = session.provenance["read_config"]
    assert ReadConfig(**record) == ReadConfig(behavior="none", stimulus=["scenes.frame"], rate=4, stop=9.0)


def test_settings_in_words(build):
    path = build.write(recording(build))
    assert read_session(path, bin_width=1.0).n_samples == 12
    assert read_session(path, ReadConfig(bin_width=1.0), stop=6.0).n_samples == 6
    with pytest.raises(InputError, match=r"unknown setting width.*Known settings: adapter, behavior, bin_width"):
        read_session(path, width=1.0)
    with pytest.raises(InputError, match="bin_width is 0"):
        read_session(path, bin_width=0)
