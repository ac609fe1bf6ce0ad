"""FitResult → NWB → FitResult."""

from __future__ import annotations

import hashlib
import pickle
import re
import shutil
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hdmf_zarr import NWBZarrIO
from nwbinspector import Importance, inspect_nwbfile, load_config
from pynwb import NWBHDF5IO, NWBFile

from ndx_synapsnet.errors import InputError
from ndx_synapsnet.nwb import store
from ndx_synapsnet.nwb.metadata import new_nwbfile
from ndx_synapsnet.nwb.provenance import run_lengths
from ndx_synapsnet.nwb.results import (
    add_result,
    add_true_connectivity,
    list_runs,
    read_result,
    read_true_connectivity,
    size_of,
    write_result,
)
from ndx_synapsnet.session import Connectivity, FitResult, Forecast, Neurons

Make = Callable[..., FitResult]
FIT = "/processing/ophys/synapsnet"


def assert_equal(back: FitResult, written: FitResult) -> None:
    """Compare field by field first, so that a failure names the field."""
    for field in fields(FitResult):
        pair = [replace(written, **{field.name: getattr(r, field.name)}) for r in (back, written)]
        assert pair[0] == pair[1], field.name
    assert back == written


# --- there and back --------------------------------------------------------------------------------------------------


def bare_result(make_result: Make) -> FitResult:
    """Return a result with everything left out that can be."""
    bare = make_result()
    return replace(
        bare,
        neurons=Neurons(bare.neurons.id, bare.neurons.source_path, bare.neurons.source_object_id, [0, 1, 2]),
        run_id="",
        verdict="",
        unit="",
        trustworthy=False,
        config={},
        provenance={},
        behavior_names=(),
        normalization=replace(bare.normalization, behavior_mean=[], behavior_std=[]),
        split=[],
        embeddings=np.zeros((3, 0)),
        connectivity={},
        forecast=replace(bare.forecast, currents=None),
        training={},
        weights={},
        modality="ecephys",
        activity_kind="spike_counts",
    )


@pytest.fixture(
    params=[
        "everything",
        "as little as there can be",
        "no samples forecast",
        "one neuron",
        "large and sparse",
        "more neurons than samples",
    ]
)
def result(request: pytest.FixtureRequest, make_result: Make) -> FitResult:
    """Results of many shapes."""
    if request.param == "as little as there can be":
        return bare_result(make_result)
    if request.param == "no samples forecast":
        return make_result(forecast=Forecast(np.zeros((0, 3)), [], [], [], 4, np.zeros((0, 3))))
    if request.param == "one neuron":
        return make_result(1, embeddings=np.ones((1, 4)))
    if request.param == "large and sparse":
        weights = np.zeros((150, 150), np.float32)
        weights[[3, 149, 0], [149, 0, 5]] = [1.5, -2, 3]
        return make_result(150, connectivity={"effective": Connectivity(weights, "lasso", "d")})
    if request.param == "more neurons than samples":
        return make_result(30)
    return make_result()


def test_result_comes_back_equal(result: FitResult, tmp_path: Path) -> None:
    path = tmp_path / "result.nwb"
    done = write_result(result, path, compress=True)
    assert (done.path, done.run) == (path, "synapsnet")
    assert_equal(read_result(path), result)


def test_results_come_back_equal_from_zarr(tmp_path: Path, make_result: Make) -> None:
    for name, result in {"full": make_result(), "large": make_result(150), "bare": bare_result(make_result)}.items():
        path = tmp_path / f"{name}.zarr"
        write_result(result, path)
        assert_equal(read_result(path), result)


def test_result_comes_back_equal_from_the_source_file(recording: Path, make_result: Make) -> None:
    first, second = make_result(), make_result(seed=5)
    assert write_result(first, recording, in_place=True).run == "synapsnet"
    assert write_result(second, recording, in_place=True).run == "synapsnet_2"
    assert_equal(read_result(recording, "synapsnet"), first)
    assert_equal(read_result(recording, "synapsnet_2"), second)


def save(nwbfile: NWBFile, path: Path) -> Path:
    with NWBHDF5IO(str(path), "w") as io:
        io.write(nwbfile)
    return path


