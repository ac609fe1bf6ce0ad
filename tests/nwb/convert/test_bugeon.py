"""The arrays of Bugeon et al. 2022 as NWB: what is in the files, and what is refused."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from published import PERIOD, STATES, TYPES, N, save, write_archive, write_experiment, write_session
from pynwb import NWBHDF5IO, validate

from ndx_synapsnet.cli import main
from ndx_synapsnet.errors import InputError
from ndx_synapsnet.nwb.archives import resolve
from ndx_synapsnet.nwb.convert.bugeon import convert_session
from ndx_synapsnet.nwb.convert.bugeon_layout import read_published, session_folders
from ndx_synapsnet.nwb.readers import read_session

TASKS = ("spontaneous", "drifting-gratings", "natural-scenes")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_archive(tmp_path_factory.mktemp("Bugeon"))


@pytest.fixture(scope="module")
def converted(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first session as NWB."""
    made = convert_session(archive / "SB025/2019-10-04", tmp_path_factory.mktemp("converted"))
    assert made.written
    assert made.tasks == (*TASKS, "natural-scenes")
    return made.path


@pytest.fixture
def session(tmp_path: Path) -> Path:
    """A session to be spoilt."""
    return write_session(tmp_path / "SB025/2019-10-04")


def published(archive: Path, name: str) -> Any:
    return np.load(archive / "SB025/2019-10-04" / name)


def refused(session: Path, said: str, file: str = "") -> None:
    """The session is refused, and the message names the file."""
    with pytest.raises(InputError, match=said) as told:
        read_published(session)
    assert told.value.where == str(session / file if file else session)


def test_sessions_are_found_from_any_folder(archive, tmp_path):
    days = [archive / name for name in ("SB025/2019-10-04", "SB025/2019-10-07", "SB026/2019-10-11")]
    assert session_folders(archive) == days
    assert session_folders(archive / "SB025") == days[:2]
    assert session_folders(days[2]) == days[2:]
    with pytest.raises(InputError, match=r"no neuron.ttype.txt in it"):
        session_folders(tmp_path)


def test_the_file_is_valid_and_no_inspector_objects(converted):
    assert converted.name == "sub-SB025_ses-20191004.nwb"
    assert not validate(path=str(converted))
    inspector = pytest.importorskip("nwbinspector")
    messages = list(inspector.inspect_nwbfile(nwbfile_path=str(converted), config=inspector.load_config("dandi")))
    assert [message.message for message in messages] == []


def test_neurons_are_as_published(archive, converted):
    (recording,) = resolve("bugeon/spontaneous", folder=converted.parent)
    neurons = read_session(recording.uri, **recording.settings, extra_columns=("plane",)).neurons
    assert neurons.cell_type.tolist() == TYPES
    assert neurons.region.tolist() == ["VISp"] * N
    assert neurons.identity.tolist() == [
        "",
        *(f"SB025:unique_id:{101 + i}" for i in range(3)),
        "",
        "SB025:unique_id:105",
    ]
    np.testing.assert_array_equal(neurons.position[:, :2], published(archive, "neuron.stackPosCorrected.npy"))
    np.testing.assert_array_equal(neurons.position[:, 2], [40, 40, 80, 80, 120, 120])
    assert neurons.extra["plane"].tolist() == [1, 1, 2, 2, 3, 3]
    with NWBHDF5IO(converted, "r") as io:
        rois = io.read().processing["ophys"]["ImageSegmentation"]["PlaneSegmentation"]
        np.testing.assert_array_equal(rois["gene_count"].data[:], published(archive, "neuron.gene_count.npy"))
        assert "Sst, Vip, Pvalb, Lamp5" in rois["gene_count"].description


