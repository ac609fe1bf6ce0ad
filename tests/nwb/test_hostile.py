"""Result files that somebody damaged, or made to do damage: a plain error, and nothing else."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import textwrap
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from ndx_synapsnet.benchmark.fuzz import nasty
from ndx_synapsnet.benchmark.fuzz.corpus import hdf5_corpus, write_zarr
from ndx_synapsnet.benchmark.fuzz.reading import read_everything, require_harmless, require_inert
from ndx_synapsnet.benchmark.fuzz.targets import put
from ndx_synapsnet.cli import main
from ndx_synapsnet.cli.files import remote_stem
from ndx_synapsnet.errors import InputError, printable
from ndx_synapsnet.nwb.checks import require_size
from ndx_synapsnet.nwb.results import read_result
from ndx_synapsnet.nwb.sources import open_source
from ndx_synapsnet.nwb.wiring import read_wiring
from ndx_synapsnet.show import tables

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pynwb's own, about the damage

FIT = "/processing/ecephys/synapsnet"
EVIL = "\x1b[2J\u202e[/red]<script>alert(1)</script>"
NO_TEXT = np.array([b"\xff"] * 4, h5py.string_dtype())
RECORDS = np.array([(1.0, "a")] * 4, [("a", "<f4"), ("b", h5py.string_dtype())])
Damage = Callable[[h5py.File], None]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with whole files, to be copied from."""
    folder = tmp_path_factory.mktemp("whole")
    for seedling in hdf5_corpus():
        (folder / f"{seedling.name}.nwb").write_bytes(seedling.content)
    return folder


@pytest.fixture(scope="module")
def whole_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole Zarr store, to be copied."""
    return write_zarr(tmp_path_factory.mktemp("store"))


def damaged(whole: Path, folder: Path, damage: Damage, name: str = "schemas") -> Path:
    path = Path(shutil.copy(whole / f"{name}.nwb", folder / "hostile.nwb"))
    with h5py.File(path, "r+") as file:
        damage(file)
    return path


def replaced(place: str, **content: object) -> Damage:
    return lambda file: put(file, f"{FIT}/{place}", **content)


def declared(place: str, rows: int) -> Damage:
    """Declare rows of which none is stored."""
    return lambda file: put(
        file, f"{FIT}/{place}", shape=(rows, *file[f"{FIT}/{place}"].shape[1:]), dtype=file[f"{FIT}/{place}"].dtype,
        chunks=(64, *file[f"{FIT}/{place}"].shape[1:]),
    )  # fmt: skip


def packed(place: str, blocks: int) -> Damage:
    """Put blocks of zeros there that take little room."""

    def damage(file: h5py.File) -> None:
        rows = 2**20
        put(file, f"{FIT}/{place}", shape=(blocks * rows,), dtype="i8", chunks=(rows,), compression="gzip")
        block = zlib.compress(bytes(8 * rows), 9)
        for number in range(blocks):
            file[f"{FIT}/{place}"].id.write_direct_chunk((number * rows,), block)

    return damage


def elsewhere(place: str, *, virtual: bool) -> Damage:
    """Let values lie in another file."""

    def damage(file: h5py.File) -> None:
        old = file[f"{FIT}/{place}"]
        shape = old.shape
        if not virtual:
            put(file, f"{FIT}/{place}", shape=shape, dtype="f4", external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)])
            return
        del file[f"{FIT}/{place}"]
        layout = h5py.VirtualLayout(shape=shape, dtype="f4")
        layout[...] = h5py.VirtualSource("nowhere.nwb", "x", shape=shape)
        file.create_virtual_dataset(f"{FIT}/{place}", layout)

    return damage


def region_of(table: str) -> Damage:
    def damage(file: h5py.File) -> None:
        file[f"{FIT}/effective/targets"].attrs["table"] = file[f"{FIT}/{table}"].ref

    return damage


def names_itself(file: h5py.File) -> None:
    """Let a table's list of columns refer to the table, which pynwb follows for ever."""
    del file[f"{FIT}/neurons"].attrs["colnames"]
    file[f"{FIT}/neurons"].attrs["colnames"] = file[f"{FIT}/neurons"].ref


