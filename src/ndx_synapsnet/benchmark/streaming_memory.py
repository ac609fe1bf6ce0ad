"""The memory that reading a large set of spike times takes, beside the counts that are returned."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..nwb.readers import read_session
from ..nwb.sources.remote.options import RemoteOptions, use_options
from .archive_process import ArchiveProcess
from .recordings import Layout, spike_recording

#: Bytes that reading may take beside the counts.
ALLOWED = 200_000_000


def streaming_memory(
    folder: Path, layout: Layout, *, units: int = 2_779, spikes: int = 131_000_000, seconds: float = 9_000.0
) -> dict[str, Any]:
    """Stream a recording made in `folder` in a new process, and return its peak memory in bytes.

    By default one of the Allen Institute's size: 1.05 GB of spike times, counted at 30 Hz.

    Raises
    ------
    InputError
        If this system's kernel keeps no account of it.
    """
    if not Path("/proc/self/clear_refs").exists():
        raise InputError("peak memory can be measured on Linux only")
    warm = spike_recording(folder / "warm.nwb", layout, units=5, spikes=20_000, seconds=20.0)
    path = folder / "archive" / "large.nwb"
    spike_recording(path, layout, units=units, spikes=spikes, seconds=seconds, even=True)
    try:
        with ArchiveProcess(path.parent) as archive:
            url = archive.file_url(path.name)
            command = [sys.executable, "-W", "ignore", "-m", __name__, url, str(warm.path)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
    finally:
        path.unlink()
    found = json.loads(done.stdout.splitlines()[-1])
    beside = found["peak"] - found["base"] - found["counts"]
    return {"layout": layout, "units": units, "spikes": spikes, **found, "beside": beside, "allowed": ALLOWED}


def read_and_tell(uri: str, warm: str) -> dict[str, Any]:
    """Read a recording; return the memory in bytes before it, the peak during it, and that of the counts.

    Another is read before, so that libraries and threads are in the first.
    """
    with use_options(RemoteOptions(cache=None, progress=False)):
        read_session(warm, behavior="none", quality_filter=False)
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        base = _status("VmRSS")
        activity = read_session(uri, behavior="none", quality_filter=False).activity
    return {"base": base, "peak": _status("VmHWM"), "counts": activity.nbytes, "counted": int(activity.sum(dtype="f8"))}


def _status(name: str) -> int:
    """Return bytes of the kernel's account of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(f"{name}:")).split()[1])


if __name__ == "__main__":
    print(json.dumps(read_and_tell(*sys.argv[1:])))