@pytest.mark.parametrize(
    ("task", "folder"),
    [
        ("spontaneous", "Blank"),
        ("drifting-gratings", "Drifting Gratings"),
        ("natural-scenes", "Natural Scenes"),
    ],
)
def test_a_task_is_an_epoch_filter(archive, converted, task, folder):
    (recording,) = resolve("bugeon", task, folder=converted.parent)
    read = read_session(recording.uri, **recording.settings)
    np.testing.assert_array_equal(
        read.activity, published(archive, f"{folder}/01/frame.neuralActivity.npy").T.astype(np.float32)
    )
    assert read.period == pytest.approx(PERIOD)
    assert (read.modality, read.activity_kind, set(read.segment)) == ("ophys", "other", {0})
    assert read.behavior_names == ("running_speed", "pupil_size")
    times = published(archive, f"{folder}/01/frame.times.npy")[:, 0]
    np.testing.assert_allclose(np.diff(read.times), np.diff(times), atol=1e-9)
    # the mean of what was measured since the frame before, by the experiment's own clock
    fast = published(archive, f"{folder}/01/running.times.npy")[:, 0]
    seen = (fast > times[49] + 1e-9) & (fast <= times[50] + 1e-9)
    expected = published(archive, f"{folder}/01/running.speed.npy")[seen, 0].mean()
    assert read.behavior[0, 50] == pytest.approx(expected, rel=1e-5)


def test_experiments_lie_one_after_the_other_with_their_stimuli_and_states(archive, converted):
    with NWBHDF5IO(converted, "r") as io:
        nwbfile = io.read()
        table = nwbfile.intervals["experiments"].to_dataframe()
        assert table["task"].tolist() == [*TASKS, "natural-scenes"]
        assert table["number"].tolist() == [1, 1, 1, 2]
        assert (table["clock_offset"] == np.round(table["clock_offset"])).all()
        assert (table["start_time"].to_numpy()[1:] - table["stop_time"].to_numpy()[:-1] > 59).all()
        offset = table["clock_offset"][1]
        gratings = nwbfile.intervals["drifting_gratings_presentations"].to_dataframe()
        intervals = published(archive, "Drifting Gratings/01/ori.intervals.npy")
        np.testing.assert_allclose(gratings[["start_time", "stop_time"]], intervals + offset)
        np.testing.assert_array_equal(
            gratings["direction"], published(archive, "Drifting Gratings/01/ori.stimDirection.npy")[:, 0]
        )
        scenes = nwbfile.intervals["natural_scenes_presentations"].to_dataframe()
        assert len(scenes) == 2 * len(published(archive, "Natural Scenes/01/nat.img.npy"))
        assert scenes["start_time"].is_monotonic_increasing
        states = nwbfile.intervals["states"].to_dataframe()
        assert states["state"].tolist() == [STATES[0], STATES[2], STATES[1]] * 4
        times = published(archive, "Blank/01/frame.times.npy")[:, 0] + table["clock_offset"][0]
        np.testing.assert_allclose(states["start_time"][:3], times[[0, 60, 80]])
        np.testing.assert_allclose(states["stop_time"][:3], [times[60], times[80], times[-1] + PERIOD])


def test_original_files_are_named_with_their_checksums(archive, converted):
    with NWBHDF5IO(converted, "r") as io:
        nwbfile = io.read()
        table = nwbfile.processing["misc"]["source_files"].to_dataframe()
        assert "10.6084/m9.figshare.19448531" in nwbfile.notes
        assert nwbfile.subject.subject_id == "SB025"
        assert str(nwbfile.session_start_time) == "2019-10-04 00:00:00+00:00"
    names = set(table["file"])
    assert {
        "SB025/2019-10-04/neuron.ttype.txt",
        "SB025/2019-10-04/Blank/01/frame.times.npy",
        "states.names.txt",
    } <= names
    for name, checksum, size in table[["file", "sha256", "size"]].itertuples(index=False):
        content = (archive / name).read_bytes()
        assert (checksum, size) == (hashlib.sha256(content).hexdigest(), len(content))


def test_experiments_of_one_clock_keep_it(session):
    shutil.rmtree(session / "Natural Scenes")
    write_experiment(session / "Drifting Gratings/01", begin=500.0)
    assert read_published(session).offsets == [0.0, 0.0]
    write_experiment(session / "Drifting Gratings/01", begin=20.0)
    read = read_published(session)
    assert read.offsets[1] > 60
    assert "a clock of its own" in read.notes[-1]


