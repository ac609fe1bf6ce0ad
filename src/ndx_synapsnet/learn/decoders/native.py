"""The pass of a recurrent decoder in C++, compiled on the user's machine when it is first needed.

The same as in `kernels`, fused: a few columns at a time run through all their steps inside the processor's caches,
and the products stay in registers until their gates are computed. The sources lie in ``cpp/``. The system's C++
compiler turns them, in a second, into a library for one layer, number of units and type of numbers, which is kept in
the user's cache folder. Where that cannot be, `problem` says why, and `kernels` serves.

Letters: N neurons, B batch, S steps, L targets, C series, H hidden, G gates, R = G·H rows.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from .kernels import CELLS, Gradients, Pass

_SOURCES = Path(__file__).parent / "cpp"
_FLAGS = ("-std=c++17", "-O3", "-fno-math-errno", "-shared", "-fPIC")
# All that this processor can do, and threads; the first of these that compiles is used.
_OPTIONS = (("-march=native", "-fopenmp"), ("-march=native",), ("-mcpu=native",), ())
_REGISTERS = (("__AVX512F__", 64), ("__AVX__", 32), ("", 16))  # bytes, by what the compiler defines
_REALS = {torch.float32: "float", torch.float64: "double"}
_MULTIPLE = 8  # to which the hidden units are padded
_TOGETHER = 16  # steps whose products are summed together, of several tiles where windows are short


class _Arguments(ctypes.Structure):
    """`Pass` of sweep.cpp."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("neurons", "steps", "targets", "batch", "columns", "hidden")),
        *((name, ctypes.c_int64) for name in ("tiles", "parts", "seed", "drop_below")),
        *((name, ctypes.c_double) for name in ("keep_scale", "readout_bias")),
        *((name, ctypes.c_void_p) for name in ("constant", "shared", "series", "target", "weight")),
        *((name, ctypes.c_void_p) for name in ("forward", "backward", "bias", "series_weight", "readout")),
        *((name, ctypes.c_void_p) for name in ("prediction", "dconstant", "dtarget", "dseries", "work", "sums")),
    )


def problem(p: Pass) -> str:
    """Return why the pass `p` cannot run here, or an empty text."""
    if p.target.device.type != "cpu":
        return f"it runs on the processor, not on {p.target.device}"
    if p.target.dtype not in _REALS:
        return f"it has no arithmetic for {p.target.dtype}"
    if not _compilers():
        return "there is no C++ compiler (c++, g++, clang++, or what CXX names)"
    library = _library(_variant(p))
    return library if isinstance(library, str) else ""


def workspace(p: Pass) -> int:
    """Return the bytes that `learn` takes beside its arguments and results; N does not enter.

    In numbers, for each thread: ``max(1, 16 // (S - 1))·S·(kept + 1)·H·V`` for the tiles of V columns on their way, V
    being those of two registers (32 with AVX-512 and float32) and ``kept`` 4 for a GRU, 1 for an RNN, 6 for an LSTM;
    and for the sums that all neurons share about ``R·(H + C + 2)·V/2``, with behaviour ``S·R·B`` more. At the paper's
    sizes this is 1 MB.
    """
    layout = _Layout(p)
    return layout.parts * (layout.work_size + layout.sums_size) * p.target.element_size()


def learn(p: Pass, series: tuple[bool, ...], target: bool) -> tuple[Tensor, Gradients]:
    """As `kernels.learn`."""
    own = _Layout(p)
    constant = p.constant.new_empty(len(p.constant), own.rows)
    d_series = [own.empty(x) if wanted else None for x, wanted in zip(p.series, series, strict=True)]
    d_target = own.empty(p.target) if target else None
    sums = p.target.new_empty(own.parts, own.sums_size)
    own.run(dconstant=constant, dseries=d_series, dtarget=d_target, sums=sums)

    sizes = (own.rows * own.hidden, len(series) * own.rows, own.rows, own.hidden, 1, 1)
    in_lanes = sum(sizes) * own.lanes
    lanes, shared = sums.sum(0).split([in_lanes, own.sums_size - in_lanes])
    weight, of_series, bias, readout, loss, readout_bias = lanes.view(-1, own.lanes).sum(1).split(sizes)
    units = len(p.readout_weight)
    return loss[0], Gradients(
        constant=own.without_padding(constant, 1),
        shared=None if p.shared is None else own.trim(own.without_padding(shared.view(-1, own.rows, own.batch), 1)),
        series=[None if each is None else own.trim(each) for each in d_series],
        series_weight=own.without_padding(of_series.view(-1, own.rows), 1).T,
        recurrent_weight=own.without_padding(weight.view(own.rows, own.hidden), 0)[:, :units],
        recurrent_bias=own.without_padding(bias, 0),
        readout_weight=readout[:units],
        readout_bias=readout_bias[0],
        target=None if d_target is None else own.trim(d_target),
    )


