"""Series in files: the same numbers, in memory that does not grow with the number of sessions."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ndx_synapsnet import memory
from ndx_synapsnet.errors import InputError
from ndx_synapsnet.experiment import fit, fit_held, load_config
from ndx_synapsnet.learn.distributed import World
from ndx_synapsnet.learn.preparation import prepare
from ndx_synapsnet.memory import available_memory, emptied, fits, session_bytes, spilled
from ndx_synapsnet.session import Session
from ndx_synapsnet.simulate import PaperNetworkConfig, random_session, simulate_paper_network

QUICK = {"train": {"epochs": 2, "min_steps": 0, "max_steps": None, "device": "cpu"}}
MIB = 2**20


@pytest.fixture(scope="module")
def sessions() -> list[Session]:
    sizes = ((36, 12, 1500), (30, 9, 1200))
    return [simulate_paper_network(PaperNetworkConfig(n, r, t, seed=n)).session for n, r, t in sizes]


def is_mapped(array: np.ndarray) -> bool:
    while array is not None:
        if isinstance(array, np.memmap):
            return True
        array = array.base  # type: ignore[assignment]
    return False


def test_a_spilled_session_is_the_same_session(sessions: list[Session], tmp_path: Path) -> None:
    session = spilled(sessions[0], tmp_path / "new")
    assert session == sessions[0]
    assert is_mapped(session.activity)
    assert not is_mapped(sessions[0].activity)
    if os.name == "posix":  # so that nothing is left, however the process ends
        assert list((tmp_path / "new").iterdir()) == []


def test_windows_are_the_same_to_the_bit_wherever_they_lie(sessions: list[Session], tmp_path: Path) -> None:
    session = sessions[0]
    valid = session.valid.copy()
    valid[100:130] = False
    activity = session.activity.copy()
    activity[:, ~valid] = np.nan
    gappy = Session(**{**vars(session), "activity": activity, "valid": valid})
    plain, mapped = (prepare([gappy, session], spill=spill) for spill in (None, tmp_path))
    for a, b in zip(plain, mapped, strict=True):
        assert torch.equal(a.activity, b.activity)
        assert torch.equal(a.behavior, b.behavior)
        assert a.normalization == b.normalization
    if Path("/proc/self/maps").exists():
        assert Path("/proc/self/maps").read_text().count(str(tmp_path)) == 2


def test_z_scores_do_not_depend_on_the_blocks(sessions: list[Session], monkeypatch: pytest.MonkeyPatch) -> None:
    (whole,) = prepare(sessions[:1])
    monkeypatch.setattr("ndx_synapsnet.learn.preparation._BLOCK", 50)
    (pieces,) = prepare(sessions[:1])
    assert torch.equal(whole.activity, pieces.activity)
    session, scale = sessions[0], whole.normalization
    expected = (session.activity[whole.kept].T - scale.activity_mean) / scale.activity_std
    np.testing.assert_allclose(whole.activity.numpy(), expected, atol=1e-5)


def test_a_fit_is_the_same_to_the_bit_with_series_in_files(sessions: list[Session], tmp_path: Path) -> None:
    config = load_config(overrides={**QUICK, "keep": "all"})
    plain = fit(sessions, config, progress=False)
    away = fit([spilled(s, tmp_path) for s in sessions], config, progress=False, spill=tmp_path)
    for a, b in zip(plain, away, strict=True):
        assert a.forecast == b.forecast
        assert dict(a.scores) == dict(b.scores)
        assert dict(a.connectivity) == dict(b.connectivity)
        assert all(np.array_equal(a.weights[name], b.weights[name]) for name in a.weights)


def test_no_room_is_told(sessions: list[Session], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file.*cannot be kept here"):
        spilled(sessions[0], tmp_path / "file" / "folder")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(memory.np, "save", full)
    with pytest.raises(InputError, match="No space left on device"):
        spilled(sessions[0], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_fits(sessions: list[Session], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert session_bytes(sessions[0]) == 12 * 1500 * 4 * 2
    assert fits(50, 100)
    assert not fits(51, 100)
    assert fits(51, 0)  # the system does not say
    everything = available_memory()
    assert everything > 2**20
    (tmp_path / "max").write_text("4096\n")
    (tmp_path / "current").write_text("1096\n")
    monkeypatch.setattr(memory, "_GROUP_LIMIT", tmp_path / "max")
    monkeypatch.setattr(memory, "_GROUP_USED", tmp_path / "current")
    assert available_memory() == 3000
    (tmp_path / "max").write_text("max\n")
    assert available_memory() > 4096


def test_an_emptied_session_keeps_its_clock_and_neurons(sessions: list[Session]) -> None:
    session = emptied(sessions[0])
    assert session.activity.shape == sessions[0].activity.shape
    assert session.activity.strides == (0, 0)
    assert session.neurons == sessions[0].neurons
    assert np.array_equal(session.times, sessions[0].times)


def _bounded(folder: Path, count: int, limit: int) -> None:
    """Fit `count` sessions of 64 MB each, in files, with no more than `limit` bytes of memory that no file backs."""
    import resource

    settings = {
        "windows": {"split": [0.98, 0.01, 0.01]},
        "model": {"use_connectivity": False},  # its gain takes most of the time, and no memory
        "train": {"epochs": 1, "min_steps": 0, "max_steps": 5, "device": "cpu"},
    }
    config = load_config(overrides=settings)
    small = random_session(5, 2000)
    list(fit_held([small], config, World(), progress=False))  # whatever is loaded or started on the way
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    bound = 1024 * int(status["VmData"].split()[0]) + limit
    resource.setrlimit(resource.RLIMIT_DATA, (bound, bound))
    spill = str(folder) != "none"
    sessions = []
    for _ in range(count):
        session = random_session(200, 40_000)
        sessions.append(spilled(session, folder) if spill else session)
        del session
    results = fit_held(sessions, config, World(), progress=False, spill=folder if spill else None)
    assert sum(result.scores["synapsnet"].mse.shape == (200,) for _, result in results) == count


@pytest.mark.skipif(sys.platform != "linux", reason="this system does not bound memory without that of mapped files")
def test_memory_does_not_grow_with_the_number_of_sessions(tmp_path: Path) -> None:
    def run(folder: Path | str, count: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, __file__, str(folder), str(count), str(128 * MIB)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=250, check=False)

    done = run(tmp_path, 4)  # 256 MB
    assert done.returncode == 0, done.stderr
    refused = run("none", 4)
    assert refused.returncode != 0
    assert "memory" in refused.stderr.lower() or "allocate" in refused.stderr.lower()


if __name__ == "__main__":
    _bounded(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
