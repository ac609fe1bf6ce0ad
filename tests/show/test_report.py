"""The report: everything that a file holds, and nothing that a file holds as HTML."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from ndx_synapsnet import InputError
from ndx_synapsnet.session import Connectivity, FitResult, Session
from ndx_synapsnet.show import page as bricks
from ndx_synapsnet.show.plots import draw_scores
from ndx_synapsnet.show.report import ReportedRun, report_page, write_report
from ndx_synapsnet.show.report_run import figure

ALONE = {"meta", "img", "br"}  # elements without an end
EVIL = "<script>alert(1)</script>\"'><img src=//evil.example/x onerror=alert(2)>&amp;$\\frac{x$"


class Page(HTMLParser):
    """Elements and text of a page; fails if they are not nested."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ALONE:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and data.strip():
            self.texts.append((self._open[-1], data))

    @property
    def text(self) -> str:
        return " ".join(data for tag, data in self.texts if tag != "style")

    def all(self, tag: str) -> list[str]:
        return [data for of, data in self.texts if of == tag]

    def attributes(self) -> Iterator[tuple[str, str, str]]:
        for tag, attributes in self.elements:
            for name, value in attributes.items():
                yield tag, name, value or ""


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are made but not drawn, which takes most of the time of a page."""
    dot = b"\x89PNG\r\n\x1a\n"
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda self, file, **settings: file.write(dot))


def page_of(*runs: ReportedRun, **settings: int) -> Page:
    return Page(report_page(runs, title="a file", version="1.2.3", **settings))


@pytest.fixture
def certain(result: FitResult) -> FitResult:
    """Regions, and a matrix with its uncertainty: the connection 5 → 2 is the strongest and surest."""
    n = len(result.neurons)
    weights = np.full((n, n), 0.01) * (1 - np.eye(n))
    weights[2, 5], weights[7, 1], weights[4, 4] = -0.9, 0.5, 3.0
    q = np.full((n, n), 0.5)
    q[2, 5], q[7, 1] = 1e-6, 0.04
    matrix = Connectivity(
        weights, "synapsnet", "A weight", standard_error=np.full((n, n), 0.03), p_value=q / 2, q_value=q
    )
    neurons = replace(result.neurons, region=np.array(["CA1", "V1"] * (n // 2)))
    return replace(result, neurons=neurons, connectivity={"effective": matrix})


def test_everything_is_there_and_nothing_is_loaded(result: FitResult, session: Session) -> None:
    page = page_of(ReportedRun("synapsnet", result, session))
    headings = page.all("h2")
    assert headings == [
        "Forecast against the reference predictors",
        "What was recorded",
        "Connectivity",
        "Embedding",
        "Forecast",
        "Training",
        "Provenance",
        "How to cite",
    ]
    assert result.verdict in page.text
    assert "The connectivity may be read" in page.text
    assert "train.seed" in page.text
    assert "arxiv.org/abs/2411.08221" in page.text
    assert "ndx-synapsnet 1.2.3" in page.text
    anchors = {value for _, name, value in page.attributes() if name == "id"}
    for tag, name, value in page.attributes():
        if name == "src":
            assert value.startswith("data:image/png;base64,iVBOR")
        if name == "href":
            assert value[1:] in anchors if value.startswith("#") else tag == "a"
        assert not name.startswith("on")
    assert not {"script", "link", "iframe", "object", "form"} & {tag for tag, _ in page.elements}
    policy = next(at["content"] for tag, at in page.elements if tag == "meta" and "http-equiv" in at)
    assert policy is not None
    assert policy.startswith("default-src 'none'")


def test_metadata_is_text(result: FitResult) -> None:
    """Wherever text of the file is shown, markup in it stays text."""
    n = len(result.neurons)
    neurons = replace(
        result.neurons,
        id=np.array([f"{row}{EVIL}" for row in range(n)]),
        region=np.array([EVIL, "V1"] * (n // 2)),
        cell_type=np.array([EVIL, "b"] * (n // 2)),
    )
    source = {
        "session_description": EVIL,
        "session_id": EVIL,
        "subject": {"subject_id": EVIL, "species": EVIL},
        "lab": EVIL,
        "experimenter": [EVIL],
        "uri": EVIL,
        "notes": [EVIL],
        "series": [{"path": EVIL}],
        "identifier": EVIL,
        "read_config": {EVIL: EVIL},
        "remote": {"dandiset": EVIL, "version": EVIL, "path": EVIL, "archive": EVIL, "digests": {EVIL: EVIL}},
    }
    made = {
        "source": source,
        "software": {EVIL: EVIL, "ndx-synapsnet": EVIL},
        "seed": EVIL,
        "device": EVIL,
        "started": EVIL,
        "notes": [EVIL],
        "set_aside": [{"id": EVIL, "reason": EVIL}],
    }
    matrix = replace(result.connectivity["effective"], method=EVIL, description=EVIL)
    scores = {**result.scores, EVIL: result.scores["mean"]}
    evil = replace(
        result,
        neurons=neurons,
        provenance=made,
        config={EVIL: {EVIL: [EVIL]}},
        verdict=EVIL,
        unit=EVIL,
        behavior_names=(EVIL,),
        connectivity={"effective": matrix, EVIL: matrix},
        scores=scores,
        run_id=EVIL,
    )
    page = Page(report_page([ReportedRun(EVIL, evil)], title=EVIL, version=EVIL))
    assert page.text.count(EVIL) > 30
    assert not {"script", "b"} & {tag for tag, _ in page.elements}
    for tag, name, value in page.attributes():
        assert EVIL not in value
        assert (tag, name) in {
            ("html", "lang"),
            ("meta", "charset"),
            ("meta", "http-equiv"),
            ("meta", "name"),
            ("meta", "content"),
            ("img", "src"),
            ("img", "alt"),
            ("a", "href"),
            ("th", "scope"),
        } or name in ("class", "id")


def test_control_characters_are_shown_as_such() -> None:
    assert bricks.text("a\x1b[31m\u202eb") == "a\N{REPLACEMENT CHARACTER}[31m\N{REPLACEMENT CHARACTER}b"


def test_an_attribute_cannot_be_left() -> None:
    assert bricks.element("p", 'a"b', title='"><script>') == '<p title="&quot;&gt;&lt;script&gt;">a&quot;b</p>'


@pytest.mark.usefixtures("undrawn")
def test_strongest_connections_come_with_their_uncertainty(certain: FitResult) -> None:
    page = page_of(ReportedRun("synapsnet", certain), edges=2)
    cells = page.all("td")
    ids = certain.neurons.id
    first = cells.index(f"{ids[5]} (V1)")
    minus = "\N{MINUS SIGN}"
    assert cells[first : first + 6] == [
        f"{ids[5]} (V1)",
        f"{ids[2]} (CA1)",
        f"{minus}0.900",
        "0.0300",
        "< 0.0001",
        "< 0.0001",
    ]
    assert cells[first + 6 : first + 12] == [f"{ids[1]} (V1)", f"{ids[7]} (V1)", "0.500", "0.0300", "0.02", "0.04"]
    assert "2 of 132 pairs have q ≤ 0.1." in page.text
    assert "Connectivity between brain regions." in page.text
    assert "cell types" not in page.text
    assert "3.00" not in cells  # a neuron's own weight is no connection
    assert "trusted" not in page.text
    said = {"significance": {"trustworthy": False, "why": "All of it is <confounding>."}}
    doubted = page_of(ReportedRun("synapsnet", replace(certain, provenance={**certain.provenance, **said})), edges=2)
    assert "q-values are NOT to be trusted: All of it is <confounding>." in doubted.text


@pytest.mark.usefixtures("undrawn")
def test_without_uncertainty_there_are_no_columns_for_it(result: FitResult) -> None:
    page = page_of(ReportedRun("synapsnet", result))
    assert not {"p", "q", "standard error"} & set(page.all("th"))
    assert "between brain regions" not in page.text


@pytest.mark.usefixtures("undrawn")
def test_an_untrustworthy_fit_says_so_before_its_connections(result: FitResult) -> None:
    page = page_of(ReportedRun("synapsnet", replace(result, trustworthy=False)))
    assert "The connectivity is not to be read" in page.text
    assert "Strongest connections (not to be read)." in page.text
    assert [at.get("class") for tag, at in page.elements if tag == "div"].count("verdict no") == 2


@pytest.mark.usefixtures("undrawn")
def test_what_a_run_lacks_is_left_out(result: FitResult) -> None:
    """No connectivity, no curve, no reference predictor, no forecast, no provenance."""
    bare = replace(
        result,
        connectivity={},
        embeddings=result.embeddings[:, :0],
        training={},
        scores={result.model: result.scores[result.model]},
        forecast=replace(
            result.forecast,
            values=result.forecast.values[:0],
            index=result.forecast.index[:0],
            times=result.forecast.times[:0],
            split=result.forecast.split[:0],
        ),
        provenance={},
        config={},
    )
    page = page_of(ReportedRun("synapsnet", bare))
    assert page.all("h2") == [
        "Forecast against the reference predictors",
        "What was recorded",
        "Provenance",
        "How to cite",
    ]
    assert "img" not in {tag for tag, _ in page.elements}


@pytest.mark.usefixtures("undrawn")
def test_each_run_has_its_part(result: FitResult, certain: FitResult) -> None:
    page = page_of(ReportedRun("first", result), ReportedRun("second", certain))
    assert page.all("h1") == ["a file", "first", "second"]
    assert [at["href"] for tag, at in page.elements if tag == "a"][:2] == ["#run-1", "#run-2"]
    identities = [value for _, name, value in page.attributes() if name == "id"]
    assert len(identities) == len(set(identities))


@pytest.mark.usefixtures("undrawn")
def test_known_wiring_is_compared(certain: FitResult) -> None:
    effective = certain.connectivity["effective"]
    shuffled = np.random.default_rng(0).permutation(len(certain.neurons))
    truth = replace(effective, weights=effective.weights[np.ix_(shuffled, shuffled)])
    found = page_of(ReportedRun("synapsnet", certain, truth=(certain.neurons.id[shuffled], truth)))
    cells = found.all("td")
    place = cells.index("effective connectivity")
    assert cells[place + 1] == "1.000"
    other = page_of(ReportedRun("synapsnet", certain, truth=(np.array(["a"]), Connectivity(np.zeros((1, 1)), "", ""))))
    assert "Against the known wiring." not in other.text


@pytest.mark.usefixtures("undrawn")
def test_the_same_run_gives_the_same_page(result: FitResult, session: Session) -> None:
    pages = [report_page([ReportedRun("synapsnet", result, session)], title="a") for _ in range(2)]
    assert pages[0] == pages[1]


def test_the_same_run_gives_the_same_figure(result: FitResult) -> None:
    assert figure(draw_scores(result), "") == figure(draw_scores(result), "")


def test_a_page_is_not_replaced_unasked(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_report("first", path)
    with pytest.raises(InputError, match="is there already"):
        write_report("second", path)
    assert path.read_text() == "first"
    write_report("second", path, overwrite=True)
    assert path.read_text() == "second"
    with pytest.raises(InputError, match="cannot be written"):
        write_report("x", tmp_path / "none" / "report.html")
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]


def test_there_must_be_a_run() -> None:
    with pytest.raises(ValueError, match="no run"):
        report_page([], title="a")
