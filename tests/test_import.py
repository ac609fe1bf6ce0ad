"""Importing the package is light: it registers the types and loads no torch."""

from __future__ import annotations

import subprocess
import sys

import ndx_synapsnet


def _in_a_new_process(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def test_import_loads_no_torch_and_no_pictures() -> None:
    heavy = ("torch", "matplotlib", "scipy", "sklearn", "dandi", "click", "rich")
    code = (
        "import sys, pynwb; before = set(sys.modules); import ndx_synapsnet; "
        f"print([m for m in {heavy} if m in set(sys.modules) - before])"
    )
    assert _in_a_new_process(code) == "[]"


def test_import_registers_the_types() -> None:
    code = "import ndx_synapsnet as n, pynwb; print(pynwb.get_class('SynapsNetFit', 'ndx-synapsnet') is n.SynapsNetFit)"
    assert _in_a_new_process(code) == "True"


def test_reading_a_result_needs_no_torch() -> None:
    code = "import sys; from ndx_synapsnet import read_result, read_session, inspect; print('torch' in sys.modules)"
    assert _in_a_new_process(code) == "False"


def test_every_public_name_is_there() -> None:
    for name in ndx_synapsnet.__all__:
        assert getattr(ndx_synapsnet, name) is not None
    assert set(ndx_synapsnet.__all__) <= set(dir(ndx_synapsnet))
