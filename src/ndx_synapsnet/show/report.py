"""A report: one page of HTML with everything of a file's runs in it, to be read, sent or printed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ..errors import InputError
from . import page as bricks
from .page import Html
from .plots import require_matplotlib
from .report_run import ReportedRun
from .report_sections import sections, verdict

__all__ = ["ReportedRun", "report_page", "write_report"]


def report_page(runs: Sequence[ReportedRun], *, title: str, edges: int = 20, version: str = "") -> str:
    """Return the page: self-contained, without scripts, all text of the file escaped.

    Parameters
    ----------
    runs : sequence of ReportedRun
        One or more, in the order in which they are to appear.
    title : str
        What it is a report of, such as the file's name.
    edges : int
        How many of the strongest connections of each run to list.
    version : str
        Of the package, for the last line.

    Raises
    ------
    InputError
        If matplotlib is not installed.
    ValueError
        If there is no run.
    """
    if not runs:
        raise ValueError("there is no run to report")
    require_matplotlib()
    links: list[Html] = []
    parts: list[Html] = []
    for number, run in enumerate(runs, start=1):
        name = f"run-{number}"
        inside = [verdict(run.result)]
        for place, (heading, contents) in enumerate(sections(run, edges), start=1):
            inside.append(bricks.section(f"{name}-{place}", heading, *contents, level=2))
            if len(runs) == 1:
                links.append(bricks.link(f"#{name}-{place}", heading))
        if len(runs) > 1:
            links.append(bricks.link(f"#{name}", run.name))
            above = [bricks.element("p", f"Run {number} of {len(runs)}", class_="over"), bricks.element("h1", run.name)]
            inside = [*above, *inside]
        parts.append(bricks.element("section", bricks.join(inside), id=name, class_="run"))
    head = bricks.element(
        "header",
        bricks.element("p", "SynapsNet report", class_="over"),
        bricks.element("h1", title),
        bricks.element("p", _subtitle(runs), class_="under"),
        bricks.element("nav", *links),
    )
    foot = bricks.element("footer", f"Made by ndx-synapsnet {version}".rstrip() + " from what the file holds.")
    return bricks.page(f"{title}: SynapsNet report", head, bricks.element("main", *parts), foot)


def write_report(page: str, path: Path, *, overwrite: bool = False) -> None:
    """Write a page, whole or not at all.

    Raises
    ------
    InputError
        If the file exists and may not be replaced, or cannot be written.
    """
    if path.exists() and not overwrite:
        raise InputError("is there already", where=str(path), remedy="Name another file, remove it, or overwrite it.")
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_text(page, encoding="utf-8")
        os.replace(part, path)
    except OSError as error:
        raise InputError(f"cannot be written ({error.strerror or error})", where=str(path)) from error
    finally:
        part.unlink(missing_ok=True)


def _subtitle(runs: Sequence[ReportedRun]) -> str:
    first = runs[0].result
    many = f"{len(runs)} runs, the first: " if len(runs) > 1 else ""
    return f"{many}{len(first.neurons)} neurons, {len(first.split)} samples, run {runs[0].name}"
