"""Results and recordings that the tests of this room share."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hdmf_zarr import NWBZarrIO
from pynwb import NWBHDF5IO, NWBFile, TimeSeries
from pynwb.file import Subject

from ndx_synapsnet.session import Connectivity, FitResult, Forecast, Neurons, Normalization, Scores

#: Provenance of a session from a file that says all DANDI asks for.
COMPLETE_SOURCE: dict[str, Any] = {
    "uri": "/data/mouse.nwb",
    "identifier": "mouse-1-session-1",
    "file_object_id": "f0f0f0f0-0000-4000-8000-000000000001",
    "session_id": "s1",
    "session_description": "A mouse runs in the dark.",
    "session_start_time": "2024-05-01T10:00:00+02:00",
    "timestamps_reference_time": "2024-05-01T10:00:01+02:00",
    "lab": "A lab",
    "institution": "An institute",
    "experimenter": ["Doe, Jane"],
    "keywords": ["running"],
    "subject": {
        "subject_id": "m1",
        "species": "Mus musculus",
        "sex": "F",
        "age": "P90D",
        "description": "A mouse.",
        "date_of_birth": "2024-02-01T00:00:00+01:00",
        "unheard_of": "left out",
    },
    "series": [{"path": "/processing/ophys/observed", "object_id": "none", "name": "observed"}],
    "remote": {
        "archive": "dandi",
        "dandiset": "000021",
        "version": "0.1.0",
        "asset_id": "a1",
        "path": "sub-m1/sub-m1_ses-s1.nwb",
        "digest": {"dandi:dandi-etag": "11-1", "dandi:sha2-256": "00"},
        "integrity": "unverified",
    },
    "notes": ["2 of 5 ROIs left out: iscell is 0"],
}


def build_result(n: int = 3, *, seed: int = 0, **changes: Any) -> FitResult:
    """Return a result with something in every field; `changes` replaces fields."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    def scores() -> Scores:
        return Scores(np.r_[np.nan, np.linspace(0, 1, n - 1)], normal(n))

    weights = np.arange(n * n, dtype=np.float32).reshape(n, n)
    fields: dict[str, Any] = {
        "run_id": f"run-{seed}",
        "model": "synapsnet",
        "config": {"recipe": "default", "train": {"epochs": 3, "seed": seed}, "grid": [0.1, None, float("nan")]},
        "neurons": Neurons(
            id=[f"neuron {i}" for i in range(n)],
            source_path=["/units"] * n,
            source_object_id=["b0b0"] * n,
            source_row=np.arange(n)[::-1] * 10,
            identity=["m1:cell_specimen_id:5", *[""] * (n - 1)],
            position=np.column_stack([np.arange(n) / 3, np.full(n, np.nan), -np.arange(n)]),
            region=["VISp", *[""] * (n - 1)],
            cell_type=[*["Sst"] * (n - 1), "π"],
            extra={
                "snr": np.linspace(0, 1, n),
                "good": np.arange(n) % 2 == 0,
                "channel": np.arange(n, dtype=np.int32),
                "label": np.array(["µ"] * n),
                "embedding": np.arange(n),
                "extra_embedding": np.arange(n) + 1,
                "mean_mse": np.arange(n) + 2,
                "name": np.array(["x"] * n),
            },
        ),
        "modality": "ophys",
        "activity_kind": "dff",
        "unit": "dF/F",
        "period": 1 / 30,
        "behavior_names": ("speed", "pupil area"),
        "split": np.repeat(np.array([1, 0, 2, 3], np.uint8), [30, 2, 8, 10]),
        "normalization": Normalization(normal(n), normal(n), normal(2), normal(2)),
        "embeddings": normal(n, 4),
        "connectivity": {
            "effective": Connectivity(
                weights,
                "synapsnet",
                "z-scored units",
                lag=2,
                lag_seconds=2 / 30,
                gain_normalized=True,
                standard_error=np.where(np.eye(n) == 1, np.nan, 0.5),
                p_value=np.full((n, n), 0.25),
                q_value=np.full((n, n), 0.5),
            ),
            "raw": Connectivity(weights.T, "synapsnet", "", diagonal="learned"),
            "forecast": Connectivity(np.zeros((n, n)), "named like another part", "zeros"),
        },
        "forecast": Forecast(
            normal(10, n), np.arange(40, 50), np.arange(40, 50) / 30 + 0.1, np.full(10, 3), 1, normal(10, n)
        ),
        "scores": {"synapsnet": scores(), "mean": scores(), "ar_var": scores()},
        "training": {"epoch": np.arange(3.0), "train_loss": np.array([1.0, 0.5, np.nan])},
        "weights": {
            "gru.weight": normal(6, 2).T,
            "scale": np.array(2.5),
            "steps": np.array([3], np.int64),
            "none": np.zeros((0, 4), np.float32),
        },
        "verdict": "The forecast beats every reference predictor.",
        "trustworthy": True,
        "provenance": {
            "source": COMPLETE_SOURCE,
            "software": {"torch": "2.9.0", "numpy": "2.4.0"},
            "seed": seed,
            "device": "cpu",
            "started": "2026-11-21T10:00:00+00:00",
            "finished": f"2026-11-21T10:{10 + seed:02d}:00+00:00",
            "interrupted": False,
        },
    }
    return FitResult(**(fields | changes))


