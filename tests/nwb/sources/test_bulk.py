"""Whatever hdmf gives as an object's data reads alike."""

from __future__ import annotations

import subprocess
import sys

import h5py
import numpy as np
import pytest
import zarr
from hdmf.backends.hdf5 import H5DataIO
from hdmf.data_utils import DataChunkIterator

from ndx_synapsnet.errors import InputError
from ndx_synapsnet.nwb.sources import bulk
from ndx_synapsnet.nwb.sources.bulk import pieces, reach, runs, values

NUMBERS = np.arange(7 * 11, dtype=np.int32).reshape(7, 11)
REGIONS = [(slice(1, 4), slice(2, 9)), (slice(5, 7), slice(0, 11)), (slice(2, 2), slice(0, 3))]


def datasets(folder):
    file = h5py.File(folder / "x.h5", "w")
    chunked = file.create_dataset("chunked", data=NUMBERS, chunks=(3, 4), compression="gzip")
    return {
        "array": NUMBERS,
        "big end first": NUMBERS.astype(">i4"),
        "list": NUMBERS.tolist(),
        "tuple": tuple(map(tuple, NUMBERS.tolist())),
        "contiguous": file.create_dataset("contiguous", data=NUMBERS.astype(">i4")),
        "chunked": chunked,
        "wrapped": H5DataIO(chunked),
        "wrapped array": H5DataIO(NUMBERS, compression="gzip"),
        "zarr": zarr.array(NUMBERS, chunks=(3, 4)),
    }


@pytest.mark.parametrize("block", [2**26, 100, 1])
@pytest.mark.parametrize(
    "kind",
    ["array", "big end first", "list", "tuple", "contiguous", "chunked", "wrapped", "wrapped array", "zarr"],
)
def test_pieces_are_the_regions(tmp_path, kind, block, monkeypatch):
    monkeypatch.setattr(bulk, "BLOCK", block)
    dataset = datasets(tmp_path)[kind]
    seen = np.zeros(NUMBERS.shape, dtype=int)
    for region, piece in pieces(dataset, REGIONS):
        assert np.array_equal(piece, NUMBERS[region])
        assert piece.dtype.isnative
        seen[region] += 1
    wanted = np.zeros(NUMBERS.shape, dtype=int)
    for region in REGIONS:
        wanted[region] = 1
    assert np.array_equal(seen, wanted)
    assert np.array_equal(values(dataset), NUMBERS)
    assert values(dataset, (slice(2, None), slice(None, 5))).tolist() == NUMBERS[2:, :5].tolist()
    assert values(dataset, (slice(2, 2), slice(None))).shape == (0, 11)


def test_blocks_are_made_of_whole_chunks(tmp_path, monkeypatch):
    chunked = datasets(tmp_path)["chunked"]
    monkeypatch.setattr(bulk, "BLOCK", 4 * 30)  # two chunks of 3 x 4
    parts = [region for region, _ in pieces(chunked, [(slice(1, 7), slice(1, 11))])]
    assert parts == [
        (slice(1, 3), slice(1, 8)), (slice(1, 3), slice(8, 11)),
        (slice(3, 6), slice(1, 8)), (slice(3, 6), slice(8, 11)),
        (slice(6, 7), slice(1, 8)), (slice(6, 7), slice(8, 11)),
    ]  # fmt: skip


def test_arrays_of_other_shapes(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["scalar"] = 2.5
        file["words"] = ["one", "two"]
        file["empty"] = np.zeros((0, 3))
        assert values(file["scalar"]) == 2.5
        assert values(file["words"]).tolist() == [b"one", b"two"]
        assert values(file["empty"]).shape == (0, 3)
    assert values([]).shape == (0,)


@pytest.mark.parametrize(
    "region",
    [(slice(0, 7),), (slice(0, 8), slice(0, 3)), (slice(0, 7, 2), slice(0, 3)), (slice(-1, 7), slice(0, 3)),
     (slice(3, 2), slice(0, 3))],
)  # fmt: skip
def test_regions_that_do_not_fit(region):
    with pytest.raises(ValueError, match=r"no part of|do not fit"):
        values(NUMBERS, region)


def test_data_that_can_be_read_only_once():
    with pytest.raises(InputError, match="can be read only once"):
        values(H5DataIO(DataChunkIterator(iter([1, 2, 3]))))


def test_places_near_each_other_are_read_together():
    places = np.array([0, 1, 2, 6, 7, 20])
    assert runs(places, 1) == [slice(0, 3), slice(6, 8), slice(20, 21)]
    assert runs(places, 4) == [slice(0, 8), slice(20, 21)]
    assert runs(places, 3) == runs(places, 1)
    assert runs(places, 13) == [slice(0, 21)]
    assert runs([], 5) == []


def test_how_far_apart_places_may_be(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        # two places a chunk apart are in one chunk or in neighbours
        assert reach(file.create_dataset("chunked", (100, 30), "f8", chunks=(10, 7))) == (10, 7)
        # of 64 KiB, there are 8192 values, in 273 rows
        assert reach(file.create_dataset("contiguous", (100, 30), "f8")) == (273, 8192)
    assert reach([1.0, 2.0]) == (8192,)
    assert reach(np.zeros((3, 10_000))) == (1, 8192)


def test_local_files_need_nothing_of_the_web(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["x"] = np.arange(1e5)
    code = (
        "import sys, h5py; from ndx_synapsnet.nwb.sources.bulk import values\n"
        f"with h5py.File({str(tmp_path / 'x.h5')!r}) as file: assert len(values(file['x'])) == 100000\n"
        "print([name for name in ('requests', 'urllib3', 'dandi', 'isal') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
