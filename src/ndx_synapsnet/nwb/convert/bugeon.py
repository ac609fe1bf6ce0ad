"""The calcium imaging of Bugeon et al. 2022: published arrays → one NWB file a session.

What the published activity (``frame.neuralActivity.npy``) went through, and the units of running speed and pupil size,
the arrays do not say: they are written as they are, as activity of unknown kind in no unit. Every experiment of a
session is a row of intervals table ``experiments``, with its task; brain states and the stimuli shown are tables too.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from hdmf.common import DynamicTable, VectorData
from pynwb import NWBFile, TimeSeries
from pynwb.ophys import ImageSegmentation, OpticalChannel, PlaneSegmentation, RoiResponseSeries

from ...errors import InputError
from .. import store
from ..layout import Layout
from ..metadata import new_nwbfile, processing_module
from ..sources import open_source
from .bugeon_intervals import add_intervals
from .bugeon_layout import SERIES, read_published
from .bugeon_session import PublishedSession

DATA_DOI = "10.6084/m9.figshare.19448531"
PAPER_DOI = "10.1038/s41586-022-04915-7"
_ABOUT = f"Converted from the arrays published with Bugeon et al. 2022 (doi:{PAPER_DOI}; data doi:{DATA_DOI})."
_SERIES_ABOUT = {
    "running_speed": "Running speed, in the unit it was published in. NaN: not measured.",
    "pupil_size": "Size of the pupil, in the unit it was published in. NaN: not measured.",
    "eye_x": "Horizontal position of the eye, in the unit it was published in. NaN: not measured.",
    "eye_y": "Vertical position of the eye, in the unit it was published in. NaN: not measured.",
}
_COLUMN_ABOUT = {
    "depth": "Depth below the brain's surface, as published.",
    "plane": "Number of the imaging plane.",
    "rf_center_x": "Horizontal centre of the receptive field, as published.",
    "rf_center_y": "Vertical centre of the receptive field, as published.",
}


@dataclass(frozen=True)
class Converted:
    """What became of a session."""

    path: Path
    """The NWB file."""
    n_neurons: int
    tasks: tuple[str, ...]
    """One for each experiment."""
    notes: tuple[str, ...]
    """What was left out, and what was assumed."""
    written: bool
    """False if the file was there already, made of the same arrays."""


def target_of(folder: str | os.PathLike[str], output: str | os.PathLike[str]) -> Path:
    """Return the file in folder `output` that the session in `folder` becomes."""
    place = Path(folder)
    return Path(output) / f"sub-{place.parent.name}_ses-{place.name.replace('-', '')}.nwb"


def convert_session(folder: str | os.PathLike[str], output: str | os.PathLike[str]) -> Converted:
    """Write one session as NWB.

    Parameters
    ----------
    folder : path
        The session's folder in the archive, such as ``SB025/2019-10-04``; see `bugeon_layout`.
    output : path
        A folder that is there; the file gets the session's name.

    Returns
    -------
    Converted
        The file, and what there is to know of it.

    Raises
    ------
    InputError
        If an array is missing, damaged or does not fit the others, or a file of that name but other content is there.

    Examples
    --------
    >>> for folder in session_folders(Path("Bugeon")):  # doctest: +SKIP
    ...     convert_session(folder, "converted")
    """
    published = read_published(Path(folder))
    path = target_of(folder, output)
    nwbfile = to_nwbfile(published)
    tasks = tuple(experiment.task for experiment in published.experiments)
    told = path, len(published.population.cell_type), tasks, tuple(published.notes)
    if path.exists():
        with open_source(path) as there:
            if there.nwbfile.identifier == nwbfile.identifier:
                return Converted(*told, written=False)
        raise InputError("is there already, and was made of other arrays", where=str(path), remedy="Move it away.")
    room = sum(experiment.activity.nbytes for experiment in published.experiments)
    store.create(path, nwbfile, room=room)
    return Converted(*told, written=True)


def to_nwbfile(published: PublishedSession) -> NWBFile:
    """Return a session as an NWBFile in memory.

    The activity is series ``NeuralActivity`` (frames x neurons) in processing module ``ophys``, behaviour is in module
    ``behavior``; the intervals tables are those of `add_intervals`. Names, sizes and SHA-256 checksums of all files
    that were read are table ``source_files`` in module ``misc``.
    """
    read = published.files.read.values()
    told = "".join(f"{one.sha256} {one.path}\n" for one in read)
    day = published.day
    nwbfile = new_nwbfile(
        {
            "session_id": f"{day:%Y%m%d}",
            "session_description": "Two-photon imaging of mouse primary visual cortex, whose interneurons' "
            "transcriptomic types were found afterwards in slices. The time of day is not known.",
            "session_start_time": datetime(day.year, day.month, day.day, tzinfo=timezone.utc).isoformat(),
            "institution": "University College London",
            "experimenter": ["Bugeon, Stephane"],
            "keywords": ["two-photon imaging", "visual cortex", "interneurons", "transcriptomic types"],
            "subject": {
                "subject_id": published.subject,
                "species": "Mus musculus",
                "age": "P0D/",
                "description": "A mouse; age and sex are not in the published arrays.",
            },
        },
        description=_ABOUT,
        identifier=f"bugeon-{published.subject}-{day}-{hashlib.sha256(told.encode()).hexdigest()[:32]}",
    )
    nwbfile.related_publications = [f"doi:{PAPER_DOI}", f"doi:{DATA_DOI}"]
    nwbfile.notes = "\n".join([_ABOUT, *published.notes])
    layout = Layout()
    _add_activity(nwbfile, published, layout)
    _add_behavior(nwbfile, published, layout)
    add_intervals(nwbfile, published)
    _add_files(nwbfile, published)
    return nwbfile


def _add_activity(nwbfile: NWBFile, published: PublishedSession, layout: Layout) -> None:
    """Add the neurons, one formal pixel each, and the activity of all experiments one after the other."""
    rois = _rois(nwbfile, published)
    module = processing_module(nwbfile, "ophys")
    module.add(ImageSegmentation(name="ImageSegmentation", plane_segmentations=[rois]))
    parts = list(zip(published.experiments, published.offsets, strict=True))
    # in order of time, which their order in the folder need not be
    parts.sort(key=lambda part: part[0].times[0] + part[1])
    n = len(published.population.cell_type)
    module.add(
        RoiResponseSeries(
            name="NeuralActivity",
            description="Activity as published (frame.neuralActivity.npy): what it went through is not stated there. "
            "NaN: not to be used.",
            data=layout(np.concatenate([experiment.activity for experiment, _ in parts])),
            unit="n.a.",
            timestamps=layout(np.concatenate([experiment.times + offset for experiment, offset in parts])),
            rois=rois.create_roi_table_region(region=list(range(n)), description="All neurons."),
        )
    )


def _rois(nwbfile: NWBFile, published: PublishedSession) -> PlaneSegmentation:
    population = published.population
    plane = nwbfile.create_imaging_plane(
        name="ImagingVolume",
        description="All imaging planes, at different depths of the cortex; column plane has their numbers.",
        device=nwbfile.create_device(name="Microscope", description="A two-photon microscope."),
        optical_channel=OpticalChannel(name="OpticalChannel", description="Not known.", emission_lambda=float("nan")),
        excitation_lambda=float("nan"),
        indicator="unknown",
        location="VISp",
    )
    rois = PlaneSegmentation(
        name="PlaneSegmentation",
        description="The neurons. Their masks are formal: one pixel each, where the neuron is.",
        imaging_plane=plane,
    )
    where = np.clip(np.nan_to_num(np.round(population.position[:, :2])), 0, 2**31 - 1)
    for row, (x, y) in enumerate(where.astype(np.int64).tolist()):
        rois.add_roi(id=row, pixel_mask=[(x, y, 1.0)])
    for axis, name in enumerate("xyz"):
        if np.isfinite(population.position[:, axis]).any():
            about = f"Position along {name}, as published (stackPosCorrected; z is the depth if that has two axes)."
            rois.add_column(name=name, description=about, data=population.position[:, axis])
    about = "Transcriptomic type; EC: excitatory, IN: an interneuron of unknown type."
    rois.add_column(name="cell_type", description=about, data=population.cell_type)
    about = "Recognises the neuron in other sessions of the mouse; empty if that is not known."
    rois.add_column(name="unique_id", description=about, data=population.unique_id)
    for name, values in population.columns.items():
        rois.add_column(name=name, description=_COLUMN_ABOUT[name], data=values)
    if population.type_probability is not None:
        about = "Probability of the likeliest transcriptomic type."
        rois.add_column(name="cell_type_probability", description=about, data=population.type_probability)
    if population.gene_count is not None:
        about = f"Copies of mRNA counted, gene by gene: {', '.join(published.genes) or 'names not known'}."
        rois.add_column(name="gene_count", description=about, data=population.gene_count)
    return rois


def _add_behavior(nwbfile: NWBFile, published: PublishedSession, layout: Layout) -> None:
    for name in SERIES:
        parts = [
            (times + offset, values)
            for experiment, offset in zip(published.experiments, published.offsets, strict=True)
            for times, values in [experiment.series.get(name, (None, None))]
            if times is not None and values is not None
        ]
        if not parts:
            continue
        parts.sort(key=lambda part: float(part[0][0]))
        processing_module(nwbfile, "behavior").add(
            TimeSeries(
                name=name,
                description=_SERIES_ABOUT[name],
                data=layout(np.concatenate([values for _, values in parts])),
                timestamps=layout(np.concatenate([times for times, _ in parts])),
                unit="n.a.",
            )
        )


def _add_files(nwbfile: NWBFile, published: PublishedSession) -> None:
    files = list(published.files.read.values())
    about = "Original files of this session, below the archive's folder, as they were when they were read."
    columns = [
        VectorData(name="file", description="Path.", data=[one.path for one in files]),
        VectorData(name="sha256", description="SHA-256 checksum.", data=[one.sha256 for one in files]),
        VectorData(name="size", description="Bytes.", data=[one.size for one in files]),
    ]
    module = nwbfile.create_processing_module(name="misc", description="Where the content comes from.")
    module.add(DynamicTable(name="source_files", description=about, columns=columns))
