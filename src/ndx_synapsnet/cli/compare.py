"""ndx-synapsnet compare."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import InputError
from .options import SEED
from .output import print_json
from .wirings import DEFAULT_RATE, cautions, edge_options, edges_of, overwrite_option, require_free

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..metrics import EdgeDifferences
    from ..nwb.wiring import Wiring

_SHOWN = 10  # edges that differ
_UNLIKE_ERRORS = 1.5  # times, standard errors of two matrices
_SAME_LAG = 0.01  # of a lag in seconds, which frame times give no better


@click.command()
@click.argument("file")
@click.argument("other", required=False, metavar="[FILE2]")
@click.option("--run", "runs", multiple=True, metavar="NAME", help="Which run; give it twice for one of each side.")
@click.option("--matrix", "matrices", multiple=True, metavar="NAME", help="Which matrix; twice for one of each side.")
@click.option(
    "--match",
    type=click.Choice(["auto", "identity", "source", "id"]),
    default="auto",
    show_default=True,
    help="By what neurons of two files are the same.",
)
@click.option("--within", type=click.Choice(["region", "cell_type"]), help="Permute only among neurons alike in this.")
@click.option("--permutations", type=click.IntRange(1), default=1000, show_default=True, help="How many, for p.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Seed of the permutations.")
@edge_options
@click.option("--plot", "picture", type=click.Path(path_type=Path), metavar="PNG", help="Draw both into this file.")
@overwrite_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a program.")
def compare(
    file: str,
    other: str | None,
    runs: tuple[str, ...],
    matrices: tuple[str, ...],
    match: Any,
    within: str | None,
    permutations: int,
    seed: int,
    significant: float | None,
    strongest: int | None,
    picture: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Compare two connectivity matrices: of two files, two runs, two methods, or an estimate and the known wiring.

    Of one file, its latest two runs are compared by default, or its one run with the known wiring. Neurons are matched,
    and those that only one has are left out. p is by permutation of the neurons: how likely so much agreement is if
    the one's neurons had nothing to do with the other's.

    \b
    Examples:
      ndx-synapsnet compare seed0.nwb seed1.nwb --plot seeds.png
      ndx-synapsnet compare recording_desc-synapsnet.nwb --matrix ridge_var
      ndx-synapsnet compare demo.nwb --matrix ground_truth
    """
    from ..metrics import compare_edges, compare_matrices, precision_at, recovery
    from ..nwb.matching import match_neurons
    from ..show import tables
    from ..show.plots import require_matplotlib

    require_free(picture, overwrite=overwrite)
    if picture is not None:
        require_matplotlib()
    whole = _pair(file, other, runs, matrices)
    shared = match_neurons(whole[0].neurons, whole[1].neurons, match)
    first, second = whole[0].select(shared.first), whole[1].select(shared.second)
    masks = [edges_of(each, significant, strongest) for each in (first, second)]
    a, b = (each.connectivity.weights for each in (first, second))
    found = compare_matrices(
        a, b, edges=(masks[0][0], masks[1][0]), permutations=permutations, seed=seed, within=_labels(first, within)
    )
    said = [*cautions(first), *cautions(second), *_unlike(first, second)]
    error, other_error = (each.connectivity.standard_error for each in (first, second))
    rate = DEFAULT_RATE if significant is None else significant
    differences = None
    if error is not None and other_error is not None and not _unlike(first, second):
        differences = compare_edges(a, b, error, other_error)
        said += _unlike_precision(error, other_error)
    recovered = None
    if first.known != second.known:
        estimate, truth = (b, a) if first.known else (a, b)
        recovered = {**recovery(estimate, truth), "precision_at": [asdict(k) for k in precision_at(estimate, truth)]}
    if picture is not None:
        _draw(first, second, found.r, found.p, picture)

    if as_json:
        print_json(
            {
                "first": _about(whole[0]),
                "second": _about(whole[1]),
                "shared_neurons": {"count": found.neurons, "matched_by": shared.ways},
                "edges_are": [words for _, words in masks],
                "agreement": asdict(found),
                "within": within,
                "recovery": recovered,
                "differences": None if differences is None else _differing(first, differences, rate),
                "cautions": said,
                "picture": None if picture is None else str(picture),
            }
        )
        return
    from ..show.comparison_tables import agreement_table, differences_table, recovery_tables, sides_table

    tables.say(sides_table([_about(each) for each in whole], found.neurons, shared.ways))
    tables.say(agreement_table(found, [words for _, words in masks], within))
    if recovered is not None:
        tables.say(*recovery_tables(recovered))
    if differences is not None:
        tables.say(differences_table(_differing(first, differences, rate), _SHOWN))
    tables.say(*said)
    if picture is not None:
        tables.say(str(picture))