def reference_times(file: h5py.File) -> None:
    put(file, "timestamps_reference_time", shape=(2**26, 2**26), dtype="i8", chunks=(64, 64))


def record(text: str) -> Damage:
    return replaced("provenance/record", data=text)


def weights(blob: bytes) -> Damage:
    """Put signed bytes in place of the decoder's parameters."""

    def damage(file: h5py.File) -> None:
        put(file, f"{FIT}/provenance/decoder_weights", data=np.frombuffer(blob, np.uint8))
        file[f"{FIT}/provenance"].attrs["decoder_weights_sha256"] = hashlib.sha256(blob).hexdigest()

    return damage


def attribute(place: str, name: str, value: object) -> Damage:
    def damage(file: h5py.File) -> None:
        item = file[f"{FIT}/{place}".rstrip("/")]
        del item.attrs[name]
        item.attrs[name] = value

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (declared("effective/targets", 2**40), "effective/targets: the region declares 8796093022208 bytes"),
        (declared("effective/weights", 2**40), r"weights has shape \(1099511627776, 4\), expected \(4, 4\)"),
        (declared("forecast/data", 2**40), "data declares 1.* bytes, and the file holds 0 for it"),
        (declared("provenance/decoder_weights", 2**33), "decoder_weights declares 8589934592 bytes"),
        (packed("effective/sources", 16), "effective/sources: the region is of shape .*more than there can be neurons"),
        (packed("provenance/split_length", 16), "split_length holds 16777216 values, expected at most"),
        (packed("provenance/behavior_names", 1), "behavior_names holds 1048576 values, expected at most"),
        (elsewhere("effective/weights", virtual=False), "effective: the values of weights lie in another file"),
        (elsewhere("forecast/data", virtual=True), "forecast: the values of data lie in another file"),
        (elsewhere("provenance/training_curve/id", virtual=True), "training_curve: the values of id lie in"),
        (region_of("provenance/training_curve"), "targets: the region is of another table"),
        (region_of("effective"), "pynwb cannot read the file"),
        (names_itself, "pynwb cannot read the file"),
        (reference_times, "timestamps_reference_time declares .* bytes, and the file holds 0"),
        (replaced("provenance/activity_std", shape=(4,), dtype=h5py.ref_dtype), "activity_std holds object, expected"),
        (replaced("neurons/neuron_id", data=NO_TEXT), "neuron_id cannot be read .*UnicodeDecodeError"),
        (replaced("neurons/source_path", data=RECORDS), "source_path holds"),
        (replaced("neurons/position", data=np.zeros((4, 3), "S3")), "position holds .S3, expected"),
        (replaced("forecast/timestamps", data=np.arange(30.0)[::-1]), "timestamps do not increase"),
        (replaced("forecast/control", data=np.full(30, -1, "i1")), "control reaches from -1 to -1"),
        (replaced("provenance/split_length", data=[2**31, 1, 1]), "do not describe a split"),
        (record("[" * 100_000), "record is not JSON"),
        (record('{"a":' * 100 + "1" + "}" * 100), "record is nested more than 64 deep"),
        (record('{"source": {"series": [3]}}'), r"record holds int as source.series.\*"),
        (record('{"source": {"series": [null]}}'), r"record holds NoneType as source.series.\*"),
        (record('{"best_epoch": 1e999}'), "record holds float as best_epoch"),
        (replaced("provenance/training_curve/epoch", data=np.full(3, np.inf)), "epochs are not numbered"),
        (record('{"source": []}'), "record holds list as source"),
        (record('{"big": ' + "9" * 10**6 + "}"), "record is not JSON"),
        (weights(nasty.PICKLE), "decoder_weights are not safetensors"),
        (weights(b"\xff" * 7 + b"\x7f" + b"{}"), "decoder_weights are not safetensors"),
        (attribute("effective", "lag", 2**63 - 1), ""),
        (attribute("", "trustworthy", np.zeros(2)), "trustworthy"),
    ],
)  # fmt: skip
def test_damage_is_refused(whole: Path, tmp_path: Path, damage: Damage, message: str) -> None:
    path = damaged(whole, tmp_path, damage)
    before = dict(os.environ)
    if message:
        with pytest.raises(InputError, match=message) as caught:
            read_result(path)
        assert str(path) in str(caught.value)
    else:
        read_result(path)
    assert dict(os.environ) == before  # what a pickle would change


