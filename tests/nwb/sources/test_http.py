"""Web servers and buckets: what a thing is decides how it is read, not its name."""

from __future__ import annotations

import base64
import json

import h5py
import numpy as np
import pytest
import requests

from ndx_synapsnet.benchmark.archive import Faults
from ndx_synapsnet.errors import InputError
from ndx_synapsnet.nwb.readers import inspect, read_session
from ndx_synapsnet.nwb.readers.origin import naming
from ndx_synapsnet.nwb.sources import SOURCES, open_source, s3, stores
from ndx_synapsnet.nwb.sources.http import locate_http
from ndx_synapsnet.nwb.sources.remote.options import RemoteOptions
from ndx_synapsnet.nwb.sources.stores import LocatedStore, WebFolder
from ndx_synapsnet.nwb.sources.uri import S3Address, parse

FILE = "sub-1/sub-1_ses-1.nwb"
ZARR = "sub-2/sub-2_ses-2.nwb.zarr"


@pytest.fixture(autouse=True)
def _quick(archive, use_archive):
    use_archive(archive)


def refused(uri, says):
    with pytest.raises(InputError, match=says) as caught, open_source(uri):
        pass
    return caught.value


def same_data(uri, local):
    with open_source(uri) as opened, open_source(local) as wanted:
        assert opened.format == wanted.format
        assert opened.nwb_version == wanted.nwb_version
        assert opened.nwbfile.object_id == wanted.nwbfile.object_id
        values = [one.nwbfile.processing["ophys"]["observed"].data[:] for one in (opened, wanted)]
        np.testing.assert_array_equal(*values)
        assert opened.warnings == wanted.warnings
        assert wanted.record == {}
        return dict(opened.record)


def test_the_registry():
    assert set(SOURCES) == {"file", "http", "s3", "dandi"}


@pytest.mark.parametrize("path", [FILE, ZARR, ZARR + "/"])
def test_a_web_server(archive, dandiset_folder, path):
    record = same_data(archive.file_url(path), dandiset_folder / path)
    assert record["url"] == archive.file_url(path)
    assert record["bytes_transferred"] == archive.counts.bytes
    assert json.loads(json.dumps(record)) == record


@pytest.mark.parametrize("path", [FILE, ZARR])
def test_names_may_lie(archive, dandiset_folder, path):
    for name in ("plain", "x.nwb", "x.zarr", "x.lindi.json"):
        (dandiset_folder / path).rename(dandiset_folder / name)
        same_data(archive.file_url(name), dandiset_folder / name)
        (dandiset_folder / name).rename(dandiset_folder / path)


def test_inspecting_reads_from_a_web_server(archive, dandiset_folder):
    remote, local = inspect(archive.file_url(FILE)), inspect(dandiset_folder / FILE)
    assert (remote.uri, remote.format) == (archive.file_url(FILE), local.format)
    assert remote.problems == local.problems


def test_a_query_is_sent_but_not_shown_if_it_is_secret(archive, dandiset_folder):
    with open_source(archive.file_url(FILE) + "?X-Amz-Signature=abc") as opened:
        assert opened.uri == archive.file_url(FILE)
        assert "abc" not in json.dumps(dict(opened.record))
    error = refused(archive.file_url("none.nwb") + "?token=abc", "not found")
    assert "abc" not in str(error)


def test_user_and_password_go_into_a_header():
    located = locate_http(parse("https://me:p%40ss@example.org/x.nwb"))
    assert located.url() == "https://example.org/x.nwb"
    assert base64.b64decode(located.headers["Authorization"].removeprefix("Basic ")) == b"me:p@ss"
    assert "ss" not in repr(located)


