"""What the README says can be typed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from ndx_synapsnet.cli import main
from ndx_synapsnet.nwb.archives import is_named
from ndx_synapsnet.nwb.readers import PRESETS
from ndx_synapsnet.nwb.sources.uri import DandiAddress, parse

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def test_blocks_run_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands and Python run in an empty folder that has the checkout's tests/data."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "data").symlink_to(ROOT / "tests" / "data")
    monkeypatch.chdir(tmp_path)
    commands = [line[2:] for block in blocks("console") for line in block.splitlines() if line.startswith("$ ")]
    assert len(commands) >= 4
    for command in commands:
        program, *arguments = shlex.split(command)
        assert program == "ndx-synapsnet"
        result = CliRunner().invoke(main, arguments, catch_exceptions=False)
        assert result.exit_code == 0, f"{command}\n{result.output}"
    names: dict[str, object] = {}
    assert len(blocks("python")) >= 2
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), names)


def test_commands_that_need_the_internet_are_understood() -> None:
    """Those in blocks of ``bash`` are not run: their options are looked at."""
    commands = [line for block in blocks("bash") for line in block.splitlines()]
    assert len(commands) >= 4
    for command in commands:
        words = [word for word in shlex.split(command) if not re.match(r"[A-Z_]+=", word)]
        program, verb, *arguments = words
        assert program == "ndx-synapsnet"
        chosen = main.commands[verb]
        if isinstance(chosen, click.Group):
            verb, *arguments = arguments
            chosen = chosen.commands[verb]
        context = chosen.make_context(verb, arguments)
        if name := context.params.get("preset"):
            assert name in PRESETS
        for uri in context.params.get("uris", ()):
            assert is_named(uri) or isinstance(parse(uri), DandiAddress)


def test_the_two_commands_are_marked() -> None:
    """`.ci/run` runs the one marked `test`, word for word."""
    for mark in ("demo", "test"):
        assert re.search(rf"<!-- command: {mark} -->\n```\n.+\n```\n<!-- end -->", TEXT)
