"""The benchmark of streaming: its recordings, its bounds, its readers and its memory, at small sizes."""

from __future__ import annotations

import gc
import json
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

pytest.importorskip("aiohttp", reason="the loopback archive needs the extra [benchmark]")
pytest.importorskip("matplotlib", reason="the benchmark draws, which needs the extra [plot]")

from click.testing import CliRunner

from ndx_synapsnet.benchmark import streaming, streaming_readers
from ndx_synapsnet.benchmark.archive import Line
from ndx_synapsnet.benchmark.archive_process import ArchiveProcess
from ndx_synapsnet.benchmark.recordings import Recording, dff_recording, spike_recording
from ndx_synapsnet.benchmark.streaming import BULK, DFF, TINY, bound, claims, inflate_seconds, make_recording
from ndx_synapsnet.benchmark.streaming_line import LINE_ALONE, needed_ranges
from ndx_synapsnet.benchmark.streaming_memory import ALLOWED, streaming_memory
from ndx_synapsnet.benchmark.streaming_readers import READERS, Job, measure
from ndx_synapsnet.cli import main
from ndx_synapsnet.nwb.readers import read_session

SMALL = "spikes, 58 KB gzip chunks"


@pytest.fixture(autouse=True)
def _no_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DANDI_NO_ET", "1")
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")


@pytest.mark.parametrize(
    ("layout", "chunks", "filters"),
    [
        ("small", (7325,), ("gzip", False)),
        ("large", (20_000,), ("gzip", False)),  # no longer than the data
        ("contiguous", None, (None, False)),
        ("fletcher32", (7325,), (None, True)),
    ],
)
def test_spikes_to_stream(layout, chunks, filters, tmp_path):
    made = spike_recording(tmp_path / "a" / "x.nwb", layout, units=7, spikes=20_000, seconds=50.0, other=10_000)
    with h5py.File(made.path) as file:
        times, stops = file[made.dataset], file[f"{made.dataset}_index"][:]
        assert (times.chunks, (times.compression, times.fletcher32)) == (chunks, filters)
        assert (len(times), stops[-1], made.values, made.kind) == (20_000, 20_000, 20_000, "spikes")
        assert made.needed == times.id.get_storage_size() < made.size == made.path.stat().st_size
        assert made.chunks == (0 if chunks is None else len(range(0, 20_000, chunks[0])))
        first = times[: stops[0]]
    assert (np.diff(first) >= 0).all()
    activity = read_session(made.path, quality_filter=False, bin_width=0.5).activity
    assert activity.shape == (7, 99)  # the last bin is not whole
    np.testing.assert_array_equal(activity[0], np.histogram(first, np.arange(100) * 0.5)[0])


def test_even_spikes(tmp_path):
    made = spike_recording(tmp_path / "x.nwb", "contiguous", units=3, spikes=9_000, seconds=30.0, even=True)
    activity = read_session(made.path, quality_filter=False, bin_width=1.0).activity
    assert np.ptp(activity[:, 1:-1], axis=1).max() <= 1
    assert activity.sum() == pytest.approx(9_000, rel=0.05)


def test_dff_to_stream(tmp_path):
    made = dff_recording(tmp_path / "x.nwb", rois=20, frames=700, other=5_000)
    session = read_session(made.path)
    assert (session.activity.shape, session.activity_kind) == ((20, 700), "dff")
    with h5py.File(made.path) as file:
        assert file[made.dataset].chunks == (625, 16)
    assert (made.chunks, made.values) == (4, 14_000)


def test_the_bound_by_hand(tmp_path):
    line = Line(latency=0.03, connection_latency=0.06, bandwidth=20e6)
    recording = Recording(tmp_path, "spikes", "/units/spike_times", 145_000_000, 239_000_000, 4096, 30_000_000)
    assert bound(recording, line) == pytest.approx(7.25 + 0.12)
    assert [bound(replace(recording, needed=0), one) for one in streaming.LINES.values()] == pytest.approx([0.12] * 2)


def test_inflating_is_timed_where_there_is_something_to_inflate(tmp_path):
    kinds = ("small", "contiguous")
    made = [spike_recording(tmp_path / f"{k}.nwb", k, units=3, spikes=20_000, seconds=30.0) for k in kinds]
    small, contiguous = map(inflate_seconds, made)
    assert small > 0 == contiguous


def test_claims_by_hand():
    def row(line, reader, seconds, **more):
        return {
            "recording": "x",
            "line": line,
            "reader": reader,
            "seconds": seconds,
            "bound": 2.0,
            "bytes": 110,
            **more,
        }

    readings = [
        row("slow", "ours", 3.0),
        row("slow", BULK, 2.5, phases={"open": 0.3, "read": 2.2}),
        row("slow", "remfile", 6.0, phases={"open": 0.5, "read": 4.5, "count": 1.0}),
        row("slow", "ours, second time", 0.3) | {"bytes": 0},
        row("fast", "ours", 3.0),
        row("fast", BULK, 2.5, phases={"open": 0.3, "read": 2.2}),
        {"recording": "x", "line": "fast", "reader": "remfile", "skipped": "not there"},
    ]
    facts = {"x": {"needed": 100, "inflate_seconds": 2.75}}
    slow, fast = claims({"readings": readings, "recordings": facts, "lines": {"slow": {}, "fast": {}}})
    assert slow["limit"] == 2.0  # what inflating takes counts on the faster line only
    assert (slow["read"], slow["session"], slow["bytes"]) == pytest.approx((1.1, 1.5, 1.1))
    assert (slow["remfile_read"], slow["remfile_session"]) == pytest.approx((2.0, 2.0))
    assert slow["bytes_second_time"] == 0
    assert fast["limit"] == 2.75
    assert fast["read"] == pytest.approx(0.8)
    assert "remfile_read" not in fast


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    for name in (SMALL, DFF):
        make_recording(folder, name, TINY)
    return folder


