"""The frame of every view: selectors above a picture, and tabs that are filled when they are first opened."""

from __future__ import annotations

import gc
import html
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ...errors import InputError, missing_extra
from ..canvas import png

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Dots an inch of a picture in the browser: sharp, and drawn in a fraction of a second.
DPI = 100
#: In one of the tabs, makes all of them as wide as their titles, in several rows where there are many.
TAB_STYLE = """<style>
.jupyter-widgets.synapsnet-views > .lm-TabBar .lm-TabBar-content { flex-wrap: wrap; }
.jupyter-widgets.synapsnet-views > .lm-TabBar .lm-TabBar-tab { flex: 0 0 auto; }
</style>"""


def require_ipywidgets() -> Any:
    """Return the module ipywidgets.

    Raises
    ------
    InputError
        If it is not installed; the message names the extra.
    """
    try:
        import ipywidgets
    except ImportError as error:
        raise missing_extra("ipywidgets", "widgets") from error
    return ipywidgets


def panel(
    controls: Mapping[str, Any],
    draw: Callable[..., Figure],
    *,
    above: str = "",
    patience: Callable[..., str] = lambda **_: "",
) -> Any:
    """Return selectors above a picture that is drawn anew when one of them changes.

    Parameters
    ----------
    controls : mapping
        ipywidgets with a ``value`` by the name of the argument of `draw` that they set.
    draw : callable
        Values of all controls → Figure. An `InputError` that it raises is shown in place of the picture.
    above : str
        HTML between selectors and picture.
    patience : callable
        Values of all controls → a sentence to show until the picture is there, of one that takes longer than a moment.

    Returns
    -------
    ipywidgets.VBox
        With the attributes ``controls`` and ``patience`` (as given), ``picture`` (an Image) and ``message`` (an HTML).
    """
    w = require_ipywidgets()
    message = w.HTML()
    picture = w.Image(format="png", layout=w.Layout(max_width="100%", align_self="flex-start"))
    row = w.HBox(list(controls.values()), layout=w.Layout(flex_flow="row wrap", align_items="center"))
    box = w.VBox([row, *([w.HTML(above)] if above else []), message, picture])
    box.controls, box.patience, box.picture, box.message = dict(controls), patience, picture, message

    def update(_: Any = None) -> None:
        values = {name: control.value for name, control in box.controls.items()}
        if said := patience(**values):
            message.value = note(said)
        with _no_collection():
            try:
                content = png(draw(**values), dpi=DPI)
            except InputError as error:
                message.value = note(str(error))
                picture.layout.display = "none"
                return
            message.value = ""
            picture.value = content
            picture.layout.display = ""

    for control in controls.values():
        control.observe(update, names="value")
    update()
    return box


@contextmanager
def _no_collection() -> Iterator[None]:
    """Put garbage collection off until a picture is sent: among a notebook's many objects it takes longer than that."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def tabs(views: Mapping[str, Callable[[], Any]]) -> Any:
    """Return a tab for each view; all but the first are made when they are first opened.

    Parameters
    ----------
    views : mapping
        By title, what makes the widget.

    Returns
    -------
    ipywidgets.Tab
    """
    w = require_ipywidgets()
    makers = list(views.values())
    made = {0}

    def fill(change: Mapping[str, Any]) -> None:
        place = change["new"]
        if place is None or place in made:
            return
        made.add(place)
        children = list(tab.children)
        children[place] = guarded(makers[place])
        tab.children = children

    tab = w.Tab([guarded(makers[0]), *(w.HTML(note("Drawing ...")) for _ in makers[1:])])
    tab.add_class("synapsnet-views")
    for place, title in enumerate(views):
        tab.set_title(place, title)
    tab.selected_index = 0
    tab.observe(fill, names="selected_index")
    return tab


def guarded(make: Callable[[], Any]) -> Any:
    """Return the widget that `make` makes; if it raises an `InputError`, one that shows what it says."""
    try:
        return make()
    except InputError as error:
        return require_ipywidgets().HTML(note(str(error)))


def note(text: str) -> str:
    """Return a sentence as HTML."""
    return f'<p style="max-width: 60em; line-height: 1.4">{html.escape(text)}</p>'


def advice(text: str, *lines: str) -> str:
    """Return a sentence and the lines of code that it speaks of as HTML."""
    code = html.escape("\n".join(lines))
    return f'{note(text)}<pre style="line-height: 1.4; overflow-x: auto; user-select: all">{code}</pre>'


def table(columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """Return a table as HTML; numbers are aligned to the right, with three decimals."""

    def cell(value: Any) -> str:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        shown = f"{value:.3f}" if isinstance(value, float) else str(value)
        side = "right" if number else "left"
        return f'<td style="text-align: {side}; padding: 1px 10px">{html.escape(shown)}</td>'

    head = "".join(f'<th style="text-align: left; padding: 1px 10px">{html.escape(name)}</th>' for name in columns)
    body = "".join(f"<tr>{''.join(map(cell, row))}</tr>" for row in rows)
    return f'<table style="line-height: 1.5"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def dropdown(label: str, options: Any, value: Any = None) -> Any:
    """Return a drop-down selector; `options` are values, or pairs of what is shown and a value."""
    w = require_ipywidgets()
    chosen = {} if value is None else {"value": value}
    return w.Dropdown(options=options, description=label, style={"description_width": "initial"}, **chosen,
                      layout=w.Layout(width="auto", max_width="28em"))  # fmt: skip


def slider(label: str, low: int, high: int, value: int, step: int = 1) -> Any:
    """Return a slider that draws anew when it is let go."""
    w = require_ipywidgets()
    return w.IntSlider(value=value, min=low, max=high, step=step, description=label, continuous_update=False,
                       style={"description_width": "initial"}, layout=w.Layout(width="26em"))  # fmt: skip
