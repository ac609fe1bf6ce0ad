"""h5py on a remote file reads what it reads from a local one."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from faulty_server import Handler, Server

from ndx_synapsnet.errors import InputError
from ndx_synapsnet.nwb.sources.remote.blockfile import BLOCK, BlockFile, block_file_of
from ndx_synapsnet.nwb.sources.remote.chunk_index import children_of
from ndx_synapsnet.nwb.sources.remote.fetch import RangeReader, RemoteOptions

Open = Callable[..., RangeReader]


def write(path: Path, libver: str, n_chunks: int = 3000) -> None:
    """Write a file whose chunks, of noise, have an index of several levels; it holds 5 MB of other data too."""
    rng = np.random.default_rng(0)
    with h5py.File(path, "w", libver=libver) as file:
        file["contiguous"] = rng.normal(size=(300, 1000))
        # one after the other, as a recording grows, so that the nodes of the index lie among the data
        grown = file.create_dataset("grown", (0,), "u1", chunks=(512,), maxshape=(None,), compression="gzip")
        for at in range(0, 512 * n_chunks, 512 * 500):
            grown.resize((at + 512 * 500,))
            grown[at:] = rng.integers(0, 256, 512 * 500, "u1")
        file.create_dataset("fixed", data=rng.normal(size=(200, 300)), chunks=(10, 30), shuffle=True, compression=1)
        file.create_dataset("two ways", data=rng.normal(size=(90, 90)), chunks=(7, 8), maxshape=(None, None))
        file["scalar"] = 3
        for i in range(40):
            file.create_group(f"group{i}").attrs["text"] = f"{i} " * 50


@pytest.fixture(params=["earliest", "latest"])
def local(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"{request.param}.h5"
    write(path, request.param)
    return path


@pytest.fixture
def uncached(options: RemoteOptions) -> RemoteOptions:
    return replace(options, cache=None)


def remote(path: Path, serve: Callable[[bytes], Server], opened: Open, options: RemoteOptions) -> BlockFile:
    return BlockFile(opened(serve(path.read_bytes()).located(), options))


def test_layouts_are_the_same_as_local(
    local: Path, serve: Callable[[bytes], Server], opened: Open, uncached: RemoteOptions
) -> None:
    with (
        remote(local, serve, opened, uncached) as block_file,
        h5py.File(block_file, "r") as far,
        h5py.File(local) as near,
    ):
        assert list(far) == list(near)
        for name in ("contiguous", "grown", "fixed", "two ways", "scalar"):
            np.testing.assert_array_equal(far[name][()], near[name][()])
        np.testing.assert_array_equal(far["contiguous"][17, 3:500:7], near["contiguous"][17, 3:500:7])
        np.testing.assert_array_equal(far["grown"][1_000_000:1_003_000], near["grown"][1_000_000:1_003_000])
        assert all(dict(far[f"group{i}"].attrs) == dict(near[f"group{i}"].attrs) for i in range(40))


def chunks_of(dataset: h5py.Dataset) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    dataset.id.chunk_iter(lambda chunk: found.append((chunk.byte_offset, chunk.size)))
    return found


@pytest.fixture(scope="module")
def scattered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file whose index has three levels, its leaves too far apart for one request to take in two of them."""
    path = tmp_path_factory.mktemp("index") / "scattered.h5"
    with h5py.File(path, "w") as file:
        grown = file.create_dataset("grown", (0,), "u1", chunks=(1200,), maxshape=(None,))
        for at in range(0, 1200 * 9600, 1200 * 300):
            grown.resize((at + 1200 * 300,))
            grown[at:] = 1
    return path


@pytest.mark.parametrize("announced", [True, False])
def test_index_is_fetched_in_few_rounds_and_few_bytes(
    scattered: Path,
    serve: Callable[[bytes], Server],
    opened: Open,
    uncached: RemoteOptions,
    announced: bool,
) -> None:
    server = serve(scattered.read_bytes())
    with h5py.File(scattered) as near:
        expected = chunks_of(near["grown"])
    reader = opened(server.located(), uncached)
    rounds = []
    fetch = reader.fetch
    with BlockFile(reader) as block_file, h5py.File(block_file, "r") as far:
        grown = far["grown"]
        reader.fetch = lambda ranges, **kwargs: rounds.append(len(ranges)) or fetch(ranges, **kwargs)  # type: ignore[method-assign]
        before = reader.stats
        with block_file.whole_index() if announced else nullcontext():
            assert chunks_of(grown) == expected
        after = reader.stats
        sent = server.sent
        assert chunks_of(grown) == expected
        assert server.sent == sent  # nothing twice
    # the second level; the leaves of its first node; all others, together
    assert len([round for round in rounds if round]) == (2 if announced else 3)
    assert sum(rounds) > 9600 / 64
    # the root comes by a block of its own, all others as they are
    assert after.bytes - before.bytes <= 2 * BLOCK + sum(rounds) * 2096


