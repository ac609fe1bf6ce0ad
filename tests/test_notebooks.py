"""The notebooks run, and what is kept of their outputs is small, clean and of no particular machine."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import pytest

from ndx_synapsnet.cli import main

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LIMIT = 120  # seconds a cell; the whole notebook has pytest's own
LARGEST = 500_000  # bytes of a notebook
#: Paths and addresses that differ from one machine, or one run, to the next.
MACHINE = re.compile(
    r"/(?:tmp|home|root|Users|work|var|opt|usr)/|[A-Z]:\\|site-packages|127\.0\.0\.1|localhost|0x[0-9a-f]{8}"
)


def cells(path: Path, kind: str) -> list[dict[str, Any]]:
    return [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == kind]


def texts(output: dict[str, Any]) -> list[str]:
    """Everything in an output that is read by people, or not a picture."""
    held = [output.get("text", "")] + [
        of for kind, of in output.get("data", {}).items() if not kind.startswith("image/")
    ]
    return ["".join(one) if isinstance(one, list) else str(one) for one in held]


def test_there_are_five() -> None:
    assert [path.stem[:3] for path in NOTEBOOKS] == ["01_", "02_", "03_", "04_", "05_"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_kept_outputs_are_of_no_machine(path: Path) -> None:
    assert path.stat().st_size < LARGEST
    code = cells(path, "code")
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    for cell in code:
        for output in cell["outputs"]:
            assert output["output_type"] != "error"
            assert output.get("name") != "stderr", output
            for text in texts(output):
                assert not MACHINE.search(text), text
    assert any(output for cell in code for output in cell["outputs"])
    assert "widgets" not in json.loads(path.read_text(encoding="utf-8"))["metadata"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_commands_that_are_shown_are_understood(path: Path) -> None:
    text = "\n".join("".join(cell["source"]) for cell in cells(path, "markdown"))
    for block in re.findall(r"^```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            program, verb, *arguments = shlex.split(line)
            assert program == "ndx-synapsnet"
            chosen = main.commands[verb]
            if isinstance(chosen, click.Group):
                verb, *arguments = arguments
                chosen = chosen.commands[verb]
            chosen.make_context(verb, arguments)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(path: Path, tmp_path: Path) -> None:
    """By nbmake in a process of its own, so that its options need not be known where it is not installed."""
    pytest.importorskip("nbmake", reason="nbmake is not installed (extra: test)")
    needed = {"02": ["aiohttp"], "03": ["scipy"], "04": ["networkx"], "05": ["ipywidgets"]}.get(path.stem[:2], [])
    if missing := [name for name in needed if find_spec(name) is None]:
        pytest.skip(f"not installed (extra: test): {', '.join(missing)}")
    command = [sys.executable, "-m", "pytest", "--nbmake", f"--nbmake-timeout={LIMIT}", "-q", "-n", "0"]
    settings = ["-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(path.parent), str(path)]
    surroundings = {
        **os.environ,
        "DANDI_NO_ET": "1",
        "IPYTHONDIR": str(tmp_path / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime"),
    }
    done = subprocess.run([*command, *settings], capture_output=True, text=True, env=surroundings, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
