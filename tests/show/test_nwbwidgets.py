"""NWB Widgets: what keeps it from being imported is told before anything is imported, and then it shows our types."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from ndx_synapsnet.errors import InputError
from ndx_synapsnet.nwb.results import write_result
from ndx_synapsnet.session import FitResult
from ndx_synapsnet.show.widgets import register_nwbwidgets, registration

GOOD = {"nwbwidgets": "0.11.3", "zarr": "2.18.7", "hdmf": "6.2.0"}

SHOW = """
import sys
from pynwb import NWBHDF5IO, load_namespaces
from ndx_synapsnet.show.widgets import register_nwbwidgets, vis_spec
spec = register_nwbwidgets()
assert register_nwbwidgets() is spec
assert all(spec[kind] is view for kind, view in vis_spec.items())
from nwbwidgets import nwb2widget
with NWBHDF5IO(sys.argv[1], "r") as io:
    module = io.read().processing["ecephys"]
    shown = nwb2widget(module)
    tab = nwb2widget(module["synapsnet"])
    assert tab.get_title(1) == "Connectivity", tab
    tab.selected_index = 1
    before = bytes(tab.children[1].picture.value)
    tab.children[1].controls["matrix"].value = tab.children[1].controls["matrix"].options[-1]
    assert bytes(tab.children[1].picture.value) not in (before, b"")
    assert type(nwb2widget(module["synapsnet"].neurons)).__name__ == "Tab"
import ndx_synapsnet
load_namespaces(str(ndx_synapsnet.nwb.types.namespace_path()))  # no other extension is kept out
"""


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch) -> dict[str, str | None]:
    """Versions that seem to be installed; importing what they allow to be imported fails the test."""
    seeming: dict[str, str | None] = dict(GOOD)

    def refuse(name: str) -> Any:
        raise AssertionError(f"{name} was imported")

    monkeypatch.setattr(registration, "_version", seeming.get)
    monkeypatch.setattr(registration, "find_spec", lambda name: object())
    monkeypatch.setattr(registration.importlib, "import_module", refuse)
    monkeypatch.delitem(sys.modules, "nwbwidgets.view", raising=False)
    return seeming


@pytest.mark.parametrize(
    ("package", "version", "said"),
    [
        ("nwbwidgets", None, r"nwbwidgets, which is not installed.*ndx-synapsnet\[widgets\]"),
        ("nwbwidgets", "0.12.0", r"version 0\.12\.0.*\[widgets\]"),
        ("zarr", "3.0.8", r"zarr below 3.*3\.0\.8.*\[widgets\]"),
        ("zarr", None, "zarr is not installed"),
    ],
)
def test_versions_that_cannot_work_are_not_tried(
    versions: dict[str, str | None], package: str, version: str | None, said: str
) -> None:
    versions[package] = version
    with pytest.raises(InputError, match=said):
        register_nwbwidgets()
    assert registration._STUBBED not in sys.modules


def test_what_is_missing_is_named(versions: dict[str, str | None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registration, "find_spec", lambda name: None if name == "ipython_genutils" else object())
    with pytest.raises(InputError, match="needs ipython_genutils, not installed"):
        register_nwbwidgets()


def test_a_process_that_is_spoilt_is_told(versions: dict[str, str | None], monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = type("Catalog", (), {"namespaces": ("core", "ndx-icephys-meta")})
    monkeypatch.setattr(registration, "get_type_map", lambda copy: type("Map", (), {"namespace_catalog": catalog}))
    with pytest.raises(InputError, match=r"loaded half.*Start Python anew"):
        register_nwbwidgets()


def test_a_failure_that_was_not_foreseen_says_what_to_do(
    versions: dict[str, str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str) -> Any:
        assert sys.modules["ndx_icephys_meta.icephys"].SweepSequences is not None
        raise AttributeError("numpy has no bool")

    monkeypatch.setattr(registration.importlib, "import_module", fail)
    try:
        with pytest.raises(InputError, match=r"numpy has no bool.*start Python anew"):
            register_nwbwidgets()
    finally:
        for name in ("ndx_icephys_meta", "ndx_icephys_meta.icephys"):
            sys.modules.pop(name, None)


def test_an_old_hdmf_needs_no_stand_in(versions: dict[str, str | None]) -> None:
    versions["hdmf"] = "3.14.6"
    assert not registration._needs_stub()
    versions["hdmf"] = "5.0.0"
    assert registration._needs_stub()


@pytest.mark.skipif(find_spec("nwbwidgets") is None, reason="NWB Widgets is not installed: the extra [widgets]")
def test_nwb_widgets_shows_a_written_file(result: FitResult, tmp_path: Path) -> None:
    write_result(result, tmp_path / "result.nwb")
    done = subprocess.run(  # a process of its own: what NWB Widgets loads stays for good
        [sys.executable, "-c", SHOW, str(tmp_path / "result.nwb")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
