"""What verbs print for programs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..session import FitResult


def summary(result: FitResult) -> dict[str, Any]:
    """Return what a program wants to know of a result, JSON-able; see `show.as_json.summary`."""
    from ..show import as_json

    return as_json.summary(result)


def print_json(value: Any) -> None:
    """Print JSON; numbers that it does not have become null."""
    from ..show.as_json import json_text

    sys.stdout.write(json_text(value) + "\n")
