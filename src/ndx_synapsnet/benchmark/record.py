"""Writing down what was measured."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError


def write_json(path: Path, value: Mapping[str, Any], *, finite: bool = False) -> None:
    """Write a file under another name and rename it when it is whole; its folder is made if missing.

    Parameters
    ----------
    path : Path
        The file, replaced if it exists.
    value : mapping
        What JSON can hold.
    finite : bool
        Whether a number that is not finite, which strict readers of JSON refuse, is an error.

    Raises
    ------
    InputError
        If it cannot be written.
    ValueError
        If a number is not finite, and `finite` asks for that.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(value, indent=1, allow_nan=not finite) + "\n", encoding="utf-8")
        os.replace(part, path)
    except OSError as error:
        raise InputError(
            f"cannot be written ({error})", where=str(path), remedy="Make room, or use another folder."
        ) from error
    finally:
        part.unlink(missing_ok=True)
