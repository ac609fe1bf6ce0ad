"""The namespace's YAML, the pynwb classes, and files that hold them in the hands of people without the package."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pynwb
import pytest
from hdmf.common import DynamicTableRegion
from hdmf_zarr import NWBZarrIO
from pynwb import NWBHDF5IO, NWBFile, get_type_map
from ruamel.yaml import YAML

import ndx_synapsnet
from ndx_synapsnet.nwb.store import validation_errors
from ndx_synapsnet.nwb.types import (
    ActivityForecast,
    FitProvenance,
    FunctionalConnectivity,
    InputCurrents,
    NeuronEmbeddings,
    SynapsNetFit,
)

ROOT = Path(__file__).resolve().parents[2]
SPEC = ROOT / "spec"
TYPES = {
    "NeuronEmbeddings": "DynamicTable",
    "FunctionalConnectivity": "NWBDataInterface",
    "ActivityForecast": "TimeSeries",
    "InputCurrents": "TimeSeries",
    "FitProvenance": "NWBDataInterface",
    "SynapsNetFit": "NWBDataInterface",
}


def load(name: str) -> Any:
    return YAML(typ="safe").load((SPEC / name).read_text(encoding="utf-8"))


# --- the namespace ---------------------------------------------------------------------------------------------------


def test_committed_files_are_what_the_generator_writes(tmp_path: Path) -> None:
    runpy.run_path(str(SPEC / "create_extension_spec.py"))["main"](tmp_path)
    written = sorted(path.name for path in tmp_path.iterdir())
    suffixes = ("extensions.json", "extensions.yaml", "namespace.yaml")
    assert written == [f"ndx-synapsnet.{suffix}" for suffix in suffixes]
    for name in written:
        assert (tmp_path / name).read_text() == (SPEC / name).read_text(), f"run spec/create_extension_spec.py: {name}"


def test_json_holds_what_the_yaml_does() -> None:
    assert json.loads((SPEC / "ndx-synapsnet.extensions.json").read_text()) == load("ndx-synapsnet.extensions.yaml")


def run_validator(folder: Path) -> subprocess.CompletedProcess[str]:
    schema = Path(pynwb.__file__).parent / "nwb-schema" / "nwb.schema.json"
    command = [sys.executable, "-m", "hdmf.testing.validate_spec", str(folder), "-m", str(schema)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_yaml_conforms_to_the_specification_language(tmp_path: Path) -> None:
    good = run_validator(SPEC)
    assert good.returncode == 0, good.stderr
    shutil.copytree(SPEC, tmp_path / "spec")
    broken = tmp_path / "spec" / "ndx-synapsnet.extensions.yaml"
    broken.write_text(broken.read_text().replace("dtype: float32", "dtype: flout", 1))
    assert run_validator(tmp_path / "spec").returncode != 0


def test_every_type_is_there_with_its_base_and_every_part_is_explained() -> None:
    groups = load("ndx-synapsnet.extensions.yaml")["groups"]
    assert {g["neurodata_type_def"]: g["neurodata_type_inc"] for g in groups} == TYPES
    for group in groups:
        parts = [group, *(p for kind in ("attributes", "datasets", "groups", "links") for p in group.get(kind, []))]
        for part in parts:
            assert len(part["doc"]) > 15, part
            assert part["doc"].rstrip().endswith("."), part["doc"]


def test_namespace_package_and_records_have_one_version() -> None:
    namespace = load("ndx-synapsnet.namespace.yaml")["namespaces"][0]
    project = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.M)
    assert project is not None
    versions = {
        "namespace": namespace["version"],
        "package": ndx_synapsnet.__version__,
        "pyproject.toml": project.group(1),
        "ndx-meta.yaml": YAML(typ="safe").load((ROOT / "ndx-meta.yaml").read_text())["version"],
        "CITATION.cff": YAML(typ="safe").load((ROOT / "CITATION.cff").read_text())["version"],
    }
    assert set(versions.values()) == {ndx_synapsnet.__version__}, versions


def test_classes_are_exported_and_registered() -> None:
    for name in TYPES:
        assert name in ndx_synapsnet.__all__
        registered = get_type_map(copy=False).get_dt_container_cls(name, "ndx-synapsnet")
        assert registered is getattr(ndx_synapsnet, name)
        assert registered.__doc__ is not None or name == "FitProvenance"


# --- the classes -----------------------------------------------------------------------------------------------------

IO = {"nwb": NWBHDF5IO, "zarr": NWBZarrIO}
WEIGHTS = np.array([[0, 1, 2], [3, 0, 5]], np.float32)


def table(n: int = 3) -> NeuronEmbeddings:
    neurons = NeuronEmbeddings(description="Neurons", id=np.arange(n), predictors=["synapsnet"])
    neurons.add_column(name="neuron_id", description="Name", data=[f"n{i}" for i in range(n)])
    neurons.add_column(name="embedding", description="Vector", data=np.arange(2.0 * n).reshape(n, 2))
    neurons.add_column(name="depth", description="A further column", data=np.arange(n))
    return neurons


def region(neurons: NeuronEmbeddings, name: str, rows: list[int]) -> DynamicTableRegion:
    return neurons.create_region(name=name, region=rows, description="Rows")


def connectivity(neurons: NeuronEmbeddings, **changes: Any) -> FunctionalConnectivity:
    parts = {
        "method": "synapsnet",
        "targets": region(neurons, "targets", [0, 2]),
        "sources": region(neurons, "sources", [0, 1, 2]),
        "weights": WEIGHTS,
        "lag": 1,
        "lag_seconds": 0.5,
        "gain_normalized": True,
        "diagonal": "zero",
    }
    return FunctionalConnectivity(**{key: value for key, value in (parts | changes).items() if value is not None})


EDGES: dict[str, Any] = {
    "weights": None,
    "edge_target": np.array([1, 0]),
    "edge_source": np.array([0, 2]),
    "edge_weight": np.array([7.0, 8.0], np.float32),
}


def fit() -> tuple[SynapsNetFit, ActivityForecast]:
    neurons = table()
    forecast = ActivityForecast(
        data=np.arange(12, dtype=np.float32).reshape(4, 3),
        unit="dF/F",
        neurons=region(neurons, "neurons", [0, 1, 2]),
        timestamps=[1.0, 2.0, 3.0, 4.5],
        control=np.array([3, 3, 3, 3], np.uint8),
        control_description=["unused", "train", "validation", "test"],
        horizon=1,
        sample_index=np.arange(4),
    )
    currents = InputCurrents(
        data=np.ones((4, 3), np.float32),
        unit="z-score",
        neurons=region(neurons, "neurons", [0, 1, 2]),
        timestamps=forecast,
    )
    whole = SynapsNetFit(
        neurons=neurons,
        provenance=FitProvenance(config="{}", seed=3, decoder_weights=np.array([1, 2], np.uint8)),
        functional_connectivitys=[connectivity(neurons), connectivity(neurons, name="sparse", **EDGES)],
        activity_forecasts=[forecast],
        input_currents=[currents],
        model="synapsnet",
        trustworthy=False,
    )
    return whole, forecast


@pytest.fixture
def written(tmp_path: Path, suffix: str, make_recording: Callable[[], NWBFile]) -> Path:
    """Path of a file with a fit beside units, electrodes and the observed series."""
    path = tmp_path / f"types.{suffix}"
    nwbfile = make_recording()
    whole, forecast = fit()
    forecast.observed = nwbfile.processing["ophys"]["observed"]
    nwbfile.processing["ophys"].add(whole)
    with IO[suffix](str(path), "w") as io:
        io.write(nwbfile)
    return path


def test_types_come_back_from_disk(written: Path, suffix: str) -> None:
    assert validation_errors(written, "zarr" if suffix == "zarr" else "hdf5") == set()
    with IO[suffix](str(written), "r") as io:
        nwbfile = io.read()
        whole = nwbfile.processing["ophys"]["synapsnet"]
        assert isinstance(whole, SynapsNetFit)
        assert bool(whole.trustworthy) is False
        assert whole.description is None
        dense = whole["effective"]
        assert isinstance(dense, FunctionalConnectivity)
        np.testing.assert_array_equal(dense.weights[:], WEIGHTS)
        np.testing.assert_array_equal(dense.dense(), WEIGHTS)
        assert dense.targets.table is whole.neurons
        assert list(dense.targets.data[:]) == [0, 2]
        assert (int(dense.lag), float(dense.lag_seconds), dense.method) == (1, 0.5, "synapsnet")
        np.testing.assert_array_equal(whole.connectivity["sparse"].dense(), [[0, 0, 8], [7, 0, 0]])
        assert whole.neurons["neuron_id"].data[:].tolist() == ["n0", "n1", "n2"]
        np.testing.assert_array_equal(whole.neurons["embedding"].data[:], [[0, 1], [2, 3], [4, 5]])
        assert isinstance(whole["forecast"], ActivityForecast)
        assert whole["forecast"].observed is nwbfile.processing["ophys"]["observed"]
        np.testing.assert_array_equal(whole["input_currents"].timestamps[:], [1.0, 2.0, 3.0, 4.5])
        assert int(whole.provenance.seed) == 3
        with pytest.raises(KeyError, match="holds no 'nothing', only"):
            whole["nothing"]


WITHOUT_THE_PACKAGE = """
import sys
sys.modules["ndx_synapsnet"] = None  # any attempt to import it fails
import warnings
from pynwb import NWBHDF5IO, validate
path = sys.argv[1]
if path.endswith(".zarr"):
    from hdmf_zarr import NWBZarrIO as IO
