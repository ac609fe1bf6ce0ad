"""Undoes what pynwb does to the old content of a file that it appends to.

Appending with a newer pynwb changes more than it adds: it raises ``nwb_version``, renames the types of some old tables,
and keeps its own core schema beside the file's. A file with two versions of one schema is then read by the one whose
name sorts last as text ("2.4.0" after "2.11.0"), mixed with the newer of another: the old content stops being valid.
So the file keeps the schemas and the attributes it came with, and gains the schemas of extensions only.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from hdmf.backends.hdf5.h5tools import H5SpecWriter
from hdmf.backends.utils import NamespaceToBuilderHelper

from ..errors import missing_extra
from .compare import changed_attributes, paired_objects
from .versions import is_outdated

#: Root attribute that says which group the schemas are kept in.
SCHEMAS_AT = ".specloc"
_CORE = {"core", "hdmf-common", "hdmf-experimental"}


def has_schemas(place: h5py.File | Path) -> bool:
    """Return whether an open HDF5 file, or a Zarr folder, keeps the schemas it was written by."""
    return SCHEMAS_AT in (_read_json(place / ".zattrs") if isinstance(place, Path) else place.attrs)


def add_schemas(place: h5py.File | Path, catalog: Any) -> None:
    """Add the schemas of extensions to a file that keeps schemas; those that it has already are left alone.

    Beside earlier versions of this package's own one the present one is added.

    Parameters
    ----------
    place : h5py.File or Path
        An HDF5 file that is open for writing, or a Zarr folder.
    catalog : hdmf.spec.NamespaceCatalog
        What it was written by.
    """
    if not isinstance(place, Path):
        _write_missing(place[place.attrs[SCHEMAS_AT]], catalog, H5SpecWriter)
        return
    try:
        import zarr
        from hdmf_zarr.utils import ZarrSpecWriter
    except ImportError as error:
        raise missing_extra("hdmf-zarr", "zarr") from error
    root = zarr.open_group(str(place), mode="r+")
    location = root.attrs[SCHEMAS_AT]
    _write_missing(
        root[location.get("path", "/specifications") if isinstance(location, dict) else location],
        catalog,
        ZarrSpecWriter,
    )


def _write_missing(group: Any, catalog: Any, writer: Any) -> None:
    for name in catalog.namespaces:
        version = catalog.get_namespace(name).version
        kept = name in group and not is_outdated(name, version, group[name])
        if kept or (name in _CORE and "core" in group):
            continue
        place = group.create_group(f"{name}/{version}")
        NamespaceToBuilderHelper.convert_namespace(catalog, name).export("namespace", writer=writer(place))


def put_back_attributes(source: Path, copy: h5py.File | Path, *, without: Collection[str] = ()) -> None:
    """Give objects of `copy` the attributes that they have in `source`, where these were changed; keep added ones.

    Parameters
    ----------
    source : Path
        An HDF5 file, or a Zarr folder.
    copy : h5py.File or Path
        Its copy: an HDF5 file that is open for writing, or a folder.
    without : collection of str
        Absolute paths of objects that are gone from `copy`: what is there now is another one.
    """
    if not isinstance(copy, Path):
        with h5py.File(source, "r") as old:
            for _, a, b in paired_objects(old, copy, without):
                for name in changed_attributes(a, b) if type(a) is type(b) else ():
                    _copy_attribute(a, b, name)
        return
    for old_file in source.rglob(".zattrs"):
        place = old_file.relative_to(source)
        new_file = copy / place
        if any(Path(gone[1:]) in place.parents for gone in without):
            continue
        old_values, new_values = _read_json(old_file), _read_json(new_file)
        if any(json.dumps(new_values.get(name)) != json.dumps(value) for name, value in old_values.items()):
            new_file.write_text(json.dumps({**new_values, **old_values}, indent=4), encoding="utf-8")
    if (copy / ".zmetadata").exists():
        import zarr

        zarr.consolidate_metadata(str(copy))


def _copy_attribute(a: Any, b: Any, name: str) -> None:
    """Give `b` an attribute of `a`, of the same type and to the bit; in a copy of a file references stay right so."""
    if name in b.attrs:
        del b.attrs[name]
    old = a.attrs.get_id(name)
    space = old.get_space()
    new = h5py.h5a.create(b.id, name.encode(), old.get_type().copy(), space)
    if space.get_simple_extent_type() != h5py.h5s.NULL:
        value = np.empty(old.shape, old.dtype)
        old.read(value)
        new.write(value)


def _read_json(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}
