"""The command line on recordings of an archive: straight from the line, from the cache, one after the other."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from pynwb import NWBHDF5IO

from ndx_synapsnet import FitResult, PaperNetworkConfig, read_result, simulate_paper_network, write_recording
from ndx_synapsnet.benchmark.archive import Faults
from ndx_synapsnet.cli import fitting, main
from ndx_synapsnet.cli.transfers import size
from ndx_synapsnet.nwb.original import read_original, source_address
from ndx_synapsnet.nwb.sources.remote.options import CacheConfig
from ndx_synapsnet.session import Neurons, Session

FILE = "sub-1/sub-1_ses-1_behavior+ecephys.nwb"
NAMES = [FILE, "sub-1/sub-1_ses-2.nwb", "sub-2/sub-2_ses-1.nwb"]
RESULT = "sub-1_ses-1_desc-synapsnet.nwb"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)


def fitted(*arguments: str | Path) -> Result:
    result = run("fit", *arguments)
    assert result.exit_code == 0, result.output
    return result


def write(path: Path, *, seed: int = 0) -> None:
    simulation = simulate_paper_network(PaperNetworkConfig(n_neurons=36, n_recorded=12, n_samples=700, seed=seed))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    write_recording(simulation.session, path)


@pytest.fixture(scope="module")
def dandiset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dandiset")
    for seed, name in enumerate(NAMES):
        write(folder / name, seed=seed)
    return folder


@pytest.fixture
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str | Path]:
    """Options of a short fit; the working directory is an empty one."""
    path = tmp_path / "quick.yaml"
    path.write_text("train: {min_steps: 0, epochs: 1, device: cpu}\npenalty_grid: []\n")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return ["--config", path]


@pytest.fixture
def archive(dandiset: Path, start_archive: Any, use_archive: Any) -> Any:
    running = start_archive(dandiset)
    use_archive(running)
    return running


@pytest.fixture
def own(dandiset: Path, tmp_path: Path, start_archive: Any, use_archive: Any) -> Callable[..., Any]:
    """An archive of a copy of the dandiset, to be spoilt."""

    def start(**settings: Any) -> Any:
        running = start_archive(shutil.copytree(dandiset, tmp_path / "own"), **settings)
        use_archive(running)
        return running

    return start


def same(a: FitResult, b: FitResult) -> None:
    """Whether two results hold the same numbers, to the bit."""
    for name in ("config", "embeddings", "connectivity", "forecast", "scores", "normalization", "weights", "neurons"):
        left, right = getattr(a, name), getattr(b, name)
        if name in ("config", "connectivity", "scores", "weights"):
            assert left.keys() == right.keys()
        both = replace(a, **{name: right})
        assert both == a, name


def test_a_fit_from_the_archive_is_bit_identical_to_one_of_the_file_and_the_second_transfers_nothing(
    dandiset, start_archive, use_archive, quick, tmp_path
):
    archive = start_archive(dandiset)
    use_archive(archive, cache=CacheConfig(tmp_path / "cache"))
    fitted(dandiset / FILE, "-o", "local.nwb", *quick)
    told = fitted(f"DANDI:000999/{FILE}", *quick).output
    assert archive.counts.bytes > 0
    assert f"read: {size(archive.counts.bytes)} from the line in " in told
    assert "unverified (--verify compares it with the archive's digest)" in told
    archive.reset_counts()
    told = fitted(f"DANDI:000999/{FILE}", "-o", "again.nwb", *quick).output
    assert archive.counts.requests == archive.counts.bytes == 0
    assert "from the line" not in told
    assert "from the cache, unverified" in told
    local, remote, again = (read_result(Path(name)) for name in ("local.nwb", RESULT, "again.nwb"))
    same(local, remote)
    same(remote, again)
    assert remote.provenance["source"] == again.provenance["source"]
    assert not {"bytes_transferred", "requests"} & set(remote.provenance["source"]["remote"])


def test_where_a_result_comes_from_is_written_with_it(archive, quick):
    fitted(f"DANDI:000999/{FILE}", *quick)
    asset = archive.asset(FILE)
    with NWBHDF5IO(RESULT, "r") as io:
        provenance = io.read().processing["ecephys"]["synapsnet"].provenance
        assert (provenance.dandiset_id, provenance.dandiset_version) == ("000999", "0.260101.0001")
        assert (provenance.dandi_asset_id, provenance.dandi_asset_path) == (asset.asset_id, FILE)
        assert provenance.dandi_asset_digest == "sha256:" + archive.digests(asset.file)["dandi:sha2-256"]
    remote = read_result(RESULT).provenance["source"]["remote"]
    assert (remote["integrity"], remote["size"]) == ("unverified", asset.size)
    text = run("show", RESULT).output
    assert "000999@0.260101.0001" in text
    assert "unverified" in text


def test_a_verified_recording_is_called_so(archive, quick):
    told = fitted(f"DANDI:000999/{FILE}", "--verify", *quick).output
    assert ", verified" in told
    assert "unverified" not in told
    assert read_result(RESULT).provenance["source"]["remote"]["integrity"] == "verified"
    assert archive.counts.bytes >= archive.asset(FILE).size
    archive.faults = Faults(flip_at=archive.asset(FILE).size // 2, times=None)
    refused = run("fit", f"DANDI:000999/{FILE}", "--verify", "-o", "refused.nwb", *quick)
    assert refused.exit_code == 2
    assert "the content is damaged: its sha256 is" in refused.output


@pytest.mark.parametrize("join", [[], ["--join"]])
def test_nothing_is_written_into_a_remote_recording(archive, quick, join, monkeypatch):
    monkeypatch.setattr(fitting, "fit_held", lambda *_, **__: pytest.fail("fitted first"))
    refused = run("fit", f"DANDI:000999/{FILE}", "--in-place", *quick, *join)
    assert refused.exit_code == 2
    assert "a result cannot be written into this recording: it is not on this machine" in refused.output
    assert "Leave out --in-place" in refused.output


def test_results_of_remote_recordings_are_named_by_subject_and_session(archive, quick, dandiset):
    from ndx_synapsnet.cli.files import homes

    address = f"DANDI:000999/{FILE}"
    assert homes([(address,), (f"DANDI:000999/{NAMES[2]}",)]) == [
        (Path.cwd(), "sub-1_ses-1"),
        (Path.cwd(), "sub-2_ses-1"),
    ]
    asset = archive.asset(FILE).asset_id
    names = {
        f"{archive.api_url}/assets/{asset}/download/": "sub-1_ses-1",
        archive.file_url("lab/mouse%207.nwb.zarr/"): "mouse_7",
        archive.file_url(FILE) + "?token=secret": "sub-1_ses-1",
        "s3://bucket/folder/sub-3_behavior.nwb": "sub-3",
        "https://example.org/": "recording",
        "https://example.org/%2e%2e%2f..nwb": "nwb",
        "https://example.org/a/.hidden.lindi.json": "hidden",
    }
    for uri, name in names.items():
        assert homes([(uri,)]) == [(Path.cwd(), name)], uri
    # what is left out of a name is kept where two would be the same
    planes = [(f"DANDI:000999/sub-1/sub-1_ses-1_obj-{n}.nwb",) for n in "ab"]
    assert [name for _, name in homes(planes)] == ["sub-1_ses-1_obj-a", "sub-1_ses-1_obj-b"]
    assert homes([(str(dandiset / FILE),)]) == [(dandiset / "sub-1", "sub-1_ses-1_behavior+ecephys")]


def test_a_pattern_is_fitted_together_in_order(archive, quick):
    told = json.loads(fitted("DANDI:000999/sub-*/*.nwb", "-o", "out", "--json", *quick).output)["runs"]
    expected = ["sub-1_ses-1", "sub-1_ses-2", "sub-2_ses-1"]
    assert [Path(one["file"]).name for one in told] == [f"{name}_desc-synapsnet.nwb" for name in expected]
    assert [one["source"].rpartition("@")[2] for one in told] == [f"0.260101.0001/{name}" for name in NAMES]
    assert len({read_result(one["file"]).run_id for one in told}) == 1


def test_each_recording_is_fitted_on_its_own_as_if_alone(archive, quick):
    told = fitted("DANDI:000999/sub-*/*.nwb", "--each", "-o", "out", *quick).output
    assert told.count("from the line") == told.count("Written: ") == 3
    fitted(f"DANDI:000999/{NAMES[1]}", "-o", "alone.nwb", *quick)
    same(read_result("alone.nwb"), read_result("out/sub-1_ses-2_desc-synapsnet.nwb"))
    runs = {read_result(path).run_id for path in Path("out").iterdir()}
    assert len(runs) == 3


def test_one_that_fails_is_told_and_the_others_go_on(own, quick):
    archive = own()
    (archive.folder / NAMES[1]).write_bytes(b"no recording" * 1000)
    result = run("fit", "DANDI:000999/sub-*/*.nwb", "--each", "-o", "out", "--json", *quick)
    assert result.exit_code == 2
    told = json.loads(result.stdout)
    assert [one["source"].rpartition("/")[2] for one in told["failed"]] == ["sub-1_ses-2.nwb"]
    assert "not an NWB file" in told["failed"][0]["error"]
    assert len(told["runs"]) == 2
    assert "2 of 3 recordings were fitted." in result.stderr
    assert result.stderr.count("not an NWB file") == 2  # when it happens, and at the end
    assert sorted(path.name for path in Path("out").iterdir()) == [RESULT, "sub-2_ses-1_desc-synapsnet.nwb"]
    # mended, only the one that is left is fitted
    write(archive.folder / NAMES[1], seed=1)
    before = {path: path.stat().st_mtime_ns for path in Path("out").iterdir()}
    refused = run("fit", "DANDI:000999/sub-*/*.nwb", "--each", "-o", "out", *quick)
    assert refused.exit_code == 2
    assert "leave out those that are there by --resume" in refused.output
    archive.reset_counts()
    told = fitted("DANDI:000999/sub-*/*.nwb", "--each", "-o", "out", "--resume", *quick).output
    assert told.count("is there already") == 2
    assert told.count("Written: ") == 1
    assert set(archive.counts.bytes_by_path) == {NAMES[1]}
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_failure_that_nobody_foresaw_stops_no_other(archive, quick, monkeypatch):
    held = fitting.fit_held

    def sometimes(sessions: list[Session], *rest: Any, **more: Any) -> Any:
        if "ses-2" in sessions[0].label:
            raise RuntimeError("out of the blue")
        return held(sessions, *rest, **more)

    monkeypatch.setattr(fitting, "fit_held", sometimes)
    result = run("fit", "DANDI:000999/sub-*/*.nwb", "--each", "-o", "out", *quick)
    assert result.exit_code == 2
    assert "Traceback" in result.stderr
    assert "RuntimeError: out of the blue" in result.stderr
    assert "2 of 3 recordings were fitted." in result.stderr
    assert len(list(Path("out").iterdir())) == 2


def test_ctrl_c_leaves_what_is_finished(archive, quick, monkeypatch):
    held = fitting.fit_held

    def until(sessions: list[Session], *rest: Any, **more: Any) -> Any:
        if "ses-2" in sessions[0].label:
            raise KeyboardInterrupt
        return held(sessions, *rest, **more)

    with monkeypatch.context() as patched:
        patched.setattr(fitting, "fit_held", until)
        result = run("fit", "DANDI:000999/sub-*/*.nwb", "--each", "-o", "out", "--json", *quick)
    assert result.exit_code == 130
    assert json.loads(result.stdout)["interrupted"] is True
    assert "1 of 3 recordings were fitted." in result.stderr
    assert "--resume" in result.stderr
    assert [path.name for path in Path("out").iterdir()] == [RESULT]
    told = fitted("DANDI:000999/sub-*/*.nwb", "--each", "-o", "out", "--resume", *quick).output
    assert told.count("Written: ") == 2


def test_each_works_on_files_here_and_in_place(dandiset, quick, tmp_path):
    folder = shutil.copytree(dandiset / "sub-1", tmp_path / "copies")
    fitted(folder / "*.nwb", "--each", "--in-place", *quick)
    for path in folder.iterdir():
        assert len(read_result(path).split) == 700
    refused = run("fit", folder / "*.nwb", "--each", "--in-place", "--resume", *quick)
    assert refused.exit_code == 2
    assert "name those that are left" in refused.output


def test_series_of_each_are_kept_in_files_if_asked_for(archive, quick):
    fitted(f"DANDI:000999/{FILE}", "--each", "--spill", "-o", "out", *quick)
    fitted(f"DANDI:000999/{FILE}", "-o", "plain.nwb", *quick)
    same(read_result(f"out/{RESULT}"), read_result("plain.nwb"))
    assert [path.name for path in Path("out").iterdir()] == [RESULT]


def test_pictures_are_drawn_from_the_recording_in_the_archive(own, quick):
    archive = own()
    fitted(f"DANDI:000999/{FILE}", *quick)
    result = read_result(RESULT)
    source = result.provenance["source"]
    assert "@" not in source["uri"]
    assert source_address(source) == f"dandi://127.0.0.1:{archive.port}/000999@0.260101.0001/{FILE}"
    assert read_original(result).n_neurons == len(result.neurons)
    archive.reset_counts()
    drawn = run("plot", RESULT, "-o", "pictures")
    assert drawn.exit_code == 0, drawn.output
    assert "without the recording" not in drawn.output
    assert archive.counts.bytes > 0
    # another recording under the same name is not taken for it
    write(archive.folder / FILE, seed=7)
    drawn = run("plot", RESULT, "-o", "pictures")
    assert "Drawn without the recording" in drawn.output
    assert "another content here than the one that was fitted" in drawn.output


def test_a_result_s_word_is_no_reason_to_ask_an_archive_that_is_not_known(archive, quick, use_archive):
    fitted(f"DANDI:000999/{FILE}", *quick)
    archive.reset_counts()
    use_archive(archive, cache=None)
    drawn = run("plot", RESULT, "--instance", "dandi-sandbox")
    assert drawn.exit_code == 0
    assert "an archive that is not known" in drawn.output
    assert archive.counts.requests == len(archive.counts.api) == 0


def test_a_server_is_not_asked_because_a_result_names_it(own, quick):
    archive = own()
    uri = archive.file_url(FILE)
    fitted(uri, "-o", "of-server.nwb", *quick)
    archive.reset_counts()
    drawn = run("plot", "of-server.nwb", "-o", "pictures")
    assert drawn.exit_code == 0, drawn.output
    assert f"--source {uri}" in drawn.output
    assert archive.counts.requests == 0
    drawn = run("plot", "of-server.nwb", "-o", "pictures", "--source", uri)
    assert drawn.exit_code == 0, drawn.output
    assert archive.counts.requests > 0
    write(archive.folder / FILE, seed=7)
    drawn = run("plot", "of-server.nwb", "-o", "pictures", "--source", uri)
    assert drawn.exit_code == 2
    assert "another content" in drawn.output


def test_a_remote_result_is_shown_and_drawn(own, quick, tmp_path):
    archive = own()
    fitted(archive.folder / FILE, "-o", archive.folder / "sub-1_ses-1_result.nwb", *quick)
    assert "Run synapsnet" in run("show", archive.file_url("sub-1_ses-1_result.nwb")).output
    drawn = run("plot", archive.file_url("sub-1_ses-1_result.nwb"))
    assert drawn.exit_code == 0, drawn.output
    assert {"network.png", "components.png"} <= {path.name for path in Path("sub-1_ses-1_pictures").iterdir()}


def test_inspect_looks_at_all_that_fit(archive, quick):
    told = run("inspect", "DANDI:000999/sub-1/*.nwb")
    assert told.exit_code == 0, told.output
    assert told.output.count("spikes: 12 neurons") == told.output.count("from the line") == 2
    offered = json.loads(run("inspect", "DANDI:000999/sub-1/*.nwb", "--json").output)
    assert [one["n_neurons"] for one in offered] == [12, 12]
    assert json.loads(run("inspect", f"DANDI:000999/{FILE}", "--json").output)["n_neurons"] == 12
    nothing = run("inspect", "DANDI:000999/sub-9/*.nwb")
    assert nothing.exit_code == 2
    assert "no asset fits this pattern" in nothing.output


def test_another_archive_is_named_by_its_address(dandiset, start_archive, quick):
    archive = start_archive(dandiset)
    result = run("inspect", f"DANDI:000999/{FILE}", "--instance", archive.api_url, "--no-cache", "--workers", "2")
    assert result.exit_code == 0, result.output
    assert "spikes: 12 neurons" in result.output
    refused = run("inspect", f"DANDI:000999/{FILE}", "--instance", "nowhere")
    assert refused.exit_code == 2
    assert "no archive named 'nowhere' is known" in refused.output


def test_embargoed_data_are_fitted_with_a_token(own, quick, monkeypatch):
    archive = own(embargoed=True)
    refused = run("fit", f"DANDI:000999/{FILE}", *quick)
    assert refused.exit_code == 2
    assert "Set DANDI_API_KEY" in refused.output
    monkeypatch.setenv("DANDI_API_KEY", archive.token)
    told = fitted(f"DANDI:000999/{FILE}", *quick).output
    stored = Path(RESULT).read_bytes()
    for secret in (archive.token, "X-Amz"):
        assert secret not in told
        assert secret.encode() not in stored


def test_a_secret_in_an_address_is_neither_shown_nor_stored(archive, quick):
    uri = archive.file_url(FILE) + "?token=very-secret"
    result = fitted(uri, "--json", *quick)
    assert "very-secret" not in result.output
    assert "very-secret" not in fitted(uri, "-o", "other.nwb", *quick).output
    assert b"very-secret" not in Path(RESULT).read_bytes()


def test_nothing_is_kept_without_a_cache(dandiset, start_archive, use_archive, quick, tmp_path):
    cache = tmp_path / "cache"
    use_archive(start_archive(dandiset), cache=CacheConfig(cache))
    run("inspect", f"DANDI:000999/{FILE}", "--no-cache")
    assert not cache.exists()
    run("inspect", f"DANDI:000999/{FILE}")
    assert cache.exists()


def test_the_cache_is_described_and_emptied(dandiset, start_archive, use_archive, quick, tmp_path, monkeypatch):
    use_archive(start_archive(dandiset), cache=CacheConfig(tmp_path / "cache"))
    assert "0 bytes of 0 recordings, at most 21.5 GB" in run("cache", "info").output
    run("inspect", "DANDI:000999/sub-1/*.nwb")
    held = json.loads(run("cache", "info", "--json").output)
    assert (held["folder"], held["objects"]) == (str(tmp_path / "cache"), 2)
    assert held["bytes"] > 0
    # on a terminal one is asked
    monkeypatch.setattr("ndx_synapsnet.cli.cache.on_terminal", lambda: True)
    kept = CliRunner().invoke(main, ["cache", "clear"], input="n\n")
    assert kept.exit_code == 1
    assert "Remove " in kept.output
    assert json.loads(run("cache", "info", "--json").output) == held
    monkeypatch.undo()
    cleared = run("cache", "clear")
    assert cleared.exit_code == 0
    assert "of 2 recordings removed" in cleared.output
    assert "Remove " not in cleared.output
    assert json.loads(run("cache", "info", "--json").output)["objects"] == 0


def test_a_preset_is_read_and_what_is_given_goes_before_it(archive, quick):
    from ndx_synapsnet.nwb.readers import PRESETS

    text = " ".join(run("fit", "--help").output.replace("-\n", "-").split())
    for name in PRESETS:
        assert name in text.replace("- ", "-")
    refused = run("fit", f"DANDI:000999/{FILE}", "--preset", "best", *quick)
    assert refused.exit_code == 2
    assert "Known presets: allen-neuropixels" in refused.output
    result = fitted(f"DANDI:000999/{FILE}", "--preset", "ibl", "--units", "id >= 0", "--json", *quick)
    (one,) = json.loads(result.output)["runs"]
    read = one["provenance"]["source"]["read_config"]
    assert (read["adapter"], read["quality_filter"], read["units_query"]) == ("spikes", False, "id >= 0")


def plane(path: Path, identifier: str, seed: int) -> None:
    """Write one imaging plane of a session."""
    rng = np.random.default_rng(seed)
    n, t = 6, 700
    neurons = Neurons([str(i) for i in range(n)], [""] * n, [""] * n, np.arange(n))
    session = Session(
        activity=rng.normal(size=(n, t)),
        times=np.arange(t) / 10,
        period=0.1,
        segment=np.zeros(t),
        valid=np.ones(t, bool),
        behavior=np.zeros((0, t)),
        behavior_names=(),
        neurons=neurons,
        activity_kind="dff",
        unit="n.a.",
        modality="ophys",
        provenance={"identifier": identifier, "session_id": "s1", "subject": {"subject_id": "m1"}},
    )
    write_recording(session, path)


def test_planes_in_files_of_their_own_are_one_recording(tmp_path, start_archive, use_archive, quick):
    folder = tmp_path / "planes"
    folder.mkdir()
    for seed, name in enumerate("ab"):
        plane(folder / f"sub-m1_ses-s1_obj-{name}.nwb", f"plane-{name}", seed)
    use_archive(start_archive(folder))
    told = fitted("DANDI:000999/*.nwb", "--join", "--each", *quick).output
    assert "12 neurons" in told
    assert "and 1 more" in told
    result = read_result("sub-m1_ses-s1_desc-synapsnet.nwb")
    assert len(result.provenance["source"]["files"]) == 2
    assert not any("requests" in one["remote"] for one in result.provenance["source"]["files"])
    assert read_original(result).n_neurons == len(result.neurons) == 12
    refused = run("fit", folder / "*.nwb", "--join", "--in-place", *quick)
    assert refused.exit_code == 2
    assert "it is several files" in refused.output
    assert "One session, with --join" in run("inspect", folder / "*.nwb", "--join").output


@pytest.mark.parametrize("progress", [True, False])
def test_joining_says_that_files_are_looked_at(archive, quick, use_archive, progress):
    use_archive(archive, progress=progress)
    told = run("inspect", f"DANDI:000999/{FILE}", "--join")
    assert ("Looking which files are of one session" in told.output) == progress


def test_bars_count_the_bytes_that_arrive(dandiset, start_archive, use_archive, quick, capfd):
    use_archive(start_archive(dandiset), progress=True)
    run("inspect", f"DANDI:000999/{FILE}")
    from ndx_synapsnet.cli.transfers import Transfers
    from ndx_synapsnet.nwb.sources.remote.options import Progress

    transfers = Transfers(True)
    transfers.arrived(Progress("a", 1000, 500))
    with transfers.bar():
        bar = transfers._bar
        assert bar is not None
        transfers.arrived(Progress("a", 4000, 2000))
        transfers.arrived(Progress("b", 10, 10))
        assert (bar.n, bar.total, bar.initial) == (2010, 4010, 500)
    assert transfers._bar is None


@pytest.mark.parametrize(
    ("n", "text"), [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (2 * 10**12, "2000.0 GB")]
)
def test_sizes_for_people(n, text):
    assert size(n) == text


def test_help_needs_nothing_that_asks_the_network():
    code = (
        "import sys\nfrom ndx_synapsnet.cli import main\n"
        "try: main(['fit', '--help'])\nexcept SystemExit: pass\n"
        "print([name for name in ('requests', 'urllib3', 'dandi', 'torch', 'tqdm') if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert told.splitlines()[-1] == "[]"
