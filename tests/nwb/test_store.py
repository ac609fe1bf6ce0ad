"""Amending and creating files: complete, valid and whole, or as before."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import h5py
import pytest
from pynwb import NWBHDF5IO, NWBFile, TimeSeries, validate

from ndx_synapsnet.errors import InputError
from ndx_synapsnet.nwb import replace, store
from ndx_synapsnet.nwb.compare import first_difference
from ndx_synapsnet.nwb.locking import sole_writer
from ndx_synapsnet.nwb.results import add_result, read_result, write_result


def digest(path: Path) -> str:
    """Digest of a file, or of the names and contents of a folder's files."""
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    content = hashlib.sha256()
    for file in files:
        content.update(str(file.relative_to(path)).encode())
        content.update(file.read_bytes())
    return content.hexdigest()


def add_series(nwbfile: NWBFile) -> str:
    nwbfile.processing["ophys"].add(TimeSeries(name="added", data=[1.0, 2.0, 3.0], unit="V", rate=1.0))
    return "answer"


class Untouched:
    """Checks on leaving that the file is as it was and nothing lies beside it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        self.before = digest(self.path), sorted(os.listdir(self.path.parent)), self.path.stat().st_mtime_ns

    def __exit__(self, *_: object) -> None:
        now = digest(self.path), sorted(os.listdir(self.path.parent)), self.path.stat().st_mtime_ns
        assert now == self.before


# --- what amending does ----------------------------------------------------------------------------------------------


def test_amend_adds_and_keeps_everything_else(recording: Path, tmp_path: Path) -> None:
    before = tmp_path / "before" / recording.name
    before.parent.mkdir()
    (shutil.copytree if recording.is_dir() else shutil.copyfile)(recording, before)
    assert store.amend(recording, add_series) == "answer"
    assert first_difference(before, recording) is None
    assert first_difference(recording, before) is not None
    assert store.validation_errors(recording, "zarr" if recording.is_dir() else "hdf5") == set()
    assert sorted(os.listdir(tmp_path)) == ["before", recording.name]


def test_amend_keeps_permissions_and_symbolic_links(hdf5_recording: Path, tmp_path: Path) -> None:
    hdf5_recording.chmod(0o640)
    link = tmp_path / "link.nwb"
    link.symlink_to(hdf5_recording.name)
    store.amend(link, add_series)
    assert link.is_symlink()
    assert hdf5_recording.stat().st_mode & 0o777 == 0o640
    with h5py.File(hdf5_recording) as file:
        assert "added" in file["processing/ophys"]


def make_old(path: Path) -> None:
    """Make of a file what it would be under core 2.4.0, whose electrodes were a plain DynamicTable."""
    with h5py.File(path, "r+") as file:
        del file["specifications/ndx-synapsnet"]
        core = file["specifications/core"]
        (version,) = core
        core.move(version, "2.4.0")
        for name in list(core["2.4.0"]):
            text = core["2.4.0"][name][()].decode()
            del core["2.4.0"][name]
            old = text.replace(f'"version":"{version}"', '"version":"2.4.0"')
            core["2.4.0"][name] = old.replace(
                '"neurodata_type_inc":"ElectrodesTable"', '"neurodata_type_inc":"DynamicTable"'
            )
        file.attrs["nwb_version"] = "2.4.0"
        electrodes = file["general/extracellular_ephys/electrodes"]
        electrodes.attrs.update({"neurodata_type": "DynamicTable", "namespace": "hdmf-common"})


def kept_schemas(path: Path) -> dict[str, list[str]]:
    with h5py.File(path) as file:
        return {name: list(versions) for name, versions in file["specifications"].items()}


def test_amend_leaves_an_old_file_to_its_own_schemas(hdf5_recording: Path, tmp_path: Path, make_result: Any) -> None:
    make_old(hdf5_recording)
    before = tmp_path / "before.nwb"
    shutil.copyfile(hdf5_recording, before)
    assert store.validation_errors(hdf5_recording, "hdf5") == set()
    write_result(make_result(), hdf5_recording, in_place=True)
    assert first_difference(before, hdf5_recording) is None
    with h5py.File(hdf5_recording) as file:
        assert file.attrs["nwb_version"] == "2.4.0"
        assert file["general/extracellular_ephys/electrodes"].attrs["neurodata_type"] == "DynamicTable"
    own = kept_schemas(hdf5_recording)
    assert own.pop("ndx-synapsnet")
    assert own == kept_schemas(before)
    assert own["core"] == ["2.4.0"]
    assert store.validation_errors(hdf5_recording, "hdf5") == set()
    assert read_result(hdf5_recording) == make_result()


def test_amend_gives_schemas_to_a_file_that_keeps_none(tmp_path: Path, make_recording: Any, make_result: Any) -> None:
    path = tmp_path / "bare.nwb"
    with NWBHDF5IO(str(path), "w") as io:
        io.write(make_recording(), cache_spec=False)
    write_result(make_result(), path, in_place=True)
    assert {"core", "ndx-synapsnet"} <= set(kept_schemas(path))


@pytest.mark.parametrize("name", ["allen-layout/aibs.nwb", "pynapple/phy_A8604-211122.nwb"])
def test_amend_real_recordings(shared_data: Path, name: str, tmp_path: Path, make_result: Any) -> None:
    path = tmp_path / Path(name).name
    shutil.copyfile(shared_data / name, path)
    before = store.validation_errors(path, "hdf5")
    write_result(make_result(), path, in_place=True)
    assert first_difference(shared_data / name, path) is None
    assert store.validation_errors(path, "hdf5") == before
    assert read_result(path) == make_result()


# --- what leaves the file as it was ----------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("mine"), SystemExit(3)])
def test_what_modify_raises_passes_through(hdf5_recording: Path, error: BaseException) -> None:
    def fail(nwbfile: NWBFile) -> None:
        add_series(nwbfile)
        raise error

    with Untouched(hdf5_recording), pytest.raises(type(error)) as caught:
        store.amend(hdf5_recording, fail)
    assert caught.value is error


def interrupt(monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Have Ctrl-C arrive after a step of `amend`; just before the last one."""
    real = getattr(store, step)

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        if step != "replace":
            real(*args, **kwargs)
        raise KeyboardInterrupt

    monkeypatch.setattr(store, step, interrupted)


