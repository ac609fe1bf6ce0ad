from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console
from rich.table import Table

from ndx_synapsnet.session import FitResult
from ndx_synapsnet.show import tables


def text_of(*items: object) -> str:
    console = Console(width=160, file=io.StringIO())
    for item in items:
        console.print(item, markup=False)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_strongest_connections_are_in_order_and_off_the_diagonal(result: FitResult) -> None:
    n = len(result.neurons)
    weights = np.zeros((n, n), np.float32)
    weights[2, 5], weights[7, 1], weights[4, 4] = -0.9, 0.5, 3.0
    q = np.where(weights == 0, 1.0, 0.04)
    matrix = replace(result.connectivity["effective"], weights=weights, standard_error=q / 2, p_value=q, q_value=q)
    fitted = replace(result, connectivity={"effective": matrix})
    table = tables.strongest(fitted, 10)
    assert isinstance(table, Table)
    sources, targets, values, errors, found = (list(column.cells) for column in table.columns)
    ids = result.neurons.id
    assert sources == [ids[5], ids[1]]
    assert targets == [ids[2], ids[7]]
    assert values == ["-0.900", "0.500"]
    assert errors == ["0.020", "0.020"]
    assert found == ["0.040", "0.040"]
    (sentence,) = tables.significance(fitted)
    assert sentence.startswith(f"2 of {n * (n - 1)} ordered pairs are connected at a false-discovery rate of 0.1.")
    said = {"significance": {"trustworthy": False, "why": "The recording is short."}}
    (sentence,) = tables.significance(replace(fitted, provenance={**fitted.provenance, **said}))
    assert sentence.endswith("These p- and q-values are NOT to be trusted: The recording is short.")


def test_without_errors_there_is_no_column_for_them(result: FitResult) -> None:
    bare = replace(result.connectivity["effective"], standard_error=None, p_value=None, q_value=None)
    fitted = replace(result, connectivity={"effective": bare})
    table = tables.strongest(fitted, 3)
    assert isinstance(table, Table)
    assert len(table.columns) == 3
    assert tables.significance(fitted) == []


def test_an_empty_matrix_is_told(result: FitResult) -> None:
    n = len(result.neurons)
    matrix = replace(result.connectivity["effective"], weights=np.zeros((n, n)))
    assert "No connection was found" in text_of(
        tables.strongest(replace(result, connectivity={"effective": matrix}), 5)
    )


def test_an_untrustworthy_fit_says_so_above_its_connections(result: FitResult) -> None:
    assert "NOT TO BE READ" in text_of(*tables.result("synapsnet", replace(result, trustworthy=False), 5))


def test_metadata_cannot_steer_the_terminal(result: FitResult) -> None:
    source = {**result.provenance["source"], "session_id": "a\x1b[31mb[bold]c[/bold]"}
    text = text_of(*tables.result("synapsnet", replace(result, provenance={"source": source}), 0))
    assert "\x1b" not in text
    assert "[bold]c[/bold]" in text


@pytest.mark.parametrize(("seconds", "text"), [(0.2, "1 s"), (59, "59 s"), (90, "1.5 min"), (7200, "2.0 h")])
def test_durations(seconds: float, text: str) -> None:
    assert tables.duration(seconds) == text
