"""Files beside a source: how they are called, what they say of subject and session, whole copies, lindi archives."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from nwbinspector import Importance, inspect_nwbfile, load_config
from pynwb import NWBHDF5IO, NWBFile
from pynwb.file import Subject
from pynwb.image import ImageSeries

from ndx_synapsnet.errors import InputError
from ndx_synapsnet.nwb import store
from ndx_synapsnet.nwb.beside import dandi_path, dandi_path_of, dandiset_root
from ndx_synapsnet.nwb.compare import first_difference
from ndx_synapsnet.nwb.links import require_self_contained
from ndx_synapsnet.nwb.readers.provenance import file_record
from ndx_synapsnet.nwb.results import read_result, result_of, write_result
from ndx_synapsnet.nwb.run_records import run_records
from ndx_synapsnet.nwb.runs import list_runs
from ndx_synapsnet.nwb.sources import open_source
from ndx_synapsnet.nwb.supplied import complete, lacks_for_dandi, load_supplied, odd_for_dandi
from ndx_synapsnet.nwb.whole import write_whole
from ndx_synapsnet.session import FitResult

Make = Callable[..., FitResult]


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("subject", "session", "expected"),
    [
        ("m1", "s1", "sub-m1/sub-m1_ses-s1_desc-synapsnet.nwb"),
        ("A/B c.d_e", "2021-01-01 10:00", "sub-A-B-c-d-e/sub-A-B-c-d-e_ses-2021-01-01-10-00_desc-synapsnet.nwb"),
        ("../..", "..", "sub------/sub------_ses---_desc-synapsnet.nwb"),
        ("a\x1b[2J", "b\x00", "sub-a-[2J/sub-a-[2J_ses-b-_desc-synapsnet.nwb"),
        (" ", "s1", None),
        ("m1", "", None),
        ("m" * 250, "s1", None),
    ],
)
def test_a_name_is_made_as_dandi_makes_it(subject: str, session: str, expected: str | None) -> None:
    path = dandi_path(subject, session)
    assert (None if path is None else str(path)) == expected
    if path is not None:
        from dandi.organize import validate_organized_path

        assert validate_organized_path(str(path), Path(path), Path()) == []


def described(path: Path, **about: Any) -> Path:
    with NWBHDF5IO(path, "w") as file:
        file.write(NWBFile("a test", "i", datetime(2024, 5, 1, tzinfo=timezone.utc), **about))
    return path


def test_a_name_is_that_of_the_subject_and_session_in_the_file(tmp_path: Path) -> None:
    both = described(tmp_path / "a.nwb", subject=Subject(subject_id="m1"), session_id="s1")
    assert str(dandi_path_of(str(both))) == "sub-m1/sub-m1_ses-s1_desc-synapsnet.nwb"
    one = described(tmp_path / "b.nwb", subject=Subject(subject_id="m1"))
    assert dandi_path_of(str(one)) is None
    assert dandi_path_of(str(one), {"session_id": "s2"}).name == "sub-m1_ses-s2_desc-synapsnet.nwb"  # type: ignore[union-attr]
    assert dandi_path_of(str(described(tmp_path / "c.nwb"))) is None
    (tmp_path / "d.nwb").write_bytes(b"no file of ours")
    assert dandi_path_of(str(tmp_path / "d.nwb")) is None


def test_a_dandiset_is_known_by_its_yaml(tmp_path: Path) -> None:
    inside = tmp_path / "set" / "sub-1"
    inside.mkdir(parents=True)
    assert dandiset_root(inside) is None
    (tmp_path / "set" / "dandiset.yaml").write_text("identifier: DANDI:000001\n")
    assert dandiset_root(inside) == dandiset_root(tmp_path / "set") == tmp_path / "set"
    assert dandiset_root(tmp_path) is None


# --- what is said of subject and session -----------------------------------------------------------------------------


def test_what_the_source_says_of_the_session_is_carried_over(tmp_path: Path, make_result: Make) -> None:
    source = described(
        tmp_path / "source.nwb",
        subject=Subject(subject_id="m1", species="Mus musculus", sex="F", age="P90D", weight="20 g", strain="C57BL/6J"),
        session_id="s1",
        institution="An institute",
        lab="A lab",
        experimenter=["Doe, Jane", "Roe, Richard"],
        keywords=["running"],
        related_publications=["https://doi.org/10.1000/1"],
        protocol="IACUC 1",
        experiment_description="Mice run.",
        surgery="A window.",
        virus="AAV",
        pharmacology="None",
    )
    with open_source(source) as opened:
        record = file_record(opened.nwbfile)
    result = make_result()
    write_result(replace(result, provenance={**result.provenance, "source": record}), tmp_path / "result.nwb")
    with open_source(tmp_path / "result.nwb") as opened:
        written = file_record(opened.nwbfile)
    fresh = ("identifier", "file_object_id", "experiment_description")
    assert {k: v for k, v in written.items() if k not in fresh} == {k: v for k, v in record.items() if k not in fresh}
    assert written["experiment_description"].endswith("The experiment: Mice run.")
    assert {written[name] for name in fresh[:2]}.isdisjoint({record[name] for name in fresh[:2]})


def test_what_is_supplied_fills_what_the_source_lacks(tmp_path: Path) -> None:
    file = tmp_path / "about.yaml"
    file.write_text(
        "session_id: s1\nkeywords: [running, dark]\n"
        "subject: {species: Mus musculus, sex: M, date_of_birth: 2024-02-01}\n"
    )
    supplied = load_supplied(file, sex="F", subject_id=None)
    assert supplied == {
        "session_id": "s1",
        "keywords": ["running", "dark"],
        "subject": {"species": "Mus musculus", "sex": "F", "date_of_birth": "2024-02-01"},
    }
    record = {"session_id": None, "lab": "A lab", "subject": {"subject_id": "m1", "sex": "U"}}
    found = complete(record, supplied, where="x.nwb")
    assert found["lab"] == "A lab"
    assert found["subject"] == {"subject_id": "m1", **supplied["subject"]}
    assert found["supplied"] == ["session_id", "keywords", "subject.species", "subject.sex", "subject.date_of_birth"]
    assert record["subject"] == {"subject_id": "m1", "sex": "U"}
    again = complete(found, supplied, where="x.nwb")
    assert again["subject"] == found["subject"]  # the same said twice is no contradiction
    assert complete({"subject": None}, {"subject": {"sex": "F"}}, where="x")["subject"] == {"sex": "F"}


@pytest.mark.parametrize(
    ("record", "supplied", "words"),
    [
        ({"subject": {"sex": "M"}}, {"subject": {"sex": "F"}}, "sex is 'M' in the recording, and 'F' was given"),
        ({"session_id": "s1"}, {"session_id": "s2"}, "session_id is 's1' in the recording, and 's2' was given"),
        ({"keywords": ["a"]}, {"keywords": ["a", "b"]}, "keywords is"),
        (
            {"session_start_time": "2024-05-01T10:00:00+02:00"},
            {"session_start_time": "2024-05-01T10:00:00"},
            "session_start_time is",
        ),
    ],
)
def test_what_the_source_says_is_not_overridden(record: dict[str, Any], supplied: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        complete(record, supplied, where="x.nwb")
    assert caught.value.where == "x.nwb"


def test_times_agree_whatever_their_zone() -> None:
    record = {"session_start_time": "2024-05-01T10:00:00+02:00"}
    assert complete(record, {"session_start_time": "2024-05-01T08:00:00Z"}, where="x") == record


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sesion_id: s1", "unknown field sesion_id"),
        ("subject: {spieces: x}", "unknown field spieces"),
        ("subject: m1", "does not hold fields"),
        ("- a", "does not hold fields"),
        ("a: [", "is not YAML"),
        ("session_id: 12", "session_id is 12, expected text"),
        ("session_id: a/b", "takes none with '/'"),
        ("session_start_time: yesterday", "expected a time"),
        ("subject: {species: mouse}", "Latin binomial"),
        ("subject: {sex: male}", "Subject.sex should be one of"),
        ("subject: {age: 3 months}", "ISO 8601"),
        ("session_id: !!python/object/apply:os.system ['true']", "is not YAML"),
    ],
)
def test_metadata_that_are_refused(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "about.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=words) as caught:
        load_supplied(file)
    assert "about.yaml" in str(caught.value.where)


def test_what_dandi_wants_and_nobody_said_is_named() -> None:
    assert lacks_for_dandi({"subject": None}) == ["subject_id", "species", "sex", "age or date_of_birth"]
    assert lacks_for_dandi({"subject": {"subject_id": "m", "sex": "U", "date_of_birth": "2024-01-01"}}) == ["species"]
    assert odd_for_dandi({"subject": None}) == []
    (odd,) = odd_for_dandi({"subject": {"species": "mouse", "sex": "F", "age": "P0D/"}})
    assert "'mouse'" in odd


# --- the archive's own validation ------------------------------------------------------------------------------------


def test_the_archive_would_take_the_file(tmp_path: Path, make_result: Make) -> None:
    """What ``dandi validate`` runs on a file of a dandiset, and the inspector as the archive configures it."""
    from dandi.files import dandi_file

    (tmp_path / "dandiset.yaml").write_text("identifier: DANDI:000001\nname: A test\n")
    path = tmp_path / "sub-m1" / "sub-m1_ses-s1_desc-synapsnet.nwb"
    path.parent.mkdir()
    write_result(make_result(), path)
    found = list(inspect_nwbfile(nwbfile_path=path, config=load_config("dandi")))
    assert {m.importance for m in found} <= {Importance.BEST_PRACTICE_VIOLATION, Importance.BEST_PRACTICE_SUGGESTION}
    # the samples' times are written out, since a rate would give them back rounded
    known = {"check_regular_timestamps", "check_description"}
    assert {m.check_function_name for m in found} <= known
    file = dandi_file(path, dandiset_path=tmp_path)
    assert file.path == "sub-m1/sub-m1_ses-s1_desc-synapsnet.nwb"
    errors = [r for r in file.get_validation_errors() if r.id.removeprefix("NWBI.") not in known]
    assert errors == []
    # and it would not, without what it wants
    bare = tmp_path / "sub-m2" / "sub-m2_ses-s1_desc-synapsnet.nwb"
    bare.parent.mkdir()
    result = make_result()
    source = {**result.provenance["source"], "subject": {"subject_id": "m2"}}
    write_result(replace(result, provenance={**result.provenance, "source": source}), bare)
    missing = {r.id for r in dandi_file(bare, dandiset_path=tmp_path).get_validation_errors()}
    assert {"NWBI.check_subject_age", "NWBI.check_subject_species_exists"} <= missing


# --- all of the source too -------------------------------------------------------------------------------------------


def test_a_whole_copy_holds_everything_and_the_result(
    tmp_path: Path, recording: Path, suffix: str, make_result: Make
) -> None:
    for path in [recording, *recording.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = fingerprint(recording)
    written = write_whole(make_result(), recording, tmp_path / f"whole.{suffix}")
    assert fingerprint(recording) == before
    assert first_difference(recording, written.path) is None
    assert written.path.stat().st_mode & 0o200  # it is ours, and not as protected as the source
    assert read_result(written.path) == make_result()
    assert store.validation_errors(written.path, "hdf5" if suffix == "nwb" else "zarr") == set()
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"recording.{suffix}", f"whole.{suffix}"]
    # nothing of it lies in the source
    if recording.is_dir():
        shutil.move(recording, tmp_path / "away.zarr")
    else:
        recording.unlink()
    with open_source(written.path) as opened:
        assert opened.nwbfile.processing["ophys"]["observed"].data[:].shape == (60, 3)
        assert opened.nwbfile.units["spike_times"][0].tolist() == [0.5, 1.0]
        assert list_runs(opened.nwbfile) == ["synapsnet"]


def fingerprint(path: Path) -> dict[str, bytes]:
    files = path.rglob("*") if path.is_dir() else [path]
    return {str(file): file.read_bytes() for file in files if file.is_file()}


def test_a_whole_copy_keeps_the_format(tmp_path: Path, hdf5_recording: Path, make_result: Make) -> None:
    with pytest.raises(InputError, match="it is not Zarr, and its copy must be so too"):
        write_whole(make_result(), hdf5_recording, tmp_path / "whole.zarr")
    with pytest.raises(InputError, match="in that format only"):
        store.derive(hdf5_recording, tmp_path / "whole.zarr", lambda nwbfile: None)
    with pytest.raises(InputError, match="this path is taken"):
        write_whole(make_result(), hdf5_recording, hdf5_recording)
    assert list(tmp_path.iterdir()) == [hdf5_recording]


def test_what_fails_leaves_no_copy(tmp_path: Path, recording: Path, suffix: str) -> None:
    def fail(nwbfile: NWBFile) -> None:
        raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        store.derive(recording, tmp_path / f"whole.{suffix}", fail)
    assert list(tmp_path.iterdir()) == [recording]


def test_the_same_run_is_not_copied_beside_itself(tmp_path: Path, hdf5_recording: Path, make_result: Make) -> None:
    write_result(make_result(), hdf5_recording, in_place=True, name="mine")
    with pytest.raises(InputError, match="already"):
        write_whole(make_result(), hdf5_recording, tmp_path / "whole.nwb", name="mine")


@pytest.mark.parametrize("kind", ["link", "virtual", "storage"])
def test_no_copy_links_into_nowhere(tmp_path: Path, hdf5_recording: Path, make_result: Make, kind: str) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["values"] = np.zeros((60, 3))
    (tmp_path / "other.bin").write_bytes(bytes(60 * 3 * 8))
    with h5py.File(hdf5_recording, "r+") as file:
        group = file["processing/ophys/observed"]
        attributes = dict(group["data"].attrs)
        del group["data"]
        if kind == "link":
            group["data"] = h5py.ExternalLink("other.h5", "/values")
        elif kind == "virtual":
            layout = h5py.VirtualLayout((60, 3), float)
            layout[:] = h5py.VirtualSource("other.h5", "values", (60, 3))
            group.create_virtual_dataset("data", layout).attrs.update(attributes)
        else:
            group.create_dataset("data", (60, 3), float, external=str(tmp_path / "other.bin")).attrs.update(attributes)
    with pytest.raises(InputError, match=r"lie in other files \(/processing/ophys/observed/data -> .*other"):
        write_whole(make_result(), hdf5_recording, tmp_path / "whole.nwb")
    assert not (tmp_path / "whole.nwb").exists()


def test_a_zarr_store_that_links_to_another_is_not_copied(zarr_recording: Path) -> None:
    require_self_contained(zarr_recording)
    attributes = zarr_recording / "processing" / "ophys" / ".zattrs"
    values = json.loads(attributes.read_text())
    values["zarr_link"] = [{"name": "more", "path": "/x", "source": "../other.zarr", "object_id": None}]
    attributes.write_text(json.dumps(values))
    with pytest.raises(InputError, match=r"processing/ophys/more -> \.\./other\.zarr"):
        require_self_contained(zarr_recording)


def test_pictures_beside_the_source_are_not_lost(tmp_path: Path, make_recording: Any, make_result: Make) -> None:
    nwbfile = make_recording()
    nwbfile.add_acquisition(
        ImageSeries(name="film", external_file=["film.tif"], starting_frame=[0], rate=1.0, num_samples=1, unit="n.a.")
    )
    with NWBHDF5IO(tmp_path / "recording.nwb", "w") as file:
        file.write(nwbfile)
    away = tmp_path / "away"
    away.mkdir()
    write_whole(make_result(), tmp_path / "recording.nwb", away / "lost_already.nwb")
    (tmp_path / "film.tif").write_bytes(b"film")
    with pytest.raises(InputError, match=r"film is kept in film\.tif beside it"):
        write_whole(make_result(), tmp_path / "recording.nwb", away / "whole.nwb")
    write_whole(make_result(), tmp_path / "recording.nwb", tmp_path / "whole.nwb")


# --- lindi -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def lindi_result(tmp_path: Path, make_result: Make) -> Path:
    pytest.importorskip("lindi")
    write_result(make_result(), tmp_path / "result.lindi.tar")
    return tmp_path / "result.lindi.tar"


def test_a_lindi_archive_holds_an_equal_result(lindi_result: Path, make_result: Make) -> None:
    import lindi

    assert [path.name for path in lindi_result.parent.iterdir()] == ["result.lindi.tar"]
    content = lindi_result.read_bytes()
    assert read_result(lindi_result) == make_result()
    with open_source(lindi_result) as opened:
        (record,) = run_records(opened)
    assert (record.run, record.bytes) == ("synapsnet", None)
    client = lindi.LindiH5pyFile.from_lindi_file(str(lindi_result))  # by lindi alone, as anybody would
    with NWBHDF5IO(file=client, mode="r") as file:
        assert result_of(file.read()) == make_result()
    client.close = lambda: None  # hdmf would close it again when the process ends
    assert lindi_result.read_bytes() == content
    with pytest.raises(InputError, match="this path is taken"):
        write_result(make_result(), lindi_result)
    with pytest.raises(InputError, match="a lindi file is not written into"):
        write_result(make_result(seed=1), lindi_result, in_place=True)
    assert lindi_result.read_bytes() == content


def test_a_long_forecast_lies_in_chunks(tmp_path: Path, make_result: Make) -> None:
    pytest.importorskip("lindi")
    result, rng = make_result(60), np.random.default_rng(0)
    n = 10_000
    forecast = replace(
        result.forecast,
        values=rng.standard_normal((n, 60)).astype(np.float32),
        currents=None,
        index=np.arange(n),
        times=np.arange(n) / 30,
        split=np.full(n, 3),
    )
    result = replace(result, forecast=forecast, split=np.full(n, 3, np.uint8))
    write_result(result, tmp_path / "a.lindi.tar")
    assert read_result(tmp_path / "a.lindi.tar") == result
    with tarfile.open(tmp_path / "a.lindi.tar") as archive:
        sizes = [member.size for member in archive if "/forecast/data/" in member.name]
    assert len(sizes) == 3
    assert max(sizes) <= 2**20


def test_lindi_that_is_not_installed_is_named(tmp_path: Path, make_result: Make, monkeypatch: Any) -> None:
    monkeypatch.setitem(__import__("sys").modules, "lindi", None)
    with pytest.raises(InputError, match=r"ndx-synapsnet\[lindi\]"):
        write_result(make_result(), tmp_path / "result.lindi.tar")
    assert list(tmp_path.iterdir()) == []


def archive_of(path: Path, refs: Any, **members: bytes) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in {"lindi.json": json.dumps({"refs": refs}).encode(), **members}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


@pytest.mark.parametrize(
    ("refs", "words"),
    [
        ({"a/0": ["/etc/passwd", 0, 10]}, "refers to a file of this machine"),
        ({"a/0": ["./../../etc/passwd", 0, 10]}, "a part of it is missing"),
        ({"a/0": ["./blob", 0, 1000]}, "a part of it is missing"),
        ({"a/0": ["./blob", -3, 2]}, "a part of it is missing"),
        ({"a/0": ["./blob", "x", 2]}, "no lindi archive"),
        ({"a/0": []}, "no lindi archive"),
        ([], "lindi cannot read|no lindi archive"),
    ],
)
def test_hostile_lindi_archives(tmp_path: Path, refs: Any, words: str) -> None:
    pytest.importorskip("lindi")
    path = archive_of(tmp_path / "a.lindi.tar", refs, blob=b"1234567890")
    with pytest.raises(InputError, match=words), open_source(path):
        pass


def test_a_tar_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "a.lindi.tar"
    path.write_bytes(b"hello" * 1000)
    with pytest.raises(InputError, match="no lindi archive"):
        open_source(path)
    with tarfile.open(path, "w"):
        pass
    with pytest.raises(InputError, match="no description of its content"):
        open_source(path)