def test_a_type_that_cannot_be_told_is_refused() -> None:
    class Damaged:
        shape = (1,)

        @property
        def dtype(self) -> np.dtype:
            raise TypeError("Unknown string encoding (value 3)")  # as h5py on bytes that were flipped

    with pytest.raises(InputError, match=r"x.nwb: the type of name cannot be read \(Unknown string encoding"):
        require_size(Damaged(), "name", where="x.nwb")


def test_edges_are_not_read_beyond_what_there_can_be(whole: Path, tmp_path: Path) -> None:
    path = damaged(whole, tmp_path, declared("edges/edge_weight", 2**40), "sparse")
    with pytest.raises(InputError, match="edges: edge_weight holds 1099511627776 values, expected at most 25"):
        read_wiring(path, matrix="edges")


def test_metadata_steer_no_terminal_and_run_in_no_page(whole: Path, tmp_path: Path) -> None:
    def damage(file: h5py.File) -> None:
        for name in ("neuron_id", "location", "cell_type"):
            values = [f"{EVIL}{row}" for row in range(6)]
            put(file, f"{FIT}/neurons/{name}", data=np.array(values, dtype=h5py.string_dtype()))
        file[FIT].attrs["verdict"] = EVIL
        file[f"{FIT}/effective"].attrs["method"] = EVIL
        put(file, f"{FIT}/provenance/record", data=json.dumps({"source": {"uri": EVIL, "notes": [EVIL]}}))
        file["processing/ecephys"].move("synapsnet", EVIL.replace("/", ""))

    path = damaged(whole, tmp_path, damage, "dense")
    assert read_everything(path, tmp_path) == []  # which looks at every table and page

    for arguments in (["show", path], ["groups", path, "--by", "region"], ["show", path, "--run", EVIL]):
        found = CliRunner().invoke(main, [str(part) for part in arguments])
        assert found.exception is None or found.exit_code == 2, found.output
        require_harmless(found.output)


def test_a_run_called_by_a_digit_that_is_no_number(whole: Path, tmp_path: Path) -> None:
    path = damaged(whole, tmp_path, lambda file: file["processing/ecephys"].move("synapsnet", "²"), "dense")
    assert read_everything(path, tmp_path) == []


def test_what_looks_harmless_is_looked_at() -> None:
    for text in ("\x1b[2J", "a\u202eb", "\x07"):
        with pytest.raises(AssertionError, match="steers"):
            require_harmless(text)
    for page in ("<p><script>1</script>", '<p onclick="x">', '<a href="javascript:x">', "<img src='/x'>"):
        with pytest.raises(AssertionError):
            require_inert(page)


def test_errors_and_tables_show_what_is_printable() -> None:
    assert str(InputError(EVIL, where="\x9b", remedy="\u2066")) == "�: �[2J�[/red]<script>alert(1)</script>. �"
    assert printable("µ\N{NO-BREAK SPACE}m\n") == "µ\N{NO-BREAK SPACE}m\n"
    assert printable("x" * 3_000_000) == "x" * 10_000 + "… (3,000,000 characters)"
    shown = tables.text(tables.grid(EVIL, [EVIL], [[EVIL]]), tables.pairs(EVIL, {EVIL: EVIL}))
    require_harmless(shown)
    assert shown.count("[/red]") == 6  # as it is, and no markup


