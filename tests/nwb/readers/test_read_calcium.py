"""ROI series → activity: which series, which ROIs, which way round, on which clock."""

from __future__ import annotations

import numpy as np
import pytest
from pynwb.ophys import DfOverF, Fluorescence

from ndx_synapsnet.errors import InputError
from ndx_synapsnet.nwb.readers import ReadConfig, read_nwbfile, read_session
from ndx_synapsnet.nwb.readers.catalog import walk
from ndx_synapsnet.nwb.readers.roi_series import read_values, roi_series

VALUES = np.arange(12, dtype=float).reshape(4, 3)  # 4 frames, 3 ROIs


def read(nwbfile, **settings):
    return read_nwbfile(nwbfile, ReadConfig(**settings))


def notes(session):
    return " | ".join(session.provenance["notes"])


def test_a_plain_series(build):
    session = read(build.rois(VALUES, starting_time=2.0, rate=5.0))
    assert session.activity.tolist() == [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11]]
    assert session.activity.dtype == np.float32
    assert session.times.tolist() == [2.0, 2.2, 2.4, 2.6]
    assert session.period == pytest.approx(0.2)
    assert session.segment.tolist() == [0, 0, 0, 0]
    assert session.valid.all()
    assert session.activity_kind == "dff"
    assert session.modality == "ophys"
    assert session.neurons.id.tolist() == ["0", "1", "2"]
    assert session.neurons.source_path.tolist() == ["/processing/ophys/segmentation/plane"] * 3
    assert session.provenance["reader"] == "calcium"
    assert session.provenance["series"][0]["path"] == "/processing/ophys/DfOverF/RoiResponseSeries"


def test_positions_are_the_masks_centres_and_the_region_that_of_the_plane(build):
    neurons = read(build.rois(VALUES)).neurons
    assert neurons.position[:, :2].tolist() == [[0, 1], [1, 1], [2, 1]]
    assert np.isnan(neurons.position[:, 2]).all()
    assert neurons.region.tolist() == ["V1"] * 3


def test_columns_go_before_masks_and_plane(build):
    columns = {
        "centroid_x": [5.0, 6, 7],
        "centroid_y": [1.0, 2, 3],
        "centroid_z": [0.0, 0, 9],
        "region": ["a", "b", "a"],
    }
    neurons = read(build.rois(VALUES, columns=columns)).neurons
    assert neurons.position.tolist() == [[5, 1, 0], [6, 2, 0], [7, 3, 9]]
    assert neurons.region.tolist() == ["a", "b", "a"]
    assert read(build.rois(VALUES, columns=columns), regions=("A",)).neurons.id.tolist() == ["0", "2"]


def test_conversion_and_offset(build):
    session = read(build.rois(VALUES, conversion=2.0, offset=0.5))
    assert session.activity[0].tolist() == [0.5, 6.5, 12.5, 18.5]


def test_series_of_one_roi_in_one_dimension(build):
    session = read(build.rois([1.0, 2.0, 3.0], n_rois=1))
    assert session.activity.tolist() == [[1, 2, 3]]


@pytest.mark.filterwarnings("ignore:RoiResponseSeries.*transposed")
@pytest.mark.parametrize("timing", [{"rate": 10.0}, {"timestamps": [0.0, 0.1, 0.2, 0.3]}])
def test_a_series_stored_roi_by_time(build, timing):
    nwbfile = build.rois(VALUES.T, n_rois=3, **timing)
    session = read(nwbfile)
    assert session.activity.tolist() == VALUES.T.tolist()
    assert "stored ROI x time" in notes(session)
    disk = read_session(build.write(nwbfile))
    assert disk.activity.tolist() == VALUES.T.tolist()
    assert "pynwb says" not in notes(disk)


def test_as_many_frames_as_rois_is_read_the_standard_s_way(build):
    square = np.arange(9.0).reshape(3, 3)
    assert read(build.rois(square)).activity.tolist() == square.T.tolist()