def test_an_experiment_of_other_neurons_is_left_out_and_told(session):
    write_experiment(session / "Natural Scenes/02", n=N + 3)
    read = read_published(session)
    assert [(e.stimulus, e.number) for e in read.experiments][-1] == ("Natural Scenes", 1)
    assert "left out: Natural Scenes/02 has 9 neurons, the session 6" in read.notes
    for name in ("Blank", "Drifting Gratings", "Natural Scenes"):
        write_experiment(session / name / "01", n=N - 1)
    refused(session, "no experiment in this session: Blank/01 has 5 neurons")


def test_what_need_not_be_there_need_not_be(session, tmp_path):
    for name in ("neuron.depth.npy", "neuron.plane.npy", "neuron.gene_count.npy", "neuron.prob_ttypes.npy"):
        (session / name).unlink()
    for name in ("Drifting Gratings", "Natural Scenes"):
        shutil.rmtree(session / name)
    for path in [*session.glob("Blank/01/eye.*"), session / "Blank/01/frame.states.npy"]:
        path.unlink()
    (session / "Movies").mkdir()
    made = convert_session(session, tmp_path)
    assert "folder Movies is none of" in made.notes[0]
    (recording,) = resolve("bugeon/spontaneous", folder=tmp_path)
    read = read_session(recording.uri, **{**recording.settings, "behavior": "running_speed"})
    assert np.isnan(read.neurons.position[:, 2]).all()
    assert read.n_neurons == N
    told: list[str] = []
    with pytest.raises(InputError, match="none of 1 files"):
        resolve("bugeon/natural-scenes", folder=tmp_path, say=told.append)
    assert "no row of experiments fits" in told[0]


def test_missing_values_are_missing_and_states_without_a_name_are_noted(session, tmp_path):
    activity = np.load(session / "Blank/01/frame.neuralActivity.npy")
    activity[7, 2] = np.nan
    save(session / "Blank/01/frame.neuralActivity.npy", activity)
    states = np.r_[[np.nan] * 10, [0.0] * 100, [7.0] * 10]
    save(session / "Blank/01/frame.states.npy", states)
    made = convert_session(session, tmp_path)
    assert "states 7 have no name" in made.notes[0]
    (recording,) = resolve("bugeon/spontaneous", folder=tmp_path)
    read = read_session(recording.uri, **recording.settings)
    assert np.flatnonzero(~read.valid).tolist() == [7]
    with NWBHDF5IO(made.path, "r") as io:
        table = io.read().intervals["states"].to_dataframe()
        assert table["label"][:2].tolist() == [0.0, 7.0]
        assert table["state"][:2].tolist() == ["Running", ""]


class Trap:
    """Unpickling it would raise: it must not come to that."""

    def __reduce__(self) -> Any:
        return (exec, ("raise RuntimeError('unpickled')",))


TIMES, ACTIVITY = "Blank/01/frame.times.npy", "Blank/01/frame.neuralActivity.npy"


