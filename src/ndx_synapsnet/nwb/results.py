"""FitResult ↔ NWB: what was learned, written into the source file or a small file beside it, and read back."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pynwb import NWBFile, TimeSeries

from ..errors import InputError
from ..session import Connectivity, FitResult, Modality, Neurons
from . import store
from .forecasts import build_currents, build_forecast
from .layout import Layout
from .matrices import GROUND_TRUTH, build_matrix
from .metadata import new_nwbfile, processing_module
from .neuron_table import build_neuron_table
from .provenance import build_provenance
from .replace import require_same, stamp
from .result_reading import matrix_name, read_result, read_true_connectivity, result_of
from .run_digest import recorded_digest
from .runs import free_name, list_runs, require_name, run_path, run_to_replace
from .sources import open_source
from .types import SynapsNetFit
from .versions import require_known_version

__all__ = [
    "WrittenRun",
    "add_result",
    "add_true_connectivity",
    "list_runs",
    "read_result",
    "read_true_connectivity",
    "require_new_run",
    "require_target",
    "result_of",
    "write_result",
]

DEFAULT_NAME = "synapsnet"


@dataclass(frozen=True)
class WrittenRun:
    """Where a result was written."""

    path: Path
    """The file."""
    run: str
    """Name of the run in it."""
    replaced: bool = False
    """Whether it took the place of an earlier run."""


def write_result(
    result: FitResult,
    path: str | os.PathLike[str],
    *,
    in_place: bool = False,
    name: str | None = None,
    compress: bool = False,
    replace: bool = False,
) -> WrittenRun:
    """Write a result into a new small file, or into the file it was learned from.

    Parameters
    ----------
    result : FitResult
        What to write.
    path : path
        With `in_place` the existing file; otherwise a new one: ``.nwb`` for HDF5, ``.zarr`` for Zarr or
        ``.lindi.tar`` for lindi.
    in_place : bool
        Whether to add to an existing file. It is copied, changed, validated and compared with the original, which is
        only then replaced: whatever fails or is interrupted before leaves it as it was.
    name : str, optional
        Name of the run; by default ``synapsnet``, or ``synapsnet_2`` and so on where that is taken.
    compress : bool
        Whether to compress (HDF5).
    replace : bool
        Whether the result may take the place of a run in the file: of that called `name`, or without a name of that
        of the same settings on the same recording. The old run goes and the new one comes in one step. Without
        `in_place`, `path` may then be a file that holds this run.

    Returns
    -------
    WrittenRun
        The file, and the run's name in it.

    Raises
    ------
    InputError
        If a new file's path is taken, an existing one cannot be amended, the name is taken, or the same run is there
        already (see `run_digest`).
    """
    path = Path(path)
    digest = digest_of(result)
    if in_place or (replace and path.exists()):
        target = store.require_amendable(path)
        planned = stamp(target)
        old = _run_to_replace(path, digest, name=name, replace=replace, required=not in_place)
        called = name if old is None else old.name

        def modify(nwbfile: NWBFile) -> str:
            if old is not None:
                require_same(target, planned)  # the run that goes is the one that was looked at
            run_to_replace(nwbfile, digest, name=called, replace=False)
            return add_result(nwbfile, result, name=called, compress=compress)

        run = store.amend(path, modify, remove=() if old is None else (old.path,), room=size_of(result))
        return WrittenRun(path, run, replaced=old is not None)
    source = result.provenance.get("source") or {}
    nwbfile = new_nwbfile(source, description="Results of a model of population activity.")
    run = add_result(nwbfile, result, name=name, layout=Layout(store.format_of(path), compress))
    store.create(path, nwbfile, room=size_of(result))
    return WrittenRun(path, run)


def require_target(
    path: str | os.PathLike[str], *, in_place: bool = False, name: str | None = None, replace: bool = False
) -> None:
    """Raise now what would keep `write_result` from writing later, when a long fit is done.

    Parameters
    ----------
    path, in_place, name, replace
        As for `write_result`.

    Raises
    ------
    InputError
        As `write_result`, as far as it can be told before the recording is read.
    """
    path = Path(path)
    if name is not None:
        require_name(name)
    if not in_place and not (replace and path.exists()):
        store.require_new(path)
        return
    store.require_amendable(path)
    if name is not None:
        _run_to_replace(path, None, name=name, replace=replace, required=not in_place)


def require_new_run(
    path: str | os.PathLike[str],
    digest: str | None,
    *,
    in_place: bool = False,
    name: str | None = None,
    replace: bool = False,
) -> None:
    """Raise before a fit is begun if the file holds the same run, or with `replace` not the one to replace.

    Parameters
    ----------
    path, in_place, name, replace
        As for `write_result`.
    digest : str or None
        What the run will be recognised by; see `experiment.run_digests`.

    Raises
    ------
    InputError
        As `write_result`.
    """
    path = Path(path)
    if in_place or (replace and path.exists()):
        _run_to_replace(path, digest, name=name, replace=replace, required=not in_place)


@dataclass(frozen=True)
class _Place:
    """A run of a file."""

    name: str
    path: str


def _run_to_replace(
    path: Path, digest: str | None, *, name: str | None, replace: bool, required: bool
) -> _Place | None:
    """Return the run of a file that a new one takes the place of, if any; with `required` there has to be one."""
    with open_source(path) as opened:
        require_known_version(opened.nwbfile, where=opened.uri)
        try:
            run = run_to_replace(opened.nwbfile, digest, name=name, replace=replace)
        except InputError as error:
            raise InputError(error.what, where=opened.uri, remedy=error.remedy) from error
        if run is not None:
            return _Place(run, run_path(opened.nwbfile, run))
        if required:
            raise InputError(
                "the file is there already, and holds no run to be replaced"
                + (f" that is called {name!r}" if name else ": none is of these settings on this recording"),
                where=opened.uri,
                remedy="Choose another path, or write into this file (--in-place).",
            )
    return None


def digest_of(result: FitResult) -> str | None:
    """Return what a result is recognised by; None if that is not known."""
    return recorded_digest(result.config, result.provenance, samples=len(result.split))


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
            build_matrix(matrix_name(key), matrix, table, layout, raw=key == "raw")
            for key, matrix in result.connectivity.items()
        ],
        activity_forecasts=[forecast],
    )
    if result.forecast.currents is not None:
        fit.add_input_currents(build_currents(result.forecast.currents, forecast, table, layout))
    processing_module(nwbfile, result.modality).add(fit)
    return run


def _observed(nwbfile: NWBFile, result: FitResult) -> TimeSeries | None:
    """Return the series that the activity was read from, if it is exactly one and lies in this file."""
    series = (result.provenance.get("source") or {}).get("series") or []
    if len(series) != 1 or nwbfile.read_io is None:
        return None
    found = nwbfile.objects.get(str(series[0].get("object_id")))
    return found if isinstance(found, TimeSeries) else None


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