@pytest.mark.parametrize("path", ["none.nwb", "none.nwb.zarr", "sub-1", "sub-1/"])
def test_what_is_not_there(archive, path):
    error = refused(archive.file_url(path), "not found")
    assert error.where == archive.file_url(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"hello" * 100, "neither HDF5 nor a Zarr store nor a lindi file"),
        (b"", "empty"),
        (b"<html>", "neither HDF5"),
        (b'{"a": 1}', "not a lindi file"),
        (b"{", "not a lindi file"),
        (b"\x89HDF\r\n\x1a\n" + b"\0" * 100, "HDF5 cannot open|not HDF5|truncated"),
    ],
)
def test_what_is_no_recording(archive, dandiset_folder, content, says):
    (dandiset_folder / "x.nwb").write_bytes(content)
    assert refused(archive.file_url("x.nwb"), says).where == archive.file_url("x.nwb")


def test_a_server_that_is_gone(archive):
    archive.close()
    for path in (FILE, ZARR):
        refused(archive.file_url(path), "did not deliver.*Check the connection")


def test_errors_name_the_place_once():
    for where, says in (("u, chunk 3", "u, chunk 3: broken"), ("/units", "u, /units: broken"), (None, "u: broken")):
        with pytest.raises(InputError, match=f"^{says}$"), naming("u"):
            raise InputError("broken", where=where)


# -- buckets


