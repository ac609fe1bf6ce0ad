"""A connectivity matrix as a graph: for NetworkX, Gephi, a spreadsheet or numpy.

Letters: N neurons, E edges. Matrices are [target, source], edges go from source to target.
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, missing_extra
from ..metrics import choose_edges
from ..session import Connectivity, FitResult, Neurons

if TYPE_CHECKING:
    import networkx

#: Characters that XML cannot hold.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_UNCERTAINTY = ("standard_error", "p_value", "q_value")
_AXES = ("x", "y", "z")


@dataclass(frozen=True, eq=False)
class Graph:
    """The edges of one matrix over its neurons."""

    neurons: Neurons
    connectivity: Connectivity
    edges: NDArray[np.bool_]
    """(N, N) mask [target, source]."""
    about: Mapping[str, str | bool | int | float] = field(default_factory=dict)
    """Where it comes from and what to think of it."""

    def nodes(self) -> Iterator[dict[str, Any]]:
        """Yield each neuron's id and what is known of it: region, cell_type, identity, x, y, z."""
        texts = {name: getattr(self.neurons, name) for name in ("region", "cell_type", "identity")}
        for row, neuron in enumerate(self.neurons.id.tolist()):
            node = {"id": neuron}
            node.update({name: str(of[row]) for name, of in texts.items() if of is not None and of[row]})
            if self.neurons.position is not None:
                places = zip(_AXES, self.neurons.position[row].tolist(), strict=True)
                node.update({axis: place for axis, place in places if np.isfinite(place)})
            yield node

    def links(self) -> Iterator[tuple[int, int, dict[str, float]]]:
        """Yield rows of source and target, and weight, standard_error, p_value, q_value as far as known, by source."""
        source, target = np.nonzero(self.edges.T)
        columns = {name: values[target, source].tolist() for name, values in self._values().items()}
        for place, (of, to) in enumerate(zip(source.tolist(), target.tolist(), strict=True)):
            yield of, to, {name: of_[place] for name, of_ in columns.items() if np.isfinite(of_[place])}

    def columns(self) -> list[str]:
        """Return the names of what edges may have."""
        return list(self._values())

    def _values(self) -> dict[str, NDArray[np.float32]]:
        held = {name: getattr(self.connectivity, name) for name in ("weights", *_UNCERTAINTY)}
        return {"weight" if name == "weights" else name: of for name, of in held.items() if of is not None}


def to_networkx(
    result: FitResult, matrix: str = "effective", *, significant: float | None = None, strongest: int | None = None
) -> networkx.DiGraph:
    """Return a result's connectivity as a NetworkX graph, from source to target.

    Nodes are the neurons' ids, with ``region``, ``cell_type``, ``identity``, ``x``, ``y``, ``z`` where known; edges
    have ``weight`` and, where known, ``standard_error``, ``p_value`` and ``q_value``. Weights may be negative, which
    many algorithms on graphs do not expect.

    Parameters
    ----------
    result : FitResult
        The fit.
    matrix : str
        Name of the matrix.
    significant : float, optional
        Only the edges whose q-value is at most this false-discovery rate.
    strongest : int, optional
        Only so many edges; see `metrics.choose_edges`. By default every weight that is not 0.

    Raises
    ------
    InputError
        If NetworkX is not installed, the result has no such matrix, or what `metrics.choose_edges` raises.
    """
    if matrix not in result.connectivity:
        raise InputError(
            f"there is no matrix {matrix!r}", remedy=f"The result has {', '.join(result.connectivity) or 'none'}."
        )
    connectivity = result.connectivity[matrix]
    about: dict[str, str | bool] = {
        "run_id": result.run_id, "matrix": matrix, "trustworthy": result.trustworthy, "verdict": result.verdict,
    }  # fmt: skip
    edges = choose_edges(connectivity, significant=significant, strongest=strongest)
    return as_networkx(Graph(result.neurons, connectivity, edges, {**about, **describe(connectivity)}))


def describe(connectivity: Connectivity) -> dict[str, str | int | float]:
    """Return what a graph says of its matrix: method, description, lag."""
    said: dict[str, str | int | float] = {"method": connectivity.method, "lag": connectivity.lag}
    if connectivity.description:
        said["description"] = connectivity.description
    if np.isfinite(connectivity.lag_seconds):
        said["lag_seconds"] = float(connectivity.lag_seconds)
    return said


