"""What was read stays, is checked, bounded, shared by processes, and never in the way."""

from __future__ import annotations

import errno
import logging
import multiprocessing
import os
import stat
import threading
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from faulty_server import Handler, Server

from ndx_synapsnet.errors import InputError
from ndx_synapsnet.nwb.locking import try_lock
from ndx_synapsnet.nwb.sources.remote.cache import Cache, cache_folder, clear, info
from ndx_synapsnet.nwb.sources.remote.cached_object import CachedObject
from ndx_synapsnet.nwb.sources.remote.fetch import HEAD, CacheConfig, RangeReader, RemoteOptions, use_options

Open = Callable[..., RangeReader]

RANGES = [(400_000, 458_000), (600_000, 2_600_000), (2_950_000, 3_000_000)]


def read_ranges(reader: RangeReader) -> list[bytes]:
    got = dict(reader.fetch(RANGES))
    return [got[i] for i in range(len(RANGES))]


@pytest.fixture
def cached(tmp_path: Path) -> Callable[..., CachedObject]:
    """A function that opens an object in a cache of the test's own."""
    made = []

    def open_it(key: str = "sha256:00", size: int = 1 << 21, max_bytes: int = 1 << 30) -> CachedObject:
        place = Cache(CacheConfig(tmp_path / "cache", max_bytes)).open(key, size)
        assert place is not None
        made.append(place)
        return place

    yield open_it
    for place in made:
        place.close()


def data_file(folder: Path) -> Path:
    (found,) = folder.glob("*/data")
    return found


# -- through a reader


def test_second_read_transfers_nothing_but_a_confirmation(server: Server, opened: Open, content: bytes) -> None:
    first = opened(server.located())
    expected = [content[a:b] for a, b in RANGES]
    assert read_ranges(first) == expected
    first.close()
    sent, requests = server.sent, len(server.seen)
    second = opened(server.located())
    assert read_ranges(second) == expected
    assert second.read(0, 100) == content[:100]
    assert (server.sent, len(server.seen)) == (sent, requests + 1)
    assert server.seen[-1][1]["If-None-Match"] == server.validators["ETag"]
    assert second.stats.bytes == 0
    assert second.stats.cached_bytes == sum(b - a for a, b in RANGES) + 100


def test_second_read_by_the_archives_digest_asks_the_server_nothing(
    server: Server, opened: Open, content: bytes
) -> None:
    located = server.located(digest="sha256:" + sha256(content).hexdigest(), size=len(content))
    first = read_ranges(opened(located))
    requests = len(server.seen)
    signed_anew = replace(located, uri="elsewhere:object.nwb", url=lambda: server.url.partition("?")[0] + "?new")
    assert read_ranges(opened(signed_anew)) == first == [content[a:b] for a, b in RANGES]
    assert len(server.seen) == requests


def test_replaced_object_is_read_anew(server: Server, opened: Open, content: bytes) -> None:
    read_ranges(opened(server.located()))
    server.content = content[::-1]
    server.validators = {"ETag": '"ffffffffffffffffffffffffffffffff"'}
    assert read_ranges(opened(server.located())) == [content[::-1][a:b] for a, b in RANGES]


def test_object_replaced_under_one_digest_is_never_mixed(server: Server, opened: Open, content: bytes) -> None:
    located = server.located(digest="sha256:" + 64 * "1", size=len(content))
    opened(located).read(0, 100)
    server.content = content[::-1]
    server.validators = {"ETag": '"ffffffffffffffffffffffffffffffff"'}
    second = opened(located)
    assert second.read(0, 100) == content[:100]
    with pytest.raises(InputError, match="replaced since parts of it were put into the cache"):
        second.read(500_000, 500_100)
    for again in (lambda: second.read(500_000, 500_100), lambda: second.read(0, 100), lambda: second.fetch([(0, 9)])):
        with pytest.raises(InputError, match="replaced since parts of it were put into the cache"):
            again()
    second.close()
    assert opened(located).read(0, 100) == content[::-1][:100]


@pytest.mark.parametrize("validators", [{}, {"ETag": 'W/"abc"'}])
def test_object_without_an_identity_is_not_kept(
    server: Server, opened: Open, options: RemoteOptions, validators: dict[str, str]
) -> None:
    server.validators = validators
    read_ranges(opened(server.located()))
    assert options.cache is not None
    assert info(options.cache).objects == 0


def test_etags_not_made_of_the_content_mean_one_server_only(
    serve: Callable[[bytes], Server], opened: Open, content: bytes
) -> None:
    one, other = serve(content), serve(content[::-1])
    one.validators = other.validators = {"ETag": '"65a1-2dc6c0"'}  # time and size, as nginx makes them
    assert read_ranges(opened(one.located())) == [content[a:b] for a, b in RANGES]
    assert read_ranges(opened(replace(other.located(), uri="other"))) == [content[::-1][a:b] for a, b in RANGES]


