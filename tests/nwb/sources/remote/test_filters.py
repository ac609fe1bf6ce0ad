"""Chunks decoded here are what HDF5 decodes; damaged ones are never passed off as data."""

from __future__ import annotations

import tracemalloc
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from ndx_synapsnet.nwb.sources.remote import filters
from ndx_synapsnet.nwb.sources.remote.filters import (
    DecodeError,
    Pipeline,
    decoder_of,
    fletcher32,
    inflated,
    unshuffled,
)


def slow_fletcher32(data: bytes) -> int:
    """H5_checksum_fletcher32 of HDF5's source, word by word."""
    low = high = at = 0
    words = len(data) // 2
    while words:
        some = min(words, 360)
        words -= some
        for _ in range(some):
            low += data[at] << 8 | data[at + 1]
            high += low
            at += 2
        low, high = (low & 0xFFFF) + (low >> 16), (high & 0xFFFF) + (high >> 16)
    if len(data) % 2:
        low += data[-1] << 8
        high += low
        low, high = (low & 0xFFFF) + (low >> 16), (high & 0xFFFF) + (high >> 16)
    low, high = (low & 0xFFFF) + (low >> 16), (high & 0xFFFF) + (high >> 16)
    return high << 16 | low


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 7, 255, 256, 257, 719, 720, 721, 5000, 20001])
@pytest.mark.parametrize("kind", ["random", "ones", "zeros", "last"])
def test_fletcher32_is_hdf5_s(n, kind, monkeypatch):
    data = {
        "random": np.random.default_rng(n).bytes(n),
        "ones": b"\xff" * n,
        "zeros": bytes(n),
        "last": bytes(max(n - 1, 0)) + b"\1"[:n],
    }[kind]
    assert fletcher32(data) == slow_fletcher32(data)
    monkeypatch.setattr(filters, "_BLOCK", 2 * filters._ROW)
    assert fletcher32(data) == slow_fletcher32(data)


@pytest.mark.parametrize("n", [1, 2, 3, 100, 101, 4097])
def test_fletcher32_is_what_hdf5_wrote(tmp_path, n):
    values = np.random.default_rng(n).integers(0, 256, n, dtype=np.uint8)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        dataset = file.create_dataset("x", data=values, chunks=(n,), fletcher32=True)
        file.flush()
        skipped, stored = dataset.id.read_direct_chunk((0,))
        assert int.from_bytes(stored[-4:], "little") == fletcher32(stored[:-4])
        decoder = decoder_of(dataset)
        assert decoder.decode(stored, skipped).tolist() == values.tolist()
        # the way in which old libraries on big-endian machines stored it
        swapped = bytes([stored[-3], stored[-4], stored[-1], stored[-2]])
        assert decoder.decode(stored[:-4] + swapped, skipped).tolist() == values.tolist()
        with pytest.raises(DecodeError, match="Fletcher32 checksum is wrong"):
            decoder.decode(bytes([stored[0] ^ 4]) + stored[1:], skipped)
        with pytest.raises(DecodeError, match="no room"):
            decoder.decode(stored[:3], skipped)


FILTERS = {
    "none": {},
    "gzip": {"compression": "gzip"},
    "shuffle": {"shuffle": True},
    "gzip shuffle": {"compression": "gzip", "shuffle": True},
    "all three": {"compression": "gzip", "shuffle": True, "fletcher32": True},
    "fletcher32": {"fletcher32": True},
    "lzf": {"compression": "lzf", "shuffle": True},
    "lzf fletcher32": {"compression": "lzf", "fletcher32": True},
    "scaleoffset": {"scaleoffset": 2},
    "scaleoffset gzip": {"scaleoffset": 2, "compression": "gzip"},
    "szip": {"compression": "szip"},
}
OWN = ("none", "gzip", "shuffle", "gzip shuffle", "all three", "fletcher32")


def written(path: Path, values: np.ndarray, **options) -> h5py.File:
    file = h5py.File(path, "w")
    file.create_dataset("x", data=values, **options)
    file.flush()
    return file


def chunks_of(dataset: h5py.Dataset) -> list[tuple[tuple[int, ...], int, bytes]]:
    return [
        (corner := dataset.id.get_chunk_info(i).chunk_offset, *dataset.id.read_direct_chunk(corner))
        for i in range(dataset.id.get_num_chunks())
    ]


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("dtype", ["<f8", ">f4", "<i2", ">u4", "u1"])
def test_every_filter_is_undone(tmp_path, name, dtype):
    if name == "szip" and not h5py.h5z.filter_avail(h5py.h5z.FILTER_SZIP):
        pytest.skip("this HDF5 has no szip")
    values = (np.arange(21 * 30).reshape(21, 30) % 200).astype(dtype)
    with written(tmp_path / "x.h5", values, chunks=(7, 10), **FILTERS[name]) as file:
        decoder = decoder_of(file["x"])
        assert isinstance(decoder, Pipeline) == (name in OWN)
        for (row, column), skipped, stored in chunks_of(file["x"]):
            chunk = decoder.decode(stored, skipped)
            assert chunk.dtype == np.dtype(dtype).newbyteorder("=")
            assert np.array_equal(chunk, file["x"][row : row + 7, column : column + 10])


