"""Damage done to objects, links, attributes and texts in the HDF5 file of a result: each function says what it did."""

from __future__ import annotations

from random import Random
from typing import Any

import h5py
import numpy as np

from . import nasty
from .hdf5_values import named, regions
from .targets import Targets, attributes, put

_TYPES = (
    "NWBFile", "SynapsNetFit", "NeuronEmbeddings", "FunctionalConnectivity", "ActivityForecast", "InputCurrents",
    "FitProvenance", "DynamicTable", "DynamicTableRegion", "VectorData", "VectorIndex", "ElementIdentifiers",
    "TimeSeries", "ProcessingModule", "Units", "Subject", "ImageSeries", "NoSuchType", "", "NWBContainer", "Data",
)  # fmt: skip
_PLACES = ("/nowhere", "/", "/processing", ".", "/specifications", "/units", "/general", "/acquisition")
_FILES = ("nowhere.nwb", "../../nowhere.nwb", "/etc/passwd", "/dev/zero", "/dev/null", "/proc/self/mem", ".", "")


def region_table(file: h5py.File, targets: Targets, rng: Random) -> str:
    """Let a region be of another table, or of something that is none."""
    path = rng.choice(regions(file, targets))
    to = rng.choice([*targets.groups, *targets.datasets, path])
    null = rng.random() < 0.1
    file[path].attrs["table"] = h5py.Reference() if null else file[to].ref
    return f"{path} is of {'nothing' if null else to}"


def remove(file: h5py.File, targets: Targets, rng: Random) -> str:
    """Take an object or an attribute out."""
    path = targets.object(rng)
    names = list(file[path].attrs)
    if names and rng.random() < 0.5:
        name = rng.choice(names)
        del file[path].attrs[name]
        return f"{path} without {name}"
    del file[path]
    return f"without {path}"


def extra(file: h5py.File, targets: Targets, rng: Random) -> str:
    """Add an object that does not belong there."""
    path = targets.pick(rng, targets.groups)
    name = rng.choice([*_TYPES[1:8], "odd", rng.choice(nasty.TEXTS)]).replace("/", "_").replace("\0", "") or "x"
    name = f"{name[:200]}_" if name in file[path] or name in (".", "..") else name[:200]
    place = file[path]
    made = place.create_group(name) if rng.random() < 0.5 else place.create_dataset(name, data=np.arange(3.0))
    if rng.random() < 0.7:
        made.attrs["neurodata_type"] = rng.choice(_TYPES)
        made.attrs["namespace"] = rng.choice(("ndx-synapsnet", "core", "hdmf-common", "none"))
        made.attrs["object_id"] = rng.choice(("", "x", "b0b0b0b0-0000-4000-8000-000000000001"))
    return f"{name!r} in {path}"


def attribute(file: h5py.File, targets: Targets, rng: Random) -> str:
    """Give an attribute a value of another kind."""
    path = targets.pick(rng, targets.groups + targets.datasets)
    item = file[path]
    names = list(item.attrs)
    if not names:
        return remove(file, targets, rng)
    name = rng.choice(names)
    odd: list[Any] = [
        0, -1, 2**62, 1.5, float("nan"), True, "", "text", rng.choice(nasty.TEXTS).replace("\0", ""),
        np.bytes_(rng.choice(nasty.BYTES)),
        np.zeros(0), np.zeros((2, 2)), np.arange(8_000.0), np.array(["a", "b"], dtype=object), np.array([b"a"]),
        h5py.Empty("f4"), h5py.Empty(h5py.string_dtype()), item.ref, h5py.Reference(), np.array([1 + 2j]),
        np.array([item.ref], dtype=h5py.ref_dtype), np.void(b"\0\1"), np.zeros(2, [("a", "i4")]),
    ]  # fmt: skip
    value = rng.choice(odd)
    del item.attrs[name]
    item.attrs[name] = np.array(value, dtype=h5py.string_dtype()) if _of_objects(value) else value
    return f"{path}@{name} is {str(value)[:40]!r}"


