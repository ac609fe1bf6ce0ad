"""ndx-synapsnet cache."""

from __future__ import annotations

import sys

import click

from .output import print_json
from .transfers import size


@click.group()
def cache() -> None:
    """Look at, or empty, the store of what was read of remote recordings.

    \b
    Example:
      ndx-synapsnet cache info
    """


@cache.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a program.")
def info(as_json: bool) -> None:
    """Say where the cache is and what it holds."""
    from ..nwb.sources.remote.cache import info as look

    held = look()
    if as_json:
        record = {"folder": str(held.folder), "bytes": held.bytes, "objects": held.objects, "max_bytes": held.max_bytes}
        print_json(record)
        return
    click.echo(f"{held.folder}: {size(held.bytes)} of {_recordings(held.objects)}, at most {size(held.max_bytes)}")


@cache.command()
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def clear(yes: bool) -> None:
    """Remove all that the cache holds; recordings in use are read on unharmed."""
    from ..nwb.sources.remote.cache import clear as remove
    from ..nwb.sources.remote.cache import info as look

    held = look()
    if held.objects and not yes and on_terminal():
        click.confirm(f"Remove {size(held.bytes)} of {_recordings(held.objects)} from {held.folder}?", abort=True)
    held = remove()
    click.echo(f"{held.folder}: {size(held.bytes)} of {_recordings(held.objects)} removed")


def _recordings(n: int) -> str:
    return "1 recording" if n == 1 else f"{n} recordings"


def on_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin.isatty()
