"""A process of its own for each mutant: limited in memory and time, and told of whatever happened in it."""

from __future__ import annotations

import faulthandler
import json
import os
import re
import resource
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ...errors import InputError
from .reading import Watch

#: What may become of a mutant: it is read, it is refused with a plain error, ... and what none may come to.
Outcome = Literal["read", "refused", "OURS", "FORBIDDEN", "HANG", "MEMORY", "crash in a library"]

#: Most seconds of a processor, and on the clock of a machine that may have other work.
SECONDS, WAITING = 10, 120
#: Most memory of a process in bytes, libraries included.
MEMORY = 2**30
#: Most that the making of a mutant may ask for: some damage is made by reading what other damage declares.
MAKING = 6 * 2**30

_PACKAGE = str(Path(__file__).resolve().parents[2])


@dataclass(frozen=True)
class Reading:
    """What became of reading one mutant."""

    index: int
    said: str
    """What the mutant is."""
    outcome: Outcome
    what: str
    """The error's first line, or what was seen."""
    place: str
    """Where in the code, for errors that are none of the user's."""
    seconds: float
    peak: int
    """Most memory that was used, in bytes, libraries included."""


def read_apart(
    index: int, make: Callable[[], tuple[Path, str]], read: Callable[[Path, Path], list[InputError]], folder: Path
) -> Reading:
    """Make a mutant and read it in a process of its own.

    Parameters
    ----------
    index : int
        Its number.
    make : callable
        Makes it; returns its path and what it is.
    read : callable
        Reads the mutant at a path, and writes what it writes into a folder; returns the errors that a user would see.
    folder : Path
        An empty folder for it all; it is emptied again.

    Returns
    -------
    Reading
        What became of it. A mutant that cannot be made is drawn again by the caller: its outcome is "read" and
        `said` is empty.
    """
    notes, trace, scratch = folder / "notes", folder / "trace", folder / "scratch"
    scratch.mkdir()
    try:
        child = os.fork()
        if child == 0:
            _child(make, read, notes, trace, scratch)
        _, status, usage = os.wait4(child, 0)
        found = json.loads(notes.read_text(encoding="utf-8")) if notes.exists() else {"said": ""}
        seconds, peak = usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024
        stack = trace.read_text(encoding="utf-8", errors="replace") if trace.exists() else ""
    finally:
        for inside in folder.iterdir():
            shutil.rmtree(inside) if inside.is_dir() and not inside.is_symlink() else inside.unlink()
    outcome: Any = found.get("outcome")
    what, place = found.get("what", ""), found.get("place", "")
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        what, place = signal.Signals(number).name, _top(stack)
        outcome = (
            "HANG"
            if number in (signal.SIGALRM, signal.SIGXCPU)
            else "MEMORY"
            if number == signal.SIGKILL
            else "crash in a library"
        )
    elif outcome is None:
        outcome, what, place = (
            ("OURS", f"exit code {os.WEXITSTATUS(status)}", "") if found["said"] else ("read", "", "")
        )
    if outcome in ("read", "refused") and peak > MEMORY:
        outcome, what = "MEMORY", f"{peak >> 20} MiB: {what}"
    return Reading(index, str(found["said"]), outcome, what, place, seconds, peak)


def _child(
    make: Callable[[], tuple[Path, str]],
    read: Callable[[Path, Path], list[InputError]],
    notes: Path,
    trace: Path,
    scratch: Path,
) -> None:
    """Make and read; everything is told in files, for the process may end at any moment."""
    code = 70
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_AS, (MAKING, MAKING))
        path, said = make()
        notes.write_text(json.dumps({"said": said}), encoding="utf-8")
        with trace.open("w") as stacks, open(os.devnull, "w") as nothing:
            sys.stderr = nothing
            faulthandler.enable(stacks)
            for number in (signal.SIGALRM, signal.SIGXCPU):
                faulthandler.register(number, stacks, chain=True)
            signal.alarm(WAITING)
            _limit()
            watch = Watch(scratch)
            found = _outcome(path, read, watch, scratch)
            signal.alarm(0)
        os.chmod(notes, 0o600)
        notes.write_text(json.dumps({"said": said, **found}), encoding="utf-8")
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _outcome(path: Path, read: Callable[[Path, Path], list[InputError]], watch: Watch, scratch: Path) -> dict[str, str]:
    try:
        told = read(path, scratch)
    except BaseException as error:
        memory = isinstance(error, MemoryError)
        return {
            "outcome": "MEMORY" if memory else "OURS", "what": _first_line(error), "place": _place(error),
        }  # fmt: skip
    if watch.seen:
        return {"outcome": "FORBIDDEN", "what": watch.seen[0], "place": ""}
    starved = next((error for error in told if _from_memory(error)), None)
    if starved is not None:
        return {"outcome": "MEMORY", "what": _first_line(starved), "place": _place(starved)}
    return {"outcome": "refused" if told else "read", "what": _first_line(told[0]) if told else ""}


def _limit() -> None:
    """Let memory requests beyond the limit fail (libraries' own address space does not count), and end what hangs."""
    with suppress(OSError):  # what the making of the mutant took is not the reading's
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime) + 1 + SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
    with open("/proc/self/statm") as file:
        taken = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, taken + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _from_memory(error: BaseException | None) -> bool:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, MemoryError) or "Unable to allocate" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip() or '-'}".splitlines()[0][:300]


def _place(error: BaseException) -> str:
    """Return the last line of our own code, and the very last one, that an error went through."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if f.filename.startswith(_PACKAGE) and "/fuzz/" not in f.filename]
    told = [f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in (*own[-1:], *frames[-1:])]
    return " > ".join(dict.fromkeys(told))


def _top(stack: str) -> str:
    """Return the innermost frames of a dump of the stack."""
    frames = re.findall(r'File "([^"]+)", line (\d+) in (\S+)', stack)
    own = [f for f in frames if f[0].startswith(_PACKAGE) and "/fuzz/" not in f[0]]
    return " < ".join(f"{Path(name).name}:{line} {function}" for name, line, function in (*frames[:1], *own[:1]))