@pytest.mark.parametrize("stated", ["ETag", "sha256"])
def test_what_one_server_states_is_not_believed_of_another(
    serve: Callable[[bytes], Server], opened: Open, content: bytes, stated: str
) -> None:
    liar, honest = serve(content[::-1]), serve(content)
    digest = "sha256:" + sha256(content).hexdigest() if stated == "sha256" else None
    for one, its_own in ((liar, content[::-1]), (honest, content)):
        located = one.located(digest=digest, size=len(content))
        assert read_ranges(opened(located)) == [its_own[a:b] for a, b in RANGES]


def test_no_cache_writes_no_file(server: Server, opened: Open, options: RemoteOptions, tmp_path: Path) -> None:
    read_ranges(opened(server.located(), replace(options, cache=None)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["flipped", "cut short", "journal"])
def test_damage_is_noticed_and_fetched_again(
    server: Server, opened: Open, content: bytes, options: RemoteOptions, damage: str
) -> None:
    assert options.cache is not None
    read_ranges(opened(server.located()))
    data = data_file(cache_folder(options.cache))
    if damage == "flipped":
        with data.open("r+b") as file:
            file.seek(1_000_000)
            file.write(bytes([content[1_000_000] ^ 1]))
    elif damage == "cut short":
        os.truncate(data, 1_000_000)
    else:
        journal = data.with_name("journal")
        journal.write_bytes(b"\xff" * 30 + journal.read_bytes()[30:] + b"torn")
    sent = server.sent
    for fetched_again in (True, False):
        reader = opened(server.located())
        assert read_ranges(reader) == [content[a:b] for a, b in RANGES]
        assert (server.sent > sent) is fetched_again
        sent = server.sent
        reader.close()


def test_full_disk_is_said_once_and_survived(
    server: Server,
    opened: Open,
    content: bytes,
    options: RemoteOptions,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert options.cache is not None
    written = []

    def full(descriptor: int, data: memoryview, offset: int) -> int:
        if written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(1)
        return pwrite(descriptor, data[: len(data) // 2], offset)

    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", full)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert read_ranges(opened(server.located())) == [content[a:b] for a, b in RANGES]
    assert [record.message.split(" cannot")[1] for record in caplog.records] == [
        " be used (No space left on device): reading goes on without it"
    ]
    monkeypatch.undo()
    assert read_ranges(opened(server.located())) == [content[a:b] for a, b in RANGES]


@pytest.mark.parametrize("trouble", ["a file in its place", "others may write"])
def test_folder_that_cannot_be_used_is_said_and_survived(
    server: Server,
    opened: Open,
    content: bytes,
    options: RemoteOptions,
    caplog: pytest.LogCaptureFixture,
    trouble: str,
) -> None:
    assert options.cache is not None
    folder = cache_folder(options.cache)
    if trouble == "others may write":
        folder.mkdir()
        folder.chmod(0o777)
    else:
        folder.write_text("")
    with caplog.at_level(logging.WARNING):
        assert read_ranges(opened(server.located())) == [content[a:b] for a, b in RANGES]
    assert "reading goes on without it" in caplog.text
    assert not folder.is_dir() or not [one for one in folder.iterdir() if one.name != "seen"]


def test_folder_is_private_and_names_tell_nothing(server: Server, opened: Open, options: RemoteOptions) -> None:
    assert options.cache is not None
    read_ranges(opened(server.located()))
    folder = cache_folder(options.cache)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    stored = b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file() and file.name != "data")
    assert b"SECRET" not in stored
    assert b"127.0.0.1" not in stored


# -- the place itself


def test_parts_of_what_was_written_can_be_read(cached: Callable[..., CachedObject]) -> None:
    content = np.random.default_rng(0).bytes(1 << 20)
    place = cached()
    place.write(1000, content[1000:700_000])
    assert place.read(500_000, 500_010) == content[500_000:500_010]
    assert place.read(1000, 700_000) == content[1000:700_000]
    assert place.read(999, 1001) is None
    assert place.gaps(0, 1 << 20) == [(0, 1000), (700_000, 1 << 20)]
    place.write(600_000, content[600_000:])
    assert cached().read(1000, 1 << 20) == content[1000:]


def _write_half(folder: Path, half: int, start: multiprocessing.Barrier, content: bytes) -> None:  # type: ignore[valid-type]
    place = Cache(CacheConfig(folder)).open("sha256:11", len(content))
    assert place is not None
    start.wait(60)  # type: ignore[attr-defined]
    for at in range(half * 5000, len(content), 10_000):
        place.write(at, content[at : at + 7000])  # the two overlap
    place.close()


def test_two_processes_write_at_once(tmp_path: Path) -> None:
    content = np.random.default_rng(0).bytes(1 << 20)
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Barrier(2)
    processes = [spawn.Process(target=_write_half, args=(tmp_path, half, start, content)) for half in (0, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    place = Cache(CacheConfig(tmp_path)).open("sha256:11", len(content))
    assert place is not None
    assert place.gaps(0, len(content)) == []
    assert place.read(0, len(content)) == content
    place.close()


def test_appending_waits_for_another_process(cached: Callable[..., CachedObject]) -> None:
    place = cached()
    journal = place._place / "journal"
    with journal.open("rb") as other:
        assert try_lock(other.fileno(), shared=False)
        writing = threading.Thread(target=place.write, args=(0, b"abc"))
        writing.start()
        writing.join(0.2)
        assert writing.is_alive()
        assert journal.stat().st_size == 0
    writing.join(30)
    assert place.read(0, 3) == b"abc"


def test_what_another_process_adds_is_seen(cached: Callable[..., CachedObject]) -> None:
    one, other = cached(), cached()
    one.write(0, b"abc")
    assert other.gaps(0, 3) == []
    assert other.read(0, 3) == b"abc"


def test_writing_after_closing_touches_no_file(cached: Callable[..., CachedObject], tmp_path: Path) -> None:
    place = cached()
    place.close()
    bystander = tmp_path / "bystander"
    with bystander.open("wb") as one, bystander.open("rb"):  # they get the descriptors
        place.write(0, b"x" * 100)
        one.flush()
    assert bystander.read_bytes() == b""
    assert place.read(0, 3) is None


def test_object_unused_for_longest_is_given_up(cached: Callable[..., CachedObject], tmp_path: Path) -> None:
    block = bytes(range(256)) * 1024
    for age, key in ((300, "old"), (200, "older than it looks"), (100, "new")):
        place = cached(key, max_bytes=1 << 20)
        place.write(0, block)
        place.close()
        path = place._place / "data"
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime - age))
    cached("older than it looks", max_bytes=1 << 20).close()  # opening is use
    cached("fresh", max_bytes=1 << 20).write(0, block)
    left = {key: cached(key).read(0, 10) is not None for key in ("old", "older than it looks", "new", "fresh")}
    assert left == {"old": False, "older than it looks": True, "new": True, "fresh": True}


def test_object_in_use_is_not_given_up(cached: Callable[..., CachedObject], caplog: pytest.LogCaptureFixture) -> None:
    in_use = cached("one", max_bytes=1 << 20)
    in_use.write(0, bytes(900_000))
    other = cached("two", max_bytes=1 << 20)
    other.write(0, bytes(900_000))
    assert in_use.read(0, 900_000) == bytes(900_000)
    assert other.read(0, 10) is None
    assert "all that it may hold is in use" in caplog.text


def test_bound_holds(tmp_path: Path) -> None:
    config = CacheConfig(tmp_path / "cache", 1 << 20)
    for key in "abcdef":
        place = Cache(config).open(key, 1 << 21)
        assert place is not None
        for at in range(0, 1 << 21, 1 << 17):
            place.write(at, bytes(1 << 17))
        place.close()
        assert 0 < info(config).bytes <= (1 << 20) + 8192


def test_half_removed_objects_are_cleared_away(tmp_path: Path) -> None:
    config = CacheConfig(tmp_path / "cache")
    left = tmp_path / "cache" / ".gone-1"
    left.mkdir(parents=True, mode=0o700)
    left.parent.chmod(0o700)
    (left / "data").write_bytes(b"x")
    place = Cache(config).open("a", 10)
    assert place is not None
    place.write(0, b"x")
    place.close()
    assert not left.exists()


def test_info_and_clear(tmp_path: Path) -> None:
    config = CacheConfig(tmp_path / "cache", 12345 << 10)
    assert (info(config).objects, info(config).bytes) == (0, 0)
    place = Cache(config).open("a", 1 << 20)
    assert place is not None
    place.write(0, bytes(range(256)) * 400)
    place._cache.remember("uri", '"etag"', 5)
    (tmp_path / "cache" / "notes.txt").write_text("not ours")
    held = info(config)
    assert (held.folder, held.objects, held.max_bytes) == (tmp_path / "cache", 1, 12345 << 10)
    assert held.bytes >= 102_400
    with use_options(RemoteOptions(cache=config)):
        assert clear().bytes == held.bytes
        assert (info().objects, info().bytes) == (0, 0)
    assert [one.name for one in (tmp_path / "cache").iterdir()] == ["notes.txt"]
    assert place.read(0, 3) == b"\x00\x01\x02"  # who has it open goes on
    place.close()


def test_default_folder_is_the_platforms(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = cache_folder(CacheConfig())
    assert folder.name == "remote"
    assert "ndx-synapsnet" in folder.parts


def test_bound_must_make_sense() -> None:
    with pytest.raises(InputError, match="0 bytes"):
        CacheConfig(max_bytes=0)


def test_server_that_ignores_if_none_match_is_survived(server: Server, opened: Open, content: bytes) -> None:
    read_ranges(opened(server.located()))

    def ignore(handler: Handler) -> bool:
        start, stop = handler.wanted()
        handler.range_head(start, stop)
        handler.wfile.write(handler.server.content[start:stop])
        return True

    server.always = ignore
    reader = opened(server.located())
    assert read_ranges(reader) == [content[a:b] for a, b in RANGES]
    assert reader.stats.bytes == HEAD


@pytest.mark.parametrize("damage", [bytes(160), b"\xff" * 160])
def test_journal_without_sense_states_nothing(cached: Callable[..., CachedObject], damage: bytes) -> None:
    place = cached()
    (place._place / "journal").write_bytes(damage)
    assert cached().gaps(0, 1 << 21) == [(0, 1 << 21)]
