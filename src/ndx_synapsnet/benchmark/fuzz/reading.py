"""Everything that is read and shown of a result file, with a watch over what it does besides."""

from __future__ import annotations

import json
import os
import sys
import unicodedata
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ...errors import InputError

#: Events of the interpreter that reading must not bring about.
_FORBIDDEN = (
    "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.startfile", "subprocess.", "pickle.find_class",
    "socket.connect", "socket.getaddrinfo", "socket.gethostby", "socket.sendto", "webbrowser.", "ctypes.dlopen",
    "urllib.",
)  # fmt: skip
#: Events of changing files, the first argument of which says where.
_CHANGES = ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.symlink", "os.link", "os.chmod", "os.truncate")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Watch:
    """Takes note of what a process does besides reading: starts others, asks the network, unpickles, writes files.

    It cannot be taken off again, so it is for a process that ends.

    Parameters
    ----------
    folder : Path
        Where files may be written.
    """

    def __init__(self, folder: Path) -> None:
        self.seen: list[str] = []
        self._folder = os.path.realpath(folder)
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            if (flags or 0) & _WRITING or set(mode or "") & set("wax+"):
                self._changes(event, path)
        elif event in _CHANGES:
            self._changes(event, arguments[0])
        elif event.startswith(_FORBIDDEN):
            self.seen.append(f"{event} {arguments!r:.80}")

    def _changes(self, event: str, path: Any) -> None:
        if isinstance(path, int):
            return
        place = os.path.realpath(os.fsdecode(path))
        if place != os.devnull and not place.startswith(self._folder + os.sep):
            self.seen.append(f"{event} {place!r:.80}")


def read_everything(path: Path, folder: Path, *, pictures: bool = False) -> list[InputError]:
    """Read and show what a result file holds, as the verbs `list`, `show`, `report`, `groups` and `export` do.

    Parameters
    ----------
    path : Path
        The file.
    folder : Path
        Where graphs and tables are written.
    pictures : bool
        Whether the report's figures are drawn too, which takes seconds.

    Returns
    -------
    list of InputError
        What could not be read, as a user would be told.

    Raises
    ------
    AssertionError
        If something is shown that would steer a terminal or run in a browser.
    Exception
        Whatever else goes wrong: a fault of ours.
    """
    from ...nwb.results import list_runs, read_true_connectivity, result_of
    from ...nwb.sources import open_source
    from ...nwb.wiring import find_wiring, list_wirings
    from ...show import tables
    from ...show.as_json import json_text, summary
    from ...show.report import ReportedRun, report_page

    told: list[InputError] = []

    def attempt(do: Callable[[], Any]) -> Any:
        try:
            return do()
        except InputError as error:
            require_harmless(tables.text(f"error: {error}"))
            told.append(error)
            return None

    def everything() -> None:
        runs = []
        with open_source(path) as opened:
            nwbfile, where = opened.nwbfile, opened.uri
            for name in list_runs(nwbfile):
                if (result := attempt(partial(result_of, nwbfile, name, where=where))) is not None:
                    runs.append((name, result))
            wirings = [
                attempt(partial(find_wiring, nwbfile, run, matrix, where=where))
                for run, matrix in list_wirings(nwbfile)
            ]
            truth = attempt(partial(read_true_connectivity, nwbfile))
        for name, result in runs:
            require_harmless(tables.text(*tables.result(name, result, 10)))
            printed = json_text(summary(result))
            json.loads(printed)
            require_harmless(printed)
        for wiring in wirings:
            if wiring is not None:
                attempt(partial(_read_out, wiring, folder))
        reported = [ReportedRun(name, result, None, truth) for name, result in runs]
        if reported and pictures:
            require_inert(report_page(reported, title=path.name))
        else:
            for run in reported:
                require_inert(_words_of_report(run))

    attempt(everything)
    return told


def _words_of_report(run: Any) -> str:
    """Return what a report says of a run beside its pictures."""
    from ...show import page, report_connectivity, report_sections

    parts = [
        report_sections.verdict(run.result),
        *report_sections.recorded(run),
        *report_sections.provenance(run),
        *report_sections.citation(run),
        page.element("h1", run.name),
        page.paragraph(run.result.neurons.id.tolist()),
    ]
    matrix = run.result.connectivity.get("effective")
    if matrix is not None:
        parts.append(report_connectivity.strongest(run.result, matrix, 20))
    return page.page(run.name, *parts)


def _read_out(wiring: Any, folder: Path) -> None:
    """Summarise a matrix by group and neuron, and write it as a graph."""
    from ...metrics import choose_edges, group_connectivity, neuron_connectivity
    from ...show import readouts, tables
    from ...show.graphs import Graph, describe, write_graph

    edges = choose_edges(wiring.connectivity)
    weights, neurons = wiring.connectivity.weights, wiring.neurons
    rows = readouts.neuron_rows(neuron_connectivity(weights, edges), neurons)
    if neurons.region is not None:
        rows += readouts.group_rows(group_connectivity(weights, neurons.region, edges))
    cells = [[str(value) for value in row.values()][:3] for row in rows]
    require_harmless(tables.text(tables.grid(wiring.label, ["a", "b", "c"], cells)))
    graph = Graph(neurons, wiring.connectivity, edges, {"source": wiring.file, **describe(wiring.connectivity)})
    for ending in (".graphml", ".json", ".csv"):
        write_graph(graph, folder / f"graph{ending}")
    readouts.write_rows(rows, folder / "rows.csv")


def require_harmless(text: str) -> None:
    """Raise if a text for the terminal holds characters that steer it or turn its direction."""
    steering = {c for c in text if c not in "\n\t" and unicodedata.category(c) in ("Cc", "Cf", "Co", "Cs")}
    assert not steering, f"steers the terminal: {sorted(map(hex, map(ord, steering)))}"


def require_inert(page: str) -> None:
    """Raise if a page holds an element that metadata must not bring in."""
    from html.parser import HTMLParser

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            assert tag not in ("script", "iframe", "object", "embed", "form", "svg"), f"an element {tag} in the page"
            for name, value in attrs:
                assert not name.startswith("on"), f"an attribute {name} in the page"
                assert name not in ("href", "src") or (value or "").startswith(("#", "data:image/png;", "https://")), (
                    value
                )

    Parser().feed(page)