else:
    IO = NWBHDF5IO
with IO(path, "r") as io:
    nwbfile = io.read()
    fit = nwbfile.processing["ophys"]["synapsnet"]
    assert type(fit).__name__ == "SynapsNetFit" and "ndx_synapsnet" not in type(fit).__module__
    dense = fit.functional_connectivitys["effective"]
    assert dense.weights[:].tolist() == [[0, 1, 2], [3, 0, 5]]
    assert dense.targets.table is fit.neurons
    assert list(dense.targets[:].index) == [0, 2], dense.targets[:]
    assert fit.neurons.to_dataframe()["neuron_id"].tolist() == ["n0", "n1", "n2"]
    forecast = fit.activity_forecasts["forecast"]
    assert forecast.observed.name == "observed" and forecast.observed.data.shape == (60, 3)
    assert fit.input_currents["input_currents"].timestamps[:].tolist() == [1, 2, 3, 4.5]
    assert "NeuronEmbeddings" in fit._repr_html_() or "neurons" in fit._repr_html_()
    assert "embedding" in fit.neurons._repr_html_()
    errors = validate(io=io)
    assert not errors, errors
assert not [name for name in sys.modules if name.startswith("ndx_synapsnet.")]
print("readable")
"""


def test_readable_and_valid_without_the_package(written: Path) -> None:
    command = [sys.executable, "-W", "error::UserWarning", "-c", WITHOUT_THE_PACKAGE, str(written)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "readable"


# --- what the classes refuse -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": WEIGHTS.T}, r"weights has shape \(3, 2\), expected \(2, 3\) \(targets, sources\)"),
        ({"p_value": np.zeros((2, 2))}, r"p_value has shape \(2, 2\), expected \(2, 3\)"),
        ({"weights": None}, "give either weights, or all of edge_target"),
        (EDGES | {"weights": WEIGHTS}, "give either weights, or all of edge_target"),
        (EDGES | {"edge_weight": None}, "give either weights, or all of edge_target"),
        (EDGES | {"edge_target": np.array([2, 0])}, "edge_target reaches from 0 to 2 on an axis of 2"),
        (EDGES | {"edge_source": np.array([-1, 0])}, "edge_source reaches from -1 to 0 on an axis of 3"),
        (EDGES | {"edge_source": np.array([0])}, r"edge_source has shape \(1,\), expected \(2,\)"),
    ],
)
def test_connectivity_refuses_parts_that_do_not_fit(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        connectivity(table(), **changes)


def test_regions_need_a_table() -> None:
    bare = DynamicTableRegion(name="targets", data=[0, 1], description="Rows", table=None)
    with pytest.raises(ValueError, match=r"'effective': the region 'targets' has no table. Make it with"):
        connectivity(table(), targets=bare)


@pytest.mark.parametrize("series", [ActivityForecast, InputCurrents])
def test_series_refuse_data_that_do_not_fit_the_neurons(series: Any) -> None:
    neurons = table()
    with pytest.raises(ValueError, match=r"data has shape \(3, 4\), expected \(None, 3\) \(time, neurons\)"):
        series(data=np.zeros((3, 4)), unit="x", neurons=region(neurons, "neurons", [0, 1, 2]), rate=1.0)


def test_forecast_refuses_places_of_other_number() -> None:
    with pytest.raises(ValueError, match=r"sample_index has shape \(2,\), expected \(4,\)"):
        ActivityForecast(
            data=np.zeros((4, 3)),
            unit="x",
            neurons=region(table(), "neurons", [0, 1, 2]),
            rate=1.0,
            sample_index=np.arange(2),
        )
