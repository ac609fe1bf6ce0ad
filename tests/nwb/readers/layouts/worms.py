"""Small files in the layout of the worms' archives, such as 000692."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from embedding import add_object, dataset, embed, kind, retype
from imaging import add_series, even, imaging_plane, new_file, write
from pynwb.ophys import Fluorescence, ImageSegmentation, RoiResponseSeries

VOLUME = "ndx-multichannel-volume"


def worm(path: Path, traces: Any, *, labels: Sequence[str], references: Any = None) -> Path:
    """Write a worm of 000692: GCaMP `traces` (T, N) at 4 Hz in a volume, with the neurons' names.

    Parameters
    ----------
    path : Path
        Where to.
    traces : array (T, N)
        Fluorescence.
    labels : sequence of str
        Names of the neurons, one a ROI.
    references : array (T, N), optional
        Fluorescence of the second channel, which other worm data sets have over the same ROIs.
    """
    nwbfile = new_file("20230918-9-54-0", identifier="20230918-9-54-0")
    plane = imaging_plane(nwbfile, "CalciumImVol", "Worm head")
    module = nwbfile.create_processing_module("CalciumActivity", "calcium")
    segmentation = ImageSegmentation(name="SegmentationVol1")
    module.add(segmentation)
    table = segmentation.create_plane_segmentation(name="Seg_tpoint_1", description="ROIs", imaging_plane=plane)
    n = np.shape(traces)[1]
    for row in range(n):
        table.add_roi(voxel_mask=[(row, 1, 3, 1.0), (row, 3, 5, 1.0)])
    for prefix, data in (("Signal", traces), ("Reference", references)):
        if data is not None:
            rois = table.create_roi_table_region(description="all", region=list(range(n)))
            name = f"{prefix}CalciumImResponseSeries"
            series = even(name, data, "lumens", 4.0, 0.0, RoiResponseSeries, rois=rois)
            add_series(module, Fluorescence(name=f"{prefix}RawFluor"), series)
    write(nwbfile, path)
    with h5py.File(path, "r+") as file:
        _embed_volume_types(file)
        retype(file["general/subject"], "CElegansSubject", VOLUME)
        file["general/subject/growth_stage"] = "YA"
        volume = file["general/optophysiology/CalciumImVol"]
        retype(volume, "ImagingVolume", VOLUME)
        channel = volume["channel_1"]
        retype(channel, "OpticalChannelPlus", VOLUME)
        channel["emission_range"], channel["excitation_range"] = [500.0, 540.0], [480.0, 490.0]
        channel["excitation_lambda"] = 488.0
        order = add_object(volume, "order_optical_channels", "OpticalChannelReferences", VOLUME)
        order["channels"] = ["488-525-50m"]
        raw = add_object(file["acquisition"], "NeuroPALImageRaw", "MultiChannelVolume", VOLUME)
        raw["description"], raw["data"] = "an image", np.zeros((2, 2, 2, 2), np.uint16)
        raw["imaging_volume"] = h5py.SoftLink(volume.name)
        names = add_object(file["processing/CalciumActivity"], "NeuronIDs", "SegmentationLabels", VOLUME)
        names["labels"], names["description"] = list(labels), "names of the neurons"
        names["ImageSegmentation"] = h5py.SoftLink("/processing/CalciumActivity/SegmentationVol1")
    return path


def _embed_volume_types(file: h5py.File) -> None:
    """Store ndx-multichannel-volume, whose volume is an imaging plane."""
    order = {"name": "order_optical_channels", "neurodata_type_inc": "OpticalChannelReferences", "doc": "their order"}
    channels = {"neurodata_type_inc": "OpticalChannelPlus", "doc": "a channel", "quantity": "*"}
    link = {"name": "imaging_volume", "target_type": "ImagingVolume", "doc": "the volume"}
    to_table = {"name": "ImageSegmentation", "target_type": "ImageSegmentation", "doc": "of what", "quantity": "?"}
    text = [dataset("labels", "text"), dataset("description", "text", None)]
    image = [dataset("description", "text", None), dataset("data", "uint16", (None, None, None, None))]
    bands = [dataset(name, "float32", (2,)) for name in ("emission_range", "excitation_range")]
    types = [
        kind("OpticalChannelReferences", "NWBDataInterface", datasets=[dataset("channels", "text")]),
        kind("OpticalChannelPlus", "OpticalChannel", datasets=[*bands, dataset("excitation_lambda", "float32", None)]),
        kind("ImagingVolume", "ImagingPlane", groups=[channels, order]),
        kind("MultiChannelVolume", "NWBDataInterface", datasets=image, links=[link]),
        kind("SegmentationLabels", "NWBDataInterface", datasets=text, links=[to_table]),
        kind("CElegansSubject", "Subject", datasets=[dataset("growth_stage", "text", None)]),
    ]
    embed(file, VOLUME, "0.1.10", types)
