"""The verb report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from pynwb import NWBHDF5IO

from ndx_synapsnet import write_result
from ndx_synapsnet.cli import main
from ndx_synapsnet.nwb.recording import to_nwbfile
from ndx_synapsnet.nwb.results import add_result
from ndx_synapsnet.session import FitResult, Session


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["report", *map(str, arguments)], catch_exceptions=False)


@pytest.fixture(autouse=True)
def _undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are not drawn: `tests/show` draws them."""
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda self, file, **settings: file.write(b"png"))


@pytest.fixture
def file(tmp_path: Path, session: Session, result: FitResult) -> Path:
    """A recording with two runs in it."""
    path = tmp_path / "mouse.nwb"
    nwbfile = to_nwbfile(session)
    for number in (1, 2):
        source = {**result.provenance["source"], "uri": str(path)}
        finished = f"2026-01-0{number}T00:00:00+00:00"
        add_result(nwbfile, replace(result, provenance={"source": source, "finished": finished}))
    with NWBHDF5IO(path, "w") as io:
        io.write(nwbfile)
    return path


def test_each_run_is_reported_beside_the_file(file: Path) -> None:
    done = run(file)
    assert done.exit_code == 0, done.output
    page = (file.parent / "mouse_report.html").read_text(encoding="utf-8")
    assert "<h1>mouse</h1>" in page
    assert "<h1>synapsnet</h1>" in page
    assert "<h1>synapsnet_2</h1>" in page
    assert "mouse_report.html" in done.output


def test_one_run_into_a_named_file_that_is_not_replaced(file: Path, tmp_path: Path) -> None:
    target = tmp_path / "new" / "report.html"
    assert run(file, "--run", "synapsnet_2", "-o", target).exit_code == 0
    before = target.read_text(encoding="utf-8")
    assert "run synapsnet_2" in before
    assert "Run 1 of" not in before
    again = run(file, "-o", target)
    assert again.exit_code == 2
    assert "is there already" in again.output
    assert target.read_text(encoding="utf-8") == before
    assert run(file, "-o", target, "--overwrite", "--edges", "0").exit_code == 0
    after = target.read_text(encoding="utf-8")
    assert "Run 1 of 2" in after
    assert "Strongest connections" not in after


def test_what_is_not_there_is_told(file: Path, tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    missing = run(file, "--run", "other", "-o", target)
    assert missing.exit_code == 2
    assert "other" in missing.output
    assert not target.exists()


def test_without_its_recording_it_says_so(tmp_path: Path, result: FitResult) -> None:
    path = tmp_path / "result.nwb"
    write_result(result, path)
    done = run(path, "-o", tmp_path / "report.html")
    assert done.exit_code == 0, done.output
    assert "without the recording" in done.output
    assert "out of reach" in (tmp_path / "report.html").read_text(encoding="utf-8")