@pytest.mark.parametrize("name", ["gzip shuffle", "lzf", "all three"])
def test_filters_that_were_skipped_for_a_chunk(tmp_path, name):
    # gzip and lzf leave chunks of noise as they are; of three chunks, only the middle one is compressed
    values = np.random.default_rng(0).bytes(3000)
    values = np.frombuffer(values, np.uint8).copy()
    values[1000:2000] = 7
    with written(tmp_path / "x.h5", values, chunks=(1000,), **FILTERS[name]) as file:
        decoder = decoder_of(file["x"])
        for (start,), skipped, stored in chunks_of(file["x"]):
            assert decoder.decode(stored, skipped).tolist() == values[start : start + 1000].tolist()
        if name == "lzf":
            assert [skipped for _, skipped, _ in chunks_of(file["x"])] == [2, 0, 2]
    plain = Pipeline(((filters.SHUFFLE, 4), (filters.DEFLATE, 1)), (6,), np.dtype("<i4"))
    numbers = np.arange(6, dtype="<i4")
    assert plain.decode(numbers.tobytes(), 0b11).tolist() == numbers.tolist()
    assert plain.decode(zlib.compress(numbers.tobytes()), 0b01).tolist() == numbers.tolist()


def test_a_checksum_under_the_compression(tmp_path):
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk((500,))
    properties.set_fletcher32()
    properties.set_shuffle()  # of an odd number of bytes: the checksum's stay at the end
    properties.set_deflate(4)
    values = np.arange(1000, dtype="<f8")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        space = h5py.h5s.create_simple((1000,))
        h5py.Dataset(h5py.h5d.create(file.id, b"x", h5py.h5t.IEEE_F64LE, space, properties))[...] = values
        file.flush()
        decoder = decoder_of(file["x"])
        assert isinstance(decoder, Pipeline)
        for (start,), skipped, stored in chunks_of(file["x"]):
            assert decoder.decode(stored, skipped).tolist() == values[start : start + 500].tolist()


def test_unshuffling_leaves_what_is_no_whole_element():
    stored = np.arange(11, dtype=np.uint8).tobytes()
    assert bytes(unshuffled(stored, 3)) == bytes([0, 3, 6, 1, 4, 7, 2, 5, 8, 9, 10])
    assert bytes(unshuffled(stored, 1)) == stored
    assert bytes(unshuffled(stored, 0)) == stored
    assert bytes(unshuffled(stored, 8)) == stored


@pytest.mark.parametrize("zlib_like", ["zlib", "isal.isal_zlib"])
def test_inflating_stops_at_the_chunk_s_own_size(zlib_like, monkeypatch):
    module = pytest.importorskip(zlib_like)
    monkeypatch.setattr(filters, "_inflate", module)
    content = np.random.default_rng(0).integers(0, 9, 100_000, dtype=np.uint8).tobytes()
    stored = zlib.compress(content, 4)
    assert inflated(stored, len(content)) == content
    assert inflated(stored + b"more", len(content)) == content
    with pytest.raises(DecodeError, match="more than its 99999 bytes"):
        inflated(stored, len(content) - 1)
    with pytest.raises(DecodeError, match="ends early"):
        inflated(stored, len(content) + 1)
    for cut in (0, 1, len(stored) // 2, len(stored) - 1):
        with pytest.raises(DecodeError):
            inflated(stored[:cut], len(content))
    # kilobytes that inflate to megabytes
    bomb = zlib.compress(bytes(2**24))
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError, match="more than its 80 bytes"):
            inflated(bomb, 80)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
    damaged = 0
    for at in range(0, len(stored), 97):
        flipped = stored[:at] + bytes([stored[at] ^ 0x10]) + stored[at + 1 :]
        try:
            assert inflated(flipped, len(content)) == content
        except DecodeError:
            damaged += 1
    assert damaged > 0.95 * len(range(0, len(stored), 97))


def test_the_wrong_length_is_no_chunk():
    pipeline = Pipeline((), (4,), np.dtype("<f8"))
    with pytest.raises(DecodeError, match="31 bytes instead of 32"):
        pipeline.decode(bytes(31), 0)


def test_what_hdf5_cannot_decode_is_said(tmp_path):
    with written(tmp_path / "x.h5", np.zeros(5000), chunks=(1000,), compression="lzf", fletcher32=True) as file:
        decoder = decoder_of(file["x"])
        _, skipped, stored = chunks_of(file["x"])[0]
        assert decoder.decode(stored, skipped).tolist() == [0.0] * 1000
        with pytest.raises(DecodeError, match="HDF5 cannot decode it"):
            decoder.decode(bytes([stored[0] ^ 1]) + stored[1:], skipped)
        assert decoder.decode(stored, skipped).tolist() == [0.0] * 1000


def test_a_filter_that_this_hdf5_lacks_has_no_decoder(tmp_path):
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk((100,))
    properties.set_filter(32099, h5py.h5z.FLAG_OPTIONAL, ())
    with h5py.File(tmp_path / "x.h5", "w") as file:
        space = h5py.h5s.create_simple((1000,))
        dataset = h5py.Dataset(h5py.h5d.create(file.id, b"x", h5py.h5t.IEEE_F64LE, space, properties))
        assert decoder_of(dataset) is None