def test_a_bucket(archive, dandiset_folder, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", archive.data_url)
    for path in (FILE, ZARR):
        record = same_data(f"s3://files/{path}", dandiset_folder / path)
        assert record["bucket"] == "files"
        assert record["key"] == path
    assert refused("s3://files/none.nwb", "not found").where == "s3://files/none.nwb"


def test_the_region_of_a_bucket(monkeypatch):
    answers = []

    def head(url, **settings):
        answers.append(url)
        response = requests.Response()
        response.status_code, response.headers["x-amz-bucket-region"] = 301, "eu-west-1"
        return response

    monkeypatch.setattr(requests, "head", head)
    s3._stated_region.cache_clear()
    for _ in range(2):
        located = s3.locate_s3(S3Address("bucket-of-the-test", "x.nwb"), RemoteOptions())
        assert located.url() == "https://bucket-of-the-test.s3.eu-west-1.amazonaws.com/x.nwb"
    assert answers == ["https://bucket-of-the-test.s3.amazonaws.com/"]
    given = s3.locate_s3(S3Address("other-bucket", "x.nwb", "us-west-2"), RemoteOptions())
    assert given.url() == "https://other-bucket.s3.us-west-2.amazonaws.com/x.nwb"
    assert len(answers) == 1


def test_a_bucket_that_cannot_be_reached(monkeypatch):
    def head(url, **settings):
        raise requests.ConnectionError

    monkeypatch.setattr(requests, "head", head)
    s3._stated_region.cache_clear()
    refused("s3://bucket-of-the-test/x.nwb", "Amazon's server cannot be reached")


@pytest.mark.parametrize(
    ("stated", "host"),
    [("eu-west-1", "s3.eu-west-1.amazonaws.com"), ("evil.example/", "s3.amazonaws.com"), ("", "s3.amazonaws.com")],
)
def test_a_bucket_s_region_is_asked_again_and_not_believed_blindly(monkeypatch, stated, host):
    answers = [requests.ConnectionError(), 503, 301]

    def head(url, **settings):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        response = requests.Response()
        response.status_code, response.headers["x-amz-bucket-region"] = answer, stated
        return response

    monkeypatch.setattr(requests, "head", head)
    s3._stated_region.cache_clear()
    located = s3.locate_s3(S3Address("bucket-of-the-test", "x.nwb"), RemoteOptions(backoff=0.001))
    assert located.url() == f"https://bucket-of-the-test.{host}/x.nwb"


# -- Zarr


def test_zarr_is_read_in_parallel_and_only_what_is_needed(archive, dandiset_folder):
    with open_source(archive.file_url(ZARR)) as opened:
        archive.reset_counts()
        opened.nwbfile.processing["ophys"]["observed"].data[:]
    chunks = dandiset_folder / ZARR / "processing/ophys/observed/data"
    assert archive.counts.requests == len([one for one in chunks.iterdir() if not one.name.startswith(".")])


def test_zarr_without_consolidated_metadata(archive, dandiset_folder):
    (dandiset_folder / ZARR / ".zmetadata").unlink()
    refused(archive.file_url(ZARR), "no consolidated metadata.*zarr.consolidate_metadata")


def test_zarr_3(archive, dandiset_folder):
    (dandiset_folder / ZARR / ".zmetadata").unlink()
    (dandiset_folder / ZARR / "zarr.json").write_text("{}")
    refused(archive.file_url(ZARR), "this is a Zarr 3 store")


@pytest.mark.parametrize("content", ["{", "[]", '{"metadata": 3}', '{"metadata": {".zgroup": 3}}', "[" * 100_000])
def test_damaged_metadata(archive, dandiset_folder, content):
    (dandiset_folder / ZARR / ".zmetadata").write_text(content)
    refused(archive.file_url(ZARR), "consolidated metadata are damaged")


def change_metadata(folder, change):
    path = folder / ZARR / ".zmetadata"
    system = json.loads(path.read_text())
    change(system["metadata"])
    path.write_text(json.dumps(system))


def test_zarr_that_is_not_nwb_2(archive, dandiset_folder):
    change_metadata(dandiset_folder, lambda metadata: metadata[".zattrs"].update(nwb_version="1.0.6"))
    refused(archive.file_url(ZARR), r"this is NWB 1\.0\.6")


def test_a_link_out_of_a_store_is_refused(archive, dandiset_folder):
    def change(metadata):
        reference = metadata["units/.zattrs"]["zarr_link"] = [
            {"name": "x", "source": "../../../../etc", "path": "/units", "object_id": None, "source_object_id": "y"}
        ]
        assert reference

    change_metadata(dandiset_folder, change)
    refused(archive.file_url(ZARR), r"refers to an object in another one \(../../../../etc\)")


def test_pickled_objects_are_not_loaded(archive, dandiset_folder):
    with open_source(archive.file_url(ZARR)) as opened:
        groups = opened.nwbfile.electrodes["group"].data
        with pytest.raises(InputError, match="pickled objects") as caught:
            groups[0]
        assert "/general/extracellular_ephys/electrodes/group" in caught.value.where


def test_a_damaged_chunk_of_an_asset_is_noticed(archive, dandiset_folder):
    chunk = "processing/ophys/observed/data/0.0"
    archive.faults = Faults(path=f"{ZARR}/{chunk}", flip_at=20)
    with open_source(f"DANDI:000999/{ZARR}") as opened:
        data = opened.nwbfile.processing["ophys"]["observed"].data
        with pytest.raises(InputError, match=f"what arrived of {chunk} is damaged"):
            data[:]


def test_zarr_cannot_be_verified_as_a_whole(archive, use_archive):
    use_archive(archive, verify=True)
    refused(f"DANDI:000999/{ZARR}", "cannot be verified as a whole")


def test_absent_chunks_are_told(archive, dandiset_folder):
    for path in (dandiset_folder / ZARR / "processing/ophys/observed/data").iterdir():
        if not path.name.startswith("."):
            path.unlink()
    with open_source(archive.file_url(ZARR)) as opened:
        assert opened.absences() == ()
        assert not opened.nwbfile.processing["ophys"]["observed"].data[:].any()
        (told,) = opened.absences()
        assert "fill values" in told
        assert "processing/ophys/observed/data/" in told


def test_a_session_tells_of_absent_chunks(archive, dandiset_folder):
    uri = archive.file_url(ZARR)
    whole = read_session(uri, behavior="observed")
    assert not any("absent" in note for note in whole.provenance["notes"])
    data = "processing/ophys/observed/data"
    next(path for path in (dandiset_folder / ZARR / data).iterdir() if path.name[0] != ".").unlink()
    again = read_session(uri, behavior="observed")
    assert any("absent" in note and data in note for note in again.provenance["notes"])


# -- parts of a file in other files


def _linked(file):
    file["acquisition/x"] = h5py.ExternalLink("other.h5", "/processing/ophys/observed/data")


def _stored_here(file):
    file.create_dataset("acquisition/x", (8,), "u1", external=[("/etc/hostname", 0, 8)])


def _virtual(file):
    stored = file["processing/ophys/observed/data"]
    layout = h5py.VirtualLayout(stored.shape, stored.dtype)
    layout[:] = h5py.VirtualSource("other.h5", stored.name, stored.shape)
    file.create_virtual_dataset("acquisition/x", layout)


@pytest.mark.parametrize("change", [_linked, _stored_here, _virtual])
def test_a_remote_file_with_parts_elsewhere_is_refused(archive, dandiset_folder, change):
    with h5py.File(dandiset_folder / FILE, "a") as file:
        change(file)
    error = refused(archive.file_url(FILE), "lies in another file")
    assert error.where == f"{archive.file_url(FILE)}, /acquisition/x"
    assert "Download it with the files next to it" in error.remedy


def test_a_virtual_dataset_of_the_file_itself_is_read(archive, dandiset_folder):
    local = dandiset_folder / FILE
    with h5py.File(local, "a") as file:
        stored = file["processing/ophys/observed/data"]
        layout = h5py.VirtualLayout(stored.shape, stored.dtype)
        layout[:] = h5py.VirtualSource(".", "/processing/ophys/observed/stored", stored.shape)
        file.move(stored.name, "/processing/ophys/observed/stored")
        virtual = file.create_virtual_dataset("processing/ophys/observed/data", layout)
        virtual.attrs.update(dict(stored.attrs))
    same_data(archive.file_url(FILE), local)


# -- files below a root


@pytest.mark.parametrize(
    ("text", "number"), [("12", 12), ("", None), (None, None), ("9" * 5000, None), ("-1", None), ("١٢", None)]
)
def test_numbers_in_headers(text, number):
    assert stores._whole_number(text) == number


@pytest.fixture
def folder(archive):
    located = LocatedStore("shown", lambda path: archive.file_url(path), {"Authorization": "Basic x"})
    reader = WebFolder(located, RemoteOptions(backoff=0.001, tries=3, timeout=5))
    yield reader
    reader.close()


@pytest.mark.parametrize(
    "faults",
    [
        Faults(statuses=(500, 503)),
        Faults(statuses=(429,), retry_after=0),
        Faults(drop_after=10),
        Faults(truncate=True, times=2),
    ],
)
def test_files_survive_what_passes(archive, folder, dandiset_folder, faults):
    archive.faults = faults
    assert folder.read("dandiset.yaml") == (dandiset_folder / "dandiset.yaml").read_bytes()
    assert folder.bytes == (dandiset_folder / "dandiset.yaml").stat().st_size


def test_files_that_cannot_be_had(archive, folder):
    assert folder.read("none") is None
    assert folder.read_all(["none", "dandiset.yaml"]).keys() == {"dandiset.yaml"}
    assert folder.absent == 2
    for faults, says in (
        (Faults(statuses=(503,) * 3), r"did not deliver dandiset.yaml: it answered 503, 3 times in a row"),
        (Faults(truncate=True, times=None), "did not deliver dandiset.yaml"),
        (Faults(statuses=(403,)), r"access to dandiset.yaml was refused \(403\)"),
        (Faults(statuses=(418,)), "answered 418"),
    ):
        archive.faults = faults
        with pytest.raises(InputError, match=says):
            folder.read("dandiset.yaml")


def test_headers_are_sent_home_only(archive, folder):
    folder.read("dandiset.yaml")
    assert archive.counts.data_tokens == 1
    asset = archive.asset("dandiset.yaml").asset_id
    url = f"{archive.api_url}/assets/{asset}/download/"
    redirecting = LocatedStore("shown", lambda path: url, folder.located.headers)
    reader = WebFolder(redirecting, RemoteOptions(tries=1, timeout=5))
    archive.reset_counts()
    assert reader.read("x")
    reader.close()
    assert (archive.counts.api_tokens, archive.counts.data_tokens) == (1, 0)
