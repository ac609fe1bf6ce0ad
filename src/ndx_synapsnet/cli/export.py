"""ndx-synapsnet export."""

from __future__ import annotations

from pathlib import Path

import click

from .wirings import cautions, edge_options, overwrite_option, require_free

_MANY = 200_000  # edges from which on programs that draw graphs have a hard time


@click.command()
@click.argument("file")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="The new file: .graphml, .csv, .tsv, .json (node-link) or .npz.",
)
@click.option("--run", metavar="NAME", help="Which run. [default: the latest]")
@click.option("--matrix", metavar="NAME", help="Which matrix. [default: effective]")
@edge_options
@overwrite_option
def export(
    file: str,
    output: Path,
    run: str | None,
    matrix: str | None,
    significant: float | None,
    strongest: int | None,
    overwrite: bool,
) -> None:
    """Write a connectivity matrix as a graph, for Gephi, NetworkX, a spreadsheet or numpy.

    Edges go from source to target and carry the weight, its standard error, p and q where there are any; nodes are the
    neurons with region, cell type and position. Every weight that is not 0 is an edge, unless --significant or
    --strongest says otherwise.

    \b
    Examples:
      ndx-synapsnet export recording_desc-synapsnet.nwb -o network.graphml --strongest 2000
      ndx-synapsnet export recording_desc-synapsnet.nwb -o edges.csv --matrix ridge_var
    """
    from ..errors import InputError
    from ..metrics import choose_edges
    from ..nwb.wiring import read_wiring
    from ..show import tables
    from ..show.graphs import Graph, describe, require_ending, write_graph

    ending = require_ending(output)
    require_free(output, overwrite=overwrite)
    wiring = read_wiring(file, run, matrix)
    try:
        edges = choose_edges(wiring.connectivity, significant=significant, strongest=strongest)
    except InputError as error:
        raise InputError(error.what, where=f"{wiring.file}: {wiring.label}", remedy=error.remedy) from error
    about: dict[str, str | bool] = {
        "source": wiring.file,
        "run": wiring.run,
        "matrix": wiring.matrix,
        "trustworthy": wiring.trustworthy,
    }
    if wiring.verdict:
        about["verdict"] = wiring.verdict
    count = int(edges.sum())
    if count > _MANY and ending in (".graphml", ".json"):
        click.echo(f"{count} edges: --significant or --strongest makes a graph that can be drawn.", err=True)
    write_graph(Graph(wiring.neurons, wiring.connectivity, edges, {**about, **describe(wiring.connectivity)}), output)
    tables.say(f"{len(wiring.neurons)} neurons and {count} edges: {output}", *cautions(wiring))