@pytest.mark.filterwarnings("ignore:RoiResponseSeries.*transposed")
def test_data_that_fit_neither_way(build):
    with pytest.raises(InputError, match=r"RoiResponseSeries: data of shape \(4, 3\) do not fit 2 ROIs"):
        read(build.rois(VALUES, n_rois=2))


def test_rejected_rois_are_left_out_with_their_count(build):
    session = read(build.rois(VALUES, columns={"iscell": np.array([[1.0, 0.9], [0.0, 0.2], [1.0, 0.7]])}))
    assert session.neurons.id.tolist() == ["0", "2"]
    assert session.activity.tolist() == [[0, 3, 6, 9], [2, 5, 8, 11]]
    assert "1 of 3 ROIs of /processing/ophys/segmentation/plane left out: iscell is 0" in notes(session)


@pytest.mark.parametrize(
    ("columns", "kept"),
    [
        ({"is_cell": [True, False, True]}, ["0", "2"]),
        ({"accepted": [1, 1, 0]}, ["0", "1"]),
        ({"Accepted": ["yes", "no", "yes"]}, ["0", "2"]),
        ({"rejected": [0, 0, 1]}, ["0", "1"]),
        ({"valid_roi": [False, False, True]}, ["2"]),
        ({"iscell": [0, 0, 0]}, ["0", "1", "2"]),  # nobody has looked
        ({"accepted": [0, 0, 0], "rejected": [1, 0, 0]}, ["0", "1", "2"][1:]),
        ({"something": [0, 1, 0]}, ["0", "1", "2"]),
    ],
)
def test_marks_of_rejection(build, columns, kept):
    assert read(build.rois(VALUES, columns=columns)).neurons.id.tolist() == kept
    assert read(build.rois(VALUES, columns=columns), quality_filter=False).n_neurons == 3


def test_a_series_over_some_rows_of_its_table_in_another_order(build):
    nwbfile = build.file()
    table = build.plane(nwbfile, 4, columns={"iscell": [1, 0, 1, 1], "snr": [0.0, 1.0, 2.0, 3.0]})
    session = read(build.rois(VALUES, nwbfile=nwbfile, table=table, rows=[3, 1, 0]))
    assert session.neurons.id.tolist() == ["3", "0"]
    assert session.neurons.source_row.tolist() == [3, 0]
    assert session.activity.tolist() == [[0, 3, 6, 9], [2, 5, 8, 11]]
    assert read(nwbfile, units_query="snr > 2").neurons.id.tolist() == ["3"]


def test_rois_beyond_their_table(build):
    nwbfile = build.rois(VALUES)
    region = nwbfile.processing["ophys"]["DfOverF"]["RoiResponseSeries"].rois
    region.fields["data"] = region._Data__data = np.array([0, 1, 7])
    with pytest.raises(InputError, match="its rois point beyond the 3 rows"):
        read(nwbfile)


@pytest.mark.parametrize(
    ("container", "container_name", "name", "kind"),
    [
        (DfOverF, None, "RoiResponseSeries", "dff"),
        (DfOverF, None, "DfOverFEvents", "events"),
        (Fluorescence, None, "RoiResponseSeries", "fluorescence"),
        (Fluorescence, None, "Deconvolved", "events"),
        (Fluorescence, None, "Corrected", "fluorescence"),
        (Fluorescence, "dff", "traces", "dff"),
        (Fluorescence, "Deconvolved", "spks", "events"),
    ],
)
def test_kinds_of_activity(build, container, container_name, name, kind):
    session = read(build.rois(VALUES, container=container, container_name=container_name, name=name))
    assert session.activity_kind == kind


def several(build):
    nwbfile = build.file()
    table = build.plane(nwbfile, 3)
    for container, name, scale in (
        (Fluorescence, "Neuropil", 1),
        (Fluorescence, "Raw", 2),
        (Fluorescence, "Corrected", 3),
        (DfOverF, "DfOverFEvents", 4),
        (DfOverF, "DfOverF", 5),
    ):
        build.rois(VALUES * scale, nwbfile=nwbfile, table=table, container=container, name=name)
    return nwbfile


