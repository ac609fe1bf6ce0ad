"""ndx-synapsnet inspect."""

from __future__ import annotations

from typing import Any

import click

from .files import recordings, shown
from .named import named
from .options import GroupedCommand, read_config, recording_options, remote_options
from .output import print_json


@click.command(cls=GroupedCommand)
@click.argument("uris", nargs=-1, required=True, metavar="URI...")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a program: an object, of several files a list.")
@recording_options
@remote_options
def inspect(uris: tuple[str, ...], as_json: bool, preset: str | None, join: bool, **remote: Any) -> None:
    """Say what a file offers, how it would be read, and what a fit would cost.

    \b
    Examples:
      ndx-synapsnet inspect recording.nwb
      ndx-synapsnet inspect "DANDI:000021/sub-699733573/*.nwb"
    """
    from ..experiment import estimate_cost
    from ..nwb.readers import inspect as look
    from ..show import tables
    from .transfers import remote_reading

    read_config({}, preset)  # whatever is wrong with it is told first
    found: list[dict[str, Any]] = []
    with remote_reading(remote, silent=as_json) as transfers:
        addresses, settings = named(uris)
        config = read_config({}, preset, settings)
        if join:  # all files are opened to tell sessions apart
            transfers.say("Looking which files are of one session ...")
        for recording in recordings(addresses, join=join):
            if len(recording) > 1 and not as_json:
                tables.say(f"One session, with --join: {', '.join(shown((uri,)) for uri in recording)}")
            for uri in recording:
                with transfers.bar():
                    contents = look(uri, config)
                sized = contents.n_neurons and contents.n_samples
                cost = estimate_cost(contents.n_neurons or 0, contents.n_samples or 0) if sized else None
                if as_json:
                    found.append({**contents.to_dict(), "estimate": None if cost is None else cost._asdict()})
                    continue
                tables.say(*tables.contents(contents))
                if (line := transfers.line_of(contents.uri)) is not None:
                    tables.say(line)
                if cost is not None:
                    tables.say(
                        f"A fit with the default recipe would take about {tables.duration(cost.seconds)} on this "
                        f"machine and {cost.bytes / 2**30:.1f} GiB of memory."
                    )
    if as_json:
        print_json(found[0] if len(found) == 1 else found)
