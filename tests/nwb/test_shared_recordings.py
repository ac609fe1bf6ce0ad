"""Real recordings, with their flaws: nothing in them changes, and no result adds a fault that they had not."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from nwbinspector import Importance, inspect_nwbfile, load_config

from ndx_synapsnet.errors import InputError
from ndx_synapsnet.experiment import fit
from ndx_synapsnet.experiment import load_config as load_settings
from ndx_synapsnet.nwb import store
from ndx_synapsnet.nwb.compare import first_difference
from ndx_synapsnet.nwb.readers import read_session
from ndx_synapsnet.nwb.readers.provenance import file_record
from ndx_synapsnet.nwb.results import read_result, write_result
from ndx_synapsnet.nwb.sources import open_source
from ndx_synapsnet.nwb.whole import write_whole
from ndx_synapsnet.session import FitResult

SMALLEST: dict[str, Any] = {
    "train": {"epochs": 1, "min_steps": 0, "max_steps": None, "patience": None},
    "model": {"drive": False, "connectivity": "learned", "skip_history": False, "skip_current": False},
}
RECORDINGS = (
    "allen-layout/aibs",
    "allen-layout/aibs_ecephys",
    "lif-ground-truth/ren1917-3600s",
    "lif-ground-truth/sim1917-1800s",
    "pynapple/cnmfe_A6512-210915",
    "pynapple/neurosuite_A2929-200711",
    "pynapple/phy_A8604-211122",
    "pynapple/suite2p_2022_08_08",
    "rat-hippocampus/linear-track",
    "rat-hippocampus/w-maze",
    "zebrafish-regions/zebrafish-regions-fish6",
)


def learned(recording: Path, make_result: Callable[..., FitResult]) -> FitResult:
    """Return what the smallest fit gives; of a recording that holds no activity to learn from, random numbers."""
    try:
        session = read_session(recording)
    except InputError:
        with open_source(recording) as opened:
            source = {"uri": str(recording), **file_record(opened.nwbfile)}
        result = make_result()
        return replace(result, modality="ecephys", provenance={**result.provenance, "source": source})
    (result,) = fit(session, load_settings("fast", overrides=SMALLEST), progress=False)
    return result


def critical(path: Path) -> set[str]:
    found = inspect_nwbfile(nwbfile_path=path, config=load_config("dandi"))
    return {m.check_function_name for m in found if m.importance in (Importance.CRITICAL, Importance.ERROR)}


@pytest.mark.parametrize("name", RECORDINGS)
@pytest.mark.filterwarnings("default")  # what readers and the inspector say of these files is known
def test_a_result_of_a_real_recording(
    shared_data: Path, tmp_path: Path, name: str, make_result: Callable[..., FitResult]
) -> None:
    source = shared_data / f"{name}.nwb"
    errors, faults = store.validation_errors(source, "hdf5"), critical(source)
    result = learned(source, make_result)
    here = tmp_path / source.name
    shutil.copyfile(source, here)
    write_result(result, tmp_path / "beside.nwb")
    write_result(result, here, in_place=True)
    write_whole(result, source, tmp_path / "whole.nwb")
    for path in (tmp_path / "beside.nwb", here, tmp_path / "whole.nwb"):
        assert store.validation_errors(path, "hdf5") <= errors, path.name
        assert critical(path) <= faults, path.name
        assert read_result(path) == result, path.name
        if path.name != "beside.nwb":
            assert first_difference(source, path) is None, path.name
