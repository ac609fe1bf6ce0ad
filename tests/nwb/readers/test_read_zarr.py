"""The same recording in HDF5 and in Zarr reads the same."""

from __future__ import annotations

import warnings
from dataclasses import fields

import numpy as np
import pytest
from pynwb import NWBHDF5IO

from ndx_synapsnet.nwb.readers import inspect, read_session
from ndx_synapsnet.session import Session, _same

pytest.importorskip("hdmf_zarr", reason="the extra zarr is not installed")


def exported(path):
    from hdmf_zarr import NWBZarrIO

    target = path.with_suffix(".zarr")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about itself
        with NWBHDF5IO(path, "r") as source, NWBZarrIO(str(target), mode="w") as sink:
            sink.export(src_io=source, write_args={"link_data": False})
    return target


def assert_equal(one: Session, two: Session) -> None:
    for field in fields(Session):
        if field.name != "provenance":
            assert _same(getattr(one, field.name), getattr(two, field.name)), field.name
    differ = {key for key in one.provenance if one.provenance[key] != two.provenance[key]}
    assert differ == {"uri", "format"}


def test_units_with_electrodes_and_behaviour(build):
    nwbfile = build.electrodes(build.file(), ["CA1", "V1"])
    build.units(
        [[0.1, 2.0], [0.3, 3.0]], electrodes=[[0], [1]], observed=[[(0, 3)]] * 2, quality=["good"] * 2, nwbfile=nwbfile
    )
    build.behavior(nwbfile, "speed", np.arange(30))
    build.epochs(nwbfile, "scenes", [(0.0, 1.0), (2.0, 3.0)], name_of_scene=["a", "b"])
    nwbfile.add_epoch(0.0, 3.0, ["wake"])
    path = build.write(nwbfile)
    zarr = exported(path)
    session = read_session(zarr)
    assert session.provenance["format"] == "zarr"
    assert session.neurons.region.tolist() == ["CA1", "V1"]
    assert_equal(read_session(path), session)
    settings = {"epoch": "scenes", "epoch_query": 'name_of_scene == "b"', "regions": "V1", "bin_width": 0.5}
    assert_equal(read_session(path, **settings), read_session(zarr, **settings))
    tags = {"epoch_query": 'tags == "wake"', "behavior": "none"}
    assert_equal(read_session(path, **tags), read_session(zarr, **tags))
    one, two = inspect(path).to_dict(), inspect(zarr).to_dict()
    assert {key for key in one if one[key] != two[key]} == {"uri", "format"}


def test_a_chunk_that_is_absent_is_told(build):
    zarr = exported(build.write(build.rois(np.arange(1.0, 41.0).reshape(20, 2))))
    whole = read_session(zarr)
    assert not any("absent" in note for note in whole.provenance["notes"])
    (series,) = (path.parent for path in zarr.rglob("data/.zarray"))
    (series / "0.0").unlink()
    session = read_session(zarr)
    (note,) = (note for note in session.provenance["notes"] if "absent" in note)
    assert note.startswith(
        "a file of the store is absent, and fill values stand for them (the first: processing/ophys/"
    )
    assert note.endswith("/data/0.0)")
    assert not session.activity.any()
    assert whole.activity.all()


def test_rois_with_masks(build):
    path = build.write(build.rois(np.arange(40.0).reshape(20, 2), columns={"iscell": [1, 1]}))
    zarr = exported(path)
    assert_equal(read_session(path), read_session(zarr))
    assert read_session(zarr).neurons.position[:, :2].tolist() == [[0, 1], [1, 1]]
