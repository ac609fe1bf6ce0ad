"""Damage done to the NWB-Zarr store of a result: to its JSON, its chunks and its folders."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from . import nasty

_METADATA = (".zattrs", ".zarray", ".zgroup", ".zmetadata")
_SOURCES = (
    "../../elsewhere.zarr",
    "/etc",
    "/",
    "..",
    "nowhere.zarr",
    "http://127.0.0.1:9/x",
    "s3://bucket/x",
    "./",
    "",
    3,
)
_TYPES = (
    "NWBFile",
    "SynapsNetFit",
    "NeuronEmbeddings",
    "DynamicTableRegion",
    "VectorData",
    "TimeSeries",
    "None",
    "",
    3,
)

#: What the metadata of an array may say instead.
_ODD: dict[str, tuple[Any, ...]] = {
    "shape": ([], [0], [5], [-1], [2**40], [2**62, 4], [4, 4], "x", None, [1.5], [True], [2**28]),
    "chunks": ([], [0], [1], [-1], [2**40], [2**62], [2**30], "x", None, [4, 4]),
    "dtype": (
        "|O", "<f4", ">f8", "<i8", "<U1000000", "|S2000000000", "|V8", "<M8[ns]", "x", None, [["a", "<f4"]], "|b1",
        "<c16",
    ),
    "compressor": (
        None, {"id": "zlib"}, {"id": "pickle"}, {"id": "none"}, {"id": "zstd"}, {"id": "../x"}, 3,
        {"id": "gzip", "level": 99},
    ),
    "filters": (
        [{"id": "pickle"}], [{"id": "pickle", "protocol": 4}], [{"id": "vlen-utf8"}], [{"id": "json2"}], 3, [None], [],
        [{"id": "msgpack2"}], [{"id": "vlen-bytes"}], [{"id": "delta", "dtype": "<i8"}],
    ),
    "fill_value": (None, "x", 2**70, "NaN", [], 1e400),
    "order": ("X", None, "F"),
    "zarr_format": (1, 3, "2", None),
    "dimension_separator": ("/", "x", None),
}  # fmt: skip

Mutation = Callable[["Store", Random], str]


class Store:
    """A copy of a store that may be damaged, the two copies of its metadata together or apart."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fits = {
            one.parent for one in path.rglob(".zattrs") if b'"SynapsNetFit"' in one.read_bytes()
        }  # fmt: skip
        files = sorted(one for one in path.rglob("*") if one.is_file())
        self.ours = [one for one in files if any(fit in one.parents for fit in self._fits)]
        self.consolidated: dict[str, Any] = json.loads((path / ".zmetadata").read_text())

    def pick(self, rng: Random, name: str | None = None) -> Path:
        """Return a file of ours: metadata of a name, or a chunk."""
        return rng.choice([one for one in self.ours if (one.name == name if name else one.name not in _METADATA)])

    def read(self, file: Path) -> Any:
        """Return the content of a metadata file."""
        return json.loads(file.read_text())

    def write(self, file: Path, content: Any) -> None:
        """Put other content in place of a metadata file's, in the consolidated copy too."""
        self.put(file, json.dumps(content).encode())
        self.consolidated["metadata"][file.relative_to(self.path).as_posix()] = content
        self.put(self.path / ".zmetadata", json.dumps(self.consolidated).encode())

    def put(self, file: Path, content: bytes) -> None:
        """Put other bytes in place of a file's; files are shared with the whole store until then."""
        file.unlink()
        file.write_bytes(content)

    def named(self, file: Path) -> str:
        """Return the path of a file in the store."""
        return file.relative_to(self.path).as_posix()


def array(store: Store, rng: Random) -> str:
    """Change what the metadata of an array say."""
    file = store.pick(rng, ".zarray")
    content = store.read(file)
    key = rng.choice(list(_ODD))
    content[key] = rng.choice(_ODD[key])
    if rng.random() < 0.1:
        content.pop(key)
    store.write(file, content)
    return f"{store.named(file)}: {key} is {str(content.get(key))[:60]}"


def pickles(store: Store, rng: Random) -> str:
    """Put a pickle in place of a chunk, and let the metadata, or one copy of them, say that it is one."""
    file = store.pick(rng, ".zarray")
    content = store.read(file)
    changed = {
        **content,
        "dtype": "|O",
        "filters": [{"id": "pickle", "protocol": 4}],
        "compressor": None,
        "fill_value": 0,
    }
    way = rng.randrange(3)
    if way == 0:
        store.write(file, changed)
    elif way == 1:
        store.put(file, json.dumps(changed).encode())
    else:
        store.consolidated["metadata"][store.named(file)] = changed
        store.put(store.path / ".zmetadata", json.dumps(store.consolidated).encode())
    for chunk in file.parent.iterdir():
        if chunk.name not in _METADATA:
            store.put(chunk, nasty.PICKLE)
    return f"{store.named(file.parent)} holds pickles, way {way}"


def attribute(store: Store, rng: Random) -> str:
    """Change an attribute."""
    file = store.pick(rng, ".zattrs")
    content = store.read(file)
    key = rng.choice(list(content))
    odd = [
        None,
        0,
        -1,
        2**80,
        1.5,
        float("nan"),
        True,
        [],
        {},
        [[1]],
        {"a": 1},
        rng.choice(nasty.TEXTS),
        rng.choice(_TYPES),
        [rng.choice(nasty.TEXTS)],
    ]
    if rng.random() < 0.2:
        del content[key]
    elif key == "neurodata_type":
        content[key] = rng.choice(_TYPES)
    else:
        content[key] = rng.choice(odd)
    store.write(file, content)
    return f"{store.named(file)}: {key}"


