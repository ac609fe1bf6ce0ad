"""ndx-synapsnet show."""

from __future__ import annotations

import click

from .output import print_json, summary


@click.command()
@click.argument("file")
@click.option("--run", help="Which run. [default: each]")
@click.option("--edges", default=10, show_default=True, help="How many of the strongest connections to list.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a program.")
def show(file: str, run: str | None, edges: int, as_json: bool) -> None:
    """Print the results that a file holds: scores, verdict, strongest connections, where they come from.

    \b
    Example:
      ndx-synapsnet show recording_desc-synapsnet.nwb
    """
    from ..nwb.results import list_runs, result_of
    from ..nwb.sources import open_source
    from ..nwb.versions import version_note
    from ..show import tables

    found = []
    with open_source(file) as opened:
        if (note := version_note(opened.nwbfile)) is not None:
            click.echo(f"note: {note}", err=True)
        # a name that is not there, or a file without runs, is for `result_of` to tell
        names: list[str | None] = [run] if run else [*list_runs(opened.nwbfile)]
        for name in names or [None]:
            result = result_of(opened.nwbfile, name, where=opened.uri)
            if as_json:
                found.append({"run": name, **summary(result)})
            else:
                tables.say(*tables.result(str(name), result, edges))
    if as_json:
        print_json({"file": file, "runs": found})