def as_networkx(graph: Graph) -> networkx.DiGraph:
    """Return `graph` for NetworkX, as `to_networkx`.

    Raises
    ------
    InputError
        If NetworkX is not installed.
    """
    try:
        import networkx
    except ImportError as error:
        raise missing_extra("networkx", "graph") from error
    made = networkx.DiGraph(**graph.about)
    ids = graph.neurons.id.tolist()
    for node in graph.nodes():
        made.add_node(node.pop("id"), **node)
    made.add_edges_from((ids[source], ids[target], held) for source, target, held in graph.links())
    return made


def write_graph(graph: Graph, path: Path) -> None:
    """Write a graph in the format that the ending of `path` names, whole or not at all.

    - ``.graphml``: GraphML by NetworkX, for Gephi, Cytoscape and others.
    - ``.csv``, ``.tsv``: one row an edge, with what is known of its two neurons. Neurons without an edge are not in it.
    - ``.json``: node-link, as ``networkx.node_link_graph(data, edges="edges")`` reads it.
    - ``.npz``: arrays: ``weights`` and the mask ``edges`` [target, source], uncertainty and the neurons' columns.

    Raises
    ------
    InputError
        If the ending is another, NetworkX is not installed and needed, or the file cannot be written.
    """
    write = WRITERS[require_ending(path)]
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        write(graph, part)
        os.replace(part, path)
    except OSError as error:
        raise InputError(f"cannot be written ({error.strerror or error})", where=str(path)) from error
    finally:
        part.unlink(missing_ok=True)


def require_ending(path: Path) -> str:
    """Return the ending of `path` that names a format.

    Raises
    ------
    InputError
        If it names none.
    """
    ending = path.suffix.lower()
    if ending not in WRITERS:
        raise InputError("its ending names no format", where=str(path), remedy=f"End it in {', '.join(WRITERS)}.")
    return ending


def _write_graphml(graph: Graph, path: Path) -> None:
    made = as_networkx(graph)
    import networkx

    for held in (made.graph, *(of for _, of in made.nodes(data=True))):
        held.update({name: _NOT_XML.sub("�", value) for name, value in held.items() if isinstance(value, str)})
    names = {name: _NOT_XML.sub("�", name) for name in made}
    if any(name != shown for name, shown in names.items()) and len(set(names.values())) == len(names):
        made = networkx.relabel_nodes(made, names)
    networkx.write_graphml(made, path)


def _write_table(delimiter: str) -> Callable[[Graph, Path], None]:
    def write(graph: Graph, path: Path) -> None:
        nodes = list(graph.nodes())
        known = [name for name in ("region", "cell_type", "identity", *_AXES) if any(name in node for node in nodes)]
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter=delimiter)
            ends = [f"{end}_{name}" for name in known for end in ("source", "target")]
            writer.writerow(["source", "target", *graph.columns(), *ends])
            for source, target, held in graph.links():
                values = [f"{held[name]:.9g}" if name in held else "" for name in graph.columns()]
                about = [nodes[row].get(name, "") for name in known for row in (source, target)]
                writer.writerow([nodes[source]["id"], nodes[target]["id"], *values, *about])

    return write


def _write_json(graph: Graph, path: Path) -> None:
    ids = graph.neurons.id.tolist()
    value = {
        "directed": True,
        "multigraph": False,
        "graph": dict(graph.about),
        "nodes": list(graph.nodes()),
        "edges": [{"source": ids[source], "target": ids[target], **held} for source, target, held in graph.links()],
    }
    path.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _write_npz(graph: Graph, path: Path) -> None:
    neurons, connectivity = graph.neurons, graph.connectivity
    columns = {name: getattr(neurons, name) for name in ("id", "region", "cell_type", "identity", "position")}
    matrices = {name: getattr(connectivity, name) for name in ("weights", *_UNCERTAINTY)}
    about = np.array(json.dumps(dict(graph.about)))
    arrays = {name: value for name, value in {**matrices, **columns}.items() if value is not None}
    with path.open("wb") as file:
        np.savez_compressed(file, edges=graph.edges, about=about, **arrays)


#: What writes a graph, by the ending of the file.
WRITERS: dict[str, Callable[[Graph, Path], None]] = {
    ".graphml": _write_graphml,
    ".csv": _write_table(","),
    ".tsv": _write_table("\t"),
    ".json": _write_json,
    ".npz": _write_npz,
}
