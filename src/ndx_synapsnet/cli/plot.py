"""ndx-synapsnet plot."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import InputError
from .files import local, make_folder, stem

if TYPE_CHECKING:
    from ..session import FitResult, Session


@click.command()
@click.argument("file")
@click.option("--run", help="Which run, where the file holds several.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder for the pictures. [default: beside FILE]")
@click.option("--source", metavar="URI", help="The recording, if it is no longer where the result says.")
def plot(file: str, run: str | None, output: Path | None, source: str | None) -> None:
    """Draw a result: connectivity, predicted and recorded traces, scores, training curve.

    \b
    Example:
      ndx-synapsnet plot recording_desc-synapsnet.nwb -o pictures
    """
    from ..nwb.results import read_result
    from ..show import tables
    from ..show.plots import save_pictures

    result = read_result(file, run)
    session = _original(result, file, source)
    folder = output or local(file).with_name(stem(local(file)) + "_pictures")
    make_folder(folder)
    tables.say(*(str(path) for path in save_pictures(result, folder, session)))


def _original(result: FitResult, file: str, source: str | None) -> Session | None:
    """Return the recording behind a result, or say why it is missing.

    Without `source` it is looked for where the result says, then in the result's own file, which may have been moved.
    """
    from ..nwb.original import read_original

    if source is not None:
        return read_original(result, source)
    try:
        return read_original(result)
    except InputError as error:
        try:
            return read_original(result, file)
        except InputError:
            click.echo(f"Drawn without the recording: {error}", err=True)
            return None
