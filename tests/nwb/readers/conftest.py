"""Builders of small NWB files: everything a test needs to know about its file stands in the test."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pynwb import NWBHDF5IO, NWBFile
from pynwb.base import TimeSeries
from pynwb.epoch import TimeIntervals
from pynwb.file import Subject
from pynwb.ophys import DfOverF, ImageSegmentation, OpticalChannel, PlaneSegmentation, RoiResponseSeries

START = datetime(2026, 11, 21, 12, 0, tzinfo=timezone.utc)


def set_timestamps(series: Any, times: Any) -> None:
    """Give a series timestamps that pynwb refuses on making one, but reads from files."""
    for name in ("rate", "starting_time", "starting_time_unit"):
        series.fields.pop(name, None)
    series.fields.update({"timestamps": np.asarray(times, dtype=float), "interval": 1, "timestamps_unit": "seconds"})


class Builder:
    """Makes NWB files in memory, and writes them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names = (folder / f"file{i}.nwb" for i in itertools.count())

    def file(self, **fields: Any) -> NWBFile:
        nwbfile = NWBFile(session_description="a test", identifier="test-file", session_start_time=START, **fields)
        nwbfile.subject = Subject(subject_id="mouse1", species="Mus musculus", sex="F", age="P90D")
        return nwbfile

    def write(self, nwbfile: NWBFile) -> Path:
        path = next(self.names)
        with NWBHDF5IO(path, "w") as io:
            io.write(nwbfile)
        return path

    def units(
        self,
        spikes: Sequence[Iterable[float]],
        *,
        observed: Sequence[Sequence[tuple[float, float]]] | None = None,
        electrodes: Sequence[Sequence[int]] | None = None,
        nwbfile: NWBFile | None = None,
        **columns: Sequence[Any],
    ) -> NWBFile:
        """A file with one unit for each sequence of spike times, and further columns."""
        nwbfile = nwbfile or self.file()
        for name in columns:
            nwbfile.add_unit_column(name, f"the {name}")
        for row, times in enumerate(spikes):
            fields: dict[str, Any] = {name: values[row] for name, values in columns.items()}
            if observed is not None:
                fields["obs_intervals"] = np.array(observed[row], dtype=float).reshape(-1, 2)
            if electrodes is not None:
                fields["electrodes"] = list(electrodes[row])
            nwbfile.add_unit(spike_times=np.array(list(times), dtype=float), **fields)
        return nwbfile

    def electrodes(self, nwbfile: NWBFile, locations: Sequence[str], *, ids: Sequence[int] | None = None) -> NWBFile:
        """Electrodes at x = 10, 20, ... in the given locations."""
        device = nwbfile.create_device("probe")
        group = nwbfile.create_electrode_group("shank", description="s", location="brain", device=device)
        for i, location in enumerate(locations):
            nwbfile.add_electrode(
                x=10.0 * (i + 1), y=1.0, z=2.0, location=location, group=group, id=i if ids is None else ids[i]
            )
        return nwbfile

    def plane(
        self, nwbfile: NWBFile, n_rois: int, *, name: str = "plane", columns: dict[str, Any] | None = None
    ) -> Any:
        """A plane segmentation of `n_rois` ROIs, each a pixel mask of two pixels: (row, 0) and (row, 2)."""
        device = nwbfile.devices.get("microscope") or nwbfile.create_device("microscope")
        imaging_plane = nwbfile.create_imaging_plane(
            name=f"imaging_{name}",
            optical_channel=OpticalChannel(name="green", description="g", emission_lambda=520.0),
            description="p",
            device=device,
            excitation_lambda=920.0,
            indicator="GCaMP6s",
            location="V1",
        )
        table = PlaneSegmentation(name=name, description="ROIs", imaging_plane=imaging_plane)
        for row in range(n_rois):
            table.add_roi(pixel_mask=[(row, 0, 1.0), (row, 2, 1.0)])
        for column, values in (columns or {}).items():
            table.add_column(name=column, description=column, data=values)
        module = self.module(nwbfile, "ophys")
        if "segmentation" not in module.data_interfaces:
            module.add(ImageSegmentation(name="segmentation"))
        module["segmentation"].add_plane_segmentation(table)
        return table

    def module(self, nwbfile: NWBFile, name: str) -> Any:
        return nwbfile.processing.get(name) or nwbfile.create_processing_module(name, f"the {name}")

    def rois(
        self,
        values: Any,
        *,
        nwbfile: NWBFile | None = None,
        table: Any = None,
        rows: Sequence[int] | None = None,
        container: type = DfOverF,
        container_name: str | None = None,
        module: str = "ophys",
        name: str = "RoiResponseSeries",
        n_rois: int | None = None,
        columns: dict[str, Any] | None = None,
        **timing: Any,
    ) -> NWBFile:
        """A file with one ROI series of `values` (T, N); 10 Hz from 0 s unless `timing` says otherwise."""
        nwbfile = nwbfile or self.file()
        values = np.asarray(values)
        if table is None:
            table = self.plane(nwbfile, n_rois or values.shape[1], columns=columns)
        region = table.create_roi_table_region("all", region=list(rows if rows is not None else range(len(table.id))))
        times = timing.pop("timestamps", None)
        if times is not None or "rate" not in timing:
            timing["rate"] = 10.0
        series = RoiResponseSeries(name=name, data=values, rois=region, unit=timing.pop("unit", "n.a."), **timing)
        if times is not None:
            set_timestamps(series, times)
        holder = self.module(nwbfile, module)
        container_name = container_name or container.__name__
        if container_name not in holder.data_interfaces:
            holder.add(container(name=container_name))
        holder[container_name].add_roi_response_series(series)
        return nwbfile

    def behavior(self, nwbfile: NWBFile, name: str, values: Any, *, kind: type = TimeSeries, **fields: Any) -> NWBFile:
        """A series in processing/behavior, at 10 Hz from 0 s unless `fields` say otherwise."""
        times = fields.pop("timestamps", None)
        module = self.module(nwbfile, fields.pop("module", "behavior"))
        fields = {"unit": "cm/s", "rate": 10.0} | fields
        module.add(kind(name=name, data=np.asarray(values), **fields))
        if times is not None:
            set_timestamps(module[name], times)
        return nwbfile

    def epochs(
        self, nwbfile: NWBFile, name: str, rows: Sequence[tuple[float, float]], **columns: Sequence[Any]
    ) -> NWBFile:
        """A table of time intervals with further columns."""
        table = TimeIntervals(name=name, description="epochs")
        for column in columns:
            table.add_column(name=column, description=column)
        for i, (start, stop) in enumerate(rows):
            table.add_row(start_time=start, stop_time=stop, **{column: columns[column][i] for column in columns})
        nwbfile.add_time_intervals(table)
        return nwbfile


@pytest.fixture
def build(tmp_path: Path) -> Builder:
    return Builder(tmp_path)