@pytest.fixture(scope="session")
def make_result() -> Callable[..., FitResult]:
    """`build_result`."""
    return build_result


def build_recording() -> NWBFile:
    """Return a file with units, electrodes (their groups are object references) and a series called ``observed``."""
    nwbfile = NWBFile(
        session_description="A recording",
        identifier="r1",
        session_start_time=datetime(2024, 5, 1, tzinfo=timezone.utc),
        subject=Subject(subject_id="m1", species="Mus musculus", sex="F", age="P90D", description="A mouse."),
    )
    device = nwbfile.create_device(name="probe")
    group = nwbfile.create_electrode_group(name="shank", description="d", location="VISp", device=device)
    for _ in range(2):
        nwbfile.add_electrode(location="VISp", group=group, group_name="shank")
    for times in ([0.5, 1.0], [2.0]):
        nwbfile.add_unit(spike_times=times, electrodes=[0])
    rng = np.random.default_rng(0)
    nwbfile.create_processing_module("ophys", "Calcium").add(
        TimeSeries(name="observed", data=rng.random((60, 3)), unit="dF/F", rate=30.0)
    )
    return nwbfile


@pytest.fixture(scope="session")
def make_recording() -> Callable[[], NWBFile]:
    """`build_recording`."""
    return build_recording


IO = {"nwb": NWBHDF5IO, "zarr": NWBZarrIO}


@pytest.fixture(params=["nwb", "zarr"])
def suffix(request: pytest.FixtureRequest) -> str:
    """Each of the two formats, as a file name ends."""
    return str(request.param)


@pytest.fixture(scope="session")
def written_recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the recording in both formats, to be copied from."""
    folder = tmp_path_factory.mktemp("recordings")
    for suffix, io_class in IO.items():
        with io_class(str(folder / f"recording.{suffix}"), "w") as io:
            io.write(build_recording())
    return folder


@pytest.fixture
def hdf5_recording(tmp_path: Path, written_recordings: Path) -> Path:
    """A recording in HDF5."""
    return Path(shutil.copy(written_recordings / "recording.nwb", tmp_path))


@pytest.fixture
def zarr_recording(tmp_path: Path, written_recordings: Path) -> Path:
    """A recording in Zarr."""
    return Path(shutil.copytree(written_recordings / "recording.zarr", tmp_path / "recording.zarr"))


@pytest.fixture
def recording(request: pytest.FixtureRequest, suffix: str) -> Path:
    """A recording on disk, in each of the two formats."""
    return Path(request.getfixturevalue("hdf5_recording" if suffix == "nwb" else "zarr_recording"))
