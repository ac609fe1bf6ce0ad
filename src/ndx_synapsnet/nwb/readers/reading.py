"""NWBFile → Session: the reader of the activity, then behaviour, stimuli and provenance on its clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pynwb import NWBFile
from pynwb.ecephys import ElectricalSeries

from ...errors import InputError
from ...session import Session
from .activity import Activity
from .behavior import read_behavior
from .calcium import read_calcium
from .catalog import Entry, of_type, walk
from .clock import Clock
from .config import ReadConfig
from .epochs import invalid_intervals
from .intervals import covered_seconds
from .provenance import config_record, file_record
from .roi_series import roi_series, trace_kind
from .spikes import read_spikes
from .stimulus import read_stimulus

#: Adapter → reader of activity.
READERS: dict[str, Callable[[NWBFile, ReadConfig], Activity]] = {
    "calcium": read_calcium,
    "spikes": read_spikes,
}


def read_nwbfile(
    nwbfile: NWBFile,
    config: ReadConfig | None = None,
    *,
    origin: Mapping[str, Any] | None = None,
    warnings: Sequence[str] = (),
) -> Session:
    """Read an open NWB file.

    Parameters
    ----------
    nwbfile : NWBFile
        An open file, or one in memory.
    config : ReadConfig, optional
        What to read.
    origin : mapping, optional
        What the provenance begins with: ``uri``, ``format`` and ``nwb_version`` of a file.
    warnings : sequence of str
        What pynwb said on opening the file; what concerns the objects that are read goes into the notes.

    Returns
    -------
    Session
        Activity, behaviour and neurons on one clock.

    Raises
    ------
    InputError
        If the file does not hold what `config` asks for, or holds it in a way that cannot be read.
    """
    config = config or ReadConfig()
    adapter = choose_adapter(nwbfile, walk(nwbfile), config)
    activity = READERS[adapter](nwbfile, config)
    return with_covariates(activity, nwbfile, config, reader=adapter, origin=origin, warnings=warnings)


def with_covariates(
    activity: Activity,
    nwbfile: NWBFile,
    config: ReadConfig,
    *,
    reader: str,
    origin: Mapping[str, Any] | None = None,
    warnings: Sequence[str] = (),
) -> Session:
    """Return activity with the behaviour, stimuli and invalid times that a file has on the same clock.

    Parameters
    ----------
    activity : Activity
        Of one population.
    nwbfile : NWBFile
        The open file, or one of those, that it was read from.
    config : ReadConfig
        What to read.
    reader : str
        The adapter that read the activity.
    origin, warnings
        See `read_nwbfile`.

    Raises
    ------
    InputError
        If the file does not hold what `config` asks for.
    """
    entries = walk(nwbfile)
    clock, notes = activity.clock, list(activity.notes)
    valid = _without_invalid_times(activity.valid, clock, nwbfile, config, notes)
    behavior = read_behavior(entries, clock, config)
    stimulus = read_stimulus(entries, clock, config)
    notes += [*behavior.notes, *stimulus.notes]
    sources = [*activity.sources, *behavior.records, *stimulus.records]
    notes += _concerning({source["path"].rsplit("/", 1)[-1] for source in sources}, warnings)
    provenance = {
        **(origin or {}),
        **file_record(nwbfile),
        "reader": reader,
        "read_config": config_record(config),
        "series": list(activity.sources),
        "behavior": [*behavior.records, *stimulus.records],
        "notes": notes,
    }
    return Session(
        activity=activity.values,
        times=clock.times,
        period=clock.period,
        segment=clock.segment,
        valid=valid,
        behavior=np.concatenate([behavior.values, stimulus.values]),
        behavior_names=(*behavior.names, *stimulus.names),
        neurons=activity.neurons,
        activity_kind=activity.kind,
        unit=activity.unit,
        modality=activity.modality,
        provenance=provenance,
    )


def choose_adapter(nwbfile: NWBFile, entries: list[Entry], config: ReadConfig) -> Literal["calcium", "spikes"]:
    """Return the adapter that `config` names, or else the one that fits what the file has.

    Raises
    ------
    InputError
        If the file has neither units with spike times nor ROI series.
    """
    if config.adapter != "auto":
        return config.adapter
    series = [entry for entry in roi_series(entries) if trace_kind(entry) != "neuropil"] or roi_series(entries)
    units = nwbfile.units
    n_units = len(units.id) if units is not None and "spike_times" in units.colnames else 0
    n_rois = max((len(entry.object.rois.data) for entry in series), default=0)
    if config.series or n_rois > n_units:
        return "calcium"
    if n_units:
        return "spikes"
    fields = [entry.path for entry in of_type(entries, ElectricalSeries)]
    if fields:
        raise InputError(
            f"the file has no units and no ROI series, only potentials ({', '.join(fields)}), which are not read",
            remedy="Where an archive has a file of LFP for each probe, take the session's own file instead",
        )
    raise InputError(
        "the file has neither units with spike times nor ROI series: there is no activity of neurons to read",
        remedy="See what it has with: ndx-synapsnet inspect",
    )


def _concerning(names: set[str], warnings: Sequence[str]) -> list[str]:
    # that a series is stored the other way round is something the reader sees to, and says itself
    told = [text for text in warnings if "transposed" not in text]
    return [f"pynwb says: {text}" for text in told if any(f"'{name}'" in text for name in names)]


def _without_invalid_times(
    valid: NDArray[np.bool_], clock: Clock, nwbfile: NWBFile, config: ReadConfig, notes: list[str]
) -> NDArray[np.bool_]:
    intervals = invalid_intervals(nwbfile)
    if len(intervals) == 0 or not config.respect_invalid_times:
        return valid
    spoilt = covered_seconds(intervals, *clock.spans()) > 0
    if not (valid & ~spoilt).any():
        raise InputError(
            "every sample lies in the file's invalid times",
            where="/intervals/invalid_times",
            remedy="Read it all the same with respect_invalid_times off",
        )
    if (valid & spoilt).any():
        notes.append(f"{int(spoilt.sum())} of {len(valid)} samples lie in the file's invalid_times, and are not valid")
    return valid & ~spoilt
