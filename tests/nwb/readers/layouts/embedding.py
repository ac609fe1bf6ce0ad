"""Makes objects of a written file into those of an extension that nobody has installed.

pynwb writes plain core objects; these functions then change their types in the HDF5 file and store the extension's
specification in it, as the archives' files have it. A reader meets the extension through that specification only.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

import h5py
import numpy as np

START = datetime(2019, 1, 19, 9, 30, tzinfo=timezone.utc)


def embed(file: h5py.File, name: str, version: str, groups: Sequence[dict[str, Any]], *, whole: bool = False) -> None:
    """Store an extension's specification.

    Parameters
    ----------
    file : h5py.File
        Open for writing.
    name : str
        Of the extension.
    version : str
        Of the extension.
    groups : sequence of dict
        Its types in the NWB specification language.
    whole : bool
        Whether it includes the core schema as a whole, and not only the types that its own are made of.
    """
    source = f"{name}.extension"
    own = {group["neurodata_type_def"] for group in groups}
    parts = [part for group in groups for part in (group, *group.get("groups", ()), *group.get("links", ()))]
    named = {part.get("neurodata_type_inc", part.get("target_type")) for part in parts}
    core: dict[str, Any] = {"namespace": "core"} | ({} if whole else {"neurodata_types": sorted(named - own)})
    namespace = {
        "name": name,
        "version": version,
        "doc": "an extension",
        "author": "somebody",
        "contact": "somebody@example.org",
        "schema": [core, {"source": source}],
    }
    folder = file.require_group(f"specifications/{name}/{version}")
    folder["namespace"] = json.dumps({"namespaces": [namespace]})
    folder[source] = json.dumps({"groups": list(groups)})


def retype(group: h5py.Group, kind: str, namespace: str, **attributes: Any) -> None:
    """Make a stored object one of another type."""
    group.attrs["neurodata_type"] = kind
    group.attrs["namespace"] = namespace
    for name, value in attributes.items():
        group.attrs[name] = value


def add_object(parent: h5py.Group, name: str, kind: str, namespace: str, **attributes: Any) -> h5py.Group:
    """Store an object that pynwb has no class for."""
    group = parent.create_group(name)
    number = abs(hash_text(group.name))
    retype(group, kind, namespace, object_id=f"00000000-0000-4000-8000-{number:012d}", **attributes)
    return group


def hash_text(text: str) -> int:
    """A number for a text, the same in every process."""
    return int(np.frombuffer(text.encode(), dtype=np.uint8).astype(np.int64) @ (1 + np.arange(len(text.encode()))))


def dataset(name: str, dtype: str, shape: Any = (None,), *, quantity: Any = 1) -> dict[str, Any]:
    """The specification of a dataset; no shape for a scalar."""
    spec: dict[str, Any] = {"name": name, "dtype": dtype, "doc": name}
    if shape is not None:
        spec["shape"] = list(shape)
    if quantity != 1:
        spec["quantity"] = quantity
    return spec


def attribute(name: str, dtype: str, *, required: bool = True) -> dict[str, Any]:
    """The specification of an attribute."""
    return {"name": name, "dtype": dtype, "doc": name} | ({} if required else {"required": False})


def kind(name: str, base: str, **parts: Any) -> dict[str, Any]:
    """The specification of a type with its datasets, groups, links and attributes."""
    return {"neurodata_type_def": name, "neurodata_type_inc": base, "doc": name, **parts}
