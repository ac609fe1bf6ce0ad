"""Files written by earlier releases are read, shown, reported, validated and forecast from."""

from __future__ import annotations

import html
import json
import lzma
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from make_fixtures import arrays, texts

from ndx_synapsnet import read_result, read_session
from ndx_synapsnet.cli import main
from ndx_synapsnet.nwb.readers import ReadConfig
from ndx_synapsnet.nwb.results import list_runs, read_true_connectivity
from ndx_synapsnet.nwb.run_records import run_records
from ndx_synapsnet.nwb.sources import open_source
from ndx_synapsnet.nwb.store import validation_errors
from ndx_synapsnet.reproduction import predict

HERE = Path(__file__).resolve().parent
NAMES = sorted(path.stem for path in HERE.glob("*.npz"))


@dataclass(frozen=True)
class Kept:
    """A file of a release, unpacked, and what is to be found in it."""

    path: Path
    arrays: dict[str, np.ndarray]
    texts: dict[str, Any]


@pytest.fixture(scope="module", params=NAMES)
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Kept:
    name = request.param
    (packed,) = HERE.glob(f"{name}.*.xz")
    path = tmp_path_factory.mktemp("kept") / packed.name.removesuffix(".xz").removesuffix(".tar")
    if packed.name.endswith(".tar.xz"):
        with tarfile.open(packed) as archive:
            archive.extractall(path, filter="data")
    else:
        path.write_bytes(lzma.decompress(packed.read_bytes()))
    with np.load(HERE / f"{name}.npz") as numbers:
        return Kept(path, dict(numbers), json.loads((HERE / f"{name}.json").read_text(encoding="utf-8")))


def test_there_are_files_of_the_first_release_in_both_formats() -> None:
    assert NAMES[:3] == ["calcium-0.1.0", "spikes-0.1.0", "store-0.1.0"]
    assert all(path.stat().st_size < 150_000 for path in HERE.iterdir() if path.is_file())


def test_every_number_and_word_is_what_it_was(kept: Kept) -> None:
    result = read_result(kept.path)
    found = arrays(result)
    assert found.keys() == kept.arrays.keys()
    for name, expected in kept.arrays.items():
        assert found[name].dtype == expected.dtype, name
        np.testing.assert_array_equal(found[name], expected, err_msg=name)
    assert json.loads(json.dumps(texts(result))) == kept.texts


def test_runs_and_known_wiring_are_found(kept: Kept) -> None:
    with open_source(kept.path) as opened:
        assert list_runs(opened.nwbfile) == ["synapsnet"]
        assert read_true_connectivity(opened.nwbfile) is not None


def test_a_run_is_still_recognised(kept: Kept) -> None:
    """By whatever later versions put into a digest: changing it makes every older run a stranger."""
    digests = {
        "calcium-0.1.0": "325f5fcccc0ab94e2052d26ffe79a2ae687b03594416cf0da251a9568765af02",
        "spikes-0.1.0": "a73a1d331857415c7ee2470f909d2149bb04081a5fd6c35111836a2a681893c3",
        "store-0.1.0": "9b0ceb7ab48de3acdebf740eb969d3cc5f9f62a9885a760457e943aa66495d07",
    }
    with open_source(kept.path) as opened:
        (record,) = run_records(opened)
    assert record.digest == digests[kept.path.stem]


def test_it_is_valid_nwb(kept: Kept) -> None:
    assert validation_errors(kept.path, "zarr" if kept.path.is_dir() else "hdf5") == set()


def test_the_forecast_comes_out_again(kept: Kept) -> None:
    result = read_result(kept.path)
    session = read_session(kept.path, ReadConfig(**result.provenance["source"]["read_config"]))
    again = predict(result, session, keep=result.config["keep"], device="cpu")
    # in z-scored units; other processors round otherwise
    difference = (again.values - result.forecast.values) / result.normalization.activity_std
    assert np.abs(difference).max() < 1e-4
    np.testing.assert_array_equal(again.index, result.forecast.index)


def test_it_is_shown_and_reported(kept: Kept, tmp_path: Path) -> None:
    shown = CliRunner().invoke(main, ["show", str(kept.path), "--json"], catch_exceptions=False)
    assert shown.exit_code == 0
    (run,) = json.loads(shown.stdout)["runs"]
    assert run["verdict"] == kept.texts["verdict"]
    page = tmp_path / "page.html"
    told = CliRunner().invoke(main, ["report", str(kept.path), "-o", str(page)], catch_exceptions=False)
    assert told.exit_code == 0, told.output
    assert html.escape(kept.texts["verdict"], quote=True) in page.read_text(encoding="utf-8")
