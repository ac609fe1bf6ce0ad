"""How long the views of a notebook take to answer, on a file of a large session."""

from __future__ import annotations

import os
import platform
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..nwb.runs import fits
from ..nwb.sources import open_source
from ..show.widgets import view_fit
from ..show.widgets.panel import require_ipywidgets
from .record import write_json
from .views_file import write_file

#: A change of a selector is to be answered in less than this many seconds.
TARGET = 0.5
_TRIES = 4  # values that each selector is set to
_PACKAGES = ("ndx-synapsnet", "ipywidgets", "matplotlib", "numpy", "pynwb", "hdmf", "h5py")


def run(
    folder: Path, *, neurons: int = 2000, samples: int = 100_000, say: Callable[[str], Any] | None = None
) -> dict[str, Any]:
    """Open every view of a generated file, change each selector in turn, and leave ``views.json`` in `folder`.

    Parameters
    ----------
    folder : Path
        Where to; made if missing. The generated file lies there meanwhile: 0.9 GB at the default size.
    neurons, samples : int
        Size of the recording; the forecast is of its last tenth.
    say : callable, optional
        Takes what is being done.

    Returns
    -------
    dict
        ``views``: by view, the seconds until it is first seen (``open``) and of a change of each selector
        (``selectors``: median and largest, on the clock and of the processor).

    Raises
    ------
    InputError
        If ipywidgets is not installed.
    """
    require_ipywidgets()
    tell = say or (lambda _: None)
    folder.mkdir(parents=True, exist_ok=True)
    load = list(os.getloadavg())
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        path = Path(scratch) / "large.nwb"
        tell(f"Writing {neurons} neurons x {samples} samples ...")
        write_file(path, neurons=neurons, samples=samples)
        size = path.stat().st_size
        with open_source(path) as opened:
            ((_, fit),) = fits(opened.nwbfile).values()
            begin = time.perf_counter()
            tab = view_fit(fit)
            opening = time.perf_counter() - begin
            views = {}
            for place in range(len(tab.children)):
                tell(f"{tab.get_title(place)} ...")
                views[tab.get_title(place)] = _measure(tab, place)
    answers = [of for found in views.values() for of in found["selectors"].values()]
    slowest = max(of["longest"] for of in answers)
    found = {
        "machine": {"processor": _processor(), "cores": os.cpu_count(), "system": platform.system()},
        "load_before": load,
        "software": {"python": platform.python_version(), **_versions()},
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "neurons": neurons,
        "samples": samples,
        "file_bytes": size,
        "target": TARGET,
        "tabs": opening,
        "views": views,
        "slowest": slowest,
        "slowest_processor": max(of["processor_longest"] for of in answers),
        "met": slowest < TARGET,
    }
    write_json(folder / "views.json", found)
    return found


def _measure(tab: Any, place: int) -> dict[str, Any]:
    """Open a tab and change its selectors; return what that took, until the picture is handed to the browser."""
    begin, used = time.perf_counter(), time.process_time()
    tab.selected_index = place
    opened = {"seconds": time.perf_counter() - begin, "processor_seconds": time.process_time() - used}
    shown = tab.children[place]
    selectors: dict[str, Any] = {}
    if not hasattr(shown, "controls"):
        return {"open": opened, "selectors": selectors}
    drawn: list[tuple[float, float]] = []
    shown.picture.observe(lambda _: drawn.append((time.perf_counter(), time.process_time())), names="value")
    for name, control in shown.controls.items():
        usual, clock, processor = control.value, [], []
        for value in _values(control):
            values = {other: of.value for other, of in shown.controls.items()} | {name: value}
            if shown.patience(**values):  # who chooses this is told that it takes its time
                continue
            drawn.clear()
            begin, used = time.perf_counter(), time.process_time()
            control.value = value
            if shown.message.value or not drawn:
                raise RuntimeError(f"{tab.get_title(place)}: {name} = {value!r} did not change the picture")
            clock.append(drawn[-1][0] - begin)
            processor.append(drawn[-1][1] - used)
        control.value = usual
        if clock:
            selectors[name] = {
                "changes": len(clock),
                "median": sorted(clock)[len(clock) // 2],
                "longest": max(clock),
                "processor_median": sorted(processor)[len(processor) // 2],
                "processor_longest": max(processor),
            }
    return {"open": opened, "selectors": selectors}


def _values(control: Any) -> list[Any]:
    """Return values to set a selector to, none of them the one before it."""
    if hasattr(control, "options"):
        options = [option[1] if isinstance(option, tuple) else option for option in control.options]
        others = [option for option in options if option != control.value]
        step = max(1, len(others) // _TRIES)
        return others[::step][:_TRIES]
    steps = [control.min + (control.max - control.min) * k // _TRIES for k in range(_TRIES)]
    return [value for value in steps if value != control.value]


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
