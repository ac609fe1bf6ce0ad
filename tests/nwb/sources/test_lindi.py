"""Reference file systems of lindi: read with lindi where it is installed, never trusted with files of this machine."""

from __future__ import annotations

import gc
import json
import sys
import warnings

import numpy as np
import pytest

from ndx_synapsnet.errors import InputError
from ndx_synapsnet.nwb.readers import read_session
from ndx_synapsnet.nwb.sources import open_source
from ndx_synapsnet.nwb.sources.lindi import parse_lindi

FILE = "sub-1/sub-1_ses-1.nwb"

REFS = {"refs": {".zgroup": '{"zarr_format": 2}', "a/0": ["https://example.org/x.nwb", 0, 10]}}


@pytest.mark.parametrize(
    ("refs", "says"),
    [
        ({"a/0": ["/etc/passwd", 0, 10]}, "refers to a file of this machine"),
        ({"a/0": ["{{u}}", 0, 10]}, "refers to a file of this machine"),
        ({"a/0": ["file:///etc/passwd"]}, "refers to a file of this machine"),
        (
            {"a/.zattrs": {"_EXTERNAL_ARRAY_LINK": {"link_type": "hdf5_dataset", "url": "/data/x.h5", "name": "d"}}},
            "refers to a file of this machine",
        ),
        ({"a/.zarray": '{"filters": [{"id": "pickle"}]}'}, "pickled objects"),
        ({"a/.zarray": {"compressor": {"id": "pickle"}}}, "pickled objects"),
        ({"a/.zarray": "{"}, "damaged"),
        ({"a/.zattrs": "3"}, "damaged"),
        ({"a/.zarray": ["https://example.org/array", 0, 10]}, "not in the file itself"),
        ({".zgroup": ["https://example.org/group"]}, "not in the file itself"),
        ({"a/.zattrs": 3}, "not in the file itself"),
    ],
)
def test_hostile_lindi_files(refs, says):
    content = json.dumps({"templates": {"u": "/etc/passwd"}, "refs": {**REFS["refs"], **refs}})
    with pytest.raises(InputError, match=says):
        parse_lindi(content, where="x.lindi.json", local=False)
    if "this machine" in says:
        parse_lindi(content, where="x.lindi.json", local=True)


@pytest.mark.parametrize("content", ["[]", "{}", '{"refs": 3}', "[" * 100_000])
def test_json_that_is_no_lindi_file(content):
    with pytest.raises(InputError, match="not a lindi file"):
        parse_lindi(content, where="x", local=True)


def test_lindi_without_its_extra(archive, use_archive, dandiset_folder, monkeypatch):
    use_archive(archive)
    (dandiset_folder / "x.lindi.json").write_text(json.dumps(REFS))
    monkeypatch.setitem(sys.modules, "lindi", None)
    for uri in (archive.file_url("x.lindi.json"), dandiset_folder / "x.lindi.json", "DANDI:000999/x.lindi.json"):
        with pytest.raises(InputError, match=r"needs the package lindi.*ndx-synapsnet\[lindi\]"), open_source(uri):
            pass


def test_a_lindi_file_cannot_be_verified(archive, use_archive, dandiset_folder):
    (dandiset_folder / "x.lindi.json").write_text(json.dumps(REFS))
    use_archive(archive, verify=True)
    with (
        pytest.raises(InputError, match="lindi file cannot be verified"),
        open_source("DANDI:000999/x.lindi.json"),
    ):
        pass


def test_a_lindi_file(archive, use_archive, dandiset_folder):
    use_archive(archive)
    lindi = pytest.importorskip("lindi", reason="the extra lindi is not installed")
    client = lindi.LindiH5pyFile.from_hdf5_file(str(dandiset_folder / FILE), url=archive.file_url(FILE))
    client.write_lindi_file(str(dandiset_folder / "x.lindi.json"))
    client.close()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # lindi leaves the file open that it makes its JSON from
        del client
        gc.collect()
    for uri in (archive.file_url("x.lindi.json"), dandiset_folder / "x.lindi.json", "DANDI:000999/x.lindi.json"):
        session, local = read_session(uri), read_session(dandiset_folder / FILE)
        np.testing.assert_array_equal(session.activity, local.activity)
        assert session.provenance["format"] == "lindi"
