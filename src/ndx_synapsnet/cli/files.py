"""Which recordings a verb reads, and which files it writes."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from ..errors import InputError

#: The addresses of a recording's files: one, or several that are joined.
Recording = tuple[str, ...]

_ENTITIES = re.compile(r"(sub-[^_]+)(?:_(?:[^_]+_)*?(ses-[^_]+))?(?:_.*)?")
_LONGEST = 120
_LINDI = (".lindi.json", ".lindi.tar")


def recordings(uris: Sequence[str], *, join: bool = False) -> list[Recording]:
    """Return the recordings that addresses and patterns mean; with `join` files of one session are one.

    Raises
    ------
    InputError
        If an address is not understood, nothing fits a pattern, or (with `join`) a file cannot be opened.
    """
    from ..nwb.readers import group_by_session
    from ..nwb.sources import expand

    return group_by_session(uris) if join else [(found,) for uri in uris for found in expand(uri)]


def local(uri: str) -> Path | None:
    """Return the path of a recording on this machine; None if it is elsewhere."""
    from ..nwb.sources import LocalAddress, address_of
    from ..nwb.sources.local import local_path

    address = address_of(uri)
    return local_path(address.path) if isinstance(address, LocalAddress) else None


def whole_of(recording: Recording) -> Path | None:
    """Return the path of a recording that can be copied whole: None if it is elsewhere, or several files."""
    return local(recording[0]) if len(recording) == 1 else None


def shown(recording: Recording) -> str:
    """Return a recording's address as it may be shown: a query that may hold a secret is left out."""
    from ..nwb.sources import LocalAddress, address_of

    first, *others = recording
    address = address_of(first)
    text = first if isinstance(address, LocalAddress) else str(address)
    return f"{text} and {len(others)} more" if others else text


def stem(path: Path) -> str:
    """Return a recording's name without what says its format."""
    name = path.name
    for ending in (".json", ".tar", ".lindi", ".zarr", ".nwb"):
        name = name.removesuffix(ending)
    return name or path.name


def remote_stem(uri: str) -> str:
    """Return a name for what is made of a remote recording: that of its file, without what says its format.

    Only an address that gives an asset's id and no name has the archive asked for it.
    """
    from ..nwb.sources import address_of
    from ..nwb.sources.dandi import locate_dandi
    from ..nwb.sources.remote.options import current_options
    from ..nwb.sources.uri import DandiAddress, HttpAddress, S3Address

    address = address_of(uri)
    path = ""
    if isinstance(address, DandiAddress):
        path = address.path or str(locate_dandi(address, current_options()).record["path"])
    elif isinstance(address, HttpAddress):
        path = unquote(urlsplit(address.url).path)
    elif isinstance(address, S3Address):
        path = address.key
    # a server's word for a file's name here
    name = re.sub(r"[^\w.+=@-]+", "_", PurePosixPath(path.rstrip("/")).name, flags=re.ASCII).lstrip(".-")[-_LONGEST:]
    return stem(Path(name)) if name else "recording"


def _remote_stems(uris: Sequence[str]) -> list[str]:
    """Return names for remote recordings: subject and session where these are known and tell them apart."""
    whole = [remote_stem(uri) for uri in uris]
    short = ["_".join(filter(None, m.groups())) if (m := _ENTITIES.fullmatch(name)) else name for name in whole]
    return [name if short.count(name) == 1 else full for name, full in zip(short, whole, strict=True)]


def homes(found: Sequence[Recording]) -> list[tuple[Path, str]]:
    """Return for each recording the folder that its result goes to by default, and what its name begins with.

    Of a local one that is where it lies; of a remote one the working directory.
    """
    paths = [local(recording[0]) for recording in found]
    remote = iter(_remote_stems([one[0] for one, path in zip(found, paths, strict=True) if path is None]))
    return [(Path.cwd(), next(remote)) if path is None else (path.parent, stem(path)) for path in paths]


