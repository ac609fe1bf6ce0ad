"""Datasets of a remote file: equal to what HDF5 reads locally, from no more bytes than needed, and never wrong."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from counting_reader import CountingReader, remote

from ndx_synapsnet.errors import InputError
from ndx_synapsnet.nwb.sources import bulk
from ndx_synapsnet.nwb.sources.remote import chunks, contiguous
from ndx_synapsnet.nwb.sources.remote.blockfile import BLOCK, BlockFile
from ndx_synapsnet.nwb.sources.remote.contiguous import contiguous_ranges

Make = Callable[[h5py.File], Any]
RNG = np.random.default_rng(0)
SPIKES = np.round(np.sort(RNG.uniform(0, 5000, 60_000)) * 30_000) / 30_000
TRACES = RNG.normal(size=(900, 120)).astype(np.float32)

#: Layout → how a dataset is made; whether it is one that only HDF5 reads is in `BY_HDF5`.
LAYOUTS: dict[str, dict[str, Any]] = {
    "contiguous": {"data": SPIKES},
    "contiguous, big end first": {"data": SPIKES.astype(">f8")},
    "small chunks": {"data": SPIKES, "chunks": (1000,), "compression": "gzip", "shuffle": True},
    "small chunks, big end first": {"data": SPIKES.astype(">f8"), "chunks": (1000,), "compression": "gzip"},
    "large chunks": {"data": SPIKES, "chunks": (25_000,), "compression": "gzip"},
    "a chunk larger than the dataset": {"data": SPIKES, "chunks": (99_999,), "maxshape": (None,), "shuffle": True},
    "unlimited": {"data": SPIKES, "chunks": (999,), "maxshape": (None,), "compression": 1},
    "chunks without filters": {"data": SPIKES, "chunks": (1000,)},
    "fletcher32": {"data": SPIKES, "chunks": (1000,), "fletcher32": True, "compression": "gzip", "shuffle": True},
    "lzf": {"data": np.repeat(SPIKES, 2), "chunks": (1001,), "compression": "lzf"},
    "scaleoffset": {"data": (SPIKES * 100).astype("i4"), "chunks": (1000,), "scaleoffset": 0},
    "text of one length": {"data": SPIKES.astype("S9"), "chunks": (1000,), "compression": "gzip"},
    "masks": {"data": np.array([(1, 2, 0.5)] * 9000, [("x", "u4"), ("y", "u4"), ("weight", ">f4")])},
    "time x ROI": {"data": TRACES, "chunks": (64, 16), "compression": "gzip", "shuffle": True},
    "ROI x time": {"data": TRACES.T.copy(), "chunks": (16, 64), "compression": "gzip"},
    "a row a chunk": {"data": TRACES, "chunks": (1, 120), "compression": "gzip"},
    "unlimited both ways": {"data": TRACES, "chunks": (64, 16), "maxshape": (None, None)},
    "time x ROI, contiguous": {"data": TRACES},
    "ROI x time, contiguous": {"data": TRACES.T.copy()},
    "three axes": {"data": TRACES.reshape(90, 10, 120), "chunks": (7, 4, 50), "compression": "gzip"},
    "three axes, contiguous": {"data": TRACES.reshape(90, 10, 120)},
    "nothing written": {"shape": (60_000,), "dtype": "f8", "chunks": (1000,), "fillvalue": 2.5},
    "nothing written, contiguous": {"shape": (60_000,), "dtype": "f8", "fillvalue": 2.5},
    "numbers that are marks": {"data": np.arange(90_000) % 2 == 1, "chunks": (1000,)},
    "words": {"data": [f"word {i}" for i in range(9000)], "chunks": (1000,), "dtype": h5py.string_dtype()},
}
BY_HDF5 = ("numbers that are marks", "words")


def write(folder: Path, layout: dict[str, Any], libver: str = "earliest") -> Path:
    path = folder / "x.h5"
    with h5py.File(path, "w", libver=libver) as file:
        file["before"] = np.zeros(100_000)
        file.create_dataset("x", **layout)
        file["after"] = np.zeros(100_000)
    return path


def some_regions(shape: tuple[int, ...]) -> list[bulk.Region]:
    """Regions that begin and end inside chunks, share chunks, reach the end, or hold one value or none."""
    n = shape[0]
    firsts = [slice(3, n // 5), slice(n // 5 + 1, n // 5 + 2), slice(n // 3, n // 3), slice(n // 2, n)]
    regions: list[bulk.Region] = []
    for i, first in enumerate(firsts):
        rest = [slice(None), slice(0, 1), slice(2, 7), slice(5, None)]
        regions += [(first, *(slice(*rest[i].indices(length)[:2]) for length in shape[1:]))]
    return regions


@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_equal_to_local_reading(tmp_path, layout, libver):
    path = write(tmp_path, LAYOUTS[layout], libver)
    with h5py.File(path) as local, remote(path) as (file, reader):
        stored = local["x"][()]
        reader.forget()
        whole = bulk.values(file["x"])
        assert whole.dtype == (stored.dtype if stored.dtype.hasobject else stored.dtype.newbyteorder("="))
        assert np.array_equal(whole, stored)
        assert (reader.fetched > 0) == (layout not in BY_HDF5 and not layout.startswith("nothing"))
        seen = np.zeros(stored.shape, dtype=int)
        for region, piece in bulk.pieces(file["x"], some_regions(stored.shape)):
            seen[region] += 1
            assert np.array_equal(piece, stored[region])
        wanted = np.zeros(stored.shape, dtype=int)
        for region in some_regions(stored.shape):
            wanted[region] = 1
        assert np.array_equal(seen, wanted)


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name not in BY_HDF5])
def test_only_the_chunks_that_are_needed_are_fetched(tmp_path, layout):
    path = write(tmp_path, LAYOUTS[layout])
    with remote(path) as (file, reader):
        dataset = file["x"]
        regions = some_regions(dataset.shape)[:2]
        needed = 0
        if dataset.chunks:
            for i in range(dataset.id.get_num_chunks()):
                info = dataset.id.get_chunk_info(i)
                needed += info.size * any(
                    all(
                        part.start < at + n and at < part.stop
                        for part, at, n in zip(region, info.chunk_offset, dataset.chunks, strict=True)
                    )
                    for region in regions
                )
        elif dataset.id.get_offset() is not None:
            # whole lines, where a line is short
            needed = sum((r[0].stop - r[0].start) * dataset[:1].nbytes for r in regions)
        reader.forget()
        list(bulk.pieces(dataset, regions))
        assert reader.fetched <= 1.1 * needed + 20_000  # of the index, at most
        assert reader.bytes - reader.fetched <= 2 * BLOCK
        starts = [start for start, _ in reader.ranges]
        assert dataset.chunks is None or starts[-needed:] == sorted(starts[-needed:])


def test_chunks_that_were_never_written_hold_the_fill_value(tmp_path):
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        some = file.create_dataset("x", (200, 900), "i2", chunks=(30, 40), fillvalue=-7, compression="gzip")
        some[40:50, 300:500] = 3
        some[199, 899] = 5
    with h5py.File(path) as local, remote(path) as (file, reader):
        assert np.array_equal(bulk.values(file["x"]), local["x"][()])
        region = (slice(20, 45), slice(290, 700))
        assert np.array_equal(bulk.values(file["x"], region), local["x"][region])
        assert bulk.values(file["x"], (slice(100, 110), slice(0, 9))).tolist() == [[-7] * 9] * 10
        assert reader.fetched < 20_000


def test_a_dataset_that_was_made_smaller(tmp_path, monkeypatch):
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("x", data=SPIKES, chunks=(1000,), maxshape=(None,))
        dataset.resize((20_500,))
    with remote(path) as (file, _):
        assert np.array_equal(bulk.values(file["x"]), SPIKES[:20_500])
        stored = chunks._stored_chunks(file["x"])
        outside = [stored[0]._replace(chunk_offset=(at,)) for at in (50_000, 51_000, 2**63)]
        monkeypatch.setattr(chunks, "_stored_chunks", lambda dataset: [*outside, *stored])
        assert np.array_equal(bulk.values(file["x"]), SPIKES[:20_500])


@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_a_file_that_begins_after_a_block_of_the_user_s(tmp_path, libver):
    path = tmp_path / "x.h5"
    with h5py.File(path, "w", userblock_size=512, libver=libver) as file:
        file.create_dataset("chunked", data=SPIKES, chunks=(1000,), compression="gzip")
        file.create_dataset("contiguous", data=SPIKES)
        file.create_dataset("nothing", (60_000,), "f8")
    with remote(path) as (file, reader):
        reader.forget()
        assert np.array_equal(bulk.values(file["chunked"]), SPIKES)
        assert np.array_equal(bulk.values(file["contiguous"]), SPIKES)
        assert not bulk.values(file["nothing"]).any()
        assert not reader.ranges  # HDF5 reads it: what its versions say of chunks' places differs


def test_data_that_are_in_another_file_or_another_dataset(tmp_path):
    path = tmp_path / "x.h5"
    outside = tmp_path / "outside.bin"
    SPIKES.tofile(outside)
    with h5py.File(path, "w") as file:
        file.create_dataset("source", data=SPIKES)
        layout = h5py.VirtualLayout(shape=(2, 30_000), dtype="f8")
        layout[0] = h5py.VirtualSource(".", "source", shape=(60_000,))[:30_000]
        layout[1] = h5py.VirtualSource(".", "source", shape=(60_000,))[30_000:]
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("external", (60_000,), "f8", external=[(str(outside), 0, h5py.h5f.UNLIMITED)])
    with remote(path) as (file, reader):
        reader.forget()
        assert np.array_equal(bulk.values(file["external"]), SPIKES)
        assert np.array_equal(bulk.values(file["virtual"]), SPIKES.reshape(2, 30_000))
        assert reader.fetched == 0
        assert np.array_equal(bulk.values(file["source"]), SPIKES)


def test_numbers_that_are_no_numpy_type(tmp_path):
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        narrow = h5py.h5t.STD_I16LE.copy()
        narrow.set_precision(12)
        space = h5py.h5s.create_simple((90_000,))
        h5py.Dataset(h5py.h5d.create(file.id, b"x", narrow, space))[...] = np.arange(90_000) % 2000 - 1000
    with h5py.File(path) as local, remote(path) as (file, _):
        assert np.array_equal(bulk.values(file["x"]), local["x"][()])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"compression": "gzip"},
            r"the chunk that begins at \[3000\] is damaged: it (does not inflate|inflates|.*ends)",
        ),
        ({"fletcher32": True}, r"the chunk that begins at \[3000\] is damaged: its Fletcher32 checksum is wrong"),
        ({"fletcher32": True, "compression": "lzf"}, r"\[3000\] is damaged: HDF5 cannot decode it"),
    ],
)
def test_a_flipped_byte_is_an_error_that_names_the_chunk(tmp_path, options, says):
    path = write(tmp_path, {"data": np.repeat(SPIKES, 2), "chunks": (1000,), **options})
    with h5py.File(path) as file:
        info = file["x"].id.get_chunk_info(3)
    content = bytearray(path.read_bytes())
    content[info.byte_offset + info.size // 2] ^= 0x20
    path.write_bytes(content)
    with remote(path) as (file, reader):
        with pytest.raises(InputError, match=rf"https://example\.org/x\.nwb, /x: .*{says}.*again with --no-cache"):
            bulk.values(file["x"])
        reader.located = replace(reader.located, digest="sha256:0")
        with pytest.raises(InputError, match="again with --verify and --no-cache"):
            bulk.values(file["x"])
        untouched = bulk.values(file["x"], (slice(0, 3000),))
        assert np.array_equal(untouched, np.repeat(SPIKES, 2)[:3000])


def _bad_node(infos: list[Any]) -> list[Any]:
    raise RuntimeError("bad node")


@pytest.mark.parametrize(
    "change",
    [
        lambda infos: [*infos[:-1], infos[-1]._replace(byte_offset=10**9)],
        lambda infos: [*infos[:-1], infos[-1]._replace(byte_offset=2**64 - 2)],
        lambda infos: [*infos[:-1], infos[-1]._replace(size=400_000)],
        lambda infos: [*infos, infos[3]],
        _bad_node,
    ],
)
def test_an_index_that_makes_no_sense(tmp_path, monkeypatch, change):
    path = write(tmp_path, LAYOUTS["small chunks"])
    stored_chunks = chunks._stored_chunks
    monkeypatch.setattr(chunks, "_stored_chunks", lambda dataset: change(stored_chunks(dataset)))
    with (
        remote(path) as (file, _),
        pytest.raises(InputError, match=r"/x: its chunk index (makes no sense|cannot be read \(bad node)"),
    ):
        bulk.values(file["x"])


def test_contiguous_data_beyond_the_end_of_the_file(tmp_path):
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["x"] = SPIKES
    with remote(path) as (file, reader):
        reader.size -= 1000
        with pytest.raises(InputError, match="beyond the end of the file"):
            bulk.values(file["x"])


def test_an_error_of_the_line_comes_through(tmp_path):
    path = write(tmp_path, LAYOUTS["small chunks"])

    class Broken(CountingReader):
        broken = False

        def read(self, start: int, stop: int) -> bytes:
            if self.broken:
                raise InputError("the server is gone", where=self.uri)
            return super().read(start, stop)

        def fetch(self, ranges: Any, *, keep: bool = True) -> Any:
            for number, (index, data) in enumerate(super().fetch(ranges)):
                if self.broken and number == 2:
                    raise InputError("the server is gone", where=self.uri)
                yield index, data

    reader = Broken(path.read_bytes())
    with BlockFile(reader) as content, h5py.File(content, "r") as file:  # type: ignore[arg-type]
        dataset = file["x"]
        assert len(bulk.values(dataset)) == len(SPIKES)
        reader.broken = True
        with pytest.raises(InputError, match="the server is gone"):
            bulk.values(dataset)


def test_a_consumer_that_stops_early_leaves_nothing_running(tmp_path, monkeypatch):
    path = write(tmp_path, LAYOUTS["small chunks"])
    monkeypatch.setattr(chunks, "PENDING", 50_000)
    monkeypatch.setattr(chunks, "TOGETHER", 1)
    with remote(path) as (file, reader):
        reader.forget()
        pieces = bulk.pieces(file["x"], [(slice(0, 60_000),)])
        next(pieces)
        pieces.close()
        assert reader.given_up > 0
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


@pytest.mark.parametrize(("together", "most"), [(1, 4), (16_000, 6)])
def test_little_is_held_between_fetching_and_use(tmp_path, monkeypatch, together, most):
    path = write(tmp_path, LAYOUTS["chunks without filters"])  # 60 chunks of 8 kB, as stored and as decoded
    monkeypatch.setattr(chunks, "PENDING", 50_000)
    monkeypatch.setattr(chunks, "TOGETHER", together)
    with remote(path) as (file, reader):
        reader.forget()
        used, ahead = 0, []
        for _, piece in bulk.pieces(file["x"], [(slice(0, 60_000),)]):
            used += piece.nbytes
            ahead.append((reader.fetched - used) // 8000)
        assert used == 480_000
        assert 1 <= max(ahead) <= most


@pytest.mark.parametrize("together", [1, 30_000, 2**30])
def test_small_chunks_are_given_out_together(tmp_path, monkeypatch, together):
    path = write(tmp_path, LAYOUTS["small chunks"])
    monkeypatch.setattr(chunks, "TOGETHER", together)
    monkeypatch.setattr(CountingReader, "fetch", lambda self, ranges: enumerate(self.content[a:b] for a, b in ranges))
    regions = [(slice(500, 1500),), (slice(1500, 20_000),), (slice(30_000, 59_999),)]
    with remote(path) as (file, _):
        parts = list(bulk.pieces(file["x"], regions))
        for region, piece in parts:
            assert np.array_equal(piece, SPIKES[region])
        assert sum(len(piece) for _, piece in parts) == 1000 + 18_500 + 29_999
        # by the chunk; by four chunks, which may lie in two regions; by the region
        assert {1: 51, 30_000: 14, 2**30: 3}[together] == len(parts)


@pytest.mark.parametrize(
    ("shape", "region", "ranges"),
    [
        # one axis: cut in ranges of 1000 bytes
        ((1000,), (slice(10, 300),), [(80, 1080), (1080, 2080), (2080, 2400)]),
        # whole lines follow each other
        ((50, 10), (slice(5, 30), slice(0, 10)), [(400, 1360), (1360, 2320), (2320, 2400)]),
        # short gaps are read along
        ((50, 10), (slice(5, 30), slice(2, 9)), [(400, 1360), (1360, 2320), (2320, 2400)]),
        # a single line is not read whole
        ((50, 10), (slice(5, 6), slice(2, 9)), [(416, 472)]),
        # long gaps are left out
        ((3, 100), (slice(0, 3), slice(2, 9)), [(16, 72), (816, 872), (1616, 1672)]),
        # lines longer than a range are cut
        ((2, 200), (slice(0, 2), slice(0, 200)), [(0, 1000), (1000, 1600), (1600, 2600), (2600, 3200)]),
    ],
)
def test_ranges_of_contiguous_data(shape, region, ranges, monkeypatch):
    monkeypatch.setattr(contiguous, "GAP", 64)
    monkeypatch.setattr(contiguous, "RANGE", 1000)
    values = np.arange(np.prod(shape), dtype="<f8").reshape(shape)
    content = values.tobytes()
    parts = contiguous_ranges([region], shape, 8)
    assert [(part.start, part.stop) for part in parts] == ranges
    result = np.full(shape, -1.0)
    for part in parts:
        held = np.frombuffer(content[part.start : part.stop], "<f8").reshape(part.shape)
        result[part.region] = held[part.inside]
    assert np.array_equal(result[region], values[region])
    result[region] = -1
    assert (result == -1).all()


GARBAGE = """
import gc, sys, threading
sys.path.insert(0, {folder!r})
import h5py
from pathlib import Path
from counting_reader import CountingReader
from ndx_synapsnet.nwb.sources.remote.blockfile import BlockFile

class Cycle:
    pass

class InThreads(CountingReader):
    def read(self, start, stop):
        def get():
            kept = [[] for _ in range(5000)]  # would set off a collection several times over
            answer.append(super(InThreads, self).read(start, stop))
        answer = []
        thread = threading.Thread(target=get, daemon=True)
        thread.start()
        thread.join()
        return answer[0]

path = Path({path!r})
with h5py.File(path) as local, BlockFile(InThreads(path.read_bytes())) as content, h5py.File(content, "r") as file:
    gc.set_threshold(100)
    for _ in range(20):
        garbage = Cycle()
        garbage.itself, garbage.dataset = garbage, local["x"]
        del garbage
        content._blocks.clear()
        assert len(file["x"][:100]) == 100
    assert gc.isenabled()
print("done")
"""


def test_garbage_of_h5py_s_does_not_stop_the_threads_that_it_waits_for(tmp_path):
    path = write(tmp_path, LAYOUTS["contiguous"])
    code = GARBAGE.format(folder=str(Path(__file__).parents[2]), path=str(path))
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert answer.stdout.strip() == "done"
