"""What the disk refuses, in plain words."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import InputError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_BROKEN = {errno.EIO, errno.ENXIO, errno.ENODEV, errno.ESTALE}


@contextmanager
def plain_errors(path: Path) -> Iterator[None]:
    """Say in plain words what the disk refused.

    Parameters
    ----------
    path : Path
        The file that was to be written.

    Raises
    ------
    InputError
        In place of an error that tells of a full disk, of a lack of permission, or of a disk that fails.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        told = _of_disk(error)
        code = _number(told)
        # what HDF5 appends is of use to its makers only
        reason = re.split(r",? ?\(?(?:errno = |file write failed)", getattr(told, "strerror", None) or "")[0]
        if code in _FULL:
            raise InputError(
                f"the disk is full or the file would be too large ({reason or os.strerror(code)})",
                where=str(path),
                remedy=f"Nothing was changed. Free space in {path.parent}, or write beside it on another disk (-o).",
            ) from error
        if code in _FORBIDDEN:
            raise InputError(
                f"the folder {path.parent} cannot be written to",
                where=str(path),
                remedy="Nothing was changed. Write the results into a new file in a folder of yours.",
            ) from error
        if code in _BROKEN:
            raise InputError(
                f"the disk failed ({reason or os.strerror(code)})",
                where=str(path),
                remedy="Nothing was changed. Have the disk checked; until then write to another one (-o).",
            ) from error
        raise


def _of_disk(error: BaseException) -> BaseException:
    """Return the error that tells of the disk: this one, or one that it came from. Zarr makes another one of some."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, (OSError, RuntimeError)) and _number(seen) in _FULL | _FORBIDDEN | _BROKEN:
            return seen
        seen = seen.__cause__ or seen.__context__
    return error


def _number(error: BaseException) -> int:
    """Return an error's number, 0 if it has none; HDF5 tells it in the text only."""
    number = getattr(error, "errno", None)
    if not number:
        found = re.search(r"errno = (\d+)", str(error))
        number = found.group(1) if found else 0
    return int(number)
