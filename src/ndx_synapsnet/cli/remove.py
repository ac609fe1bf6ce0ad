"""ndx-synapsnet remove."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ..errors import InputError
from .list import room


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("run")
@click.option("--yes", is_flag=True, help="Do not ask.")
def remove(file: Path, run: str, yes: bool) -> None:
    """Take a run out of a file: a verified copy without it takes the file's place.

    Nothing else in the file changes, and it is refused if something else refers to the run. Where nobody can be asked,
    --yes has to be given.

    \b
    Example:
      ndx-synapsnet remove recording.nwb synapsnet_2
    """
    from ..nwb.run_removal import plan_removal, remove_run
    from ..show import tables

    planned = plan_removal(file, run)
    if not yes:
        if not sys.stdin.isatty():
            raise InputError("nobody is here to be asked", where=str(file), remedy="Add --yes to remove the run.")
        size = "" if planned.bytes is None else f" ({room(planned.bytes)})"
        if not click.confirm(f"Remove run {run}{size} from {file} for good?"):
            raise SystemExit(1)
    before = _bytes(file)
    removed = remove_run(file, run)
    freed = before - _bytes(file)
    lines = [f"Removed from {file}: {', '.join(removed.objects)}"]
    if freed > 0:
        lines.append(f"The file is {room(freed)} smaller.")
    else:
        lines.append("The file keeps its size: what is written next uses the room, and h5repack gives it back.")
    if removed.last:
        lines.append("It holds no run now.")
    tables.say(*lines)


def _bytes(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
