"""Several runs in one file: recognised, replaced, listed, removed."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from pynwb import NWBHDF5IO, NWBFile

from ndx_synapsnet.errors import InputError
from ndx_synapsnet.nwb import run_removal
from ndx_synapsnet.nwb.layout import Layout
from ndx_synapsnet.nwb.results import add_result, list_runs, read_result, require_new_run, require_target, write_result
from ndx_synapsnet.nwb.run_digest import recorded_digest, run_digest, session_digest
from ndx_synapsnet.nwb.run_records import run_records
from ndx_synapsnet.nwb.run_removal import remove_run
from ndx_synapsnet.nwb.sources import open_source
from ndx_synapsnet.nwb.store import create, validation_errors
from ndx_synapsnet.session import FitResult

Make = Callable[..., FitResult]

CONFIG: dict[str, Any] = {
    "recipe": "default",
    "model": {"hidden": 8, "penalty_weight": 0.1},
    "train": {"seed": 0, "device": "cpu", "epochs": 3},
    "penalty_grid": [],
}
SOURCE: dict[str, Any] = {
    "uri": "/here/mouse.nwb",
    "identifier": "m1",
    "file_object_id": "f0",
    "reader": "calcium",
    "read_config": {"adapter": "auto", "rate": None, "behavior": ["auto"]},
    "series": [{"path": "/processing/ophys/x", "object_id": "x0"}],
    "behavior": [{"name": "speed", "object_id": "s0"}],
}


@pytest.fixture(scope="module")
def written_runs(
    tmp_path_factory: pytest.TempPathFactory, make_recording: Callable[[], NWBFile], make_result: Make
) -> Path:
    """A folder with the recording in both formats, holding runs `synapsnet` and `synapsnet_2` of seeds 1 and 2."""
    folder = tmp_path_factory.mktemp("runs")
    for path, layout in ((folder / "recording.nwb", Layout()), (folder / "recording.zarr", Layout("zarr"))):
        nwbfile = make_recording()
        for seed in (1, 2):
            add_result(nwbfile, make_result(seed=seed), layout=layout)
        create(path, nwbfile)
    return folder


@pytest.fixture
def hdf5_runs(written_runs: Path, tmp_path: Path) -> Path:
    """The file with two runs, in HDF5."""
    return Path(shutil.copy(written_runs / "recording.nwb", tmp_path / "runs.nwb"))


@pytest.fixture
def runs(written_runs: Path, tmp_path: Path, suffix: str) -> Path:
    """The file with two runs, in each of the two formats."""
    path = tmp_path / f"runs.{suffix}"
    copy = shutil.copy if suffix == "nwb" else shutil.copytree
    return Path(copy(written_runs / f"recording.{suffix}", path))


def digest(config: dict[str, Any] = CONFIG, source: dict[str, Any] = SOURCE, samples: int = 100, **more: Any) -> str:
    found = run_digest(config, source, samples=samples, **more)
    assert found is not None
    return found


def runs_of(path: Path) -> list[str]:
    with open_source(path) as opened:
        return list_runs(opened.nwbfile)


def content(path: Path) -> str:
    """Return a hash of a file or folder."""
    found = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            found.update(file.read_bytes())
    return found.hexdigest()


# --- what a run is recognised by -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "source"),
    [
        ({"train": {"seed": 0, "device": "cuda", "epochs": 3}}, {}),
        ({"recipe": "mine"}, {}),
        ({"a later setting": None}, {}),
        ({}, {"uri": "DANDI:000001/mouse.nwb", "format": "zarr", "notes": ["a note"], "remote": {"archive": "dandi"}}),
        ({}, {"read_config": {"adapter": "calcium", "behavior": ["auto"], "a later one": None}}),
    ],
)
def test_what_does_not_decide_a_run_is_not_in_its_digest(config: dict[str, Any], source: dict[str, Any]) -> None:
    assert digest(CONFIG | config, SOURCE | source) == digest()


@pytest.mark.parametrize(
    ("config", "source"),
    [
        ({"train": {"seed": 1, "device": "cpu", "epochs": 3}}, {}),
        ({"model": {"hidden": 9, "penalty_weight": 0.1}}, {}),
        ({"model": {"hidden": 8, "penalty_weight": 0.2}}, {}),
        ({"keep": "all"}, {}),
        ({}, {"identifier": "m2"}),
        ({}, {"file_object_id": "f1"}),
        ({}, {"read_config": {"adapter": "auto", "rate": 10.0, "behavior": ["auto"]}}),
        ({}, {"reader": "spikes"}),
        ({}, {"series": [{"object_id": "x1"}]}),
        ({}, {"behavior": []}),
        ({}, {"files": [{"identifier": "m1", "file_object_id": "f0"}, {"identifier": "m1", "file_object_id": "f9"}]}),
    ],
)
def test_what_decides_a_run_changes_its_digest(config: dict[str, Any], source: dict[str, Any]) -> None:
    assert digest(CONFIG | config, SOURCE | source) != digest()


def test_samples_and_the_sessions_fitted_together_are_in_a_digest() -> None:
    own = session_digest(SOURCE)
    assert own is not None
    assert digest(samples=101) != digest()
    assert digest(sessions=[own]) == digest()
    assert len({digest(), digest(sessions=[own, "b"]), digest(sessions=["b", own]), digest(sessions=[own, "c"])}) == 4


def test_the_weight_that_a_grid_found_best_is_no_setting() -> None:
    grid = CONFIG | {"penalty_grid": [0.1, 1.0]}
    assert digest(grid) == digest(grid | {"model": {"hidden": 8, "penalty_weight": 1.0}})


def test_without_a_recording_or_an_end_there_is_no_digest() -> None:
    assert run_digest(CONFIG, {"uri": "mouse.nwb"}, samples=3) is None
    assert run_digest(CONFIG, {}, samples=3) is None
    assert recorded_digest(CONFIG, {"source": SOURCE}, samples=100) == digest()
    assert recorded_digest(CONFIG, {"source": SOURCE, "interrupted": True}, samples=100) is None


# --- the same run again ----------------------------------------------------------------------------------------------


def test_the_same_run_is_refused_and_nothing_changes(runs: Path, make_result: Make) -> None:
    assert runs_of(runs) == ["synapsnet", "synapsnet_2"]
    before = content(runs)
    again = make_result(seed=1, run_id="again")
    for name in (None, "other"):
        with pytest.raises(InputError, match=r"holds this run already: 'synapsnet' .*--replace") as caught:
            write_result(again, runs, in_place=True, name=name)
        assert str(runs) in str(caught.value)
    assert content(runs) == before


def test_replace_puts_the_new_run_in_the_place_of_that_one_only(runs: Path, make_result: Make) -> None:
    new = make_result(seed=1, embeddings=np.full((3, 4), 7.0, np.float32), run_id="new")
    written = write_result(new, runs, in_place=True, replace=True)
    assert (written.run, written.replaced) == ("synapsnet", True)
    assert runs_of(runs) == ["synapsnet", "synapsnet_2"]
    assert read_result(runs, "synapsnet") == new
    assert read_result(runs, "synapsnet_2") == make_result(seed=2)
    assert validation_errors(runs, "zarr" if runs.is_dir() else "hdf5") == set()


def test_replace_adds_where_there_is_no_such_run(hdf5_runs: Path, make_result: Make) -> None:
    written = write_result(make_result(seed=3), hdf5_runs, in_place=True, replace=True)
    assert (written.run, written.replaced) == ("synapsnet_3", False)


def test_a_run_is_replaced_by_name(hdf5_runs: Path, make_result: Make) -> None:
    with pytest.raises(InputError, match=r"something called 'synapsnet' already.*replace that run by --replace"):
        write_result(make_result(seed=3), hdf5_runs, in_place=True, name="synapsnet")
    with pytest.raises(InputError, match="the same run under another name, 'synapsnet_2'"):
        write_result(make_result(seed=2), hdf5_runs, in_place=True, name="synapsnet", replace=True)
    written = write_result(make_result(seed=3), hdf5_runs, in_place=True, name="synapsnet", replace=True)
    assert (written.run, written.replaced) == ("synapsnet", True)
    assert read_result(hdf5_runs, "synapsnet") == make_result(seed=3)
    assert read_result(hdf5_runs, "synapsnet_2") == make_result(seed=2)


def test_what_is_no_run_is_never_replaced(hdf5_recording: Path, make_result: Make) -> None:
    before = content(hdf5_recording)
    with pytest.raises(InputError, match="'observed' is no run"):
        write_result(make_result(), hdf5_recording, in_place=True, name="observed", replace=True)
    with pytest.raises(InputError, match=r"something called 'observed' already\. .*have a free one chosen\.$"):
        write_result(make_result(), hdf5_recording, in_place=True, name="observed")
    assert content(hdf5_recording) == before


def test_a_replacement_that_fails_leaves_the_old_run(hdf5_runs: Path, make_result: Make) -> None:
    before = content(hdf5_runs)
    result = make_result(seed=1)
    unwritable = replace(result, neurons=replace(result.neurons, extra={"a/b": np.zeros(3)}))
    with pytest.raises(InputError, match="a column cannot be called"):
        write_result(unwritable, hdf5_runs, in_place=True, replace=True)
    assert content(hdf5_runs) == before


def test_a_run_that_another_program_replaces_meanwhile_is_kept(
    hdf5_runs: Path, make_result: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = run_removal.plan_removal

    def meanwhile(path: Path, run: str) -> run_removal.Removal:
        planned = plan(path, run)
        write_result(make_result(seed=1, run_id="theirs"), path, in_place=True, replace=True)
        return planned

    monkeypatch.setattr(run_removal, "plan_removal", meanwhile)
    with pytest.raises(InputError, match="changed by another program meanwhile"):
        remove_run(hdf5_runs, "synapsnet")
    assert read_result(hdf5_runs, "synapsnet").run_id == "theirs"


def test_a_file_beside_is_replaced_in_only_if_it_holds_the_run(tmp_path: Path, make_result: Make) -> None:
    path = tmp_path / "beside.nwb"
    write_result(make_result(seed=1), path, replace=True)
    with pytest.raises(InputError, match="this path is taken"):
        write_result(make_result(seed=1), path)
    with pytest.raises(InputError, match="holds no run to be replaced: none is of these settings"):
        write_result(make_result(seed=2), path, replace=True)
    new = make_result(seed=1, run_id="new")
    assert write_result(new, path, replace=True).replaced
    assert read_result(path) == new


def test_all_of_it_is_told_before_a_fit(hdf5_runs: Path, make_result: Make) -> None:
    result = make_result(seed=1)
    known = recorded_digest(result.config, result.provenance, samples=len(result.split))
    with pytest.raises(InputError, match="holds this run already: 'synapsnet'"):
        require_new_run(hdf5_runs, known, in_place=True)
    require_new_run(hdf5_runs, known, in_place=True, replace=True)
    require_new_run(hdf5_runs, "another", in_place=True)
    require_new_run(hdf5_runs, None, in_place=True)
    require_new_run(hdf5_runs.with_name("new.nwb"), known, replace=True)
    with pytest.raises(InputError, match="called 'synapsnet' already"):
        require_target(hdf5_runs, in_place=True, name="synapsnet")
    require_target(hdf5_runs, in_place=True, name="synapsnet", replace=True)
    require_target(hdf5_runs, replace=True)  # may hold the run: it is not known yet which that is
    with pytest.raises(InputError, match="is no run"):
        require_target(hdf5_runs, in_place=True, name="observed", replace=True)


# --- records and removal ---------------------------------------------------------------------------------------------


def test_records_say_what_runs_are(runs: Path, make_result: Make) -> None:
    with open_source(runs) as opened:
        first, second = run_records(opened)
    result = make_result(seed=1)
    assert (first.run, first.path, first.model) == ("synapsnet", "processing/ophys/synapsnet", "synapsnet")
    assert (first.neurons, first.trustworthy, first.verdict) == (3, True, result.verdict)
    assert first.finished == result.provenance["finished"]
    scores = result.scores["synapsnet"]
    assert first.mse == pytest.approx(scores.mse.mean())
    assert first.correlation == pytest.approx(np.nanmean(scores.correlation))
    assert first.bytes is not None
    assert first.bytes > sum(m.weights.nbytes for m in result.connectivity.values())
    assert first.digest == recorded_digest(result.config, result.provenance, samples=len(result.split))
    assert second.digest not in (None, first.digest)


def test_a_file_without_runs_has_no_records(recording: Path) -> None:
    with open_source(recording) as opened:
        assert run_records(opened) == []


def test_a_damaged_run_is_listed_without_what_is_damaged(hdf5_runs: Path) -> None:
    with h5py.File(hdf5_runs, "r+") as file:
        fit = file["processing/ophys/synapsnet"]
        del fit["provenance/record"]
        fit["provenance/record"] = "{not JSON"
        del fit["neurons/mse"]
        fit["neurons"].attrs["colnames"] = [name for name in fit["neurons"].attrs["colnames"] if name != "mse"]
    with open_source(hdf5_runs) as opened:
        damaged, whole = run_records(opened)
    assert (damaged.digest, damaged.mse, damaged.neurons) == (None, None, 3)
    assert whole.digest is not None


def test_a_removed_run_is_gone_and_the_rest_stays(runs: Path, make_result: Make) -> None:
    removed = remove_run(runs, "synapsnet")
    assert (removed.objects, removed.last) == (("processing/ophys/synapsnet",), False)
    assert runs_of(runs) == ["synapsnet_2"]
    assert read_result(runs) == make_result(seed=2)
    assert remove_run(runs, "synapsnet_2").last
    with open_source(runs) as opened:
        assert list(opened.nwbfile.processing["ophys"].data_interfaces) == ["observed"]
    assert validation_errors(runs, "zarr" if runs.is_dir() else "hdf5") == set()


def test_a_module_of_ours_goes_with_its_last_run(recording: Path, make_result: Make) -> None:
    write_result(make_result(modality="ecephys"), recording, in_place=True)
    assert remove_run(recording, "synapsnet").objects == ("processing/ecephys",)
    with open_source(recording) as opened:
        assert list(opened.nwbfile.processing) == ["ophys"]


def test_an_empty_module_that_somebody_else_made_stays(hdf5_recording: Path, make_result: Make) -> None:
    with NWBHDF5IO(hdf5_recording, "r+") as io:
        nwbfile = io.read()
        nwbfile.create_processing_module("ecephys", "What we made of the potentials.")
        io.write(nwbfile)
    write_result(make_result(modality="ecephys"), hdf5_recording, in_place=True)
    assert remove_run(hdf5_recording, "synapsnet").objects == ("processing/ecephys/synapsnet",)
    with open_source(hdf5_recording) as opened:
        assert "ecephys" in opened.nwbfile.processing


def test_a_run_that_is_referred_to_is_not_removed(hdf5_runs: Path, make_result: Make) -> None:
    with h5py.File(hdf5_runs, "r+") as file:
        file["processing/ophys/again"] = h5py.SoftLink("/processing/ophys/synapsnet/forecast")
    before = content(hdf5_runs)
    with pytest.raises(InputError, match=r"cannot be removed: .*again refers to it"):
        remove_run(hdf5_runs, "synapsnet")
    with pytest.raises(InputError, match=r"cannot be removed: .*again refers to it"):
        write_result(make_result(seed=1), hdf5_runs, in_place=True, replace=True)
    assert content(hdf5_runs) == before


def test_removing_what_is_not_there_names_what_is(hdf5_recording: Path, hdf5_runs: Path) -> None:
    with pytest.raises(InputError, match=r"no run 'synapsnet'.*holds no run"):
        remove_run(hdf5_recording, "synapsnet")
    with pytest.raises(InputError, match=r"no run 'observed'.*Its runs: synapsnet"):
        remove_run(hdf5_runs, "observed")
    hdf5_runs.chmod(0o444)
    with pytest.raises(InputError, match="write-protected"):
        remove_run(hdf5_runs, "synapsnet")
