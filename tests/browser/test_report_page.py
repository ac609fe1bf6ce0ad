"""The report in a real browser: it asks nobody for anything, runs nothing, and can be printed."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ndx_synapsnet.session import FitResult, Session
from ndx_synapsnet.show.report import ReportedRun, report_page, write_report

HOSTILE = (
    "<script>document.title='owned'</script><img src='https://elsewhere.example/a.png' onerror='document.title=1'>"
)


@pytest.fixture
def address(tmp_path: Path, result: FitResult, session: Session) -> str:
    """Two runs, the second with markup wherever text of the file is shown."""
    n = len(result.neurons)
    neurons = replace(result.neurons, id=np.array([f"{row}{HOSTILE}" for row in range(n)]))
    hostile = replace(result, verdict=HOSTILE, neurons=neurons)
    path = tmp_path / "report.html"
    runs = [ReportedRun("synapsnet", result, session), ReportedRun(HOSTILE, hostile)]
    write_report(report_page(runs, title="mouse"), path)
    return path.as_uri()


def test_it_shows_prints_and_darkens_alone(visit: Callable[..., Any], address: str) -> None:
    seen = visit(address, viewport={"width": 1100, "height": 1400}, color_scheme="light")
    page = seen.page
    assert page.title() == "mouse: SynapsNet report"
    pictures = page.evaluate("[...document.images].map(i => i.complete && i.naturalWidth > 100)")
    assert len(pictures) >= 8
    assert all(pictures)
    assert seen.outside == []
    assert seen.errors == []
    light = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert light == "rgb(255, 255, 255)"
    seen.picture("report-light")

    # nothing is wider than the window, on a telephone either
    for width in (1100, 390):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width

    printed = page.pdf(prefer_css_page_size=True)
    pages = len(re.findall(rb"/Type\s*/Page\b", printed))
    assert 6 <= pages <= 24
    # on paper, no picture is higher than a page's text, so that none is cut
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 672, "height": 982})  # A4 less its margins
    heights = page.evaluate("[...document.querySelectorAll('figure')].map(f => f.offsetHeight)")
    assert max(heights) < 982
    assert set(page.evaluate("[...document.querySelectorAll('figure')].map(f => getComputedStyle(f).breakInside)")) == {
        "avoid"
    }

    colours = "(e => [getComputedStyle(e).backgroundColor, getComputedStyle(e).color])(document.documentElement)"
    assert page.evaluate(colours) == ["rgb(255, 255, 255)", "rgb(0, 0, 0)"]
    page.emulate_media(media="print", color_scheme="dark")  # paper stays white
    assert page.evaluate(colours) == ["rgb(255, 255, 255)", "rgb(0, 0, 0)"]
    page.emulate_media(media="screen", color_scheme="dark")
    paper, ink = (sum(map(int, re.findall(r"\d+", colour))) for colour in page.evaluate(colours))
    assert paper < 120 < 600 < ink
    page.set_viewport_size({"width": 1100, "height": 1400})
    seen.picture("report-dark")
    assert seen.errors == []
