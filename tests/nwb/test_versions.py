"""Files that keep another version of this extension, or extensions that conflict with it or are broken."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from pynwb import NWBHDF5IO

from ndx_synapsnet.errors import InputError
from ndx_synapsnet.nwb import versions
from ndx_synapsnet.nwb.results import list_runs, read_result, write_result
from ndx_synapsnet.nwb.sources import open_source
from ndx_synapsnet.nwb.store import validation_errors
from ndx_synapsnet.nwb.types import NAMESPACE
from ndx_synapsnet.nwb.versions import cached_version, own_version, version_note
from ndx_synapsnet.session import FitResult

Make = Callable[..., FitResult]
Edit = Callable[[h5py.File], None]
FIT = "processing/ophys/synapsnet"
TEXT = h5py.string_dtype()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, make_result: Make) -> Path:
    path = tmp_path_factory.mktemp("versions") / "run.nwb"
    write_result(make_result(), path)
    return path


@pytest.fixture
def fitted(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(written, tmp_path / "run.nwb"))


def keep_version(file: h5py.File, version: str, *, types: list[dict[str, Any]] | None = None) -> None:
    """Make the schema that a file keeps of this extension one of another version, with further types."""
    group = file[f"specifications/{NAMESPACE}"]
    group.move(own_version(), version)
    _rewrite(group[version], "namespace", lambda value: value["namespaces"][0].update(version=version))
    _rewrite(group[version], f"{NAMESPACE}.extensions", lambda value: value["groups"].extend(types or []))


def _rewrite(group: h5py.Group, name: str, change: Callable[[Any], None]) -> None:
    value = json.loads(group[name][()])
    change(value)
    del group[name]
    group.create_dataset(name, data=json.dumps(value), dtype=TEXT)


def keep_extension(file: h5py.File, name: str, *, types: str, includes: str = "core") -> None:
    """Add the schema of another extension."""
    group = file.create_group(f"specifications/{name}/1.0.0")
    about = {"name": name, "version": "1.0.0", "doc": "d", "author": ["a"], "contact": ["c"]}
    namespace = {"namespaces": [about | {"schema": [{"namespace": includes}, {"source": f"{name}.types"}]}]}
    group.create_dataset("namespace", data=json.dumps(namespace), dtype=TEXT)
    group.create_dataset(f"{name}.types", data=types, dtype=TEXT)


def add_object(parent: h5py.Group, name: str, namespace: str, kind: str, **attributes: str) -> None:
    group = parent.create_group(name)
    object_id = "11111111-0000-4000-8000-000000000001"
    group.attrs.update({"namespace": namespace, "neurodata_type": kind, "object_id": object_id, **attributes})


def group_type(name: str, base: str = "NWBDataInterface") -> dict[str, Any]:
    return {"neurodata_type_def": name, "neurodata_type_inc": base, "doc": "d"}


# --- versions of this extension --------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["0.0.1", "0.1.0", "0.1.7", "0.30.0"])
def test_another_minor_version_reads_the_same(fitted: Path, version: str, make_result: Make) -> None:
    with h5py.File(fitted, "r+") as file:
        if version != own_version():
            keep_version(file, version)
    assert read_result(fitted) == make_result()
    with open_source(fitted) as opened:
        note = version_note(opened.nwbfile)
    newer = version in ("0.1.7", "0.30.0")
    assert (note is not None) == newer
    assert not newer or f"version {version} of {NAMESPACE}, and this is {own_version()}" in str(note)


def test_what_a_later_version_added_is_left_out(fitted: Path, make_result: Make) -> None:
    with h5py.File(fitted, "r+") as file:
        keep_version(file, "0.2.0", types=[group_type("Novelty")])
        add_object(file[FIT], "novelty", NAMESPACE, "Novelty")
        add_object(file["processing/ophys"], "novelty", NAMESPACE, "Novelty")
        for part in (FIT, f"{FIT}/effective", f"{FIT}/provenance"):
            file[part].attrs["hue"] = "red"
            file[part].create_dataset("shades", data=np.arange(3))
    assert read_result(fitted) == make_result()


def test_what_a_later_version_added_stays_when_a_run_is_added(fitted: Path, make_result: Make) -> None:
    with h5py.File(fitted, "r+") as file:
        keep_version(file, "0.2.0", types=[group_type("Novelty")])
        add_object(file[FIT], "novelty", NAMESPACE, "Novelty", hue="red")
    write_result(make_result(seed=1), fitted, in_place=True)
    with h5py.File(fitted, "r") as file:
        assert file[f"{FIT}/novelty"].attrs["hue"] == "red"
        assert set(file[f"specifications/{NAMESPACE}"]) == {"0.2.0"}  # which describes the new run as well
    assert read_result(fitted, "synapsnet_2") == make_result(seed=1)


def test_what_is_added_to_an_older_file_has_its_own_schema(fitted: Path, make_result: Make) -> None:
    with h5py.File(fitted, "r+") as file:
        keep_version(file, "0.0.9")
    write_result(make_result(seed=1), fitted, in_place=True)
    with h5py.File(fitted, "r") as file:
        assert set(file[f"specifications/{NAMESPACE}"]) == {"0.0.9", own_version()}
    assert NWBHDF5IO.get_namespaces(path=str(fitted))[NAMESPACE] == own_version()
    assert validation_errors(fitted, "hdf5") == set()


def test_a_later_major_version_is_refused_but_its_file_is_opened(fitted: Path, make_result: Make) -> None:
    with h5py.File(fitted, "r+") as file:
        keep_version(file, "1.0.0")
    with open_source(fitted) as opened:
        assert list_runs(opened.nwbfile) == ["synapsnet"]
    expected = rf"run\.nwb: its results are of version 1\.0\.0 of {NAMESPACE}.*Update the package: pip install"
    with pytest.raises(InputError, match=expected):
        read_result(fitted)
    with pytest.raises(InputError, match=expected):
        write_result(make_result(seed=1), fitted, in_place=True)


def test_a_later_version_that_cannot_be_read_says_why(fitted: Path) -> None:
    with h5py.File(fitted, "r+") as file:
        keep_version(file, "0.9.0")
        del file[f"{FIT}/effective"].attrs["method"]
    with pytest.raises(InputError, match=r"written with version 0\.9\.0 .*, and this is .*Update the package"):
        read_result(fitted)


def test_a_file_without_schemas_is_read(fitted: Path, make_result: Make) -> None:
    with h5py.File(fitted, "r+") as file:
        del file["specifications"][NAMESPACE]
        assert cached_version(file) is None
    assert read_result(fitted) == make_result()


def test_the_latest_of_several_kept_versions_counts() -> None:
    def kept(*names: str) -> dict[str, Any]:
        return {"specifications": {NAMESPACE: dict.fromkeys(names)}}

    assert cached_version(kept("0.9.0", "0.10.0", "0.2.0")) == "0.10.0"
    assert cached_version(kept("no version", "0.1.0-alpha")) == "0.1.0-alpha"
    assert [cached_version(root) for root in (kept(), {}, None, {"specifications": 3})] == [None] * 4


def test_a_zarr_folder_of_another_version(tmp_path: Path, make_result: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.zarr"
    write_result(make_result(), path)
    with open_source(path) as opened:
        assert version_note(opened.nwbfile) is None
    monkeypatch.setattr(versions, "own_version", lambda: "0.0.9")
    with open_source(path) as opened:
        assert f"version 0.1.0 of {NAMESPACE}, and this is 0.0.9" in str(version_note(opened.nwbfile))


# --- other extensions ------------------------------------------------------------------------------------------------


def test_types_of_the_same_name_elsewhere_are_not_ours(fitted: Path, make_result: Make) -> None:
    with h5py.File(fitted, "r+") as file:
        keep_extension(file, "ndx-other", types=json.dumps({"groups": [group_type("SynapsNetFit")]}))
        add_object(file["processing/ophys"], "theirs", "ndx-other", "SynapsNetFit")
    with open_source(fitted) as opened:
        assert "theirs" in opened.nwbfile.processing["ophys"].data_interfaces
        assert list_runs(opened.nwbfile) == ["synapsnet"]
    assert read_result(fitted) == make_result()


class _Unreadable(dict):
    def items(self) -> Any:
        raise RuntimeError("Link iteration failed")  # as h5py on bytes that were flipped

    __iter__ = items


class _Part:
    def __init__(self, text: str, shape: tuple[int, ...] = ()) -> None:
        self.text, self.shape = text, shape

    def __getitem__(self, _: tuple[()]) -> str:
        assert not self.shape, "it is read whole"
        return self.text


def test_damaged_schemas_are_told_without_reading_what_they_declare() -> None:
    def reason(parts: Any) -> Any:
        return versions.reason_unreadable({"specifications": {"ndx-x": {"1.0.0": parts}}})

    assert reason({"namespace": _Part("{}", ())}) == reason(_Unreadable()) is None
    for part in (_Part("{"), _Part("", (2**40,))):
        assert "the schema of the extension ndx-x that the file keeps is damaged" in reason({"namespace": part})[0]
    assert cached_version({"specifications": {NAMESPACE: _Unreadable()}}) is None


@pytest.mark.parametrize(
    ("types", "includes", "words"),
    [
        ("{no JSON", "core", "the schema of the extension ndx-broken that the file keeps is damaged"),
        (json.dumps({"groups": [group_type("Broken", "Nothing")]}), "core", "'Nothing' in namespace 'ndx-broken'"),
        (json.dumps({"groups": [group_type("Broken")]}), "ndx-absent", "'ndx-absent'"),
    ],
)
def test_a_broken_extension_is_named(fitted: Path, types: str, includes: str, words: str) -> None:
    with h5py.File(fitted, "r+") as file:
        keep_extension(file, "ndx-broken", types=types, includes=includes)
    with pytest.raises(InputError, match=rf"run\.nwb: pynwb cannot read the file.*{words}"):
        read_result(fitted)


def test_an_object_of_an_extension_that_nobody_has_is_named(fitted: Path) -> None:
    with h5py.File(fitted, "r+") as file:
        add_object(file["processing/ophys"], "thing", "ndx-unheard-of", "Thing")
    with pytest.raises(InputError, match="ndx-unheard-of"):
        read_result(fitted)
