"""ndx-synapsnet inspect."""

from __future__ import annotations

import click

from .output import print_json


@click.command()
@click.argument("uri")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a program.")
def inspect(uri: str, as_json: bool) -> None:
    """Say what a file offers, how it would be read, and what a fit would cost.

    \b
    Example:
      ndx-synapsnet inspect recording.nwb
    """
    from ..experiment import estimate_cost
    from ..nwb.readers import inspect as look
    from ..show import tables

    contents = look(uri)
    cost = estimate_cost(contents.n_neurons, contents.n_samples) if contents.n_neurons and contents.n_samples else None
    if as_json:
        print_json({**contents.to_dict(), "estimate": None if cost is None else cost._asdict()})
        return
    tables.say(*tables.contents(contents))
    if cost is not None:
        tables.say(
            f"A fit with the default recipe would take about {tables.duration(cost.seconds)} on this machine "
            f"and {cost.bytes / 2**30:.1f} GiB of memory."
        )