def test_reading_in_a_process_of_its_own_tells_faults_apart(tmp_path: Path) -> None:
    """What the fuzzing counts as a fault would be counted."""
    script = """
        import json, os, signal, sys
        from pathlib import Path
        from ndx_synapsnet.benchmark.fuzz import process
        from ndx_synapsnet.errors import InputError
        process.SECONDS = 0

        def hang():
            while True: pass

        def hold():
            return [bytes(2 << 30)]

        ways = {
            "read": lambda: [], "refused": lambda: [InputError("x")], "OURS": lambda: {}["a"], "HANG": hang,
            "MEMORY": hold, "FORBIDDEN": lambda: os.system("true") and [] or [],
            "crash in a library": lambda: os.kill(os.getpid(), signal.SIGSEGV),
        }
        folder = Path(sys.argv[1])

        def make():
            assert len(b"x" * (1280 << 20))  # what is used in the making does not count
            return folder / "x", "said"

        print(json.dumps({
            name: process.read_apart(0, make, lambda path, scratch: do(), folder).outcome for name, do in ways.items()
        }))
    """
    folder = tmp_path / "apart"
    folder.mkdir()
    found = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(folder)], capture_output=True, text=True, check=True
    )
    outcomes = json.loads(found.stdout)
    assert {name: name for name in outcomes} == outcomes
    assert list(folder.iterdir()) == []


def test_fuzzing_counts_and_keeps(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ndx_synapsnet.cli", "benchmark", "fuzz", "--mutations", "8", "--seed", "9"]
    subprocess.run([*command, "-o", str(tmp_path)], capture_output=True, check=True)
    kept = json.loads((tmp_path / "fuzz.json").read_text())["runs"]["hdf5, seed 9"]
    assert kept["mutants"] == 8
    assert set(kept["outcomes"]) <= {"read", "refused"}
    assert sum(sum(of.values()) for of in kept["kinds"].values()) == 8


def rewrite(store: Path, name: str, change: Callable[[dict], None], *, consolidated: bool = True) -> None:
    """Change a metadata file of a store, in the consolidated copy too."""
    content = json.loads((store / name).read_text())
    change(content)
    (store / name).write_text(json.dumps(content))
    if consolidated:
        every = json.loads((store / ".zmetadata").read_text())
        every["metadata"][name] = content
        (store / ".zmetadata").write_text(json.dumps(every))


@pytest.mark.parametrize("consolidated", [True, False])
def test_pickles_in_a_store_are_never_decoded(
    whole_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, consolidated: bool
) -> None:
    import numcodecs.pickles

    # newer versions of numcodecs refuse by themselves, unless somebody allowed it
    monkeypatch.setattr(numcodecs.pickles, "ALLOW_UNSAFE_PICKLE_DECODE", True, raising=False)
    store = Path(shutil.copytree(whole_store, tmp_path / "hostile.zarr"))
    array = f"{FIT[1:]}/neurons/neuron_id"
    change = {"dtype": "|O", "filters": [{"id": "pickle"}], "compressor": None}
    rewrite(store, f"{array}/.zarray", lambda content: content.update(change), consolidated=consolidated)
    (store / array / "0").write_bytes(nasty.PICKLE)
    with pytest.raises(InputError, match=r"neuron_id.*it holds pickled objects, which are not read"):
        read_result(store)
    assert "UNPICKLED" not in os.environ


@pytest.mark.parametrize("consolidated", [True, False])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": [1.5]}, r"shape is \[1.5\], expected whole numbers"),
        ({"shape": "x"}, "shape is x, expected whole numbers"),
        ({"chunks": [-1]}, r"chunks is \[-1\], expected whole numbers"),
        ({"chunks": []}, "2 axes, its chunks 0"),
        ({"dtype": "|S2000000000"}, "values take 2000000000 bytes each"),
        ({"dtype": "x"}, "no known type"),
        ({"filters": [{"id": "vlen-bytes"}]}, "declares float32 that are packed as texts"),
    ],
)
def test_arrays_that_no_writer_makes_are_refused(
    whole_store: Path, tmp_path: Path, change: dict, message: str, consolidated: bool
) -> None:
    store = Path(shutil.copytree(whole_store, tmp_path / "hostile.zarr"))
    name = f"{FIT[1:]}/effective/p_value/.zarray"
    rewrite(store, name, lambda content: content.update(change), consolidated=consolidated)
    if not consolidated:
        (store / ".zmetadata").unlink()
    with pytest.raises(InputError, match=f"effective/p_value: the array.*{message}"):
        read_result(store)