def test_run_without_a_name_is_the_latest(
    tmp_path: Path, make_recording: Callable[[], NWBFile], make_result: Make
) -> None:
    nwbfile = make_recording()
    later, earlier = make_result(seed=9), make_result(seed=2)
    add_result(nwbfile, later, name="aa")
    add_result(nwbfile, earlier, name="zz")
    assert list_runs(nwbfile) == ["zz", "aa"]
    assert_equal(read_result(save(nwbfile, tmp_path / "two.nwb")), later)


def test_runs_without_a_date_are_in_natural_order(make_recording: Callable[[], NWBFile], make_result: Make) -> None:
    nwbfile = make_recording()
    result = make_result(provenance={})
    assert [add_result(nwbfile, result) for _ in range(11)] == ["synapsnet", *(f"synapsnet_{i}" for i in range(2, 12))]
    assert list_runs(nwbfile)[-3:] == ["synapsnet_9", "synapsnet_10", "synapsnet_11"]


def test_names_that_are_taken_are_refused(make_recording: Callable[[], NWBFile], make_result: Make) -> None:
    nwbfile = make_recording()
    assert add_result(nwbfile, make_result(), name="mine") == "mine"
    with pytest.raises(InputError, match="something called 'mine' already"):
        add_result(nwbfile, make_result(), name="mine")
    with pytest.raises(InputError, match="something called 'observed' already"):
        add_result(nwbfile, make_result(modality="ecephys"), name="observed")
    with pytest.raises(InputError, match="cannot be called 'a/b'"):
        add_result(nwbfile, make_result(), name="a/b")


def test_columns_that_no_table_can_hold_are_refused(make_recording: Callable[[], NWBFile], make_result: Make) -> None:
    neurons = make_result().neurons
    with pytest.raises(InputError, match="cannot be called 'a/b'"):
        add_result(make_recording(), make_result(neurons=replace(neurons, extra={"a/b": np.arange(3)})))
    with pytest.raises(InputError, match="column 'z' holds complex128, expected numbers"):
        add_result(make_recording(), make_result(neurons=replace(neurons, extra={"z": np.ones(3, complex)})))


def test_split_is_stored_as_runs() -> None:
    code, length = run_lengths(np.array([1, 1, 1, 0, 3, 3, 1], np.uint8))
    np.testing.assert_array_equal(code, [1, 0, 3, 1])
    np.testing.assert_array_equal(length, [3, 1, 2, 1])
    code, length = run_lengths(np.zeros(0, np.uint8))
    assert (len(code), len(length)) == (0, 0)


# --- what others see in the file -------------------------------------------------------------------------------------


