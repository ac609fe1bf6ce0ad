"""The real recordings beside the checkout, where they are: shapes known from their notes."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from ndx_synapsnet.errors import InputError
from ndx_synapsnet.nwb.readers import inspect, read_session

# file, kind, neurons, samples, behaviours
RECORDINGS = [
    ("lif-ground-truth/ren1917-3600s.nwb", "spike_counts", 20, 108_000, 0),
    ("lif-ground-truth/sim1917-1800s.nwb", "spike_counts", 20, 54_000, 0),
    ("pynapple/cnmfe_A6512-210915.nwb", "fluorescence", 10, 35_790, 0),
    ("pynapple/neurosuite_A2929-200711.nwb", "spike_counts", 15, 35_999, 9),
    ("pynapple/phy_A8604-211122.nwb", "spike_counts", 3, 32_620, 0),
    ("pynapple/suite2p_2022_08_08.nwb", "fluorescence", 20, 2_000, 0),
    ("rat-hippocampus/linear-track.nwb", "spike_counts", 31, 59_048, 3),
    ("rat-hippocampus/w-maze.nwb", "spike_counts", 25, 129_204, 3),
    ("zebrafish-regions/zebrafish-regions-fish6.nwb", "dff", 70, 892, 0),
]
# columns and parts of objects: their table or object is named
PARTS = {"VectorData", "VectorIndex", "ElementIdentifiers", "DynamicTableRegion", "ProcessingModule", "NWBFile"}


@pytest.mark.parametrize(("file", "kind", "neurons", "samples", "behaviors"), RECORDINGS)
def test_recording(shared_data, file, kind, neurons, samples, behaviors):
    session = read_session(shared_data / file)
    assert session.activity_kind == kind
    assert session.activity.shape == (neurons, samples)
    assert len(session.behavior_names) == behaviors
    assert session.valid.all()
    assert session.segment.max() == 0
    contents = inspect(shared_data / file)
    assert contents.n_neurons == neurons
    assert contents.n_samples == pytest.approx(samples, abs=1)


def test_spikes_are_all_counted(shared_data):
    session = read_session(shared_data / "lif-ground-truth/ren1917-3600s.nwb")
    assert session.activity.sum() == 93_699


def test_the_background_unit_can_be_left_out(shared_data):
    path = shared_data / "rat-hippocampus/w-maze.nwb"
    session = read_session(path)
    assert any("background" in note for note in session.provenance["notes"])
    assert read_session(path, units_query="not is_background").n_neurons == 24


def test_wake_only(shared_data):
    session = read_session(shared_data / "pynapple/neurosuite_A2929-200711.nwb", epoch_query='tags == "wake"')
    assert session.times[0] >= 600
    assert np.isnan(session.behavior).mean() < 0.15


@pytest.mark.parametrize("name", ["aibs.nwb", "aibs_ecephys.nwb"])
def test_everything_in_the_allen_layout_is_named(shared_data, name):
    path = shared_data / "allen-layout" / name
    contents = inspect(path).to_dict()
    named = {item["path"] for group in ("series", "behaviors", "epochs", "other") for item in contents[group]}
    named |= {contents["units"]["path"]} if contents["units"] else set()
    expected = set()

    def collect(where, obj):
        kind = obj.attrs.get("neurodata_type")
        inside_specs = where.startswith("specifications")
        if kind and kind not in PARTS and not inside_specs and "subject" not in where and isinstance(obj, h5py.Group):
            expected.add(f"/{where}")

    with h5py.File(path) as file:
        file.visititems(collect)
    assert len(expected) > 5
    assert expected <= named


def test_the_allen_layout_s_cut_index_is_refused_and_inspected(shared_data):
    path = shared_data / "allen-layout/aibs.nwb"
    with pytest.raises(InputError, match=r"spike_times_index: the ragged index is out of range: 10 of 10"):
        read_session(path)
    contents = inspect(path)
    assert contents.adapter == "spikes"
    assert contents.units.n_units == 10
    assert contents.neurons.regions["grey"] > 0
    assert sum(contents.neurons.regions.values()) == contents.n_neurons
    defaults = [b.path for b in contents.behaviors if b.default]
    assert defaults == ["/processing/filtered_gaze_mapping/pupil_area", "/processing/running/running_speed"]
    assert {e.path.rsplit("/", 1)[-1] for e in contents.epochs} >= {
        "natural_scenes_presentations", "drifting_gratings_presentations", "optogenetic_stimulation",
    }  # fmt: skip
