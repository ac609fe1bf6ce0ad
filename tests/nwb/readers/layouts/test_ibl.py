"""IBL Brain-wide map, 000409."""

from __future__ import annotations

import numpy as np
import pytest
from neuropixels import ibl_session

from ndx_synapsnet.errors import InputError
from ndx_synapsnet.nwb.readers import PRESETS, read_session

SPIKES = [[0.5, 1.5], [2.5], [3.5, 4.5], [5.5, 8.9]]


@pytest.mark.parametrize("region", [False, True], ids=["numbers", "references"])
def test_units_are_where_their_largest_electrode_is(tmp_path, region):
    # every unit refers to all electrodes of its probe: the first of them is not where it is
    neurons = read_session(ibl_session(tmp_path / "a.nwb", SPIKES, peaks=[2, 1, 5, 3], region=region)).neurons
    assert neurons.region.tolist() == ["Dentate gyrus", "Field CA1", "root", "Caudoputamen"]
    np.testing.assert_array_equal(neurons.position[:, 0], [1002, 1001, 1005, 1003])


def test_a_largest_electrode_that_is_not_there_is_nowhere(tmp_path):
    path = ibl_session(tmp_path / "a.nwb", SPIKES, peaks=[2, 1, 5, 3])
    import h5py

    with h5py.File(path, "r+") as file:
        file["units/max_electrode"][0] = -1
        file["units/max_electrode"][3] = 6
    assert read_session(path).neurons.region.tolist() == ["", "Field CA1", "root", ""]


@pytest.mark.parametrize("score", ["ibl_quality_score", "label"])
def test_units_pass_all_of_the_ibl_s_metrics(tmp_path, score):
    scores = [1.0, 2 / 3, 1.0, 0.33]
    path = ibl_session(tmp_path / "a.nwb", SPIKES, peaks=[0] * 4, score=score, **{score: scores})
    session = read_session(path)
    assert session.neurons.source_row.tolist() == [0, 2]
    assert f"2 of 4 units left out: not ({score} >= 1)" in session.provenance["notes"]
    assert read_session(path, quality_filter=False).n_neurons == 4
    if score == "ibl_quality_score":
        assert read_session(path, **PRESETS["ibl"]).neurons.source_row.tolist() == [0, 2]


def test_another_label_is_no_score(tmp_path):
    labels = [1.0, 2.0, 7.0, 0.5]
    path = ibl_session(tmp_path / "a.nwb", SPIKES, peaks=[0] * 4, score="label", label=labels, presence_ratio=[1.0] * 4)
    assert read_session(path).n_neurons == 4


def test_older_files_name_regions_on_the_units(tmp_path):
    own = {"allen_location": ["VISp5", "CA1", "DG-mo", "CP"], "cosmos_location": ["Isocortex"] * 4}
    path = ibl_session(tmp_path / "a.nwb", SPIKES, peaks=[0] * 4, **own)
    assert read_session(path, regions="dg-mo").neurons.region.tolist() == ["DG-mo"]


def test_wheel_and_pupils_are_found_as_measured(tmp_path):
    path = ibl_session(tmp_path / "a.nwb", SPIKES, peaks=[0] * 4)
    session = read_session(path, bin_width=0.1)
    assert session.behavior_names == ("LeftPupilDiameter", "RightPupilDiameter", "WheelVelocity")
    assert any("WheelVelocity was filtered forward and backward" in note for note in session.provenance["notes"])
    sample = 30
    assert session.times[sample] == pytest.approx(session.times[0] + 3.0)
    seen = np.arange(9000) / 1000
    seen = seen[(seen >= session.times[sample] - 1e-9) & (seen < session.times[sample] + 0.1 - 1e-9)]
    assert session.behavior[2, sample] == pytest.approx(np.cos(seen).mean(), rel=1e-5)
    asked = read_session(path, behavior=("LeftPupilDiameterSmoothed", "WheelPosition"))
    assert asked.behavior_names == ("LeftPupilDiameterSmoothed", "WheelPosition")


def test_a_preset_of_another_archive_is_refused_with_the_columns(tmp_path):
    path = ibl_session(tmp_path / "a.nwb", SPIKES, peaks=[0] * 4)
    with pytest.raises(InputError, match=r"quality == 'good'.*cannot be evaluated.*Columns: .*ibl_quality_score"):
        read_session(path, **PRESETS["allen-neuropixels"])
