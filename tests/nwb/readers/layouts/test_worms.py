"""Whole-brain imaging of C. elegans, 000692: the plane is a volume of an extension that is not installed."""

from __future__ import annotations

import numpy as np
import pytest
from worms import VOLUME, worm

from ndx_synapsnet.errors import InputError
from ndx_synapsnet.nwb.readers import PRESETS, inspect, read_session

TRACES = np.random.default_rng(0).normal(100, 1, size=(50, 4))
LABELS = ("AVAL", "", "RIML", "17")


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    return worm(tmp_path_factory.mktemp("worm") / "sub-20230918.nwb", TRACES, labels=LABELS)


@pytest.fixture(scope="module")
def two_channels(tmp_path_factory):
    path = tmp_path_factory.mktemp("worm") / "two.nwb"
    return worm(path, TRACES, labels=LABELS, references=TRACES + 1)


def test_the_extension_is_not_installed():
    with pytest.raises(ModuleNotFoundError):
        __import__(VOLUME.replace("-", "_"))


def test_a_volume_is_read_through_the_file_s_own_specification(one):
    session = read_session(one)
    np.testing.assert_array_equal(session.activity, TRACES.T.astype(np.float32))
    assert session.activity_kind == "fluorescence"
    assert session.neurons.region.tolist() == ["Worm head"] * 4
    np.testing.assert_array_equal(session.neurons.position, [[row, 2, 4] for row in range(4)])
    assert session.provenance["subject"]["growth_stage"] == "YA"


def test_named_neurons_keep_their_names(one):
    assert read_session(one).neurons.cell_type.tolist() == ["AVAL", "", "RIML", ""]


def test_names_of_other_length_are_of_something_else(tmp_path):
    session = read_session(worm(tmp_path / "a.nwb", TRACES, labels=LABELS[:3]))
    assert session.neurons.cell_type is None


def test_two_channels_are_told_apart_by_the_preset(two_channels):
    with pytest.raises(InputError, match="several ROI series could be meant"):
        read_session(two_channels)
    session = read_session(two_channels, **PRESETS["c-elegans"])
    np.testing.assert_array_equal(session.activity, TRACES.T.astype(np.float32))


def test_inspect_names_the_extension_s_objects(one):
    kinds = {item.path: item.type for item in inspect(one).other}
    assert kinds["/general/optophysiology/CalciumImVol"] == "ImagingVolume"
    assert kinds["/processing/CalciumActivity/NeuronIDs"] == "SegmentationLabels"


def test_no_volume_is_read(one, datasets_read):
    read_session(one)
    assert "/acquisition/NeuroPALImageRaw/data" not in datasets_read