@pytest.mark.parametrize(
    "step", ["copy", "_modify", "put_back_attributes", "_require_valid", "first_difference", "replace"]
)
def test_interruption_at_any_step(hdf5_recording: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    interrupt(monkeypatch, step)
    with Untouched(hdf5_recording), pytest.raises(KeyboardInterrupt):
        store.amend(hdf5_recording, add_series)


@pytest.mark.parametrize("step", ["_modify", "replace"])
def test_interruption_with_zarr(zarr_recording: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    interrupt(monkeypatch, step)
    with Untouched(zarr_recording), pytest.raises(KeyboardInterrupt):
        store.amend(zarr_recording, add_series)


def test_zarr_is_put_back_if_the_swap_is_interrupted(zarr_recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = os.rename, []

    def rename(source: Any, target: Any) -> None:
        calls.append(target)
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(source, target)

    monkeypatch.setattr(replace, "exchange", lambda a, b: False)
    monkeypatch.setattr(os, "rename", rename)
    with Untouched(zarr_recording), pytest.raises(KeyboardInterrupt):
        store.amend(zarr_recording, add_series)
    assert len(calls) == 3


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "the disk is full"),
        (errno.EROFS, "cannot be written to"),
        (errno.EACCES, "cannot be written to"),
    ],
)
@pytest.mark.parametrize("told", ["by number", "in HDF5's words"])
def test_refusals_of_the_disk(
    hdf5_recording: Path, monkeypatch: pytest.MonkeyPatch, code: int, message: str, told: str
) -> None:
    text = f"Can't write data (file write failed: time = now, errno = {code}, error message = '...')"
    error = OSError(code, "refused") if told == "by number" else RuntimeError(text)

    def refuse(self: NWBHDF5IO, container: NWBFile, **_: Any) -> None:
        raise error

    monkeypatch.setattr(NWBHDF5IO, "write", refuse)
    with Untouched(hdf5_recording), pytest.raises(InputError, match=message) as caught:
        store.amend(hdf5_recording, add_series)
    assert str(hdf5_recording) in str(caught.value)
    assert "Nothing was changed" in str(caught.value)


