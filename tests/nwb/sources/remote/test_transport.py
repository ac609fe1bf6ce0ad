"""Faults of servers and lines: each ends with the identical bytes, or with an error that names it."""

from __future__ import annotations

import logging
import re
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from faulty_server import Fault, Handler, Server

from ndx_synapsnet.errors import InputError
from ndx_synapsnet.nwb.sources.remote.fetch import RangeReader, RemoteOptions

Open = Callable[..., RangeReader]


def dropped(keep: int) -> Fault:
    """Break the connection after `keep` bytes of the body."""

    def fault(handler: Handler) -> bool:
        start, stop = handler.wanted()
        handler.range_head(start, stop)
        handler.wfile.write(handler.server.content[start : start + keep])
        handler.cut()
        return True

    return fault


def refused(handler: Handler) -> bool:
    """Break the connection before any answer."""
    handler.cut()
    return True


def status(code: int, **headers: str) -> Fault:
    def fault(handler: Handler) -> bool:
        handler.head(code, 4, **headers)
        handler.wfile.write(b"oops")
        return True

    return fault


def truncated(handler: Handler) -> bool:
    """Send a whole answer, by its own account, that is shorter than its range."""
    start, stop = handler.wanted()
    handler.range_head(start, stop, length=(stop - start) // 2)
    handler.wfile.write(handler.server.content[start : start + (stop - start) // 2])
    return True


def short_range(handler: Handler) -> bool:
    """Give a smaller range than was asked for, and say so."""
    start, stop = handler.wanted()
    stop = start + (stop - start + 1) // 2
    handler.range_head(start, stop)
    handler.wfile.write(handler.server.content[start:stop])
    return True


def stalled(handler: Handler) -> bool:
    start, stop = handler.wanted()
    handler.range_head(start, stop)
    handler.wfile.write(handler.server.content[start : start + 1000])
    handler.wfile.flush()
    handler.server.release.wait(100)
    handler.close_connection = True
    return True


def dripping(handler: Handler) -> bool:
    """Send a byte now and then: never long enough silence for a socket to time out."""
    start, stop = handler.wanted()
    handler.range_head(start, stop)
    for at in range(start, start + 1000):
        handler.wfile.write(handler.server.content[at : at + 1])
        handler.wfile.flush()
        if handler.server.release.wait(0.01):
            break
    handler.server.always = status(404)  # nobody put an end to it
    return True


def whole(handler: Handler) -> bool:
    """Ignore that a range was asked for."""
    handler.head(200, len(handler.server.content))
    handler.wfile.write(handler.server.content)
    return True


def other_range(handler: Handler) -> bool:
    start, stop = handler.wanted()
    handler.range_head(start + 7, stop + 7, length=stop - start)
    handler.wfile.write(handler.server.content[start + 7 : stop + 7])
    return True


def unstated_range(handler: Handler) -> bool:
    start, stop = handler.wanted()
    handler.head(206, stop - start, **handler.server.validators)
    handler.wfile.write(handler.server.content[start:stop])
    return True


RANGES = [(0, 1000), (300_000, 1_700_000), (1_700_000, 1_701_000), (2_000_000, 3_000_000)]

SURVIVED: dict[str, list[Fault]] = {
    "dropped in mid-body": [dropped(70_000), dropped(10)],
    "dropped before an answer": [refused, refused],
    "500 and 503": [status(500), status(503)],
    "timeouts of the server": [status(408), status(425), status(504)],
    "429 with Retry-After": [status(429, Retry_After="0")],
    "truncated": [truncated],
    "short 206": [short_range],
}


@pytest.mark.parametrize("faults", SURVIVED.values(), ids=SURVIVED.keys())
@pytest.mark.parametrize("opening", [True, False], ids=["first request", "later"])
def test_passing_fault_is_survived(
    server: Server, opened: Open, content: bytes, faults: list[Fault], opening: bool
) -> None:
    if opening:
        server.faults.extend(faults)
    reader = opened(server.located())
    if not opening:
        server.faults.extend(faults)
    got = dict(reader.fetch(RANGES))
    assert [got[i] for i in range(len(RANGES))] == [content[a:b] for a, b in RANGES]
    assert reader.stats.retries >= len(faults) - 1  # two of them may meet one attempt's progress
    assert reader.stats.retries > 0


def test_stall_ends_and_is_survived(server: Server, opened: Open, content: bytes, options: RemoteOptions) -> None:
    reader = opened(server.located(), replace(options, timeout=0.3))
    server.faults.append(stalled)
    assert reader.read(2_000_000, 2_500_000) == content[2_000_000:2_500_000]


def test_dripping_answer_ends_and_is_survived(
    server: Server, opened: Open, content: bytes, options: RemoteOptions
) -> None:
    reader = opened(server.located(), replace(options, timeout=0.3))
    server.faults.append(dripping)
    assert reader.read(2_000_000, 2_500_000) == content[2_000_000:2_500_000]
    assert reader.stats.retries >= 1


def test_line_that_always_drops_still_gets_there(server: Server, opened: Open, content: bytes) -> None:
    reader = opened(server.located())
    server.always = dropped(70_000)  # far more often than there are tries
    assert reader.read(300_000, 1_700_000) == content[300_000:1_700_000]


LASTING: dict[str, tuple[Fault, str, int]] = {
    # the fault, what the error says, requests that it may take: as many as there are tries, or one
    "500": (status(500), "did not deliver: it answered 500, 6 times", 6),
    "503": (status(503, Retry_After="0"), "it answered 503, 6 times", 6),
    "429": (status(429), "it answered 429, 6 times", 6),
    "dropped": (refused, "the connection was dropped, 6 times", 6),
    "truncated to nothing": (dropped(0), "the connection was dropped, 6 times", 6),
    "404": (status(404), r"withdrawn while it was being read \(404\)", 1),
    "410": (status(410), r"withdrawn while it was being read \(410\)", 1),
    "412": (status(412), "replaced while it was being read", 1),
    "416": (status(416), "shorter than it said", 1),
    "400": (status(400), "answered 400", 1),
    "Range ignored": (whole, "ignores requests for ranges", 1),
    "another range": (other_range, "sent another range than was asked for", 1),
    "unstated range": (unstated_range, "none that is stated", 1),
    "403": (status(403), r"access was refused \(403\), and no token was given", 1),
    "401": (status(401), r"access was refused \(401\), and no token was given", 1),
}


@pytest.mark.parametrize(("fault", "message", "requests"), LASTING.values(), ids=LASTING.keys())
def test_lasting_fault_is_named(server: Server, opened: Open, fault: Fault, message: str, requests: int) -> None:
    reader = opened(server.located())
    server.always = fault
    before = len(server.seen)
    with pytest.raises(InputError, match=message) as caught:
        reader.read(2_000_000, 2_000_100)
    assert len(server.seen) - before == requests
    assert str(caught.value).startswith("archive:object.nwb: ")
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(("fault", "message"), [(status(404), r"not found \(404\)"), (whole, "ignores requests")])
def test_fault_on_opening_is_named(server: Server, opened: Open, fault: Fault, message: str) -> None:
    server.always = fault
    with pytest.raises(InputError, match=message):
        opened(server.located())


def test_empty_object_is_named(serve: Callable[[bytes], Server], opened: Open) -> None:
    with pytest.raises(InputError, match="the object is empty"):
        opened(serve(b"").located())


def test_server_gone_is_named(server: Server, opened: Open) -> None:
    reader = opened(server.located())
    server.shutdown()
    server.server_close()
    server.always = refused  # connections that it has are still served
    with pytest.raises(InputError, match=r"did not deliver: .*(dropped|accept connections), 6 times"):
        reader.read(2_000_000, 2_000_100)


def test_server_that_was_never_there_is_named(server: Server, opened: Open) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/x"
        with pytest.raises(InputError, match="does not accept connections, 6 times"):
            opened(server.located(url=lambda: url))


# -- the object's identity


def replace_object(server: Server) -> None:
    server.content = server.content[::-1]
    server.validators = {"ETag": '"ffffffffffffffffffffffffffffffff"'}


def test_later_requests_ask_for_the_same_object(server: Server, opened: Open) -> None:
    reader = opened(server.located())
    reader.read(2_000_000, 2_000_100)
    (_, first), (_, later) = server.seen
    assert "If-Match" not in first
    assert later["If-Match"] == '"0123456789abcdef0123456789abcdef"'
    assert later["Accept-Encoding"] == "identity"


def test_replaced_object_is_noticed(server: Server, opened: Open) -> None:
    reader = opened(server.located())
    replace_object(server)
    with pytest.raises(InputError, match="replaced while it was being read"):
        reader.read(2_000_000, 2_000_100)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"ETag": '"a"'}, {"ETag": '"b"'}),
        ({"ETag": 'W/"a"'}, {"ETag": 'W/"b"'}),
        (
            {"Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"},
            {"Last-Modified": "Mon, 01 Jan 2024 00:00:01 GMT"},
        ),
    ],
)
def test_replaced_object_is_noticed_though_the_server_does_not_compare(
    server: Server, opened: Open, before: dict[str, str], after: dict[str, str]
) -> None:
    server.validators = before
    reader = opened(server.located())

    def serve_unconditionally(handler: Handler) -> bool:
        start, stop = handler.wanted()
        handler.range_head(start, stop)
        handler.wfile.write(handler.server.content[start:stop])
        return True

    server.always = serve_unconditionally
    assert len(reader.read(2_000_000, 2_000_100)) == 100
    server.validators = after
    with pytest.raises(InputError, match="replaced while it was being read"):
        reader.read(2_500_000, 2_500_100)


