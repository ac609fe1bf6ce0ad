"""What a comparison of two matrices found, as text tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from ..metrics import Agreement
from .tables import grid, number


def sides_table(sides: Sequence[Mapping[str, Any]], shared: int, ways: Mapping[str, int]) -> Table:
    """Return what is compared: file, run, matrix, method and neurons of each side, and how many neurons both have.

    Parameters
    ----------
    sides : sequence of mapping
        The two sides, with those keys.
    shared : int
        Neurons that both have.
    ways : mapping
        How many of them were recognised in each way.
    """
    how = ", ".join(f"{count} by {way}" for way, count in ways.items())
    columns = ["", "file", "run", "matrix", "method", "neurons"]
    rows = [[name, *(side[key] for key in columns[1:])] for name, side in zip(("first", "second"), sides, strict=True)]
    return grid(f"Compared over {shared} shared neurons ({how})", columns, rows)


def agreement_table(found: Agreement, edges: Sequence[str], within: str | None = None) -> Table:
    """Return how far two matrices agree, off the diagonal, each figure beside its value by chance.

    Parameters
    ----------
    found : Agreement
        What was found.
    edges : sequence of str
        What the edges of the first and of the second are, in words.
    within : str, optional
        Within which groups neurons were permuted.
    """
    rule = edges[0] if edges[0] == edges[1] else f"{edges[0]}; {edges[1]}"
    rows = [
        ["Pearson r", number(found.r), number(found.r_chance), _p(found.p)],
        ["Spearman r", number(found.spearman), "" if within else number(0.0), ""],
        [
            f"equal sign, {found.sign_pairs} strongest pairs",
            number(found.sign_agreement),
            number(found.sign_chance),
            "",
        ],
        [
            f"overlap (Jaccard): {found.shared_edges} shared of {found.edges[0]} and {found.edges[1]} ({rule})",
            number(found.jaccard),
            number(found.jaccard_chance),
            _p(found.jaccard_p),
        ],
    ]
    among = f" within each {within.replace('_', ' ')}" if within else ""
    title = f"Agreement off the diagonal; p by {found.permutations} permutations of the neurons{among}"
    return grid(title, ["", "value", "by chance", "p"], rows)


def recovery_tables(found: Mapping[str, Any]) -> list[Table]:
    """Return how well known wiring is recovered: what `metrics.recovery` gives, with ``precision_at``."""
    columns = ["Pearson r", "r²", "AUROC", f"average precision (chance {found['chance']:.3f})", "sign accuracy"]
    keys = ("r", "r2", "auroc", "average_precision", "sign_accuracy")
    scores = grid("Recovery of the known wiring", columns, [[number(found[key]) for key in keys]])
    rows = [
        [
            k["count"] if k["fraction"] is None else f"{k['count']} ({k['fraction']:.0%} of the true edges)",
            number(k["precision"]),
            number(k["recall"]),
        ]
        for k in found["precision_at"]
    ]
    return [scores, grid("Of the k strongest pairs", ["k", "precision", "recall"], rows)] if rows else [scores]


def differences_table(found: Mapping[str, Any], most: int) -> Table | str:
    """Return the pairs whose weights differ, the surest first; a sentence if none do.

    Parameters
    ----------
    found : mapping
        ``tested``, ``rate`` and ``differing``: a list with source, target, difference, z, q.
    most : int
        How many to list.
    """
    differing, rate = found["differing"], found["rate"]
    if not differing:
        return f"No pair differs: {found['tested']} tested, q ≤ {rate:g}."
    more = f", the surest {most}" if len(differing) > most else ""
    rows = [
        [edge["source"], edge["target"], f"{edge['difference']:.4g}", number(edge["z"], 2), f"{edge['q']:.2g}"]
        for edge in differing[:most]
    ]
    title = f"{len(differing)} of {found['tested']} pairs differ (q ≤ {rate:g}){more}"
    return grid(title, ["source", "target", "first - second", "z", "q"], rows)


def _p(value: float) -> str:
    return f"{value:.2g}" if value == value else "-"
