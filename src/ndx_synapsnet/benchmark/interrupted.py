"""A child process whose system calls are counted, and that is killed, or told of an error, at one of them.

The child is forked from a process that has everything imported, so it costs next to nothing; strace attaches to it
before it starts, which Linux allows for one's own children.
"""

from __future__ import annotations

import ctypes
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

How = Literal["kill", "ENOSPC", "EIO"]

#: System calls by which a process changes what is on disk, or has it kept.
_WRITING = tuple(
    name
    for names in (
        ("write", "pwrite64", "writev", "pwritev", "copy_file_range", "sendfile", "ftruncate", "truncate", "fallocate"),
        ("fsync", "fdatasync", "syncfs", "sync", "open", "openat", "creat", "mkdir", "mkdirat", "rmdir", "flock"),
        ("rename", "renameat", "renameat2", "unlink", "unlinkat", "link", "linkat", "symlink", "symlinkat"),
        ("chmod", "fchmod", "fchmodat", "chown", "fchown", "fchownat", "setxattr", "fsetxattr", "utimensat"),
    )
    for name in names
)
_OPENING = {"open", "openat"}
#: Of these, those that a full or failing disk refuses.
_REFUSED = set(_WRITING) - {"unlink", "unlinkat", "rmdir", "flock", "sync", "chmod", "fchmod", "fchmodat"}


@dataclass(frozen=True)
class Call:
    """A system call of a process: the `nth` of its name, from 1 on."""

    name: str
    nth: int


@dataclass(frozen=True)
class Ended:
    """How a child ended."""

    code: int
    """Exit code; the negative of the signal that killed it."""
    said: str
    """What it said."""


def can_trace() -> str:
    """Return why system calls cannot be traced here; empty if they can."""
    if sys.platform != "linux":
        return "only Linux has strace"
    if shutil.which("strace") is None:
        return "strace is not installed"
    if traced_calls(lambda: "", _WRITING) is None:
        return "this system does not let strace attach to a process"
    return ""


def fork(work: Callable[[], str]) -> tuple[int, int, int]:
    """Start a child that waits for a byte, does `work` and says what that returns.

    It ends as a program does, for libraries to have their last word, with code 2 if it was an error; 0 otherwise.

    Returns
    -------
    process, go, said : int
        Its number, a descriptor to write the byte to, and one to read from what it says.
    """
    ready, go = os.pipe()
    said, say = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads of libraries, which do not run then
        process = os.fork()
    if process:
        os.close(ready)
        os.close(say)
        return process, go, said
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.close(go)
        os.close(said)
        os.read(ready, 1)
        try:
            text, code = work(), 0
        except ValueError as error:
            text, code = str(error), 2
        except BaseException as error:
            text = f"{type(error).__name__}: {error}"
        os.write(say, text.encode()[:4000])
    finally:
        ctypes.CDLL(None).exit(code)
    raise AssertionError


def finish(process: int, go: int, said: int) -> Ended:
    """Let a child of `fork` begin, and return how it ended."""
    os.write(go, b"!")
    os.close(go)
    with os.fdopen(said, "rb") as stream:
        text = stream.read().decode(errors="replace")
    _, status = os.waitpid(process, 0)
    return Ended(os.waitstatus_to_exitcode(status), text)


def run_child(work: Callable[[], str]) -> Ended:
    """Do `work` in a child, and return how that ended."""
    return finish(*fork(work))


def _attached(process: int, options: Sequence[str]) -> subprocess.Popen[str] | None:
    """Return strace, attached to a process; None if it cannot be."""
    command = ["strace", "-f", "-p", str(process), *options]
    tracer = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    line = tracer.stderr.readline()
    if "attached" in line:
        return tracer
    tracer.communicate()
    return None


def traced_calls(work: Callable[[], str], names: Sequence[str] = _WRITING) -> list[Call] | None:
    """Return the system calls of `work` that write, in their order; None if they cannot be traced.

    Of the calls that open a file, those that only read are counted, but left out.
    """
    with tempfile.NamedTemporaryFile("r", prefix="synapsnet-calls-") as log:
        child = fork(work)
        # names that a machine does not have are passed over
        tracer = _attached(child[0], ["-o", log.name, "-e", "trace=" + ",".join(f"?{name}" for name in names)])
        ended = finish(*child)
        if tracer is None:
            return None
        tracer.communicate()
        if ended.code:
            raise RuntimeError(f"what was to be traced failed: {ended}")
        counted: Counter[str] = Counter()
        calls = []
        for line in log:
            found = re.match(r"\d+ +(\w+)\((.*)", line)
            if found is None or found[1] not in names:
                continue
            counted[found[1]] += 1
            if found[1] not in _OPENING or re.search("O_CREAT|O_TMPFILE|O_TRUNC", found[2]):
                calls.append(Call(found[1], counted[found[1]]))
    return calls


def may_be_refused(call: Call) -> bool:
    """Return whether a disk that is full or broken refuses such a call."""
    return call.name in _REFUSED and call.name not in _OPENING


def interrupt(work: Callable[[], str], call: Call, how: How) -> Ended:
    """Do `work` in a child that is killed as it makes a call, or is told of an error then and at each later one."""
    what = f"signal=KILL:when={call.nth}" if how == "kill" else f"error={how}:when={call.nth}+"
    child = fork(work)
    tracer = _attached(child[0], ["-o", os.devnull, "-e", f"trace={call.name}", "-e", f"inject={call.name}:{what}"])
    if tracer is None:
        raise RuntimeError("strace could not be attached")
    ended = finish(*child)
    tracer.communicate()
    return ended


def kill_after(work: Callable[[], str], seconds: float) -> Ended:
    """Do `work` in a child that is killed after a time, unless it is done before."""
    process, go, said = fork(work)
    os.write(go, b"!")
    time.sleep(seconds)
    os.kill(process, signal.SIGKILL)
    return finish(process, go, said)


def spread(calls: Sequence[Call], number: int, seed: int = 0) -> list[tuple[int, Call]]:
    """Return calls and their places, in their order: the rare ones all, and of the others as many as are asked for.

    Parameters
    ----------
    calls : sequence of Call
        All that a process makes.
    number : int
        How many to choose; half of them at most are of names that occur no more than 12 times.
    seed : int
        Of the choice among the frequent ones, which are taken one from each of as many equal stretches.
    """
    if number >= len(calls):
        return list(enumerate(calls))
    often = Counter(call.name for call in calls)
    rare = [place for place, call in enumerate(calls) if often[call.name] <= 12]
    rng = random.Random(seed)
    chosen = set(rare if len(rare) <= number // 2 else rng.sample(rare, number // 2))
    others = [place for place in range(len(calls)) if place not in chosen]
    wanted = number - len(chosen)
    for k in range(wanted):
        chosen.add(others[rng.randrange(k * len(others) // wanted, (k + 1) * len(others) // wanted)])
    return [(place, calls[place]) for place in sorted(chosen)]


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path | None]:
    """Yield `folder` with a file system of `size` bytes mounted on it; None where that is not allowed."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    try:
        yield folder if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True, capture_output=True)