def test_file_holds_what_the_types_promise(hdf5_recording: Path, make_result: Make) -> None:
    with NWBHDF5IO(str(hdf5_recording), "r") as io:
        observed = io.read().processing["ophys"]["observed"].object_id
    source = {"series": [{"path": "/processing/ophys/observed", "object_id": observed, "name": "observed"}]}
    provenance = make_result().provenance
    result = make_result(provenance={**provenance, "source": {**provenance["source"], **source}})
    write_result(result, hdf5_recording, in_place=True)
    with NWBHDF5IO(str(hdf5_recording), "r") as io:
        nwbfile = io.read()
        fit = nwbfile.processing["ophys"]["synapsnet"]
        table = fit.neurons.to_dataframe()
        assert list(fit.neurons.predictors) == ["synapsnet", "mean", "ar_var"]
        assert list(table["neuron_id"]) == ["neuron 0", "neuron 1", "neuron 2"]
        assert list(table["location"]) == ["VISp", "", ""]
        assert {"correlation", "mse", "mean_mse", "ar_var_correlation", "extra_mean_mse", "snr"} <= set(table.columns)
        np.testing.assert_array_equal(fit["effective"].weights[:], np.arange(9).reshape(3, 3))
        assert list(fit.connectivity) == ["connectivity_forecast", "effective", "raw"]
        forecast = fit["forecast"]
        assert forecast.observed is nwbfile.processing["ophys"]["observed"]
        assert forecast.data.shape == (10, 3)
        assert (forecast.unit, int(forecast.horizon)) == ("dF/F", 1)
        assert list(forecast.control_description) == ["unused", "train", "validation", "test"]
        assert set(forecast.control[:]) == {3}
        np.testing.assert_array_equal(fit["input_currents"].timestamps[:], forecast.timestamps[:])
        provenance = fit.provenance
        assert (int(provenance.seed), provenance.device, bool(provenance.interrupted)) == (0, "cpu", False)
        assert list(provenance.software) == ["torch==2.9.0", "numpy==2.4.0"]
        assert provenance.source_uri == "/data/mouse.nwb"
        assert provenance.source_identifier == "mouse-1-session-1"
        assert list(provenance.source_object_ids) == [observed]
        assert (provenance.dandiset_id, provenance.dandiset_version) == ("000021", "0.1.0")
        assert (provenance.dandi_asset_id, provenance.dandi_asset_path) == ("a1", "sub-m1/sub-m1_ses-s1.nwb")
        assert provenance.dandi_asset_digest == "sha256:00"
        assert provenance.split_code[:].tolist() == [1, 0, 2, 3]
        assert provenance.split_length[:].tolist() == [30, 2, 8, 10]
        assert list(provenance.training_curve.to_dataframe().columns) == ["epoch", "train_loss"]
        content = provenance.decoder_weights[:].tobytes()
        assert hashlib.sha256(content).hexdigest() == provenance.decoder_weights_sha256
        assert fit.verdict == result.verdict


def test_large_arrays_are_chunked_and_compressed_only_on_request(tmp_path: Path, make_result: Make) -> None:
    n = 200
    weights = np.random.default_rng(0).random((n, n), np.float32)
    big = make_result(n, connectivity={"effective": Connectivity(weights, "m", "d")})
    for compress, expected in ((False, None), (True, "gzip")):
        path = tmp_path / f"{compress}.nwb"
        write_result(big, path, compress=compress)
        with h5py.File(path) as file:
            dataset = file[f"{FIT}/effective/weights"]
            assert dataset.chunks == (n, n)
            assert dataset.compression == expected
        assert path.stat().st_size < size_of(big)


def test_sparse_matrices_are_stored_as_edges(tmp_path: Path, make_result: Make) -> None:
    weights = np.zeros((130, 130), np.float32)
    weights[[5, 7], [6, 2]] = [1.0, -1.0]
    path = tmp_path / "sparse.nwb"
    write_result(make_result(130, connectivity={"effective": Connectivity(weights, "lasso", "d")}), path)
    with h5py.File(path) as file:
        group = file[f"{FIT}/effective"]
        assert "weights" not in group
        assert group["edge_target"][:].tolist() == [5, 7]
        assert group["edge_source"][:].tolist() == [6, 2]
        assert group["edge_weight"][:].tolist() == [1.0, -1.0]


def test_file_beside_the_source_says_what_the_source_said(tmp_path: Path, make_result: Make) -> None:
    path = tmp_path / "beside.nwb"
    write_result(make_result(), path)
    with NWBHDF5IO(str(path), "r") as io:
        nwbfile = io.read()
        assert nwbfile.identifier != "mouse-1-session-1"
        assert nwbfile.session_description == "A mouse runs in the dark."
        assert nwbfile.session_start_time == datetime.fromisoformat("2024-05-01T10:00:00+02:00")
        assert nwbfile.timestamps_reference_time == datetime.fromisoformat("2024-05-01T10:00:01+02:00")
        assert (nwbfile.session_id, nwbfile.lab, nwbfile.institution) == ("s1", "A lab", "An institute")
        assert (list(nwbfile.experimenter), list(nwbfile.keywords)) == (["Doe, Jane"], ["running"])
        assert (nwbfile.subject.subject_id, nwbfile.subject.species, nwbfile.subject.sex) == ("m1", "Mus musculus", "F")
        assert nwbfile.subject.date_of_birth == datetime.fromisoformat("2024-02-01T00:00:00+01:00")
        assert nwbfile.was_generated_by[0][0] == "ndx-synapsnet"
        assert nwbfile.processing["ophys"]["synapsnet"]["forecast"].observed is None


