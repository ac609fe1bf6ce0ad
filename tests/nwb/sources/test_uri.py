"""The grammar of addresses: what each text means, and which are refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ndx_synapsnet.errors import InputError
from ndx_synapsnet.nwb.sources.dandi import of_instance, pattern_of
from ndx_synapsnet.nwb.sources.s3 import https_url
from ndx_synapsnet.nwb.sources.uri import DandiAddress, HttpAddress, LocalAddress, S3Address, parse, without_secrets

ASSET = "9e26387b-a196-5175-bad3-342d6756d5a2"
API = "https://api.dandiarchive.org/api"
OWN = "http://127.0.0.1:8123/api"


def dandi(dandiset=None, version=None, path="", asset=None, instance="dandi"):
    return DandiAddress(instance, dandiset, version, path, asset)


GRAMMAR = [
    # paths
    ("x.nwb", LocalAddress("x.nwb")),
    ("/data/a b/ü.nwb", LocalAddress("/data/a b/ü.nwb")),
    ("~/x.nwb", LocalAddress("~/x.nwb")),
    ("../x.nwb", LocalAddress("../x.nwb")),
    (" x.nwb", LocalAddress(" x.nwb")),
    ("C:\\data\\x.nwb", LocalAddress("C:\\data\\x.nwb")),
    ("C:/data/x.nwb", LocalAddress("C:/data/x.nwb")),
    ("\\\\server\\share\\x.nwb", LocalAddress("\\\\server\\share\\x.nwb")),
    ("file:///data/a%20b.nwb", LocalAddress("file:///data/a%20b.nwb")),
    ("FILE:///data/x.nwb", LocalAddress("FILE:///data/x.nwb")),
    ("data/sub-*/x.nwb", LocalAddress("data/sub-*/x.nwb")),
    ("./DANDI:000021", LocalAddress("./DANDI:000021")),
    ("12:30.nwb", LocalAddress("12:30.nwb")),
    # web servers
    ("https://example.org/x.nwb", HttpAddress("https://example.org/x.nwb")),
    ("HTTP://example.org:8080/x.nwb", HttpAddress("http://example.org:8080/x.nwb")),
    ("https://example.org/a b/ü.nwb", HttpAddress("https://example.org/a%20b/%C3%BC.nwb")),
    ("https://example.org/a%20b%2Fc.nwb", HttpAddress("https://example.org/a%20b%2Fc.nwb")),
    ("https://example.org/x.nwb?download=1#part", HttpAddress("https://example.org/x.nwb?download=1")),
    ("https://me:pass@example.org/x.nwb", HttpAddress("https://example.org/x.nwb", "me:pass")),
    ("https://[::1]:8080/x.nwb", HttpAddress("https://[::1]:8080/x.nwb")),
    ("https://example.org", HttpAddress("https://example.org/")),
    (
        "https://dandiarchive.s3.amazonaws.com/blobs/a/b/c",
        HttpAddress("https://dandiarchive.s3.amazonaws.com/blobs/a/b/c"),
    ),
    (
        "https://dandiarchive.org@evil.org/dandiset/000021",
        HttpAddress("https://evil.org/dandiset/000021", "dandiarchive.org"),
    ),
    (
        "https://api.dandiarchive.org.evil.org/api/assets/x/",
        HttpAddress("https://api.dandiarchive.org.evil.org/api/assets/x/"),
    ),
    # buckets
    ("s3://bucket/a/b.nwb", S3Address("bucket", "a/b.nwb")),
    ("S3://my.bucket/b%20c.nwb", S3Address("my.bucket", "b%20c.nwb")),
    ("s3://bucket/b.nwb?region=us-west-2&versionId=v1", S3Address("bucket", "b.nwb", "us-west-2", "v1")),
    ("s3://bucket/what?.nwb", S3Address("bucket", "what?.nwb")),
    ("s3://bucket/x.nwb.zarr/", S3Address("bucket", "x.nwb.zarr/")),
    # identifiers
    ("DANDI:000021", dandi("000021")),
    ("DANDI:000021/", dandi("000021")),
    ("DANDI:000021/sub-x/y.nwb", dandi("000021", None, "sub-x/y.nwb")),
    ("dandi:000021/sub-x/y.nwb", dandi("000021", None, "sub-x/y.nwb")),
    ("DANDI:000021@0.220126.0003/sub-x/y.nwb", dandi("000021", "0.220126.0003", "sub-x/y.nwb")),
    ("DANDI:000021/0.220126.0003/sub-x/y.nwb", dandi("000021", "0.220126.0003", "sub-x/y.nwb")),
    ("DANDI:000021/draft/sub-x/y.nwb", dandi("000021", "draft", "sub-x/y.nwb")),
    ("DANDI:000021@draft/0.1.2/y.nwb", dandi("000021", "draft", "0.1.2/y.nwb")),
    ("DANDI:000021/drafts/y.nwb", dandi("000021", None, "drafts/y.nwb")),
    ("DANDI:000021/sub-*/*ses-*.nwb", dandi("000021", None, "sub-*/*ses-*.nwb")),
    ("DANDI:000021/a%20b/%C3%BC.nwb", dandi("000021", None, "a b/ü.nwb")),
    ("DANDI:000021/sub-1/", dandi("000021", None, "sub-1/")),
    ("DANDI-SANDBOX:200000/x.nwb", dandi("200000", None, "x.nwb", instance="dandi-sandbox")),
    ("LINC:000001/x.nwb", dandi("000001", None, "x.nwb", instance="linc")),
    ("dandi://dandi/000021@0.1.2/sub-1/x.nwb", dandi("000021", "0.1.2", "sub-1/x.nwb")),
    ("dandi://EMBER-DANDI/000021/x.nwb", dandi("000021", None, "x.nwb", instance="ember-dandi")),
    ("dandi://dandi-sandbox/200000", dandi("200000", instance="dandi-sandbox")),
    ("https://identifiers.org/DANDI:000021/0.220126.0003", dandi("000021", "0.220126.0003")),
    # the archive's pages
    ("https://dandiarchive.org/dandiset/000021", dandi("000021")),
    ("https://dandiarchive.org/dandiset/000021/draft/", dandi("000021", "draft")),
    (
        "https://dandiarchive.org/dandiset/000021/0.1.2/files?location=sub-1%2Fa%20b.nwb&page=2",
        dandi("000021", "0.1.2", "sub-1/a b.nwb"),
    ),
    ("https://dandiarchive.org/#/dandiset/000021/draft/files?location=/sub-1", dandi("000021", "draft", "sub-1")),
    ("https://gui.dandiarchive.org/#/dandiset/000021", dandi("000021")),
    ("https://sandbox.dandiarchive.org/dandiset/200000", dandi("200000", instance="dandi-sandbox")),
    # its API
    (f"{API}/assets/{ASSET}/download/", dandi(asset=ASSET)),
    (f"{API}/assets/{ASSET.upper()}", dandi(asset=ASSET)),
    (f"{API}/assets/{ASSET}/info/", dandi(asset=ASSET)),
    (f"{API}/dandisets/000021/versions/draft/assets/{ASSET}/", dandi("000021", "draft", asset=ASSET)),
    (f"{API}/dandisets/000021/versions/draft/assets/?path=sub-1%2Fx.nwb", dandi("000021", "draft", "sub-1/x.nwb")),
    (f"{API}/dandisets/000021/versions/0.1.2/assets/?glob=sub-*/x.nwb", dandi("000021", "0.1.2", "sub-*/x.nwb")),
    (f"{API}/dandisets/000021/versions/0.1.2/", dandi("000021", "0.1.2")),
]


@pytest.mark.parametrize(("text", "means"), GRAMMAR)
def test_what_an_address_means(text, means):
    assert parse(text) == means


REFUSED = [
    ("", "no recording is named"),
    ("  ", "no recording is named"),
    ("a\0b", "NUL"),
    ("ftp://example.org/x.nwb", "ftp addresses are not understood"),
    ("gs://bucket/x.nwb", "gs addresses are not understood"),
    ("javascript:alert(1)", "javascript addresses are not understood"),
    ("https://exa\nmple.org/x.nwb", "control characters"),
    ("DANDI:000021/sub-1/\x1b[2Jx.nwb", "control characters"),
    ("DANDI:000021/sub-1/\u2028x.nwb", "control characters"),
    ("https:///x.nwb", "names no host"),
    ("https://exa mple.org/x.nwb", "names no host"),
    ("https://a:99999/x.nwb", "not a web address"),
    ("https://[::1/x.nwb", "not a web address"),
    ("https://example.org/*.nwb", "cannot be asked for a pattern"),
    ("s3://bucket", "names no object"),
    ("s3:bucket/x", "names no object"),
    ("s3://evil.org#/x.nwb", "names no object"),
    ("s3://a..b/x.nwb", "names no object"),
    ("s3://bucket/a/../x.nwb", "no object can be reached"),
    ("s3://bucket/*.nwb", "not searched for a pattern"),
    ("s3://bucket/x.nwb?region=evil.org/", "is no region"),
    ("DANDI:21/x.nwb", "names no dandiset"),
    ("DANDI:0000210/x.nwb", "names no dandiset"),
    ("DANDI:000021@1/x.nwb", "names no dandiset"),
    ("DANDI:", "names no dandiset"),
    ("DANDI:000021/../x.nwb", "no asset can have this path"),
    ("DANDI:000021/a/%2e%2e/x.nwb", "no asset can have this path"),
    ("DANDI:000021//etc/passwd", "no asset can have this path"),
    ("DANDI:000021/a\\b.nwb", "no asset can have this path"),
    ("DANDI:000021/a%00b.nwb", "no asset can have this path"),
    ("DANDI:000021/a%zz.nwb", "no asset can have this path"),
    ("DANDI:000021/%ff.nwb", "not UTF-8"),
    ("dandi://nowhere/000021/x.nwb", "no archive named nowhere"),
    ("dandi://127.0.0.1:8123/000021/x.nwb", "no archive named 127.0.0.1:8123"),
    ("dandi://dandi@evil.org/000021/x.nwb", "names no dandiset"),
    ("https://dandiarchive.org/dandiset/000021/draft/files?location=a/../b", "no asset can have this path"),
    (f"{API}/assets/not-an-id/download/", "names no asset"),
    (f"{API}/users/me/", "names no asset"),
]


@pytest.mark.parametrize(("text", "says"), REFUSED)
def test_what_is_refused(text, says):
    with pytest.raises(InputError, match=says) as caught:
        parse(text)
    assert not any(character in str(caught.value) for character in "\0\n\x1b\u2028")


def test_a_path_object_is_always_a_path():
    assert parse(Path("DANDI:000021")) == LocalAddress("DANDI:000021")


def test_a_file_that_is_named_like_an_address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("DANDI:000021", "s3:x.nwb", "ftp:x"):
        Path(name).touch()
        assert parse(name) == LocalAddress(name)
    # with two slashes it is an address, whatever lies here
    folder = tmp_path / "http:" / "example.org"
    folder.mkdir(parents=True)
    (folder / "x.nwb").touch()
    assert parse("http://example.org/x.nwb") == HttpAddress("http://example.org/x.nwb")


def test_another_archive():
    assert parse("DANDI:000021/x.nwb", instance=OWN) == dandi("000021", None, "x.nwb", instance=OWN)
    assert parse("LINC:000021/x.nwb", instance=OWN).instance == "linc"
    assert parse("DANDI:000021/x.nwb", instance="linc").instance == "linc"
    assert parse(f"{OWN}/assets/{ASSET}/download/", instance=OWN) == dandi(asset=ASSET, instance=OWN)
    assert parse("http://127.0.0.1:8123/dandiset/000021/draft", instance=OWN) == dandi("000021", "draft", instance=OWN)
    # without being told that it is an archive, it is a web server as any other
    assert isinstance(parse(f"{OWN}/assets/{ASSET}/download/"), HttpAddress)


@pytest.mark.parametrize(
    ("text", "instance"),
    [
        ("DANDI:000021@0.1.2/sub-1/x.nwb", "dandi"),
        ("LINC:000021/x.nwb", "dandi"),
        ("dandi://127.0.0.1:8123/000021@draft/sub-1/*.nwb", OWN),
        (f"{API}/dandisets/000021/versions/draft/assets/{ASSET}/", "dandi"),
        (f"{OWN}/assets/{ASSET}/download/", OWN),
        ("s3://bucket/b.nwb?region=us-west-2&versionId=v1", "dandi"),
        ("https://example.org/a b.nwb?id=7", "dandi"),
    ],
)
def test_what_is_shown_means_the_same(text, instance):
    address = parse(text, instance=instance)
    assert parse(str(address), instance=instance) == address


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://h/x?X-Amz-Signature=abc&X-Amz-Expires=3", "https://h/x"),
        ("https://h/x?sv=2024&se=2026&sig=abc", "https://h/x"),
        ("https://h/x?access_token=abc", "https://h/x"),
        ("https://h/x?a=" + "f" * 50, "https://h/x"),
        ("https://h/x?" + "f" * 50, "https://h/x"),
        ("https://me:pass@h/x?download=1", "https://h/x?download=1"),
    ],
)
def test_secrets_are_not_shown(url, shown):
    assert without_secrets(url) == shown
    address = parse(url)
    assert str(address) == shown
    assert all(secret not in repr(address) for secret in ("abc", "pass", "f" * 50))


@pytest.mark.parametrize(
    "text",
    [
        "s3://bucket/x.nwb?AWSAccessKeyId=abc&Signature=abc",
        "s3://bucket/x.nwb?X-Amz-Signature=abc?region=us-east-2",
        "s3://bucket/x.nwb?a=" + "abc" * 20,
        "s3://bucket/../x.nwb?Signature=abc",
        "s3://me:abc@bucket/x.nwb",
        "dandi://me:abc@dandi/000021/x.nwb",
        "https://dandiarchive.org/dandiset/000021/draft/files?location=../x&token=abc",
    ],
)
def test_addresses_that_are_refused_show_no_secrets(text):
    with pytest.raises(InputError) as caught:
        parse(text)
    assert "abc" not in str(caught.value)


def test_instances():
    assert of_instance("DANDI-sandbox") == "dandi-sandbox"
    assert of_instance("https://api.dandiarchive.org/api/") == "dandi"
    assert of_instance("https://dandiarchive.org") == "dandi"
    assert of_instance(OWN + "/") == OWN
    for wrong in ("nowhere", "ftp://h/api", "https://me:pass@h/api", "https://"):
        with pytest.raises(InputError, match="no archive named") as caught:
            of_instance(wrong)
        assert "pass" not in str(caught.value)


@pytest.mark.parametrize(
    ("glob", "fits", "not_"),
    [
        ("sub-*/*.nwb", ["sub-1/x.nwb"], ["sub-1/a/x.nwb", "sub-1/x.nwb.zarr", "x.nwb"]),
        ("**/*.nwb", ["x.nwb", "a/b/x.nwb"], ["x.zarr"]),
        ("sub-1/**", ["sub-1/x", "sub-1/a/b"], ["sub-2/x"]),
        ("a?.nwb", ["ab.nwb"], ["a/.nwb", "abc.nwb", "a.nwb"]),
        ("[ab][!c].nwb", ["ab.nwb", "bx.nwb"], ["cb.nwb", "ac.nwb", "a/.nwb"]),
        ("a.(b)+.nwb", ["a.(b)+.nwb"], ["aXbb.nwb"]),
        ("[", ["["], ["x"]),
        ("[]a]", ["]", "a"], ["b"]),
        ("[^a]", ["^", "a"], ["b"]),
    ],
)
def test_patterns(glob, fits, not_):
    import re

    fullmatch = re.compile(pattern_of(glob)).fullmatch
    assert all(fullmatch(path) for path in fits)
    assert not any(fullmatch(path) for path in not_)


def test_web_addresses_of_buckets(monkeypatch):
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
    assert https_url(S3Address("bucket", "a b/c#d.nwb")) == "https://bucket.s3.amazonaws.com/a%20b/c%23d.nwb"
    assert https_url(S3Address("bucket", "x", "us-west-2", "v/1")) == (
        "https://bucket.s3.us-west-2.amazonaws.com/x?versionId=v%2F1"
    )
    assert https_url(S3Address("my.bucket", "x")) == "https://s3.amazonaws.com/my.bucket/x"
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9000/")
    assert https_url(S3Address("bucket", "x")) == "http://127.0.0.1:9000/bucket/x"


def test_nothing_heavy_is_imported_for_a_path():
    code = (
        "import sys; from ndx_synapsnet.nwb.sources import open_source, expand; expand('x.nwb')\n"
        "assert not {'requests', 'urllib3', 'dandi', 'tenacity', 'aiohttp', 'torch', 'hdmf_zarr'} & set(sys.modules), "
        "sorted({'requests', 'urllib3', 'dandi', 'tenacity', 'aiohttp', 'hdmf_zarr'} & set(sys.modules))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
