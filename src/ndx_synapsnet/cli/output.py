"""What several verbs print: JSON for programs, and notes for people."""

from __future__ import annotations

import sys
from collections.abc import Mapping
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


def dandi_notes(source: Mapping[str, Any]) -> list[str]:
    """Return the lines on what DANDI would miss, or not take, of a file made from a recording of this provenance."""
    from ..nwb.supplied import lacks_for_dandi, odd_for_dandi

    lacking = lacks_for_dandi(source)
    lines = [f"  note: for DANDI these are missing: {', '.join(lacking)}; give them by --metadata"] if lacking else []
    return [*lines, *(f"  note: DANDI will not take this: {odd}" for odd in odd_for_dandi(source))]
