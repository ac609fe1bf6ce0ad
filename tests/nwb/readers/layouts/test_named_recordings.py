"""The paper's Allen recordings by name, of small dandisets in the layout of 000021 and 000022."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from neuropixels import CHANNELS, allen_lfp, allen_session

from ndx_synapsnet import read_result
from ndx_synapsnet.cli import main
from ndx_synapsnet.errors import InputError
from ndx_synapsnet.nwb.archives import ARCHIVES, is_named, named_recordings, resolve
from ndx_synapsnet.nwb.readers import PRESETS, ReadConfig, read_session
from ndx_synapsnet.nwb.readers.provenance import config_record, with_settings

VISAM, CA1, OUTSIDE, INVALID, LGD = (channel[0] for channel in CHANNELS)
PEAKS = [VISAM, CA1, LGD, OUTSIDE, LGD]
QUALITY = ["good", "good", "good", "good", "noise"]
AXES = ("x", "y", "z")
GRATINGS = "allen-neuropixels/drifting-gratings"
SPONTANEOUS = "allen-neuropixels/spontaneous"


def unplaced(path: Path, channels: list[int], fill: tuple[float, float, float]) -> None:
    """Take away the coordinates of channels, as probes that were not found in the brain are without them."""
    with h5py.File(path, "r+") as file:
        electrodes = file["general/extracellular_ephys/electrodes"]
        rows = np.flatnonzero(np.isin(electrodes["id"][:], channels))
        for axis, value in zip(AXES, fill, strict=True):
            electrodes[axis][rows] = value


@pytest.fixture(scope="module")
def dandiset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three sessions and a probe's LFP; of three units that pass the filter two, none and one have a place."""
    folder = tmp_path_factory.mktemp("dandiset")
    spikes = [np.sort(np.random.default_rng(unit).uniform(0, 9.9, 400)) for unit in range(5)]
    first = folder / "sub-1/sub-1_ses-11.nwb"
    first.parent.mkdir()
    allen_session(first, spikes, peaks=PEAKS, quality=QUALITY)
    for name in ("sub-2/sub-2_ses-22.nwb", "sub-3/sub-3_ses-33.nwb"):
        (folder / name).parent.mkdir()
        shutil.copy(first, folder / name)
    everywhere = [channel[0] for channel in CHANNELS]
    unplaced(folder / "sub-2/sub-2_ses-22.nwb", everywhere, (np.nan, np.nan, np.nan))
    unplaced(first, [VISAM], (-1000.0, 700.0, -1000.0))
    unplaced(folder / "sub-3/sub-3_ses-33.nwb", [VISAM, CA1], (-1000.0, 700.0, -1000.0))
    allen_lfp(folder / "sub-1/sub-1_ses-11_probe-810755797_ecephys.nwb")
    return folder


@pytest.fixture
def archives(dandiset: Path, start_archive: Any, use_archive: Any) -> Any:
    """The archive that has them as 000021."""
    running = start_archive(dandiset, dandiset="000021")
    use_archive(running)
    return running


def test_a_recipe_is_plain_settings():
    for archive in ARCHIVES.values():
        assert list(archive.tasks) == ["natural-scenes", "drifting-gratings", "spontaneous"]
        for task in archive.tasks.values():
            config = with_settings(None, {**archive.settings, **task.settings})
            assert ReadConfig(**config_record(config)) == config
            assert config.epoch is not None
    allen = ARCHIVES["allen-neuropixels"]
    assert allen.settings["units_query"] == PRESETS["allen-neuropixels"]["units_query"]
    assert [task.dandiset for task in allen.tasks.values()] == ["DANDI:000021", "DANDI:000021", "DANDI:000022"]
    assert [task.paper for task in allen.tasks.values()] == [22, 22, 24]


def test_session_files_with_positions_are_found_when_asked_for(archives):
    told: list[str] = []
    found = resolve(GRATINGS, say=told.append)
    root = f"dandi://127.0.0.1:{archives.port}/000021@0.260101.0001"
    assert [one.uri for one in found] == [f"{root}/sub-1/sub-1_ses-11.nwb"]
    assert {(one.archive, one.task) for one in found} == {("allen-neuropixels", "drifting-gratings")}
    assert told == [
        f"{root}/sub-2/sub-2_ses-22.nwb left out: 0 of its 3 units have a position",
        f"{root}/sub-3/sub-3_ses-33.nwb left out: 1 of its 3 units have a position",
        f"{GRATINGS}: 1 recording, where the paper has 22",
    ]
    assert [one.uri[-6:-4] for one in resolve(GRATINGS, check=False)] == ["11", "22", "33"]


