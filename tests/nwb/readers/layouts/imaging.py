"""Small files in the layouts of the calcium imaging archives: 000728, 000711 and 000402."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from embedding import START, add_object, attribute, dataset, embed, kind, retype
from pynwb import NWBHDF5IO, NWBFile, TimeSeries
from pynwb.behavior import BehavioralTimeSeries, EyeTracking, PupilTracking, SpatialSeries
from pynwb.file import Subject
from pynwb.ophys import DfOverF, Fluorescence, ImageSegmentation, OpticalChannel, RoiResponseSeries

EYES = "ndx-ellipse-eye-tracking"
EVENTS = "ndx-aibs-ophys-event-detection"
TASK = "ndx-aibs-behavior-ophys"
TEMPLATE = "ndx-aibs-stimulus-template"


def new_file(subject: str, **fields: Any) -> NWBFile:
    nwbfile = NWBFile(session_start_time=START, session_description="a session", **fields)
    nwbfile.subject = Subject(subject_id=subject, species="Mus musculus", sex="M", age="P118D")
    return nwbfile


def imaging_plane(nwbfile: NWBFile, name: str, location: str) -> Any:
    device = nwbfile.devices.get("Microscope") or nwbfile.create_device("Microscope")
    channel = OpticalChannel(name="channel_1", description="a channel", emission_lambda=520.0)
    return nwbfile.create_imaging_plane(
        name=name, optical_channel=channel, description="a plane", device=device, excitation_lambda=910.0,
        indicator="GCaMP6f", location=location,
    )  # fmt: skip


def write(nwbfile: NWBFile, path: Path) -> Path:
    with NWBHDF5IO(path, "w") as io:
        io.write(nwbfile)
    return path


def add_series(module: Any, container: Any, *series: Any) -> None:
    """Add ROI series in a container; it comes first, for a series must be in the file of its ROIs."""
    module.add(container)
    for item in series:
        container.add_roi_response_series(item)


def even(name: str, data: Any, unit: str, rate: float, start: float = 0.0, kind: Any = TimeSeries, **more: Any) -> Any:
    return kind(name=name, data=np.asarray(data), unit=unit, rate=rate, starting_time=start, **more)


def visual_coding(path: Path, traces: Any) -> Path:
    """Write a session of 000728 with dF/F `traces` (T, N) at 30 Hz; timestamps lie on ``Corrected`` only."""
    traces = np.asarray(traces)
    times = 10 + np.arange(len(traces)) / 30
    nwbfile = new_file("222425", identifier="501559087", session_id="501559087-StimB")
    plane = imaging_plane(nwbfile, "ImagingPlane", "VISp")
    ophys = nwbfile.create_processing_module("ophys", "ophys")
    segmentation = ImageSegmentation(name="ImageSegmentation")
    ophys.add(segmentation)
    table = segmentation.create_plane_segmentation(name="PlaneSegmentation", description="ROIs", imaging_plane=plane)
    for row in range(traces.shape[1]):
        table.add_roi(pixel_mask=[(row, 0, 1.0), (row, 2, 1.0)])
    table.add_column(name="global_roi_id", description="id", data=[5000 + row for row in range(traces.shape[1])])
    region = table.create_roi_table_region(description="all", region=list(range(traces.shape[1])))

    def series(name: str, data: Any, when: Any = None) -> RoiResponseSeries:
        return RoiResponseSeries(
            name=name, data=data, rois=region, unit="a.u.", timestamps=corrected if when is None else when
        )

    corrected = series("Corrected", 100 + traces, times)
    others = [series(name, 200 + traces) for name in ("Raw", "Demixed", "Neuropil")]
    add_series(ophys, Fluorescence(name="Fluorescence"), corrected, *others)
    events = series("DfOverFEvents", (traces > 0).astype(float))
    add_series(ophys, DfOverF(name="DfOverF"), series("DfOverF", traces), events)
    behavior = nwbfile.create_processing_module("behavior", "behavior")
    speed = TimeSeries(name="running_speed", data=times * 2, unit="cm/s", timestamps=times)
    behavior.add(BehavioralTimeSeries(name="BehavioralTimeSeries", time_series=[speed]))
    pupil = TimeSeries(name="pupil_size", data=times * 3, unit="px", timestamps=speed)
    behavior.add(PupilTracking(name="PupilTracking", time_series=[pupil]))
    nwbfile.add_epoch_column("stimulus_name", "name")
    middle = float(times[len(times) // 2])
    nwbfile.add_epoch(start_time=float(times[0]), stop_time=middle, stimulus_name="spontaneous")
    nwbfile.add_epoch(start_time=middle, stop_time=float(times[-1]), stimulus_name="natural_movie_one")
    return write(nwbfile, path)


def visual_behavior(
    path: Path,
    traces: Any,
    times: Any,
    *,
    experiment: int,
    session: int = 951410079,
    subject: str = "457841",
    valid: Sequence[bool] | None = None,
    ids: Sequence[int] | None = None,
    group: int = 0,
) -> Path:
    """Write one plane of a session of 000711.

    Parameters
    ----------
    path : Path
        Where to.
    traces : array (T, N)
        dF/F.
    times : array (T,)
        Timestamps of the plane's frames.
    experiment : int
        Number of the plane.
    session : int
        Number of the session, the same for all its planes.
    subject : str
        The mouse.
    valid : sequence of bool, optional
        ROIs that are cells.
    ids : sequence of int, optional
        Cell specimen ids.
    group : int
        Number of the pair of planes that are imaged at once.
    """
    traces, times = np.asarray(traces), np.asarray(times, dtype=float)
    n = traces.shape[1]
    nwbfile = new_file(subject, identifier=str(experiment), institution="Allen Institute for Brain Science")
    plane = imaging_plane(nwbfile, "imaging_plane_1", "VISp" if group == 0 else "VISl")
    ophys = nwbfile.create_processing_module("ophys", "Ophys processing module")
    segmentation = ImageSegmentation(name="image_segmentation")
    ophys.add(segmentation)
    table = segmentation.create_plane_segmentation(name="cell_specimen_table", description="rois", imaging_plane=plane)
    for row in range(n):
        table.add_roi(id=1000 * experiment + row, image_mask=np.eye(6, dtype=bool))
    ids = list(range(1086500000, 1086500000 + n)) if ids is None else list(ids)
    boxes = {"x": [10 * row for row in range(n)], "y": [5] * n, "width": [4] * n, "height": [2] * n}
    for name, values in {"cell_specimen_id": ids, **boxes, "valid_roi": list(valid or [True] * n)}.items():
        table.add_column(name=name, description=name, data=values)

    def series(data: Any, when: Any, name: str = "traces") -> RoiResponseSeries:
        rois = table.create_roi_table_region(description="cells", region=list(range(n)))
        return RoiResponseSeries(name=name, data=data, rois=rois, unit="NA", timestamps=when)

    dff = series(traces, times)
    add_series(ophys, DfOverF(name="dff"), dff)
    for name in ("corrected_fluorescence", "demixed_trace", "neuropil_trace"):
        add_series(ophys, Fluorescence(name=name), series(50 + traces, dff))
    ophys.add(series((traces > 0).astype(float), dff, "event_detection"))
    for axis in "xy":
        ophys.add(
            TimeSeries(name=f"ophys_motion_correction_{axis}", data=np.zeros(len(times)), unit="pixels", timestamps=dff)
        )
    flips = np.arange(8.0, 18.0, 1 / 60)  # the session's, the same in the file of every plane
    running = nwbfile.create_processing_module("running", "Running speed processing module")
    for name in ("speed", "speed_unfiltered", "dx"):
        running.add(TimeSeries(name=name, data=flips * 2, unit="cm/s", timestamps=flips))
    for name in ("v_in", "v_sig"):
        nwbfile.add_acquisition(TimeSeries(name=name, data=flips, unit="V", timestamps=flips))
    stimulus = nwbfile.create_processing_module("stimulus", "Stimulus Times processing")
    stimulus.add(TimeSeries(name="timestamps", data=flips, unit="s", timestamps=flips))
    rewards = nwbfile.create_processing_module("rewards", "rewards")
    rewards.add(TimeSeries(name="volume", data=[0.007], unit="mL", timestamps=[float(times[1])]))
    licking = nwbfile.create_processing_module("licking", "licking")
    licking.add(TimeSeries(name="licks", data=[1, 2], unit="NA", timestamps=times[:2]))
    frames = np.arange(9.0, 17.0, 1 / 60)
    parts = ("eye_tracking", "pupil_tracking", "corneal_reflection_tracking")
    eyes = EyeTracking(name="EyeTracking")
    for name in parts:
        where = np.column_stack([frames, -frames])
        eyes.add_spatial_series(SpatialSeries(name=name, data=where, reference_frame="nose", timestamps=frames))
    nwbfile.add_acquisition(eyes)
    nwbfile.add_trial_column("go", "go")
    nwbfile.add_trial(start_time=float(times[0]), stop_time=float(times[-1]), go=True)
    write(nwbfile, path)
    with h5py.File(path, "r+") as file:
        _embed_allen_types(file, session=session, experiment=experiment, group=group)
        _ellipses(file["acquisition/EyeTracking"], parts, frames)
        events = file["processing/ophys/event_detection"]
        retype(events, "OphysEventDetection", EVENTS)
        events["lambdas"], events["noise_stds"] = np.ones(n), np.ones(n)
    return path


def _ellipses(eyes: h5py.Group, parts: Sequence[str], frames: Any) -> None:
    """Make the spatial series of eye tracking into ellipses, every tenth of them without an area: a blink."""
    retype(eyes, "EllipseEyeTracking", EYES)
    for name in parts:
        retype(eyes[name], "EllipseSeries", EYES)
        eyes[name]["data"].attrs["unit"] = "meters"
        area = 100.0 + frames
        eyes[name]["area_raw"] = area
        eyes[name]["area"] = np.where(np.arange(len(frames)) % 10 == 0, np.nan, area)
        for other in ("width", "height", "angle"):
            eyes[name][other] = np.ones(len(frames))
    blink = add_object(eyes, "likely_blink", "TimeSeries", "core", description="blinks", comments="none")
    blink["data"] = np.arange(len(frames)) % 10 == 0
    blink["data"].attrs.update({"unit": "N/A", "conversion": 1.0, "resolution": -1.0})
    blink["timestamps"] = h5py.SoftLink(f"{eyes.name}/{parts[1]}/timestamps")


def _embed_allen_types(file: h5py.File, *, session: int, experiment: int, group: int) -> None:
    """Store the Allen Institute's four extensions, and an object of the two that pynwb knows nothing of."""
    shapes = [dataset(name, "float") for name in ("area", "area_raw", "width", "height", "angle")]
    place = {**dataset("data", "float", (None, 2)), "dims": ["num_times", "x, y"]}
    ellipse = kind("EllipseSeries", "SpatialSeries", datasets=[place, *shapes])
    named = [
        {"neurodata_type_inc": "EllipseSeries", "name": name, "doc": name}
        for name in ("eye_tracking", "pupil_tracking", "corneal_reflection_tracking")
    ]
    blink = {"neurodata_type_inc": "TimeSeries", "name": "likely_blink", "doc": "blinks"}
    tracking = {**kind("EllipseEyeTracking", "EyeTracking", groups=[*named, blink]), "default_name": "EyeTracking"}
    embed(file, EYES, "0.1.0", [ellipse, tracking])
    events = kind(
        "OphysEventDetection",
        "RoiResponseSeries",
        datasets=[dataset("lambdas", "float"), dataset("noise_stds", "float")],
    )
    embed(file, EVENTS, "0.1.0", [{**events, "name": "event_detection"}])
    whole = (
        "ophys_experiment_id",
        "ophys_session_id",
        "imaging_plane_group",
        "imaging_plane_group_count",
        "imaging_depth",
    )
    attributes = [*(attribute(name, "int") for name in whole), attribute("session_type", "text")]
    metadata = kind("OphysBehaviorMetadata", "LabMetaData", attributes=attributes)
    embed(file, TASK, "0.1.0", [{**metadata, "name": "metadata"}])
    images = [dataset(name, "float", (None, None, None)) for name in ("unwarped",)]
    embed(file, TEMPLATE, "0.1.0", [kind("StimulusTemplate", "ImageSeries", datasets=images)])
    values = {"ophys_experiment_id": experiment, "ophys_session_id": session, "imaging_plane_group": group}
    more = {"imaging_plane_group_count": 4, "imaging_depth": 175, "session_type": "OPHYS_1_images_A"}
    add_object(file["general"], "metadata", "OphysBehaviorMetadata", TASK, **values, **more)
    template = add_object(
        file["stimulus/templates"], "images", "StimulusTemplate", TEMPLATE, description="d", comments="none"
    )
    template["data"] = np.zeros((2, 3, 3))
    template["data"].attrs.update({"unit": "NA", "conversion": 1.0, "resolution": -1.0})
    template["unwarped"] = np.zeros((2, 3, 3))
    template["format"] = "raw"
    template["timestamps"] = np.arange(2.0)
    template["timestamps"].attrs.update({"interval": 1, "unit": "seconds"})


