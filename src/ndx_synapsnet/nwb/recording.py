"""Session → NWBFile: recordings that were simulated or converted, as a reader will find them again."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from hdmf.common import DynamicTable
from numpy.typing import NDArray
from pynwb import NWBFile, TimeSeries
from pynwb.misc import Units
from pynwb.ophys import DfOverF, Fluorescence, ImageSegmentation, OpticalChannel, PlaneSegmentation, RoiResponseSeries

from ..errors import InputError
from ..session import Connectivity, Neurons, Session
from . import store
from .layout import Layout
from .metadata import NO_ANIMAL, new_nwbfile, processing_module
from .results import add_true_connectivity

#: Times that are this close to a fixed rate (in seconds) are written as one.
REGULAR = 1e-9
_UNITS = "/units"
_ROIS = "/processing/ophys/ImageSegmentation/PlaneSegmentation"


def write_recording(session: Session, path: str | os.PathLike[str], *, truth: Connectivity | None = None) -> Path:
    """Write a session as a new NWB file.

    Parameters
    ----------
    session : Session
        The recording.
    path : path
        The new file: ``.nwb`` for HDF5, ``.zarr`` for a Zarr folder.
    truth : Connectivity, optional
        The true wiring, if it is known; see `results.add_true_connectivity`.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        If the path is taken or cannot be written to, or the session's activity does not suit NWB (see `to_nwbfile`).
    """
    path = Path(path)
    nwbfile = to_nwbfile(session, layout=Layout(store.format_of(path)))
    if truth is not None:
        add_true_connectivity(nwbfile, _as_written(session, nwbfile), truth, modality=session.modality)
    store.create(path, nwbfile)
    return path


def to_nwbfile(session: Session, *, layout: Layout | None = None) -> NWBFile:
    """Return a session as an NWBFile in memory.

    Spike counts become units: the spikes of a bin are spread evenly inside it, none at its edges, so that counting
    them again in the same bins gives the same numbers; ``obs_intervals`` are the stretches of valid bins. Every other
    activity becomes a ROI series with one formal pixel a ROI, NaN in samples that are not valid. Behaviours become
    TimeSeries in processing module ``behavior``, at the samples' times or, beside spike counts, in the middle of the
    bins. What the provenance does not say of file and subject is filled in as for a simulation.

    Parameters
    ----------
    session : Session
        The recording.
    layout : Layout, optional
        How arrays are to lie on disk, if not in HDF5.

    Raises
    ------
    InputError
        If spike counts are not whole numbers from 0 up, or electrophysiological activity is no spike counts.
    """
    layout = layout or Layout()
    source = dict(session.provenance)
    if not source.get("subject"):
        source["subject"] = NO_ANIMAL
    nwbfile = new_nwbfile(
        source,
        description="A recording written by ndx-synapsnet.",
        # a recording that was read from a file is another file now, and gets an identifier of its own
        identifier=None if source.get("file_object_id") else source.get("identifier"),
    )
    if session.activity_kind == "spike_counts":
        _add_units(nwbfile, session)
    elif session.modality == "ophys":
        _add_rois(nwbfile, session, layout)
    else:
        raise InputError(
            f"electrophysiological activity of kind {session.activity_kind!r} has no place in NWB",
            where=session.label,
            remedy="Write spike counts, or give it the modality ophys.",
        )
    _add_behavior(nwbfile, session, layout)
    return nwbfile


def _as_written(session: Session, nwbfile: NWBFile) -> Neurons:
    """Return the session's neurons as rows of the table that was made for them."""
    units = session.activity_kind == "spike_counts"
    table = nwbfile.units if units else nwbfile.processing["ophys"]["ImageSegmentation"]["PlaneSegmentation"]
    n = session.n_neurons
    return replace(
        session.neurons,
        source_path=np.full(n, _UNITS if units else _ROIS),
        source_object_id=np.full(n, table.object_id),
        source_row=np.arange(n),
    )


