"""What verbs print for programs."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..session import FitResult


def summary(result: FitResult) -> dict[str, Any]:
    """Return what a program wants to know of a result, JSON-able."""
    from ..show.compute import score_table

    return {
        "neurons": len(result.neurons),
        "samples": len(result.split),
        "trustworthy": result.trustworthy,
        "verdict": result.verdict,
        "scores": {row.key: {"correlation": row.correlation, "mse": row.mse} for row in score_table(result)},
        "connectivity": list(result.connectivity),
        "provenance": dict(result.provenance),
        "config": dict(result.config),
    }


def print_json(value: Any) -> None:
    """Print JSON; numbers that it does not have become null."""
    json.dump(_finite(value), sys.stdout, indent=2)
    sys.stdout.write("\n")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