def test_hdf5_s_account_of_a_full_disk_is_left_out(hdf5_recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: NWBHDF5IO, container: NWBFile, **_: Any) -> None:
        text = "Unable to extend file properly, errno = 27, error message = 'File too large' (file write failed: ...)"
        raise OSError(errno.EFBIG, text)

    monkeypatch.setattr(NWBHDF5IO, "write", refuse)
    with Untouched(hdf5_recording), pytest.raises(InputError) as caught:
        store.amend(hdf5_recording, add_series)
    assert "(Unable to extend file properly). Nothing was changed." in str(caught.value)


def test_other_errors_of_the_disk_are_not_explained_away(hdf5_recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise OSError(errno.EDEADLK, "strange")

    monkeypatch.setattr(store, "copy", fail)
    with Untouched(hdf5_recording), pytest.raises(OSError, match="strange"):
        store.amend(hdf5_recording, add_series)


def test_too_little_room_is_noticed_beforehand(recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def touched(*_: Any) -> None:
        raise AssertionError("nothing should have been copied")

    monkeypatch.setattr(store, "copy", touched)
    with Untouched(recording), pytest.raises(InputError, match=r"the disk is full .* MiB are needed, .* are free"):
        store.amend(recording, add_series, room=2**60)


def test_read_only_folder(recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(path: Any, *_: Any, **__: Any) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    # permissions do not bind root, who may be running this
    monkeypatch.setattr(os, "open", forbidden)
    with Untouched(recording), pytest.raises(InputError, match="cannot be written to"):
        store.amend(recording, add_series)


def test_write_protected_file(hdf5_recording: Path) -> None:
    hdf5_recording.chmod(0o444)
    with Untouched(hdf5_recording), pytest.raises(InputError, match="is write-protected"):
        store.amend(hdf5_recording, add_series)


def test_change_to_old_content_is_refused(hdf5_recording: Path) -> None:
    def edit(nwbfile: NWBFile) -> None:
        nwbfile.processing["ophys"]["observed"].data[0] = 7.0

    with Untouched(hdf5_recording), pytest.raises(InputError, match="processing/ophys/observed/data has changed"):
        store.amend(hdf5_recording, edit)


def test_zarr_change_to_old_content_is_refused(zarr_recording: Path) -> None:
    def edit(nwbfile: NWBFile) -> None:
        nwbfile.processing["ophys"]["observed"].data[0] = 7.0

    with Untouched(zarr_recording), pytest.raises(InputError, match=r"processing/ophys/observed/data/0.0 has changed"):
        store.amend(zarr_recording, edit)


def test_invalid_result_is_refused(hdf5_recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = store.validate

    def complaining(path: str) -> list[Any]:
        return [*real(path=path), *(["new (here): wrong"] if ".tmp." in path else ["old (there): wrong"])]

    monkeypatch.setattr(store, "validate", complaining)
    with Untouched(hdf5_recording), pytest.raises(InputError, match=r"is not valid NWB: new \(here\): wrong\."):
        store.amend(hdf5_recording, add_series)


def test_errors_that_the_source_has_are_no_reason_to_refuse(hdf5_recording: Path) -> None:
    with h5py.File(hdf5_recording, "r+") as file:
        del file["processing/ophys/observed/data"].attrs["unit"]
    assert store.validation_errors(hdf5_recording, "hdf5")

    def add(nwbfile: NWBFile) -> None:
        nwbfile.add_acquisition(TimeSeries(name="added", data=[1.0], unit="V", rate=1.0))

    store.amend(hdf5_recording, add)
    with h5py.File(hdf5_recording) as file:
        assert "added" in file["acquisition"]


# --- other writers ---------------------------------------------------------------------------------------------------


def test_file_open_for_writing_elsewhere(hdf5_recording: Path) -> None:
    with h5py.File(hdf5_recording, "r+"), Untouched(hdf5_recording), pytest.raises(InputError, match="for writing"):
        store.amend(hdf5_recording, add_series)


def test_readers_do_not_disturb(hdf5_recording: Path) -> None:
    with NWBHDF5IO(str(hdf5_recording), "r") as io:
        nwbfile = io.read()
        store.amend(hdf5_recording, add_series)
        assert nwbfile.processing["ophys"]["observed"].data.shape == (60, 3)  # the old file is still theirs
        assert "added" not in nwbfile.processing["ophys"].data_interfaces
    with h5py.File(hdf5_recording) as file:
        assert "added" in file["processing/ophys"]


def test_second_amend_is_turned_away(recording: Path) -> None:
    def amend_within(nwbfile: NWBFile) -> None:
        with pytest.raises(InputError, match="another run is writing this file"):
            store.amend(recording, add_series)
        add_series(nwbfile)

    store.amend(recording, amend_within)
    with pytest.raises(ValueError, match="already exists"):  # it was added once, by the first
        store.amend(recording, add_series)


def test_change_by_another_program_meanwhile(hdf5_recording: Path) -> None:
    def meanwhile(nwbfile: NWBFile) -> None:
        add_series(nwbfile)
        os.utime(hdf5_recording, ns=(1, 1))

    with pytest.raises(InputError, match="changed by another program meanwhile"):
        store.amend(hdf5_recording, meanwhile)
    with h5py.File(hdf5_recording) as file:
        assert "added" not in file["processing/ophys"]


KILLED = """
    import sys, time
    from pathlib import Path
    from ndx_synapsnet.nwb import replace, store
    def wait(nwbfile):
        print("inside", flush=True)
        time.sleep(60)
    store.amend(Path(sys.argv[1]), wait)
"""


@pytest.mark.parametrize(("how", "left"), [(signal.SIGINT, 0), (signal.SIGKILL, 2)])
def test_process_that_ends_in_the_middle(hdf5_recording: Path, how: signal.Signals, left: int) -> None:
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(hdf5_recording)]
    before = digest(hdf5_recording)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == "inside\n"
        with pytest.raises(InputError, match="another run is writing this file"):
            store.amend(hdf5_recording, add_series)
        process.send_signal(how)
    assert digest(hdf5_recording) == before
    assert len(os.listdir(hdf5_recording.parent)) == 1 + left  # a killed process cannot tidy up its copy and lock
    store.amend(hdf5_recording, add_series)
    assert os.listdir(hdf5_recording.parent) == [hdf5_recording.name]


def test_lock_is_gone_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with sole_writer(path):
        assert [p.name for p in tmp_path.iterdir()] == [".file.lock"]
    assert list(tmp_path.iterdir()) == []


def test_second_amend_waits_for_its_turn(hdf5_recording: Path) -> None:
    with sole_writer(hdf5_recording), pytest.raises(InputError, match="another run is writing this file"):
        store.amend(hdf5_recording, add_series, wait=0.01)
    inside, done = threading.Event(), threading.Event()

    def hold() -> None:
        with sole_writer(hdf5_recording):
            inside.set()
            done.wait(0.3)

    holder = threading.Thread(target=hold)
    holder.start()
    inside.wait()
    assert store.amend(hdf5_recording, add_series, wait=60) == "answer"
    holder.join()


# --- what it would take ----------------------------------------------------------------------------------------------


def test_plan_of_an_amended_file(recording: Path) -> None:
    with Untouched(recording):
        found = store.plan(recording, added=1000)
    assert (found.path, found.in_place, found.bytes_added, found.refusals) == (recording, True, 1000, ())
    assert found.how in ("reflink", "copy")
    size = sum(p.lstat().st_size for p in [recording, *recording.rglob("*")] if p.is_file())
    assert found.bytes_needed == 1000 if found.how == "reflink" else 0.5 * size < found.bytes_needed - 1000
    assert found.bytes_free > 2**20


def test_plan_of_a_new_file(tmp_path: Path) -> None:
    found = store.plan(tmp_path / "new.nwb", added=1000)
    assert (found.in_place, found.bytes_needed, found.refusals) == (False, 1000, ())
    assert list(tmp_path.iterdir()) == []


def test_plan_names_everything_in_the_way(hdf5_recording: Path, tmp_path: Path) -> None:
    hdf5_recording.chmod(0o444)
    found = store.plan(hdf5_recording, added=2**60)
    assert len(found.refusals) == 2
    assert "write-protected" in found.refusals[0]
    assert "1,099,511,627,77" in found.refusals[1]  # MiB
    (absent,) = store.plan(tmp_path / "absent" / "new.nwb", added=1).refusals
    assert "no such folder" in absent


# --- files that cannot be amended ------------------------------------------------------------------------------------


def test_there_must_be_an_nwb_file(tmp_path: Path, hdf5_recording: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        store.amend(tmp_path / "absent.nwb", add_series)
    text = tmp_path / "text.nwb"
    text.write_text("not HDF5 at all")
    with Untouched(text), pytest.raises(InputError, match="not an NWB file"):
        store.amend(text, add_series)
    torn = tmp_path / "torn.nwb"
    torn.write_bytes(hdf5_recording.read_bytes()[:-1000])
    with Untouched(torn), pytest.raises(InputError, match="truncated"):
        store.amend(torn, add_series)
    folder = tmp_path / "folder"
    folder.mkdir()
    with Untouched(folder), pytest.raises(InputError, match="folder"):
        store.amend(folder, add_series)
    other = tmp_path / "other.nwb"
    with h5py.File(other, "w") as file:
        file["data"] = [1, 2]
    with Untouched(other), pytest.raises(InputError, match="not an NWB file"):
        store.amend(other, add_series)


# --- creating --------------------------------------------------------------------------------------------------------


def test_create_writes_a_valid_file(tmp_path: Path, suffix: str, make_recording: Any, make_result: Any) -> None:
    path = tmp_path / f"new.{suffix}"
    nwbfile = make_recording()
    add_result(nwbfile, make_result())
    store.create(path, nwbfile)
    assert os.listdir(tmp_path) == [path.name]
    if suffix == "nwb":
        assert validate(path=str(path)) == []
    assert read_result(path) == make_result()


def test_create_never_overwrites(tmp_path: Path, make_recording: Any) -> None:
    taken = tmp_path / "taken.nwb"
    taken.write_text("mine")
    dangling = tmp_path / "dangling.nwb"
    dangling.symlink_to("nowhere")
    for path in (taken, dangling):
        with pytest.raises(InputError, match="this path is taken"):
            store.create(path, make_recording())
    assert taken.read_text() == "mine"


def test_create_needs_a_folder_and_a_format(tmp_path: Path, make_recording: Any) -> None:
    with pytest.raises(InputError, match="no such folder"):
        store.create(tmp_path / "absent" / "new.nwb", make_recording())
    with pytest.raises(InputError, match=r"End it in \.nwb or \.zarr"):
        store.create(tmp_path / "new.h5", make_recording())


def test_create_leaves_nothing_of_what_is_invalid(
    tmp_path: Path, make_recording: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "validate", lambda **_: ["everything (everywhere): wrong"])
    with pytest.raises(InputError, match="is not valid NWB: everything"):
        store.create(tmp_path / "new.nwb", make_recording())
    assert list(tmp_path.iterdir()) == []