def _pair(file: str, other: str | None, runs: tuple[str, ...], matrices: tuple[str, ...]) -> tuple[Wiring, Wiring]:
    """Return the two matrices that the command line means.

    Raises
    ------
    InputError
        If there are no such two, or both are the same.
    """
    from ..nwb.runs import list_runs
    from ..nwb.sources import open_source
    from ..nwb.wiring import find_wiring, list_wirings, read_wiring

    for option, names in (("--run", runs), ("--matrix", matrices)):
        if len(names) > 2:
            raise InputError(f"{option} is given {len(names)} times, expected at most twice")
    sides = [
        (names[0] if names else None, matrix[0] if matrix else None)
        for names, matrix in ((runs[:1], matrices[:1]), (runs[-1:], matrices[-1:]))
    ]
    if other is not None:
        first, second = (read_wiring(uri, *side) for uri, side in zip((file, other), sides, strict=True))
    else:
        with open_source(file) as opened:
            there, made = list_wirings(opened.nwbfile), list_runs(opened.nwbfile)
            known = [(run, matrix) for run, matrix in there if run not in made]
            if len(runs) < 2 and len(matrices) == 1:
                sides[0] = (sides[0][0], None)  # the run's own against the one named
            elif not matrices and not runs and len(made) > 1:
                sides = [(made[-2], None), (made[-1], None)]
            elif not matrices and len(runs) < 2 and len(made) > 0 and known:
                sides[1] = known[0]
            if sides[1][1] in [matrix for _, matrix in known] and sides[1] not in there:
                sides[1] = (None, sides[1][1])  # known wiring belongs to every run
            first, second = (find_wiring(opened.nwbfile, *side, where=opened.uri) for side in sides)
    if (first.file, first.run, first.matrix) == (second.file, second.run, second.matrix):
        raise InputError(
            f"only one matrix is named, {first.label}",
            where=file,
            remedy="Name a second file, two runs by --run, or two matrices by --matrix; "
            "ndx-synapsnet show lists what a file holds.",
        )
    return first, second


def _labels(wiring: Wiring, within: str | None) -> Any:
    if within is None:
        return None
    labels = getattr(wiring.neurons, within)
    if labels is None or not any(label.strip() for label in labels.tolist()):
        raise InputError(f"no neuron has a {within.replace('_', ' ')}", where=wiring.file, remedy="Leave out --within.")
    return labels


def _unlike(first: Wiring, second: Wiring) -> list[str]:
    """Return in which ways the weights of two matrices do not mean the same, so that differences mean nothing."""
    said = []
    matrices = first.connectivity, second.connectivity
    for field, words in (("method", "methods"), ("lag", "lags in samples"), ("gain_normalized", "gain normalisations")):
        a, b = (getattr(each, field) for each in matrices)
        if a != b:
            said.append(f"The {words} differ ({a} and {b}): r does not mind another scale, single differences would.")
    seconds = [each.lag_seconds for each in matrices]
    if abs(seconds[0] - seconds[1]) > _SAME_LAG * max(seconds):  # false where one is not known
        said.append("The lags differ ({:.4g} and {:.4g} s): single differences would mean little.".format(*seconds))
    if not said and matrices[0].description != matrices[1].description:
        said.append(
            "The weights do not mean the same, so single differences are not tested. "
            + " ".join(f"{name}: {each.description}" for name, each in zip(("First", "Second"), matrices, strict=True))
        )
    return said


def _unlike_precision(first: NDArray[np.float32], second: NDArray[np.float32]) -> list[str]:
    """Return what must be said of differences between a sure and an unsure matrix (standard errors, N by N)."""
    import numpy as np

    known = [each[np.isfinite(each) & (each > 0)] for each in (first, second)]
    if not all(each.size for each in known):
        return []
    sizes = [float(np.median(each)) for each in known]
    if max(sizes) < _UNLIKE_ERRORS * min(sizes):
        return []
    return [
        "One matrix is much surer than the other (median standard errors {:.2g} and {:.2g}): weights are shrunk the "
        "more the less a recording tells, so connections can seem to differ that are the same.".format(*sizes)
    ]


def _about(wiring: Wiring) -> dict[str, Any]:
    return {
        "file": wiring.file,
        "run": wiring.run,
        "matrix": wiring.matrix,
        "method": wiring.connectivity.method,
        "neurons": len(wiring.neurons),
    }


def _differing(first: Wiring, found: EdgeDifferences, rate: float) -> dict[str, Any]:
    """Return how many edges differ at a false-discovery rate, and which, the surest first."""
    import numpy as np

    targets, sources = np.nonzero(found.q <= rate)
    order = np.argsort(-np.abs(found.z[targets, sources]), kind="stable")
    ids = first.neurons.id
    return {
        "tested": int(np.isfinite(found.z).sum()),
        "rate": rate,
        "differing": [
            {
                "source": str(ids[source]),
                "target": str(ids[target]),
                "difference": float(found.difference[target, source]),
                "z": float(found.z[target, source]),
                "q": float(found.q[target, source]),
            }
            for target, source in zip(targets[order].tolist(), sources[order].tolist(), strict=True)
        ],
    }


def _draw(first: Wiring, second: Wiring, r: float, p: float, path: Path) -> None:
    from ..show.comparison import comparison_view, draw_comparison
    from ..show.plots import save_figure

    titles = (first.label, second.label)
    if titles[0] == titles[1]:  # the same run of two files
        titles = tuple(Path(each.file).name for each in (first, second))  # type: ignore[assignment]
    view = comparison_view(first.neurons, first.connectivity, second.connectivity, titles, r=r, p=p)
    save_figure(draw_comparison(view), path)
