"""What a file keeps when it is replaced by an amended copy, what forbids it, and what is tidied up after a crash."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pytest
from pynwb import NWBFile, TimeSeries

from ndx_synapsnet.errors import InputError
from ndx_synapsnet.nwb import copying, locking, replace, store
from ndx_synapsnet.nwb.locking import sole_writer

posix = pytest.mark.skipif(os.name != "posix", reason="permissions, owners and links are those of POSIX")
as_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")


def add(nwbfile: NWBFile) -> None:
    nwbfile.add_acquisition(TimeSeries(name="added", data=[1.0], unit="V", rate=1.0))


def refused(path: Path, words: str) -> None:
    """Check that a file cannot be amended, that it can be told beforehand, and that nothing has happened."""
    before = sorted((str(p), p.lstat().st_mtime_ns, p.lstat().st_ino) for p in path.parent.rglob("*"))
    with pytest.raises(InputError, match=words):
        store.require_amendable(path)
    with pytest.raises(InputError, match=words):
        store.amend(path, add)
    assert any(words in refusal for refusal in store.plan(path, added=0).refusals)
    assert sorted((str(p), p.lstat().st_mtime_ns, p.lstat().st_ino) for p in path.parent.rglob("*")) == before


# --- what is kept ----------------------------------------------------------------------------------------------------


@as_root
def test_owner_group_and_permissions_are_kept(recording: Path) -> None:
    deep = recording / "units" if recording.is_dir() else recording
    os.chown(deep, 12345, 23456)
    os.chmod(deep, 0o2750 if deep.is_dir() else 0o4640)  # setuid goes with a change of owner
    os.chown(recording, 12345, 23456)
    os.chmod(recording, 0o2750 if deep.is_dir() else 0o4640)
    store.amend(recording, add)
    for path in {recording, deep}:
        status = path.stat()
        assert (status.st_uid, status.st_gid) == (12345, 23456)
        assert status.st_mode & 0o7777 == (0o2750 if deep.is_dir() else 0o4640)


@pytest.mark.skipif(not hasattr(os, "setxattr"), reason="no extended attributes")
def test_extended_attributes_and_access_lists_are_kept(recording: Path) -> None:
    inside = recording / ".zattrs" if recording.is_dir() else recording
    # version 2; the owner rw, user 12345 r, the group r, at most rw, others nothing
    entries = [(1, 6, 2**32 - 1), (2, 4, 12345), (4, 4, 2**32 - 1), (16, 6, 2**32 - 1), (32, 0, 2**32 - 1)]
    parts = [(2).to_bytes(4, "little")]
    parts += [t.to_bytes(2, "little") + p.to_bytes(2, "little") + i.to_bytes(4, "little") for t, p, i in entries]
    try:
        os.setxattr(recording, "user.lab", b"mine")
        os.setxattr(inside, "system.posix_acl_access", b"".join(parts))
    except OSError as error:
        pytest.skip(f"this file system has none: {error}")
    store.amend(recording, add)
    assert os.getxattr(recording, "user.lab") == b"mine"
    assert os.getxattr(inside, "system.posix_acl_access") == b"".join(parts)


def test_an_attribute_that_cannot_be_kept_is_a_reason_to_refuse(
    hdf5_recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no(*_: Any) -> None:
        raise OSError(errno.ENOTSUP, "no")

    monkeypatch.setattr(os, "listxattr", lambda path: ["user.lab", "security.x"], raising=False)
    monkeypatch.setattr(os, "getxattr", lambda path, name: b"", raising=False)
    monkeypatch.setattr(os, "setxattr", no, raising=False)
    with pytest.raises(InputError, match=r"extended attribute user\.lab cannot be kept"):
        store.amend(hdf5_recording, add)
    monkeypatch.setattr(os, "listxattr", lambda path: ["security.x"], raising=False)
    store.amend(hdf5_recording, add)


def test_dates(recording: Path) -> None:
    inside = recording / "units" / "id" / "0" if recording.is_dir() else None
    for path in [recording, *([inside] if inside else [])]:
        os.utime(path, ns=(10**18, 10**18))
    now = time.time_ns()
    store.amend(recording, add)
    if inside is None:
        assert recording.stat().st_mtime_ns >= now - 10**9  # a clock of the file system may be coarse
    else:
        assert inside.stat().st_mtime_ns == 10**18  # of a folder, what was not written keeps its date


@pytest.mark.skipif(not hasattr(os, "SEEK_HOLE"), reason="no holes")
def test_holes_stay_holes(hdf5_recording: Path) -> None:
    with h5py.File(hdf5_recording, "r+") as file:
        data = file.create_dataset("acquisition/large", (2**24,), "f8")
        data.attrs["x"] = 1
        data[-1] = 1.0
    with open(hdf5_recording, "r+b") as file:
        if os.fstat(file.fileno()).st_blocks * 512 > 2**26:
            pytest.skip("this file system keeps no holes")
    copying.copy(hdf5_recording, hdf5_recording.with_name("copy.nwb"))
    copied = hdf5_recording.with_name("copy.nwb")
    assert copied.read_bytes() == hdf5_recording.read_bytes()
    assert copied.stat().st_blocks * 512 < 2**22
    assert copying.copied_bytes(hdf5_recording) < 2**22


def test_a_copy_by_hand_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "copy_file_range", raising=False)
    monkeypatch.setattr(copying, "share_blocks", lambda a, b: False)
    for name, content in {"empty": b"", "some": b"x" * (2**22 + 17)}.items():
        (tmp_path / name).write_bytes(content)
        copying.copy(tmp_path / name, tmp_path / f"{name} 2")
        assert (tmp_path / f"{name} 2").read_bytes() == content


@posix
def test_links_inside_and_to_a_folder_stay(zarr_recording: Path, tmp_path: Path) -> None:
    (zarr_recording / "note").symlink_to("nowhere")
    link = tmp_path / "link.zarr"
    link.symlink_to(zarr_recording.name)
    store.amend(link, add)
    assert link.is_symlink()
    assert os.readlink(zarr_recording / "note") == "nowhere"
    assert (zarr_recording / "acquisition" / "added").is_dir()


# --- what forbids it -------------------------------------------------------------------------------------------------


@posix
def test_a_file_with_other_names_is_refused(hdf5_recording: Path, tmp_path: Path) -> None:
    os.link(hdf5_recording, tmp_path / "other.nwb")
    refused(hdf5_recording, "has 2 names")
    with pytest.raises(InputError, match="cp FILE NEW && mv NEW FILE"):
        store.amend(hdf5_recording, add)


@posix
def test_read_only_things_are_refused(recording: Path) -> None:
    mode = recording.stat().st_mode
    recording.chmod(mode & ~0o222)
    refused(recording, "is write-protected")
    recording.chmod(mode)


def test_a_folder_that_is_read_only_is_refused(recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, *a: Path(path) != recording.parent and real(path, *a))
    refused(recording, "cannot be written to")


def test_a_file_of_somebody_else_is_refused(recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(os, "O_TMPFILE"):
        pytest.skip("only Linux can tell beforehand")

    def no(*_: Any) -> None:
        raise PermissionError(errno.EPERM, "no")

    monkeypatch.setattr(copying, "_give", no)
    refused(recording, "belongs to somebody else")


def test_a_file_marked_immutable_is_refused(hdf5_recording: Path) -> None:
    chattr = shutil.which("chattr")
    if chattr is None or subprocess.run([chattr, "+i", hdf5_recording], capture_output=True, check=False).returncode:
        pytest.skip("files cannot be marked here")
    try:
        refused(hdf5_recording, "marked as not to be changed")
    finally:
        subprocess.run([chattr, "-i", hdf5_recording], check=True)


# --- the swap --------------------------------------------------------------------------------------------------------


def test_a_failure_after_the_swap_is_not_called_nothing(recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    if recording.is_file():
        monkeypatch.setattr(replace, "sync_all", lambda path: None)
    monkeypatch.setattr(store, "sync_all", lambda path: None)
    monkeypatch.setattr(replace, "sync", fail)
    with pytest.raises(InputError, match="the new content is in place, but the disk failed"):
        store.amend(recording, add)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="already exists"):
        store.amend(recording, add)
    assert os.listdir(recording.parent) == [recording.name]


@pytest.fixture
def aside(zarr_recording: Path) -> Path:
    """The folder, moved aside by a process that was killed before it put the new one in its place."""
    old = replace.temporary_name(zarr_recording, "zarr", kind="old")
    new = replace.temporary_name(zarr_recording, "zarr")
    shutil.copytree(zarr_recording, new)
    zarr_recording.rename(old)
    return old


def test_a_folder_moved_aside_is_put_back(aside: Path, zarr_recording: Path) -> None:
    store.amend(zarr_recording, add)
    assert (zarr_recording / "acquisition" / "added").is_dir()
    assert os.listdir(zarr_recording.parent) == [zarr_recording.name]


def test_a_folder_moved_aside_goes_if_all_of_it_is_in_place(aside: Path, zarr_recording: Path) -> None:
    shutil.copytree(aside, zarr_recording)
    store.amend(zarr_recording, add)
    assert os.listdir(zarr_recording.parent) == [zarr_recording.name]


def test_a_folder_moved_aside_that_holds_more_is_kept(aside: Path, zarr_recording: Path) -> None:
    shutil.copytree(aside, zarr_recording)
    shutil.rmtree(zarr_recording / "units")
    with pytest.raises(InputError, match=f"what it was then is in {aside.name}"):
        store.amend(zarr_recording, add)
    assert (aside / "units").is_dir()


def test_what_is_not_ours_is_never_tidied_up(hdf5_recording: Path) -> None:
    mine = [
        f".{hdf5_recording.name}.tmp.nwb",
        f".{hdf5_recording.name}.{'0' * 31}.tmp.nwb",
        f"{hdf5_recording.name}.tmp",
    ]
    other = f".other.nwb.{'0' * 32}.tmp.nwb"
    for name in (*mine, other):
        (hdf5_recording.parent / name).write_text("mine")
    (hdf5_recording.parent / f".{hdf5_recording.name}.{'0' * 32}.tmp.nwb").write_text("left")
    store.amend(hdf5_recording, add)
    assert sorted(os.listdir(hdf5_recording.parent)) == sorted([*mine, other, hdf5_recording.name])


# --- locks -----------------------------------------------------------------------------------------------------------


@posix
def test_a_lock_dies_with_its_process(hdf5_recording: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from ndx_synapsnet.nwb.locking import sole_writer\n"
        "with sole_writer(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(hdf5_recording)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(InputError, match="another run is writing this file"), sole_writer(hdf5_recording):
            pass
        holder.send_signal(signal.SIGKILL)
    assert hdf5_recording.with_name(f".{hdf5_recording.name}.lock").exists()
    with sole_writer(hdf5_recording):
        pass
    assert os.listdir(hdf5_recording.parent) == [hdf5_recording.name]


@posix
def test_where_there_are_no_locks_nobody_is_kept_out(hdf5_recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(locking.fcntl, "flock", none)
    with sole_writer(hdf5_recording):
        store.amend(hdf5_recording, add)


def test_a_disk_that_fails_is_told_plainly(recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(store, "sync_all", fail)
    with pytest.raises(InputError, match=r"the disk failed \(.*\)\. Nothing was changed"):
        store.amend(recording, add)
    assert os.listdir(recording.parent) == [recording.name]


@pytest.mark.parametrize("call", ["pwrite", "ftruncate"])
def test_hdf5_is_not_told_of_a_write_that_failed(
    hdf5_recording: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    real: Callable[..., Any] = getattr(os, call)
    left = [3]

    def fail(*args: Any) -> Any:
        left[0] -= 1
        if left[0] < 0 and "tmp" in os.readlink(f"/proc/self/fd/{args[0]}"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*args)

    if not Path("/proc/self/fd").exists():
        pytest.skip("no /proc")
    left[0] = 3 if call == "pwrite" else 1
    monkeypatch.setattr(os, call, fail)
    before = hdf5_recording.read_bytes()
    with pytest.raises(InputError, match="the disk is full"):
        store.amend(hdf5_recording, add)
    assert hdf5_recording.read_bytes() == before
    assert os.listdir(hdf5_recording.parent) == [hdf5_recording.name]


def test_an_error_of_the_disk_that_another_one_hides_is_told(zarr_recording: Path) -> None:
    def fail(nwbfile: NWBFile) -> None:
        try:
            raise OSError(errno.EIO, "Input/output error")
        except OSError as error:
            raise KeyError("units/.zattrs") from error  # as Zarr does

    with pytest.raises(InputError, match=r"the disk failed \(Input/output error\)"):
        store.amend(zarr_recording, fail)


# --- a new file ------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a name cannot be asked for only if it is free")
@pytest.mark.parametrize("folder", [False, True])
def test_a_new_file_never_takes_a_name_given_in_the_same_instant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: bool
) -> None:
    new, path = tmp_path / "new", tmp_path / "result"
    for place in (new, path) if folder else ():
        place.mkdir()
    (new / "a" if folder else new).write_text("ours")
    look = replace.require_free
    calls: list[Path] = []

    def taken_after_the_look(place: Path) -> None:
        calls.append(place)
        if len(calls) > 1:
            look(place)
        elif not folder:
            place.write_text("theirs")

    monkeypatch.setattr(replace, "require_free", taken_after_the_look)
    with pytest.raises(InputError, match="this path is taken"):
        replace.publish(new, path)
    assert (list(path.iterdir()) == []) if folder else (path.read_text() == "theirs")
    assert new.exists()
    shutil.rmtree(path) if folder else path.unlink()
    replace.publish(new, path)
    assert (path / "a" if folder else path).read_text() == "ours"
    assert not new.exists()