def test_object_of_another_size_is_noticed(server: Server, opened: Open) -> None:
    server.validators = {}
    reader = opened(server.located())
    server.content += b"more"
    with pytest.raises(InputError, match="replaced while it was being read"):
        reader.read(2_000_000, 2_000_100)


def test_replacement_between_two_pieces_of_a_range_is_noticed(server: Server, opened: Open) -> None:
    reader = opened(server.located())

    def half_of_the_old_one(handler: Handler) -> bool:
        dropped(100_000)(handler)
        replace_object(handler.server)
        return True

    server.faults.append(half_of_the_old_one)
    with pytest.raises(InputError, match="replaced while it was being read"):
        reader.read(2_000_000, 2_200_000)


@pytest.mark.parametrize("digest", [None, "sha256:" + 64 * "0"])
def test_size_is_compared_with_the_record(server: Server, opened: Open, digest: str | None) -> None:
    with pytest.raises(InputError, match="record says 2999999 bytes, the server has 3000000"):
        opened(server.located(size=2_999_999, digest=digest)).read(0, 10)


# -- expiry, redirects, secrets


def expired(handler: Handler) -> bool:
    """Refuse every address but the fresh one."""
    return "fresh" not in handler.path and status(403)(handler)


def test_expired_address_is_renewed_once_for_all_workers(server: Server, opened: Open, content: bytes) -> None:
    renewed = []

    def refresh() -> str:
        renewed.append(1)
        return server.url + "&fresh"

    reader = opened(server.located(refresh=refresh))
    server.always = expired
    ranges = [(i * 200_000, i * 200_000 + 100_000) for i in range(2, 15)]
    assert dict(reader.fetch(ranges)) == {i: content[a:b] for i, (a, b) in enumerate(ranges)}
    assert len(renewed) == 1