def references(store: Store, rng: Random) -> str:
    """Let a reference or a link lead out of the store, to nowhere or to what it lies in."""
    files = [one for one in store.ours if one.name == ".zattrs" and b'"source"' in one.read_bytes()]
    file = rng.choice(files)
    content = store.read(file)
    places = [
        place
        for place in nasty.places(content)
        if place[1] in ("source", "path", "source_object_id", "object_id", "name")
    ]
    for holder, key in rng.sample(places, min(len(places), rng.choice((1, 2)))):
        holder[key] = rng.choice(
            _SOURCES if key != "path" else ("/", "..", "../../x", "/processing", "/nowhere", "", None, "/etc/passwd")
        )
    if rng.random() < 0.5:
        for holder, key in places:
            if key == "source_object_id":
                holder[key] = "other"
    store.write(file, content)
    return f"references of {store.named(file)}"


def json_text(store: Store, rng: Random) -> str:
    """Put a bomb or rubbish in place of a metadata file."""
    file = rng.choice(
        [store.pick(rng, name) for name in (".zattrs", ".zarray")] + [store.path / ".zmetadata", store.path / ".zattrs"]
    )
    text, said = nasty.json_text(rng, file.read_text())
    store.put(file, text.encode("utf-8", "replace"))
    if rng.random() < 0.7 and file.name != ".zmetadata":
        (store.path / ".zmetadata").unlink()
    return f"{store.named(file)}: {said}"


def chunk(store: Store, rng: Random) -> str:
    """Damage the bytes of a chunk."""
    file = store.pick(rng)
    content = bytearray(file.read_bytes())
    way = rng.randrange(6)
    if way == 0:
        content = content[: rng.randrange(len(content) + 1)]
    elif way == 1:
        content = bytearray(rng.randbytes(rng.randrange(200)))
    elif way == 2 and len(content) >= 16:  # what blosc says of sizes
        content[rng.choice((4, 8, 12)) :][:4] = b""
        content[4:8] = rng.choice((b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff", bytes(4), b"\0\0\0\x40"))
    elif way == 3:
        store.put(file, b"")
        return f"{store.named(file)} is empty"
    for _ in range(rng.choice((1, 5))):
        if content:
            content[rng.randrange(len(content))] = rng.randrange(256)
    store.put(file, bytes(content))
    return f"bytes of {store.named(file)}"


def files(store: Store, rng: Random) -> str:
    """Take files and folders away, or put links, folders or pipes in their place."""
    file = rng.choice(store.ours)
    way = rng.randrange(6)
    if way == 0:
        file.unlink()
        return f"without {store.named(file)}"
    if way == 1:
        shutil.rmtree(file.parent)
        return f"without {store.named(file.parent)}"
    file.unlink()
    if way == 2:
        os.mkfifo(file)
    elif way == 3:
        file.mkdir()
    else:
        file.symlink_to(rng.choice(("/dev/zero", "/etc/passwd", "..", file.name, "/dev/stdin", "/proc/self/mem")))
    return f"another thing in place of {store.named(file)}, way {way}"


def weights(store: Store, rng: Random) -> str:
    """Put other bytes in place of the decoder's parameters, signed."""
    import zarr

    path = next(one.parent for one in store.ours if one.parent.name == "decoder_weights")
    blob, said = nasty.weight_blob(rng, zarr.open_array(str(path), mode="r")[:].tobytes())
    kept = store.read(path / ".zattrs")
    shutil.rmtree(path)
    zarr.save_array(str(path), np.frombuffer(blob, np.uint8))
    (path / ".zattrs").write_text(json.dumps(kept))
    for name in (".zattrs", ".zarray"):
        store.write(path / name, store.read(path / name))
    above = path.parent / ".zattrs"
    store.write(above, {**store.read(above), "decoder_weights_sha256": hashlib.sha256(blob).hexdigest()})
    return f"parameters: {said}"


#: Kind of damage → what does it, and how often it is chosen.
MUTATIONS: dict[str, tuple[Mutation, int]] = {
    "array metadata": (array, 5),
    "pickles": (pickles, 2),
    "attributes": (attribute, 4),
    "references": (references, 3),
    "JSON": (json_text, 2),
    "chunks": (chunk, 3),
    "files": (files, 3),
    "parameters": (weights, 2),
}


def mutate_store(store: Path, target: Path, rng: Random) -> tuple[Path, str]:
    """Copy a store and damage the copy; return its path and what was done."""
    shutil.copytree(store, target, copy_function=os.link)
    damaged = Store(target)
    names = rng.choices(list(MUTATIONS), [share for _, share in MUTATIONS.values()], k=rng.choice((1, 1, 2)))
    said = []
    for name in names:
        try:
            said.append(MUTATIONS[name][0](damaged, rng))
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
            IndexError,
            StopIteration,
        ):  # of what an earlier one took away
            said.append("nothing")
    return target, f"{names[0]} | {'; '.join(said)}"