def _backward(values: np.ndarray) -> np.ndarray:
    values[5] = values[3]
    return values


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        (TIMES, lambda v: v[:-1], r"119 times for the 120 frames of frame.neuralActivity.npy"),
        (TIMES, _backward, r"times go backward: .* at 5"),
        (TIMES, lambda v: np.where(v > 5, np.nan, v), r"time \d+ is nan, and no moment"),
        (TIMES, lambda v: np.hstack([v, v]), r"shape \(120, 2\), where one number each"),
        (TIMES, lambda v: v[:0], r"there are no times"),
        (ACTIVITY, lambda v: np.where(v > 90, np.inf, v), "a value is infinite"),
        (ACTIVITY, lambda v: v[:, 0], r"activity of shape \(120,\), expected frames x neurons"),
        (ACTIVITY, lambda v: v.astype(str), "not one array of numbers"),
        ("Blank/01/frame.states.npy", lambda v: v[1:], "119 values for 120 frames"),
        ("Blank/01/running.speed.npy", lambda v: v[2:], r"\d+ values for \d+ times of running.times.npy"),
        ("Blank/01/eye.times.npy", lambda v: v[::-1], "times go backward"),
        ("Drifting Gratings/01/ori.intervals.npy", lambda v: v[:, ::-1], r"presentation 0 lasts from 1.9 to 1.4 s"),
        ("Drifting Gratings/01/ori.intervals.npy", lambda v: v[:, :1], "expected start and stop"),
        ("Drifting Gratings/01/ori.contrast.npy", lambda v: v[1:], r"\d+ values for \d+ presentations"),
        ("neuron.UniqueID.npy", lambda v: v[1:], "5 values for 6 neurons"),
        ("neuron.stackPosCorrected.npy", lambda v: v.T, r"positions of shape \(2, 6\) for 6 neurons"),
        ("neuron.gene_count.npy", lambda v: v[1:], r"shape \(5, 4\) for 6 neurons"),
        ("neuron.depth.npy", lambda v: np.vstack([v, v]), "12 values for 6 neurons"),
    ],
)
def test_what_does_not_fit_is_refused_by_the_file_s_name(session, file, change, said):
    for name in ("Drifting Gratings", "Natural Scenes"):
        if name not in file:
            shutil.rmtree(session / name)
    save(session / file, change(np.load(session / file)), column=False)
    with pytest.raises(InputError, match=said) as told:
        read_published(session)
    assert told.value.where == str(session / file)


def test_pickles_and_damaged_files_are_refused(session):
    np.save(session / TIMES, np.array([Trap()], dtype=object), allow_pickle=True)
    refused(session, "this is no numpy array of numbers", TIMES)
    (session / TIMES).write_bytes(b"\x80\x04not a header")
    refused(session, "this is no numpy array of numbers", TIMES)
    whole = (session / ACTIVITY).read_bytes()
    (session / ACTIVITY).write_bytes(whole[: len(whole) // 2])
    refused(session, "this is no numpy array of numbers", ACTIVITY)
    (session / ACTIVITY).unlink()
    refused(session, "there is no such file.*as it was published", ACTIVITY)
    with (session / ACTIVITY).open("wb") as file:
        np.savez(file, a=np.zeros(3))
    refused(session, "several arrays", ACTIVITY)
    (session / "neuron.ttype.txt").write_bytes(b"\xff\xfe\xfa")
    refused(session, "no text in UTF-8", "neuron.ttype.txt")
    (session / "neuron.ttype.txt").write_text("")
    refused(session, "there are no neurons in it", "neuron.ttype.txt")
    moved = session.rename(session.with_name("first"))
    refused(moved, "named by its day")


def test_a_file_that_is_there_is_left_alone(session, tmp_path):
    made = convert_session(session, tmp_path)
    before = made.path.read_bytes()
    again = convert_session(session, tmp_path)
    assert (again.path, again.written) == (made.path, False)
    save(session / "Blank/01/running.speed.npy", np.zeros(len(np.load(session / "Blank/01/running.times.npy"))))
    with pytest.raises(InputError, match="made of other arrays"):
        convert_session(session, tmp_path)
    assert made.path.read_bytes() == before


def test_the_command_converts_all_and_tells_what_failed(tmp_path):
    root = write_archive(tmp_path / "Bugeon")
    (root / "SB025/2019-10-07" / TIMES).unlink()
    result = CliRunner().invoke(main, ["convert", "bugeon", str(root), "-o", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "2 of 3 sessions converted" in result.output
    assert f"SB025/2019-10-07/{TIMES}: there is no such file" in result.output
    made = ["sub-SB025_ses-20191004.nwb", "sub-SB026_ses-20191011.nwb"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == made
    shutil.rmtree(root / "SB025/2019-10-07")
    result = CliRunner().invoke(main, ["convert", "bugeon", str(root), "-o", str(tmp_path / "out")])
    assert result.exit_code == 0
    assert result.output.count("is there already") == 2
