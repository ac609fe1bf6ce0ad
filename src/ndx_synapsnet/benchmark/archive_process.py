"""The loopback archive in a process of its own, so that serving takes nothing from the reader's Python lock.

It is told what to do by lines of JSON on its input, answers each with one, and ends when its input does.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from .archive import Line, LoopbackArchive


@dataclass(frozen=True)
class Traffic:
    """What was served since the last `ArchiveProcess.reset`."""

    requests: int
    """GETs and HEADs of data."""
    bytes: int
    """Bytes of bodies sent."""
    connections: int
    """Connections that carried data."""
    server_processor: float
    """Seconds of processor time of the server."""


class ArchiveProcess:
    """A folder of files, served from another process while the context lasts.

    Parameters
    ----------
    folder : Path
        The files; see `LoopbackArchive`.

    Raises
    ------
    InputError
        On entering, if aiohttp is not installed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None
        self._data_url = ""

    def file_url(self, path: str) -> str:
        """Return the plain address of a file of the folder."""
        return f"{self._data_url}/files/{path}"

    def reset(self, line: Line) -> None:
        """Serve on `line` from now on, and count anew."""
        self._ask({"line": asdict(line)})

    def traffic(self) -> Traffic:
        """Return what was served."""
        return Traffic(**self._ask({}))

    def __enter__(self) -> ArchiveProcess:
        with LoopbackArchive(self._folder):  # says here what is missing
            pass
        command = [sys.executable, "-m", __name__, str(self._folder)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._data_url = self._answer()["data_url"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.communicate()
            self._process = None

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        answer: dict[str, Any] = json.loads(self._process.stdout.readline() or "{}")
        if not answer:
            raise RuntimeError("the archive's process ended")
        return answer


def serve(folder: Path, questions: IO[str], answers: IO[str]) -> None:
    """Serve `folder` until `questions` ends, doing what they say."""

    def say(answer: dict[str, Any]) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    with LoopbackArchive(folder) as archive:
        for asset in archive.assets():
            archive.digests(asset.file)  # which would delay the first answer
        say({"data_url": archive.data_url})
        began = time.process_time()
        for question in questions:
            told = json.loads(question)
            if "line" in told:
                archive.line = Line(**told["line"])
                archive.reset_counts()
                began = time.process_time()
            counts = archive.counts
            requests = sum(counts.by_method.values())
            traffic = Traffic(requests, counts.bytes, counts.connections, time.process_time() - began)
            say(asdict(traffic))


if __name__ == "__main__":
    serve(Path(sys.argv[1]), sys.stdin, sys.stdout)
