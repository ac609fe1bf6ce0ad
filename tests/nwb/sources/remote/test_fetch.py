"""Ranges in parallel: order, bounds of memory and bandwidth, progress, digests, interruption."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from hashlib import md5, sha256

import numpy as np
import pytest
from dandischema.digests import dandietag
from faulty_server import Handler, Server

from ndx_synapsnet.errors import InputError
from ndx_synapsnet.nwb.sources.remote import digest as digest_module
from ndx_synapsnet.nwb.sources.remote import fetch
from ndx_synapsnet.nwb.sources.remote.meter import Line
from ndx_synapsnet.nwb.sources.remote.options import Progress
from ndx_synapsnet.nwb.sources.remote.pool import BUDGET

Open = Callable[..., fetch.RangeReader]


def test_random_ranges_are_the_same_as_slices(server: Server, opened: Open, content: bytes) -> None:
    rng = np.random.default_rng(2)
    edges = [*np.sort(rng.integers(0, len(content), (40, 2)), axis=1).tolist(), [0, len(content)], [7, 7]]
    reader = opened(server.located())
    got = list(reader.fetch(edges))
    assert sorted(index for index, _ in got) == list(range(len(edges)))
    assert all(data == content[slice(*edges[index])] for index, data in got)
    assert all(reader.read(a, b) == content[a:b] for a, b in edges[-5:])
    assert BUDGET._taken == 0


def test_ordered_ranges_come_in_their_order(server: Server, opened: Open, content: bytes) -> None:
    def late(handler: Handler) -> bool:
        time.sleep(0.2)
        return False

    reader = opened(server.located())
    server.faults.append(late)
    ranges = [(i * 500_000, (i + 1) * 500_000) for i in range(6)]
    assert list(reader.fetch(ranges, ordered=True)) == [(i, content[a:b]) for i, (a, b) in enumerate(ranges)]
    assert BUDGET._taken == 0


def test_one_request_opens_and_small_objects_need_no_other(serve: Callable[[bytes], Server], opened: Open) -> None:
    server = serve(b"few bytes")
    reader = opened(server.located())
    assert (reader.size, reader.read(0, 9), reader.read(4, 4)) == (9, b"few bytes", b"")
    assert len(server.seen) == 1
    assert reader.integrity == "unverified"


def test_what_comes_first_is_got_at_once(server: Server, opened: Open, content: bytes) -> None:
    reader = opened(server.located(digest="sha256:" + 64 * "0", size=len(content)))
    assert len(server.seen) == 0
    assert [reader.read(at, at + 10) for at in (0, 5000, fetch.HEAD - 10)] == [
        content[at : at + 10] for at in (0, 5000, fetch.HEAD - 10)
    ]
    assert len(server.seen) == 1


@pytest.mark.parametrize("bounds", [(-1, 3), (3, 2), (0, 3_000_001)])
def test_range_outside_is_an_error(server: Server, opened: Open, bounds: tuple[int, int]) -> None:
    reader = opened(server.located())
    with pytest.raises(ValueError, match="does not lie within the 3000000 bytes"):
        reader.read(*bounds)
    with pytest.raises(ValueError, match="does not lie within"):
        reader.fetch([(0, 1), bounds])


def test_all_workers_get_something(server: Server, opened: Open, options: fetch.RemoteOptions) -> None:
    together = threading.Barrier(3)

    def meet(handler: Handler) -> bool:
        together.wait(10)  # passes only if three requests are there at once
        return False

    reader = opened(server.located(), replace(options, workers=3))
    server.faults.extend([meet, meet, meet])
    assert len(next(data for _, data in reader.fetch([(0, 3_000_000)]))) == 3_000_000
    assert not together.broken


def test_twice_as_many_get_the_nodes_of_an_index(server: Server, opened: Open, options: fetch.RemoteOptions) -> None:
    together = threading.Barrier(4)

    def meet(handler: Handler) -> bool:
        together.wait(10)
        return False

    reader = opened(server.located(), replace(options, workers=2))
    server.faults.extend([meet] * 4)
    scattered = [(start, start + 2096) for start in range(400_000, 2_000_000, 400_000)]
    assert sorted(index for index, _ in reader.fetch(scattered)) == [0, 1, 2, 3]
    assert not together.broken  # four requests were there at once


def test_slow_consumer_holds_requests_back(
    serve: Callable[[bytes], Server], opened: Open, options: fetch.RemoteOptions
) -> None:
    server = serve(bytes(16 << 20))
    reader = opened(server.located(), replace(options, in_flight=3 << 20, cache=None))
    arriving = reader.fetch([(i << 20, (i + 1) << 20) for i in range(16)])
    next(arriving)
    time.sleep(0.3)  # time enough for all that may be requested
    assert server.sent <= (4 << 20) + fetch.HEAD
    assert len(list(arriving)) == 15
    assert BUDGET._taken == 0


def test_two_readers_in_turn_do_not_block_each_other(
    server: Server, opened: Open, options: fetch.RemoteOptions
) -> None:
    tight = replace(options, in_flight=1, cache=None)
    ranges = [(i * 200_000, i * 200_000 + 100_000) for i in range(15)]
    one, other = (opened(server.located(), tight).fetch(ranges) for _ in range(2))
    assert sum(len(a[1]) + len(b[1]) for a, b in zip(one, other, strict=True)) == 3_000_000


def test_leaving_early_gives_the_memory_back(server: Server, opened: Open) -> None:
    reader = opened(server.located())
    for ordered in (True, False):
        arriving = reader.fetch([(i * 200_000, i * 200_000 + 100_000) for i in range(15)], ordered=ordered)
        next(arriving)
        arriving.close()
    assert BUDGET._taken == 0


def test_error_of_a_worker_surfaces_and_the_reader_still_serves(server: Server, opened: Open, content: bytes) -> None:
    reader = opened(server.located())

    def lost(handler: Handler) -> bool:
        handler.head(404, 0)
        return True

    server.always = lost
    with pytest.raises(InputError, match="404"):
        list(reader.fetch([(1_000_000, 1_000_001), (2_000_000, 2_000_001)]))
    assert BUDGET._taken == 0
    server.always = None
    assert reader.read(2_000_000, 2_000_100) == content[2_000_000:2_000_100]


def test_connections_are_kept_alive(server: Server, opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    connections = []
    setup = Handler.setup
    monkeypatch.setattr(Handler, "setup", lambda self: connections.append(1) or setup(self))
    reader = opened(server.located())
    for start in range(500_000, 3_000_000, 500_000):
        reader.read(start, start + 100)
    assert len(server.seen) == 6
    assert len(connections) == 1


def test_progress_and_stats_count_bytes(server: Server, opened: Open, options: fetch.RemoteOptions) -> None:
    told: list[Progress] = []
    reader = opened(server.located(), replace(options, on_progress=told.append))
    list(reader.fetch([(500_000, 1_500_000), (2_000_000, 2_000_010)]))
    assert told[-1] == Progress("archive:object.nwb", fetch.HEAD + 1_000_010, fetch.HEAD + 1_000_010)
    assert [p.done for p in told] == sorted(p.done for p in told)
    assert all(p.done <= p.wanted for p in told)
    stats = reader.stats
    assert (stats.requests, stats.bytes, stats.cached_bytes, stats.retries) == (3, fetch.HEAD + 1_000_010, 0, 0)
    assert stats.seconds > 0


def test_bandwidth_is_shared_by_all(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    line = Line()
    assert line.take(500, rate=1000) == pytest.approx(0.5)
    assert line.take(500, rate=1000) == pytest.approx(1.0)  # behind the other
    clock[0] += 10
    assert line.take(100, rate=1000) == pytest.approx(0.1)  # what was not used is not saved up


def test_bandwidth_slows_a_transfer_down(server: Server, opened: Open, options: fetch.RemoteOptions) -> None:
    reader = opened(server.located(), replace(options, bandwidth=4e6))
    reader.read(300_000, 1_500_000)
    assert reader.stats.seconds > 0.25  # 1.46 MB at 4 MB/s less the last piece, whatever the machine


def test_options_in_force_are_those_of_the_innermost_block() -> None:
    assert fetch.current_options() == fetch.RemoteOptions()
    with fetch.use_options(fetch.RemoteOptions(workers=3)):
        with fetch.use_options(fetch.RemoteOptions(workers=5)):
            assert fetch.current_options().workers == 5
        assert fetch.current_options().workers == 3
    assert fetch.current_options() == fetch.RemoteOptions()


@pytest.mark.parametrize("wrong", [{"workers": 0}, {"timeout": 0}, {"bandwidth": -1.0}, {"backoff": -1}])
def test_options_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError):
        fetch.RemoteOptions(**wrong)  # type: ignore[arg-type]


def test_unclosed_reader_leaves_no_threads(server: Server, options: fetch.RemoteOptions) -> None:
    reader = fetch.open_remote(server.located(), replace(options, cache=None))
    list(reader.fetch([(500_000, 2_500_000)]))
    threads = [thread for thread in threading.enumerate() if thread.name == "remote-reader"]
    assert threads
    reader._transport.close()  # type: ignore[union-attr]
    del reader
    gc.collect()
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive()


# -- digests


def dandi_etag(content: bytes, part: int) -> str:
    parts = [content[at : at + part] for at in range(0, len(content), part)]
    return f"dandi-etag:{md5(b''.join(md5(p).digest() for p in parts)).hexdigest()}-{len(parts)}"


def test_digests_that_are_right(
    server: Server, opened: Open, content: bytes, options: fetch.RemoteOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    verifying = replace(options, verify=True)
    for digest in ("sha256:" + sha256(content).hexdigest(), dandi_etag(content, 64 << 20)):
        reader = opened(server.located(digest=digest, size=len(content)), verifying)
        assert reader.integrity == "verified"
        assert reader.key == digest
    monkeypatch.setattr(digest_module, "_BLOCK", 300_000)
    monkeypatch.setattr(dandietag.PartGenerator, "DEFAULT_PART_SIZE", 700_001)
    monkeypatch.setattr(dandietag.PartGenerator, "MIN_PART_SIZE", 1)
    digest = dandi_etag(content, 700_001)
    assert digest.endswith("-5")
    assert opened(server.located(digest=digest), verifying).integrity == "verified"


def test_content_of_another_digest_is_damaged_and_not_kept(
    server: Server, opened: Open, content: bytes, options: fetch.RemoteOptions
) -> None:
    verifying = replace(options, verify=True)
    located = server.located(digest="sha256:" + sha256(content).hexdigest(), size=len(content))
    server.content = content[:1_000_000] + bytes([content[1_000_000] ^ 1]) + content[1_000_001:]
    with pytest.raises(InputError, match="the content is damaged: its sha256 is"):
        opened(located, verifying)
    server.content = content
    assert opened(located, verifying).integrity == "verified"


@pytest.mark.parametrize("keeping", ["no cache", "no room", "cache"])
@pytest.mark.parametrize("lasting", [False, True])
def test_every_transfer_after_verifying_is_held_against_it(
    server: Server, opened: Open, content: bytes, options: fetch.RemoteOptions, keeping: str, lasting: bool
) -> None:
    caches = {"no cache": None, "no room": fetch.CacheConfig(options.cache.folder, 1), "cache": options.cache}  # type: ignore[union-attr]
    located = server.located(digest="sha256:" + sha256(content).hexdigest(), size=len(content))
    reader = opened(located, replace(options, verify=True, cache=caches[keeping]))
    server.content = bytes(byte ^ 1 for byte in content)  # with the same ETag

    def mend(handler: Handler) -> bool:
        server.content = content
        return False

    if not lasting:
        server.faults.extend([None, mend])
    ranges = [(10, 20), (700_000, 700_001), (1_000_000, 2_500_000), (2_999_999, 3_000_000)]
    if lasting and keeping != "cache":
        with pytest.raises(InputError, match="not those that were verified"):
            list(reader.fetch(ranges))
        for a, b in ranges:
            with pytest.raises(InputError, match="not those that were verified"):
                reader.read(a, b)
    else:
        assert dict(reader.fetch(ranges)) == {i: content[a:b] for i, (a, b) in enumerate(ranges)}
        assert [reader.read(a, b) for a, b in ranges] == [content[a:b] for a, b in ranges]
        assert reader.read(5, 5) == b""


def test_what_another_process_put_into_the_cache_is_held_against_what_was_verified(
    server: Server, opened: Open, content: bytes, options: fetch.RemoteOptions
) -> None:
    located = server.located(digest="sha256:" + sha256(content).hexdigest(), size=len(content))
    reader = opened(located, replace(options, verify=True))
    other = opened(located)
    assert other._cached is not None
    other._cached.write(1 << 20, bytes(1 << 18))
    assert reader._cached is not None
    reader._cached._load()
    assert reader._cached.read(1 << 20, (1 << 20) + 9) == bytes(9)
    assert reader.read((1 << 20) + 5, (1 << 20) + 500) == content[(1 << 20) + 5 : (1 << 20) + 500]


def test_progress_after_verifying_counts_all_that_is_transferred(
    server: Server, opened: Open, content: bytes, options: fetch.RemoteOptions
) -> None:
    told: list[Progress] = []
    located = server.located(digest="sha256:" + sha256(content).hexdigest(), size=len(content))
    reader = opened(located, replace(options, verify=True, cache=None, on_progress=told.append))
    list(reader.fetch([(500_000, 500_010), (2_900_000, 3_000_000)]))
    assert told[-1].done == told[-1].wanted
    assert all(p.done <= p.wanted for p in told)


@pytest.mark.parametrize(("digest", "message"), [(None, "states no digest"), ("crc32:00", "cannot be checked here")])
def test_digest_that_cannot_be_checked_is_an_error(
    server: Server, opened: Open, options: fetch.RemoteOptions, digest: str | None, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        opened(server.located(digest=digest), replace(options, verify=True))


# -- interruption


def test_interrupt_ends_at_once_though_the_server_stalls(server: Server) -> None:
    stalled = threading.Event()

    def stall(handler: Handler) -> bool:
        handler.range_head(*handler.wanted())
        stalled.set()
        handler.server.release.wait(60)
        return True

    server.faults.append(None)
    server.always = stall
    code = f"""
from ndx_synapsnet.nwb.sources.remote.fetch import RemoteOptions, open_remote
from ndx_synapsnet.nwb.sources.remote.location import Located
with open_remote(Located("x", lambda: {server.url!r}), RemoteOptions(cache=None, timeout=100)) as reader:
    list(reader.fetch([(500_000, 3_000_000)]))
"""
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    try:
        assert stalled.wait(60)
        time.sleep(0.2)
        before = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert "KeyboardInterrupt" in errors
    assert time.monotonic() - before < 30  # the server stalls for a minute