def test_a_recording_is_read_as_the_paper_reads_it(archives):
    ((uri, config),) = named_recordings(GRATINGS, check=False)[:1]
    session = read_session(uri, config)
    assert session.neurons.region.tolist() == ["VISam", "CA1", "LGd"]
    assert np.isfinite(session.neurons.position).all(axis=1).tolist() == [False, True, True]
    assert session.behavior_names == ("running_speed",)
    assert session.period == 1 / 30
    assert session.times[0] == pytest.approx(2.0)
    assert session.times[-1] == pytest.approx(6.0 - 1 / 30)
    assert session.activity_kind == "spike_counts"


def test_what_is_not_in_the_dandiset_or_lacks_the_task_is_told(archives):
    with pytest.raises(InputError, match="has no dandiset 000022"):
        resolve(SPONTANEOUS)
    told: list[str] = []
    with pytest.raises(InputError, match="allen-neuropixels/natural-scenes: none of 3 files is a recording of this"):
        resolve("allen-neuropixels", "natural-scenes", say=told.append)
    assert told[0].endswith("sub-1_ses-11.nwb left out: it has no natural_scenes_presentations")


def test_another_archive_can_be_meant(dandiset, start_archive, use_archive):
    running = start_archive(dandiset, dandiset="000022")
    use_archive(start_archive(dandiset, dandiset="000021"))
    found = resolve(SPONTANEOUS, instance=running.api_url, check=False)
    assert [one.uri.split("/", 3)[2] for one in found] == [f"127.0.0.1:{running.port}"] * 3


def test_a_folder_of_downloaded_files_stands_for_the_archive(dandiset, tmp_path):
    place = tmp_path / "copy [1]"
    shutil.copytree(dandiset, place / "000022")
    shutil.copy(dandiset / "sub-1/sub-1_ses-11.nwb", place / "sub-1_ses-11_desc-synapsnet.nwb")
    found = resolve(SPONTANEOUS, folder=place)
    assert [Path(one.uri).name for one in found] == ["sub-1_ses-11.nwb"]
    assert resolve(f"{SPONTANEOUS}={place}", check=False)[0] == found[0]
    session = read_session(found[0].uri, **found[0].settings)
    assert session.segment.tolist() == [0] * 60 + [1] * 60


def test_a_name_that_is_none_is_refused_with_those_that_are(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"no archive is called 'alen'.*Known: allen-neuropixels, bugeon"):
        resolve("alen/spontaneous")
    with pytest.raises(InputError, match=r"has no task 'gratings'.*allen-neuropixels/drifting-gratings"):
        resolve("allen-neuropixels/gratings")
    with pytest.raises(InputError, match="the name says 'spontaneous', and the task is 'natural-scenes'"):
        resolve(SPONTANEOUS, "natural-scenes")
    with pytest.raises(InputError, match=r"in no archive of NWB files.*convert bugeon"):
        resolve("bugeon/spontaneous")
    assert is_named(SPONTANEOUS)
    assert is_named(f"{SPONTANEOUS}=folder")
    assert not is_named("DANDI:000021/sub-1/x.nwb")
    monkeypatch.chdir(tmp_path)
    (tmp_path / SPONTANEOUS).mkdir(parents=True)
    assert not is_named(SPONTANEOUS)


def test_the_line_that_breaks_is_an_error_and_no_recording_left_out(archives):
    from ndx_synapsnet.benchmark.archive import Faults

    archives.faults = Faults(statuses=(404,) * 50)
    with pytest.raises(InputError, match="000021"):
        resolve(GRATINGS)


def test_fit_and_inspect_take_names(archives, dandiset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["inspect", f"{SPONTANEOUS}={dandiset / 'sub-1'}"])
    assert result.exit_code == 0, result.output
    assert "1 recording, where the paper has 24" in result.output
    assert "3 neurons" in result.output
    (tmp_path / "quick.yaml").write_text("train: {min_steps: 0, epochs: 1, device: cpu}\npenalty_grid: []\n")
    fitted = ["fit", GRATINGS, "--config", "quick.yaml", "--bin-width", "0.02", "-o", "result.nwb"]
    result = CliRunner().invoke(main, fitted, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "left out: 0 of its 3 units have a position" in result.output
    source = read_result(tmp_path / "result.nwb").provenance["source"]
    assert source["remote"]["dandiset"] == "000021"
    assert source["read_config"]["epoch"] == "drifting_gratings_presentations"
    assert source["read_config"]["bin_width"] == 0.02  # what is given goes before the recipe


@pytest.mark.parametrize(
    ("uris", "said"),
    [
        ([GRATINGS, "some.nwb"], "are read differently"),
        ([f"{GRATINGS}=.", f"{SPONTANEOUS}=."], "are read differently"),
        (["bugeon/spontaneous"], "in no archive of NWB files"),
        (["bugeon"], "are read differently"),
    ],
)
def test_fit_refuses_what_is_read_differently(uris, said):
    result = CliRunner().invoke(main, ["fit", *uris])
    assert result.exit_code == 2
    assert said in result.output