def _of_objects(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "O" and not h5py.check_ref_dtype(value.dtype)


def kind(file: h5py.File, targets: Targets, rng: Random) -> str:
    """Call an object by another type or namespace."""
    paths = [path for path in targets.groups + targets.datasets if "neurodata_type" in file[path].attrs]
    path = targets.pick(rng, paths)
    name = rng.choice(("neurodata_type", "neurodata_type", "neurodata_type", "namespace"))
    value = rng.choice(_TYPES) if name == "neurodata_type" else rng.choice(("core", "hdmf-common", "other", ""))
    file[path].attrs[name] = value
    return f"{path} is called {value!r}"


def swap(file: h5py.File, targets: Targets, rng: Random) -> str:
    """Let two objects change places, or one be a group where it was a dataset and the reverse."""
    first, second = targets.object(rng), targets.object(rng)
    if rng.random() < 0.4 or first.startswith(second) or second.startswith(first):
        kept, group = attributes(file[first]), isinstance(file[first], h5py.Group)
        del file[first]
        made = file.create_dataset(first, data=np.arange(3)) if group else file.create_group(first)
        for name, value in kept.items():
            made.attrs[name] = value
        return f"{first} is a {'dataset' if group else 'group'}"
    file.move(first, "/between")
    file.move(second, first)
    file.move("/between", second)
    return f"{first} and {second} have changed places"


def links(file: h5py.File, targets: Targets, rng: Random) -> str:
    """Put a link in an object's place: to nowhere, to itself, to what it lies in, out of the file."""
    path = targets.object(rng)
    above = path.rpartition("/")[0] or "/"
    way = rng.randrange(6)
    if way == 0:
        to: Any = h5py.SoftLink(rng.choice([*_PLACES, path, above, *targets.groups, *targets.datasets]))
    elif way == 1:
        to = h5py.ExternalLink(rng.choice([*_FILES, "self"]), rng.choice(["/", path, "/nowhere"]))
    elif way == 2:
        to = file[above]
    elif way == 3:
        to = file["/"]
    else:
        to = file[rng.choice(targets.groups + targets.datasets)]
    if rng.random() < 0.6 or way == 2:
        place = path if way != 2 else f"{path}_"
        if way != 2:
            del file[path]
    else:
        place = f"{above.rstrip('/')}/{rng.choice(('more', 'again', 'effective', 'neurons', 'forecast'))}"
        if place in file or file.get(place, getlink=True) is not None:
            del file[place]
    file[place] = to
    told = getattr(to, "path", None) or to.name
    return f"{place} leads to {getattr(to, 'filename', '')}{told}"


def storage(file: h5py.File, targets: Targets, rng: Random) -> str:
    """Let a dataset's values lie in another file, or be put together from others."""
    path = targets.dataset(rng)
    old = file[path]
    kind_ = np.dtype("f4") if old.dtype.kind == "O" else old.dtype
    shape_ = old.shape or (3,)
    if rng.random() < 0.5:
        put(file, path, shape=shape_, dtype=kind_, external=[(rng.choice(_FILES) or "x", 0, h5py.h5f.UNLIMITED)])
        return f"{path} lies in another file"
    kept = attributes(old)
    del file[path]
    layout = h5py.VirtualLayout(shape=shape_, dtype=kind_)
    layout[...] = h5py.VirtualSource(
        rng.choice((".", "nowhere.nwb", "/etc/passwd")), rng.choice((path, "/x")), shape=shape_
    )
    made = file.create_virtual_dataset(path, layout)
    for name, value in kept.items():
        made.attrs[name] = value
    return f"{path} is virtual"


def texts(file: h5py.File, targets: Targets, rng: Random) -> str:
    """Put odd texts into datasets and attributes."""
    paths = [path for path in targets.datasets if h5py.check_string_dtype(file[path].dtype) and file[path].shape]
    if rng.random() < 0.5:
        path = targets.pick(rng, paths)
        item = file[path]
        values = item[()]
        if not len(values):
            return attribute(file, targets, rng)
        odd: Any = rng.choice(nasty.BYTES if rng.random() < 0.15 else nasty.TEXTS)
        odd = odd.replace("\0", "") if isinstance(odd, str) else odd
        if rng.random() < 0.3:
            values[:] = odd
        elif rng.random() < 0.05:
            values[rng.randrange(len(values))] = "x" * 3_000_000
        else:
            values[rng.randrange(len(values))] = odd
        item[()] = values
        return f"text in {path}: {odd!r:.40}"
    path = targets.pick(rng, targets.groups)
    item = file[path]
    names = [name for name in item.attrs if isinstance(item.attrs[name], str)]
    if not names:
        return attribute(file, targets, rng)
    name, text = rng.choice(names), rng.choice(nasty.TEXTS).replace("\0", "")
    item.attrs[name] = text
    return f"{path}@{name}: {text!r:.40}"


def rename(file: h5py.File, targets: Targets, rng: Random) -> str:
    """Give an object an odd name, as far as HDF5 can have it."""
    path = targets.object(rng)
    above = path.rpartition("/")[0] or "/"
    name: Any = rng.choice(nasty.BYTES if rng.random() < 0.1 else nasty.TEXTS)
    if isinstance(name, str):
        name = name.replace("/", "\N{DIVISION SLASH}").replace("\0", "").encode() or b" "
    if name in (b".", b"..") or name in file[above]:
        name += b"_"
    file[above].id.move(path.rpartition("/")[2].encode(), name)
    return f"{path} is called {name!r:.40}"


def ids(file: h5py.File, targets: Targets, rng: Random) -> str:
    """Let two objects, or two neurons, have the same id."""
    if rng.random() < 0.4:
        path = rng.choice(named(targets, "neuron_id"))
        file[path][...] = file[path][0]
        return f"all neurons of {path} alike"
    paths = [path for path in targets.groups + targets.datasets if "object_id" in file[path].attrs]
    first, second = targets.pick(rng, paths), rng.choice(paths)
    file[first].attrs["object_id"] = file[second].attrs["object_id"]
    return f"{first} has the id of {second}"


def columns(file: h5py.File, targets: Targets, rng: Random) -> str:
    """Let a table name other columns, or other predictors, than it has."""
    tables = [path for path in targets.groups if "colnames" in file[path].attrs]
    path = targets.pick(rng, tables)
    name = "predictors" if "predictors" in file[path].attrs and rng.random() < 0.4 else "colnames"
    names = [str(one) for one in file[path].attrs[name]]
    odd = rng.choice(nasty.TEXTS).replace("\0", "")
    ways: list[list[Any]] = [
        names[::-1], names * 2, names[:-1], [], [*names, "none"], [*names, odd], [odd] * len(names), [*names, "id"],
        [*names, "name"], [*names, "parent"], ["x"] * 2_000, names[1:] + names[:1], ["mean", *names],
        [*names, *names[:1]],
    ]  # fmt: skip
    chosen = rng.choice(ways)
    file[path].attrs[name] = np.array(chosen, dtype=h5py.string_dtype())
    return f"{path}@{name}: {str(chosen)[:60]}"


def schemas(file: h5py.File, targets: Targets, rng: Random) -> str:
    """Damage the copy of the schema that the file carries, if it does."""
    places: list[str] = []
    if "specifications" in file:
        file["specifications"].visititems(
            lambda name, item: places.append(name) if isinstance(item, h5py.Dataset) else None
        )
    if not places:
        return kind(file, targets, rng)
    name = rng.choice([place for place in places if rng.random() < 0.3 or "synapsnet" in place] or places)
    path = f"/specifications/{name}"
    text = file[path][()].decode()
    ways = [
        text[: len(text) // 2], "", "null", "[]", "{}", '{"groups": 3}', text.replace("NWBDataInterface", "NoSuchType"),
        text.replace("DynamicTable", "SynapsNetFit"), text.replace("float32", "nothing"), "[" * 100_000,
        text.replace("weights", rng.choice(nasty.TEXTS).replace('"', "").replace("\\", "")),
        text.replace("text", "int"),
        text.replace("0.", "9."), text.replace("quantity", "quality"), text.replace("neurodata_type_def", "name"),
        text.replace("FunctionalConnectivity", "VectorData"), text.replace('"name"', '"doc"'),
    ]  # fmt: skip
    choice = rng.randrange(len(ways))
    put(file, path, data=ways[choice].replace("\0", ""))
    return f"{path}, way {choice}"