@pytest.mark.parametrize("config", [None, "dandi"])
def test_nwbinspector_finds_nothing_serious(tmp_path: Path, make_result: Make, config: str | None) -> None:
    path = tmp_path / "beside.nwb"
    write_result(make_result(), path)
    found = list(inspect_nwbfile(nwbfile_path=path, config=load_config(config) if config else None))
    assert {m.importance for m in found} <= {Importance.BEST_PRACTICE_VIOLATION, Importance.BEST_PRACTICE_SUGGESTION}
    violations = {m.check_function_name for m in found if m.importance is Importance.BEST_PRACTICE_VIOLATION}
    # the samples' times are written out, since a rate would give them back rounded
    assert violations == {"check_regular_timestamps"}


# --- known wiring ----------------------------------------------------------------------------------------------------


def test_true_connectivity_comes_back_and_is_no_run(tmp_path: Path, suffix: str, make_result: Make) -> None:
    nwbfile = new_nwbfile({}, description="Simulated")
    truth = Connectivity([[0, 1, 0], [0, 0, -2], [0, 0, 0]], "whatever", "Synaptic weights")
    add_true_connectivity(nwbfile, make_result().neurons, truth, modality="ecephys")
    assert list_runs(nwbfile) == []
    path = tmp_path / f"truth.{suffix}"
    store.create(path, nwbfile)
    found = read_true_connectivity(path)
    assert found is not None
    assert found[0].tolist() == ["neuron 0", "neuron 1", "neuron 2"]
    assert found[1] == replace(truth, method="ground_truth")
    with pytest.raises(InputError, match="holds no fit"):
        read_result(path)
    write_result(make_result(modality="ecephys"), path, in_place=True)
    again = read_true_connectivity(path)
    assert again is not None
    assert (again[0].tolist(), again[1]) == (found[0].tolist(), found[1])


def test_file_without_known_wiring(hdf5_recording: Path, make_result: Make) -> None:
    assert read_true_connectivity(hdf5_recording) is None
    write_result(make_result(), hdf5_recording, in_place=True)
    assert read_true_connectivity(hdf5_recording) is None


def test_true_connectivity_of_another_size_is_refused(make_recording: Callable[[], NWBFile], make_result: Make) -> None:
    with pytest.raises(InputError, match=r"shape \(2, 2\) for 3 neurons"):
        add_true_connectivity(
            make_recording(), make_result().neurons, Connectivity(np.eye(2), "m", "d"), modality="ophys"
        )


# --- bad input -------------------------------------------------------------------------------------------------------


def test_file_without_a_run(recording: Path) -> None:
    with pytest.raises(InputError, match=re.escape(f"{recording}: the file holds no fit")):
        read_result(recording)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """A recording with two runs; tests spoil copies of it."""
    make_recording, make_result = request.getfixturevalue("make_recording"), request.getfixturevalue("make_result")
    nwbfile = make_recording()
    add_result(nwbfile, make_result(seed=1))
    add_result(nwbfile, make_result())
    return save(nwbfile, tmp_path_factory.mktemp("fitted") / "fitted.nwb")


def test_unknown_run_lists_the_runs(fitted: Path) -> None:
    with pytest.raises(InputError, match="no run 'other'\\. Its runs: synapsnet_2, synapsnet"):
        read_result(fitted, "other")


def spoil_weights(file: h5py.File) -> None:
    file[f"{FIT}/provenance/decoder_weights"][-1] ^= 1


def pickle_weights(file: h5py.File) -> None:
    content = pickle.dumps({"w": 1})
    group = file[f"{FIT}/provenance"]
    del group["decoder_weights"]
    group["decoder_weights"] = np.frombuffer(content, np.uint8)
    group.attrs["decoder_weights_sha256"] = hashlib.sha256(content).hexdigest()


def other_format(file: h5py.File) -> None:
    file[f"{FIT}/provenance"].attrs["decoder_weights_format"] = "pickle"


