"""Allen Visual Coding - Neuropixels, 000021 and 000022."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
from embedding import retype
from neuropixels import AIBS, CHANNELS, allen_lfp, allen_session

from ndx_synapsnet.errors import InputError
from ndx_synapsnet.nwb.readers import PRESETS, ReadConfig, inspect, read_session

VISAM, CA1, OUTSIDE, INVALID, LGD = (channel[0] for channel in CHANNELS)
SPIKES = [[0.1, 0.6, 9.9], [1.2], [2.3, 2.4], [3.5], [4.6]]
PEAKS = [LGD, VISAM, OUTSIDE, INVALID, CA1]


@pytest.fixture(scope="module")
def session_file(tmp_path_factory):
    return allen_session(tmp_path_factory.mktemp("allen") / "sub-707296975_ses-715093703.nwb", SPIKES, peaks=PEAKS)


def test_units_are_where_their_peak_channel_is(session_file):
    neurons = read_session(session_file).neurons
    assert neurons.region.tolist() == ["LGd", "VISam", "", "grey", "CA1"]
    expected = [[7720, 2900, 7950], [7600, 700, 8100], [np.nan] * 3, [7700, 2800, 7900], [7650, 1500, 8000]]
    np.testing.assert_array_equal(neurons.position, expected)
    assert neurons.id.tolist() == [str(951791918 + 10 * row) for row in range(5)]


def test_a_peak_channel_that_is_no_electrode_is_nowhere(tmp_path):
    neurons = read_session(allen_session(tmp_path / "a.nwb", SPIKES[:2], peaks=[VISAM, 1])).neurons
    assert neurons.region.tolist() == ["VISam", ""]
    assert np.isnan(neurons.position[1]).all()


def test_spikes_are_counted(session_file):
    session = read_session(session_file, bin_width=1.0, behavior="none")
    expected = np.zeros((5, 9))  # the last spike ends the recording, and its bin is not whole
    for row, times in enumerate(SPIKES):
        for time in times:
            if time < 9:
                expected[row, int(time)] += 1
    np.testing.assert_array_equal(session.activity, expected)
    assert session.provenance["subject"]["subject_id"] == "707296975"


def test_the_allen_sdk_s_filter_is_a_preset(tmp_path):
    path = allen_session(
        tmp_path / "a.nwb",
        [[1.0, 2.0]] * 8,
        peaks=[VISAM, OUTSIDE, INVALID, CA1, CA1, CA1, CA1, LGD],
        quality=["good"] * 3 + ["noise"] + ["good"] * 4,
        isi_violations=[0.5] * 4 + [0.51] + [0.1] * 3,
        amplitude_cutoff=[0.1] * 5 + [0.11] + [0.1] * 2,
        presence_ratio=[0.95] * 6 + [0.94] + [np.nan],
    )
    default = read_session(path, bin_width=0.1)
    assert default.neurons.source_row.tolist() == [0, 1, 2]
    chosen = read_session(path, bin_width=0.1, **PRESETS["allen-neuropixels"])
    assert chosen.neurons.source_row.tolist() == [0]
    assert chosen.provenance["read_config"]["units_query"] == PRESETS["allen-neuropixels"]["units_query"]


def test_a_query_may_ask_the_electrode(session_file):
    rows = read_session(session_file, units_query="electrode_probe_vertical_position < 30").neurons.source_row
    assert rows.tolist() == [1, 4]
    with pytest.raises(
        InputError, match=r"/units: the units query 'electrode_moon > 1' cannot be evaluated.*electrode_loc"
    ):
        read_session(session_file, units_query="electrode_moon > 1")


def test_running_and_pupil_are_found(session_file, tmp_path):
    assert read_session(session_file).behavior_names == ("pupil_area", "running_speed")
    plain = allen_session(tmp_path / "plain.nwb", SPIKES, peaks=PEAKS, gaze=False)
    assert read_session(plain).behavior_names == ("running_speed",)


def test_a_speed_counts_from_when_its_measurement_was_over(session_file):
    session = read_session(session_file, bin_width=0.07, behavior="running_speed", max_hold=0.0)
    begun = 0.5 + np.arange(500) / 60
    over = begun + 1 / 60
    for sample in (12, 40, 101):
        time = session.times[sample]
        seen = (over >= time) & (over < time + 0.07)
        assert session.behavior[0, sample] == pytest.approx(10 * begun[seen].mean(), rel=1e-6)
    assert "running_speed_end_times" in str(session.provenance["notes"])


def test_presentations_are_epochs(session_file):
    session = read_session(session_file, bin_width=0.5, epoch="spontaneous_presentations", behavior="none")
    np.testing.assert_allclose(session.times, [0, 0.5, 1, 1.5, 6, 6.5, 7, 7.5])
    assert session.segment.tolist() == [0] * 4 + [1] * 4
    session = read_session(session_file, bin_width=0.5, epoch_query="orientation == 45", behavior="none")
    np.testing.assert_allclose(session.times, [3.0, 3.5])
    session = read_session(session_file, bin_width=0.005, epoch="optogenetic_stimulation", behavior="none")
    np.testing.assert_allclose(session.times, [9.0, 9.005, 9.5, 9.505])


def test_presentations_are_covariates(session_file):
    name = "drifting_gratings_presentations.orientation"
    session = read_session(session_file, bin_width=1.0, behavior="none", stimulus=name)
    assert session.behavior_names == (f"{name}=0", f"{name}=45", f"{name}=90")
    np.testing.assert_array_equal(session.behavior.argmax(axis=1), [2, 3, 5])
    np.testing.assert_array_equal(session.behavior.sum(axis=1), [1, 1, 1])


def test_an_lfp_file_is_refused_with_the_reason(tmp_path):
    path = allen_lfp(tmp_path / "probe.nwb")
    with pytest.raises(
        InputError, match=r"only potentials \(/acquisition/probe_769322820_lfp.*session's own file"
    ) as told:
        read_session(path)
    assert told.value.where == str(path)
    assert "only potentials" in inspect(path).problems[0]


def test_two_versions_of_the_extension_are_read_in_turn(session_file, tmp_path):
    other = allen_session(tmp_path / "other.nwb", SPIKES, peaks=PEAKS)
    with h5py.File(other, "r+") as file:
        file.move(f"specifications/{AIBS}/0.2.0", f"specifications/{AIBS}/0.3.0")
        folder = file[f"specifications/{AIBS}/0.3.0"]
        types = json.loads(folder[f"{AIBS}.extension"][()])
        probe = types["groups"][0]
        probe["attributes"][0]["name"] = "sampling_frequency"
        for name, values in (("namespace", folder["namespace"][()].decode().replace("0.2.0", "0.3.0")),
                             (f"{AIBS}.extension", json.dumps(types))):  # fmt: skip
            del folder[name]
            folder[name] = values
        for device in file["general/devices"].values():
            del device.attrs["sampling_rate"]
            retype(device, "EcephysProbe", AIBS, sampling_frequency=30000.0)
    first = read_session(session_file)
    second = read_session(other)
    np.testing.assert_array_equal(first.activity, second.activity)
    np.testing.assert_array_equal(read_session(session_file).activity, first.activity)


def test_inspect_says_what_a_preset_would_read(session_file):
    contents = inspect(session_file, ReadConfig(**PRESETS["allen-neuropixels"]))
    assert contents.n_neurons == 3
    assert contents.neurons.regions == {"LGd": 1, "VISam": 1, "CA1": 1}
    assert inspect(session_file).n_neurons == 5


def test_nothing_but_what_is_needed_is_read(session_file, datasets_read):
    read_session(session_file, **PRESETS["allen-neuropixels"])
    assert "/units/spike_times" in datasets_read
    unwanted = ("spike_amplitudes", "waveform_mean", "voltage", "raw_running", "raw_gaze", "screen_coordinates")
    assert [name for name in datasets_read if any(word in name for word in unwanted)] == []


@pytest.mark.parametrize("name", ["aibs.nwb", "aibs_ecephys.nwb"])
def test_real_files_of_the_layout(shared_data, name):
    contents = inspect(shared_data / "allen-layout" / name)
    if name == "aibs.nwb":
        assert contents.neurons.regions == {"grey": 2, "": 1}
        config = ReadConfig(**PRESETS["allen-neuropixels"])
        assert inspect(shared_data / "allen-layout" / name, config).neurons.regions == {"grey": 2}
    else:
        assert any("only potentials" in problem for problem in contents.problems)
