"""Neurons of a ROI series: rows of a plane segmentation."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....session import Neurons
from ...sources.bulk import BLOCK, reach, values
from ..catalog import Entry
from ..config import ReadConfig
from ..table import as_text, column, column_named
from .columns import CELL_TYPE_COLUMNS, REGION_COLUMNS, extras, identities, known, labels, positions, row_ids

#: Columns that mark a ROI as a cell, and as none. suite2p's ``iscell`` is (rows, 2): the mark and its probability.
ACCEPTED_COLUMNS = ("is_cell", "iscell", "accepted", "valid_roi")
REJECTED_COLUMNS = ("rejected",)
_MAX_PIXELS = 50_000_000
_MAX_IMAGE_BYTES = 256 * 2**20


def roi_neurons(
    table: Any,
    path: str,
    config: ReadConfig,
    subject: str,
    *,
    masks: bool = True,
    names: NDArray[np.str_] | None = None,
) -> Neurons:
    """Return all rows of a plane segmentation as neurons.

    Position is that of the centroid columns, else the centre of mass of the masks, in the masks' pixels (z is NaN
    where they are flat). Region is that of the table's columns, else the imaging plane's location.

    Parameters
    ----------
    table : PlaneSegmentation or another DynamicTable
        The table that a ROI series refers to.
    path : str
        Its path in the file.
    config : ReadConfig
        Names the identity column and extra columns.
    subject : str
        What identities begin with.
    masks : bool
        Whether masks may be read for want of centroid columns; they can be large.
    names : array of str, optional
        What the neurons are called where each has a name, as a worm's have; the cell type for want of a column.

    Raises
    ------
    InputError
        If a column that `config` names is not there.
    """
    n = len(table.id)
    position = positions(table)
    region = labels(table, REGION_COLUMNS)
    cell_type = labels(table, CELL_TYPE_COLUMNS)
    if region is None and plane_location(table):
        region = np.full(n, plane_location(table))
    return Neurons(
        id=row_ids(table),
        source_path=np.full(n, path),
        source_object_id=np.full(n, table.object_id),
        source_row=np.arange(n),
        identity=None
        if config.identity_column is None
        else identities(table, config.identity_column, subject, where=path),
        position=mask_centroids(table) if position is None and masks else position,
        region=region,
        cell_type=names if cell_type is None else cell_type,
        extra=extras(table, config.extra_columns, where=path),
    )


def plane_location(table: Any) -> str:
    """Return the location of the table's imaging plane or volume; empty if it has none."""
    plane = getattr(table, "imaging_plane", None) or getattr(table, "imaging_volume", None)
    text = str(getattr(plane, "location", None) or "").strip()
    return "" if text.lower() in ("unknown", "none", "n/a") else text


def roi_names(entries: list[Entry], table: Any, path: str) -> NDArray[np.str_] | None:
    """Return the names that a file gives to the rows of a ROI table, empty where it gives none; None without any.

    They are the table's own ``labels``, or those of the one SegmentationLabels (both of ndx-multichannel-volume) in
    its module that has as many. Numbers are no names.
    """
    module = path.split("/")[:3]
    own = [] if "labels" in table.colnames else [table]  # a column of that name is something else
    holders = own + [
        entry.object
        for entry in entries
        if getattr(entry.object, "neurodata_type", "") == "SegmentationLabels" and entry.path.split("/")[:3] == module
    ]
    found = []
    for holder in holders:
        values = getattr(holder, "labels", None)
        if values is not None and np.shape(values) == (len(table.id),):
            text = as_text(values[:])
            found.append(np.where(np.char.isnumeric(text), "", text))
    return found[0] if len(found) == 1 and (found[0] != "").any() else None


