"""A write that is killed, or whose disk is full or fails, leaves the old file or the new one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ndx_synapsnet.benchmark import crash
from ndx_synapsnet.benchmark.interrupted import Call, can_trace, run_child, spread

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot be forked here")


@pytest.fixture(scope="module")
def materials(tmp_path_factory: pytest.TempPathFactory) -> dict[str, crash.Material]:
    """A small recording and result, in each format."""
    folder = tmp_path_factory.mktemp("crash")
    return {kind: crash.make_material(folder, kind, neurons=20, samples=1000) for kind in crash.KINDS}


@pytest.mark.parametrize("kind", ["HDF5", "Zarr"])
def test_killed_or_refused_at_system_calls(materials: dict[str, crash.Material], kind: str, tmp_path: Path) -> None:
    if why := can_trace():
        pytest.skip(f"system calls cannot be counted: {why}")
    rows = list(crash.rows_by_call(materials[kind], tmp_path / "work", kills=3, errors=1))
    assert [row.how for row in rows] == ["kill"] * 3 + ["ENOSPC", "EIO"]
    assert [row.trouble for row in rows] == [""] * 5
    assert all(row.code == -9 for row in rows[:3])
    assert {row.state for row in rows} <= {"old", "new"}


@pytest.mark.parametrize("kind", ["HDF5", "Zarr, renamed twice"])
def test_killed_at_any_time(materials: dict[str, crash.Material], kind: str, tmp_path: Path) -> None:
    rows = list(crash.rows_by_time(materials[kind], tmp_path / "work", kills=1, seed=1))
    assert [(row.trouble, row.state != "damaged") for row in rows] == [("", True)]


def test_damage_is_seen(materials: dict[str, crash.Material], tmp_path: Path) -> None:
    """A file that is torn, or not there, is called damaged."""
    material = materials["HDF5"]
    path = tmp_path / "folder" / "recording.nwb"
    path.parent.mkdir()
    for content in (material.recording.read_bytes()[:-100], None):
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
        row = crash._row(material, path, run_child(lambda: ""), "kill", Call("write", 1), 0.5)
        assert row.state == "damaged"
        assert row.trouble
        assert crash.summary([row])[0]["damaged"] == 1


def test_a_choice_of_calls_is_spread_and_takes_the_rare() -> None:
    calls = [Call("write", k + 1) for k in range(100)]
    calls.insert(50, Call("rename", 1))
    chosen = spread(calls, 11)
    assert len(chosen) == 11
    assert (50, Call("rename", 1)) in chosen
    others = [place for place, call in chosen if call.name == "write"]
    assert [place // 10 for place in others] == sorted({place // 10 for place in others})
    assert spread(calls, 11) == chosen
    assert len(spread(calls, 1000)) == 101
