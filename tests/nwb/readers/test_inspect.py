"""What `inspect` says of a file, and that it reads nothing large."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest

from ndx_synapsnet.errors import InputError
from ndx_synapsnet.nwb.readers import contents as contents_module
from ndx_synapsnet.nwb.readers import inspect, read_session


def whole_file(build):
    nwbfile = build.electrodes(build.file(session_id="s1"), ["CA1", "V1"])
    build.units(
        [[0.1, 0.2, 1.9], [0.3], [0.4]],
        electrodes=[[0], [1], [1]],
        observed=[[(0, 2)]] * 3,
        quality=["good", "good", "noise"],
        cell_specimen_id=[4, 5, 6],
        nwbfile=nwbfile,
    )
    build.rois(np.arange(40.0).reshape(20, 2), nwbfile=nwbfile, columns={"iscell": [1, 0]})
    build.behavior(nwbfile, "speed", np.arange(20))
    build.behavior(nwbfile, "features", np.zeros((20, 9)))
    build.epochs(nwbfile, "scenes", [(0.0, 0.5), (1.0, 1.25)], frame=[1, 2])
    nwbfile.add_trial(0.0, 2.0)
    return nwbfile


def test_everything_is_named(build):
    path = build.write(whole_file(build))
    contents = inspect(path)
    assert contents.uri == str(path)
    assert contents.format == "hdf5"
    assert contents.about["session_id"] == "s1"
    assert contents.about["subject"]["subject_id"] == "mouse1"
    assert contents.problems == ()

    (series,) = contents.series
    assert series.path == "/processing/ophys/DfOverF/RoiResponseSeries"
    assert (series.kind, series.shape, series.n_samples, series.n_rois) == ("dff", (20, 2), 20, 2)
    assert (series.n_accepted, series.period, series.default) == (1, 0.1, False)

    units = contents.units
    assert (units.path, units.n_units, units.n_default, units.n_spikes) == ("/units", 3, 2, 5)
    assert "quality" in units.columns

    assert {b.path: b.default for b in contents.behaviors} == {
        "/processing/behavior/speed": True,
        "/processing/behavior/features": False,
    }
    epochs = {e.path: e for e in contents.epochs}
    assert set(epochs) == {"/intervals/trials", "/intervals/scenes"}
    scenes = epochs["/intervals/scenes"]
    assert (scenes.n_rows, scenes.start, scenes.stop, scenes.seconds) == (2, 0.0, 1.25, 0.75)
    assert scenes.columns == ("start_time", "stop_time", "frame")

    assert contents.neurons.regions == {"CA1": 1, "V1": 1}
    assert contents.neurons.has_position
    assert contents.neurons.identity_columns == ("cell_specimen_id",)
    other = {o.path: o.type for o in contents.other}
    assert other["/general/extracellular_ephys/electrodes"] == "ElectrodesTable"
    assert other["/processing/ophys/segmentation/plane"] == "PlaneSegmentation"
    assert "/general/devices/probe" in other


def test_the_default_read_is_what_read_session_reads(build):
    for nwbfile in (whole_file(build), build.rois(np.tile([1.0, 2.0], (20, 1)), columns={"iscell": [1, 0]})):
        path = build.write(nwbfile)
        contents, session = inspect(path), read_session(path)
        assert contents.adapter == session.provenance["reader"]
        assert contents.n_neurons == session.n_neurons
        assert contents.n_samples == session.n_samples
        assert contents.period == pytest.approx(session.period)
        assert contents.activity_kind == session.activity_kind
        assert contents.duration == pytest.approx(session.n_samples * session.period)


def test_without_observation_the_length_is_that_of_the_spikes(build):
    path = build.write(build.units([[1.3, 2.9], [1.6, 2.0]]))
    assert inspect(path).n_samples == pytest.approx(read_session(path).n_samples, abs=1)


@pytest.mark.parametrize(("chunks", "reads"), [(None, 64), ((16_000,), 64), ((100_000,), 10), ((2_000_000,), 2)])
def test_without_observation_few_bytes_are_read_whatever_the_chunks(chunks, reads):
    class Spikes:
        shape, dtype = (4_000_000,), np.dtype(np.float64)
        touched = 0

        def __getitem__(self, part):
            self.touched += 1
            return np.arange(part[0].start, part[0].stop) / 1000

    data = Spikes()
    data.chunks = chunks
    stops = np.arange(1, 101) * 40_000
    ((first, last),) = contents_module._spiking(data, stops - 40_000, stops)
    assert data.touched == reads
    assert first == 0.0
    assert last == (3999.999 if reads > 2 else 39.999)


def test_it_is_json(build):
    nwbfile = build.epochs(whole_file(build), "empty", [(np.nan, np.nan)])
    record = json.loads(json.dumps(inspect(build.write(nwbfile)).to_dict(), allow_nan=False))
    assert record["units"]["n_units"] == 3
    assert record["duration"] == pytest.approx(2.0)
    assert next(e for e in record["epochs"] if e["path"] == "/intervals/empty")["start"] is None


def test_problems_are_said_and_the_rest_is_still_named(build):
    path = build.write(whole_file(build))
    with h5py.File(path, "r+") as file:
        file["units/spike_times_index"][...] = [100, 150, 200]
    contents = inspect(path)
    assert len(contents.problems) == 1
    assert "/units/spike_times_index: the ragged index is out of range: 3 of 3 rows" in contents.problems[0]
    assert contents.n_samples is None
    assert contents.n_neurons == 2
    assert contents.units.n_units == 3
    assert len(contents.epochs) == 2


def test_a_file_without_neurons(build):
    contents = inspect(build.write(build.behavior(build.file(), "speed", np.arange(10))))
    assert contents.adapter is None
    assert contents.n_neurons is None
    assert "neither units with spike times nor ROI series" in contents.problems[0]
    assert contents.behaviors[0].path == "/processing/behavior/speed"


def test_ambiguous_series_are_a_problem_and_all_are_listed(build):
    nwbfile = build.file()
    table = build.plane(nwbfile, 3)
    for module in ("one", "two"):
        build.rois(np.ones((5, 3)), nwbfile=nwbfile, table=table, module=module)
    contents = inspect(build.write(nwbfile))
    assert len(contents.series) == 2
    assert "several ROI series could be meant" in contents.problems[0]


def test_it_reads_no_bulk_data(build, monkeypatch):
    nwbfile = build.units([np.linspace(0, 9, 5000)] * 3, nwbfile=build.rois(np.ones((3000, 2))))
    build.behavior(nwbfile, "speed", np.arange(4000.0), timestamps=np.arange(4000) / 100)
    path = build.write(nwbfile)
    read = {}
    get = h5py.Dataset.__getitem__

    def counting(self, *args, **kwargs):
        value = get(self, *args, **kwargs)
        read[self.name] = read.get(self.name, 0) + np.size(value)
        return value

    monkeypatch.setattr(h5py.Dataset, "__getitem__", counting)
    inspect(path)
    assert max(read.values()) <= 300, read


def test_what_is_no_nwb_file_is_refused(tmp_path):
    path = tmp_path / "notes.nwb"
    path.write_text("not HDF5")
    with pytest.raises(InputError, match="not an NWB file"):
        inspect(path)
