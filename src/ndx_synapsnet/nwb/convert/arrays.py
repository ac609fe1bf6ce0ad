"""Files of numpy arrays and lines of text, read with checks; every error names the file."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError


@dataclass(frozen=True)
class SourceFile:
    """What is kept of a file that was read."""

    path: str
    """Below the archive's folder, with slashes."""
    sha256: str
    """Of its content, as hexadecimal text."""
    size: int
    """Bytes."""


@dataclass
class Folder:
    """Reads files below a folder, and keeps their checksums.

    Parameters
    ----------
    root : Path
        What the paths that are kept begin below.
    """

    root: Path
    read: dict[str, SourceFile] = field(default_factory=dict)
    """What was read so far, by path."""

    def content(self, path: Path) -> bytes:
        """Return a file's bytes.

        Raises
        ------
        InputError
            If there is no such file, or it cannot be read.
        """
        try:
            content = path.read_bytes()
        except FileNotFoundError as error:
            raise InputError(
                "there is no such file", where=str(path), remedy="Is the archive complete, as it was published?"
            ) from error
        except OSError as error:
            raise InputError(f"cannot be read ({error.strerror})", where=str(path)) from error
        name = path.relative_to(self.root).as_posix()
        self.read[name] = SourceFile(name, hashlib.sha256(content).hexdigest(), len(content))
        return content

    def lines(self, path: Path) -> list[str]:
        """Return the lines of a text file, without spaces around them, and without empty ones at its end.

        Raises
        ------
        InputError
            As `content`, and if it is not UTF-8.
        """
        try:
            text = self.content(path).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise InputError("this is no text in UTF-8", where=str(path)) from error
        return [line.strip() for line in text.rstrip().splitlines()]

    def array(self, path: Path) -> NDArray[Any]:
        """Return an array of numbers, as it is stored.

        Raises
        ------
        InputError
            As `content`, and if it is no array of numbers. Pickled objects, which could run programs, are refused.
        """
        try:
            array = np.load(io.BytesIO(self.content(path)), allow_pickle=False)
        except InputError:
            raise
        except (ValueError, EOFError, OSError, SyntaxError, TypeError, MemoryError) as error:
            raise InputError(
                f"this is no numpy array of numbers ({error})", where=str(path), remedy="Download the file again"
            ) from error
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
            kind = array.dtype if isinstance(array, np.ndarray) else "several arrays"
            raise InputError(f"this holds {kind}, not one array of numbers", where=str(path))
        return array

    def vector(self, path: Path) -> NDArray[Any]:
        """Return an array (n,); it may be stored as a row or a column.

        Raises
        ------
        InputError
            As `array`, and if it has another shape.
        """
        array = self.array(path)
        if array.ndim > 2 or array.ndim == 0 or (array.ndim == 2 and 1 not in array.shape):
            raise InputError(f"an array of shape {array.shape}, where one number each is expected", where=str(path))
        return array.reshape(-1)

    def vector_of(self, path: Path, n: int, what: str) -> NDArray[Any]:
        """Return an array (n,).

        Raises
        ------
        InputError
            As `vector`, and if its length is another.
        """
        array = self.vector(path)
        if len(array) != n:
            raise InputError(f"{len(array)} values for {n} {what}", where=str(path), remedy="Download the files again")
        return array

    def times(self, path: Path) -> NDArray[np.float64]:
        """Return times (n,) in seconds, none of them before the one in front of it.

        Raises
        ------
        InputError
            As `vector`, and if there is none, one is not finite, or one goes backward.
        """
        times = self.vector(path).astype(np.float64)
        if len(times) == 0:
            raise InputError("there are no times", where=str(path))
        if not np.isfinite(times).all():
            at = int(np.argmin(np.isfinite(times)))
            raise InputError(f"time {at} is {times[at]}, and no moment", where=str(path))
        if (np.diff(times) < 0).any():
            at = int(np.argmax(np.diff(times) < 0))
            raise InputError(
                f"times go backward: {times[at]:.6f} s is followed by {times[at + 1]:.6f} s at {at + 1}",
                where=str(path),
            )
        return times
