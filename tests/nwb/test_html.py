"""What pynwb shows of a file in a notebook, to people who do not have this package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ndx_synapsnet import write_result
from ndx_synapsnet.session import FitResult

WITHOUT_THE_PACKAGE = """
import sys
sys.modules["ndx_synapsnet"] = None  # any attempt to import it fails
from pynwb import NWBHDF5IO
with NWBHDF5IO(sys.argv[1], "r") as io:
    nwbfile = io.read()
    print(nwbfile._repr_html_())
    print(nwbfile.processing["ecephys"]["synapsnet"]._repr_html_())
"""


def test_without_the_package_the_file_is_shown_as_html(tmp_path: Path, result: FitResult) -> None:
    path = tmp_path / "result.nwb"
    write_result(result, path)
    command = [sys.executable, "-W", "error::UserWarning", "-c", WITHOUT_THE_PACKAGE, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    shown = ("SynapsNetFit", "NeuronEmbeddings", "FunctionalConnectivity", "ActivityForecast", "FitProvenance")
    for words in (*shown, "functional_connectivitys", "effective", "weights", result.verdict):
        assert words in done.stdout, words
