"""ndx-synapsnet plot."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import InputError
from .files import homes, make_folder
from .options import GroupedCommand, remote_options

if TYPE_CHECKING:
    from ..session import FitResult, Session


@click.command(cls=GroupedCommand)
@click.argument("file")
@click.option("--run", help="Which run, where the file holds several.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder for the pictures. [default: beside FILE]")
@click.option("--source", metavar="URI", help="The recording, if it is no longer where the result says.")
@remote_options
def plot(file: str, run: str | None, output: Path | None, source: str | None, **remote: Any) -> None:
    """Draw a result: connectivity, its strongest part in space, the embedding, the forecast, scores, training curve.

    The matrix is drawn in every order that the neurons have. Principal components and input currents need the
    recording.

    \b
    Example:
      ndx-synapsnet plot recording_desc-synapsnet.nwb -o pictures
    """
    from ..nwb.results import read_result
    from ..show import tables
    from ..show.plots import save_every_picture
    from .transfers import remote_reading

    with remote_reading(remote) as transfers:
        result = read_result(file, run)
        ((home, name),) = homes([(file,)])
        with transfers.bar():
            session = find_recording(result, file, source)
    if session is not None and (line := transfers.line(session.provenance)) is not None:
        tables.say(line)
    folder = output or home / f"{name}_pictures"
    make_folder(folder)
    tables.say(*(str(path) for path in save_every_picture(result, folder, session)))


def find_recording(result: FitResult, file: str, source: str | None) -> Session | None:
    """Return the recording behind a result, or say why it is missing.

    Without `source` it is looked for where the result says, then in the result's own file, which may have been moved.
    """
    from ..nwb.original import find_original

    try:
        return find_original(result, file, source)
    except InputError as error:
        if source is not None:
            raise
        click.echo(f"Drawn without the recording: {error}", err=True)
        return None