def replace_with(place: str, value: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        attributes = dict(file[f"{FIT}/{place}"].attrs)
        del file[f"{FIT}/{place}"]
        file[f"{FIT}/{place}"] = value
        file[f"{FIT}/{place}"].attrs.update(attributes)

    return change


def delete(*places: str) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        for place in places:
            del file[f"{FIT}/{place}"]

    return change


def reorder_targets(file: h5py.File) -> None:
    file[f"{FIT}/effective/targets"][...] = [1, 0, 2]


def negative_run(file: h5py.File) -> None:
    file[f"{FIT}/provenance/split_length"][0] = -1


def endless_run(file: h5py.File) -> None:
    file[f"{FIT}/provenance/split_length"][0] = 2**62


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (spoil_weights, "do not match their SHA-256"),
        (pickle_weights, "decoder_weights are not safetensors"),
        (other_format, "in the format 'pickle'; only safetensors is read"),
        (replace_with("provenance/config", "{"), "config is not JSON"),
        (replace_with("provenance/record", "[1]"), "record is not a JSON object"),
        (replace_with("provenance/activity_std", np.ones(2, np.float32)), "3 and 2 values for 3 neurons"),
        (
            replace_with("provenance/activity_std", np.ones((3, 1), np.float32)),
            "incorrect shape",
        ),
        (negative_run, "do not describe a split"),
        (endless_run, "do not describe a split"),
        (
            replace_with("effective/weights", np.ones((2, 3), np.float32)),
            r"weights has shape \(2, 3\), expected \(3, 3\)",
        ),
        (replace_with("effective/weights", np.full((3, 3), np.nan, np.float32)), "weights is not finite"),
        (
            replace_with("effective/p_value", np.ones((2, 2), np.float32)),
            r"p_value has shape \(2, 2\), expected \(3, 3\)",
        ),
        (delete("effective/weights"), "holds neither weights nor edges"),
        (reorder_targets, r"synapsnet/effective/targets: the region does not name all 3 rows"),
        (replace_with("neurons/embedding", np.ones((2, 4), np.float32)), "Columns must be the same length"),
        (replace_with("neurons/mse", np.ones(2, np.float32)), "Columns must be the same length"),
        (replace_with("forecast/sample_index", np.arange(9)), r"index has shape \(9,\), expected \(10,\)"),
        (delete("forecast/control", "forecast/control_description"), "the forecast has no control"),
        (delete("forecast", "input_currents"), "the fit has no forecast"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")  # pynwb's own, about the damage
def test_damage_is_named(fitted: Path, tmp_path: Path, damage: Callable[[h5py.File], None], message: str) -> None:
    path = tmp_path / "damaged.nwb"
    shutil.copyfile(fitted, path)
    with h5py.File(path, "r+") as file:
        damage(file)
    with pytest.raises(InputError, match=message) as caught:
        read_result(path, "synapsnet")
    assert str(path) in str(caught.value)


def test_training_curve_of_unequal_columns_is_refused(make_recording: Callable[[], NWBFile], make_result: Make) -> None:
    with pytest.raises(InputError, match=r"training curve differ in length: \[2, 3\]"):
        add_result(make_recording(), make_result(training={"epoch": np.arange(3), "loss": np.arange(2)}))


def test_zarr_layout_asks_nothing_of_hdf5(tmp_path: Path, make_result: Make) -> None:
    path = tmp_path / "big.zarr"
    write_result(make_result(200), path, compress=True)
    with NWBZarrIO(str(path), "r") as io:
        assert io.read().processing["ophys"]["synapsnet"]["forecast"].data.shape == (10, 200)


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        (None, None),
        ({}, ("unknown", "U")),
        ({"subject_id": "m1"}, ("m1", "U")),
        ({"subject_id": "", "sex": "F"}, ("unknown", "F")),
    ],
)
def test_a_subject_without_id_or_sex_says_so(subject: dict[str, str] | None, expected: tuple[str, str] | None) -> None:
    nwbfile = new_nwbfile({"subject": subject}, description="a test")
    assert (nwbfile.subject is None) == (expected is None)
    if expected is not None:
        assert (nwbfile.subject.subject_id, nwbfile.subject.sex) == expected