def _add_units(nwbfile: NWBFile, session: Session) -> None:
    """Add the units with their spike times and the table's columns about neurons."""
    used = session.activity[:, session.valid]
    if (used < 0).any() or (used != np.round(used)).any():
        raise InputError(
            "the activity is called spike counts, but holds other numbers than whole ones from 0 up",
            where=session.label,
            remedy="Give the session the activity kind that it has.",
        )
    counts = np.where(session.valid, session.activity, 0).astype(np.int64)
    intervals = observed_intervals(session)
    units = Units(
        name="units",
        description="The neurons of the recording. Their spikes lie evenly inside the bins that were counted.",
        resolution=session.period / max(1, int(counts.max(initial=1))),
    )
    for unit_id, unit_counts in zip(_row_ids(session.neurons), counts, strict=True):
        units.add_unit(id=unit_id, spike_times=spike_times(session, unit_counts), obs_intervals=intervals)
    _add_columns(units, session.neurons, name_column="unit_name")
    nwbfile.units = units


def spike_times(session: Session, counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return spike times (s) that give `counts` (T,) in the session's bins, evenly spaced inside each bin."""
    bins = np.flatnonzero(counts)
    in_bin = counts[bins]
    place = np.repeat(bins, in_bin)
    number = np.arange(len(place)) - np.repeat(np.cumsum(in_bin) - in_bin, in_bin)
    # where rounding makes the next bin begin a little early, the spikes keep clear of it
    width = np.minimum(session.period, np.diff(session.times, append=np.inf))
    return np.asarray(session.times[place] + width[place] * (number + 0.5) / np.repeat(in_bin, in_bin))


def observed_intervals(session: Session) -> NDArray[np.float64]:
    """Return start and end (n, 2) in seconds of every run of valid samples in one segment."""
    known = np.flatnonzero(session.valid)
    if len(known) == 0:
        return np.zeros((0, 2))
    breaks = (np.diff(known) > 1) | (np.diff(session.segment[known]) != 0)
    first, last = known[np.r_[True, breaks]], known[np.r_[breaks, True]]
    following = np.append(session.times, np.inf)[last + 1]
    return np.column_stack([session.times[first], np.minimum(session.times[last] + session.period, following)])


def _row_ids(neurons: Neurons) -> list[int]:
    """Return the neurons' ids as numbers if all are numbers, else the row numbers."""
    plain = all(text.isdecimal() and str(int(text)) == text and int(text) < 2**31 for text in neurons.id.tolist())
    return [int(text) for text in neurons.id] if plain else list(range(len(neurons)))


def _add_columns(table: DynamicTable, neurons: Neurons, *, name_column: str) -> None:
    """Add what is known of the neurons to the table that they are rows of."""
    columns: dict[str, tuple[str, NDArray[Any]]] = {}
    if _row_ids(neurons) != [int(text) if text.isdecimal() else -1 for text in neurons.id.tolist()]:
        columns[name_column] = ("Name of the neuron.", neurons.id)
    if neurons.position is not None:
        for axis, name in enumerate("xyz"):
            if name != "z" or np.isfinite(neurons.position[:, axis]).any():
                columns[name] = (f"Position along {name}, in the unit of the source.", neurons.position[:, axis])
    if neurons.region is not None:
        columns["location"] = ("Brain region.", neurons.region)
    if neurons.cell_type is not None:
        columns["cell_type"] = ("Cell type.", neurons.cell_type)
    if neurons.identity is not None:
        parts = [text.split(":", 2) if text else ["", "", ""] for text in neurons.identity.tolist()]
        names = {part[1] for part in parts if len(part) == 3 and part[1]}
        if len(names) == 1 and all(len(part) == 3 for part in parts):
            values = np.array([part[2] for part in parts], dtype=np.str_)
            columns[names.pop()] = ("Recognises the neuron in other sessions.", values)
    for name, values in neurons.extra.items():
        columns.setdefault(name, (f"Column {name!r} of the source.", values))
    for name, (description, values) in columns.items():
        if name in table.colnames or name == "id" or "/" in name or ":" in name:
            continue
        data = values.tolist() if values.dtype.kind in "OSU" else values
        table.add_column(name=name, description=description, data=data)


def _add_rois(nwbfile: NWBFile, session: Session, layout: Layout) -> None:
    """Add a formal microscope and plane, one ROI a neuron, and the series of their activity."""
    device = nwbfile.create_device(name="Microscope", description="Not known.")
    plane = nwbfile.create_imaging_plane(
        name="ImagingPlane",
        description="The plane, or the volume, that the ROIs are in.",
        device=device,
        optical_channel=OpticalChannel(name="OpticalChannel", description="Not known.", emission_lambda=float("nan")),
        excitation_lambda=float("nan"),
        indicator="unknown",
        location="unknown",
    )
    rois = PlaneSegmentation(
        name="PlaneSegmentation",
        description="The neurons of the recording. Their masks are formal: one pixel each.",
        imaging_plane=plane,
    )
    for roi_id, pixel in zip(_row_ids(session.neurons), _pixels(session.neurons), strict=True):
        rois.add_roi(id=roi_id, pixel_mask=[(int(pixel[0]), int(pixel[1]), 1.0)])
    _add_columns(rois, session.neurons, name_column="roi_name")
    module = processing_module(nwbfile, "ophys")
    module.add(ImageSegmentation(name="ImageSegmentation", plane_segmentations=[rois]))
    events = session.activity_kind == "events"
    series = RoiResponseSeries(
        name="Deconvolved" if events else "RoiResponseSeries",
        description=f"Activity of the neurons: {session.activity_kind}. NaN: not to be used.",
        data=layout(np.ascontiguousarray(np.where(session.valid, session.activity, np.nan).T, dtype=np.float32)),
        unit=session.unit or "n.a.",
        rois=rois.create_roi_table_region(region=list(range(session.n_neurons)), description="All neurons."),
        **_clock(session.times, layout),
    )
    if session.activity_kind == "other":
        module.add(series)
        return
    container = DfOverF(name="DfOverF") if session.activity_kind == "dff" else Fluorescence(name="Fluorescence")
    module.add(container)
    container.add_roi_response_series(series)


def _pixels(neurons: Neurons) -> NDArray[np.int64]:
    """Return one pixel (N, 2) for each neuron: where it is, or the same for all if that is not known."""
    pixels = np.zeros((len(neurons), 2))
    if neurons.position is not None:
        pixels = np.clip(np.nan_to_num(np.round(neurons.position[:, :2])), 0, 2**31 - 1)
    return pixels.astype(np.int64)


def _add_behavior(nwbfile: NWBFile, session: Session, layout: Layout) -> None:
    """Add every behaviour as a series of its own."""
    # in the middle of a bin no rounding of times can move a value into the next one
    times = session.times + session.period / 2 if session.activity_kind == "spike_counts" else session.times
    for name, values in zip(session.behavior_names, session.behavior, strict=True):
        processing_module(nwbfile, "behavior").add(
            TimeSeries(
                name=name.replace("/", "_").replace(":", "_"),
                description=f"Behaviour {name}, one value for each sample of the activity. NaN: not measured.",
                data=layout(values),
                unit="n.a.",
                **_clock(times, layout),
            )
        )


def _clock(times: NDArray[np.float64], layout: Layout) -> dict[str, Any]:
    """Return a series' timing: a rate where the times keep to one, else the times themselves."""
    n = len(times)
    if n > 1:
        rate = (n - 1) / (times[-1] - times[0])
        # 30.000000000000004 is what dividing makes of 30
        for candidate in (round(rate, 6), rate):
            if candidate > 0 and np.abs(times[0] + np.arange(n) / candidate - times).max() < REGULAR:
                return {"starting_time": float(times[0]), "rate": float(candidate)}
    return {"timestamps": layout(times)}
