"""Whatever goes wrong with an archive, reading gives the identical answer or says what it was: the table of faults."""

from __future__ import annotations

import json

import pytest

from ndx_synapsnet.benchmark import faults
from ndx_synapsnet.benchmark.archive import Faults
from ndx_synapsnet.benchmark.faults import CASES, Case, Found, fault_recording, is_as_expected, meet
from ndx_synapsnet.nwb.readers import read_session


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faults")
    made = {layout: fault_recording(folder, layout) for layout in {case.layout for case in CASES}}
    return {
        layout: (one, read_session(one.path, behavior="none", quality_filter=False)) for layout, one in made.items()
    }


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_survived_with_the_identical_answer_or_named(case, recordings):
    found = meet(case, *recordings[case.layout])
    assert is_as_expected(case, found), found
    assert found.outcome != "ANOTHER ANSWER"
    if case.expected == "error":
        assert "sub-1/sub-1.nwb" in found.words  # it names the file, and keeps what is secret
        assert "X-Amz" not in found.words
        assert "loopback-token" not in found.words


def test_each_fault_happens(recordings):
    """None of those that are survived is survived because nothing went wrong."""
    counted = {}
    for name in (None, "500", "truncated body", "short 206", "address expires in mid-read"):
        case = next((case for case in CASES if case.name == name), Case("nothing"))
        counted[name] = meet(case, *recordings["small"]).requests
    nothing = counted.pop(None)
    assert all(requests > nothing for name, requests in counted.items() if name != "address expires in mid-read")
    assert nothing >= 4  # so that what begins after two requests is in mid-read


def test_the_table_has_every_kind():
    assert len(CASES) >= 14
    assert len({case.name for case in CASES}) == len(CASES)
    kinds = "dropped 500 503 429 expires stall truncated short Range replaced gzip contiguous Fletcher32 disk token"
    for word in [*kinds.split(), "asset withdrawn", "server gone", "in mid-read", "--verify"]:
        assert any(word in case.name for case in CASES), word


def test_what_would_be_silent_is_told(recordings, monkeypatch):
    """A reader that gives other numbers does not pass for one that survived."""

    def pretend(reader):
        reader.integrity = "verified"

    recording, local = recordings["contiguous"]
    flipped = Case("bit flipped", layout="contiguous", flip=True)
    found = meet(flipped, recording, local)
    assert not is_as_expected(flipped, found)
    assert found.outcome == "another answer, marked unverified"
    monkeypatch.setattr("ndx_synapsnet.nwb.sources.remote.fetch.RangeReader.verify", pretend)
    careless = next(case for case in CASES if "--verify" in case.name)
    found = meet(careless, recording, local)
    assert found.outcome == "ANOTHER ANSWER"
    assert not is_as_expected(careless, found)


def test_the_words_count():
    case = Case("503", Faults(statuses=(503,)), expected="error", words="answered 503")
    assert is_as_expected(case, Found("error", "it answered 503", 1))
    assert not is_as_expected(case, Found("error", "something went wrong", 1))
    assert not is_as_expected(case, Found("identical answer", "", 1))


def test_the_table_is_kept(tmp_path, monkeypatch):
    found = faults.run(tmp_path / "out", [case for case in CASES if case.name in ("500", "server gone")])
    assert json.loads((tmp_path / "out" / "faults.json").read_text()) == found
    assert [row["as_expected"] for row in found["faults"]] == [True, True]
    assert [row["outcome"] for row in found["faults"]] == ["identical answer", "error"]
