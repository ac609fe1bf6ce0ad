"""ndx-synapsnet benchmark connectivity."""

from __future__ import annotations

from pathlib import Path

import click

from .files import make_folder

_PARTS = ("recovery", "length", "fraction", "ladder", "references")


@click.command()
@click.option("-o", "--output", type=click.Path(path_type=Path), default="synapsnet-connectivity", show_default=True)
@click.option(
    "--part",
    "parts",
    type=click.Choice(_PARTS),
    multiple=True,
    help="What to measure (again for more): methods; lengths of a recording; shares of the network recorded; what more "
    "of the network would show; recordings with a structural reference. [default: recovery]",
)
@click.option("--kinds", default="paper,spiking,calcium,glm", show_default=True, metavar="A,B,...", help="Of networks.")
@click.option("--networks", type=click.IntRange(1), help="Of each kind. [default: 10; with --quick 2]")
@click.option(
    "--neurons", type=click.IntRange(4), help="Recorded, a third of a network. [default: 100; with --quick 20]"
)
@click.option(
    "--samples", type=click.IntRange(1), help="Of a recording; lengths are from 1/8 to 4 times as many. "
    "[default: 20000; with --quick 2000]"
)  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the first network.")
@click.option("--models", metavar="A,B,...", help="Only these; CURBD, which is slow, takes part only if named.")
@click.option("--data", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Folder of the references.")
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Processes.")
@click.option("--quick", is_flag=True, help="Small networks, minutes.")
def connectivity(
    output: Path,
    parts: tuple[str, ...],
    kinds: str,
    networks: int | None,
    neurons: int | None,
    samples: int | None,
    seed: int,
    models: str | None,
    data: Path | None,
    jobs: int,
    quick: bool,
) -> None:
    """Compare how well estimators recover the connectivity of simulated networks and of known recordings.

    Hours without --quick. What was measured is kept in the folder: the same command run again goes on where it ended.

    \b
    Examples:
      ndx-synapsnet benchmark connectivity --quick
      ndx-synapsnet benchmark connectivity --kinds paper --neurons 200 --jobs 4
      ndx-synapsnet benchmark connectivity --part length --part ladder --networks 2
    """
    from ..benchmark.connectivity.cases import Sizes
    from ..benchmark.connectivity.run import run
    from ..show import tables

    make_folder(output)
    usual = (2, 20, 2_000) if quick else (10, 100, 20_000)
    sizes = Sizes(networks or usual[0], neurons or usual[1], samples or usual[2], seed)
    for part in parts or ("recovery",):
        _, layouts = run(
            part,
            output,
            kinds=_names(kinds),
            sizes=sizes,
            data=data,
            models=_names(models or ""),
            jobs=jobs,
            say=lambda text: click.echo(text, err=True),
        )
        tables.say(*(layout.rich() for layout in layouts))
        written = sorted(path for path in output.iterdir() if path.stem == part)
        tables.say(f"Written: {', '.join(map(str, written))}")


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