@pytest.mark.parametrize(
    "reader", ["remfile", "fsspec", "fsspec, blockcache", "fsspec, background", "lindi", "full download"]
)
def test_the_others_read_the_same(reader, tiny, tmp_path):
    if READERS[reader].needs is not None:
        pytest.importorskip(READERS[reader].needs)
    sums = {"dff": read_session(tiny / "dff.nwb").activity.sum(dtype="f8"), "spikes": 50_000}
    # not a thread of this process: one that frees a h5py object waits for the lock that a reader holds while it waits
    with ArchiveProcess(tiny) as archive:
        gc.collect()
        for kind, name in (("spikes", "small.nwb"), ("dff", "dff.nwb")):
            job = Job(reader, archive.file_url(name), kind, "", folder=str(tmp_path))
            found = READERS[reader].read(job)
            assert found.total == pytest.approx(sums[kind], rel=1e-6)
            assert {"open", "read"} <= set(found.phases)
            assert sum(found.phases.values()) <= found.seconds


def test_a_reader_that_is_not_installed_or_fails_says_why(tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "remfile", None)
    job = Job("remfile", "", "spikes", str(tiny / "small.nwb"))
    assert "the package remfile cannot be imported" in streaming_readers.answer(job)["skipped"]
    gone = Job("ours", "http://127.0.0.1:9/x.nwb", "spikes", str(tiny / "none.nwb"))
    assert "no such file" in measure(gone)
    assert measure(gone, limit=0.01) == "given up after 0 s"


def test_the_archive_in_another_process(tiny):
    import requests

    with ArchiveProcess(tiny) as archive:
        assert requests.get(archive.file_url("dff.nwb"), timeout=5).content == (tiny / "dff.nwb").read_bytes()
        traffic = archive.traffic()
        assert traffic.server_processor > 0
        assert (traffic.requests, traffic.bytes) == (1, (tiny / "dff.nwb").stat().st_size)
        archive.reset(Line(latency=0.01))
        assert archive.traffic().requests == 0
    with pytest.raises(requests.ConnectionError):
        requests.get(archive.file_url("dff.nwb"), timeout=5)


def test_everything_at_a_small_size(tmp_path, monkeypatch):
    line = {"fast": Line(latency=0.001, bandwidth=1e9)}
    monkeypatch.setattr(streaming, "LINES", line)
    names = [SMALL, LINE_ALONE, "ours", "ours, filling the cache", "ours, second time", BULK, "full download"]
    found = streaming.run(tmp_path, quick=True, sizes=TINY, names=names)
    assert json.loads((tmp_path / "streaming.json").read_text()) == json.loads(json.dumps(found))
    assert (tmp_path / "streaming.png").stat().st_size > 1000
    rows = {row["reader"]: row for row in found["readings"]}
    assert set(rows) == set(names[1:])
    assert all(row["right"] and row["requests"] for row in rows.values())
    assert rows["ours, second time"]["bytes"] == 0 < rows["ours, filling the cache"]["bytes"]
    assert found["claims"][0]["bytes_second_time"] == 0
    assert "fsspec" not in rows
    monkeypatch.setattr(streaming, "run", lambda *args, **kwargs: found)
    result = CliRunner().invoke(main, ["benchmark", "streaming", "--quick", "-o", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "full download" in result.output


def test_the_line_alone_gets_what_is_needed(tmp_path):
    small = make_recording(tmp_path, SMALL, TINY)
    assert sum(stop - start for start, stop in needed_ranges(small)) == small.needed
    contiguous = spike_recording(tmp_path / "c.nwb", "contiguous", units=3, spikes=9_000, seconds=30.0)
    (whole,) = needed_ranges(contiguous)
    assert whole[1] - whole[0] == contiguous.needed == 72_000


def test_a_wrong_answer_is_marked(tmp_path, monkeypatch):
    monkeypatch.setattr(streaming, "LINES", {"fast": Line(bandwidth=1e9)})
    monkeypatch.setattr(streaming, "_expected", lambda recording: {"data": 1.0, "session": 1.0})
    found = streaming.run(tmp_path, quick=True, sizes=TINY, names=[SMALL, "full download"])
    assert not found["readings"][0]["right"]


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's account of memory")
def test_memory_of_streaming_is_that_of_the_counts(tmp_path):
    """More spike times than may be held: 208 MB of them beside counts of 32 MB."""
    found = streaming_memory(tmp_path, "contiguous", units=300, spikes=26_000_000, seconds=900.0)
    assert found["counts"] == 4 * 300 * 26_999
    assert found["counted"] == pytest.approx(26_000_000, rel=1e-3)
    assert 0 < found["beside"] < ALLOWED < 8 * 26_000_000
    assert not list(tmp_path.rglob("large.nwb"))
