"""From an address of an archive to the open file: versions, patterns, embargo, and what is said when it fails."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from ndx_synapsnet.benchmark.archive import Faults
from ndx_synapsnet.errors import InputError
from ndx_synapsnet.nwb.readers import read_session
from ndx_synapsnet.nwb.sources import expand, open_source
from ndx_synapsnet.nwb.sources.dandi import locate_dandi
from ndx_synapsnet.nwb.sources.dandi_client import ArchiveClient, find_token, token_variable
from ndx_synapsnet.nwb.sources.remote.location import Located
from ndx_synapsnet.nwb.sources.remote.options import CacheConfig, RemoteOptions, current_options, use_options
from ndx_synapsnet.nwb.sources.stores import LocatedStore
from ndx_synapsnet.nwb.sources.uri import parse

FILE = "sub-1/sub-1_ses-1.nwb"
ZARR = "sub-2/sub-2_ses-2.nwb.zarr"


def locate(text):
    options = current_options()
    return locate_dandi(parse(text, instance=options.instance), options)


def fetch(url, **headers):
    import requests

    return requests.get(url, headers=headers, timeout=5)


def refused(text, says):
    with pytest.raises(InputError, match=says) as caught, open_source(text):
        pass
    message = str(caught.value)
    assert "X-Amz" not in message
    assert "token-" not in message
    return message


def test_an_asset_by_path(archive, use_archive, dandiset_folder):
    use_archive(archive)
    located = locate(f"DANDI:000999/{FILE}")
    assert isinstance(located, Located)
    assert located.uri == f"dandi://127.0.0.1:{archive.port}/000999/{FILE}"
    assert "?" not in located.url()  # public: an address that does not expire
    content = (dandiset_folder / FILE).read_bytes()
    assert fetch(located.url()).content == content
    assert located.size == len(content)
    assert located.digest == "sha256:" + archive.digests(dandiset_folder / FILE)["dandi:sha2-256"]
    assert located.headers == {}
    record = json.loads(json.dumps(located.record))
    assert record["version"] == "0.260101.0001"
    assert record["dandiset"] == "000999"
    assert record["asset_id"] == archive.asset(FILE).asset_id
    assert record["path"] == FILE
    assert record["api"] == archive.api_url
    assert archive.counts.api_tokens == 0


def test_the_archive_s_other_addresses_of_an_asset(archive, use_archive):
    use_archive(archive)
    asset = archive.asset(FILE).asset_id
    version = f"{archive.api_url}/dandisets/000999/versions/0.260101.0001"
    for text in (
        f"DANDI:000999@0.260101.0001/{FILE}",
        f"DANDI:000999/0.260101.0001/{FILE}",
        f"dandi://127.0.0.1:{archive.port}/000999/{FILE}",
        f"{archive.url}/dandiset/000999/draft/files?location={FILE}",
        f"{archive.api_url}/assets/{asset}/download/",
        f"{version}/assets/{asset}/",
        f"{version}/assets/?path={FILE}",
    ):
        located = locate(text)
        assert located.record["asset_id"] == asset, text
        known = "draft" if "draft" in text else None if "/api/assets" in text else "0.260101.0001"
        assert located.record["version"] == known, text


def test_published_and_draft(make_archive, use_archive):
    use_archive(make_archive(published=("0.1.0", "0.2.0"), draft_only=(FILE,)))
    assert locate(f"DANDI:000999/{ZARR}").record["version"] == "0.2.0"
    assert locate(f"DANDI:000999@0.1.0/{ZARR}").record["version"] == "0.1.0"
    assert locate(f"DANDI:000999@draft/{FILE}").record["version"] == "draft"
    refused(f"DANDI:000999/{FILE}", "no such asset.*Version 0.2.0 of dandiset 000999 has sub-1/sub-1_ses-2.nwb")


def test_a_dandiset_never_published(make_archive, use_archive):
    archive = make_archive(published=())
    use_archive(archive)
    assert locate(f"DANDI:000999/{FILE}").record["version"] == "draft"
    assert expand("DANDI:000999/sub-1/*") == [
        f"dandi://127.0.0.1:{archive.port}/000999@draft/sub-1/sub-1_ses-{n}.nwb" for n in (1, 2)
    ]


def test_patterns(make_archive, use_archive):
    archive = make_archive(page_size=1)
    use_archive(archive)
    root = f"dandi://127.0.0.1:{archive.port}/000999@0.260101.0001"
    nwb = ["sub-1/sub-1_ses-1.nwb", "sub-1/sub-1_ses-2.nwb", "sub-2/sub-2_ses-1.nwb"]
    assert expand("DANDI:000999/sub-*/*ses-*.nwb") == [f"{root}/{path}" for path in nwb]
    assert expand("DANDI:000999/**/*.nwb*") == [f"{root}/{path}" for path in [*nwb, ZARR]]
    assert expand("DANDI:000999/sub-[2]/*_ses-?.nwb") == [f"{root}/{nwb[2]}"]
    assert expand("DANDI:000999/*") == [f"{root}/dandiset.yaml"]  # a star keeps within its folder
    for uri in expand("DANDI:000999/sub-1/*"):
        assert locate(uri).record["version"] == "0.260101.0001"


def test_expanding_what_is_no_pattern_asks_nobody():
    assert expand("DANDI:000021/sub-x/y.nwb") == ["DANDI:000021/sub-x/y.nwb"]
    assert expand("dandi:000021/0.1.2/y.nwb") == ["DANDI:000021@0.1.2/y.nwb"]
    assert expand("https://h/x.nwb?sig=1") == ["https://h/x.nwb?sig=1"]


def test_what_is_not_there(archive, use_archive):
    use_archive(archive)
    refused("DANDI:000999/sub-1/sub-1_ses-9.nwb", "no such asset: withdrawn, or misspelt.*has sub-1/sub-1_ses-")
    refused("DANDI:000999/nowhere/x.nwb", "no such asset.*has .*sub-")
    refused("DANDI:000999/sub-1", r"this is a folder.*Name a file, such as .*ses-1.nwb, or a pattern: .*/sub-1/\*.nwb")
    refused("DANDI:000999", "this is a whole dandiset")
    refused("DANDI:000998/x.nwb", "has no dandiset 000998.*--instance")
    refused("DANDI:000998@0.1.0/x.nwb", "has no dandiset 000998")
    refused("DANDI:000999@0.1.0/x.nwb", "dandiset 000999 has no version 0.1.0. It has: 0.260101.0001, draft")
    refused("DANDI:000999@0.1.0/*.nwb", "dandiset 000999 has no version 0.1.0")
    refused("DANDI:000998/*.nwb", "has no dandiset 000998")
    refused("DANDI:000999/sub-3/*.nwb", "no asset fits this pattern.*has .*sub-")
    refused("DANDI:000999/sub-1/*.nwb", "2 recordings fit this pattern. Name one of them: .*ses-1.nwb, .*ses-2.nwb")
    other = "9e26387b-a196-5175-bad3-342d6756d5a2"
    refused(f"{archive.api_url}/assets/{other}/", "no asset of this id: it was withdrawn")
    refused(f"{archive.api_url}/dandisets/000999/versions/draft/assets/{other}/", "no asset of this id")


def test_a_withdrawn_asset(archive, use_archive):
    use_archive(archive)
    asset = archive.asset(FILE).asset_id
    archive.faults = Faults(withdrawn=(FILE,))
    refused(f"DANDI:000999/{FILE}", "withdrawn, or misspelt.*sub-1/sub-1_ses-2.nwb")
    refused(f"{archive.api_url}/assets/{asset}/download/", "withdrawn")


def test_an_archive_that_fails_now_and_then(archive, use_archive):
    use_archive(archive)
    archive.faults = Faults(api_statuses=(503, 429, 0, 500), retry_after=0)
    assert locate(f"DANDI:000999/{FILE}").record["path"] == FILE


def test_an_archive_that_fails(archive, use_archive):
    use_archive(archive)
    archive.faults = Faults(api_statuses=(503,) * 9)
    refused(f"DANDI:000999/{FILE}", r"does not answer \(it answered 503\).*try again later")
    assert len(archive.counts.api) == 3


def test_an_archive_that_is_gone(archive, use_archive):
    use_archive(archive)
    archive.close()
    for text in (f"DANDI:000999/{FILE}", "DANDI:000999/*.nwb"):
        refused(text, "does not answer.*Check the network connection")


def test_what_is_no_archive(archive, use_archive):
    with use_options(RemoteOptions(instance=archive.data_url, tries=1)):
        refused("DANDI:000999/x.nwb", "has no dandiset")
    with use_options(RemoteOptions(instance="nowhere")):
        refused("DANDI:000999/x.nwb", "no archive named 'nowhere'")


@pytest.mark.parametrize("answer", [b"<html>", b"[]", b"{}", b"null", b'{"identifier": 7}'])
def test_an_archive_that_answers_nonsense(answer, dandiset_folder, use_archive, monkeypatch, make_archive):
    from aiohttp import web

    from ndx_synapsnet.benchmark import archive_server

    async def nonsense(self, request):
        return web.Response(body=answer, content_type="application/json")

    monkeypatch.setattr(archive_server._Api, "dandiset", nonsense)
    archive = make_archive()
    use_archive(archive)
    refused(f"DANDI:000999/{FILE}", "not understood|something else than an archive")


def test_embargo_without_a_token(make_archive, use_archive):
    archive = make_archive(embargoed=True)
    use_archive(archive)
    for text in (f"DANDI:000999/{FILE}", f"DANDI:000999/{ZARR}", "DANDI:000999/sub-1/*"):
        refused(text, "embargoed or private, and there is no token. Set DANDI_API_KEY")


def test_embargo_with_a_wrong_token(make_archive, use_archive, monkeypatch):
    archive = make_archive(embargoed=True)
    use_archive(archive)
    monkeypatch.setenv("DANDI_API_KEY", "token-that-is-wrong")
    refused(f"DANDI:000999/{FILE}", "refuses the token.*Set DANDI_API_KEY")


def test_embargo_with_the_token(make_archive, use_archive, monkeypatch, dandiset_folder):
    archive = make_archive(embargoed=True)
    use_archive(archive)
    monkeypatch.setenv("DANDI_API_KEY", archive.token)
    located = locate(f"DANDI:000999/{FILE}")
    assert "X-Amz-Signature" in located.url()
    assert located.headers == {}  # the address is what opens it
    assert fetch(located.url()).content == (dandiset_folder / FILE).read_bytes()
    assert archive.counts.data_tokens == 0
    assert "X-Amz" not in repr(located) + json.dumps(located.record) + located.uri
    assert archive.token not in repr(located) + json.dumps(located.record)
    assert len(expand("DANDI:000999/sub-1/*")) == 2


def test_an_expired_address_is_renewed(make_archive, use_archive, monkeypatch):
    archive = make_archive(embargoed=True, faults=Faults(expire_requests=1))
    use_archive(archive)
    monkeypatch.setenv("DANDI_API_KEY", archive.token)
    located = locate(f"DANDI:000999/{FILE}")
    assert [fetch(located.url()).status_code for _ in range(2)] == [200, 403]
    assert fetch(located.refresh()).status_code == 200
    archive.faults = Faults(withdrawn=(FILE,))
    with pytest.raises(InputError, match="no longer has this"):
        located.refresh()


def test_the_token_goes_to_the_api_only(make_archive, use_archive, monkeypatch):
    archive = make_archive(embargoed=True)
    use_archive(archive)
    monkeypatch.setenv("DANDI_API_KEY", archive.token)
    with ArchiveClient(archive.api_url, current_options(), where="x") as client:
        client.get("/dandisets/000999/")
        assert client.uses_token
        with pytest.raises(InputError, match="refers to another server"):
            client.get(f"{archive.data_url}/files/{FILE}", json_resp=False)
        assert client.session.get(archive.file_url(FILE), timeout=5).ok  # nor past the client's own check
    assert archive.counts.data_tokens == 0


def test_no_token_over_an_insecure_line(monkeypatch):
    monkeypatch.setenv("ARCHIVE_EXAMPLE_ORG_API_KEY", "secret")
    with ArchiveClient("http://archive.example.org/api", RemoteOptions(), where="x") as client:
        with pytest.raises(InputError, match="not sent over an insecure connection"):
            client._take_token(None)
        assert not client.uses_token


def test_where_tokens_are_looked_for(monkeypatch):
    assert token_variable("dandi") == "DANDI_API_KEY"
    assert token_variable("dandi-sandbox") == "DANDI_SANDBOX_API_KEY"
    assert token_variable("archive.example.org") == "ARCHIVE_EXAMPLE_ORG_API_KEY"
    assert token_variable("127.0.0.1:8000") == "DANDI_API_KEY"
    monkeypatch.setenv("DANDI_API_KEY", "for dandi")
    assert find_token("dandi") == "for dandi"
    assert find_token("archive.example.org") is None  # another archive never sees it


def test_a_token_in_the_keyring(monkeypatch):
    import keyring.backend
    from keyrings.alt.file import EncryptedKeyring

    class Backend(keyring.backend.KeyringBackend):
        priority = 1

        def set_password(self, service, username, password):
            raise NotImplementedError

        def get_password(self, service, username):
            raise NotImplementedError

    class Plain(Backend):
        def get_password(self, service, username):
            return {("dandi-api-linc", "key"): "from the keyring"}.get((service, username))

    class Asking(EncryptedKeyring):
        def get_password(self, service, username):
            raise AssertionError("it would ask for a password")

    for backend, found in ((Plain(), "from the keyring"), (Asking(), None), (Backend(), None)):
        monkeypatch.setattr("keyring.core.load_env", lambda backend=backend: backend)
        assert find_token("linc") == found
        assert find_token("dandi") is None


def test_a_zarr_asset(archive, use_archive, dandiset_folder):
    use_archive(archive)
    located = locate(f"DANDI:000999/{ZARR}/")
    assert isinstance(located, LocatedStore)
    assert fetch(located.url(".zgroup")).content == (dandiset_folder / ZARR / ".zgroup").read_bytes()


@pytest.mark.parametrize("embargoed", [False, True])
def test_a_recording_in_zarr_is_the_local_one(embargoed, make_archive, use_archive, dandiset_folder, monkeypatch):
    archive = make_archive(embargoed=embargoed)
    use_archive(archive)
    monkeypatch.setenv("DANDI_API_KEY", archive.token)
    remote = read_session(f"DANDI:000999/{ZARR}")
    same_session(remote, read_session(dandiset_folder / ZARR))
    record = remote.provenance["remote"]
    assert record["bytes_transferred"] == archive.counts.bytes > 0
    assert record["absent_files"] == 0
    assert record["integrity"] == "unverified"
    assert archive.counts.data_tokens == 0
    assert (archive.counts.api_tokens > 0) == embargoed


def test_zarr_without_its_extra(archive, use_archive, monkeypatch):
    use_archive(archive)
    for module in ("zarr_store", "zarr_safety"):
        monkeypatch.delitem(sys.modules, f"ndx_synapsnet.nwb.sources.{module}", raising=False)
    monkeypatch.setitem(sys.modules, "hdmf_zarr", None)
    refused(f"DANDI:000999/{ZARR}", r"hdmf-zarr.*ndx-synapsnet\[zarr\]")


def same_session(remote, local):
    for name in ("activity", "times", "segment", "valid", "behavior"):
        np.testing.assert_array_equal(getattr(remote, name), getattr(local, name))
        assert getattr(remote, name).dtype == getattr(local, name).dtype
    assert remote.neurons == local.neurons
    for key in set(local.provenance) - {"uri", "remote"}:
        assert remote.provenance[key] == local.provenance[key], key
    json.dumps(remote.provenance)


@pytest.mark.parametrize("embargoed", [False, True])
def test_a_recording_in_hdf5_is_the_local_one(
    embargoed, make_archive, use_archive, dandiset_folder, monkeypatch, tmp_path
):
    archive = make_archive(embargoed=embargoed)
    use_archive(archive, cache=CacheConfig(tmp_path / "cache"))
    monkeypatch.setenv("DANDI_API_KEY", archive.token)
    remote = read_session(f"DANDI:000999/{FILE}")
    same_session(remote, read_session(dandiset_folder / FILE))
    record = remote.provenance["remote"]
    assert record["version"] == "0.260101.0001"
    assert record["size"] == (dandiset_folder / FILE).stat().st_size
    assert record["integrity"] == "unverified"
    assert record["bytes_transferred"] == archive.counts.bytes > 0
    assert archive.counts.data_tokens == 0
    archive.reset_counts()
    again = read_session(f"DANDI:000999/{FILE}")
    same_session(again, remote)
    assert archive.counts.bytes == again.provenance["remote"]["bytes_transferred"] == 0


def test_an_address_that_expires_in_mid_read(make_archive, use_archive, dandiset_folder, monkeypatch):
    archive = make_archive(embargoed=True, faults=Faults(expire_requests=1))
    use_archive(archive)
    monkeypatch.setenv("DANDI_API_KEY", archive.token)
    same_session(read_session(f"DANDI:000999/{FILE}"), read_session(dandiset_folder / FILE))


def test_a_verified_recording(archive, use_archive, dandiset_folder):
    use_archive(archive, verify=True)
    session = read_session(f"DANDI:000999/{FILE}")
    assert session.provenance["remote"]["integrity"] == "verified"
    archive.faults = Faults(flip_at=(dandiset_folder / FILE).stat().st_size // 2)
    refused(f"DANDI:000999/{FILE}", "the content is damaged: its sha256 is .*, the archive's record says")