def free(path: Path) -> Path:
    """Return `path`, or where that is taken the first of ``path_2``, ``path_3``, ... that is not."""
    number, candidate = 1, path
    while candidate.exists():
        number += 1
        candidate = path.with_stem(f"{path.stem}_{number}")
    return candidate


def new_files(
    found: Sequence[Recording],
    output: Path | None,
    *,
    supplied: Mapping[str, Any] | None = None,
    each: bool = False,
    finished: bool = False,
    whole: bool = False,
) -> list[Path]:
    """Return a new file for each recording; no folder is made for it.

    Its name is ``sub-<subject>_ses-<session>_desc-synapsnet.nwb``: of a recording here by what is in its file, else,
    and of a remote one, by the file's name. Where these do not say it, or two recordings would have the same, the
    file's own name takes the place of both. It lies beside a recording here, in the working directory for a remote
    one, or in the folder that -o names; of a dandiset that this lies in (for -o: that it is) in the subject's folder.

    Parameters
    ----------
    found : sequence of recordings
        The recordings.
    output : Path, optional
        What -o says: a file, or a folder.
    supplied : mapping, optional
        What people say of subject and session where a file does not (see `nwb.supplied`).
    each : bool
        Whether -o is a folder even for one.
    finished : bool
        Whether the files may exist: of an earlier run.
    whole : bool
        Whether they are to hold the recordings too, which keep their format.

    Raises
    ------
    InputError
        If a file exists already, or two would be the same.
    """
    several = each or len(found) > 1
    folder = output if output is not None and (several or output.is_dir()) else None
    given = output if folder is None else None
    targets: list[Path] = []
    for target in [given] if given is not None else _named(found, folder, supplied, whole):
        if os.path.lexists(target) and not finished:
            raise InputError(
                "is there already",
                where=str(target),
                remedy="Name another with -o, or remove it"
                + (", or leave out those that are there by --resume." if each else ", or use --in-place."),
            )
        if target in targets:
            raise InputError("is the result of two recordings", where=str(target), remedy="Give -o a folder for each.")
        targets.append(target)
    return targets


def _named(
    found: Sequence[Recording], folder: Path | None, supplied: Mapping[str, Any] | None, whole: bool
) -> list[Path]:
    """Return the path of each recording's result, in `folder` or where it goes by default."""
    from ..nwb.beside import DESCRIPTION, dandi_path_of, dandiset_root

    ending = f"_desc-{DESCRIPTION}.nwb"
    places = homes(found)
    names: list[str] = []
    for recording, (_, name) in zip(found, places, strict=True):
        said = None if local(recording[0]) is None else dandi_path_of(recording[0], supplied)
        match = _ENTITIES.fullmatch(name)
        short = "_".join(filter(None, match.groups())) if match else name
        names.append(short if said is None else said.name.removesuffix(ending))
    targets = []
    for recording, name, (home, full) in zip(found, names, places, strict=True):
        kept = name if names.count(name) == 1 else full
        place = folder or home
        root = dandiset_root(place)
        subject = kept.partition("_")[0]
        if root is not None and subject.startswith("sub-") and (folder is None or root == folder.absolute()):
            place = root / subject
        path = local(recording[0])
        suffix = ".nwb.zarr" if whole and path is not None and path.is_dir() else ".nwb"
        targets.append(place / f"{kept}_desc-{DESCRIPTION}{suffix}")
    return targets


def amended_files(found: Sequence[Recording]) -> list[Path]:
    """Return the file of each recording, to write the result into.

    Raises
    ------
    InputError
        If one is remote or a lindi file, or several files are joined.
    """
    targets = []
    for recording in found:
        path = local(recording[0])
        if path is None or len(recording) > 1 or path.name.endswith(_LINDI):
            reason = (
                "it is not on this machine"
                if path is None
                else "it is several files"
                if len(recording) > 1
                else "it is a lindi file"
            )
            raise InputError(
                f"a result cannot be written into this recording: {reason}",
                where=shown(recording),
                remedy="Leave out --in-place: the result then goes into a small file of its own.",
            )
        targets.append(path)
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
