"""FitResult ↔ NWB: what was learned, written into the source file or a small file beside it, and read back."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pynwb import NWBFile, TimeSeries

from ..errors import InputError
from ..session import Connectivity, FitResult, Modality, Neurons
from . import store
from .forecasts import build_currents, build_forecast, read_forecast
from .layout import Layout
from .matrices import GROUND_TRUTH, build_matrix, read_matrix
from .metadata import new_nwbfile, processing_module
from .neuron_table import build_neuron_table, read_embeddings, read_neurons, read_scores
from .provenance import build_provenance, read_provenance
from .runs import fits, free_name, list_runs, require_name
from .sources import open_source
from .types import FunctionalConnectivity, SynapsNetFit

__all__ = [
    "WrittenRun",
    "add_result",
    "add_true_connectivity",
    "list_runs",
    "read_result",
    "read_true_connectivity",
    "require_target",
    "result_of",
    "write_result",
]

DEFAULT_NAME = "synapsnet"
#: Names inside a fit that a matrix may not have; one that would is prefixed.
_PARTS = {"neurons", "provenance", "forecast", "input_currents"}
_PREFIX = "connectivity_"


@dataclass(frozen=True)
class WrittenRun:
    """Where a result was written."""

    path: Path
    """The file."""
    run: str
    """Name of the run in it."""


def write_result(
    result: FitResult,
    path: str | os.PathLike[str],
    *,
    in_place: bool = False,
    name: str | None = None,
    compress: bool = False,
) -> WrittenRun:
    """Write a result into a new small file, or into the file it was learned from.

    Parameters
    ----------
    result : FitResult
        What to write.
    path : path
        With `in_place` the existing file; otherwise a new one, ``.nwb`` for HDF5 or ``.zarr`` for Zarr.
    in_place : bool
        Whether to add to an existing file. It is copied, changed, validated and compared with the original, which is
        only then replaced: whatever fails or is interrupted before leaves it as it was.
    name : str, optional
        Name of the run; by default ``synapsnet``, or ``synapsnet_2`` and so on where that is taken.
    compress : bool
        Whether to compress (HDF5).

    Returns
    -------
    WrittenRun
        The file, and the run's name in it.

    Raises
    ------
    InputError
        If a new file's path is taken, an existing one cannot be amended, or the name is taken.
    """
    path = Path(path)
    if in_place:
        run = store.amend(
            path, lambda nwbfile: add_result(nwbfile, result, name=name, compress=compress), room=size_of(result)
        )
        return WrittenRun(path, run)
    source = result.provenance.get("source") or {}
    nwbfile = new_nwbfile(source, description="Results of a model of population activity.")
    run = add_result(nwbfile, result, name=name, layout=Layout(store.format_of(path), compress))
    store.create(path, nwbfile, room=size_of(result))
    return WrittenRun(path, run)


def require_target(path: str | os.PathLike[str], *, in_place: bool = False, name: str | None = None) -> None:
    """Raise now what would keep `write_result` from writing later, when a long fit is done.

    Parameters
    ----------
    path, in_place, name
        As for `write_result`.

    Raises
    ------
    InputError
        As `write_result`, as far as it can be told before there is a result.
    """
    path = Path(path)
    if name is not None:
        require_name(name)
    if not in_place:
        store.require_new(path)
        return
    store.require_amendable(path)
    if name is not None:
        with open_source(path) as opened:
            try:
                free_name(opened.nwbfile, name, default=DEFAULT_NAME)
            except InputError as error:
                raise InputError(error.what, where=opened.uri, remedy=error.remedy) from error


def size_of(result: FitResult) -> int:
    """Return about how many bytes a result takes on disk, rather too many than too few."""

    def total(value: Any) -> int:
        if isinstance(value, np.ndarray):
            return int(value.nbytes)
        if isinstance(value, Mapping):
            return sum(map(total, value.values()))
        return sum(total(getattr(value, f.name)) for f in fields(value)) if is_dataclass(value) else 0

    arrays = total(result)
    return arrays + arrays // 8 + 2**22  # the last chunks are not full, and schemas and names take room too


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


def add_result(
    nwbfile: NWBFile,
    result: FitResult,
    *,
    name: str | None = None,
    compress: bool = False,
    layout: Layout | None = None,
) -> str:
    """Add a result to an NWBFile in memory, in its processing module ``ecephys`` or ``ophys``.

    Parameters
    ----------
    nwbfile : NWBFile
        A new file, or one open for reading and writing.
    result : FitResult
        What to add.
    name : str, optional
        Name of the run; by default the first of ``synapsnet``, ``synapsnet_2``, ... that is not taken.
    compress : bool
        Whether to compress (HDF5).
    layout : Layout, optional
        How arrays are to lie on disk, if `nwbfile` is new and will not be an HDF5 file.

    Returns
    -------
    str
        The run's name.

    Raises
    ------
    InputError
        If the name is taken: NWB cannot replace an object of a file.
    """
    layout = layout or Layout.of(nwbfile, compress=compress)
    run = free_name(nwbfile, name, default=DEFAULT_NAME)
    table = build_neuron_table(
        result.neurons,
        layout,
        description="The neurons of this fit, their embeddings and how well their activity is forecast.",
        embeddings=result.embeddings,
        scores=result.scores,
        model=result.model,
    )
    forecast = build_forecast(result, table, layout, observed=_observed(nwbfile, result))
    fit = SynapsNetFit(
        name=run,
        description=f"What the model {result.model} learned about this recording.",
        model=result.model,
        run_id=result.run_id or None,
        verdict=result.verdict or None,
        trustworthy=bool(result.trustworthy),
        neurons=table,
        provenance=build_provenance(result, layout),
        functional_connectivitys=[
            build_matrix(_matrix_name(key), matrix, table, layout, raw=key == "raw")
            for key, matrix in result.connectivity.items()
        ],
        activity_forecasts=[forecast],
    )
    if result.forecast.currents is not None:
        fit.add_input_currents(build_currents(result.forecast.currents, forecast, table, layout))
    processing_module(nwbfile, result.modality).add(fit)
    return run


def _matrix_name(key: str) -> str:
    return _PREFIX + key if key in _PARTS or key.startswith(_PREFIX) else key


def key_of(name: str) -> str:
    """Return the name in `FitResult.connectivity` of the matrix that is called `name` in a file."""
    return name.removeprefix(_PREFIX)


def _observed(nwbfile: NWBFile, result: FitResult) -> TimeSeries | None:
    """Return the series that the activity was read from, if it is exactly one and lies in this file."""
    series = (result.provenance.get("source") or {}).get("series") or []
    if len(series) != 1 or nwbfile.read_io is None:
        return None
    found = nwbfile.objects.get(str(series[0].get("object_id")))
    return found if isinstance(found, TimeSeries) else None


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
            embeddings=read_embeddings(fit.neurons, where=f"{where}/neurons"),
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


def add_true_connectivity(
    nwbfile: NWBFile,
    neurons: Neurons,
    connectivity: Connectivity,
    *,
    modality: Modality,
    name: str = GROUND_TRUTH,
) -> None:
    """Add known wiring to an NWBFile in memory: a container of a neuron table and one matrix.

    Parameters
    ----------
    nwbfile : NWBFile
        A new file, or one open for reading and writing.
    neurons : Neurons
        The N neurons.
    connectivity : Connectivity
        N by N; its method is written as ``ground_truth``, which is how it is recognised.
    modality : {"ecephys", "ophys"}
        Processing module to add it to.
    name : str
        Name of the container.

    Raises
    ------
    InputError
        If the name is taken, or the sizes differ.
    """
    if connectivity.weights.shape != (len(neurons), len(neurons)):
        raise InputError(f"the true connectivity has shape {connectivity.weights.shape} for {len(neurons)} neurons")
    layout = Layout.of(nwbfile)
    table = build_neuron_table(neurons, layout, description="The neurons whose wiring is known.")
    matrix = build_matrix(GROUND_TRUTH, replace(connectivity, method=GROUND_TRUTH), table, layout)
    fit = SynapsNetFit(
        name=free_name(nwbfile, name, default=name),
        description="Known wiring of the simulation that this recording comes from. Nothing here was estimated.",
        neurons=table,
        functional_connectivitys=[matrix],
    )
    processing_module(nwbfile, modality).add(fit)


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
