"""Results and recordings as text tables for the terminal."""

from __future__ import annotations

import math
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..session import FitResult
from .compute import score_table


def number(value: float, digits: int = 3) -> str:
    """Return a number for people; an undefined one is a dash."""
    return f"{value:.{digits}f}" if math.isfinite(value) else "-"


def scores(result: FitResult) -> Table:
    """Return the forecast scores of the model beside every reference predictor."""
    table = Table(title="Forecast, one step ahead, on the test part (mean over neurons)", title_justify="left")
    table.add_column("predictor")
    for column in ("r", "± SEM", "MSE", "r undefined"):
        table.add_column(column, justify="right")
    rows = score_table(result)
    lowest = min(row.mse for row in rows)
    for row in rows:
        cells = (row.name, number(row.correlation), number(row.sem), number(row.mse, 4), str(row.undefined or ""))
        table.add_row(*map(escape, cells), style="bold" if row.mse == lowest else None)
    return table


def pairs(title: str, values: dict[str, Any]) -> Table:
    """Return a table of two columns, leaving out what is empty."""
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in values.items():
        if value not in (None, "", [], ()):
            table.add_row(escape(key), escape(_printable(value)))
    return table


def grid(title: str, columns: list[str], rows: list[list[Any]]) -> Table:
    """Return a table of rows; columns after the first are aligned right where they hold only numbers."""
    table = Table(title=title, title_justify="left")
    for place, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[place], (int, float)) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(escape(_printable(cell)) for cell in row))
    return table


def _printable(value: Any) -> str:
    """Return `value` as text without control characters: metadata must not steer the terminal."""
    if isinstance(value, (list, tuple)):
        return ", ".join(_printable(item) for item in value)
    if isinstance(value, float):
        return f"{value:.4g}"
    return "".join(c if c.isprintable() or c == "\n" else "�" for c in str(value))


def say(*items: Any) -> None:
    """Print tables and plain sentences to standard output, wide enough not to fold when it is no terminal."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=160)
    for item in items:
        console.print(_printable(item) if isinstance(item, str) else item, markup=False)
