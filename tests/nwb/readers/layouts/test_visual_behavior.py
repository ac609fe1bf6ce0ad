"""Allen Visual Behavior, 000711: a file for each imaging plane."""

from __future__ import annotations

import numpy as np
import pytest
from embedding import START
from imaging import visual_behavior
from neuropixels import ibl_session

from ndx_synapsnet.errors import InputError
from ndx_synapsnet.nwb.original import read_original
from ndx_synapsnet.nwb.readers import PRESETS, group_by_session, read_planes, read_session

PRESET = PRESETS["allen-visual-behavior"]
RATE = 11.0
TIMES = 10 + np.arange(60) / RATE
#: Planes of one session: their number, the delay of their frames in seconds, and their cells.
PLANES = ((951980471, 0.0, 3), (951980473, 0.045, 2), (951980475, 0.02, 1))


def traces(plane: int) -> np.ndarray:
    return np.random.default_rng(plane).normal(size=(60, PLANES[plane][2]))


@pytest.fixture(scope="module")
def planes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planes")
    found = []
    for i, (experiment, delay, n) in enumerate(PLANES):
        path = folder / f"sub-457841_ses-20190923T000000_obj-{experiment}_image+ophys.nwb"
        valid, ids = [True] * (n - 1) + [i == 2], [100 * i + row for row in range(n)]
        found.append(
            visual_behavior(path, traces(i), TIMES + delay, experiment=experiment, valid=valid, ids=ids, group=i)
        )
    return found


@pytest.fixture(scope="module")
def joined(planes):
    return read_planes(planes, **PRESET)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """A plane of another session of the same mouse that began at the same time, says the file."""
    path = tmp_path_factory.mktemp("other") / "plane.nwb"
    return visual_behavior(path, traces(1), TIMES, experiment=7, session=8)


def test_a_plane_is_read(planes):
    session = read_session(planes[0], **PRESET)
    assert session.activity_kind == "dff"
    np.testing.assert_array_equal(session.activity, traces(0)[:, :2].T.astype(np.float32))  # the third is no cell
    np.testing.assert_allclose(session.times, TIMES)
    assert session.neurons.region.tolist() == ["VISp", "VISp"]
    assert session.neurons.identity.tolist() == ["457841:cell_specimen_id:0", "457841:cell_specimen_id:1"]
    np.testing.assert_array_equal(session.neurons.position[:, :2], [[2, 6], [12, 6]])  # the boxes' centres


def test_events_are_read_by_name(planes):
    session = read_session(planes[0], series="event_detection", behavior="none")
    assert session.activity_kind == "events"
    np.testing.assert_array_equal(session.activity, (traces(0)[:, :2] > 0).T)


def test_running_and_the_pupil_s_ellipse_are_behaviour(planes):
    session = read_session(planes[0])
    assert session.behavior_names == ("pupil_tracking_area", "speed")
    frames = np.arange(9.0, 17.0, 1 / 60)
    area = np.where(np.arange(len(frames)) % 10 == 0, np.nan, 100 + frames)
    for sample in (5, 17):
        seen = (frames > session.times[sample - 1]) & (frames <= session.times[sample])
        assert session.behavior[0, sample] == pytest.approx(np.nanmean(area[seen]), rel=1e-6)
    assert session.provenance["behavior"][0]["path"] == "/acquisition/EyeTracking/pupil_tracking/area"
    asked = read_session(planes[0], behavior=("/acquisition/EyeTracking/pupil_tracking/area", "eye_tracking"))
    np.testing.assert_array_equal(asked.behavior[0], session.behavior[0])
    assert asked.behavior_names == ("pupil_tracking_area", "eye_tracking_x", "eye_tracking_y")


def test_no_image_is_read(planes, datasets_read):
    read_session(planes[0])
    assert "/processing/ophys/dff/traces/data" in datasets_read
    values = {name for name in datasets_read if name.endswith(("/data", "mask", "unwarped"))}
    assert values == {"/processing/ophys/dff/traces/data", "/processing/running/speed/data"}


def test_planes_are_joined_to_one_session(joined):
    session = joined
    assert session.neurons.id.tolist() == [
        "951980471:951980471000", "951980471:951980471001", "951980473:951980473000", "951980475:951980475000",
    ]  # fmt: skip
    assert session.neurons.region.tolist() == ["VISp", "VISp", "VISl", "VISl"]
    np.testing.assert_allclose(session.times, TIMES + 0.045)  # the clock of the plane scanned last
    expected = np.concatenate([traces(0)[:, :2], traces(1)[:, :1], traces(2)], axis=1).T
    np.testing.assert_array_equal(session.activity, expected.astype(np.float32))
    assert session.valid.all()
    assert session.behavior_names == ("pupil_tracking_area", "speed")
    assert session.behavior.shape == (2, 60)
    assert len(set(session.neurons.source_object_id)) == 3