def test_address_that_expires_again_later_is_renewed_again(server: Server, opened: Open, content: bytes) -> None:
    urls = iter([server.url + "&one", server.url + "&two"])
    reader = opened(server.located(refresh=lambda: next(urls)))
    for good in ("one", "two"):
        server.always = lambda handler, good=good: good not in handler.path and status(403)(handler)
        start = {"one": 400_000, "two": 900_000}[good]
        assert reader.read(start, start + 10) == content[start : start + 10]


def test_address_that_is_refused_again_is_an_error(server: Server, opened: Open) -> None:
    renewed = []
    located = server.located(refresh=lambda: renewed.append(1) or server.url, headers={"Authorization": "token SECRET"})
    reader = opened(located)
    server.always = status(403)
    with pytest.raises(InputError, match=r"access was refused \(403\), with the token given") as caught:
        reader.read(2_000_000, 2_000_100)
    assert len(renewed) == 1
    assert "SECRET" not in str(caught.value) + repr(located) + repr(reader)


def test_redirect_is_followed_without_the_token_and_remembered(
    server: Server, serve: Callable[[bytes], Server], opened: Open, content: bytes
) -> None:
    api = serve(b"")
    api.always = lambda handler: status(302, Location=server.url)(handler)
    reader = opened(server.located(url=lambda: f"http://127.0.0.1:{api.server_port}/download", headers={"X-Key": "k"}))
    assert reader.read(2_000_000, 2_000_100) == content[2_000_000:2_000_100]
    assert [headers.get("X-Key") for _, headers in api.seen] == ["k"]
    assert [headers.get("X-Key") for _, headers in server.seen] == [None, None]
    server.faults.append(status(403))  # what it was redirected to expired
    assert reader.read(2_500_000, 2_500_100) == content[2_500_000:2_500_100]
    assert len(api.seen) == 2


