"""What a result says of how it came about, as JSON takes it."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from .session import TRANSFER


def software_versions() -> dict[str, str]:
    """Return the versions of what decides a result."""
    packages = ("ndx-synapsnet", "torch", "numpy", "pynwb", "hdmf")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def source_record(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return where a session comes from, without what one reading of remote data took: the cache decides that."""
    source: dict[str, Any] = plain(provenance)
    for record in (source, *source.get("files", [])):
        if "remote" in record:
            record["remote"] = {name: item for name, item in record["remote"].items() if name not in TRANSFER}
    return source


def finite(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return `values` without the numbers that are not finite."""
    return {name: each for name, each in values.items() if not (isinstance(each, float) and not math.isfinite(each))}


def plain(value: Any) -> Any:
    """Return `value` with tuples as lists, as JSON would give it back."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value