def test_df_over_f_is_preferred_and_any_other_can_be_named(build):
    nwbfile = several(build)
    session = read(nwbfile)
    assert session.activity[1, 0] == 5.0
    assert "activity is dF/F from /processing/ophys/DfOverF/DfOverF; not read: " in notes(session)
    assert read(nwbfile, series="Raw").activity[1, 0] == 2.0
    assert read(nwbfile, series="DfOverF/DfOverFEvents").activity_kind == "events"
    assert read(nwbfile, series="/processing/ophys/Fluorescence/Neuropil").activity[1, 0] == 1.0


def test_without_df_over_f_corrected_fluorescence_goes_before_raw_and_neuropil_is_never_taken(build):
    nwbfile = several(build)
    nwbfile.processing["ophys"].data_interfaces.pop("DfOverF")
    session = read(nwbfile)
    assert session.activity[1, 0] == 3.0
    assert session.activity_kind == "fluorescence"
    only = build.rois(VALUES, container=Fluorescence, name="Neuropil")
    with pytest.raises(InputError, match="the only ROI series are neuropil"):
        read(only)


def test_two_series_of_one_name_in_two_modules(build):
    nwbfile = build.file()
    table = build.plane(nwbfile, 3)
    build.rois(VALUES, nwbfile=nwbfile, table=table)
    build.rois(VALUES + 100, nwbfile=nwbfile, table=table, module="ophys_again")
    paths = r"/processing/ophys/DfOverF/RoiResponseSeries.*/processing/ophys_again/DfOverF/RoiResponseSeries"
    with pytest.raises(InputError, match="several ROI series could be meant: " + paths):
        read(nwbfile)
    with pytest.raises(InputError, match="several ROI series are called 'RoiResponseSeries': " + paths):
        read(nwbfile, series="RoiResponseSeries")
    assert read(nwbfile, series="ophys_again/DfOverF/RoiResponseSeries").activity[0, 0] == 100.0


def test_a_name_that_no_series_has(build):
    with pytest.raises(InputError, match=r"no ROI series called 'dff'.*DfOverF/RoiResponseSeries \(dF/F\)"):
        read(build.rois(VALUES), series="dff")


def planes(build, **second):
    nwbfile = build.file()
    first_plane, second_plane = build.plane(nwbfile, 2, name="upper"), build.plane(nwbfile, 1, name="lower")
    times = np.arange(5.0)
    build.rois(np.column_stack([times, 10 + times]), nwbfile=nwbfile, table=first_plane, name="Roi1", timestamps=times)
    second = {"timestamps": times + 0.4} | second
    build.rois(100 + times[:, None], nwbfile=nwbfile, table=second_plane, name="Roi2", **second)
    return nwbfile


def test_planes_are_joined_by_holding_the_sample_before(build):
    session = read(planes(build))
    # the lower plane is scanned 0.4 s after the upper: at its times the upper's samples are the latest
    assert session.times.tolist() == [0.4, 1.4, 2.4, 3.4, 4.4]
    assert session.activity.tolist() == [[0, 1, 2, 3, 4], [10, 11, 12, 13, 14], [100, 101, 102, 103, 104]]
    assert session.neurons.id.tolist() == ["Roi1:0", "Roi1:1", "Roi2:0"]
    assert session.neurons.source_path[2].endswith("/lower")
    assert "2 planes joined on the clock of /processing/ophys/DfOverF/Roi2" in notes(session)
    assert "up to 0.4 s old" in notes(session)


def test_a_plane_that_stops_is_not_held_for_ever(build):
    session = read(planes(build, timestamps=[0.4, 1.4, 2.4, 3.4, 6.9]))
    assert session.valid.tolist() == [True, True, True, True, False]


def test_a_plane_is_never_read_ahead_of_time(build):
    session = read(planes(build, timestamps=[0.0, 1.0, 2.0, 3.01, 4.0]))
    assert session.times.tolist() == [0, 1, 2, 3, 4]
    assert session.activity[2].tolist() == [100, 101, 102, 102, 104]


