"""``fit``: where results go and how they are called, what is said of subject and session, whole copies, dry runs."""

from __future__ import annotations

import json
import shutil
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import h5py
import pytest
from click.testing import CliRunner, Result
from nwbinspector import Importance, inspect_nwbfile, load_config
from pynwb import NWBHDF5IO

from ndx_synapsnet import PaperNetworkConfig, read_result, simulate_paper_network
from ndx_synapsnet.cli import main
from ndx_synapsnet.cli.files import new_files
from ndx_synapsnet.errors import InputError
from ndx_synapsnet.nwb.compare import first_difference
from ndx_synapsnet.nwb.recording import to_nwbfile
from ndx_synapsnet.nwb.sources import open_source

NAME = "sub-m-1_ses-day-2_desc-synapsnet.nwb"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)


def make(path: Path, *, seed: int = 0, **about: Any) -> Path:
    """Write a recording whose file says of subject and session what `about` says."""
    session = simulate_paper_network(PaperNetworkConfig(n_neurons=18, n_recorded=6, n_samples=600, seed=seed)).session
    provenance = {"identifier": path.name, "session_start_time": "2024-05-01T10:00:00+00:00", **about}
    nwbfile = to_nwbfile(type(session)(**{**vars(session), "provenance": provenance}))
    with NWBHDF5IO(path, "w") as file:
        file.write(nwbfile)
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings that say everything, nothing of the session, and little of the subject."""
    folder = tmp_path_factory.mktemp("made")
    mouse = {"subject_id": "m_1", "species": "Mus musculus", "sex": "F", "age": "P90D"}
    make(folder / "mouse.nwb", session_id="day.2", subject=mouse)
    make(folder / "second.nwb", session_id="day.3", subject=mouse, seed=1)
    make(folder / "unnamed.nwb", subject={"subject_id": "m_1"})
    (folder / "quick.yaml").write_text("train: {min_steps: 0, max_steps: null, epochs: 1}\nmodel: {drive: false}\n")
    return folder


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Path:
    for path in made.iterdir():
        shutil.copy(path, tmp_path / path.name)
    return tmp_path


def fit(place: Path, *arguments: str | Path) -> Result:
    return run("fit", *arguments, "--config", place / "quick.yaml", "--recipe", "paper")


def fitted(place: Path, *arguments: str | Path) -> list[dict[str, Any]]:
    result = fit(place, *arguments, "--json")
    assert result.exit_code == 0, result.output
    runs: list[dict[str, Any]] = json.loads(result.output)["runs"]
    return runs


def named(place: Path, *recordings: str | Path, output: Path | None = None, **supplied: str) -> list[str]:
    """Where results would go."""
    found = new_files([(str(path),) for path in recordings], output, supplied=supplied)
    return [str(path.relative_to(place)) for path in found]


def test_a_result_is_named_and_described_for_dandi(place: Path) -> None:
    from dandi.files import dandi_file

    (place / "dandiset.yaml").write_text("identifier: DANDI:000001\nname: A test\n")
    (told,) = fitted(place, place / "mouse.nwb")
    path = Path(told["file"])
    assert path == place / "sub-m-1" / NAME
    assert told["missing_for_dandi"] == []
    config = load_config("dandi")
    serious = [m for m in inspect_nwbfile(nwbfile_path=path, config=config) if m.importance is Importance.CRITICAL]
    assert serious == []
    found = dandi_file(path, dandiset_path=place).get_validation_errors()
    # the samples' times are written out, since a rate would give them back rounded
    assert {result.id for result in found} <= {"NWBI.check_regular_timestamps"}


def test_names(place: Path) -> None:
    mouse, second, unnamed = (place / f"{name}.nwb" for name in ("mouse", "second", "unnamed"))
    other = NAME.replace("day-2", "day-3")
    assert named(place, mouse) == [NAME]
    assert named(place, unnamed) == ["unnamed_desc-synapsnet.nwb"]
    assert named(place, unnamed, session_id="x y") == ["sub-m-1_ses-x-y_desc-synapsnet.nwb"]
    assert named(place, mouse, second, output=place / "new") == [f"new/{NAME}", f"new/{other}"]
    # two of one session keep their own names
    twin = Path(shutil.copy(mouse, place / "twin.nwb"))
    assert named(place, mouse, twin) == ["mouse_desc-synapsnet.nwb", "twin_desc-synapsnet.nwb"]
    # a name in DANDI's form says what the file does not
    formal = shutil.copy(unnamed, place / "sub-7_ses-8_behavior+ecephys.nwb")
    assert named(place, formal) == ["sub-7_ses-8_desc-synapsnet.nwb"]
    (place / "sub-7_ses-8_desc-synapsnet.nwb").touch()
    with pytest.raises(InputError, match="is there already"):
        named(place, formal)


def test_places_in_a_dandiset(place: Path) -> None:
    mouse, second, unnamed = (place / f"{name}.nwb" for name in ("mouse", "second", "unnamed"))
    (place / "dandiset.yaml").write_text("identifier: DANDI:000001\n")
    (place / "raw").mkdir()
    assert named(place, shutil.copy(mouse, place / "raw")) == [f"sub-m-1/{NAME}"]
    both = named(place, mouse, second, output=place)
    assert both == [f"sub-m-1/{name}" for name in (NAME, NAME.replace("day-2", "day-3"))]
    assert named(place, mouse, output=place / "raw") == [f"raw/{NAME}"]  # a folder that was asked for
    assert named(place, mouse, output=place / "x.nwb") == ["x.nwb"]
    assert named(place, unnamed) == ["unnamed_desc-synapsnet.nwb"]
    assert not (place / "sub-m-1").exists()  # looking makes nothing


def test_what_the_recording_lacks_is_named_and_can_be_supplied(place: Path) -> None:
    result = fit(place, place / "unnamed.nwb", "--subject-id", "m_1")
    assert result.exit_code == 0, result.output
    text = " ".join(result.output.split())
    assert "for DANDI these are missing: species, age or date_of_birth; give them by --metadata" in text
    about = place / "about.yaml"
    about.write_text("lab: A lab\nsubject: {species: Mus musculus, sex: M}\n")
    (told,) = fitted(place, place / "unnamed.nwb", "--metadata", about, "--age", "P9W", "--session-id", "s1")
    assert Path(told["file"]).name == "sub-m-1_ses-s1_desc-synapsnet.nwb"
    assert told["missing_for_dandi"] == []
    with open_source(told["file"]) as opened:
        subject = opened.nwbfile.subject
        assert (subject.subject_id, subject.species, subject.sex, subject.age) == ("m_1", "Mus musculus", "M", "P9W")
        assert (opened.nwbfile.session_id, opened.nwbfile.lab) == ("s1", "A lab")
        assert opened.nwbfile.session_start_time == datetime(2024, 5, 1, 10, tzinfo=timezone.utc)
    supplied = read_result(told["file"]).provenance["source"]["supplied"]
    assert set(supplied) == {"lab", "session_id", "subject.species", "subject.sex", "subject.age"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{mouse}", "--sex", "M"], "sex is 'F' in the recording, and 'M' was given"),
        (["{mouse}", "--sex", "male"], "Subject.sex should be one of"),
        (["{mouse}", "--metadata", "{place}/nothing.yaml"], "cannot be read"),
        (["{mouse}", "--metadata", "{place}/quick.yaml"], "unknown field model, train"),
        (["{mouse}", "--in-place", "--sex", "F"], "only a result is added"),
        (["{mouse}", "--with-source", "--sex", "F"], "only a result is added"),
        (["{mouse}", "--in-place", "--with-source"], "--with-source is for a new file"),
        (["{mouse}", "{second}", "--session-id", "x"], "session_id is supplied for 2 recordings at once"),
        (["{mouse}", "--with-source", "-o", "{place}/x.zarr"], "its copy must be so too"),
        (["https://example.org/a.nwb", "--with-source"], "only if it is one file, on this machine"),
        (["{mouse}", "-o", "{place}/x.lindi.json"], "End it in .nwb or .zarr, or .lindi.tar"),
        (["{place}/x.lindi.tar", "--in-place"], "it is a lindi file"),
    ],
)
def test_what_cannot_be_is_told_before_the_fit(
    place: Path, arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ndx_synapsnet.cli.fitting.fit_held", lambda *_, **__: pytest.fail("fitted first"))
    before = sorted(path.name for path in place.iterdir())
    names = {"place": place, "mouse": place / "mouse.nwb", "second": place / "second.nwb"}
    result = fit(place, *(each.format(**names) for each in arguments))
    assert result.exit_code == 2, result.output
    assert words in " ".join(result.output.split())
    assert sorted(path.name for path in place.iterdir()) == before


def test_a_contradiction_stops_no_other_of_each(place: Path) -> None:
    make(place / "male.nwb", session_id="s9", subject={"subject_id": "m9", "sex": "M"})
    result = fit(place, place / "mouse.nwb", place / "male.nwb", "--each", "-o", place / "out", "--sex", "M", "--json")
    assert result.exit_code == 2
    assert [path.name for path in (place / "out").iterdir()] == ["sub-m9_ses-s9_desc-synapsnet.nwb"]


def test_a_whole_copy_holds_the_recording_too(place: Path) -> None:
    mouse = place / "mouse.nwb"
    (told,) = fitted(place, mouse, "--with-source")
    assert told["file"] == str(place / NAME)
    assert first_difference(mouse, Path(told["file"])) is None
    assert len(read_result(told["file"]).neurons) == 6
    # what was learned can be drawn and fitted on with the copy alone
    mouse.unlink()
    assert run("inspect", told["file"]).exit_code == 0
    (again,) = fitted(place, told["file"], "--in-place", "--seed", "3")
    assert again["run"] == "synapsnet_2"


def test_a_lindi_archive_as_output(place: Path) -> None:
    pytest.importorskip("lindi")
    (told,) = fitted(place, place / "mouse.nwb", "-o", place / "result.lindi.tar")
    assert len(read_result(told["file"]).neurons) == 6
    shown = run("show", told["file"])
    assert shown.exit_code == 0, shown.output
    assert "Run synapsnet" in shown.output


@pytest.mark.parametrize("where", [["--store", "all"], ["--in-place"], ["--with-source"]])
def test_a_dry_run_says_what_is_then_written(place: Path, where: list[str]) -> None:
    mouse = place / "mouse.nwb"
    before = {path: path.stat().st_mtime_ns for path in place.iterdir()}
    size = mouse.stat().st_size
    said = fit(place, mouse, "--dry-run", "--json", *where)
    assert said.exit_code == 0, said.output
    (plan,) = json.loads(said.output)["dry_run"]
    assert {path: path.stat().st_mtime_ns for path in place.iterdir()} == before  # nothing was written
    (told,) = fitted(place, mouse, *where)
    assert (plan["file"], plan["run"]) == (told["file"], told["run"])
    with h5py.File(told["file"]) as file:
        written: dict[str, tuple[int, ...]] = {}

        def note(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                written[item.name] = item.shape

        file["processing/ecephys/synapsnet"].visititems(note)
    assert {one["path"]: tuple(one["shape"]) for one in plan["objects"]} == written
    added = Path(told["file"]).stat().st_size - (size if "--in-place" in where else 0)
    assert 0.8 * added < plan["bytes_added"] < 1.25 * added + 65536  # made in memory in blocks of so many
    assert plan["bytes_needed"] >= plan["bytes_added"]
    assert plan["bytes_free"] > 0
    assert plan["refusals"] == []


def test_a_dry_run_in_words(place: Path) -> None:
    result = fit(place, place / "unnamed.nwb", "-o", place / "new" / "folder" / "x.nwb", "--dry-run")
    assert result.exit_code == 0, result.output
    text = " ".join(result.output.split())
    assert "folder/x.nwb, run synapsnet (a new file)" in text
    assert "x 6, float32" in text
    assert "must be free while that is written" in text
    assert "for DANDI these are missing: species" in text
    assert not (place / "new").exists()


def test_a_dry_run_tells_a_disk_that_is_too_small(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(place)
    monkeypatch.setattr(shutil, "disk_usage", lambda *_: usage._replace(free=1000))
    result = fit(place, place / "mouse.nwb", "--dry-run", "--json")
    assert result.exit_code == 2
    (plan,) = json.loads(result.output)["dry_run"]
    assert plan["bytes_free"] == 1000
    assert "the disk is full" in " ".join(plan["refusals"]) or "MiB" in " ".join(plan["refusals"])


def test_a_dry_run_of_the_same_run_is_told(place: Path) -> None:
    fitted(place, place / "mouse.nwb", "--in-place")
    result = fit(place, place / "mouse.nwb", "--in-place", "--dry-run")
    assert result.exit_code == 2
    assert "already" in result.output
    replaced = fit(place, place / "mouse.nwb", "--in-place", "--replace", "--dry-run")
    assert "in the place of an earlier one" in " ".join(replaced.output.split())