def test_a_joined_frame_holds_nothing_later(planes):
    # every plane's value is the latest that is not after the sample: 45 ms later the next one is
    session = read_planes(planes[:2], start=12.0)
    own = TIMES[TIMES >= 12]
    at = np.searchsorted(own, session.times, side="right") - 1
    np.testing.assert_array_equal(session.activity[0], traces(0)[TIMES >= 12][at, 0].astype(np.float32))
    assert (own[at] <= session.times).all()


def test_the_order_of_files_does_not_matter_to_the_values(planes, joined):
    backward = read_planes(planes[::-1])
    order = [joined.neurons.id.tolist().index(name) for name in backward.neurons.id]
    np.testing.assert_array_equal(joined.activity[order], backward.activity)
    np.testing.assert_array_equal(joined.behavior, backward.behavior)


def test_provenance_names_every_file(planes, joined):
    record = joined.provenance
    assert [file["uri"] for file in record["files"]] == [str(path) for path in planes]
    assert [file["identifier"] for file in record["files"]] == [str(plane[0]) for plane in PLANES]
    assert len({file["file_object_id"] for file in record["files"]}) == 3
    assert record["uri"] == str(planes[0])
    assert [series["path"] for series in record["series"]] == ["/processing/ophys/dff/traces"] * 3
    assert any(note.startswith("951980473: 1 of 2 ROIs") for note in record["notes"])


def test_the_recording_behind_a_joined_result_is_found_again(planes, make_result):
    session = read_planes(planes, **PRESET)
    kept = session.select([3, 0])
    result = make_result(
        2, neurons=kept.neurons, split=np.ones(60, np.uint8), provenance={"source": session.provenance}
    )
    again = read_original(result)
    assert again.neurons.id.tolist() == kept.neurons.id.tolist()
    np.testing.assert_array_equal(again.activity, kept.activity)


def test_files_are_grouped_by_session(planes, elsewhere):
    mixed = [planes[1], elsewhere, planes[0], planes[2]]
    assert group_by_session(mixed) == [
        (str(planes[1]), str(planes[0]), str(planes[2])),
        (str(elsewhere),),
    ]


def test_a_pattern_stands_for_the_files_that_fit_it(planes):
    pattern = planes[0].parent / "sub-457841_*_obj-95198047[13]_*.nwb"
    assert group_by_session(pattern) == [(str(planes[0]), str(planes[1]))]
    assert read_planes(str(pattern), behavior="none").n_neurons == 3


def test_without_a_number_the_session_s_id_and_then_its_start_tells(build):
    def plane(**fields):
        nwbfile = build.rois(np.ones((20, 2)) * np.arange(20)[:, None], nwbfile=build.file(**fields))
        return build.write(nwbfile)

    first, second, other = plane(session_id="s1"), plane(session_id="s1"), plane(session_id="s2")
    assert group_by_session([first, second, other]) == [(str(first), str(second)), (str(other),)]
    unnamed = [plane(), plane()]
    assert group_by_session(unnamed) == [tuple(map(str, unnamed))]


def test_another_session_is_refused(planes, elsewhere):
    with pytest.raises(InputError, match=r"another session \(457841, ophys_session_id 8\).*951410079\)") as told:
        read_planes([planes[0], elsewhere])
    assert told.value.where == str(elsewhere)


def test_a_file_named_twice_is_refused(planes):
    with pytest.raises(InputError, match="its identifier '951980471' is that of"):
        read_planes([planes[0], planes[1], planes[0]])


def test_joining_nothing_is_refused():
    with pytest.raises(InputError, match="no files to join"):
        read_planes([])


def test_spikes_are_not_joined(tmp_path):
    path = ibl_session(tmp_path / "a.nwb", [[0.5, 2.5]], peaks=[0])
    with pytest.raises(InputError, match="only imaging planes can be joined") as told:
        read_planes([path])
    assert told.value.where == str(path)


def test_planes_of_different_rates_are_refused_by_name(planes, tmp_path):
    fast = visual_behavior(tmp_path / "fast.nwb", traces(1), 10 + np.arange(60) / 31, experiment=31)
    with pytest.raises(InputError, match=r"different frame periods: 951980471:/processing/ophys/dff/traces.*31:/proc"):
        read_planes([planes[0], fast])


def test_a_plane_without_a_cell_is_left_out(planes):
    session = read_planes(planes, units_query="cell_specimen_id >= 100", behavior="none")
    assert session.neurons.id.tolist() == ["951980473:951980473000", "951980475:951980475000"]


def test_unknown_settings_are_refused(planes):
    with pytest.raises(InputError, match="unknown setting colour"):
        read_planes(planes, colour="red")


def test_one_file_can_be_joined_too(planes):
    session = read_planes(planes[:1], behavior="none")
    np.testing.assert_array_equal(session.activity, traces(0)[:, :2].T.astype(np.float32))
    assert session.provenance["session_start_time"] == START.isoformat()
