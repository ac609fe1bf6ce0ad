"""The loopback archive itself: DANDI's own client understands it, and each fault is what it says."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time

import pytest
import requests
from dandi.dandiapi import DandiAPIClient
from dandi.exceptions import NotFoundError

from ndx_synapsnet.benchmark.archive import Faults, Line
from ndx_synapsnet.errors import InputError

FILE = "sub-1/sub-1_ses-1.nwb"
ZARR = "sub-2/sub-2_ses-2.nwb.zarr"


@pytest.fixture
def content(dandiset_folder):
    return (dandiset_folder / FILE).read_bytes()


def get(archive, start=None, stop=None, path=FILE, **headers):
    if start is not None:
        headers["Range"] = f"bytes={start}-{stop - 1}"
    return requests.get(archive.file_url(path), headers=headers, timeout=5)


def test_dandi_s_client_lists_and_finds(make_archive):
    archive = make_archive(page_size=2, published=("0.1.0", "0.2.0"), draft_only=(FILE,))
    everything = ["dandiset.yaml", FILE, "sub-1/sub-1_ses-2.nwb", "sub-2/sub-2_ses-1.nwb", ZARR]
    with DandiAPIClient(archive.api_url) as client:
        dandiset = client.get_dandiset(archive.dandiset)
        assert dandiset.version_id == "0.2.0"
        assert {str(version) for version in dandiset.get_versions()} == {"0.1.0", "0.2.0", "draft"}
        assert [asset.path for asset in dandiset.get_assets(order="path")] == [p for p in everything if p != FILE]
        draft = client.get_dandiset(archive.dandiset, "draft")
        assert [asset.path for asset in draft.get_assets(order="path")] == everything
        assert [asset.path for asset in draft.get_assets(order="-path")] == everything[::-1]
        assert len(list(draft.get_assets_by_glob("SUB-*/*ses-1.nwb"))) == 2
        assert draft.get_asset_by_path(FILE).identifier == archive.asset(FILE).asset_id
        with pytest.raises(NotFoundError):
            dandiset.get_asset_by_path(FILE)
        with pytest.raises(NotFoundError):
            client.get_dandiset("000998", lazy=False)
    pages = [request for request in archive.counts.api if "page=" in request]
    assert len(pages) > 2


def test_dandi_s_client_streams(archive, content):
    with DandiAPIClient(archive.api_url) as client:
        asset = client.get_asset(archive.asset(FILE).asset_id)
        assert asset.size == len(content)
        assert asset.get_raw_digest("dandi:sha2-256") == hashlib.sha256(content).hexdigest()
        signed = asset.get_content_url(follow_redirects=1)
        plain = asset.get_content_url(follow_redirects=1, strip_query=True)
        assert "X-Amz-Signature" in signed
        for url in (signed, plain):
            assert requests.get(url, timeout=5).content == content
        assert requests.head(signed, timeout=5).status_code == 403  # signed for GET
        assert requests.get(signed[:-1] + "x", timeout=5).status_code == 403
        zarr = client.get_asset(archive.asset(ZARR).asset_id)
        assert {str(entry) for entry in zarr.iterfiles()} >= {".zmetadata", ".zgroup"}
        assert b"".join(next(zarr.iterfiles(".zgroup")).get_download_file_iter()(0)).startswith(b"{")


def test_an_embargoed_archive_wants_the_token(make_archive):
    archive = make_archive(embargoed=True)
    with pytest.raises(requests.HTTPError), DandiAPIClient(archive.api_url, token="wrong"):
        pass
    with DandiAPIClient(archive.api_url, token=archive.token) as client:
        asset = client.get_asset(archive.asset(FILE).asset_id)
        signed = asset.get_content_url(follow_redirects=1)
    assert requests.get(signed, timeout=5).status_code == 200
    assert requests.get(signed.partition("?")[0], timeout=5).status_code == 403
    url = f"{archive.api_url}/assets/{asset.identifier}/"
    assert requests.get(url, timeout=5).status_code == 401
    assert archive.counts.data_tokens == 0


def test_ranges_and_conditions(archive, content):
    answer = get(archive, 10, 20)
    assert (answer.status_code, answer.content) == (206, content[10:20])
    assert answer.headers["Content-Range"] == f"bytes 10-19/{len(content)}"
    etag = answer.headers["ETag"]
    assert get(archive, 10, 20, **{"If-Match": etag}).status_code == 206
    assert get(archive, 10, 20, **{"If-Match": '"other"'}).status_code == 412
    assert get(archive, len(content), len(content) + 1).status_code == 416
    assert get(archive, len(content) - 5, len(content) + 50).content == content[-5:]
    assert requests.get(archive.file_url(FILE), headers={"Range": "bytes=-7"}, timeout=5).content == content[-7:]
    assert get(archive, path="sub-1/none.nwb").status_code == 404
    assert get(archive, path="..%2f..%2fetc/passwd").status_code == 404


def test_counts(archive, content):
    get(archive, 10, 20)
    get(archive)
    requests.head(archive.file_url(FILE), timeout=5)
    counts = archive.counts
    assert (counts.requests, counts.bytes, counts.by_method["HEAD"]) == (2, 10 + len(content), 1)
    assert counts.ranges == {FILE: [(10, 20), (0, len(content))]}
    assert counts.by_status == {206: 1, 200: 2}
    assert counts.bytes_by_path[FILE] == counts.bytes
    archive.reset_counts()
    assert archive.counts.requests == 0


def test_faulty_answers(archive, content):
    archive.faults = Faults(statuses=(503, 0, 429), retry_after=7)
    answers = [get(archive, 0, 10) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [503, 206, 429, 206]
    assert answers[2].headers["Retry-After"] == "7"
    archive.faults = Faults(ignore_range=True, after=1)
    assert [get(archive, 0, 10).status_code for _ in range(3)] == [206, 200, 206]
    archive.faults = Faults(short_range=True)
    short = get(archive, 0, 10)
    assert (short.content, short.headers["Content-Range"]) == (content[:5], f"bytes 0-4/{len(content)}")
    archive.faults = Faults(flip_at=3)
    assert get(archive, 0, 10).content == content[:3] + bytes([content[3] ^ 0x10]) + content[4:10]
    archive.faults = Faults(path="sub-2/*", statuses=(500,))
    assert get(archive, 0, 10).status_code == 206
    assert get(archive, 0, 10, path="sub-2/sub-2_ses-1.nwb").status_code == 500


@pytest.mark.parametrize("faults", [Faults(drop_after=1000), Faults(truncate=True)])
def test_broken_connections(archive, faults, content):
    archive.faults = faults
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        get(archive)
    assert archive.counts.bytes == (1000 if faults.drop_after else len(content) // 2)
    assert get(archive).content == content


def test_a_stall(archive):
    archive.faults = Faults(stall=30.0)
    with pytest.raises(requests.ConnectionError):
        requests.get(archive.file_url(FILE), timeout=0.3)


def test_a_replaced_object(archive, content):
    archive.faults = Faults(replace_after=1)
    first, second = get(archive, 0, 10), get(archive, 0, 10)
    assert first.headers["ETag"] != second.headers["ETag"]
    assert second.content != first.content == content[:10]
    assert get(archive, 0, 10, **{"If-Match": first.headers["ETag"]}).status_code == 412


@pytest.mark.parametrize("faults", [Faults(expire_requests=1), Faults(expire_seconds=0.0)])
def test_presigned_urls_expire(archive, faults):
    archive.faults = faults
    url = f"{archive.api_url}/assets/{archive.asset(FILE).asset_id}/download/"
    signed = requests.get(url, allow_redirects=False, timeout=5).headers["Location"]
    time.sleep(0.002)
    assert [requests.get(signed, timeout=5).status_code for _ in range(2)][-1] == 403


def test_a_withdrawn_asset(archive):
    asset = archive.asset(FILE)
    archive.faults = Faults(withdrawn=(FILE,), api_statuses=(500,))
    url = f"{archive.api_url}/assets/{asset.asset_id}/"
    assert [requests.get(url, timeout=5).status_code for _ in range(2)] == [500, 404]
    assert get(archive).status_code == 404


def test_the_line_takes_its_time(make_archive):
    archive = make_archive(line=Line(latency=0.05, connection_latency=0.05))
    began = time.monotonic()
    with requests.Session() as session:
        for _ in range(3):
            session.get(archive.file_url(FILE), headers={"Range": "bytes=0-9"}, timeout=5)
    assert time.monotonic() - began >= 4 * 0.05  # the server's own sleeps: a lower bound, not a timing
    assert archive.counts.connections == 1
    for line in (Line(bandwidth=1e6), Line(connection_bandwidth=1e6)):
        archive.line = line
        began = time.monotonic()
        get(archive, 0, 100_000)
        assert time.monotonic() - began >= 0.09


def test_closing_refuses_connections(archive):
    url = archive.file_url(FILE)
    archive.close()
    archive.close()
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=5)


def test_without_aiohttp(dandiset_folder, monkeypatch):
    from ndx_synapsnet.benchmark.archive import LoopbackArchive

    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(InputError, match=r"ndx-synapsnet\[benchmark\]"), LoopbackArchive(dandiset_folder):
        pass


def test_importing_it_imports_no_server():
    code = "import sys, ndx_synapsnet.benchmark.archive\nassert not {'aiohttp', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
