"""Recordings read in the background: in order, no more than asked for, within memory, and broken off at once."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ndx_synapsnet import memory
from ndx_synapsnet.errors import InputError
from ndx_synapsnet.nwb import prefetch
from ndx_synapsnet.nwb.prefetch import read_ahead
from ndx_synapsnet.nwb.recording import write_recording
from ndx_synapsnet.nwb.sources.opened import collected_warnings
from ndx_synapsnet.nwb.sources.remote.options import current_options
from ndx_synapsnet.session import Session
from ndx_synapsnet.simulate import random_session

SOON = 5.0


class Readings:
    """In place of `read_session`: each reading waits until it is let go."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.free: dict[str, threading.Event] = {}
        self.changed = threading.Condition()
        self.sessions = {name: random_session(3, 20 + i) for i, name in enumerate("abcd")}
        self.seen: list[Any] = []

    def read(self, uri: str, config: object) -> Session:
        with self.changed:
            self.begun.append(uri)
            event = self.free.setdefault(uri, threading.Event())
            self.seen.append(current_options().instance)
            self.changed.notify_all()
        assert event.wait(SOON)
        if uri.startswith("bad"):
            raise InputError("cannot be read", where=uri)
        return self.sessions[uri]

    def let_go(self, *uris: str) -> None:
        with self.changed:
            for uri in uris:
                self.free.setdefault(uri, threading.Event()).set()

    def wait_for(self, *uris: str) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: set(uris) <= set(self.begun), SOON)


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> Readings:
    found = Readings()
    monkeypatch.setattr(prefetch, "read_session", found.read)
    return found


def test_while_one_is_used_the_next_is_read_and_no_other(readings):
    readings.let_go("a")
    with read_ahead(["a", "b", "c"]) as sessions:
        assert next(sessions) is readings.sessions["a"]
        readings.wait_for("b")
        assert readings.begun == ["a", "b"]
        readings.let_go("b", "c")
        assert next(sessions) is readings.sessions["b"]
        assert next(sessions) is readings.sessions["c"]
        with pytest.raises(StopIteration):
            next(sessions)
    assert readings.begun == ["a", "b", "c"]


def test_the_next_does_not_compete_with_the_one_that_is_waited_for(readings):
    with read_ahead(["a", "b"]) as sessions:
        taker = threading.Thread(target=lambda: next(sessions))
        taker.start()
        readings.wait_for("a")
        time.sleep(0.1)
        assert readings.begun == ["a"]
        readings.let_go("a", "b")
        taker.join(SOON)
        readings.wait_for("b")


def test_several_are_read_at_once_and_come_in_order(readings):
    with read_ahead("abcd", ahead=2, parallel=True) as sessions:
        found: list[Session] = []
        taker = threading.Thread(target=lambda: found.extend(sessions))
        taker.start()
        readings.wait_for("a", "b", "c")
        assert "d" not in readings.begun
        readings.let_go("c", "b")
        assert not found
        readings.let_go("a", "d")
        taker.join(SOON)
    assert [session.n_samples for session in found] == [20, 21, 22, 23]


def test_none_is_read_ahead_that_would_fill_half_of_the_memory(readings, monkeypatch):
    readings.let_go("a", "b", "c")
    room = [2 * memory.session_bytes(readings.sessions["a"]) - 1]
    monkeypatch.setattr(memory, "available_memory", lambda: room[0])
    with read_ahead(["a", "b", "c"]) as sessions:
        next(sessions)
        assert readings.begun == ["a"]
        room[0] = 10 * room[0]
        next(sessions)
        readings.wait_for("c")


def test_before_a_session_is_known_memory_is_taken_with_care(readings, monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: 1 << 20)
    readings.let_go("a", "b")
    with read_ahead(["a", "b"], ahead=2, parallel=True) as sessions:
        readings.let_go("a")
        assert next(sessions).n_samples == 20
        readings.wait_for("b")


def test_what_cannot_be_read_is_told_in_its_turn_and_the_others_go_on(readings):
    readings.let_go("a", "bad", "c")
    with read_ahead(["a", "bad", "c"]) as sessions:
        next(sessions)
        with pytest.raises(InputError, match="bad: cannot be read"):
            next(sessions)
        assert next(sessions) is readings.sessions["c"]


def test_without_reading_ahead_there_are_no_threads(readings):
    readings.let_go("a", "b")
    with read_ahead(["a", "b"], ahead=0) as sessions:
        next(sessions)
        assert readings.begun == ["a"]
        assert not any(thread.name == "recording-reader" for thread in threading.enumerate())


def test_files_of_one_session_are_joined(monkeypatch):
    joined: list[Any] = []
    monkeypatch.setattr(prefetch, "read_planes", lambda uris, config: joined.append(uris) or random_session(3, 20))
    with read_ahead([("a", "b")]) as sessions:
        assert next(sessions).n_samples == 20
    assert joined == [("a", "b")]


@pytest.fixture
def remote(tmp_path: Path, start_archive: Any, use_archive: Any) -> Callable[..., Any]:
    """An archive of two recordings, and their addresses."""

    def start(**settings: Any) -> tuple[Any, list[str]]:
        folder = tmp_path / "dandiset"
        folder.mkdir()
        for name in ("one", "two"):
            write_recording(random_session(40, 20_000), folder / f"{name}.nwb")
        archive = start_archive(folder)
        use_archive(archive, **settings)
        return archive, [f"DANDI:000999/{name}.nwb" for name in ("one", "two")]

    return start


def test_the_options_in_force_are_those_of_the_background_too(remote):
    opened = []
    archive, uris = remote(on_open=lambda reading: opened.append(reading.located.uri))
    with read_ahead(uris) as sessions:
        assert [session.n_neurons for session in sessions] == [40, 40]
    assert [uri.rpartition("/")[2] for uri in opened] == ["one.nwb", "two.nwb"]
    assert archive.counts.bytes > 0


def test_what_is_read_ahead_is_broken_off_at_once(remote):
    from ndx_synapsnet.benchmark.archive import Faults

    archive, uris = remote(timeout=60.0)
    sessions = read_ahead(uris)
    archive.faults = Faults(path="two.nwb", stall=60.0, times=None)
    next(sessions)
    until = time.monotonic() + SOON
    while not archive.counts.requests_by_path["two.nwb"]:
        assert time.monotonic() < until
        time.sleep(0.01)
    (thread,) = (t for t in threading.enumerate() if t.name == "recording-reader" and t.is_alive())
    sessions.close()
    assert not thread.is_alive()
    assert list(sessions) == []


def test_warnings_of_another_thread_are_not_taken_for_the_file_s():
    inside, over = threading.Event(), threading.Event()

    def open_something() -> None:
        with collected_warnings() as found:
            warnings.warn("of the file", UserWarning, stacklevel=1)
            inside.set()
            assert over.wait(SOON)
        texts.extend(found)

    texts: list[str] = []
    thread = threading.Thread(target=open_something)
    with warnings.catch_warnings(record=True) as ours:
        warnings.simplefilter("always")
        thread.start()
        assert inside.wait(SOON)
        warnings.warn("of a fit", UserWarning, stacklevel=1)
        over.set()
        thread.join(SOON)
    assert texts == ["of the file"]
    assert [str(one.message) for one in ours] == ["of a fit"]