def microns(path: Path, fields: Sequence[Any], *, delay: float = 0.02) -> Path:
    """Write a scan of 000402 with fluorescence (T, N) of each field at 6.3 Hz, each `delay` s after the last."""
    nwbfile = new_file("17797", identifier="61f7f823", session_id="4-scan-10")
    ophys = nwbfile.create_processing_module("ophys", "processed 2p data")
    segmentation, fluorescence = ImageSegmentation(), Fluorescence()
    ophys.add(segmentation)
    ophys.add(fluorescence)
    for number, traces in enumerate(fields, start=1):
        plane = imaging_plane(nwbfile, f"ImagingPlane{number}", "VISp")
        table = segmentation.create_plane_segmentation(
            name=f"PlaneSegmentation{number}", description="ROIs", imaging_plane=plane
        )
        n = np.shape(traces)[1]
        for row in range(n):
            mask = np.zeros((6, 12), dtype=np.float32)
            mask[row, number] = mask[row, number + 2] = 1
            table.add_roi(image_mask=mask)
        table.add_column(name="mask_type", description="type", data=["soma"] * (n - 1) + ["artifact"])
        rois = table.create_roi_table_region(description=f"all rois in field {number}", region=list(range(n)))
        fluorescence.add_roi_response_series(
            even(f"RoiResponseSeries{number}", traces, "n.a.", 6.3009, number * delay, RoiResponseSeries, rois=rois)
        )
    seconds = np.arange(0, 60, 1 / 80)
    nwbfile.add_acquisition(even("treadmill_velocity", np.sin(seconds), "m/s", 80.0))
    pupil = [even(f"pupil_{name}_radius", 20 + np.cos(seconds), "px", 80.0) for name in ("major", "minor")]
    nwbfile.add_acquisition(PupilTracking(name="PupilTracking", time_series=pupil))
    where = even(
        "eye_position", np.column_stack([seconds, seconds]), "px", 80.0, 0.0, SpatialSeries, reference_frame="px"
    )
    nwbfile.add_acquisition(EyeTracking(name="EyeTracking", spatial_series=where))
    return write(nwbfile, path)
