"""Results as JSON, for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from ..session import FitResult
from .compute import score_table


def summary(result: FitResult) -> dict[str, Any]:
    """Return what a program wants to know of a result, JSON-able."""
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


def json_text(value: Any) -> str:
    """Return a value as JSON of ASCII characters only; numbers that it does not have become null."""
    return json.dumps(_finite(value), indent=2)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