def test_growing_array_fetches_its_blocks_together(
    tmp_path: Path, serve: Callable[[bytes], Server], opened: Open, uncached: RemoteOptions
) -> None:
    path = tmp_path / "latest.h5"
    write(path, "latest")
    reader = opened(serve(path.read_bytes()).located(), uncached)
    rounds = []
    fetch = reader.fetch
    with BlockFile(reader) as block_file, h5py.File(block_file, "r") as far, h5py.File(path) as near:
        grown = far["grown"]
        reader.fetch = lambda ranges, **kwargs: rounds.append(len(ranges)) or fetch(ranges, **kwargs)  # type: ignore[method-assign]
        requests = reader.stats.requests
        assert chunks_of(grown) == chunks_of(near["grown"])
        assert max(rounds) >= 4
        assert reader.stats.requests - requests < 40


def test_sequential_reads_take_ever_larger_steps(
    tmp_path: Path, serve: Callable[[bytes], Server], opened: Open, uncached: RemoteOptions
) -> None:
    content = np.random.default_rng(0).bytes(40 * BLOCK + 100)
    reader = opened(serve(content).located(), uncached)
    file = BlockFile(reader)
    assert b"".join(iter(lambda: file.read(50_000), b"")) == content
    assert reader.stats.requests < 20
    assert reader.stats.bytes == len(content)


def test_memory_is_bounded(serve: Callable[[bytes], Server], opened: Open, uncached: RemoteOptions) -> None:
    content = np.random.default_rng(0).bytes(20 * BLOCK)
    file = BlockFile(opened(serve(content).located(), uncached), memory=4 * BLOCK)
    for at in np.random.default_rng(1).integers(0, len(content) - 100, 200).tolist():
        file.seek(at)
        assert file.read(100) == content[at : at + 100]
    assert sum(map(len, file._blocks._items.values())) <= 4 * BLOCK


def test_it_is_a_file(serve: Callable[[bytes], Server], opened: Open, uncached: RemoteOptions) -> None:
    content = np.random.default_rng(0).bytes(2 * BLOCK + 10)
    file = BlockFile(opened(serve(content).located(), uncached))
    assert (file.readable(), file.seekable(), file.writable()) == (True, True, False)
    assert file.seek(-20, io.SEEK_END) == len(content) - 20 == file.tell()
    assert file.read(100) == content[-20:]
    assert file.read(1) == b""
    assert file.seek(BLOCK - 5) == BLOCK - 5
    assert file.seek(2, io.SEEK_CUR) == BLOCK - 3
    assert file.read(10) == content[BLOCK - 3 : BLOCK + 7]
    assert file.seek(len(content) + 5) == len(content) + 5
    assert file.read(3) == b""
    with pytest.raises(ValueError, match="negative"):
        file.seek(-1)
    assert BufferedEqual(file, content)


def BufferedEqual(file: BlockFile, content: bytes) -> bool:
    file.seek(0)
    return io.BufferedReader(file).read() == content


def test_block_that_gives_way_to_its_neighbour_is_still_read(
    serve: Callable[[bytes], Server], opened: Open, uncached: RemoteOptions
) -> None:
    content = np.random.default_rng(3).bytes(6 * BLOCK)
    file = BlockFile(opened(serve(content).located(), uncached), memory=2 * BLOCK)
    for start in (2 * BLOCK, 0):  # the first is the oldest of two held ones
        file.seek(start)
        file.read(10)
    file.seek(3 * BLOCK - 100)
    assert file.read(200) == content[3 * BLOCK - 100 : 3 * BLOCK + 100]


def test_reader_is_found_by_what_h5py_opened(
    local: Path, serve: Callable[[bytes], Server], opened: Open, uncached: RemoteOptions
) -> None:
    block_file = remote(local, serve, opened, uncached)
    block_file.reader.uri = "archive:é.nwb"
    again = BlockFile(block_file.reader)
    with h5py.File(again, "r") as far, h5py.File(local) as near:
        assert block_file_of(far) is again
        assert block_file_of(far["grown"]) is again
        assert block_file_of(far["group0"]) is again
        assert block_file_of(near["grown"]) is None
        assert "127.0.0.1" not in far.filename
        again.close()
        assert block_file_of(far) is None
    assert block_file_of(np.zeros(3)) is None


def test_errors_reach_the_caller_through_h5py(
    local: Path, serve: Callable[[bytes], Server], opened: Open, uncached: RemoteOptions
) -> None:
    server = serve(local.read_bytes())

    def lost(handler: Handler) -> bool:
        handler.head(404, 0)
        return True

    with BlockFile(opened(server.located(), uncached)) as file, h5py.File(file, "r") as far:
        contiguous = far["contiguous"]
        server.always = lost
        with pytest.raises(InputError, match="withdrawn while it was being read"):
            contiguous[()]


def test_nodes_that_make_no_sense_have_no_children() -> None:
    size = 1 << 20
    noise = np.random.default_rng(0)
    for length in (30, 544, 2096, 2617, 3000):
        for start in (
            b"TREE\x01\x01\x40\x00",
            b"TREE\x01\x01\xff\xff",
            b"EAIB\x00\x01",
            b"EASB\x00\x01",
            b"TREE\x00\x01",
        ):
            for _ in range(20):
                node = start + noise.bytes(length - len(start))
                assert all(0 < child.start < child.stop <= size for child in children_of(node, size))
    assert children_of(b"TREE\x01\x00\x01\x00" + bytes(2088), size) == []
    assert children_of(b"", size) == []
