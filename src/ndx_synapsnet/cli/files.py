"""Which files a verb reads and writes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ..errors import InputError


def local(uri: str) -> Path:
    """Return the path of a recording on this machine."""
    from ..nwb.sources.local import local_path

    return local_path(uri)


def stem(path: Path) -> str:
    """Return a recording's name without what says its format."""
    return path.name.removesuffix(".zarr").removesuffix(".nwb")


def free(path: Path) -> Path:
    """Return `path`, or where that is taken the first of ``path_2``, ``path_3``, ... that is not."""
    number, candidate = 1, path
    while candidate.exists():
        number += 1
        candidate = path.with_stem(f"{path.stem}_{number}")
    return candidate


def new_files(uris: Sequence[str], output: Path | None) -> list[Path]:
    """Return a new file for each recording; none may exist."""
    several = len(uris) > 1
    folder = output if output is not None and (several or output.is_dir()) else None
    targets = []
    for uri in uris:
        source = local(uri)
        if output is not None and folder is None:
            target = output
        else:
            target = (folder or source.parent) / f"{stem(source)}_desc-synapsnet.nwb"
        if target.exists():
            raise InputError(
                "is there already", where=str(target), remedy="Name another with -o, or remove it, or use --in-place."
            )
        if target in targets:
            raise InputError("is the result of two recordings", where=str(target), remedy="Give -o a folder for each.")
        targets.append(target)
    for target in targets:
        make_folder(target.parent)
    return targets


def make_folder(folder: Path) -> None:
    """Make a folder that can be written to, or say why not."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot be made ({error.strerror})", where=str(folder), remedy="Name another with -o."
        ) from error
    if not os.access(folder, os.W_OK):
        raise InputError("cannot be written to", where=str(folder), remedy="Name another folder with -o.")
