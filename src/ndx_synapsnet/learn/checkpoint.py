"""Checkpoints of a training: safetensors and JSON, written so that a kill at any moment leaves a whole one.

A folder holds pairs of files, ``<step>-<rank>of<processes>.safetensors`` and ``.json``. The tensors are written first,
then the JSON, which names them by their SHA-256, each under another name and renamed when it is safely on disk; only
then are older pairs removed. Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..errors import InputError
from .forecaster import Forecaster
from .windows import Windows

_FORMAT = 1
_NAME = re.compile(r"(\d{9,})-(\d+)of(\d+)\.json")
_CHUNK = 2**24  # bytes read at a time
_NAMED = 4  # differences that a message names


class Checkpoint:
    """A folder of checkpoints of one training, as one process sees it.

    Parameters
    ----------
    folder : Path
        Made when the first checkpoint is written.
    identity : mapping
        What the training is of, JSON-able: see `identify`. Another's checkpoint is refused.
    rank, size : int
        This process and the number of processes that train together; each writes its own pairs.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any], *, rank: int = 0, size: int = 1) -> None:
        self.folder = Path(folder)
        self._identity = json.loads(json.dumps(identity))  # as it is read back
        self._place = f"{rank}of{size}"
        self._rank, self._size = str(rank), str(size)

    def write(self, step: int, facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Write a checkpoint beside the older ones.

        Parameters
        ----------
        step : int
            Gradient steps done.
        facts : mapping
            JSON-able; numbers may be infinite or NaN (see `number`).
        tensors : mapping
            By name.

        Raises
        ------
        InputError
            If it cannot be written; the older ones still serve.
        """
        target = self._path(step, "safetensors")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with _replacing(target) as part:
                save_file(_separate(tensors), part)
            content = {
                "format": _FORMAT,
                "step": step,
                "tensors": {"file": target.name, "sha256": _digest(target)},
                "identity": self._identity,
                "software": _software(),
                "facts": _finite(facts),
            }
            with _replacing(self._path(step, "json")) as part:
                part.write_text(json.dumps(content, indent=1, allow_nan=False), encoding="utf-8")
            _sync(self.folder)
        except (OSError, SafetensorError) as error:
            raise InputError(
                f"the checkpoint cannot be written ({error})",
                where=str(self.folder),
                remedy="Make room there, then resume: the checkpoint before still serves.",
            ) from error

    def keep_only(self, step: int | None) -> None:
        """Remove this process's checkpoints but that of `step`, and what a killed write has left."""
        if not self.folder.is_dir():
            return
        kept = set() if step is None else {self._path(step, "json"), self._path(step, "safetensors")}
        mine = set(self.folder.glob(f"*-{self._place}.*")) - kept
        # JSON first: a pair without it is no checkpoint, one without its tensors is a damaged one
        for path in sorted(mine, key=lambda path: path.suffix != ".json"):
            path.unlink(missing_ok=True)

    def steps(self) -> list[int]:
        """Return the steps of the whole checkpoints that this process has here, the latest first; at most two.

        Raises
        ------
        InputError
            If there are checkpoints and all are damaged, or they were written by another number of processes.
        """
        names = [match for path in self.folder.glob("*.json") if (match := _NAME.fullmatch(path.name))]
        sizes = sorted({match[3] for match in names} - {self._size})
        if sizes:
            raise InputError(
                f"these are checkpoints of {sizes[0]} process(es) training together, here are {self._size}",
                where=str(self.folder),
                remedy="Resume with as many, or remove the folder to start again.",
            )
        mine = sorted((int(match[1]) for match in names if match[2] == self._rank), reverse=True)
        whole = [step for step in mine[:2] if self._is_whole(step)]
        if mine and not whole:
            raise self.refuse("its files are damaged")
        return whole

    def read(self, step: int) -> tuple[dict[str, Any], dict[str, Tensor], str]:
        """Return a checkpoint's facts and tensors, and in what its software differs from here, or an empty text.

        Raises
        ------
        InputError
            If it cannot be read, or is of another model, configuration or data; the message names what differs.
        """
        content = self._content(step)
        differences = list(_differences(self._identity, content["identity"]))
        if differences:
            more = f" and {len(differences) - _NAMED} more" if len(differences) > _NAMED else ""
            raise InputError(
                f"the checkpoint is of another fit: {'; '.join(differences[:_NAMED])}{more}",
                where=str(self.folder),
                remedy="Resume with the settings and recordings it was begun with, or remove it to start again.",
            )
        try:
            tensors = {name: value.clone() for name, value in load_file(self._path(step, "safetensors")).items()}
        except (OSError, SafetensorError) as error:
            raise self.refuse(str(error)) from error
        return content["facts"], tensors, "; ".join(_differences(_software(), content["software"]))

    def refuse(self, fault: str) -> InputError:
        """Return the error for a checkpoint that cannot be continued."""
        return InputError(
            f"the checkpoint cannot be read: {fault}", where=str(self.folder), remedy="Remove it to start again."
        )

    def _path(self, step: int, suffix: str) -> Path:
        return self.folder / f"{step:09d}-{self._place}.{suffix}"

    def _content(self, step: int) -> dict[str, Any]:
        """Return a checkpoint's JSON once its outline is as it must be."""
        try:
            content = json.loads(self._path(step, "json").read_text(encoding="utf-8"))
            parts = [content[name] for name in ("identity", "software", "facts", "tensors")]
            known = content["format"] == _FORMAT and content["step"] == step
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise self.refuse(f"step {step} ({error!r})") from error
        if not (known and all(isinstance(part, dict) for part in parts)):
            raise self.refuse(f"step {step} has another format")
        return dict(content)

    def _is_whole(self, step: int) -> bool:
        path = self._path(step, "safetensors")
        try:
            return bool(self._content(step)["tensors"].get("sha256") == _digest(path))
        except (InputError, OSError):
            return False


def identify(
    forecaster: Forecaster, windows: Sequence[Windows], config: Mapping[str, Any], *, held: Sequence[bool]
) -> dict[str, Any]:
    """Return what makes a training this one and no other, JSON-able.

    A model is known by its printed form, which is to show its settings, and its parameters' shapes; a session by its
    sizes and a hash of its z-scored series.

    Parameters
    ----------
    forecaster : Forecaster
        The model.
    windows : sequence of Windows
        The sessions.
    config : mapping
        The training's settings.
    held : sequence of bool
        For each session whether this process holds its series.
    """
    printed = re.sub(r" at 0x[0-9a-f]+", "", repr(forecaster))
    return {
        "model": {
            "settings": [piece for piece in re.split(r",?\s+", printed) if piece],
            "parameters": {name: [*value.shape, str(value.dtype)] for name, value in forecaster.state_dict().items()},
        },
        "config": dict(config),
        "device": windows[0].device.type,
        "data": [
            _identify_session(w) | ({"sha256": _hash(w)} if own else {}) for w, own in zip(windows, held, strict=True)
        ],
    }


def number(value: Any) -> float:
    """Return a float from the facts of a checkpoint, where one that is not finite is written as a text."""
    if isinstance(value, bool) or not (isinstance(value, (int, float)) or value in ("nan", "inf", "-inf")):
        raise ValueError(f"{value!r} is not a number")
    return float(value)


def _identify_session(windows: Windows) -> dict[str, Any]:
    return {
        "neurons": windows.n_neurons,
        "samples": len(windows.activity),
        "behaviors": list(windows.behavior_names),
        "window": windows.window,
        "targets": {part: len(targets) for part, targets in windows.targets.items()},
    }


def _hash(windows: Windows) -> str:
    """Hash what training sees of a session, block by block."""
    digest = hashlib.sha256()
    rows = max(1, _CHUNK // (4 * max(windows.n_neurons, 1)))
    parts = (windows.targets[part] for part in ("train", "validation"))
    sent = () if windows.deconvolution is None else (windows.deconvolution.decay,)
    for series in (windows.activity, windows.behavior, windows.drive, *sent, *parts):
        for block in series.split(rows):
            digest.update(np.ascontiguousarray(block.cpu().numpy()).data)
    return digest.hexdigest()


def _software() -> dict[str, Any]:
    """Return what decides rounding."""
    return {"torch": torch.__version__, "numpy": np.__version__, "threads": torch.get_num_threads()}


def _differences(here: Any, there: Any, path: str = "") -> Iterator[str]:
    """Yield in words where two JSON values differ."""
    if isinstance(here, dict) and isinstance(there, dict):
        for key in dict.fromkeys([*here, *there]):
            yield from _differences(here.get(key), there.get(key), f"{path}.{key}" if path else key)
    elif isinstance(here, list) and isinstance(there, list) and len(here) == len(there):
        for place, (a, b) in enumerate(zip(here, there, strict=True)):
            yield from _differences(a, b, f"{path}[{place}]")
    elif here != there:
        yield f"{path} is {_short(here)} here and {_short(there)} in the checkpoint"


def _short(value: Any) -> str:
    if isinstance(value, (list, dict)) and len(value) > 4:
        return f"a {'list' if isinstance(value, list) else 'group'} of {len(value)}"
    text = "missing" if value is None else value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:12]}…"


def _finite(value: Any) -> Any:
    """Return `value` with numbers that JSON does not have as texts."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return repr(value) if isinstance(value, float) and not math.isfinite(value) else value


def _separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors contiguous on the CPU, none sharing memory with another, as safetensors needs them."""
    seen: set[int] = set()
    separate = {}
    for name, value in tensors.items():
        value = value.detach().cpu().contiguous()
        place = value.untyped_storage().data_ptr()
        separate[name] = value.clone() if place in seen else value
        seen.add(place)
    return separate


@contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    """Give the name of a file to write; at the end it is on disk under its own name, or gone."""
    part = target.with_name(target.name + ".part")
    try:
        yield part
        _sync(part)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Wait until a file, or a folder's list of files, is on disk."""
    if path.is_dir() and os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