def chunked(keep: int, *, extra: bytes = b"", ended: bool = True) -> Fault:
    """Send in chunks, of no stated length, and break the connection before the end."""

    def fault(handler: Handler) -> bool:
        start, stop = handler.wanted()
        stated = {"Content_Range": f"bytes {start}-{stop - 1}/{len(handler.server.content)}"}
        handler.send_response(206)
        for name, value in {**stated, **handler.server.validators, "Transfer-Encoding": "chunked"}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        body = handler.server.content[start:stop][:keep] + extra
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(body), body) + (b"0\r\n\r\n" if ended else b""))
        if not ended:
            handler.cut()
        return True

    return fault


@pytest.mark.parametrize(
    ("fault", "retries"),
    [(chunked(1 << 30, ended=False), 0), (chunked(1 << 30, extra=b"more"), 1)],
    ids=["dropped before its end", "longer than its range"],
)
def test_end_of_an_answer_that_is_broken_is_survived(
    server: Server, opened: Open, content: bytes, fault: Fault, retries: int
) -> None:
    reader = opened(server.located())
    server.faults.append(fault)
    assert reader.read(500_000, 700_000) == content[500_000:700_000]
    assert reader.read(800_000, 800_100) == content[800_000:800_100]
    assert reader.stats.retries == retries


def test_range_of_absurdly_many_digits_is_named(server: Server, opened: Open) -> None:
    def absurd(handler: Handler) -> bool:
        handler.head(206, 10, Content_Range=f"bytes 0-9/{'9' * 5000}")
        handler.wfile.write(bytes(10))
        return True

    server.always = absurd
    with pytest.raises(InputError, match="another range than was asked for"):
        opened(server.located())


