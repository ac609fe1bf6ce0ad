"""What of a file is looked at before pynwb opens it, because pynwb and hdmf read it whole while they open the file."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import h5py

from ...errors import InputError
from ..checks import MOST_NEURONS, as_text, require_here, require_size

_CONTAINER = "SynapsNetFit"
_REGION = "DynamicTableRegion"


def require_sound(file: Any, where: str) -> None:
    """Raise if a region of a result declares more rows than the file holds, or any of its values lie in another file.

    The texts about the session, which lie in the root and in ``general``, are not to declare more than there is either.

    Parameters
    ----------
    file : h5py.File or zarr.Group
        The open file, or the root of a store.
    where : str
        The file, for messages.

    Raises
    ------
    InputError
        With the object that is at fault.
    """
    for texts in (file, _get(file, "general")):
        for item in _inside(texts):
            if hasattr(item, "shape"):
                require_size(item, str(item.name), where=where)
    fits = list(_fits(file))
    for dataset in (each for fit in fits if isinstance(fit, h5py.Group) for each in _datasets(fit)):
        group, _, name = str(dataset.name).rpartition("/")
        require_here(dataset, name, where=f"{where}: {group}")  # HDF5 itself can crash on one that leads elsewhere
    for region in _regions(fits):
        place = f"{where}: {region.name}"
        require_size(region, "the region", where=place)
        if math.prod(region.shape or ()) > MOST_NEURONS:
            raise InputError(
                f"the region is of shape {region.shape}, more than there can be neurons",
                where=place,
            )


def _fits(file: Any) -> Iterator[Any]:
    """Yield the results of a file."""
    modules = _inside(_get(file, "processing"))
    return (fit for module in modules for fit in _inside(module) if _kind(fit) == _CONTAINER)


def _datasets(fit: h5py.Group) -> list[h5py.Dataset]:
    """Return the datasets of a result that can be opened."""
    found: list[h5py.Dataset] = []
    with suppress(Exception):  # damaged: for pynwb to say, which opens it next
        fit.visititems(lambda _, item: found.append(item) if isinstance(item, h5py.Dataset) else None)
    return found


def _regions(fits: list[Any]) -> Iterator[Any]:
    """Yield the regions of tables in results."""
    for item in (item for fit in fits for part in _inside(fit) for item in _inside(part)):
        if hasattr(item, "shape") and _kind(item) == _REGION:
            yield item


def _inside(group: Any) -> Iterator[Any]:
    """Yield what lies in a group, links left aside; nothing of what is none or cannot be opened."""
    try:
        names = list(group) if hasattr(group, "keys") else []
    except Exception:  # damaged: for pynwb to say, which opens it next
        return
    for name in names:
        yield _get(group, name)


def _get(group: Any, name: str) -> Any:
    try:
        if isinstance(group, h5py.Group) and not isinstance(group.get(name, getlink=True), h5py.HardLink):
            return None
        return group[name]
    except Exception:  # as above
        return None


def _kind(item: Any) -> str:
    try:
        return as_text(item.attrs.get("neurodata_type"))
    except Exception:  # as above
        return ""