def test_planes_of_different_rates_are_not_joined(build):
    with pytest.raises(InputError, match="different frame periods"):
        read(planes(build, timestamps=np.arange(5) * 2.0))


def test_one_plane_of_several_can_be_named(build):
    assert read(planes(build), series="Roi1").neurons.id.tolist() == ["0", "1"]
    assert read(planes(build), series=("Roi2", "Roi1")).n_neurons == 3


def test_a_region_that_only_one_plane_has(build):
    nwbfile = build.file()
    for name, region in (("a", "V1"), ("b", "LM")):
        table = build.plane(nwbfile, 3, name=name, columns={"region": [region] * 3})
        build.rois(VALUES, nwbfile=nwbfile, table=table, name=f"Roi{name}")
    assert set(read(nwbfile, regions="LM").neurons.region) == {"LM"}
    with pytest.raises(InputError, match="leaves none in any plane"):
        read(nwbfile, regions="CA1")


def test_two_segmentations_of_one_plane_are_not_taken_for_two_planes(build):
    nwbfile = build.file()
    first, second = build.plane(nwbfile, 3, name="a"), build.plane(nwbfile, 3, name="b")
    second.fields["imaging_plane"] = first.imaging_plane
    build.rois(VALUES, nwbfile=nwbfile, table=first, name="RoiResponseSeries1")
    build.rois(VALUES, nwbfile=nwbfile, table=second, name="RoiResponseSeries2")
    with pytest.raises(InputError, match="several ROI series could be meant"):
        read(nwbfile)


def test_a_gap_in_the_timestamps_begins_a_segment(build):
    session = read(build.rois(VALUES, timestamps=[0.0, 0.1, 0.5, 0.6]))
    assert session.segment.tolist() == [0, 0, 1, 1]
    assert "1 gaps in the timestamps of /processing/ophys/DfOverF/RoiResponseSeries" in notes(session)


def test_timestamps_that_go_backward(build):
    with pytest.raises(InputError, match="RoiResponseSeries: timestamps go backward at frame 2"):
        read(build.rois(VALUES, timestamps=[0.0, 0.2, 0.1, 0.3]))


def test_repeated_timestamps(build):
    session = read(build.rois(VALUES, timestamps=[0.0, 0.1, 0.1, 0.2]))
    assert session.activity[0].tolist() == [0, 3, 9]
    assert "1 frames that repeat the timestamp" in notes(session)


def test_fewer_timestamps_than_frames(build):
    with pytest.raises(InputError, match="there are 2 timestamps for 4 samples"):
        read(build.rois(VALUES, timestamps=[0.0, 0.1]))
    session = read(build.rois(VALUES, timestamps=[0.0, 0.1, 0.2]))
    assert session.n_samples == 3
    assert "3 timestamps for 4 samples; the longer one was cut" in notes(session)


def test_frames_that_are_not_finite_are_not_valid(build):
    values = np.vstack([VALUES, VALUES])
    values[1, 0], values[5, 2] = np.nan, np.inf
    session = read(build.rois(values))
    assert np.flatnonzero(~session.valid).tolist() == [1, 5]
    assert "2 of 8 samples are not valid" in notes(session)


def test_a_roi_that_is_never_or_seldom_finite_is_left_out(build):
    values = VALUES.copy()
    values[:, 0] = np.nan
    values[1:, 1] = np.nan
    session = read(build.rois(values))
    assert session.neurons.id.tolist() == ["2"]
    assert session.valid.all()
    assert "1 of 3 ROIs left out: never finite" in notes(session)
    assert "1 of 3 ROIs left out: not finite in more than half" in notes(session)
    with pytest.raises(InputError, match="no ROI has finite values"):
        read(build.rois(values * np.nan))


