"""Comparing files: every kind of change is noticed, additions are none."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from ndx_synapsnet.nwb.compare import _hdf5_differences, blocks, first_difference
from ndx_synapsnet.nwb.preserve import put_back_attributes

Change = Callable[[Any], None]


def fill(path: Path) -> None:
    """Write a file with everything that HDF5 files hold."""
    with h5py.File(path, "w") as file:
        group = file.create_group("group")
        file["plain"] = np.arange(6.0).reshape(2, 3)
        file["plain"].attrs["unit"] = "V"
        file.create_dataset("chunked", data=np.arange(100), chunks=(7,), compression="gzip", maxshape=(None,))
        file["text"] = ["a", "b"]
        file["scalar"] = "text"
        file["nothing"] = h5py.Empty("f4")
        file["nan"] = np.array([np.nan, 1.0])
        file["bool"] = np.array([True, False])
        file.create_dataset("reference", data=np.array([group.ref, file["plain"].ref], object), dtype=h5py.ref_dtype)
        pair = np.dtype([("start", "i8"), ("series", h5py.ref_dtype)])
        file.create_dataset("compound", data=np.array([(1, group.ref)], pair), dtype=pair)
        ragged = file.create_dataset("ragged", (2,), dtype=h5py.vlen_dtype("f8"))
        ragged[0], ragged[1] = [1.0], [2.0, 3.0]
        file["soft"] = h5py.SoftLink("/plain")
        file["external"] = h5py.ExternalLink("other.h5", "/x")
        file["hard"] = file["plain"]
        group["back"] = file["/"]
        group.attrs["to"] = file["plain"].ref
        group.attrs["texts"] = ["x", "y"]
        group.attrs["nothing"] = h5py.Empty("f4")
        file["zero"] = np.zeros((0, 3))
        file.create_dataset("filled", (4,), "i4", chunks=(2,), fillvalue=7)
        file["hard2"] = file["plain"]
        file["type"] = np.dtype("i4")
        file["scale"] = np.arange(2)
        file["scale"].make_scale("x")
        file["plain"].dims[0].attach_scale(file["scale"])
        file["group"].attrs["region"] = file["chunked"].regionref[0:10:3]
        file["group"].attrs.create("fixed", np.bytes_("abc"))
        file.create_dataset("ascii", data="a", dtype=h5py.string_dtype("ascii"))


def put(name: str, *place: Any) -> Change:
    def change(file: h5py.File) -> None:
        file[name][place[:-1]] = place[-1]

    return change


def swap(name: str, value: Any, **options: Any) -> Change:
    def change(file: h5py.File) -> None:
        del file[name]
        if isinstance(value, (h5py.SoftLink, h5py.ExternalLink)):
            file[name] = value
        else:
            file.create_dataset(name, data=value, **options)

    return change


def refer(file: h5py.File) -> None:
    file["reference"][0] = file["plain"].ref


def refer_in_compound(file: h5py.File) -> None:
    pair = file["compound"].dtype
    file["compound"][0] = np.array((1, file["plain"].ref), pair)


def refer_in_attribute(file: h5py.File) -> None:
    file["group"].attrs["to"] = file["group"].ref


def drop_attribute(file: h5py.File) -> None:
    del file["group"].attrs["texts"]


def refill(file: h5py.File) -> None:
    del file["filled"]
    file.create_dataset("filled", (4,), "i4", chunks=(2,), maxshape=None, fillvalue=8)


def repoint(file: h5py.File) -> None:
    del file["hard2"]
    file.copy("plain", "hard2")


def retype(file: h5py.File) -> None:
    del file["type"]
    file["type"] = np.dtype("i8")


def reselect(file: h5py.File) -> None:
    """Select as many values with the same first and last."""
    file["group"].attrs["region"] = file["chunked"].regionref[[0, 4, 6, 9]]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda file: None, None),
        (lambda file: file.create_group("added").attrs.update({"a": 1}), None),
        (lambda file: file["plain"].attrs.update({"added": 1}), None),
        (put("plain", 1, 2, 9.0), "/plain has changed"),
        (put("chunked", 99, 0), "/chunked has changed"),
        (put("text", 1, "c"), "/text has changed"),
        (put("scalar", "other"), "/scalar has changed"),
        (put("nan", 1, np.nan), "/nan has changed"),
        (put("bool", 0, False), "/bool has changed"),
        (put("ragged", 1, np.array([2.0, 4.0])), "/ragged has changed"),
        (refer, "/reference has changed"),
        (refer_in_compound, "/compound has changed"),
        (refer_in_attribute, "attribute to of /group has changed"),
        (drop_attribute, "attribute texts of /group has changed"),
        (lambda file: file["plain"].attrs.update({"unit": "mV"}), "attribute unit of /plain has changed"),
        (swap("plain", np.arange(6.0).reshape(2, 3)), "attribute unit of /plain has changed"),
        (swap("nan", np.array([np.nan, 1.0], "f4")), "/nan has another type or shape"),
        (swap("chunked", np.arange(100), chunks=(7,), maxshape=(None,)), "/chunked is compressed in another way"),
        (swap("soft", h5py.SoftLink("/nan")), "/soft is another link"),
        (swap("external", h5py.ExternalLink("other.h5", "/y")), "/external is another link"),
        (swap("zero", np.zeros((0, 4))), "/zero has another type or shape"),
        (lambda file: file.pop("text"), "/text is missing"),
        (lambda file: file.pop("soft"), "/soft is missing"),
        (swap("group", np.zeros(1)), "/group is no group any more"),
        (refill, "/filled has another fill value"),
        (repoint, "/hard2 is missing or another object"),
        (swap("scalar", "text", dtype=h5py.string_dtype("utf-8", 4)), "/scalar has another type or shape"),
        (swap("ascii", "a"), "/ascii has another type or shape"),
        (swap("bool", np.array([1, 0], "i1")), "/bool has another type or shape"),
        (retype, "/type is another type"),
        (
            lambda file: file["plain"].dims[0].detach_scale(file["scale"]),
            "attribute DIMENSION_LIST of /plain has changed",
        ),
        (lambda file: file["scale"].attrs.update({"NAME": np.bytes_("y")}), "attribute NAME of /scale has changed"),
        (reselect, "attribute region of /group has changed"),
        (lambda file: file["group"].attrs.create("fixed", "abc"), "attribute fixed of /group has changed"),
        (lambda file: file["group"].attrs.create("fixed", [b"abc"]), "attribute fixed of /group has changed"),
        (
            lambda file: file["group"].attrs.create("nothing", h5py.Empty("f8")),
            "attribute nothing of /group has changed",
        ),
        (swap("nothing", h5py.Empty("f8")), "/nothing has another type or shape"),
        (lambda file: file["chunked"].resize((101,)), "/chunked has another type or shape"),
    ],
)
def test_comparison_finds_the_difference(tmp_path: Path, change: Change, expected: str | None) -> None:
    old, new = tmp_path / "old.h5", tmp_path / "new.h5"
    fill(old)
    shutil.copyfile(old, new)
    with h5py.File(new, "r+") as file:
        change(file)
    with h5py.File(old) as one, h5py.File(new) as other:
        found = list(_hdf5_differences(one, other))
    assert first_difference(old, new) == (found[0] if found else None)
    # what has gone is missed where it was referred to as well
    assert (not found) if expected is None else (expected in found)


@pytest.mark.parametrize(
    ("shape", "chunks", "limit"),
    [((10,), None, 24), ((7, 5), None, 80), ((7, 5), (2, 3), 100), ((3, 4, 5), (1, 4, 2), 64), ((2, 1000), None, 800)],
)
def test_blocks_cover_an_array_once_within_the_limit(
    shape: tuple[int, ...], chunks: tuple[int, ...] | None, limit: int
) -> None:
    covered = np.zeros(shape, int)
    for block in blocks(shape, chunks, 8, limit):
        assert covered[block].nbytes <= limit
        covered[block] += 1
        if chunks:
            assert all(part.start % chunk == 0 for part, chunk in zip(block, chunks, strict=True))
    assert (covered == 1).all()
    assert list(blocks((0, 3), None, 8, limit)) == []


def test_attributes_are_put_back_to_the_bit(tmp_path: Path) -> None:
    old, new = tmp_path / "old.h5", tmp_path / "new.h5"
    fill(old)
    shutil.copyfile(old, new)
    with h5py.File(new, "r+") as file:
        file["group"].attrs["to"] = file["group"].ref
        file["group"].attrs["fixed"] = "other"
        file["group"].attrs["region"] = 1
        del file["group"].attrs["texts"], file["group"].attrs["nothing"], file["plain"].attrs["DIMENSION_LIST"]
        file["plain"].attrs["added"] = 1
    assert first_difference(old, new) is not None
    with h5py.File(new, "r+") as file:
        put_back_attributes(old, file)
        assert file["plain"].attrs["added"] == 1
    assert first_difference(old, new) is None


def test_zarr_comparison_finds_the_difference(zarr_recording: Path, tmp_path: Path) -> None:
    before = tmp_path / "before.zarr"
    shutil.copytree(zarr_recording, before)

    def edit(place: str, change: Change) -> str | None:
        """Return the difference that an edit of a file's text makes, and undo it."""
        file = zarr_recording / place
        content = file.read_bytes()
        values = json.loads(content)
        change(values)
        file.write_text(json.dumps(values))
        found = first_difference(before, zarr_recording)
        file.write_bytes(content)
        return found

    attributes = "processing/ophys/observed/.zattrs"
    shown = "attribute {} of /processing/ophys/observed has changed"
    assert first_difference(before, zarr_recording) is None
    assert edit(attributes, lambda v: v.update(description="other")) == shown.format("description")
    assert edit(attributes, lambda v: v.pop("neurodata_type")) == shown.format("neurodata_type")
    rate = "processing/ophys/observed/starting_time/.zattrs"
    assert "attribute rate" in str(edit(rate, lambda v: v.update(rate=str(v["rate"]))))
    array = "processing/ophys/observed/data/.zarray"
    assert edit(array, lambda v: v.update(fill_value=1.0)) == f"{array} has changed"
    # what was added to the attributes alone is not what readers of the consolidated metadata see
    assert edit(attributes, lambda v: v.update(new=1)) == f"{attributes} is another one in the consolidated metadata"
    described = edit(".zmetadata", lambda v: v["metadata"][attributes].update(description="other"))
    assert described == f"{attributes} is another one in the consolidated metadata"
    (zarr_recording / "processing/ophys/observed/data/0.0").write_bytes(b"")
    assert first_difference(before, zarr_recording) == "processing/ophys/observed/data/0.0 has changed"
    (zarr_recording / "processing/ophys/observed/data/0.0").unlink()
    assert first_difference(before, zarr_recording) == "processing/ophys/observed/data/0.0 is missing"


def test_external_and_soft_links_of_a_file_are_compared(hdf5_recording: Path, tmp_path: Path) -> None:
    with h5py.File(hdf5_recording, "r+") as file:
        file["scratch/far"] = h5py.ExternalLink("other.nwb", "/units")
    other = Path(shutil.copy(hdf5_recording, tmp_path / "copy.nwb"))
    assert first_difference(hdf5_recording, other) is None
    with h5py.File(other, "r+") as file:
        del file["scratch/far"]
        file["scratch/far"] = h5py.SoftLink("/units")
    assert first_difference(hdf5_recording, other) == "/scratch/far is another link"
