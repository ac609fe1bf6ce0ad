"""ndx-synapsnet convert."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import InputError
from .files import make_folder


@click.group()
def convert() -> None:
    """Make NWB files of recordings that an archive has in another form.

    \b
    Example:
      ndx-synapsnet convert bugeon Bugeon/ -o converted/
    """


@convert.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder for the NWB files.")
def bugeon(folder: Path, output: Path) -> None:
    """Convert the imaging sessions of Bugeon et al. 2022, a file each.

    FOLDER is the archive (figshare 19448531), unpacked: with folders such as SB025/2019-10-04; or one of these. A
    session that was converted already is left as it is, and one that cannot be does not stop the others.

    \b
    Example:
      ndx-synapsnet convert bugeon Bugeon/ -o converted/
      ndx-synapsnet fit bugeon/natural-scenes=converted/ -o results/
    """
    from ..nwb.convert.bugeon import convert_session
    from ..nwb.convert.bugeon_layout import session_folders

    folders = session_folders(folder)
    make_folder(output)
    failed = 0
    for session in folders:
        try:
            made = convert_session(session, output)
        except InputError as error:
            failed += 1
            click.echo(f"error: {error}", err=True)
            continue
        did = "written" if made.written else "is there already"
        click.echo(f"{made.path}: {made.n_neurons} neurons, {', '.join(made.tasks)}; {did}")
        for note in made.notes:
            click.echo(f"  note: {note}")
    click.echo(f"{len(folders) - failed} of {len(folders)} sessions converted")
    if failed:
        raise SystemExit(2)
