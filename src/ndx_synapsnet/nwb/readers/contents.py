"""What a file offers to a fit, found without reading any bulk data."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ...session import Neurons
from ..sources import OpenedFile, open_source
from ..sources.bulk import pieces, values
from .behavior_series import candidates
from .binning import bins_between
from .catalog import Entry, walk
from .config import ReadConfig
from .description import BehaviorInfo, Contents, EpochsInfo, NeuronInfo, OtherInfo, SeriesInfo, UnitsInfo
from .epochs import interval_tables, rows_of
from .intervals import Intervals, length, merge
from .neurons.columns import IDENTITY_COLUMNS
from .neurons.planes import concatenated, id_prefixes
from .neurons.selection import chosen_rois, chosen_units
from .neurons.units import UNITS
from .provenance import file_record
from .ragged import row_bounds
from .reading import choose_adapter
from .roi_series import activity_kind, chosen_series, dimensions, roi_series, trace_kind
from .spikes import observation, spike_columns
from .table import column_named

#: Units whose first and last spike are looked at, where the file does not say how long it lasts.
_UNITS_ASKED = 32
#: Bytes of chunks, about, that may be read for that.
_BYTES_ASKED = 2**23
#: Timestamps that a series' period is taken from.
_STAMPS_ASKED = 256


def inspect(uri: str | os.PathLike[str], config: ReadConfig | None = None) -> Contents:
    """Look at what a file offers.

    Only tables' columns and a few time stamps are read, whatever the size of the recording.

    Parameters
    ----------
    uri : str or path
        An NWB file; see `sources.open_source`.
    config : ReadConfig, optional
        How it would be read, such as by a preset; the default otherwise.

    Raises
    ------
    InputError
        If it cannot be opened as NWB. A file that opens and cannot be fitted is described, with its `problems`.
    """
    with open_source(uri) as opened:
        return _Look(opened, config or ReadConfig()).contents()


@dataclass
class _Default:
    """The default read, as far as it is found out."""

    adapter: str | None = None
    neurons: Neurons | None = None
    n_samples: int | None = None
    period: float | None = None
    kind: str | None = None
    chosen: tuple[str, ...] = ()


class _Look:
    """One look at one file; gathers notes and problems on the way."""

    def __init__(self, opened: OpenedFile, config: ReadConfig) -> None:
        self.opened = opened
        self.nwbfile = opened.nwbfile
        self.entries = walk(self.nwbfile)
        self.config = config
        self.notes: list[str] = []
        self.problems: list[str] = []

    def contents(self) -> Contents:
        default = self.default()
        series = tuple(self.series_info(entry, default) for entry in roi_series(self.entries))
        units = self.units_info()
        behaviors = tuple(
            BehaviorInfo(c.entry.path, _unit(c.entry), _shape(c.entry.object) or (), _period(c.entry.object), c.default)
            for c in candidates(self.entries)
        )
        epochs = tuple(self.epochs_info(entry) for entry in interval_tables(self.entries))
        named = {item.path for group in (series, behaviors, epochs) for item in group}
        named |= {units.path} if units else set()
        return Contents(
            uri=self.opened.uri,
            format=self.opened.format,
            nwb_version=self.opened.nwb_version,
            about=file_record(self.nwbfile),
            adapter=default.adapter,
            n_neurons=None if default.neurons is None else len(default.neurons),
            n_samples=default.n_samples,
            period=default.period,
            activity_kind=default.kind,
            series=series,
            units=units,
            behaviors=behaviors,
            epochs=epochs,
            neurons=self.neuron_info(default),
            other=tuple(self.others(named)),
            notes=tuple(dict.fromkeys(self.notes)),
            problems=self.told_problems(),
        )

    def told_problems(self) -> tuple[str, ...]:
        from_pynwb = (f"pynwb says: {text}" for text in self.opened.warnings)
        return tuple(dict.fromkeys([*self.problems, *from_pynwb, *self.opened.absences()]))

    def problem(self, error: InputError) -> None:
        self.problems.append(str(error))

    def default(self) -> _Default:
        """Find out what `read_session` would read, step by step as far as it goes."""
        default = _Default()
        try:
            default.adapter = choose_adapter(self.nwbfile, self.entries, self.config)
            if default.adapter == "spikes":
                self.default_spikes(default)
            else:
                self.default_calcium(default)
        except InputError as error:
            self.problem(error)
        return default

    def default_spikes(self, default: _Default) -> None:
        default.kind, default.period = "spike_counts", self.config.width
        neurons, notes = chosen_units(self.nwbfile, self.config)
        default.neurons = neurons
        self.notes += notes
        data, index = spike_columns(self.nwbfile)
        starts, stops = row_bounds(index, len(data), where=f"{UNITS}/spike_times_index")
        seen = observation(self.nwbfile, neurons).union
        if len(seen) == 0 or not np.isfinite(seen).all():
            seen = _spiking(data, starts[neurons.source_row], stops[neurons.source_row])
        default.n_samples = bins_between(seen[0, 0], seen[-1, 1], self.config.width)

    def default_calcium(self, default: _Default) -> None:
        chosen, notes = chosen_series(self.entries, self.config)
        self.notes += notes
        default.chosen = tuple(entry.path for entry in chosen)
        default.kind = activity_kind(chosen[0])
        default.period = _period(chosen[0].object)
        default.n_samples = min(dimensions(entry)[0] for entry in chosen)
        planes = []
        for entry, prefix in zip(chosen, id_prefixes(chosen), strict=True):
            neurons, _, roi_notes = chosen_rois(
                self.nwbfile, self.entries, entry, self.config, prefix=prefix, masks=False
            )
            self.notes += roi_notes
            planes.append(neurons)
        default.neurons = concatenated(planes)

    def series_info(self, entry: Entry, default: _Default) -> SeriesInfo:
        n_samples = n_accepted = None
        try:
            n_samples = dimensions(entry)[0]
            n_accepted = len(chosen_rois(self.nwbfile, self.entries, entry, self.config, prefix="any:", masks=False)[1])
        except InputError as error:
            self.problem(error)
        return SeriesInfo(
            path=entry.path,
            kind=trace_kind(entry),
            unit=_unit(entry),
            shape=_shape(entry.object) or (),
            n_samples=n_samples,
            n_rois=len(entry.object.rois.data),
            n_accepted=n_accepted,
            period=_period(entry.object),
            default=entry.path in default.chosen,
        )

    def units_info(self) -> UnitsInfo | None:
        units = self.nwbfile.units
        if units is None:
            return None
        n_default = n_spikes = None
        try:
            n_default = len(chosen_units(self.nwbfile, self.config)[0])
            n_spikes = len(spike_columns(self.nwbfile)[0])
        except InputError as error:
            self.problem(error)
        return UnitsInfo(UNITS, len(units.id), n_default, n_spikes, tuple(units.colnames))

    def epochs_info(self, entry: Entry) -> EpochsInfo:
        rows = merge(rows_of(entry))
        start, stop = (float(rows[0, 0]), float(rows[-1, 1])) if len(rows) else (float("nan"), float("nan"))
        n_rows = len(entry.object.id)
        return EpochsInfo(entry.path, n_rows, tuple(entry.object.colnames), start, stop, length(rows))

    def neuron_info(self, default: _Default) -> NeuronInfo | None:
        neurons = default.neurons
        if neurons is None:
            return None
        tables = [self.nwbfile.units] if default.adapter == "spikes" else []
        tables += [e.object.rois.table for e in roi_series(self.entries) if e.path in default.chosen]
        masks = any(name in table.colnames for table in tables for name in ("pixel_mask", "voxel_mask", "image_mask"))
        found = {name for table in tables for wanted in IDENTITY_COLUMNS if (name := column_named(table, wanted))}
        return NeuronInfo(
            regions=_counted(neurons.region),
            cell_types=_counted(neurons.cell_type),
            has_position=neurons.position is not None or masks,
            identity_columns=tuple(sorted(found)),
        )

    def others(self, named: set[str]) -> Iterator[OtherInfo]:
        general = (
            ("/general/devices", self.nwbfile.devices),
            ("/general/extracellular_ephys", self.nwbfile.electrode_groups),
            ("/general/optophysiology", self.nwbfile.imaging_planes),
            ("/general", self.nwbfile.lab_meta_data),
        )
        objects = [Entry(f"{folder}/{name}", obj) for folder, group in general for name, obj in group.items()]
        for entry in [*self.entries, *objects]:
            if entry.path not in named:
                yield OtherInfo(entry.path, _type(entry.object), _shape(entry.object))


def _type(obj: Any) -> str:
    return str(getattr(obj, "neurodata_type", type(obj).__name__))


def _unit(entry: Entry) -> str:
    return str(entry.object.unit or "")


def _shape(obj: Any) -> tuple[int, ...] | None:
    """Return the shape of a series' data, or a table's rows and columns; None for anything else."""
    if hasattr(obj, "colnames"):
        return len(obj.id), len(obj.colnames)
    data = getattr(obj, "data", None)
    return None if data is None else tuple(int(n) for n in np.shape(data))


def _period(series: Any) -> float | None:
    """Return a series' sampling period, by its rate or its first timestamps."""
    if series.timestamps is None:
        rate = series.rate
        return 1.0 / float(rate) if rate is not None and np.isfinite(rate) and rate > 0 else None
    asked = slice(0, min(len(series.timestamps), _STAMPS_ASKED))
    times = values(series.timestamps, (asked,)).astype(np.float64)
    steps = np.diff(times[np.isfinite(times)])
    period = float(np.median(steps)) if len(steps) else 0.0
    return period if period > 0 else None


def _spiking(data: Any, starts: NDArray[np.int64], stops: NDArray[np.int64]) -> Intervals:
    """Return the time between the first and the last spike of some of the units, as one interval.

    Of fewer units where each takes a large chunk, which a remote file would have to send.
    """
    some = np.flatnonzero(stops > starts)
    chunk = math.prod(getattr(data, "chunks", None) or (1,)) * getattr(data, "dtype", np.dtype(np.float64)).itemsize
    n = min(len(some), _UNITS_ASKED, max(1, _BYTES_ASKED // (2 * chunk)))
    some = some[np.linspace(0, len(some) - 1, n).astype(int)]
    places = np.unique(np.concatenate([starts[some], stops[some] - 1]))
    found = [times for _, times in pieces(data, [(slice(at, at + 1),) for at in places.tolist()])]
    spikes = np.concatenate([np.zeros(0), *found])
    spikes = spikes[np.isfinite(spikes) & (spikes >= 0)]
    if len(spikes) == 0:
        raise InputError("the units have no spikes", where=UNITS)
    return np.array([[spikes.min(), spikes.max()]])


def _counted(labels: NDArray[np.str_] | None) -> dict[str, int]:
    return {} if labels is None else dict(Counter(labels.tolist()).most_common())