def accepted(table: Any) -> tuple[NDArray[np.bool_] | None, str]:
    """Return which rows the file marks as cells, and the marking in words.

    The mask is None where there is no such column or it makes no difference: marking none as a cell is how a file
    that nobody has looked through says so.
    """
    for names, word in ((ACCEPTED_COLUMNS, True), (REJECTED_COLUMNS, False)):
        for name in table.colnames:
            marks = _marks(table, name) if name.lower() in names else None
            if marks is not None and (marks == word).any():
                return (None, "") if (marks == word).all() else (marks == word, f"{name} is {int(not word)}")
    return None, ""


def _marks(table: Any, name: str) -> NDArray[np.bool_] | None:
    """Return a column of marks as a mask (rows,); None if it is something else."""
    data = table[name].data
    if len(np.shape(data)) == 2 and np.shape(data)[1] in (1, 2):
        values = np.asarray(data[:])[:, 0]
    elif column_named(table, name):
        values = column(table, name)
    else:
        return None
    if values.dtype.kind in "biuf":
        return np.asarray(np.nan_to_num(values.astype(np.float64)) != 0)
    return np.isin([str(value).lower() for value in values], ["true", "1", "yes", "cell", name.lower()])


def mask_centroids(table: Any) -> NDArray[np.float64] | None:
    """Return the masks' centres of mass (rows, 3) in pixels; None where there are no masks, or too large ones."""
    for name in ("pixel_mask", "voxel_mask"):
        if name in table.colnames:
            where = _sparse_centroids(table[name])
            if where is not None and known(where):
                return where
    if "image_mask" in table.colnames:
        where = _image_centroids(table["image_mask"].data)
        if where is not None and known(where):
            return where
    return None


def _sparse_centroids(index: Any) -> NDArray[np.float64] | None:
    stops = np.asarray(index.data[:], dtype=np.int64)
    if not hasattr(index, "target") or len(index.target.data) > _MAX_PIXELS:
        return None
    pixels = values(index.target.data)
    counts = np.diff(stops, prepend=0)
    if (counts < 0).any() or len(pixels) != counts.sum():
        return None
    if pixels.dtype.names is None:  # a list of (x, y, weight) or (x, y, z, weight) that was never written
        pixels = pixels.reshape(len(pixels), -1)
        axes, weight = [pixels[:, i] for i in range(pixels.shape[1] - 1)], pixels[:, -1]
    else:
        axes, weight = [pixels[name] for name in ("x", "y", "z") if name in pixels.dtype.names], pixels["weight"]
    row = np.repeat(np.arange(len(counts)), counts)
    weight = np.nan_to_num(np.asarray(weight, dtype=np.float64), posinf=0.0, neginf=0.0)
    mass = np.bincount(row, weight, len(counts))
    where = np.full((len(counts), 3), np.nan)
    for i, axis in enumerate(axes[:3]):
        moment = np.bincount(row, weight * axis, len(counts))
        where[:, i] = np.divide(moment, mass, out=np.full(len(counts), np.nan), where=mass > 0)
    return where


def _image_centroids(masks: Any) -> NDArray[np.float64] | None:
    shape = np.shape(masks)
    # a mask of one line is a flattened image: its centre says nothing
    if len(shape) not in (3, 4) or min(shape[1:3]) < 2 or np.prod(shape) * 8 > _MAX_IMAGE_BYTES:
        return None
    where = np.full((shape[0], 3), np.nan)
    for row, mask in enumerate(_images(masks)):
        if mask.sum() > 0:
            for axis in range(mask.ndim):
                along = mask.sum(axis=tuple(a for a in range(mask.ndim) if a != axis))
                where[row, axis] = along @ np.arange(len(along)) / mask.sum()
    return where


def _images(masks: Any) -> Iterator[NDArray[np.float64]]:
    """Yield one mask after the other, zero where it is not finite, from reads of many."""
    shape, chunk = np.shape(masks), reach(masks)[0]
    step = max(1, BLOCK // (8 * math.prod(shape[1:]) * chunk)) * chunk
    for start in range(0, shape[0], step):
        part = slice(start, min(start + step, shape[0]))
        block = values(masks, (part, *(slice(None) for _ in shape[1:])))
        yield from (np.nan_to_num(mask.astype(np.float64)) for mask in block)
