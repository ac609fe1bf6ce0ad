"""NWB → FitResult: what a run in a file holds."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray
from pynwb import NWBFile

from ..errors import InputError
from ..session import Connectivity, FitResult, Modality
from .forecasts import read_forecast
from .matrices import GROUND_TRUTH, read_matrix
from .neuron_table import read_embeddings, read_neurons, read_scores
from .provenance import read_provenance
from .runs import fits, list_runs
from .sources import open_source
from .types import FunctionalConnectivity, SynapsNetFit
from .versions import require_known_version

#: Names inside a fit that a matrix may not have; one that would is prefixed.
_PARTS = {"neurons", "provenance", "forecast", "input_currents"}
_PREFIX = "connectivity_"


def matrix_name(key: str) -> str:
    """Return how the matrix that `FitResult.connectivity` has under `key` is called in a file."""
    return _PREFIX + key if key in _PARTS or key.startswith(_PREFIX) else key


def key_of(name: str) -> str:
    """Return the name in `FitResult.connectivity` of the matrix that is called `name` in a file."""
    return name.removeprefix(_PREFIX)


def read_result(path: str | os.PathLike[str], run: str | None = None) -> FitResult:
    """Read a result back, equal to the one written.

    Parameters
    ----------
    path : path or str
        A file that holds at least one run.
    run : str, optional
        Name of the run; by default the latest.

    Raises
    ------
    InputError
        If the file cannot be read, holds no run or none of that name, or the run is damaged.
    """
    with open_source(path) as opened:
        return result_of(opened.nwbfile, run, where=opened.uri)


def result_of(nwbfile: NWBFile, run: str | None = None, *, where: str = "NWB file") -> FitResult:
    """Read a result from an open file, as `read_result`.

    Parameters
    ----------
    nwbfile : NWBFile
        The open file.
    run : str, optional
        Name of the run; by default the latest.
    where : str
        The file, for messages.

    Raises
    ------
    InputError
        As `read_result`.
    """
    require_known_version(nwbfile, where=where)
    runs = list_runs(nwbfile)
    if not runs:
        raise InputError(
            "the file holds no fit", where=where, remedy="Fit it first, or name the file that the fit was written to."
        )
    chosen = runs[-1] if run is None else run
    if chosen not in runs:
        raise InputError(f"there is no run {chosen!r}", where=where, remedy=f"Its runs: {', '.join(runs)}.")
    modality, fit = fits(nwbfile)[chosen]
    return _read_fit(fit, modality, where=f"{where}: /processing/{modality}/{chosen}")


def _read_fit(fit: SynapsNetFit, modality: Modality, *, where: str) -> FitResult:
    """Return the result that a container holds."""
    if fit.neurons is None:
        raise InputError("the fit has no neuron table", where=where)
    neurons = read_neurons(fit.neurons, where=f"{where}/neurons")
    n = len(neurons)
    circumstances = read_provenance(fit.provenance, n_neurons=n, where=f"{where}/provenance")
    try:
        return FitResult(
            run_id=str(fit.run_id or ""),
            model=str(fit.model or ""),
            neurons=neurons,
            modality=modality,
            embeddings=read_embeddings(fit.neurons),
            connectivity={
                key_of(name): read_matrix(node, n, where=f"{where}/{name}")
                for name, node in fit.functional_connectivitys.items()
            },
            forecast=read_forecast(fit, n, where=where),
            scores=read_scores(fit.neurons, where=f"{where}/neurons"),
            verdict=str(fit.verdict or ""),
            trustworthy=bool(fit.trustworthy),
            **vars(circumstances),
        )
    except InputError:
        raise
    except ValueError as error:
        raise InputError(str(error), where=where) from error


def read_true_connectivity(source: NWBFile | str | os.PathLike[str]) -> tuple[NDArray[np.str_], Connectivity] | None:
    """Return the known wiring of a file: the neurons' ids (N,) and the matrix; None if it holds none.

    Parameters
    ----------
    source : NWBFile or path
        An open file, or the path of one.

    Raises
    ------
    InputError
        If the file cannot be read, or the wiring in it is damaged.
    """
    if not isinstance(source, NWBFile):
        with open_source(source) as opened:
            return read_true_connectivity(opened.nwbfile)
    for name, (modality, fit) in fits(source).items():
        for matrix in fit.functional_connectivitys.values():
            if isinstance(matrix, FunctionalConnectivity) and matrix.method == GROUND_TRUTH:
                where = f"/processing/{modality}/{name}"
                if fit.neurons is None:
                    raise InputError("the known wiring has no neuron table", where=where)
                neurons = read_neurons(fit.neurons, where=f"{where}/neurons")
                return neurons.id, read_matrix(matrix, len(neurons), where=f"{where}/{matrix.name}")
    return None
