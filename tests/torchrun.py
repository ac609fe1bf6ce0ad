"""How tests start two processes that train together, as ``torchrun`` does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

#: Nothing looks up this machine's name, nor leaves it, and the ports are the system's choice.
COMMAND = (
    sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2",
    "--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0", "--local-addr=127.0.0.1",
)  # fmt: skip
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
# the ranks run test files, which import this one
ENVIRONMENT["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])


def run_ranks(*words: str, timeout: float = 200) -> subprocess.CompletedProcess[str]:
    """Run two ranks to their end; after `timeout` seconds they are ended, and not left behind."""
    process = subprocess.Popen(
        [*COMMAND, *words], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        out, errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.terminate()  # which torchrun passes on
        out, errors = process.communicate(timeout=60)
        pytest.fail(f"the ranks did not end in {timeout} s\n{out}\n{errors}")
    return subprocess.CompletedProcess(process.args, process.returncode, out, errors)


needs_gloo = pytest.mark.skipif(
    not (torch.distributed.is_available() and torch.distributed.is_gloo_available()),
    reason="this torch has no gloo, by which processes talk",
)