@pytest.mark.parametrize("source", ["../../elsewhere.zarr", "/etc", "http://127.0.0.1:9/x"])
def test_a_store_refers_to_nothing_outside(whole_store: Path, tmp_path: Path, source: str) -> None:
    store = Path(shutil.copytree(whole_store, tmp_path / "hostile.zarr"))

    def lead_away(content: dict) -> None:
        content["table"]["value"].update(source=source, source_object_id="other")

    rewrite(store, f"{FIT[1:]}/effective/targets/.zattrs", lead_away)
    with pytest.raises(InputError, match="the store refers to an object in another one"):
        read_result(store)


def test_regions_of_a_store_are_not_read_beyond_what_it_holds(whole_store: Path, tmp_path: Path) -> None:
    store = Path(shutil.copytree(whole_store, tmp_path / "hostile.zarr"))
    rewrite(store, f"{FIT[1:]}/effective/targets/.zarray", lambda content: content.update(shape=[2**40], chunks=[64]))
    with pytest.raises(InputError, match="the region declares 8796093022208 bytes"):
        read_result(store)


@pytest.mark.parametrize(
    "address",
    [
        "http://host/a/../../..", "http://host/%2e%2e%2f%2e%2e%2fx", "http://host/..%5c..%5cx.nwb", "http://host/%00x",
        "http://host/C:%5Cx.nwb", "http://host/-rf.nwb", "http://host/.ssh/", "s3://bucket/a/.nwb", "http://host/",
        f"http://host/{'a' * 5000}.nwb", "http://host/%1b%5b2J%e2%80%aex.nwb",
    ],
)  # fmt: skip
def test_names_of_files_come_from_no_path_of_others(address: str) -> None:
    name = remote_stem(address)
    assert name
    assert PurePosixPath(name).name == name
    assert not name.startswith((".", "-"))
    assert set(name).isdisjoint("/\\:\0\x1b")
    assert len(name) <= 120


@pytest.mark.parametrize("path", ["../../x", "a/../../x", "/etc/passwd", "a//b", "..\\x", "%2e%2e/x", "a\0b", "C:\\x"])
def test_paths_that_no_asset_has_are_refused(path: str) -> None:
    with pytest.raises(InputError, match=r"no asset can have this path|NUL|control characters"):
        open_source(f"DANDI:000000/{path}")


def test_a_chunk_is_not_believed_how_many_texts_it_holds() -> None:
    import numcodecs

    from ndx_synapsnet.nwb.sources.zarr_texts import bound_texts

    bound_texts()
    for name, values in (("vlen-utf8", ["a", "", "µ"]), ("vlen-bytes", [b"a", b"", b"zz"])):
        codec = numcodecs.get_codec({"id": name})
        for some in (values, []):
            assert codec.decode(codec.encode(np.array(some, object))).tolist() == some
        flipped = bytearray(codec.encode(np.array(values, object)))
        flipped[3] = 0x7F
        with pytest.raises(ValueError, match="a chunk declares 2130706435 texts and has room for 3"):
            codec.decode(bytes(flipped))