def test_fluorescence_is_averaged_and_events_are_summed_in_coarser_bins(build):
    mean = read(build.rois(VALUES), rate=5)
    assert mean.activity[0].tolist() == [1.5, 7.5]
    assert mean.period == pytest.approx(0.2)
    assert np.allclose(mean.times, [0.0, 0.2])
    total = read(build.rois(VALUES, name="Events"), rate=5)
    assert total.activity[0].tolist() == [3.0, 15.0]
    assert "resampled from 10 to 5 Hz: the sum" in notes(total)
    assert read(build.rois(VALUES), rate=10).activity.shape == (3, 4)
    with pytest.raises(InputError, match="10 samples a second; it cannot be read at 20"):
        read(build.rois(VALUES), rate=20)


def test_large_data_are_read_in_blocks_of_whole_chunks(build, monkeypatch):
    from hdmf.backends.hdf5 import H5DataIO

    from ndx_synapsnet.nwb.sources import bulk

    rng = np.random.default_rng(0)
    values = rng.normal(size=(97, 13)).astype(np.float32)
    nwbfile = build.rois(values, columns={"iscell": [1, 0] * 6 + [1]})
    nwbfile.processing["ophys"]["DfOverF"]["RoiResponseSeries"].fields["data"] = H5DataIO(values, chunks=(10, 4))
    path = build.write(nwbfile)
    monkeypatch.setattr(bulk, "BLOCK", 4 * 100)
    session = read_session(path, start=0.5, stop=9.0)
    assert np.array_equal(session.activity, values[5:90, ::2].T)


def test_rois_and_frames_are_picked_in_the_order_asked(build):
    values = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    (entry,) = roi_series(walk(build.rois(values)))
    for data in (values, values.T):
        entry.object.fields["data"] = data
        columns, frames = np.array([6, 0, 7, 3]), np.array([0, 3, 4, 30, 49])
        assert np.array_equal(read_values(entry, columns, frames), values[np.ix_(frames, columns)].T)


def test_the_adapter_with_more_neurons_is_taken_and_either_can_be_named(build):
    nwbfile = build.units([[0.1, 0.2], [0.3, 0.35]], nwbfile=build.rois(VALUES))
    assert read(nwbfile).provenance["reader"] == "calcium"
    assert read(nwbfile, adapter="spikes").provenance["reader"] == "spikes"
    with pytest.raises(InputError, match="no ROI series"):
        read(build.units([[0.1, 0.2]]), adapter="calcium")


def test_damaged_data_are_said_with_the_file(build):
    import h5py
    from hdmf.backends.hdf5 import H5DataIO

    values = np.random.default_rng(0).normal(size=(500, 3))
    nwbfile = build.rois(values)
    series = nwbfile.processing["ophys"]["DfOverF"]["RoiResponseSeries"]
    series.fields["data"] = H5DataIO(values, chunks=(500, 3), compression="gzip")
    path = build.write(nwbfile)
    with h5py.File(path) as file:
        chunk = file["processing/ophys/DfOverF/RoiResponseSeries/data"].id.get_chunk_info(0)
    with path.open("r+b") as file:
        file.seek(chunk.byte_offset + 100)
        file.write(b"\xff" * 1000)
    with pytest.raises(InputError, match=rf"{path.name}: reading the data failed \(.*check the file"):
        read_session(path)


def test_timestamps_that_another_series_holds(build):
    # the layout of the Allen Institute's two-photon files
    nwbfile = build.file()
    table = build.plane(nwbfile, 3)
    times = np.array([1.0, 1.5, 2.0, 2.5])
    build.rois(VALUES, nwbfile=nwbfile, table=table, container=Fluorescence, name="Corrected", timestamps=times)
    build.rois(VALUES + 1, nwbfile=nwbfile, table=table, name="DfOverF", timestamps=times)
    corrected = nwbfile.processing["ophys"]["Fluorescence"]["Corrected"]
    nwbfile.processing["ophys"]["DfOverF"]["DfOverF"].fields["timestamps"] = corrected
    session = read_session(build.write(nwbfile))
    assert session.times.tolist() == times.tolist()
    assert session.activity[0].tolist() == [1, 4, 7, 10]
