"""Units → counts: bins to the edge, observation, selection, and damaged files."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from hdmf.common import VectorData
from pynwb import NWBHDF5IO
from pynwb.misc import Units

from ndx_synapsnet.errors import InputError
from ndx_synapsnet.nwb.readers import ReadConfig, read_nwbfile, read_session
from ndx_synapsnet.nwb.readers.ragged import read_rows, row_bounds, row_regions


def read(nwbfile, **settings):
    return read_nwbfile(nwbfile, ReadConfig(**settings))


def notes(session):
    return " | ".join(session.provenance["notes"])


def test_counts_to_the_edge(build):
    spikes = [[0.0, 0.24, 0.25, 0.5, 0.5, 0.99], [0.26, 0.74, 0.75, 1.0]]
    session = read(build.units(spikes, observed=[[(0, 1)], [(0, 1)]]), bin_width=0.25)
    assert session.activity.tolist() == [[2, 1, 2, 1], [0, 1, 1, 1]]
    assert session.activity.dtype == np.float32
    assert session.times.tolist() == [0.0, 0.25, 0.5, 0.75]
    assert session.period == 0.25
    assert session.segment.tolist() == [0, 0, 0, 0]
    assert session.valid.all()
    assert session.activity_kind == "spike_counts"
    assert session.unit == "count"
    assert session.modality == "ecephys"
    assert session.neurons.id.tolist() == ["0", "1"]
    assert session.neurons.source_path.tolist() == ["/units", "/units"]
    assert "1 spikes lie outside" in notes(session)


def test_an_edge_is_the_product_of_its_number_and_the_width(build):
    # 3 * 0.1 is a little more than 0.3: a spike at 0.3 comes before that edge
    session = read(build.units([[0.3, 3 * 0.1, 0.1, 0.2]], observed=[[(0, 0.4)]]), bin_width=0.1)
    assert session.activity.tolist() == [[0, 1, 2, 1]]
    assert session.times.tolist() == [0.0, 0.1, 0.2, 3 * 0.1]


def test_without_observation_the_recording_lasts_from_the_first_spike_s_bin_to_the_last_spike(build):
    session = read(build.units([[1.3, 2.9], [1.6, 2.0]]), bin_width=0.5)
    # from 1.0, the last multiple of 0.5 before 1.3; the bin from 2.5 on is not whole at the last spike, 2.9
    assert session.times.tolist() == [1.0, 1.5, 2.0]
    assert session.activity.tolist() == [[1, 0, 0], [0, 1, 1]]


def test_the_default_bin_is_a_thirtieth_of_a_second_and_rate_sets_another(build):
    nwbfile = build.units([[0.0, 1.0]], observed=[[(0, 1)]])
    assert (read(nwbfile).period, read(nwbfile).n_samples) == (1 / 30, 30)
    assert (read(nwbfile, rate=4).period, read(nwbfile, rate=4).n_samples) == (0.25, 4)


def test_unsorted_negative_and_missing_spike_times(build):
    session = read(build.units([[0.9, 0.1, 0.6, np.nan], [-0.5, 0.2, np.inf, 1.0]]), bin_width=0.5)
    assert session.activity.tolist() == [[1, 2], [1, 0]]
    assert "1 spike times are negative" in notes(session)
    assert "2 spike times are not finite" in notes(session)
    assert "spike times of 1 units are not in order" in notes(session)


def test_negative_spike_times_count_where_the_file_says_that_units_were_observed(build):
    session = read(build.units([[-0.5, 0.2]], observed=[[(-1, 1)]]), bin_width=1.0)
    assert session.times.tolist() == [-1.0, 0.0]
    assert session.activity.tolist() == [[1, 1]]


def test_only_negative_spike_times(build):
    with pytest.raises(InputError, match="all spike times are negative"):
        read(build.units([[-2.0, -1.0]]))


def test_spikes_past_the_recording_s_end_are_not_counted(build):
    session = read(build.units([[0.5, 1.5, 2.5]], observed=[[(0, 2)]]), bin_width=1.0)
    assert session.activity.tolist() == [[1, 1]]
    assert "1 spikes lie outside the time in which units were observed" in notes(session)


def test_bins_in_which_a_unit_was_not_observed_are_not_valid(build):
    observed = [[(0, 2), (3, 6)], [(0, 6)], [(1, 6)]]
    session = read(build.units([[0.5], [0.5], [1.5]], observed=observed), bin_width=1.0)
    assert session.times.tolist() == [0, 1, 2, 3, 4, 5]
    assert session.valid.tolist() == [False, True, False, True, True, True]
    assert "2 of 6 bins are not valid" in notes(session)
    assert "2 units were observed for less than 90 %" in notes(session)


def test_units_never_observed_together(build):
    with pytest.raises(InputError, match="no moment at which all the units were observed"):
        read(build.units([[0.5], [2.5]], observed=[[(0, 1)], [(2, 3)]]))


def test_a_unit_without_observation_does_not_restrict_the_others(build):
    session = read(build.units([[0.5], [1.5]], observed=[[(0, 2)], []]), bin_width=1.0)
    assert session.activity.tolist() == [[1, 0], [0, 1]]
    assert session.valid.all()


def test_the_default_quality_filter(build):
    nwbfile = build.units(
        [[0.1, 3.0]] * 6,
        quality=["good", "good", "noise", "good", "good", "good"],
        isi_violations=[0.1, 0.5, 0.1, 0.6, 0.1, 0.1],
        amplitude_cutoff=[0.0, 0.1, 0.0, 0.0, 0.2, np.nan],
        presence_ratio=[0.95, 1.0, 1.0, 1.0, 1.0, 1.0],
    )
    session = read(nwbfile)
    assert session.neurons.id.tolist() == ["0", "1"]
    assert session.neurons.source_row.tolist() == [0, 1]
    assert '4 of 6 units left out: not (quality == "good" and isi_violations <= 0.5' in notes(session)
    assert read(nwbfile, quality_filter=False).n_neurons == 6


def test_a_quality_column_in_other_words_and_counts_are_not_asked(build):
    nwbfile = build.units([[0.1, 3.0]] * 2, quality=["SU", "MUA"], isi_violations=[7, 900])
    assert read(nwbfile).n_neurons == 2


def test_a_default_filter_that_leaves_nothing_says_so(build):
    with pytest.raises(InputError, match=r"default quality filter leaves none of the 2 units.*quality filter off"):
        read(build.units([[0.1, 3.0]] * 2, presence_ratio=[0.1, 0.2]))


def test_a_query_on_the_units_columns(build):
    nwbfile = build.units([[0.1, 3.0]] * 3, snr=[1.0, 2.0, 3.0], is_background=[False, True, False])
    session = read(nwbfile, units_query="not is_background and snr > 1.5")
    assert session.neurons.id.tolist() == ["2"]
    assert "2 of 3 units of /units left out" in notes(session)
    assert "1 of the units read are background" in notes(read(nwbfile))


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("nothing > 1", r"cannot be evaluated.*Columns: snr"),
        ("snr > 9", "none of the 2 units is left"),
        ("snr + 1", "is no condition"),
        ("@secret > 1", "cannot be evaluated"),
        ("snr >", "cannot be evaluated"),
    ],
)
def test_a_query_that_does_not_work(build, query, says):
    secret = 1  # noqa: F841 -- must not be in reach
    with pytest.raises(InputError, match=says):
        read(build.units([[0.1, 3.0]] * 2, snr=[1.0, 2.0]), units_query=query)


def test_regions_and_positions_come_from_the_first_electrode(build):
    nwbfile = build.electrodes(build.file(), ["CA1", "V1", "unknown"])
    nwbfile = build.units([[0.1, 3.0]] * 4, electrodes=[[1, 0], [0], [2], []], nwbfile=nwbfile)
    neurons = read(nwbfile).neurons
    assert neurons.region.tolist() == ["V1", "CA1", "", ""]
    assert neurons.position[:3].tolist() == [[20, 1, 2], [10, 1, 2], [30, 1, 2]]
    assert np.isnan(neurons.position[3]).all()
    assert read(nwbfile, regions=("ca1",)).neurons.id.tolist() == ["1"]
    with pytest.raises(InputError, match=r"no units are in LP.*Regions: CA1, V1"):
        read(nwbfile, regions=("LP", "CA1"))


def test_the_allen_way_joins_the_peak_channel_to_the_electrodes_ids(build):
    nwbfile = build.electrodes(build.file(), ["CA1", "V1", "LP"], ids=[850, 810, 830])
    nwbfile = build.units([[0.1, 3.0]] * 4, peak_channel_id=[830, 810, 850, 999], nwbfile=nwbfile)
    neurons = read(nwbfile).neurons
    assert neurons.region.tolist() == ["LP", "V1", "CA1", ""]
    assert neurons.position[:3, 0].tolist() == [30, 20, 10]
    assert np.isnan(neurons.position[3]).all()


def test_a_location_column_of_the_units_goes_before_the_electrodes(build):
    nwbfile = build.electrodes(build.file(), ["CA1"])
    nwbfile = build.units([[0.1, 3.0]] * 2, electrodes=[[0], [0]], location=["ADN", "nan"], nwbfile=nwbfile)
    assert read(nwbfile).neurons.region.tolist() == ["ADN", ""]


def test_regions_that_nobody_states(build):
    with pytest.raises(InputError, match="states no region of its units"):
        read(build.units([[0.1, 3.0]]), regions=("CA1",))


def test_identity_and_extra_columns(build):
    nwbfile = build.units(
        [[0.1, 3.0]] * 4,
        cell_specimen_id=[7, 8, 8, -1],
        cell_type=["PV", "", "SST", "unknown"],
        depth=[1.5, 2.5, 3.5, 4.5],
    )
    neurons = read(nwbfile, identity_column="cell_specimen_id", extra_columns=("depth",)).neurons
    assert neurons.identity.tolist() == ["mouse1:cell_specimen_id:7", "", "", ""]
    assert neurons.cell_type.tolist() == ["PV", "", "SST", ""]
    assert neurons.extra["depth"].tolist() == [1.5, 2.5, 3.5, 4.5]
    with pytest.raises(InputError, match=r"identity_column is 'nobody'.*cell_specimen_id"):
        read(nwbfile, identity_column="nobody")


def test_one_neuron_is_read(build):
    assert read(build.units([[0.1, 3.0]])).n_neurons == 1


def test_no_units_and_no_roi_series(build):
    with pytest.raises(InputError, match="neither units with spike times nor ROI series"):
        read(build.file())
    with pytest.raises(InputError, match="has no units"):
        read(build.file(), adapter="spikes")


def test_units_without_spike_times(build):
    nwbfile = build.file()
    nwbfile.add_unit(id=3)
    with pytest.raises(InputError, match="neither units"):
        read(nwbfile)
    with pytest.raises(InputError, match="no spike times"):
        read(nwbfile, adapter="spikes")


def test_spike_times_without_an_index(build):
    nwbfile = build.file()
    nwbfile.units = Units(
        name="units",
        description="u",
        id=[0, 1],
        columns=[VectorData(name="spike_times", description="s", data=[0.1, 0.2])],
    )
    with pytest.raises(InputError, match="no index that says which unit has which spike times"):
        read(nwbfile)


def test_units_without_any_spike(build):
    with pytest.raises(InputError, match="no spikes"):
        read(build.units([[np.nan]]))


def test_times_that_cannot_be_seconds(build):
    with pytest.raises(InputError, match=r"far too many bins.*seconds"):
        read(build.units([[0.0, 1e12]]))


def test_a_recording_shorter_than_a_bin(build):
    with pytest.raises(InputError, match="there are no bins of 5 s"):
        read(build.units([[0.0, 1.0]]), bin_width=5.0)


def damaged(build, values):
    path = build.write(build.units([[0.1, 0.2], [0.3, 3.0]]))
    with h5py.File(path, "r+") as file:
        file["units/spike_times_index"][...] = values
    return path


def test_a_ragged_index_out_of_range(build):
    path = damaged(build, [2, 200])
    with pytest.raises(
        InputError, match=r"file0\.nwb, /units/spike_times_index: the ragged index is out of range: 1 of 2"
    ):
        read_session(path)


def test_a_ragged_index_that_goes_backward(build):
    with pytest.raises(InputError, match="ragged index goes backward at row 1"):
        read_session(damaged(build, [3, 2]))


def test_neither_waveforms_nor_amplitudes_are_ever_read(build, monkeypatch):
    nwbfile = build.units([[0.1, 0.2], [0.3, 3.0]])
    nwbfile.units.add_column("spike_amplitudes", "a", data=[1.0, 2, 3, 4], index=[2, 4])
    nwbfile.units.add_column("waveform_mean", "w", data=np.zeros((2, 40)))
    path = build.write(nwbfile)
    touched = []
    get = h5py.Dataset.__getitem__
    monkeypatch.setattr(
        h5py.Dataset, "__getitem__", lambda self, *a, **k: touched.append(self.name) or get(self, *a, **k)
    )
    read_session(path)
    assert touched.count("/units/spike_times") == 1
    assert "/units/spike_times_index" in touched
    assert not {"/units/spike_amplitudes", "/units/waveform_mean"} & set(touched)


def test_rows_near_each_other_are_read_together():
    starts, stops = row_bounds(np.array([10, 20, 300_000, 300_010, 300_010]), 400_000, where="x")
    rows = np.array([0, 1, 3, 4])
    assert row_regions(starts, stops, rows, 1000) == [(slice(0, 20),), (slice(300_000, 300_010),)]
    assert row_regions(starts, stops, rows, 299_981) == [(slice(0, 300_010),)]
    assert row_regions(starts, stops, rows[3:], 1000) == []
    data = np.arange(400_000)
    read = [(number, place, values.tolist()) for number, place, values in read_rows(data, starts, stops, rows)]
    assert read == [
        (0, 0, list(range(10))),
        (1, 10, list(range(10, 20))),
        (2, 300_000, list(range(300_000, 300_010))),
    ]


def test_a_file_on_disk_reads_like_the_one_in_memory(build):
    nwbfile = build.electrodes(build.file(), ["CA1", "V1"])
    nwbfile = build.units(
        [[0.1, 2.0], [0.3, 3.0]], electrodes=[[0], [1]], observed=[[(0, 3)]] * 2, quality=["good"] * 2, nwbfile=nwbfile
    )
    memory = read(nwbfile)
    path = build.write(nwbfile)
    disk = read_session(path)
    assert disk.activity.tolist() == memory.activity.tolist()
    assert disk.neurons == memory.neurons
    assert disk.provenance["uri"] == str(path)
    assert disk.provenance["format"] == "hdf5"
    with NWBHDF5IO(path, "r") as io:
        assert disk.provenance["nwb_version"] == io.nwb_version[0]
        assert disk.provenance["file_object_id"] == io.read().object_id
