"""One connectivity matrix of a file with its neurons, without the rest of the run: what readouts need."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pynwb import NWBFile

from ..errors import InputError
from ..session import Connectivity, Neurons
from .matrices import GROUND_TRUTH, read_matrix
from .neuron_table import read_neurons
from .result_reading import key_of
from .runs import fits, list_runs
from .sources import open_source
from .types import FunctionalConnectivity, SynapsNetFit

__all__ = ["DEFAULT_MATRIX", "Wiring", "find_wiring", "list_wirings", "read_wiring"]

#: The matrix that is read where none is named.
DEFAULT_MATRIX = "effective"


@dataclass(frozen=True, eq=False)
class Wiring:
    """A matrix, its neurons, and where it was read from."""

    file: str
    run: str
    """Name of the container in the file: a run, or that of known wiring."""
    matrix: str
    """Name of the matrix, as in `FitResult.connectivity`."""
    neurons: Neurons
    """N neurons."""
    connectivity: Connectivity
    """(N, N)."""
    trustworthy: bool
    """Whether the run's forecasts allow its connectivity to be read; known wiring is."""
    verdict: str
    """The run's sentence on that; empty for known wiring."""

    @property
    def known(self) -> bool:
        """Whether this is known wiring and no estimate."""
        return self.connectivity.method == GROUND_TRUTH

    @property
    def label(self) -> str:
        """A name for people, within its file."""
        return "known wiring" if self.known else f"{self.run}: {self.matrix}"

    @property
    def arbitrary_sign(self) -> bool:
        """Whether the sign of a row means nothing without the decoder that it was learned with."""
        return self.matrix == "raw" and not self.connectivity.gain_normalized

    def select(self, rows: ArrayLike) -> Wiring:
        """Return the wiring of the neurons in `rows` (S,) only, in that order."""
        chosen = np.asarray(rows)
        place = np.ix_(chosen, chosen)
        held: dict[str, NDArray[np.float32]] = {
            f.name: value[place]
            for f in fields(Connectivity)
            if isinstance(value := getattr(self.connectivity, f.name), np.ndarray)
        }
        return replace(
            self,
            neurons=self.neurons.select(chosen),
            connectivity=replace(self.connectivity, **held),  # type: ignore[arg-type]
        )


def read_wiring(path: str | os.PathLike[str], run: str | None = None, matrix: str | None = None) -> Wiring:
    """Read one connectivity matrix of a file, as `find_wiring`.

    Parameters
    ----------
    path : path or str
        The file.
    run, matrix : str, optional
        Which; see `find_wiring`.

    Raises
    ------
    InputError
        If the file cannot be read, or what `find_wiring` raises.
    """
    with open_source(path) as opened:
        return find_wiring(opened.nwbfile, run, matrix, where=opened.uri)


def list_wirings(nwbfile: NWBFile) -> list[tuple[str, str]]:
    """Return run and name of every matrix in an open file: the runs with the latest first, then known wiring."""
    containers = fits(nwbfile)
    runs = list_runs(nwbfile)[::-1]
    names = [*runs, *sorted(name for name in containers if name not in runs)]
    return [(name, key) for name in names for key in _matrices(containers[name][1])]


def find_wiring(
    nwbfile: NWBFile, run: str | None = None, matrix: str | None = None, *, where: str = "NWB file"
) -> Wiring:
    """Read one connectivity matrix of an open file.

    Parameters
    ----------
    nwbfile : NWBFile
        The open file.
    run : str, optional
        Name of the run, or of the container of known wiring. By default the latest run that has the matrix, then known
        wiring.
    matrix : str, optional
        Name of the matrix; by default ``effective`` where a run has one, else its first.
    where : str
        The file, for messages.

    Raises
    ------
    InputError
        If there is no such matrix, or it is damaged.
    """
    there = list_wirings(nwbfile)
    if not there:
        raise InputError(
            "the file holds no connectivity", where=where, remedy="Name the file that a fit was written to."
        )
    fitting = [(r, m) for r, m in there if run in (None, r) and matrix in (None, m)]
    if not fitting:
        wanted = " of ".join(filter(None, [matrix and f"matrix {matrix!r}", run and f"run {run!r}"]))
        offered = ", ".join(f"{r}: {m}" for r, m in there)
        raise InputError(f"there is no {wanted}", where=where, remedy=f"It holds {offered}.")
    first = [each for each in fitting if each[0] == fitting[0][0]]
    name, key = (first[0][0], DEFAULT_MATRIX) if (first[0][0], DEFAULT_MATRIX) in first else first[0]
    modality, fit = fits(nwbfile)[name]
    place = f"{where}: /processing/{modality}/{name}"
    if fit.neurons is None:
        raise InputError("the connectivity has no neuron table", where=place)
    neurons = read_neurons(fit.neurons, where=f"{place}/neurons")
    found = read_matrix(_matrices(fit)[key], len(neurons), where=f"{place}/{key}")
    known = found.method == GROUND_TRUTH
    return Wiring(
        file=where,
        run=name,
        matrix=key,
        neurons=neurons,
        connectivity=found,
        trustworthy=known or bool(fit.trustworthy),
        verdict=str(fit.verdict or ""),
    )


def _matrices(fit: SynapsNetFit) -> dict[str, FunctionalConnectivity]:
    """Return the matrices of a container by the names that they have in a result."""
    return {
        key_of(name): node
        for name, node in fit.functional_connectivitys.items()
        if isinstance(node, FunctionalConnectivity)
    }