def predict(p: Pass) -> Tensor:
    """As `kernels.predict`."""
    own = _Layout(p)
    prediction = own.empty(p.target)
    own.run(prediction=prediction)
    return own.trim(prediction)


class _Layout:
    """The library for a pass, and the pass as the library wants it: units and batch padded, weights in order of use."""

    def __init__(self, p: Pass) -> None:
        variant = _variant(p)
        library = _library(variant)
        assert not isinstance(library, str), library
        self.p, self.library = p, library
        count, targets, self.width = p.target.shape
        steps = p.series[0].shape[1]
        self.gates, self.units, self.hidden = CELLS[p.cell].gates, len(p.readout_weight), variant.hidden
        self.rows = self.gates * self.hidden
        self.parts = min(torch.get_num_threads(), count)
        self.lanes = _compilers()[0].register // p.target.element_size()
        tile = self.lanes * variant.vectors
        self.batch = -(-self.width // tile) * tile
        self.arguments = _Arguments(
            neurons=count, steps=steps, targets=targets, batch=self.batch, columns=self.width, hidden=self.units,
            tiles=max(1, _TOGETHER // max(1, steps - 1)), parts=self.parts, seed=p.seed,
            drop_below=round(p.dropout * 2**24), keep_scale=1 / (1 - p.dropout), readout_bias=p.readout_bias.item(),
        )  # fmt: skip
        sizes = (ctypes.c_int64 * 4)()
        library.sizes(self.arguments, sizes)
        self.work_size, self.sums_size, self._forward, self._backward = sizes

    def empty(self, like: Tensor) -> Tensor:
        """Return an array with the batch, the last axis, padded."""
        return like.new_empty(*like.shape[:-1], self.batch)

    def trim(self, values: Tensor) -> Tensor:
        """Cut the batch's padding off."""
        return values[..., : self.width]

    def widen(self, values: Tensor) -> Tensor:
        """Pad the batch with zeros."""
        return F.pad(values, (0, self.batch - self.width)) if self.batch > self.width else values

    def pad(self, values: Tensor, axis: int) -> Tensor:
        """Pad the units of each gate, along an axis of R rows, with zeros."""
        if self.hidden == self.units:
            return values
        behind = (0, 0) * (values.ndim - 1 - axis)
        gates = values.unflatten(axis, (self.gates, self.units))
        return F.pad(gates, (*behind, 0, self.hidden - self.units)).flatten(axis, axis + 1)

    def without_padding(self, values: Tensor, axis: int) -> Tensor:
        """Undo `pad`."""
        if self.hidden == self.units:
            return values
        gates: Tensor = values.unflatten(axis, (self.gates, self.hidden))
        return gates.narrow(axis + 1, 0, self.units).flatten(axis, axis + 1)

    def run(self, **results: Tensor | list[Tensor | None] | None) -> None:
        """Let the library work, with its arguments and these results to write."""
        p, more = self.p, (0, self.hidden - self.units)
        weights = F.pad(self.pad(p.recurrent_weight, 0), more)  # (R, H)
        shape = (self.gates, self.hidden // self._forward, self._forward, self.hidden)
        arrays: dict[str, Tensor | list[Tensor | None] | None] = {
            "constant": self.pad(p.constant, 1),
            "shared": None if p.shared is None else self.widen(self.pad(p.shared, 1)),
            "series": [self.widen(each) for each in p.series],
            "target": self.widen(p.target),
            "weight": self.widen(p.weight),
            "forward": weights.view(shape).permute(1, 3, 2, 0).contiguous(),  # units' blocks, H, units, gates
            "backward": weights.view(self.rows, -1, self._backward).transpose(0, 1).contiguous(),  # blocks, R, units
            "bias": self.pad(p.recurrent_bias, 0),
            "series_weight": self.pad(p.series_weight, 0).T.contiguous(),
            "readout": F.pad(p.readout_weight, more),
            "work": p.target.new_empty(self.parts, self.work_size),
            **results,
        }
        lists = []  # these, as the arrays, must live until the library returns
        for name, value in arrays.items():
            if isinstance(value, list):
                lists.append((ctypes.c_void_p * len(value))(*(None if x is None else x.data_ptr() for x in value)))
                setattr(self.arguments, name, ctypes.addressof(lists[-1]))
            elif value is not None:
                setattr(self.arguments, name, value.data_ptr())
        self.library.run(self.arguments)


class _Variant(NamedTuple):
    """What a library is compiled for."""

    cell: str
    hidden: int
    """Padded."""
    series: int
    behavior: bool
    vectors: int
    """Registers that make a row of a tile."""
    real: str


def _variant(p: Pass) -> _Variant:
    registers = -(-p.target.shape[2] * p.target.element_size() // _compilers()[0].register)
    return _Variant(
        cell=p.cell,
        hidden=-(-len(p.readout_weight) // _MULTIPLE) * _MULTIPLE,
        series=len(p.series),
        behavior=p.shared is not None,
        vectors=1 if registers in (1, 3) else 2,  # two keep the processor busier, unless half would be padding
        real=_REALS[p.target.dtype],
    )


@dataclass(frozen=True)
class _Compiler:
    command: tuple[str, ...]
    register: int
    """Bytes in a register of the processor."""
    defines: str
    """All that the compiler defines: its version and what the processor can do."""


@lru_cache
def _compilers() -> tuple[_Compiler, ...]:
    """Return the ways to compile, best first."""
    found = os.environ.get("CXX") or next(filter(shutil.which, ("c++", "g++", "clang++")), "")
    compilers = []
    for options in _OPTIONS if found else ():
        command = (*shlex.split(found), *options)
        status, output = _call([*command, "-dM", "-E", "-x", "c++", os.devnull])
        if status == 0:
            register = next(size for name, size in _REGISTERS if name in output)
            compilers.append(_Compiler(command, register, output))
    return tuple(compilers)


@lru_cache
def _library(variant: _Variant) -> ctypes.CDLL | str:
    """Return the library, compiled if it is not in the cache, or why there is none."""
    macros = {
        "REAL": variant.real,
        "CELL": variant.cell.capitalize(),
        "HIDDEN": variant.hidden,
        "SERIES": variant.series,
        "BEHAVIOR": int(variant.behavior),
        "REGISTER": _compilers()[0].register,
        "VECTORS": variant.vectors,
    }
    flags = [*_FLAGS, *(f"-D{name}={value}" for name, value in macros.items())]
    sources = [path.read_text() for path in sorted(_SOURCES.iterdir()) if path.suffix in (".h", ".cpp")]
    said = ""
    for compiler in _compilers():
        key = hashlib.sha256("\0".join([*compiler.command, compiler.defines, *flags, *sources]).encode()).hexdigest()
        path = _folder() / f"sweep-{variant.cell}-{key[:32]}.so"
        if not path.exists():
            # under another name first: another process may be at it too
            with tempfile.TemporaryDirectory(dir=path.parent) as folder:
                built = Path(folder) / path.name
                status, said = _call([*compiler.command, *flags, str(_SOURCES / "sweep.cpp"), "-o", str(built)])
                if status == 0:
                    built.replace(path)
        if path.exists():
            try:
                library = ctypes.CDLL(str(path))
            except OSError as error:
                said = str(error)
                continue
            library.run.argtypes = [ctypes.POINTER(_Arguments)]
            library.sizes.argtypes = [ctypes.POINTER(_Arguments), ctypes.POINTER(ctypes.c_int64)]
            library.run.restype = library.sizes.restype = None
            return library
    return f"compiling it failed: {said.strip()}"


def _call(command: list[str]) -> tuple[int, str]:
    """Run a command and return its status and what it printed."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
    except (OSError, subprocess.TimeoutExpired) as error:
        return 1, str(error)
    return done.returncode, done.stdout


@lru_cache
def _folder() -> Path:
    """Return the folder of compiled libraries: in the user's cache, or a temporary one where that cannot be written."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ndx-synapsnet"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.access(folder, os.W_OK | os.X_OK) and _is_ours(folder):
            return folder
    except OSError:
        pass
    return Path(tempfile.mkdtemp(prefix="ndx-synapsnet-"))


def _is_ours(folder: Path) -> bool:
    """Whether nobody else can put a library there: it would be run."""
    status = folder.stat()
    return not hasattr(os, "getuid") or (status.st_uid == os.getuid() and not status.st_mode & 0o022)
