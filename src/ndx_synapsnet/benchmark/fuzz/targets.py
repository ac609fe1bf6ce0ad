"""The objects of an HDF5 file that mutations choose from, and how one is put in another's place."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

import h5py
import numpy as np

_OURS = 0.85  # how often one of our own objects is chosen, where there are others


@dataclass(frozen=True)
class Targets:
    """The paths in a file, those inside containers of ours apart."""

    groups: list[str]
    datasets: list[str]
    ours: frozenset[str]

    @classmethod
    def of(cls, file: h5py.File) -> Targets:
        """Return what is in a file that was not damaged yet."""
        groups, datasets, fits = ["/"], list[str](), list[str]()

        def note(name: str, item: Any) -> None:
            (groups if isinstance(item, h5py.Group) else datasets).append(f"/{name}")
            if item.attrs.get("neurodata_type") == "SynapsNetFit":
                fits.append(f"/{name}")

        file.visititems(note)
        ours = {path for path in groups + datasets for fit in fits if path == fit or path.startswith(f"{fit}/")}
        return cls(groups, datasets, frozenset(ours))

    def pick(self, rng: Random, paths: list[str]) -> str:
        """Return one of some paths, mostly one of ours."""
        ours = [path for path in paths if path in self.ours]
        return rng.choice(ours if ours and (rng.random() < _OURS or len(ours) == len(paths)) else paths)

    def dataset(self, rng: Random) -> str:
        """Return a dataset."""
        return self.pick(rng, self.datasets)

    def object(self, rng: Random) -> str:
        """Return a group or dataset that is not the root."""
        return self.pick(rng, self.groups[1:] + self.datasets)


def attributes(item: Any) -> dict[str, Any]:
    """Return the attributes of an object as they can be set again."""
    found = {}
    for name in item.attrs:
        value = item.attrs[name]
        if isinstance(value, np.ndarray) and value.dtype == object:
            kind = h5py.ref_dtype if value.size and isinstance(value.flat[0], h5py.Reference) else h5py.string_dtype()
            found[name] = np.array(value, dtype=kind)
        else:
            found[name] = value
    return found


def put(file: h5py.File, path: str, **content: Any) -> None:
    """Put a dataset in an object's place, with its attributes; `content` is as `create_dataset` takes it."""
    kept = attributes(file[path])
    del file[path]
    made = file.create_dataset(path, **content)
    for name, value in kept.items():
        made.attrs[name] = value
