"""Peak memory of a whole fit, by the kernel's own account."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from ..config import load_config
from ..experiment import fit
from ..simulate import random_session


def peak_memory(neurons: int, samples: int, steps: int, recipe: str = "fast") -> dict[str, Any]:
    """Fit random numbers with a few training steps in a new process, and return its peak resident memory in bytes.

    The process's own libraries are in it; so is the recording, once as read and once z-scored, A, its gradient and
    Adam's two moments, the reference predictors, the forecast and the result.
    """
    code = (
        "import json, sys; from ndx_synapsnet.benchmark import memory; "
        "n, t, steps = map(int, sys.argv[1:4]); base = memory.peak_resident(); "
        "memory.short_fit(n, t, steps, sys.argv[4]); print(json.dumps([base, memory.peak_resident()]))"
    )
    command = [sys.executable, "-c", code, str(neurons), str(samples), str(steps), recipe]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    base, peak = json.loads(done.stdout)
    formula = 4 * (2 * neurons * samples + 5 * neurons**2)
    return {"neurons": neurons, "samples": samples, "libraries": base, "peak": peak, "series_and_matrix": formula}


def peak_resident() -> int:
    """Return this process's peak resident memory in bytes.

    From the kernel's own account where there is one: `getrusage` counts what the parent held when it forked.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return 1024 * int(line.split()[1])
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def short_fit(neurons: int, samples: int, steps: int, recipe: str) -> None:
    """Fit random numbers by a recipe cut to `steps` training steps (see `peak_memory`)."""
    config = load_config(recipe, overrides={"train": {"epochs": 1, "min_steps": 0, "max_steps": steps}})
    fit(random_session(neurons, samples), config, progress=False)