@pytest.mark.parametrize("prefix", ["", "http://"])
def test_proxy_may_have_a_password_and_no_scheme(
    server: Server, opened: Open, content: bytes, monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    monkeypatch.setenv("http_proxy", f"{prefix}me:p%40ss@127.0.0.1:{server.server_address[1]}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    elsewhere = replace(server.located(), url=lambda: "http://archive.invalid/object.nwb")
    assert opened(elsewhere).read(0, 100) == content[:100]
    assert server.seen[0][0] == "http://archive.invalid/object.nwb"
    assert server.seen[0][1]["Proxy-Authorization"] == "Basic bWU6cEBzcw=="


@pytest.mark.parametrize("proxy", ["socks5://me:secret@127.0.0.1:9", "http://me:secret@[::1", "http://"])
def test_proxy_that_cannot_be_used_is_named(
    server: Server, opened: Open, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with pytest.raises(InputError, match="the proxy that the environment names cannot be used") as raised:
        opened(replace(server.located(), url=lambda: "http://archive.invalid/object.nwb"))
    assert "secret" not in str(raised.value)


def test_redirects_without_end_are_named(server: Server, opened: Open) -> None:
    server.always = lambda handler: status(302, Location=server.url)(handler)
    with pytest.raises(InputError, match="more than 8 redirects"):
        opened(server.located())


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://127.0.0.1:99999/x", "http://[::1/x"]
)
def test_redirect_elsewhere_than_to_the_web_is_refused(server: Server, opened: Open, target: str) -> None:
    server.always = status(302, Location=target)
    with pytest.raises(InputError, match="does not lead to a web server"):
        opened(server.located())


def test_logs_hold_no_secrets(
    server: Server, opened: Open, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    reader = opened(server.located(headers={"Authorization": "token SECRET"}))
    server.faults.append(status(500))
    reader.read(2_000_000, 2_000_100)
    assert re.search("GET /blobs/object", caplog.text)
    assert "SECRET" not in caplog.text


# -- how long to wait


@pytest.mark.parametrize("by", ["seconds", "date", "date and clock"])
def test_retry_after_is_honoured_and_bounded(
    server: Server, opened: Open, options: RemoteOptions, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    from ndx_synapsnet.nwb.sources.remote.transport import Transport

    slept: list[float] = []
    monkeypatch.setattr(Transport, "_sleep", lambda self, seconds: slept.append(seconds))
    now = datetime.now(timezone.utc)
    if by == "date and clock":  # the server's clock is an hour slow
        now -= timedelta(hours=1)

    def busy(seconds: int) -> Fault:
        after = str(seconds) if by == "seconds" else format_datetime(now + timedelta(seconds=seconds), usegmt=True)

        def fault(handler: Handler) -> bool:
            if by == "date and clock":
                handler.date_time_string = lambda timestamp=None: format_datetime(now, usegmt=True)
            return status(503, Retry_After=after)(handler)

        return fault

    reader = opened(server.located(), replace(options, max_wait=30))
    server.faults.extend([busy(9), busy(3600), busy(-5)])
    reader.read(2_000_000, 2_000_100)
    assert 7.5 <= slept[0] < 9.1
    assert slept[1] == 30
    assert slept[2] < 1


def test_pauses_grow_and_differ(
    server: Server, opened: Open, options: RemoteOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ndx_synapsnet.nwb.sources.remote.transport import Transport

    slept: list[float] = []
    monkeypatch.setattr(Transport, "_sleep", lambda self, seconds: slept.append(seconds))
    reader = opened(server.located(), replace(options, backoff=1, max_wait=6))
    server.always = status(500)
    with pytest.raises(InputError):
        reader.read(2_000_000, 2_000_100)
    assert len(slept) == 5
    assert all(bound / 2 <= pause <= bound for pause, bound in zip(slept, [1, 2, 4, 6, 6], strict=True))
    assert len(set(slept)) == 5


def test_closing_ends_a_stalled_read_at_once(server: Server, opened: Open, options: RemoteOptions) -> None:
    reader = opened(server.located(), replace(options, timeout=60))
    server.always = stalled
    arriving = reader.fetch([(1_000_000, 3_000_000)])
    before = time.monotonic()
    import threading

    closing = threading.Timer(0.2, reader.close)
    closing.start()
    with pytest.raises(ValueError, match="closed"):
        next(arriving)
    closing.join()
    assert time.monotonic() - before < 30  # the stall lasts for a minute
    with pytest.raises(ValueError, match="closed"):
        reader.read(0, 1)
