"""ndx-synapsnet groups."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import InputError
from .output import print_json
from .wirings import cautions, edge_options, edges_of, overwrite_option, require_free

if TYPE_CHECKING:
    from ..nwb.wiring import Wiring

_SHOWN = 40  # rows on the terminal
_LARGEST_FIRST = {"region": "mean_weight", "cell_type": "mean_weight", "neuron": "out_strength"}


@click.command()
@click.argument("file")
@click.option(
    "--by", type=click.Choice(["region", "cell_type", "distance", "neuron"]), required=True, help="What is summarised."
)
@click.option("--run", metavar="NAME", help="Which run. [default: the latest]")
@click.option("--matrix", metavar="NAME", help="Which matrix. [default: effective]")
@edge_options
@click.option("--bins", type=click.IntRange(1), default=10, show_default=True, help="Bins of distances, equally full.")
@click.option("--csv", "table", type=click.Path(path_type=Path), metavar="CSV", help="Write every row into this file.")
@click.option("--plot", "picture", type=click.Path(path_type=Path), metavar="PNG", help="Draw it into this file.")
@overwrite_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a program.")
def groups(
    file: str,
    by: str,
    run: str | None,
    matrix: str | None,
    significant: float | None,
    strongest: int | None,
    bins: int,
    table: Path | None,
    picture: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Summarise connectivity by region, cell type, distance or neuron.

    Weights go from source to target. Standard errors take neurons, not pairs, to be independent: they are of a
    jackknife that leaves out one neuron at a time. Edges are by default the significant ones (q at most 0.1), or
    without q-values the strongest tenth of the pairs.

    \b
    Examples:
      ndx-synapsnet groups recording_desc-synapsnet.nwb --by region --plot regions.png
      ndx-synapsnet groups recording_desc-synapsnet.nwb --by neuron --csv neurons.csv
    """
    from ..metrics import reciprocity
    from ..nwb.wiring import read_wiring
    from ..show import tables
    from ..show.plots import require_matplotlib, save_figure
    from ..show.readouts import write_rows

    require_free(table, picture, overwrite=overwrite)
    if picture is not None:
        require_matplotlib()
    wiring = read_wiring(file, run, matrix)
    mask, words = edges_of(wiring, significant, strongest)
    rows, draw = _readout(wiring, by, mask, bins)
    both = reciprocity(wiring.connectivity.weights, mask)
    if table is not None:
        write_rows(rows, table)
    if picture is not None:
        save_figure(draw(edges=words), picture)
    made = [str(path) for path in (table, picture) if path is not None]
    if as_json:
        about = {"file": wiring.file, "run": wiring.run, "matrix": wiring.matrix}
        summary = {"edges_are": words, "edges": int(mask.sum()), "reciprocity": asdict(both)}
        print_json({**about, "by": by, **summary, "rows": rows, "cautions": cautions(wiring), "files": made})
        return
    key = _LARGEST_FIRST.get(by)
    ordered = rows if key is None else sorted(rows, key=lambda row: -abs(row[key]))
    title = f"{wiring.label} by {by.replace('_', ' ')}; edges: {words}"
    if len(ordered) > _SHOWN:
        title += f"; the {_SHOWN} of {len(ordered)} rows of largest {str(key).replace('_', ' ')}"
    shown = [[_cell(value) for value in row.values()] for row in ordered[:_SHOWN]]
    tables.say(tables.grid(title, [name.replace("_", " ") for name in rows[0]], shown))
    tables.say(
        f"Reciprocity: {tables.number(both.share)} of {int(mask.sum())} edges have their opposite "
        f"({tables.number(both.chance)} by chance); r of weights and opposite weights {tables.number(both.r)}."
    )
    tables.say(*cautions(wiring), *made)


def _readout(wiring: Wiring, by: str, mask: Any, bins: int) -> tuple[list[dict[str, Any]], Any]:
    """Return the rows, and what draws them when told what the edges are.

    Raises
    ------
    InputError
        If the neurons have no such label, or no positions.
    """
    from functools import partial

    from ..metrics import distance_connectivity, group_connectivity, neuron_connectivity
    from ..show import group_plots, readouts

    weights, neurons = wiring.connectivity.weights, wiring.neurons
    if by == "neuron":
        of_neurons = neuron_connectivity(weights, mask)
        return readouts.neuron_rows(of_neurons, neurons), partial(group_plots.draw_neurons, of_neurons)
    if by == "distance":
        try:
            if neurons.position is None:
                raise ValueError("the neurons have no positions")
            of_bins = distance_connectivity(weights, neurons.position, bins, mask)
        except ValueError as error:
            raise InputError(str(error), where=wiring.file, remedy="Choose another --by.") from error
        return readouts.distance_rows(of_bins), partial(group_plots.draw_distance, of_bins)
    labels = getattr(neurons, by)
    if labels is None or not any(label.strip() for label in labels.tolist()):
        raise InputError(f"no neuron has a {by.replace('_', ' ')}", where=wiring.file, remedy="Choose another --by.")
    of_groups = group_connectivity(weights, labels, mask)
    return readouts.group_rows(of_groups), partial(group_plots.draw_groups, of_groups)


def _cell(value: Any) -> Any:
    return "-" if isinstance(value, float) and value != value else value
