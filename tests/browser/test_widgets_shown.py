"""The views of a written file in a notebook, in a real browser: every selector changes the picture.

Voila or JupyterLab serves the notebook. Voila's page asks a content-delivery network for icons, which gets an empty
answer here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from pynwb import NWBHDF5IO

from ndx_synapsnet.nwb.recording import to_nwbfile
from ndx_synapsnet.nwb.results import add_result
from ndx_synapsnet.session import FitResult, Session

pytest.importorskip("ipywidgets", reason="ipywidgets is not installed (extra: widgets)")

SHOWN = 60_000  # ms until a view is there, on a busy machine
CHANGED = 60_000  # ms until it has changed; UMAP, where it is installed, is compiled first

#: The picture that is seen, as text; without one an empty text.
PICTURE = """async () => {
    const seen = [...document.querySelectorAll('img.widget-image')].find(i => i.offsetParent && i.naturalWidth);
    if (!seen) return '';
    const bytes = new Uint8Array(await (await fetch(seen.src)).arrayBuffer());
    let text = '';
    for (let i = 0; i < bytes.length; i += 7) text += String.fromCharCode(bytes[i]);
    return bytes.length + ':' + btoa(text);
}"""


@pytest.fixture
def file(tmp_path: Path, session: Session, result: FitResult) -> Path:
    """Two runs; neurons with region, cell type and place; q-values; all samples' forecast of half of the recording."""
    n = len(session.neurons)
    rng = np.random.default_rng(0)
    neurons = replace(
        result.neurons,
        source_object_id=np.full(n, "table"),
        region=np.array(["CA1", "V1"] * (n // 2)),
        cell_type=np.array(["excitatory", "excitatory", "inhibitory"] * (n // 3)),
        position=rng.random((n, 3)) * 100,
    )
    effective = result.connectivity["effective"]
    q = rng.uniform(0, 1, (n, n)) ** 2
    connectivity = {**result.connectivity, "effective": replace(effective, p_value=q / 2, q_value=q)}
    index = np.arange(250, 500)
    forecast = replace(
        result.forecast,
        values=session.activity[:, index].T + rng.normal(size=(len(index), n)),
        index=index,
        times=session.times[index],
        split=result.split[index],
    )
    fitted = replace(result, neurons=neurons, connectivity=connectivity, forecast=forecast)
    nwbfile = to_nwbfile(session)
    for day in (1, 2):
        made = {"source": result.provenance["source"], "finished": f"2026-01-0{day}T00:00:00+00:00"}
        other = fitted if day == 1 else replace(fitted, embeddings=fitted.embeddings[:, ::-1], verdict="Another run.")
        add_result(nwbfile, replace(other, provenance=made))
    path = tmp_path / "mouse.nwb"
    with NWBHDF5IO(path, "w") as io:
        io.write(nwbfile)
    return path


def notebook(path: Path, *lines: str) -> Path:
    cells = [nbformat.v4.new_code_cell("\n".join(lines))]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)
    return path


def wait_for_another(page: Any, before: str, timeout: int = CHANGED) -> str:
    """Return the picture once it is another one; an empty text if it stays."""
    for _ in range(timeout // 100):
        now: str = page.evaluate(PICTURE)
        if now and now != before:
            return now
        page.wait_for_timeout(100)
    return ""


def change_every_selector(page: Any) -> list[str]:
    """Change each selector that is seen, and return their names; fails if the picture stays as it was."""
    changed = []
    for box in page.locator(".widget-dropdown:visible").all():
        name, select = box.locator("label").inner_text(), box.locator("select")
        if name == "run":
            continue
        options, current = select.locator("option").all_inner_texts(), select.locator("option:checked").inner_text()
        before = page.evaluate(PICTURE)
        others = [option for option in options if option != current]
        for other in others:
            select.select_option(label=other)
            if wait_for_another(page, before, CHANGED if other == others[-1] else 4000):
                changed.append(name)
                break
        else:
            assert not others, f"no choice of {name!r} changes the picture: {others}"
    for box in page.locator(".widget-slider:visible").all():
        name = box.locator("label").inner_text()
        before = page.evaluate(PICTURE)
        box.locator(".noUi-handle").focus()
        page.keyboard.press("PageUp")
        assert wait_for_another(page, before), f"moving {name!r} leaves the picture as it was"
        changed.append(name)
    return changed


def test_every_selector_of_every_view_changes_the_picture(
    serve: Callable[[Path], str], visit: Callable[..., Any], file: Path, tmp_path: Path
) -> None:
    path = notebook(
        tmp_path / "view.ipynb",
        "from ndx_synapsnet import read_session",
        "from ndx_synapsnet.show.widgets import view",
        f"view({str(file)!r}, recording=read_session({str(file)!r}))",
    )
    seen = visit(serve(path), viewport={"width": 1200, "height": 1000})
    page = seen.page
    tabs = page.locator(".lm-TabBar-tab")
    tabs.first.wait_for(timeout=SHOWN)
    titles = tabs.all_inner_texts()
    assert titles[0] == "Summary"
    assert {"Connectivity", "Network", "Embedding", "Forecast", "Traces", "Scores", "Training"} <= set(titles)
    assert "Another run." in page.inner_text("body")
    seen.picture("widgets-summary")

    changed: dict[str, list[str]] = {}
    picture = ""
    for title in titles[1:]:
        page.locator(".lm-TabBar-tab", has_text=title).first.click()
        if title == "Neurons":  # a table
            page.locator("td", has_text="excitatory").first.wait_for(timeout=SHOWN)
        else:
            picture = wait_for_another(page, picture, SHOWN)
            assert picture, f"{title} shows no picture of its own"
        seen.picture(f"widgets-{title.lower().replace(' ', '-')}")
        changed[title] = change_every_selector(page)
        if changed[title]:
            seen.picture(f"widgets-{title.lower().replace(' ', '-')}-changed")
        picture = page.evaluate(PICTURE) or picture
    assert {"matrix", "order by", "show"} <= set(changed["Connectivity"])
    assert {"elevation", "azimuth", "colour"} <= set(changed["Network"])
    assert "colour" in changed["Embedding"]
    assert "neuron" in changed["Traces"]

    # the other run
    page.locator("select").first.select_option(index=1)
    page.locator("h3", has_text="synapsnet").first.wait_for(timeout=SHOWN)
    page.wait_for_function("!document.body.innerText.includes('Another run.')", timeout=SHOWN)
    assert seen.errors == []
    assert all("fontawesome" in address for address in seen.outside)


def test_jupyterlab_shows_the_view(
    serve_in_lab: Callable[[Path], str], visit: Callable[..., Any], file: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "notebooks"
    folder.mkdir()
    path = notebook(
        folder / "view.ipynb",
        "from ndx_synapsnet.show.widgets import view",
        f"view({str(file)!r})",
    )
    seen = visit(serve_in_lab(path), viewport={"width": 1300, "height": 1000})
    page = seen.page
    page.locator(".jp-Notebook .jp-CodeCell").first.wait_for(timeout=SHOWN)
    page.wait_for_function("window.jupyterapp && window.jupyterapp.shell.currentWidget?.sessionContext?.isReady",
                           timeout=SHOWN)  # fmt: skip
    page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
    tabs = page.locator(".jp-OutputArea .lm-TabBar-tab")
    tabs.first.wait_for(timeout=SHOWN)
    # no title is cut, though there are more tabs than fit into a row
    labels = "[...document.querySelectorAll('.jp-OutputArea .lm-TabBar-tabLabel')]"
    assert page.evaluate(f"{labels}.every(label => label.scrollWidth <= label.clientWidth)")
    tabs.filter(has_text="Connectivity").click()
    assert wait_for_another(page, "", SHOWN)
    assert {"matrix", "order by", "show"} <= set(change_every_selector(page))
    seen.picture("lab-connectivity")
    tabs.filter(has_text="Components").click()  # of spikes: only with the recording
    page.locator("pre", has_text="recording=True").wait_for(timeout=SHOWN)
    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        page.evaluate(f"window.jupyterapp.commands.execute('apputils:change-theme', {{theme: '{theme}'}})")
        page.wait_for_timeout(1000)
        seen.picture(f"lab-components-{theme.split()[1].lower()}")
    assert seen.errors == []
    assert seen.outside == []


@pytest.mark.skipif(find_spec("nwbwidgets") is None, reason="NWB Widgets is not installed (extra: widgets)")
def test_nwb_widgets_shows_the_view(
    serve: Callable[[Path], str], visit: Callable[..., Any], file: Path, tmp_path: Path
) -> None:
    path = notebook(
        tmp_path / "nwbwidgets.ipynb",
        "from pynwb import NWBHDF5IO",
        "from ndx_synapsnet.show.widgets import register_nwbwidgets",
        "register_nwbwidgets()",
        "from nwbwidgets import nwb2widget",
        f"io = NWBHDF5IO({str(file)!r}, 'r')",
        "nwb2widget(io.read().processing['ecephys']['synapsnet'])",
    )
    seen = visit(serve(path), viewport={"width": 1200, "height": 1000})
    page = seen.page
    page.locator(".lm-TabBar-tab", has_text="Connectivity").wait_for(timeout=SHOWN)
    page.locator(".lm-TabBar-tab", has_text="Connectivity").click()
    assert wait_for_another(page, "", SHOWN)
    assert {"matrix", "order by", "show"} <= set(change_every_selector(page))
    seen.picture("nwbwidgets-connectivity")
    assert seen.errors == []
