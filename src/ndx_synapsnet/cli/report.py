"""ndx-synapsnet report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .files import homes
from .options import GroupedCommand, remote_options
from .plot import find_recording
from .wirings import overwrite_option, require_free


@click.command(cls=GroupedCommand)
@click.argument("file")
@click.option("--run", metavar="NAME", help="Which run. [default: each, a section a run]")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="HTML", help="The page. [default: beside FILE]"
)
@click.option("--edges", type=click.IntRange(0), default=20, show_default=True, help="Strongest connections to list.")
@click.option("--source", metavar="URI", help="The recording, if it is no longer where the result says.")
@overwrite_option
@remote_options
def report(
    file: str, run: str | None, output: Path | None, edges: int, source: str | None, overwrite: bool, **remote: Any
) -> None:
    """Write a report of a file's runs: one HTML page with scores, figures and tables, to read, send or print.

    It opens in any browser, loads nothing from anywhere and needs no scripts.

    \b
    Example:
      ndx-synapsnet report recording_desc-synapsnet.nwb -o report.html
    """
    from importlib.metadata import version

    from ..nwb.results import list_runs, read_true_connectivity, result_of
    from ..nwb.sources import open_source
    from ..show import tables
    from ..show.plots import require_matplotlib
    from ..show.report import ReportedRun, report_page, write_report
    from .transfers import remote_reading

    require_matplotlib()
    with remote_reading(remote) as transfers:
        ((home, name),) = homes([(file,)])
        path = output or home / f"{name}_report.html"
        require_free(path, overwrite=overwrite)
        with open_source(file) as opened:
            # a name that is not there, or a file without runs, is for `result_of` to tell
            names: list[str | None] = [run] if run else [*list_runs(opened.nwbfile)]
            found = [(each, result_of(opened.nwbfile, each, where=opened.uri)) for each in names or [None]]
            truth = read_true_connectivity(opened.nwbfile)
        with transfers.bar():
            runs = [
                ReportedRun(str(each), result, find_recording(result, file, source), truth) for each, result in found
            ]
    for one in runs:
        if one.session is not None and (line := transfers.line(one.session.provenance)) is not None:
            tables.say(line)
    page = report_page(runs, title=name, edges=edges, version=version("ndx-synapsnet"))
    write_report(page, path, overwrite=overwrite)
    tables.say(str(path))
