"""ndx-synapsnet list."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from .output import print_json

if TYPE_CHECKING:
    from ..nwb.run_records import RunRecord

_DIGITS = 12  # of a digest that are shown


@click.command("list")
@click.argument("uris", nargs=-1, required=True, metavar="FILE...")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a program.")
def list_(uris: tuple[str, ...], as_json: bool) -> None:
    """List the runs that files hold: model, date, neurons, forecast scores, room, verdict.

    Two runs of the same digest have the same settings, recording, way of reading it, and seed. A FILE may be a pattern.

    \b
    Examples:
      ndx-synapsnet list recording.nwb
      ndx-synapsnet list "results/*.nwb" --json
    """
    from ..nwb.run_records import run_records
    from ..nwb.sources import expand, open_source
    from ..nwb.versions import version_note
    from ..show import tables

    found = []
    for address in (address for uri in uris for address in expand(uri)):
        with open_source(address) as opened:
            records, notes = run_records(opened), list(filter(None, [version_note(opened.nwbfile)]))
        if as_json:
            found.append({"file": opened.uri, "runs": [asdict(record) for record in records], "notes": notes})
            continue
        items: list[Any] = [f"{opened.uri}: no run"]
        if records:
            items = [
                tables.grid(
                    opened.uri,
                    ["run", "model", "finished", "neurons", "correlation", "MSE", "room", "digest", "to be read"],
                    [_row(record) for record in records],
                ),
                *(f"{record.run}: {record.verdict}" for record in records if record.verdict),
            ]
        tables.say(*items, *(f"note: {note}" for note in notes))
    if as_json:
        print_json({"files": found})


def _row(record: RunRecord) -> list[Any]:
    from ..show.tables import number

    return [
        record.run,
        record.model,
        record.finished[:16].replace("T", " ") + (" (interrupted)" if record.interrupted else ""),
        record.neurons,
        *("-" if score is None else number(score) for score in (record.correlation, record.mse)),
        room(record.bytes),
        "-" if record.digest is None else record.digest[:_DIGITS],
        "yes" if record.trustworthy else "no",
    ]


def room(size: int | None) -> str:
    """Return a number of bytes for people."""
    if size is None:
        return "-"
    return f"{size / 2**20:,.1f} MiB" if size >= 2**20 else f"{size / 2**10:,.1f} KiB"
